//! Private keys, in the form of Go's `sumdb/note`.

use alloc::{string::String, sync::Arc, vec::Vec};
use core::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ml_dsa::{
    MlDsa44,
    signature::{Keypair as _, Signer as _},
};
use zeroize::Zeroizing;

use super::key::{PublicKey, check_name, split_key};
use super::{KeyError, KeyKind, VerifierKey};

/// Bytes of the secret that a private key is derived from (RFC 8032, Section 5.1.5; FIPS 204,
/// Algorithm 1).
pub const SEED_LEN: usize = 32;

const PREFIX: &str = "PRIVATE+KEY+";

/// Type byte and seed, and their length in base64: 33 bytes are 44 characters without padding.
const MATERIAL_LEN: usize = 1 + SEED_LEN;
const MATERIAL_BASE64_LEN: usize = MATERIAL_LEN / 3 * 4;

/// A private key of any kind. The secret is wiped when it is dropped.
#[derive(Clone)]
pub(super) struct Secret {
    key: PrivateKey,
    verifier: VerifierKey,
}

#[derive(Clone)]
enum PrivateKey {
    Ed25519(ed25519_dalek::SigningKey),
    /// Expanded: some 60 KB, which the crate keeps in boxes of its own.
    MlDsa44(ml_dsa::SigningKey<MlDsa44>),
}

impl Secret {
    pub(super) fn from_seed(
        name: &str,
        kind: KeyKind,
        seed: &[u8; SEED_LEN],
    ) -> Result<Self, KeyError> {
        check_name(name, kind)?;
        let (key, public) = match kind {
            KeyKind::Ed25519 | KeyKind::CosignatureV1 => {
                let key = ed25519_dalek::SigningKey::from_bytes(seed);
                // The public key of a seed is a multiple of the base point: never weak.
                let public = PublicKey::Ed25519(key.verifying_key());
                (PrivateKey::Ed25519(key), public)
            }
            KeyKind::MlDsa44 => {
                let key = ml_dsa::SigningKey::from_seed(seed.into());
                let public = PublicKey::MlDsa44(Arc::new(key.verifying_key().encode().into()));
                (PrivateKey::MlDsa44(key), public)
            }
        };
        Ok(Self { key, verifier: VerifierKey::from_checked(name, kind, public) })
    }

    pub(super) fn parse(text: &str) -> Result<Self, KeyError> {
        let (name, id, base64) = split_key(text.strip_prefix(PREFIX).ok_or(KeyError::Form)?)?;
        // Larger than any key of ours, so that a wrong length is told from a wrong spelling.
        let mut material = Zeroizing::new([0; 2 * MATERIAL_LEN]);
        let got = STANDARD.decode_slice(base64, &mut *material).map_err(|_| KeyError::Base64)?;
        if got == 0 {
            return Err(KeyError::Length { got, want: MATERIAL_LEN });
        }
        let kind = KeyKind::from_byte(material[0])?;
        let Ok(seed) = material[1..got].try_into() else {
            return Err(KeyError::Length { got, want: MATERIAL_LEN });
        };
        let secret = Self::from_seed(name, kind, seed)?;
        let computed = secret.verifier.id();
        if id == computed { Ok(secret) } else { Err(KeyError::IdMismatch { computed }) }
    }

    pub(super) fn to_private_string(&self) -> Zeroizing<String> {
        let mut material = Zeroizing::new([self.verifier.kind().byte(); MATERIAL_LEN]);
        material[1..].copy_from_slice(match &self.key {
            PrivateKey::Ed25519(key) => key.as_bytes(),
            PrivateKey::MlDsa44(key) => key.as_seed().as_slice(),
        });
        let mut base64 = Zeroizing::new([0; MATERIAL_BASE64_LEN]);
        STANDARD
            .encode_slice(material.as_slice(), base64.as_mut_slice())
            .expect("33 bytes are 44 of base64");
        let base64 = core::str::from_utf8(&*base64).expect("base64 is ASCII");

        let id = self.verifier.id();
        // Room for all of it at once: a string that grows leaves copies of the secret behind.
        let len = PREFIX.len() + self.verifier.name().len() + 10 + MATERIAL_BASE64_LEN;
        let mut text = Zeroizing::new(String::with_capacity(len));
        for part in [PREFIX, self.verifier.name(), "+", hex::encode(id.as_bytes()).as_str(), "+"] {
            text.push_str(part);
        }
        text.push_str(base64);
        text
    }

    pub(super) fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Signs a message. Deterministic for both kinds; with ML-DSA-44 the context is empty.
    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.key {
            PrivateKey::Ed25519(key) => key.sign(message).to_bytes().to_vec(),
            PrivateKey::MlDsa44(key) => key.sign(message).encode().to_vec(),
        }
    }

    /// The note signature line that holds `signature`, with its newline.
    pub(super) fn line(&self, signature: &[u8]) -> String {
        self.verifier.line(signature)
    }
}

/// Whoever signs notes (0x01) by one key: a [`SigningKey`], or what keeps the key to itself, such
/// as an ssh-agent.
pub trait NoteSigner: fmt::Debug + Send + Sync {
    /// The public key.
    fn public(&self) -> &VerifierKey;

    /// Signs `text`, which ends in a newline, and returns the signature line with its newline: for
    /// the same text the same one (RFC 8032).
    ///
    /// # Errors
    /// As [`SignError`] says.
    fn try_sign_line(&self, text: &str) -> Result<String, SignError>;
}

/// Why a key does not sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// Who holds it does not answer.
    #[error("who holds the key does not answer")]
    Unreachable,
    /// Who was asked does not have it, or may not use it.
    #[error("who was asked to sign does not hold the key, or refuses")]
    Refused,
    /// What came back is no signature of this text by this key.
    #[error("what was returned is not a signature by the key")]
    Invalid,
}

/// A private key that signs notes (0x01): a log's, a root's, an author's.
///
/// Signatures are deterministic (RFC 8032): the same text gives the same line. Cosigners have a
/// type of their own, [`CosigningKey`](super::CosigningKey), because what they sign holds a time.
#[derive(Clone)]
pub struct SigningKey(Secret);

impl SigningKey {
    /// The key that `seed`, 32 uniformly random bytes, determines.
    ///
    /// # Errors
    /// Fails if the name is not [valid](super::valid_name), or with [`KeyError::WrongKind`] if keys
    /// of that kind do not sign notes.
    pub fn from_seed(name: &str, kind: KeyKind, seed: [u8; SEED_LEN]) -> Result<Self, KeyError> {
        let seed = Zeroizing::new(seed);
        Self::from_secret(Secret::from_seed(name, kind, &seed)?)
    }

    /// Reads `PRIVATE+KEY+<name>+<hex key id>+<base64(type || seed)>`, the form of Go's
    /// `golang.org/x/mod/sumdb/note`, in its one spelling.
    ///
    /// # Errors
    /// Fails on any other spelling, on a key id that is not the id of the public key, and with
    /// [`KeyError::WrongKind`] on a cosigner's key. No error holds a part of the secret.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        Self::from_secret(Secret::parse(text)?)
    }

    fn from_secret(secret: Secret) -> Result<Self, KeyError> {
        match secret.verifier.kind() {
            KeyKind::Ed25519 => Ok(Self(secret)),
            kind => Err(KeyError::WrongKind { kind }),
        }
    }

    /// What [`SigningKey::parse`] reads. The string is wiped when it is dropped.
    pub fn to_private_string(&self) -> Zeroizing<String> {
        self.0.to_private_string()
    }

    /// The public key, to be given away.
    pub fn verifier(&self) -> VerifierKey {
        self.0.verifier().clone()
    }

    /// The name of the key: for a log its origin.
    pub fn name(&self) -> &str {
        self.0.verifier().name()
    }

    /// Signs `text`, which ends in a newline, and returns the signature line with its newline.
    pub fn sign_line(&self, text: &str) -> String {
        self.0.line(&self.0.sign(text.as_bytes()))
    }
}

impl NoteSigner for SigningKey {
    fn public(&self) -> &VerifierKey {
        self.0.verifier()
    }

    fn try_sign_line(&self, text: &str) -> Result<String, SignError> {
        Ok(self.sign_line(text))
    }
}

impl fmt::Debug for SigningKey {
    /// Shows the public key only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.0.verifier())
    }
}
