//! Checkpoints: signed tree heads (C2SP tlog-checkpoint).
//!
//! ```text
//! example.com/behind-the-sofa
//! 20852163
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
//!
//! <em dash> example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u...
//! ```
//!
//! One inclusion proof can fit several tree sizes, so a size and a root are worth something only
//! where a signature binds them: functions that verify proofs take their tree head from a
//! [`Checkpoint`].

use alloc::{format, string::String, vec::Vec};

use super::{KeyId, KeyKind, NoteError, NoteSigner, NumberError, SignError, SignatureLine};
use super::{SignedNote, VerifierKey, compose, decimal};
use crate::merkle::{Hash, TREE_SIZE_MAX, TreeHead};

/// Why a checkpoint was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// Not a signed note.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// Fewer than three lines of text.
    #[error("fewer than the three lines origin, size and root")]
    Lines,
    /// An empty line in the text: not even an extension line is empty.
    #[error("an empty line in the text")]
    EmptyLine,
    /// An origin that is kept for other messages: `jejak/...` and `cosignature/v1`.
    #[error("an origin that is reserved for other messages")]
    Origin,
    /// The size is not spelled right or above [`TREE_SIZE_MAX`].
    #[error("tree size: {0}")]
    Size(NumberError),
    /// The root is not 32 bytes in the one spelling of base64.
    #[error("the root is not 32 bytes in base64")]
    Root,
    /// Size 0 with another root than that of the empty tree.
    #[error("size 0 without the root of the empty tree")]
    EmptyRoot,
    /// A line to be added is not one signature line with its newline.
    #[error("not a signature line with its newline")]
    AddedLine,
    /// The checkpoint is of another log than the one asked for.
    #[error("a checkpoint of another origin")]
    OtherOrigin,
    /// No listed key of the log signed.
    #[error("no signature by a known key of the log")]
    Unsigned,
    /// A line with the name and id of a listed key of the log is not a signature by it.
    #[error("the log's signature by key {key} does not verify")]
    LogSignature {
        /// The id of the key.
        key: KeyId,
    },
    /// `--require-pq`, and no signature of this kind by a known key of the log.
    #[error("--require-pq: no signature of type {:#04x} by a known key of the log", kind.byte())]
    RequirePq {
        /// The kind that is missing.
        kind: KeyKind,
    },
    /// A line with the name and id of a listed witness is not a cosignature by it.
    #[error("the witness's cosignature by key {key} does not verify")]
    Cosignature {
        /// The id of the key.
        key: KeyId,
    },
    /// The key does not sign.
    #[error("signing: {0}")]
    Signing(#[from] SignError),
    /// The witnesses that cosigned are not a quorum.
    #[error("the cosignatures do not make the quorum of the policy")]
    Quorum,
}

/// Which of the three questions about a checkpoint got the answer no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CheckpointFault {
    /// It is not a checkpoint.
    Malformed,
    /// It is not one that the log signed.
    LogSignature,
    /// Not enough witnesses cosigned it, or one whose cosignature does not verify.
    Quorum,
}

impl CheckpointError {
    /// The question that this error answers.
    pub fn fault(&self) -> CheckpointFault {
        match self {
            Self::OtherOrigin
            | Self::Unsigned
            | Self::LogSignature { .. }
            | Self::RequirePq { .. } => CheckpointFault::LogSignature,
            Self::Cosignature { .. } | Self::Quorum => CheckpointFault::Quorum,
            _ => CheckpointFault::Malformed,
        }
    }
}

/// Whether an origin is kept for other messages. The first line keeps all messages of a key apart:
/// a checkpoint is never a tally, and never the message of a cosignature.
pub(super) fn reserved_origin(origin: &str) -> bool {
    origin.starts_with("jejak/") || origin == "cosignature/v1"
}

/// Reads the text of a checkpoint: its origin, and its tree head.
///
/// # Errors
/// Fails if it is not as C2SP tlog-checkpoint says, on an origin that is reserved for other
/// messages, and on sizes above [`TREE_SIZE_MAX`].
pub(super) fn parse_text(text: &str) -> Result<(&str, TreeHead), CheckpointError> {
    let body = text.strip_suffix('\n').unwrap_or(text);
    if body.split('\n').any(str::is_empty) {
        return Err(CheckpointError::EmptyLine);
    }
    let mut lines = body.split('\n');
    let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
        return Err(CheckpointError::Lines);
    };
    if reserved_origin(origin) {
        return Err(CheckpointError::Origin);
    }
    let size = decimal(size, TREE_SIZE_MAX).map_err(CheckpointError::Size)?;
    let root = Hash::from_base64(root).map_err(|_| CheckpointError::Root)?;
    if size == 0 && root != TreeHead::EMPTY.root {
        return Err(CheckpointError::EmptyRoot);
    }
    Ok((origin, TreeHead { size, root }))
}

/// A checkpoint that was read; nothing that it says is known to be true.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UnverifiedCheckpoint {
    note: String,
    origin_len: usize,
    text_len: usize,
    head: TreeHead,
}

impl UnverifiedCheckpoint {
    /// Reads a checkpoint with its signature lines.
    ///
    /// Extension lines are taken and mean nothing: Ed25519 signatures cover them, those of
    /// ML-DSA-44 do not. Lines by keys of unknown types are taken too, within the limits of
    /// [`SignedNote::parse`].
    ///
    /// # Errors
    /// Fails if it is not a signed note, if its text is not as C2SP tlog-checkpoint says, on an
    /// origin that is reserved for other messages, and on sizes above [`TREE_SIZE_MAX`]. It never
    /// panics.
    pub fn parse(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let note = SignedNote::parse(bytes)?;
        let (origin, head) = parse_text(note.text())?;
        // A note is valid UTF-8 from end to end, so nothing is replaced here.
        let whole = String::from_utf8_lossy(bytes).into_owned();
        let (origin_len, text_len) = (origin.len(), note.text().len());
        Ok(Self { note: whole, origin_len, text_len, head })
    }

    /// The first line: which log this is said to be from.
    pub fn origin(&self) -> &str {
        &self.note[..self.origin_len]
    }

    /// The size and root that it claims.
    pub fn claimed_head(&self) -> TreeHead {
        self.head
    }

    /// The whole note, byte for byte as it was read.
    pub fn note(&self) -> &str {
        &self.note
    }

    /// The note down to the empty line, with extension lines if there are any. An Ed25519 signature
    /// covers all of it, one of ML-DSA-44 its first three lines.
    pub fn text(&self) -> &str {
        &self.note[..self.text_len]
    }

    pub(super) fn signed_note(&self) -> Result<SignedNote<'_>, NoteError> {
        SignedNote::parse(self.note.as_bytes())
    }

    /// Checks that the log `origin` signed this checkpoint.
    ///
    /// `log_keys` are the keys that may sign for it, Ed25519 or ML-DSA-44; any one of them
    /// suffices. Keys with another name than the origin and keys that only cosign never sign for a
    /// log, and are passed over.
    ///
    /// # Security
    /// It says nothing about witnesses, and so nothing about whether others were shown the same.
    /// [`Policy::verify`](super::Policy::verify) does. Where only an ML-DSA-44 line verified,
    /// nobody signed the extension lines: rest on origin and head, on nothing else of the text.
    ///
    /// # Errors
    /// [`CheckpointError::OtherOrigin`] if the origin is another, [`CheckpointError::LogSignature`]
    /// if a line by a listed key does not verify, also beside one that does, and
    /// [`CheckpointError::Unsigned`] if there is none. It never panics.
    pub fn verify<'k>(
        self,
        origin: &str,
        log_keys: impl IntoIterator<Item = &'k VerifierKey>,
    ) -> Result<Checkpoint, CheckpointError> {
        self.signers(origin, log_keys)?;
        Ok(Checkpoint(self))
    }

    /// As [`UnverifiedCheckpoint::verify`], with every kind of `kinds` among the signatures.
    pub(super) fn verify_kinds<'k>(
        self,
        origin: &str,
        log_keys: impl IntoIterator<Item = &'k VerifierKey>,
        kinds: &[KeyKind],
    ) -> Result<Checkpoint, CheckpointError> {
        let signers = self.signers(origin, log_keys)?;
        let signed = |kind: &KeyKind| signers.iter().any(|key| key.kind() == *kind);
        match kinds.iter().find(|kind| !signed(kind)) {
            None => Ok(Checkpoint(self)),
            Some(&kind) => Err(CheckpointError::RequirePq { kind }),
        }
    }

    /// The keys that signed for the log; at least one.
    fn signers<'k>(
        &self,
        origin: &str,
        log_keys: impl IntoIterator<Item = &'k VerifierKey>,
    ) -> Result<Vec<&'k VerifierKey>, CheckpointError> {
        if self.origin() != origin {
            return Err(CheckpointError::OtherOrigin);
        }
        let signs = |key: &&VerifierKey| key.name() == origin && key.kind().signs_logs();
        let keys: Vec<&VerifierKey> = log_keys.into_iter().filter(signs).collect();
        match self.signed_note()?.verify(&keys) {
            Ok(signers) => Ok(signers),
            Err(NoteError::BadSignature { key }) => Err(CheckpointError::LogSignature { key }),
            Err(_) => Err(CheckpointError::Unsigned),
        }
    }
}

/// A checkpoint whose log signature verified, or that was signed here. There is no other way to
/// come by one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Checkpoint(UnverifiedCheckpoint);

impl Checkpoint {
    /// Signs a tree head in the name of the log that `key` is named after.
    ///
    /// The bytes follow from head and key alone: signing again gives the same checkpoint.
    ///
    /// # Security
    /// A log that signs two heads of which neither extends the other is convicted by them. Sign
    /// only a head that is durable.
    ///
    /// # Errors
    /// Fails if the key's name is an origin that is reserved, if the size is above
    /// [`TREE_SIZE_MAX`], if the size is 0 and the root not that of the empty tree, or if the key
    /// does not sign.
    pub fn sign(head: TreeHead, key: &(impl NoteSigner + ?Sized)) -> Result<Self, CheckpointError> {
        let name = key.public().name();
        let text = format!("{name}\n{}\n{}\n", head.size, head.root.to_base64());
        let note = compose(&text, &[key.try_sign_line(&text)?]);
        UnverifiedCheckpoint::parse(note.as_bytes()).map(Self)
    }

    /// The same checkpoint with further signature lines, such as cosignatures, below its own.
    ///
    /// # Errors
    /// [`CheckpointError::AddedLine`] if one is not a single signature line with its newline, or an
    /// error of the note if it becomes too long. The new lines are not verified.
    pub fn with_lines<L: AsRef<str>>(&self, lines: &[L]) -> Result<Self, CheckpointError> {
        let mut note = String::from(self.note());
        for line in lines {
            // One line each: a second one in it could move the end of the signed text.
            let line = line.as_ref();
            let bare = line.strip_suffix('\n').ok_or(CheckpointError::AddedLine)?;
            SignatureLine::parse(bare).map_err(|_| CheckpointError::AddedLine)?;
            note.push_str(line);
        }
        UnverifiedCheckpoint::parse(note.as_bytes()).map(Self)
    }

    /// The log that signed it.
    pub fn origin(&self) -> &str {
        self.0.origin()
    }

    /// The size and root that the log signed.
    pub fn head(&self) -> TreeHead {
        self.0.head
    }

    /// The whole note, byte for byte.
    pub fn note(&self) -> &str {
        self.0.note()
    }

    /// The note down to the empty line, as [`UnverifiedCheckpoint::text`].
    pub fn text(&self) -> &str {
        self.0.text()
    }

    /// The checkpoint as others read it, before they verify it.
    pub fn as_unverified(&self) -> &UnverifiedCheckpoint {
        &self.0
    }
}

impl From<Checkpoint> for UnverifiedCheckpoint {
    fn from(checkpoint: Checkpoint) -> Self {
        checkpoint.0
    }
}
