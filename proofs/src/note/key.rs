//! Verifier keys: names, key ids, vkeys.
//!
//! ```
//! use jejak_proofs::note::VerifierKey;
//!
//! let vkey = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
//! let key = VerifierKey::parse(vkey)?;
//! assert_eq!(key.name(), "example.com/foo");
//! assert_eq!(key.to_string(), vkey);
//! # Ok::<(), jejak_proofs::note::KeyError>(())
//! ```

use alloc::string::{String, ToString};
use core::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest as _, Sha256};

/// Bytes of an Ed25519 public key.
pub const PUBLIC_KEY_LEN: usize = 32;

/// Bytes of an Ed25519 signature.
pub const SIGNATURE_LEN: usize = 64;

/// Whether `name` can name a key (C2SP signed-note, "Format"): it is not empty and has no Unicode
/// space, no `+`, and no control character below U+0020.
pub fn valid_name(name: &str) -> bool {
    let refused = |c: char| c.is_whitespace() || c == '+' || c < ' ';
    !name.is_empty() && !name.contains(refused)
}

/// The short id of a key: the first four bytes of SHA-256(name || 0x0A || type || public key).
///
/// As text it is 8 lower-case hexadecimal digits. An id selects a key and proves nothing: four
/// bytes can be ground.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 4]);

/// Text that is not the one spelling of a key id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a key id: expected 8 lower-case hexadecimal digits")]
pub struct KeyIdError;

impl KeyId {
    /// The id with these bytes.
    pub const fn new(bytes: [u8; 4]) -> Self {
        Self(bytes)
    }

    /// The four bytes, as they begin a note signature.
    pub const fn as_bytes(&self) -> &[u8; 4] {
        &self.0
    }

    fn of(name: &str, kind: KeyKind, public: &[u8; PUBLIC_KEY_LEN]) -> Self {
        let digest = Sha256::new()
            .chain_update(name.as_bytes())
            .chain_update([b'\n', kind.byte()])
            .chain_update(public)
            .finalize();
        Self([digest[0], digest[1], digest[2], digest[3]])
    }
}

impl FromStr for KeyId {
    type Err = KeyIdError;

    /// Reads 8 lower-case hexadecimal digits, the one spelling.
    fn from_str(text: &str) -> Result<Self, KeyIdError> {
        // `hex` accepts upper case too, so the case is checked here.
        if !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(KeyIdError);
        }
        let mut bytes = [0; 4];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| KeyIdError)?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a key signs, by its signature type byte (C2SP signed-note, "Signature types").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum KeyKind {
    /// 0x01: Ed25519 over the text of any note.
    Ed25519,
    /// 0x04: timestamped Ed25519 cosignatures of checkpoints (C2SP tlog-cosignature).
    CosignatureV1,
}

impl KeyKind {
    /// The signature type byte.
    pub const fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 0x01,
            Self::CosignatureV1 => 0x04,
        }
    }

    pub(super) const fn from_byte(byte: u8) -> Result<Self, KeyError> {
        match byte {
            0x01 => Ok(Self::Ed25519),
            0x04 => Ok(Self::CosignatureV1),
            kind => Err(KeyError::Unsupported { kind }),
        }
    }
}

/// Why a key was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Not three parts joined by `+`, or, for a private key, without `PRIVATE+KEY+` before them.
    #[error("not of the form <name>+<key id>+<base64>")]
    Form,
    /// See [`valid_name`].
    #[error("a key name is not empty and has no space, no plus and no control character")]
    Name,
    /// The key id is not 8 lower-case hexadecimal digits.
    #[error(transparent)]
    Id(#[from] KeyIdError),
    /// Not the one spelling of base64: padding present, unused bits zero.
    #[error("not padded standard base64 in its one spelling")]
    Base64,
    /// A signature type that this version does not know, such as 0x06 (ML-DSA-44).
    #[error(
        "signature type {kind:#04x} is not supported by this version, which knows 0x01 and 0x04"
    )]
    Unsupported {
        /// The signature type byte.
        kind: u8,
    },
    /// A key of a kind that is of no use in this place.
    #[error("a key of signature type {:#04x} is of no use here", kind.byte())]
    WrongKind {
        /// The kind of the key.
        kind: KeyKind,
    },
    /// The base64 part has not the length that its signature type demands.
    #[error("{got} bytes of signature type and key, expected {want}")]
    Length {
        /// Bytes found.
        got: usize,
        /// Bytes expected.
        want: usize,
    },
    /// The key id is not the id of this name and key.
    #[error("the key id of this name and key is {computed}")]
    IdMismatch {
        /// The id that name, type and public key have.
        computed: KeyId,
    },
    /// The public key is not the encoding of a curve point.
    #[error("not an Ed25519 public key")]
    NotAPoint,
    /// The public key is a curve point that verifiers disagree about.
    #[error("weak public key: {0}")]
    Weak(Weakness),
}

/// Why a public key is refused although it is a curve point: for such keys one signature can fit
/// several messages, or one verifier accepts what another refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Weakness {
    /// Another encoding of this point is the canonical one.
    #[error("not the canonical encoding of its point")]
    NonCanonical,
    /// The point has order 1, 2, 4 or 8: anyone can sign for it.
    #[error("a point of small order")]
    SmallOrder,
    /// The point is a sum of one of prime order and one of small order.
    #[error("a point of mixed order")]
    MixedOrder,
}

/// Why a signature was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// Not the one length that signatures of this kind have.
    #[error("a signature of {got} bytes, expected {want}")]
    Length {
        /// Bytes found, without the key id.
        got: usize,
        /// Bytes expected.
        want: usize,
    },
    /// The signature is not one of this text by this key.
    #[error("the signature does not verify")]
    Invalid,
    /// A cosignature with the time 0, or with one above [`COSIGNATURE_TIME_MAX`].
    ///
    /// [`COSIGNATURE_TIME_MAX`]: super::COSIGNATURE_TIME_MAX
    #[error("the time of a cosignature is 1 to 2^63 - 1")]
    Time,
    /// The key does not sign in this way.
    #[error("a key of signature type {:#04x} does not sign in this way", kind.byte())]
    WrongKind {
        /// The kind of the key.
        kind: KeyKind,
    },
}

/// A public key with its name, decompressed and ready to verify.
///
/// As text it is a C2SP vkey: `<name>+<hex key id>+<base64(type || public key)>`, in one spelling.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: KeyId,
    kind: KeyKind,
    public: VerifyingKey,
}

impl VerifierKey {
    /// Makes a key out of its parts; the key id follows from them.
    ///
    /// # Errors
    /// Fails if the name is not [valid](valid_name), or if `public` is not the canonical encoding
    /// of a torsion-free point.
    pub fn new(name: &str, kind: KeyKind, public: &[u8; PUBLIC_KEY_LEN]) -> Result<Self, KeyError> {
        if !valid_name(name) {
            return Err(KeyError::Name);
        }
        Ok(Self::from_checked(name, kind, strong_key(public)?))
    }

    /// The key under a name that is valid, with a public key that is not weak.
    pub(super) fn from_checked(name: &str, kind: KeyKind, public: VerifyingKey) -> Self {
        let id = KeyId::of(name, kind, public.as_bytes());
        Self { name: name.to_string(), id, kind, public }
    }

    /// Reads a vkey (C2SP signed-note, "Verifier keys") in its one spelling.
    ///
    /// # Errors
    /// Fails on any other spelling, on a key id that is not the id of this key, on a signature type
    /// that this version does not know, and on weak keys. It never panics.
    pub fn parse(vkey: &str) -> Result<Self, KeyError> {
        const WANT: usize = 1 + PUBLIC_KEY_LEN;
        let (name, id, base64) = split_key(vkey)?;
        let material = STANDARD.decode(base64).map_err(|_| KeyError::Base64)?;
        let Some((&byte, public)) = material.split_first() else {
            return Err(KeyError::Length { got: 0, want: WANT });
        };
        let kind = KeyKind::from_byte(byte)?;
        let Ok(public) = public.try_into() else {
            return Err(KeyError::Length { got: material.len(), want: WANT });
        };
        let computed = KeyId::of(name, kind, public);
        if id != computed {
            return Err(KeyError::IdMismatch { computed });
        }
        Self::new(name, kind, public)
    }

    /// The name: for a log its origin, for an author `<role>/<unit>`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key id, computed from name, kind and public key.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// What the key signs.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The 32 bytes of the public key. Two keys with different names or ids may share them.
    pub fn public_bytes(&self) -> &[u8; PUBLIC_KEY_LEN] {
        self.public.as_bytes()
    }

    /// Checks that `signature` (without the key id) is one of `text` by this key.
    ///
    /// A cosigner's key verifies its cosignature of the checkpoint `text`; the time is checked to
    /// be in range and then dropped ([`VerifierKey::verify_cosignature`] returns it).
    ///
    /// # Errors
    /// Fails if the signature has another length, is not canonical (RFC 8032, S below the group
    /// order), or is not one of this text by this key. It never panics.
    pub fn verify(&self, text: &str, signature: &[u8]) -> Result<(), SignatureError> {
        match self.kind {
            KeyKind::Ed25519 => self.verify_bytes(text.as_bytes(), signature),
            KeyKind::CosignatureV1 => self.verify_cosignature(text, signature).map(|_| ()),
        }
    }

    /// Verifies the 64 bytes of an Ed25519 signature over `message`, whatever the key's kind.
    pub(super) fn verify_bytes(
        &self,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), SignatureError> {
        let Ok(bytes) = signature.try_into() else {
            return Err(SignatureError::Length { got: signature.len(), want: SIGNATURE_LEN });
        };
        // Strict: R canonical and not of small order, so that every verifier agrees.
        self.public
            .verify_strict(message, &Signature::from_bytes(bytes))
            .map_err(|_| SignatureError::Invalid)
    }
}

impl FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(vkey: &str) -> Result<Self, KeyError> {
        Self::parse(vkey)
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut material = [self.kind.byte(); 1 + PUBLIC_KEY_LEN];
        material[1..].copy_from_slice(self.public_bytes());
        write!(f, "{}+{}+{}", self.name, self.id, STANDARD.encode(material))
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifierKey({self})")
    }
}

/// Splits `<name>+<key id>+<base64>` and checks the first two. Base64 may hold a `+` of its own.
pub(super) fn split_key(text: &str) -> Result<(&str, KeyId, &str), KeyError> {
    let (name, rest) = text.split_once('+').ok_or(KeyError::Form)?;
    let (id, base64) = rest.split_once('+').ok_or(KeyError::Form)?;
    if !valid_name(name) {
        return Err(KeyError::Name);
    }
    Ok((name, id.parse()?, base64))
}

/// Decompresses a public key, unless it is weak.
fn strong_key(bytes: &[u8; PUBLIC_KEY_LEN]) -> Result<VerifyingKey, KeyError> {
    let key = VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::NotAPoint)?;
    let point = key.to_edwards();
    // Decompression follows ZIP 215 and takes y above the prime, and a sign on x = 0.
    if point.compress().as_bytes() != bytes {
        return Err(KeyError::Weak(Weakness::NonCanonical));
    }
    if point.is_small_order() {
        return Err(KeyError::Weak(Weakness::SmallOrder));
    }
    // `verify_strict` alone would accept one of the speccheck vectors with a key of mixed order.
    if !point.is_torsion_free() {
        return Err(KeyError::Weak(Weakness::MixedOrder));
    }
    Ok(key)
}
