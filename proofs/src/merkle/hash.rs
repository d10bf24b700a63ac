//! SHA-256 with the domain separation of RFC 6962, Section 2.1.

use alloc::string::{String, ToString};
use core::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use sha2::{Digest as _, Sha256};

/// Bytes in a hash.
pub const HASH_LEN: usize = 32;

/// A SHA-256 hash: a leaf hash, an inner node, a root, or the hash of a file.
///
/// As text it is 64 lower-case hexadecimal digits, except in C2SP notes and proofs, which hold it
/// as base64 ([`Hash::to_base64`]).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; HASH_LEN]);

/// Text that is not the one spelling of a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a hash: expected {expected}")]
pub struct HashError {
    expected: &'static str,
}

impl Hash {
    /// The hash with these bytes.
    pub const fn new(bytes: [u8; HASH_LEN]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; HASH_LEN] {
        &self.0
    }

    /// The hash as padded standard base64 (44 characters), as C2SP notes and proofs write it.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.0)
    }

    /// Reads what [`Hash::to_base64`] wrote.
    ///
    /// # Errors
    /// Fails on any other spelling: missing padding, set unused bits, white space, another length.
    pub fn from_base64(text: &str) -> Result<Self, HashError> {
        const ERROR: HashError = HashError { expected: "32 bytes in base64" };
        let mut bytes = [0; HASH_LEN];
        match STANDARD.decode_slice(text, &mut bytes) {
            Ok(HASH_LEN) => Ok(Self(bytes)),
            _ => Err(ERROR),
        }
    }
}

impl From<[u8; HASH_LEN]> for Hash {
    fn from(bytes: [u8; HASH_LEN]) -> Self {
        Self(bytes)
    }
}

impl FromStr for Hash {
    type Err = HashError;

    /// Reads 64 lower-case hexadecimal digits, the one spelling.
    fn from_str(text: &str) -> Result<Self, HashError> {
        const ERROR: HashError = HashError { expected: "64 lower-case hexadecimal digits" };
        // `hex` accepts upper case too, so the case is checked here.
        if !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(ERROR);
        }
        let mut bytes = [0; HASH_LEN];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| ERROR)?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_string())
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Borrowed only where the input has no escapes; an owned copy is refused later by the
        // comparison with the canonical form, so asking for the owned one is safe for all.
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// SHA-256 of `data`, without any prefix: files, documents, key ids.
pub fn sha256(data: &[u8]) -> Hash {
    Hash(Sha256::digest(data).into())
}

/// The hash of an entry as a leaf: SHA-256(0x00 || entry), [RFC 6962, Section 2.1].
///
/// [RFC 6962, Section 2.1]: https://www.rfc-editor.org/rfc/rfc6962#section-2.1
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Hash(Sha256::new().chain_update([0x00]).chain_update(entry).finalize().into())
}

/// The hash of an inner node: SHA-256(0x01 || left || right), [RFC 6962, Section 2.1].
///
/// [RFC 6962, Section 2.1]: https://www.rfc-editor.org/rfc/rfc6962#section-2.1
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    // One update with all 65 bytes: cheaper than three.
    let mut input = [0x01; 1 + 2 * HASH_LEN];
    input[1..=HASH_LEN].copy_from_slice(&left.0);
    input[1 + HASH_LEN..].copy_from_slice(&right.0);
    Hash(Sha256::digest(input).into())
}
