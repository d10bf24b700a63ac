//! Signed notes (C2SP signed-note): a text, an empty line, signature lines.
//!
//! ```text
//! This is an example message.
//!
//! <em dash> example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYj...
//! ```
//!
//! The text must be ignored until a signature by a known key has verified.

use alloc::{string::String, vec::Vec};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{KeyId, VerifierKey, valid_name};

/// Signatures of a note that are read where nothing else is said; C2SP demands 16 at least.
pub const NOTE_SIGNATURES_MAX: usize = 64;

/// Bytes of a note that are read where nothing else is said: 64 lines with an ML-DSA-44 signature
/// (3.3 KB each, 3.5 KB under the longest name) fit, and 16 of the largest post-quantum ones in
/// use (5 kB, 6.7 KB in base64).
pub const NOTE_LEN_MAX: usize = 256 * 1024;

const DASH: &str = "\u{2014} ";

/// Why a note was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoteError {
    /// Longer than the limit.
    #[error("a note of {len} bytes, at most {max} are read")]
    TooLong {
        /// Bytes found.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// Not valid UTF-8.
    #[error("not valid UTF-8")]
    NotUtf8,
    /// A control character below U+0020 other than newline.
    #[error("a control character other than newline")]
    ControlCharacter,
    /// No text that ends in a newline, followed by an empty line and at least one further line.
    #[error("no signature lines after an empty line")]
    NoSignatures,
    /// The last line does not end in a newline.
    #[error("the last line does not end in a newline")]
    NoFinalNewline,
    /// A line below the last empty line is not a signature line.
    #[error("signature line {number}: {kind}")]
    Line {
        /// Which one, from 1.
        number: usize,
        /// What is wrong with it.
        kind: LineError,
    },
    /// More signature lines than the limit.
    #[error("more than {max} signature lines")]
    TooManySignatures {
        /// The limit.
        max: usize,
    },
    /// A line with the name and id of a known key is not a signature by it.
    #[error("the signature of key {key} does not verify")]
    BadSignature {
        /// The id of the key.
        key: KeyId,
    },
    /// No known key signed.
    #[error("no signature by a known key")]
    Unsigned,
}

/// What is wrong with a signature line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineError {
    /// Not an em dash, a space, a name, a space, and base64.
    #[error("not an em dash, a name and a signature, with single spaces")]
    Form,
    /// Not a valid key name.
    #[error("not a valid key name")]
    Name,
    /// Not the one spelling of base64: padding present, unused bits zero.
    #[error("not padded standard base64 in its one spelling")]
    Base64,
    /// Fewer than five bytes: no room for a key id and a signature.
    #[error("too short for a key id and a signature")]
    Short,
}

/// One signature line, not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureLine<'a> {
    text: &'a str,
    name: &'a str,
    key_id: KeyId,
    signature: Vec<u8>,
}

impl<'a> SignatureLine<'a> {
    /// Reads one line, given without its newline.
    ///
    /// # Errors
    /// Fails on anything but the one spelling. It never panics.
    pub fn parse(text: &'a str) -> Result<Self, LineError> {
        let rest = text.strip_prefix(DASH).ok_or(LineError::Form)?;
        let (name, base64) = rest.split_once(' ').ok_or(LineError::Form)?;
        if !valid_name(name) {
            return Err(LineError::Name);
        }
        let mut bytes = STANDARD.decode(base64).map_err(|_| LineError::Base64)?;
        let key_id = match bytes.first_chunk::<4>() {
            Some(id) if bytes.len() > id.len() => KeyId::new(*id),
            _ => return Err(LineError::Short),
        };
        bytes.drain(..key_id.as_bytes().len());
        Ok(Self { text, name, key_id, signature: bytes })
    }

    /// The line as it was read, without its newline.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// The name of the key that is said to have signed.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// The id of the key that is said to have signed.
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// The signature without the key id; never empty.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// Whether name and id are those of `key`: only then does its verdict count.
    pub fn is_by(&self, key: &VerifierKey) -> bool {
        self.name == key.name() && self.key_id == key.id()
    }
}

/// A note that was read: its form is right, its signatures are not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedNote<'a> {
    text: &'a str,
    lines: Vec<SignatureLine<'a>>,
}

impl<'a> SignedNote<'a> {
    /// Reads a note with the limits [`NOTE_SIGNATURES_MAX`] and [`NOTE_LEN_MAX`].
    ///
    /// # Errors
    /// As [`SignedNote::parse_with`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, NoteError> {
        Self::parse_with(bytes, NOTE_SIGNATURES_MAX, NOTE_LEN_MAX)
    }

    /// Reads a note of at most `len_max` bytes with at most `signatures_max` signature lines.
    ///
    /// The text may have empty lines: it is split off at the last one. Nothing is normalised, so
    /// text and lines together are the bytes that were read.
    ///
    /// # Errors
    /// Fails if the note is not exactly as C2SP signed-note, "Format", says, or beyond a limit. It
    /// never panics.
    pub fn parse_with(
        bytes: &'a [u8],
        signatures_max: usize,
        len_max: usize,
    ) -> Result<Self, NoteError> {
        if bytes.len() > len_max {
            return Err(NoteError::TooLong { len: bytes.len(), max: len_max });
        }
        let note = core::str::from_utf8(bytes).map_err(|_| NoteError::NotUtf8)?;
        if note.bytes().any(|b| b < b' ' && b != b'\n') {
            return Err(NoteError::ControlCharacter);
        }
        // Both halves keep their newline: the one that ends the text, and the empty line's.
        let end = note.rfind("\n\n").ok_or(NoteError::NoSignatures)? + 1;
        let (text, block) = (&note[..end], &note[end + 1..]);
        if block.is_empty() {
            return Err(NoteError::NoSignatures);
        }
        let block = block.strip_suffix('\n').ok_or(NoteError::NoFinalNewline)?;
        let mut lines = Vec::new();
        for (line, number) in block.split('\n').zip(1..) {
            if number > signatures_max {
                return Err(NoteError::TooManySignatures { max: signatures_max });
            }
            let line =
                SignatureLine::parse(line).map_err(|kind| NoteError::Line { number, kind })?;
            lines.push(line);
        }
        Ok(Self { text, lines })
    }

    /// What is signed; ends in a newline.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// The signature lines in the order of the note; at least one.
    pub fn lines(&self) -> &[SignatureLine<'a>] {
        &self.lines
    }

    /// Verifies every line that is by one of `keys`, and returns the keys that signed, each once,
    /// in the order of `keys`.
    ///
    /// Lines by unknown keys are ignored, also if they share a name or an id (not both) with a
    /// known one. Verifies at most one signature a line and matching key.
    ///
    /// # Errors
    /// [`NoteError::BadSignature`] if a line by a known key does not verify (C2SP signed-note:
    /// "clients SHOULD reject the whole note"), [`NoteError::Unsigned`] if no known key signed.
    pub fn verify<'k>(&self, keys: &[&'k VerifierKey]) -> Result<Vec<&'k VerifierKey>, NoteError> {
        let mut signers = Vec::new();
        for &key in keys {
            let mut signed = false;
            for line in self.lines.iter().filter(|line| line.is_by(key)) {
                key.verify(self.text, &line.signature)
                    .map_err(|_| NoteError::BadSignature { key: key.id() })?;
                signed = true;
            }
            if signed {
                signers.push(key);
            }
        }
        if signers.is_empty() { Err(NoteError::Unsigned) } else { Ok(signers) }
    }
}

/// Puts a note together: `text`, which ends in a newline, an empty line, and `lines`, each with its
/// newline, as [`SigningKey::sign_line`](super::SigningKey::sign_line) makes them.
pub fn compose<L: AsRef<str>>(text: &str, lines: &[L]) -> String {
    let len = lines.iter().map(|line| line.as_ref().len()).sum::<usize>();
    let mut note = String::with_capacity(text.len() + 1 + len);
    note.push_str(text);
    note.push('\n');
    lines.iter().for_each(|line| note.push_str(line.as_ref()));
    note
}
