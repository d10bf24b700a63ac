//! What an audit says about files.

use std::{fmt, io};

use jejak_proofs::{
    merkle::{BundleError, TreeHead},
    note::CheckpointError,
    tally::Refusal,
};
use serde::{Serialize, Serializer, ser::SerializeStruct as _};

use crate::store;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Harmless: derived state, or what the next start puts right.
    Info,
    /// The file does not hold what the log committed to.
    Damage,
}

/// One file that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The path below the directory or URL that was audited.
    pub file: String,
    /// Indexes of the entries concerned, ascending, where they are known.
    pub entries: Vec<u64>,
    /// What is wrong.
    pub damage: Damage,
    /// How much it matters.
    pub severity: Severity,
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Damage {
    /// It is not there.
    Missing,
    /// It could not be read.
    Unreadable {
        /// The operating system's kind of error.
        kind: io::ErrorKind,
    },
    /// The server answered with an error.
    Status {
        /// Its HTTP status.
        status: u16,
    },
    /// It has another length than its name demands.
    Length {
        /// Bytes found; at most one more than wanted is read.
        got: u64,
        /// Bytes wanted.
        want: u64,
    },
    /// Its content is not what the tree above it, or the journal, commits to.
    Content,
    /// It is not a whole number of entries, or not the right one.
    Bundle(BundleError),
    /// It disagrees with the file of the same entries, and nothing above is left to decide.
    Disagrees,
    /// The tree commits to these bytes, but they are not entries.
    Malformed(Refusal),
    /// The journal does not read as one.
    Journal {
        /// Where the damage shows first, in bytes.
        offset: u64,
        /// What is wrong there.
        damage: store::Damage,
    },
    /// The journal ends before what was published.
    Behind {
        /// Entries up to its end.
        size: u64,
        /// Entries that were published.
        known: u64,
    },
    /// Bytes after the last record: the trace of a batch that was never committed.
    Torn {
        /// Where they begin.
        offset: u64,
    },
    /// The entries up to this size do not lead to the root that the file names.
    Root {
        /// The tree size.
        size: u64,
    },
    /// The checkpoint is not one that the policy accepts.
    Checkpoint(CheckpointError),
    /// The files do not lead to the root that the log signed.
    NotTheTree {
        /// What the log signed.
        head: TreeHead,
    },
    /// Entry 0 is not the one that the policy pins.
    Genesis,
    /// The content does not have the hash in the name.
    Hash,
    /// No manifest names this register.
    Unnamed,
    /// Nothing in a log has such a name.
    Unexpected,
    /// It belongs to a larger tree than this one.
    Beyond,
    /// Derived state that will be rebuilt.
    Derived,
    /// The description of the log contradicts the log.
    Description,
}

impl Finding {
    pub(super) fn new(file: impl Into<String>, damage: Damage) -> Self {
        Self { file: file.into(), entries: Vec::new(), damage, severity: Severity::Damage }
    }

    pub(super) fn at(self, entries: Vec<u64>) -> Self {
        Self { entries, ..self }
    }

    pub(super) fn info(self) -> Self {
        Self { severity: Severity::Info, ..self }
    }

    /// The entries as ranges of first and last index.
    pub fn entry_ranges(&self) -> Vec<[u64; 2]> {
        let mut ranges: Vec<[u64; 2]> = Vec::new();
        for &index in &self.entries {
            match ranges.last_mut() {
                Some([_, last]) if *last + 1 == index => *last = index,
                _ => ranges.push([index, index]),
            }
        }
        ranges
    }
}

impl Damage {
    /// A stable word for scripts.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Unreadable { .. } | Self::Status { .. } => "unreadable",
            Self::Length { .. } => "length",
            Self::Content => "content",
            Self::Bundle(_) => "bundle",
            Self::Disagrees => "disagrees",
            Self::Malformed(_) => "malformed",
            Self::Journal { .. } => "journal",
            Self::Behind { .. } => "behind",
            Self::Torn { .. } => "torn",
            Self::Root { .. } => "root",
            Self::Checkpoint(_) => "checkpoint",
            Self::NotTheTree { .. } => "tree",
            Self::Genesis => "genesis",
            Self::Hash => "hash",
            Self::Unnamed => "unnamed",
            Self::Unexpected => "unexpected",
            Self::Beyond => "beyond",
            Self::Derived => "derived",
            Self::Description => "description",
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("missing"),
            Self::Unreadable { kind } => write!(f, "cannot be read: {kind}"),
            Self::Status { status } => write!(f, "not served: status {status}"),
            Self::Length { got, want } if got > want => write!(f, "longer than {want} bytes"),
            Self::Length { got, want } => write!(f, "{got} bytes long instead of {want}"),
            Self::Content => f.write_str("damaged: not what the tree commits to"),
            Self::Bundle(error) => write!(f, "damaged: {error}"),
            Self::Disagrees => {
                f.write_str("damaged, it or the other file of these entries: they disagree")
            }
            Self::Malformed(refusal) => write!(f, "logged, but {refusal}"),
            Self::Journal { offset, damage } => write!(f, "damaged at byte {offset}: {damage}"),
            Self::Behind { size, known } => {
                write!(f, "ends at size {size}, but size {known} was published")
            }
            Self::Torn { offset } => {
                write!(f, "bytes of no committed record from byte {offset} on")
            }
            Self::Root { size } => {
                write!(f, "the entries up to size {size} do not lead to the root it names")
            }
            Self::Checkpoint(error) => write!(f, "damaged: {error}"),
            Self::NotTheTree { head } => {
                write!(f, "signs root {} at size {}, the files do not", head.root, head.size)
            }
            Self::Genesis => f.write_str("entry 0 is not the genesis that the policy pins"),
            Self::Hash => f.write_str("damaged: the content does not have the hash in the name"),
            Self::Unnamed => f.write_str("a register that no manifest names"),
            Self::Unexpected => f.write_str("unexpected: nothing in a log has this name"),
            Self::Beyond => f.write_str("unexpected: it belongs to a larger tree"),
            Self::Derived => f.write_str("damaged derived state: harmless, it will be rebuilt"),
            Self::Description => f.write_str("contradicts the log"),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        for (place, [first, last]) in self.entry_ranges().into_iter().enumerate() {
            f.write_str(match place {
                0 if self.entries.len() == 1 => " (entry ",
                0 => " (entries ",
                _ => ", ",
            })?;
            if first == last { write!(f, "{first}")? } else { write!(f, "{first}-{last}")? }
        }
        if !self.entries.is_empty() {
            f.write_str(")")?;
        }
        write!(f, ": {}", self.damage)
    }
}

impl Serialize for Finding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Finding", 5)?;
        object.serialize_field("file", &self.file)?;
        object.serialize_field("entries", &self.entry_ranges())?;
        object.serialize_field("damage", self.damage.code())?;
        object.serialize_field("detail", &self.damage.to_string())?;
        object.serialize_field("severity", &self.severity)?;
        object.end()
    }
}
