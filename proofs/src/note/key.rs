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

use alloc::{
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};
use core::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signature, VerifyingKey};
use ml_dsa::MlDsa44;
use sha2::{Digest as _, Sha256};

/// Bytes of an Ed25519 public key.
pub const PUBLIC_KEY_LEN: usize = 32;

/// Bytes of an Ed25519 signature.
pub const SIGNATURE_LEN: usize = 64;

/// Bytes of an ML-DSA-44 public key (FIPS 204, Table 2).
pub const ML_DSA_PUBLIC_KEY_LEN: usize = 1312;

/// Bytes of an ML-DSA-44 signature (FIPS 204, Table 2).
pub const ML_DSA_SIGNATURE_LEN: usize = 2420;

/// Bytes of the name of an ML-DSA-44 key, and of the origin of a checkpoint that it signs: in the
/// message each has a length of one byte.
pub const ML_DSA_NAME_LEN_MAX: usize = 255;

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

    fn of(name: &str, kind: KeyKind, public: &[u8]) -> Self {
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
    /// 0x06: timestamped ML-DSA-44 signatures of checkpoints, by a cosigner or by the log itself
    /// (C2SP tlog-cosignature).
    MlDsa44,
}

impl KeyKind {
    /// The signature type byte.
    pub const fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 0x01,
            Self::CosignatureV1 => 0x04,
            Self::MlDsa44 => 0x06,
        }
    }

    /// Whether a key of this kind, named after the origin, signs checkpoints in the name of a log.
    pub const fn signs_logs(self) -> bool {
        matches!(self, Self::Ed25519 | Self::MlDsa44)
    }

    /// Whether a key of this kind makes timestamped signatures of checkpoints, as a witness does.
    pub const fn cosigns(self) -> bool {
        matches!(self, Self::CosignatureV1 | Self::MlDsa44)
    }

    /// Bytes of a public key of this kind.
    const fn public_len(self) -> usize {
        match self {
            Self::Ed25519 | Self::CosignatureV1 => PUBLIC_KEY_LEN,
            Self::MlDsa44 => ML_DSA_PUBLIC_KEY_LEN,
        }
    }

    /// Bytes of a signature of this kind, without key id and time.
    pub(super) const fn signature_len(self) -> usize {
        match self {
            Self::Ed25519 | Self::CosignatureV1 => SIGNATURE_LEN,
            Self::MlDsa44 => ML_DSA_SIGNATURE_LEN,
        }
    }

    pub(super) const fn from_byte(byte: u8) -> Result<Self, KeyError> {
        match byte {
            0x01 => Ok(Self::Ed25519),
            0x04 => Ok(Self::CosignatureV1),
            0x06 => Ok(Self::MlDsa44),
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
    /// The name of an ML-DSA-44 key is longer than [`ML_DSA_NAME_LEN_MAX`].
    #[error("the name of an ML-DSA-44 key has at most {ML_DSA_NAME_LEN_MAX} bytes")]
    LongName,
    /// The key id is not 8 lower-case hexadecimal digits.
    #[error(transparent)]
    Id(#[from] KeyIdError),
    /// Not the one spelling of base64: padding present, unused bits zero.
    #[error("not padded standard base64 in its one spelling")]
    Base64,
    /// A signature type that this version does not know.
    #[error(
        "signature type {kind:#04x} is not supported by this version, which knows 0x01, 0x04 and \
         0x06"
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
    /// An ML-DSA-44 key signs nothing but checkpoints, and none whose origin is longer than
    /// [`ML_DSA_NAME_LEN_MAX`].
    #[error("not the text of a checkpoint with an origin of at most {ML_DSA_NAME_LEN_MAX} bytes")]
    Text,
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

#[derive(Clone, PartialEq, Eq)]
pub(super) enum PublicKey {
    /// Decompressed.
    Ed25519(VerifyingKey),
    /// As bytes, any of which are a key. The expanded form would cost 24 KB a key, and save a
    /// third of a verification, of which a checkpoint needs one.
    MlDsa44(Arc<[u8; ML_DSA_PUBLIC_KEY_LEN]>),
}

impl PublicKey {
    /// Reads a public key of the length that is right for `kind`.
    fn decode(kind: KeyKind, bytes: &[u8]) -> Result<Self, KeyError> {
        let length = KeyError::Length { got: 1 + bytes.len(), want: 1 + kind.public_len() };
        match kind {
            KeyKind::Ed25519 | KeyKind::CosignatureV1 => {
                Ok(Self::Ed25519(strong_key(bytes.try_into().map_err(|_| length)?)?))
            }
            KeyKind::MlDsa44 => Ok(Self::MlDsa44(Arc::new(bytes.try_into().map_err(|_| length)?))),
        }
    }

    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Ed25519(key) => key.as_bytes(),
            Self::MlDsa44(bytes) => bytes.as_slice(),
        }
    }
}

/// A public key with its name, ready to verify.
///
/// As text it is a C2SP vkey: `<name>+<hex key id>+<base64(type || public key)>`, in one spelling.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: KeyId,
    kind: KeyKind,
    public: PublicKey,
}

impl VerifierKey {
    /// Makes a key out of its parts; the key id follows from them.
    ///
    /// # Errors
    /// Fails if the name is not [valid](valid_name) or too long for an ML-DSA-44 key, if `public`
    /// has not the length of its kind, or if it is an Ed25519 key and not the canonical encoding of
    /// a torsion-free point.
    pub fn new(name: &str, kind: KeyKind, public: &[u8]) -> Result<Self, KeyError> {
        check_name(name, kind)?;
        Ok(Self::from_checked(name, kind, PublicKey::decode(kind, public)?))
    }

    /// The key under a name that is right for its kind, with a public key that is not weak.
    pub(super) fn from_checked(name: &str, kind: KeyKind, public: PublicKey) -> Self {
        let id = KeyId::of(name, kind, public.as_bytes());
        Self { name: name.to_string(), id, kind, public }
    }

    /// Reads a vkey (C2SP signed-note, "Verifier keys") in its one spelling.
    ///
    /// # Errors
    /// Fails on any other spelling, on a key id that is not the id of this key, on a signature type
    /// that this version does not know, and on weak keys. It never panics.
    pub fn parse(vkey: &str) -> Result<Self, KeyError> {
        let (name, id, base64) = split_key(vkey)?;
        let material = STANDARD.decode(base64).map_err(|_| KeyError::Base64)?;
        let Some((&byte, public)) = material.split_first() else {
            return Err(KeyError::Length { got: 0, want: 1 + PUBLIC_KEY_LEN });
        };
        let kind = KeyKind::from_byte(byte)?;
        let want = 1 + kind.public_len();
        if material.len() != want {
            return Err(KeyError::Length { got: material.len(), want });
        }
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

    /// The bytes of the public key: 32 of an Ed25519 key, 1,312 of an ML-DSA-44 key. Two keys with
    /// different names or ids may share them.
    pub fn public_bytes(&self) -> &[u8] {
        self.public.as_bytes()
    }

    /// As [`VerifierKey::public_bytes`], of an Ed25519 key: none of an ML-DSA-44 key.
    pub fn ed25519_bytes(&self) -> Option<&[u8; PUBLIC_KEY_LEN]> {
        match &self.public {
            PublicKey::Ed25519(key) => Some(key.as_bytes()),
            PublicKey::MlDsa44(_) => None,
        }
    }

    /// Checks that `signature` (without the key id) is one of `text` by this key.
    ///
    /// A key that [cosigns](KeyKind::cosigns) verifies its timestamped signature of the checkpoint
    /// `text`; the time is checked to be in range and then dropped
    /// ([`VerifierKey::verify_cosignature`] returns it). Of an ML-DSA-44 key the time may be 0,
    /// which states nothing about the largest tree: so some logs sign their own checkpoints.
    ///
    /// # Errors
    /// Fails if the signature has another length, is not canonical (RFC 8032, S below the group
    /// order; FIPS 204, Algorithm 27), or is not one of this text by this key. It never panics.
    pub fn verify(&self, text: &str, signature: &[u8]) -> Result<(), SignatureError> {
        match self.kind {
            KeyKind::Ed25519 => self.verify_bytes(text.as_bytes(), signature),
            KeyKind::CosignatureV1 => self.verify_cosignature(text, signature).map(|_| ()),
            KeyKind::MlDsa44 => self.verify_timestamped(text, signature).map(|_| ()),
        }
    }

    /// The note signature line that holds `signature`, which somebody else made of `text`, with its
    /// newline.
    ///
    /// # Errors
    /// As [`VerifierKey::verify`] does.
    pub fn line_of(&self, text: &str, signature: &[u8]) -> Result<String, SignatureError> {
        self.verify(text, signature)?;
        Ok(self.line(signature))
    }

    /// The note signature line that holds `signature`, with its newline.
    pub(super) fn line(&self, signature: &[u8]) -> String {
        let mut bytes = self.id.as_bytes().to_vec();
        bytes.extend_from_slice(signature);
        alloc::format!("\u{2014} {} {}\n", self.name, STANDARD.encode(bytes))
    }

    /// Verifies the bare signature, without a time, over `message`.
    pub(super) fn verify_bytes(
        &self,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), SignatureError> {
        let want = self.kind.signature_len();
        if signature.len() != want {
            return Err(SignatureError::Length { got: signature.len(), want });
        }
        let valid = match &self.public {
            // Strict: R canonical and not of small order, so that every verifier agrees.
            PublicKey::Ed25519(key) => Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok()),
            PublicKey::MlDsa44(bytes) => verify_ml_dsa(bytes, message, signature),
        };
        if valid { Ok(()) } else { Err(SignatureError::Invalid) }
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
        let mut material = Vec::with_capacity(1 + self.public_bytes().len());
        material.push(self.kind.byte());
        material.extend_from_slice(self.public_bytes());
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

/// Checks that a key of this kind can have this name.
pub(super) fn check_name(name: &str, kind: KeyKind) -> Result<(), KeyError> {
    if !valid_name(name) {
        return Err(KeyError::Name);
    }
    if kind == KeyKind::MlDsa44 && name.len() > ML_DSA_NAME_LEN_MAX {
        return Err(KeyError::LongName);
    }
    Ok(())
}

/// FIPS 204, Algorithm 3, with an empty context: C2SP tlog-cosignature names none.
fn verify_ml_dsa(public: &[u8; ML_DSA_PUBLIC_KEY_LEN], message: &[u8], signature: &[u8]) -> bool {
    let key = ml_dsa::VerifyingKey::<MlDsa44>::decode(public.into());
    ml_dsa::Signature::<MlDsa44>::try_from(signature)
        .is_ok_and(|signature| key.verify_with_context(message, &[], &signature))
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
