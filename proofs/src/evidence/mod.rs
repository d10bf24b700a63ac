//! Evidence: bytes that convict a log by what it signed, offline, without trusting anyone.
//!
//! ```text
//! jejak/evidence/v1
//! {"checkpoints":["example.com/tally\n3\n...","example.com/tally\n3\n..."],"kind":"two_roots"}
//! ```
//!
//! The first line names the format, the second is one canonical JSON object whose `kind` is
//!
//! | kind | says |
//! |---|---|
//! | `two_roots` | one size, two roots, both signed by keys of one origin |
//! | `inconsistent` | two sizes, both signed, and `hashes` that refute the older root |
//! | `bad_entry` | an entry in a signed tree that breaks a rule by itself |
//! | `broken_chain` | two entries in a signed tree that break a rule together |
//! | `false_refusal` | a signed refusal that entries in a signed tree contradict |
//!
//! The `hashes` lead to the newer root, and show that what the newer tree begins with has another
//! root than the one that was signed for it ([`prefix_roots`](crate::merkle::prefix_roots)). Which
//! rules entries break so that it shows says [`Breach`].
//!
//! Whoever checks it needs nothing but the log's keys: no server, no monitor, no clock.

mod entries;
mod file;
mod heads;
mod refusal;

use alloc::{
    boxed::Box,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;

pub use self::{
    entries::{EVIDENCE_ENTRIES_MAX, Proven, ProvenEntry},
    refusal::{Lie, REFUSAL_LEN_MAX, RefusalBody, RefusalError, RefusalHead, SignedRefusal},
};
use crate::{
    merkle::{ConsistencyError, Hash, InclusionError, TreeHead},
    note::{Checkpoint, CheckpointError, Policy, UnverifiedCheckpoint, VerifierKey},
    tally::Breach,
};

/// Bytes of an evidence file that are read.
pub const EVIDENCE_LEN_MAX: usize = 4 * 1024 * 1024;

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
    /// Not as many entries as this kind of evidence has, or not in its order.
    #[error("the entries are not those of this kind of evidence")]
    Entries,
    /// An entry is not proved to be in the tree.
    #[error("entry {entry} of the file, from 0: {error}")]
    Inclusion {
        /// Which of them, from 0.
        entry: usize,
        /// What its proof lacks.
        error: InclusionError,
    },
    /// An entry that should speak against another one is none.
    #[error("entry {entry} of the file, from 0, cannot be read as an entry")]
    NotAnEntry {
        /// Which of them, from 0.
        entry: usize,
    },
    /// A refusal is none, or none of the log.
    #[error("the refusal: {0}")]
    Refusal(RefusalError),
    /// What is shown breaks no rule that it could break by itself: an honest log may hold it.
    #[error("the entries break no rule that shows without the others")]
    NoBreach,
}

/// One of the checkpoints of an evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvidencePart {
    /// The first: the older one, if they differ in size.
    First,
    /// The second.
    Second,
    /// The only one.
    Only,
}

impl fmt::Display for EvidencePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::First => "first",
            Self::Second => "second",
            Self::Only => "one",
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
        /// As [`prefix_roots`](crate::merkle::prefix_roots) takes them.
        hashes: Vec<Hash>,
    },
    /// The first entry breaks a rule, by itself or by a signature line that fails under the key
    /// that the second one brings.
    BadEntry(Proven),
    /// Two entries, the one of the smaller index first, break a rule together. For two tallies
    /// with one `seq` the manifest in force and a state behind them that names it follow.
    BrokenChain(Proven),
    /// The log refused something, and its entries say otherwise.
    FalseRefusal {
        /// The manifest that names the key, then what contradicts the refusal.
        proven: Proven,
        /// The refusal.
        refusal: Box<SignedRefusal>,
        /// The entry that was refused, where its bytes contradict the refusal.
        refused: Option<Vec<u8>>,
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
    /// It signed a tree with an entry that no log may take.
    BadEntry {
        /// The log.
        origin: String,
        /// The size of the tree.
        size: u64,
        /// Where the entry stands.
        index: u64,
        /// Its leaf hash.
        leaf: Hash,
        /// What it breaks.
        breach: Breach,
    },
    /// It signed a tree with two entries that do not stand in one honest log.
    BrokenChain {
        /// The log.
        origin: String,
        /// The size of the tree.
        size: u64,
        /// Index and leaf hash of both.
        entries: [(u64, Hash); 2],
        /// What they break.
        breach: Breach,
    },
    /// It signed a refusal that its own entries contradict.
    FalseRefusal {
        /// The log.
        origin: String,
        /// The code of the refusal.
        code: String,
        /// Leaf hash of what was refused.
        leaf: Hash,
        /// The tree that it was judged at, as the refusal says.
        judged: TreeHead,
        /// What is false about it.
        lie: Lie,
    },
}

impl Conviction {
    /// The log that is convicted.
    pub fn origin(&self) -> &str {
        match self {
            Self::TwoRoots { origin, .. }
            | Self::Inconsistent { origin, .. }
            | Self::BadEntry { origin, .. }
            | Self::BrokenChain { origin, .. }
            | Self::FalseRefusal { origin, .. } => origin,
        }
    }

    /// The kind of evidence, as its file spells it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::TwoRoots { .. } => "two_roots",
            Self::Inconsistent { .. } => "inconsistent",
            Self::BadEntry { .. } => "bad_entry",
            Self::BrokenChain { .. } => "broken_chain",
            Self::FalseRefusal { .. } => "false_refusal",
        }
    }

    /// The rule of SPEC.md that the log broke, without brackets.
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::TwoRoots { .. } | Self::Inconsistent { .. } => "C3",
            Self::BadEntry { breach, .. } | Self::BrokenChain { breach, .. } => breach.rule(),
            Self::FalseRefusal { lie, .. } => lie.rule(),
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
            Self::BadEntry { origin, size, index, leaf, breach } => write!(
                f,
                "{origin} signed a tree of {size} entries with entry {index} ({leaf}): {breach}"
            ),
            Self::BrokenChain { origin, size, entries: [(a, _), (b, _)], breach } => write!(
                f,
                "{origin} signed a tree of {size} entries with entries {a} and {b}: {breach}"
            ),
            Self::FalseRefusal { origin, code, leaf, judged, lie } => write!(
                f,
                "{origin} signed that it refused {leaf} with `{code}` after {} entries: {lie}",
                judged.size
            ),
        }
    }
}

/// Whose signatures count.
enum Signed<'a> {
    /// Those of keys.
    By(&'a [VerifierKey]),
    /// Those that a policy takes.
    Under(&'a Policy),
}

impl Signed<'_> {
    fn head(
        &self,
        checkpoint: &UnverifiedCheckpoint,
        part: EvidencePart,
    ) -> Result<TreeHead, EvidenceError> {
        let origin = checkpoint.origin().to_string();
        let verified = match self {
            Self::By(keys) => checkpoint.clone().verify(&origin, *keys),
            Self::Under(policy) => policy.verify_log(checkpoint.clone()),
        };
        let error = |error| EvidenceError::Checkpoint { part, error };
        verified.map(|checkpoint| checkpoint.head()).map_err(error)
    }

    /// The leaf hash of entry 0, where it is pinned.
    fn genesis(&self, origin: &str) -> Option<Hash> {
        match self {
            Self::By(_) => None,
            Self::Under(policy) => policy.genesis(origin),
        }
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
    /// Fails if a checkpoint is not signed by one of the keys, if they are of different logs, if a
    /// proof does not lead to a signed root, or if what is shown is what an honest log might have
    /// signed. It never panics.
    pub fn verify(&self, log_keys: &[VerifierKey]) -> Result<Conviction, EvidenceError> {
        self.judge(&Signed::By(log_keys))
    }

    /// As [`Evidence::verify`], with the log keys of a policy, each for the sizes for which it
    /// counts, and as strict as the policy is: a key that the log gave up convicts nobody of what
    /// is signed with it afterwards. The genesis that the policy pins counts too.
    ///
    /// # Errors
    /// As there.
    pub fn verify_under(&self, policy: &Policy) -> Result<Conviction, EvidenceError> {
        self.judge(&Signed::Under(policy))
    }

    fn judge(&self, signed: &Signed<'_>) -> Result<Conviction, EvidenceError> {
        match self {
            Self::TwoRoots { first, second } => heads::two_roots(first, second, signed),
            Self::Inconsistent { older, newer, hashes } => {
                heads::inconsistent(older, newer, hashes, signed)
            }
            Self::BadEntry(proven) => entries::bad_entry(proven, signed),
            Self::BrokenChain(proven) => entries::broken_chain(proven, signed),
            Self::FalseRefusal { proven, refusal, refused } => {
                refusal::false_refusal(proven, refusal, refused.as_deref(), signed)
            }
        }
    }

    /// The log that it accuses.
    pub fn origin(&self) -> &str {
        match self {
            Self::TwoRoots { first, .. } => first.origin(),
            Self::Inconsistent { older, .. } => older.origin(),
            Self::BadEntry(proven)
            | Self::BrokenChain(proven)
            | Self::FalseRefusal { proven, .. } => proven.checkpoint.origin(),
        }
    }
}
