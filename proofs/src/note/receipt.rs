//! Receipts: offline proofs that an entry is logged (C2SP tlog-proof, `.tlog-proof`).
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! index 1
//! gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=
//!
//! example.com/fancylog
//! 2
//! sFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08=
//!
//! <em dash> example.com/fancylog hI2DJw...
//! ```
//!
//! A receipt proves that its entry is logged. It does not prove that who signed the entry was
//! allowed to, that the entry is the newest of its chain, or that it is true.

use alloc::{string::ToString, vec::Vec};
use core::{fmt, str::from_utf8};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{Checkpoint, CheckpointError, NOTE_LEN_MAX, NumberError, Policy};
use super::{UnverifiedCheckpoint, decimal};
use crate::merkle::{Hash, InclusionError, TREE_SIZE_MAX, leaf_hash};

/// Hashes of an inclusion proof that are read: a tree of [`TREE_SIZE_MAX`] entries needs no more.
pub const RECEIPT_PROOF_LEN_MAX: usize = 63;

/// Bytes of extra data that are read.
pub const RECEIPT_EXTRA_LEN_MAX: usize = 64 * 1024;

/// Bytes of a receipt that are read: the longest checkpoint, proof and extra data fit.
pub const RECEIPT_LEN_MAX: usize = NOTE_LEN_MAX + 96 * 1024;

const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// Why a receipt was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiptError {
    /// Longer than [`RECEIPT_LEN_MAX`].
    #[error("longer than {RECEIPT_LEN_MAX} bytes")]
    TooLong,
    /// The first line is not `c2sp.org/tlog-proof@v1`.
    #[error("the first line is not {HEADER}")]
    Header,
    /// No checkpoint after an empty line.
    #[error("no checkpoint after an empty line")]
    NoCheckpoint,
    /// The extra data is not base64 in its one spelling, empty, or too long.
    #[error("extra data that is empty, too long, or not base64 in its one spelling")]
    Extra,
    /// No index line where one is due.
    #[error("no index line where one is due")]
    NoIndex,
    /// The index is not spelled right or above [`TREE_SIZE_MAX`].
    #[error("index: {0}")]
    Index(NumberError),
    /// A line of the proof is not 32 bytes in the one spelling of base64.
    #[error("line {line} is not a hash in base64")]
    Hash {
        /// The line of the receipt, from 1.
        line: usize,
    },
    /// More than [`RECEIPT_PROOF_LEN_MAX`] hashes.
    #[error("more than {RECEIPT_PROOF_LEN_MAX} hashes")]
    TooManyHashes,
    /// The checkpoint is malformed, not signed by the log, or without quorum
    /// ([`CheckpointError::fault`]).
    #[error("checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// The proof does not lead from the entry to the root of the checkpoint.
    #[error(transparent)]
    Inclusion(#[from] InclusionError),
}

/// A receipt that was read, or that is to be written; nothing in it is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The 0-based index of the entry.
    pub index: u64,
    /// The inclusion proof, from the leaf's sibling up.
    pub proof: Vec<Hash>,
    /// The checkpoint whose tree the proof leads to.
    pub checkpoint: UnverifiedCheckpoint,
    /// Data of the application, not authenticated by anything. Jejak writes none.
    pub extra: Option<Vec<u8>>,
}

impl Receipt {
    /// Reads a `.tlog-proof` in its one spelling: writing it again gives the same bytes.
    ///
    /// # Errors
    /// Fails if it is not exactly as C2SP tlog-proof says, or beyond a limit. It never panics.
    pub fn parse(bytes: &[u8]) -> Result<Self, ReceiptError> {
        if bytes.len() > RECEIPT_LEN_MAX {
            return Err(ReceiptError::TooLong);
        }
        let rest = bytes.strip_prefix(HEADER.as_bytes()).ok_or(ReceiptError::Header)?;
        let rest = rest.strip_prefix(b"\n").ok_or(ReceiptError::Header)?;
        // The checkpoint begins after the first empty line; its own comes later.
        let end = rest.windows(2).position(|two| two == b"\n\n");
        let (head, note) = rest.split_at(end.ok_or(ReceiptError::NoCheckpoint)?);
        let mut lines = head.split(|&b| b == b'\n').zip(2..).peekable();

        let extra = match lines.peek().and_then(|(line, _)| line.strip_prefix(b"extra ")) {
            Some(base64) => {
                lines.next();
                Some(parse_extra(base64)?)
            }
            None => None,
        };
        let index = lines.next().and_then(|(line, _)| line.strip_prefix(b"index "));
        let index = from_utf8(index.ok_or(ReceiptError::NoIndex)?)
            .map_err(|_| ReceiptError::Index(NumberError::Spelling))?;
        let index = decimal(index, TREE_SIZE_MAX).map_err(ReceiptError::Index)?;

        let mut proof = Vec::new();
        for (line, number) in lines {
            if proof.len() == RECEIPT_PROOF_LEN_MAX {
                return Err(ReceiptError::TooManyHashes);
            }
            let hash = from_utf8(line).ok().and_then(|line| Hash::from_base64(line).ok());
            proof.push(hash.ok_or(ReceiptError::Hash { line: number })?);
        }
        let checkpoint = UnverifiedCheckpoint::parse(&note[2..])?;
        Ok(Self { index, proof, checkpoint, extra })
    }

    /// The bytes of the `.tlog-proof`.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.to_string().into_bytes()
    }

    /// Checks that `entry` is logged, under a checkpoint that `policy` accepts, and returns the
    /// checkpoint.
    ///
    /// # Security
    /// It proves that the entry is in the log, and under `quorum none` only that the log has said
    /// so to whoever holds the receipt.
    ///
    /// # Errors
    /// [`ReceiptError::Checkpoint`] as [`Policy::verify`], then [`ReceiptError::Inclusion`] as
    /// [`TreeHead::verify_inclusion`](crate::merkle::TreeHead::verify_inclusion). It never panics.
    pub fn verify(&self, entry: &[u8], policy: &Policy) -> Result<Checkpoint, ReceiptError> {
        self.verify_leaf(leaf_hash(entry), policy)
    }

    /// As [`Receipt::verify`], and asks for no witness: what the log says, for those who will ask
    /// for more, or who only want to hold the log to it.
    ///
    /// # Errors
    /// [`ReceiptError::Checkpoint`] as [`Policy::verify_log`], then [`ReceiptError::Inclusion`].
    pub fn verify_published(
        &self,
        entry: &[u8],
        policy: &Policy,
    ) -> Result<Checkpoint, ReceiptError> {
        let checkpoint = policy.verify_log(self.checkpoint.clone())?;
        checkpoint.head().verify_inclusion(self.index, leaf_hash(entry), &self.proof)?;
        Ok(checkpoint)
    }

    /// As [`Receipt::verify`], for those who have only the leaf hash of the entry.
    ///
    /// # Security
    /// Take `leaf` from [`leaf_hash`]: with a hash that someone else names, an inner node of the
    /// tree may pass for an entry.
    ///
    /// # Errors
    /// As [`Receipt::verify`].
    pub fn verify_leaf(&self, leaf: Hash, policy: &Policy) -> Result<Checkpoint, ReceiptError> {
        let checkpoint = policy.verify(self.checkpoint.clone())?;
        checkpoint.head().verify_inclusion(self.index, leaf, &self.proof)?;
        Ok(checkpoint)
    }
}

fn parse_extra(base64: &[u8]) -> Result<Vec<u8>, ReceiptError> {
    let extra = STANDARD.decode(base64).map_err(|_| ReceiptError::Extra)?;
    // Without data the line is left out, so an empty one would be a second spelling.
    let fits = (1..=RECEIPT_EXTRA_LEN_MAX).contains(&extra.len());
    if fits { Ok(extra) } else { Err(ReceiptError::Extra) }
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        if let Some(extra) = self.extra.as_ref().filter(|extra| !extra.is_empty()) {
            writeln!(f, "extra {}", STANDARD.encode(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        for hash in &self.proof {
            writeln!(f, "{}", hash.to_base64())?;
        }
        write!(f, "\n{}", self.checkpoint.note())
    }
}
