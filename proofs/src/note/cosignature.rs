//! Timestamped Ed25519 cosignatures of checkpoints (C2SP tlog-cosignature, type 0x04).
//!
//! A cosignature says: at that time, the largest consistent tree that I saw for this origin has
//! this root. The signed message is
//!
//! ```text
//! cosignature/v1
//! time 1679315147
//! example.com/behind-the-sofa
//! 20852163
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
//! ```
//!
//! with the whole text of the checkpoint below the first two lines.

use alloc::{format, string::String, vec::Vec};
use core::fmt;

use zeroize::Zeroizing;

use super::key::SIGNATURE_LEN;
use super::signer::Secret;
use super::{Checkpoint, KeyError, KeyKind, SEED_LEN, SignatureError, VerifierKey};

/// The latest time of a cosignature, in POSIX seconds: other clients hold it in an `int64`.
pub const COSIGNATURE_TIME_MAX: u64 = i64::MAX as u64;

/// Bytes before the Ed25519 signature: the time as a big-endian u64.
const TIME_LEN: usize = 8;

/// The message that a cosigner signs.
fn message(seconds: u64, text: &str) -> String {
    format!("cosignature/v1\ntime {seconds}\n{text}")
}

/// A time of 0 makes no statement about the largest tree, which is all that a witness is asked for.
fn check_time(seconds: u64) -> Result<(), SignatureError> {
    if (1..=COSIGNATURE_TIME_MAX).contains(&seconds) { Ok(()) } else { Err(SignatureError::Time) }
}

impl VerifierKey {
    /// Checks that `signature` (without the key id) is this cosigner's over the checkpoint text
    /// `text`, and returns its time in POSIX seconds.
    ///
    /// # Security
    /// The time is as true as the cosigner. Nothing here compares it with a clock.
    ///
    /// # Errors
    /// Fails if the key is not a cosigner's, if the signature has not 72 bytes, if its time is 0 or
    /// above [`COSIGNATURE_TIME_MAX`], or if it does not verify. It never panics.
    pub fn verify_cosignature(&self, text: &str, signature: &[u8]) -> Result<u64, SignatureError> {
        const WANT: usize = TIME_LEN + SIGNATURE_LEN;
        if self.kind() != KeyKind::CosignatureV1 {
            return Err(SignatureError::WrongKind { kind: self.kind() });
        }
        let (Some((time, ed25519)), WANT) = (signature.split_first_chunk(), signature.len()) else {
            return Err(SignatureError::Length { got: signature.len(), want: WANT });
        };
        let seconds = u64::from_be_bytes(*time);
        check_time(seconds)?;
        self.verify_bytes(message(seconds, text).as_bytes(), ed25519)?;
        Ok(seconds)
    }
}

/// A private key that cosigns checkpoints (0x04): a witness's.
///
/// Its message does not name the cosigner, so one operator's cosigners need different keys.
#[derive(Clone)]
pub struct CosigningKey(Secret);

impl CosigningKey {
    /// The key that `seed`, 32 uniformly random bytes, determines.
    ///
    /// # Errors
    /// Fails if the name is not [valid](super::valid_name), or with [`KeyError::WrongKind`] if keys
    /// of that kind do not cosign.
    pub fn from_seed(name: &str, kind: KeyKind, seed: [u8; SEED_LEN]) -> Result<Self, KeyError> {
        let seed = Zeroizing::new(seed);
        Self::from_secret(Secret::from_seed(name, kind, &seed)?)
    }

    /// Reads a private key as [`SigningKey::parse`](super::SigningKey::parse) does, with the type
    /// byte 0x04.
    ///
    /// # Errors
    /// As there; [`KeyError::WrongKind`] on a key that signs notes.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        Self::from_secret(Secret::parse(text)?)
    }

    fn from_secret(secret: Secret) -> Result<Self, KeyError> {
        match secret.verifier().kind() {
            KeyKind::CosignatureV1 => Ok(Self(secret)),
            kind => Err(KeyError::WrongKind { kind }),
        }
    }

    /// What [`CosigningKey::parse`] reads. The string is wiped when it is dropped.
    pub fn to_private_string(&self) -> Zeroizing<String> {
        self.0.to_private_string()
    }

    /// The public key, to be given away.
    pub fn verifier(&self) -> VerifierKey {
        self.0.verifier().clone()
    }

    /// Cosigns a checkpoint at a time in POSIX seconds and returns the signature line with its
    /// newline. [`Checkpoint::with_lines`] puts it below the others.
    ///
    /// # Security
    /// Call it only after the state that it vouches for, size and root, is durable: the checkpoint
    /// verified, but whether it is consistent with the one before is the caller's to know.
    ///
    /// # Errors
    /// Fails if the time is 0 or above [`COSIGNATURE_TIME_MAX`].
    pub fn cosign(&self, checkpoint: &Checkpoint, seconds: u64) -> Result<String, SignatureError> {
        check_time(seconds)?;
        let mut signature: Vec<u8> = seconds.to_be_bytes().to_vec();
        signature.extend(self.0.sign(message(seconds, checkpoint.text()).as_bytes()));
        Ok(self.0.line(&signature))
    }
}

impl fmt::Debug for CosigningKey {
    /// Shows the public key only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CosigningKey({})", self.0.verifier())
    }
}
