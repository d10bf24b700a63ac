//! The request to a witness for a cosignature (C2SP tlog-witness, "add-checkpoint").
//!
//! ```text
//! old 20852014
//! PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
//! jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
//!
//! example.com/behind-the-sofa
//! 20852163
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
//!
//! <em dash> example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u...
//! ```
//!
//! The size that the witness cosigned last, a consistency proof from there, an empty line, and the
//! checkpoint with its signatures.

use alloc::vec::Vec;
use core::{fmt, str::from_utf8};

use super::{CheckpointError, NumberError, UnverifiedCheckpoint, decimal};
use crate::merkle::{Hash, TREE_SIZE_MAX};

/// Hashes of the consistency proof of a request: a client must not send more.
pub const ADD_CHECKPOINT_PROOF_LEN_MAX: usize = 63;

/// Why a request was refused before anything in it was verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddCheckpointError {
    /// The first line is not `old <size>`.
    #[error("the first line is not old <size>")]
    NoOld,
    /// The old size is not spelled right or above [`TREE_SIZE_MAX`].
    #[error("old size: {0}")]
    Old(NumberError),
    /// A line of the proof is not 32 bytes in the one spelling of base64.
    #[error("line {line} is not a hash in base64")]
    Hash {
        /// The line of the request, from 1.
        line: usize,
    },
    /// More than [`ADD_CHECKPOINT_PROOF_LEN_MAX`] hashes.
    #[error("more than {ADD_CHECKPOINT_PROOF_LEN_MAX} hashes")]
    TooManyHashes,
    /// No checkpoint after an empty line.
    #[error("no checkpoint after an empty line")]
    NoCheckpoint,
    /// What follows the empty line is not a checkpoint.
    #[error("checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
}

/// A request that was read, or that is to be sent; nothing in it is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size of the checkpoint that the witness cosigned last; 0 if none.
    pub old: u64,
    /// The consistency proof from the old size to that of the checkpoint.
    pub proof: Vec<Hash>,
    /// What is to be cosigned.
    pub checkpoint: UnverifiedCheckpoint,
}

impl AddCheckpoint {
    /// Reads a request in its one spelling: writing it again gives the same bytes.
    ///
    /// # Errors
    /// Fails if it is not exactly as C2SP tlog-witness says, or beyond a limit. It never panics.
    pub fn parse(bytes: &[u8]) -> Result<Self, AddCheckpointError> {
        let (head, note) = Self::split(bytes).ok_or(AddCheckpointError::NoCheckpoint)?;
        let mut lines = head.split(|&b| b == b'\n').zip(1..);
        let old = lines.next().and_then(|(line, _)| line.strip_prefix(b"old "));
        let old = from_utf8(old.ok_or(AddCheckpointError::NoOld)?)
            .map_err(|_| AddCheckpointError::Old(NumberError::Spelling))?;
        let old = decimal(old, TREE_SIZE_MAX).map_err(AddCheckpointError::Old)?;

        let mut proof = Vec::new();
        for (line, number) in lines {
            if proof.len() == ADD_CHECKPOINT_PROOF_LEN_MAX {
                return Err(AddCheckpointError::TooManyHashes);
            }
            let hash = from_utf8(line).ok().and_then(|line| Hash::from_base64(line).ok());
            proof.push(hash.ok_or(AddCheckpointError::Hash { line: number })?);
        }
        let checkpoint = UnverifiedCheckpoint::parse(note)?;
        Ok(Self { old, proof, checkpoint })
    }

    /// The lines before the first empty line of a request, and what follows it, as they are.
    ///
    /// A witness needs the second part by itself where [`CheckpointError::EmptyRoot`] keeps it from
    /// being a checkpoint: it is asked who signed that before what is wrong with it.
    pub fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
        let end = bytes.windows(2).position(|two| two == b"\n\n")?;
        Some((&bytes[..end], &bytes[end + 2..]))
    }
}

impl fmt::Display for AddCheckpoint {
    /// The body of the request.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        for hash in &self.proof {
            writeln!(f, "{}", hash.to_base64())?;
        }
        write!(f, "\n{}", self.checkpoint.note())
    }
}
