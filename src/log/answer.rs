//! What a submitter gets back.

use std::sync::Arc;

use jejak_proofs::{
    merkle::Hash,
    tally::{ChainHead, Refusal},
};

use super::view::View;

/// A single entry that is in the log.
#[derive(Clone, Debug)]
pub struct Logged {
    /// Where.
    pub index: u64,
    /// Its leaf hash.
    pub leaf: Hash,
    /// Form rules that it breaks, `A1,A3`; empty for none, and for an entry that was known.
    pub flags: String,
    /// Whether this request brought it.
    pub new: bool,
    /// A `.tlog-proof` under a published checkpoint.
    pub receipt: String,
}

/// One entry of a batch that is in the log.
#[derive(Clone, Debug)]
pub struct BatchItem {
    /// Where.
    pub index: u64,
    /// Its leaf hash.
    pub leaf: Hash,
    /// Form rules that it breaks, `A1,A3`; empty for none, and for an entry that was known.
    pub flags: String,
    /// Whether this request brought it.
    pub new: bool,
}

/// A batch of which each entry was judged by itself.
#[derive(Clone, Debug)]
pub struct BatchLogged {
    /// One result an entry, in the order of the request.
    pub results: Vec<Result<BatchItem, Rejection>>,
    /// The published checkpoint that covers all of them.
    pub checkpoint: Arc<str>,
    /// The indexes of all entries that are in the log, ascending, each once.
    pub indexes: Vec<u64>,
    /// One compact proof for all of them.
    pub hashes: Vec<Hash>,
}

/// The code of what may be taken later, which no ledger decides.
const UNAVAILABLE: &str = "unavailable";

/// An entry that the log did not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The stable code.
    pub code: &'static str,
    /// What it means, without a byte of the entry.
    pub detail: String,
    /// The head of the chain, for `conflict`; `None` for a chain without one.
    pub head: Option<Box<ChainHead>>,
    /// The same, signed by the log's key for refusals, where one is due.
    pub refusal: Option<Box<str>>,
    /// Entries before it when the ledger judged it; `None` if it was not asked.
    pub(super) judged_at: Option<u64>,
}

impl Rejection {
    /// The log holds no key for what the manifest in force, or this new one, would have it sign.
    pub(super) fn beyond_key() -> Self {
        let detail =
            "the log holds no key that may sign behind this entry: try again later".to_owned();
        Self { code: UNAVAILABLE, detail, head: None, refusal: None, judged_at: None }
    }

    pub(super) fn batch_too_large() -> Self {
        let detail = "a batch has at most 1,000 entries and 4 MiB".to_owned();
        let code = Refusal::TooLarge.code();
        Self { code, detail, head: None, refusal: None, judged_at: None }
    }

    /// The refusal of an entry that the ledger judged after `size` others.
    pub(super) fn judged(refusal: &Refusal, size: u64) -> Self {
        Self { judged_at: Some(size), ..Self::from(refusal) }
    }
}

impl From<&Refusal> for Rejection {
    fn from(refusal: &Refusal) -> Self {
        let head = match refusal {
            Refusal::Conflict { head } => head.map(Box::new),
            _ => None,
        };
        let (code, detail) = (refusal.code(), refusal.to_string());
        Self { code, detail, head, refusal: None, judged_at: None }
    }
}

/// Why a submission has no receipt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// The log judged the entry and did not take it.
    #[error("refused: {}", .0.code)]
    Rejected(Rejection),
    /// Too much waits already.
    #[error("the pool is full")]
    Full,
    /// The log is stopping.
    #[error("the log is stopping")]
    Closing,
    /// Nothing was judged, or the batch was not committed: disk space, or a fatal error.
    #[error("the log cannot take entries now")]
    Unavailable,
}

/// The outcome of a submission whose batch is durable and published.
#[derive(Clone, Debug)]
pub struct Sequenced {
    /// One result an entry, in the order of the request.
    pub results: Vec<Result<BatchItem, Rejection>>,
    /// A published tree that holds all of them.
    pub view: Arc<View>,
}
