//! Evidence: bytes that convict a log by what it signed, offline, without trusting anyone.
//!
//! ```text
//! jejak/evidence/v1
//! {"checkpoints":["example.com/tally\n3\n...","example.com/tally\n3\n..."],"kind":"two_roots"}
//! ```
//!
//! The first line names kind and version, the second is one canonical JSON object with the two
//! checkpoints byte for byte. Two kinds so far:
//!
//! | kind | says |
//! |---|---|
//! | `two_roots` | one size, two roots, both signed by keys of one origin |
//! | `inconsistent` | two sizes, both signed, and `hashes` that refute the older root |
//!
//! The `hashes` lead to the newer root, and show that what the newer tree begins with has another
//! root than the one that was signed for it ([`prefix_roots`]).
//!
//! Whoever checks it needs nothing but the log's keys: no server, no monitor, no clock.

use alloc::{
    boxed::Box,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::{Checkpoint, CheckpointError, NOTE_LEN_MAX, Policy, UnverifiedCheckpoint, VerifierKey};
use crate::{
    merkle::{ConsistencyError, Hash, TreeHead, prefix_roots},
    tally::{from_canonical, to_canonical},
};

/// Bytes of an evidence file that are read: two notes, in which JSON at most doubles every byte,
/// and a proof.
pub const EVIDENCE_LEN_MAX: usize = 4 * NOTE_LEN_MAX + 16 * 1024;

/// The first line.
const HEADING: &str = "jejak/evidence/v1";

/// Why bytes are not evidence, or do not convict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// More than [`EVIDENCE_LEN_MAX`] bytes.
    #[error("longer than {EVIDENCE_LEN_MAX} bytes")]
    TooLong,
    /// Not the line `jejak/evidence/v1` and one canonical JSON object of a known kind.
    #[error("not an evidence file")]
    Malformed,
    /// A checkpoint cannot be read, or the log did not sign it.
    #[error("the {part} checkpoint: {error}")]
    Checkpoint {
        /// Which of the two.
        part: EvidencePart,
        /// What is wrong with it.
        error: CheckpointError,
    },
    /// The two checkpoints are of different logs.
    #[error("the checkpoints are of different logs")]
    TwoOrigins,
    /// The sizes are not those of this kind of evidence: equal, or the older one smaller.
    #[error("the sizes do not make evidence of this kind")]
    Sizes,
    /// The proof has the wrong length, or does not lead to the newer root.
    #[error("the proof does not speak about these checkpoints: {0}")]
    Proof(ConsistencyError),
    /// Everything fits together: the log is innocent of this.
    #[error("the checkpoints do not contradict each other")]
    NoContradiction,
}

/// One of the two checkpoints of an evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvidencePart {
    /// The first: the older one, if they differ in size.
    First,
    /// The second.
    Second,
}

impl fmt::Display for EvidencePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::First => "first",
            Self::Second => "second",
        })
    }
}

/// Evidence that was read or put together; [`Evidence::verify`] says whether it convicts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Evidence {
    /// One size, two roots.
    TwoRoots {
        /// The checkpoint that was seen first.
        first: Box<UnverifiedCheckpoint>,
        /// The one that contradicts it.
        second: Box<UnverifiedCheckpoint>,
    },
    /// The newer tree does not begin with the older one.
    Inconsistent {
        /// The checkpoint of the smaller size.
        older: Box<UnverifiedCheckpoint>,
        /// The checkpoint of the larger size.
        newer: Box<UnverifiedCheckpoint>,
        /// As [`prefix_roots`] takes them.
        hashes: Vec<Hash>,
    },
}

/// What a log is convicted of.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Conviction {
    /// It signed two roots for one size.
    TwoRoots {
        /// The log.
        origin: String,
        /// The size.
        size: u64,
        /// The two roots.
        roots: [Hash; 2],
    },
    /// It signed two trees of which the newer does not begin with the older.
    Inconsistent {
        /// The log.
        origin: String,
        /// The older head that it signed.
        older: TreeHead,
        /// The newer head that it signed.
        newer: TreeHead,
        /// The root of the older tree as the newer one holds it.
        root_in_newer: Hash,
    },
}

impl Conviction {
    /// The log that is convicted.
    pub fn origin(&self) -> &str {
        match self {
            Self::TwoRoots { origin, .. } | Self::Inconsistent { origin, .. } => origin,
        }
    }
}

impl fmt::Display for Conviction {
    /// One sentence: who signed what.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TwoRoots { origin, size, roots: [a, b] } => {
                write!(f, "{origin} signed two roots for its first {size} entries: {a} and {b}")
            }
            Self::Inconsistent { origin, older, newer, root_in_newer } => write!(
                f,
                "{origin} signed {} for its first {} entries, and a tree of {} entries in which \
                 they have the root {root_in_newer}",
                older.root, older.size, newer.size
            ),
        }
    }
}

/// The JSON object. Fields stand in bytewise order of their names.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    checkpoints: [String; 2],
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hashes: Option<Vec<Base64>>,
    kind: Kind,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Inconsistent,
    TwoRoots,
}

/// A hash as the proofs of the log's routes spell it.
struct Base64(Hash);

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.to_base64())
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Hash::from_base64(&text).map(Self).map_err(D::Error::custom)
    }
}

impl Evidence {
    /// Evidence out of two checkpoints of one size and different roots.
    pub fn two_roots(first: &Checkpoint, second: &Checkpoint) -> Self {
        Self::TwoRoots {
            first: Box::new(first.as_unverified().clone()),
            second: Box::new(second.as_unverified().clone()),
        }
    }

    /// Evidence out of two checkpoints and the hashes of [`Plan::prefix`] in the newer tree.
    ///
    /// [`Plan::prefix`]: crate::merkle::Plan::prefix
    pub fn inconsistent(older: &Checkpoint, newer: &Checkpoint, hashes: Vec<Hash>) -> Self {
        Self::Inconsistent {
            older: Box::new(older.as_unverified().clone()),
            newer: Box::new(newer.as_unverified().clone()),
            hashes,
        }
    }

    /// Reads an evidence file.
    ///
    /// # Errors
    /// Fails on anything but the one spelling. It never panics.
    pub fn parse(bytes: &[u8]) -> Result<Self, EvidenceError> {
        if bytes.len() > EVIDENCE_LEN_MAX {
            return Err(EvidenceError::TooLong);
        }
        let text = core::str::from_utf8(bytes).map_err(|_| EvidenceError::Malformed)?;
        let body = text
            .strip_prefix(HEADING)
            .and_then(|rest| rest.strip_prefix('\n'))
            .and_then(|rest| rest.strip_suffix('\n'))
            .ok_or(EvidenceError::Malformed)?;
        let body: Body = from_canonical(body).map_err(|_| EvidenceError::Malformed)?;
        let checkpoint = |note: &String, part| {
            UnverifiedCheckpoint::parse(note.as_bytes())
                .map(Box::new)
                .map_err(|error| EvidenceError::Checkpoint { part, error })
        };
        let [first, second] = &body.checkpoints;
        let first = checkpoint(first, EvidencePart::First)?;
        let second = checkpoint(second, EvidencePart::Second)?;
        match (body.kind, body.hashes) {
            (Kind::TwoRoots, None) => Ok(Self::TwoRoots { first, second }),
            (Kind::Inconsistent, Some(hashes)) => {
                let hashes = hashes.into_iter().map(|hash| hash.0).collect();
                Ok(Self::Inconsistent { older: first, newer: second, hashes })
            }
            _ => Err(EvidenceError::Malformed),
        }
    }

    /// Checks that the evidence convicts the log whose keys these are.
    ///
    /// `log_keys` are the keys that may sign for the log, as a policy lists them; keys of other
    /// names are passed over.
    ///
    /// # Security
    /// The conviction is as good as the knowledge that the keys are the log's. It needs no trust
    /// in whoever made the evidence.
    ///
    /// # Errors
    /// Fails if a checkpoint is not signed by one of the keys, if they are of different logs, or
    /// if they do not contradict each other. It never panics.
    pub fn verify(&self, log_keys: &[VerifierKey]) -> Result<Conviction, EvidenceError> {
        self.judge(|checkpoint| {
            let origin = checkpoint.origin().to_string();
            checkpoint.verify(&origin, log_keys)
        })
    }

    /// As [`Evidence::verify`], with the log keys of a policy, each for the sizes for which it
    /// counts, and as strict as the policy is: a key that the log gave up convicts nobody of what
    /// is signed with it afterwards.
    ///
    /// # Errors
    /// As there.
    pub fn verify_under(&self, policy: &Policy) -> Result<Conviction, EvidenceError> {
        self.judge(|checkpoint| policy.verify_log(checkpoint))
    }

    fn judge(
        &self,
        verify: impl Fn(UnverifiedCheckpoint) -> Result<Checkpoint, CheckpointError>,
    ) -> Result<Conviction, EvidenceError> {
        let (first, second) = self.checkpoints();
        let origin = first.origin().to_string();
        if second.origin() != origin {
            return Err(EvidenceError::TwoOrigins);
        }
        let signed = |checkpoint: &UnverifiedCheckpoint, part| {
            let error = |error| EvidenceError::Checkpoint { part, error };
            verify(checkpoint.clone()).map(|checkpoint| checkpoint.head()).map_err(error)
        };
        let older = signed(first, EvidencePart::First)?;
        let newer = signed(second, EvidencePart::Second)?;
        match self {
            Self::TwoRoots { .. } => {
                if older.size != newer.size {
                    return Err(EvidenceError::Sizes);
                }
                if older.root == newer.root {
                    return Err(EvidenceError::NoContradiction);
                }
                let roots = [older.root, newer.root];
                Ok(Conviction::TwoRoots { origin, size: older.size, roots })
            }
            Self::Inconsistent { hashes, .. } => {
                if older.size == 0 || older.size >= newer.size {
                    return Err(EvidenceError::Sizes);
                }
                let (root_in_newer, new_root) =
                    prefix_roots(older.size, newer.size, hashes).map_err(EvidenceError::Proof)?;
                if new_root != newer.root {
                    return Err(EvidenceError::Proof(ConsistencyError::WrongNewRoot));
                }
                if root_in_newer == older.root {
                    return Err(EvidenceError::NoContradiction);
                }
                Ok(Conviction::Inconsistent { origin, older, newer, root_in_newer })
            }
        }
    }

    fn checkpoints(&self) -> (&UnverifiedCheckpoint, &UnverifiedCheckpoint) {
        match self {
            Self::TwoRoots { first, second } => (first, second),
            Self::Inconsistent { older, newer, .. } => (older, newer),
        }
    }
}

impl fmt::Display for Evidence {
    /// The evidence file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, second) = self.checkpoints();
        let (kind, hashes) = match self {
            Self::TwoRoots { .. } => (Kind::TwoRoots, None),
            Self::Inconsistent { hashes, .. } => {
                (Kind::Inconsistent, Some(hashes.iter().copied().map(Base64).collect()))
            }
        };
        let checkpoints = [first, second].map(|checkpoint| String::from(checkpoint.note()));
        let body = format!("{}\n", to_canonical(&Body { checkpoints, hashes, kind }));
        write!(f, "{HEADING}\n{body}")
    }
}
