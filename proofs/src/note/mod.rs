//! C2SP signed notes: keys, checkpoints, cosignatures, policies, receipts.
//!
//! Whatever was read but not verified has a type of its own ([`SignedNote`],
//! [`UnverifiedCheckpoint`], [`Receipt`]); a [`Checkpoint`] exists only if its signature verified
//! or it was signed here.

mod add_checkpoint;
mod checkpoint;
mod cosignature;
mod key;
mod policy;
mod policy_parser;
mod receipt;
mod signed_note;
mod signer;
#[cfg(test)]
mod speccheck;
mod windows;

pub use add_checkpoint::{ADD_CHECKPOINT_PROOF_LEN_MAX, AddCheckpoint, AddCheckpointError};
pub use checkpoint::{Checkpoint, CheckpointError, CheckpointFault, UnverifiedCheckpoint};
pub use cosignature::{COSIGNATURE_TIME_MAX, CosigningKey};
pub use key::{KeyError, KeyId, KeyIdError, KeyKind, SignatureError, VerifierKey, Weakness};
pub use key::{ML_DSA_NAME_LEN_MAX, ML_DSA_PUBLIC_KEY_LEN, ML_DSA_SIGNATURE_LEN};
pub use key::{PUBLIC_KEY_LEN, SIGNATURE_LEN, valid_name};
pub use policy::{Cosignature, LogLine, POLICY_GROUPS_MAX, POLICY_LEN_MAX, POLICY_LOGS_MAX};
pub use policy::{POLICY_WITNESSES_MAX, Policy, PolicyError, PolicyErrorKind, WitnessLine};
pub use receipt::{RECEIPT_EXTRA_LEN_MAX, RECEIPT_LEN_MAX, RECEIPT_PROOF_LEN_MAX};
pub use receipt::{Receipt, ReceiptError};
pub use signed_note::{LineError, NOTE_LEN_MAX, NOTE_SIGNATURES_MAX, NoteError, SignatureLine};
pub use signed_note::{SignedNote, compose};
pub use signer::{NoteSigner, SEED_LEN, SignError, SigningKey};
pub use windows::{Window, WindowsError, WindowsErrorKind};

/// Why a number was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NumberError {
    /// Not decimal digits alone, or with a leading zero.
    #[error("not a decimal number without sign or leading zero")]
    Spelling,
    /// More than the limit of its place.
    #[error("number too large")]
    TooLarge,
}

/// Reads a number in its one spelling: decimal digits, no sign, no leading zero.
///
/// # Errors
/// Fails on any other spelling, and above `max`.
pub fn decimal(text: &str, max: u64) -> Result<u64, NumberError> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits || (text.starts_with('0') && text != "0") {
        return Err(NumberError::Spelling);
    }
    // All digits, so the only failure left is overflow.
    let number: u64 = text.parse().map_err(|_| NumberError::TooLarge)?;
    if number > max { Err(NumberError::TooLarge) } else { Ok(number) }
}
