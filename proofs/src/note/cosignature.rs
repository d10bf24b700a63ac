//! Timestamped signatures of checkpoints (C2SP tlog-cosignature): Ed25519 (type 0x04) and ML-DSA-44
//! (type 0x06).
//!
//! A cosignature says: at that time, the largest consistent tree that I saw for this origin has
//! this root. A log signs its own checkpoints in the second form too, under its origin as the name.
//!
//! The message of an Ed25519 cosigner is
//!
//! ```text
//! cosignature/v1
//! time 1679315147
//! example.com/behind-the-sofa
//! 20852163
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
//! ```
//!
//! with the whole text of the checkpoint below the first two lines. That of an ML-DSA-44 key is
//!
//! | bytes | what |
//! |---|---|
//! | 12 | `subtree/v1`, a newline, a zero byte |
//! | 1 + n | length and bytes of the cosigner's name |
//! | 8 | time, big-endian |
//! | 1 + n | length and bytes of the log's origin |
//! | 8 | 0: the first index covered |
//! | 8 | the size of the tree, big-endian |
//! | 32 | its root |
//!
//! so it names the cosigner, and does not cover extension lines of the checkpoint. The context of
//! FIPS 204 is empty, and we sign without randomness, so that the same state gives the same bytes.

use alloc::{format, string::String, vec::Vec};
use core::fmt;

use zeroize::Zeroizing;

use super::checkpoint::parse_text;
use super::key::ML_DSA_NAME_LEN_MAX;
use super::signer::Secret;
use super::{Checkpoint, KeyError, KeyKind, SEED_LEN, SignatureError, VerifierKey};
use crate::merkle::TreeHead;

/// The latest time of a cosignature, in POSIX seconds: other clients hold it in an `int64`.
pub const COSIGNATURE_TIME_MAX: u64 = i64::MAX as u64;

/// Bytes before the signature proper: the time as a big-endian u64.
const TIME_LEN: usize = 8;

/// What the message of an ML-DSA-44 key begins with.
const SUBTREE_LABEL: &[u8; 12] = b"subtree/v1\n\0";

/// The message that an Ed25519 cosigner signs.
fn cosignature_message(seconds: u64, text: &str) -> Vec<u8> {
    format!("cosignature/v1\ntime {seconds}\n{text}").into_bytes()
}

/// The message that the ML-DSA-44 key `name` signs: a `cosigned_message`.
fn subtree_message(
    name: &str,
    seconds: u64,
    origin: &str,
    head: TreeHead,
) -> Result<Vec<u8>, SignatureError> {
    let mut message = SUBTREE_LABEL.to_vec();
    push_short(&mut message, name)?;
    message.extend_from_slice(&seconds.to_be_bytes());
    push_short(&mut message, origin)?;
    message.extend_from_slice(&0u64.to_be_bytes());
    message.extend_from_slice(&head.size.to_be_bytes());
    message.extend_from_slice(head.root.as_bytes());
    Ok(message)
}

/// A text after its length in one byte.
fn push_short(message: &mut Vec<u8>, text: &str) -> Result<(), SignatureError> {
    const { assert!(ML_DSA_NAME_LEN_MAX == u8::MAX as usize) };
    message.push(u8::try_from(text.len()).map_err(|_| SignatureError::Text)?);
    message.extend_from_slice(text.as_bytes());
    Ok(())
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
    /// Fails if the key does not [cosign](KeyKind::cosigns), if the signature has another length
    /// than 72 bytes (Ed25519) or 2,428 (ML-DSA-44), if its time is 0 or above
    /// [`COSIGNATURE_TIME_MAX`], if an ML-DSA-44 key cannot sign such a text, or if it does not
    /// verify. It never panics.
    pub fn verify_cosignature(&self, text: &str, signature: &[u8]) -> Result<u64, SignatureError> {
        let (seconds, _) = self.split_time(signature)?;
        check_time(seconds)?;
        self.verify_timestamped(text, signature)
    }

    /// As [`VerifierKey::verify_cosignature`], but the time may be 0: then the signature makes no
    /// statement about the largest tree.
    pub(super) fn verify_timestamped(
        &self,
        text: &str,
        signature: &[u8],
    ) -> Result<u64, SignatureError> {
        let (seconds, bare) = self.split_time(signature)?;
        let message = match self.kind() {
            KeyKind::MlDsa44 => {
                let (origin, head) = parse_text(text).map_err(|_| SignatureError::Text)?;
                subtree_message(self.name(), seconds, origin, head)?
            }
            _ => cosignature_message(seconds, text),
        };
        self.verify_bytes(&message, bare)?;
        Ok(seconds)
    }

    /// The time of a signature by a key that cosigns, and the signature proper.
    fn split_time<'s>(&self, signature: &'s [u8]) -> Result<(u64, &'s [u8]), SignatureError> {
        if !self.kind().cosigns() {
            return Err(SignatureError::WrongKind { kind: self.kind() });
        }
        let want = TIME_LEN + self.kind().signature_len();
        let length = SignatureError::Length { got: signature.len(), want };
        if signature.len() != want {
            return Err(length);
        }
        let (time, bare) = signature.split_first_chunk().ok_or(length)?;
        let seconds = u64::from_be_bytes(*time);
        if seconds > COSIGNATURE_TIME_MAX {
            return Err(SignatureError::Time);
        }
        Ok((seconds, bare))
    }
}

/// A private key that makes timestamped signatures of checkpoints (0x04 or 0x06): a witness's, or,
/// of type 0x06 and named after its origin, a log's.
///
/// The Ed25519 message does not name the cosigner, so one operator's cosigners of that type need
/// different keys. Signatures of both types are deterministic: the same checkpoint and time give
/// the same line.
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
    /// byte 0x04 or 0x06. The seed of type 0x06 is FIPS 204's.
    ///
    /// # Errors
    /// As there; [`KeyError::WrongKind`] on a key that signs notes.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        Self::from_secret(Secret::parse(text)?)
    }

    fn from_secret(secret: Secret) -> Result<Self, KeyError> {
        let kind = secret.verifier().kind();
        if kind.cosigns() { Ok(Self(secret)) } else { Err(KeyError::WrongKind { kind }) }
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
    /// Fails if the time is 0 or above [`COSIGNATURE_TIME_MAX`], and with [`SignatureError::Text`]
    /// if an ML-DSA-44 key cannot sign an origin of that length.
    pub fn cosign(&self, checkpoint: &Checkpoint, seconds: u64) -> Result<String, SignatureError> {
        check_time(seconds)?;
        let message = match self.0.verifier().kind() {
            KeyKind::MlDsa44 => {
                let name = self.0.verifier().name();
                subtree_message(name, seconds, checkpoint.origin(), checkpoint.head())?
            }
            _ => cosignature_message(seconds, checkpoint.text()),
        };
        let mut signature: Vec<u8> = seconds.to_be_bytes().to_vec();
        signature.extend(self.0.sign(&message));
        Ok(self.0.line(&signature))
    }
}

impl fmt::Debug for CosigningKey {
    /// Shows the public key only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CosigningKey({})", self.0.verifier())
    }
}
