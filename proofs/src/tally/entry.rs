//! Entries: what is logged, byte for byte.

use alloc::{boxed::Box, format, string::String, vec::Vec};

use super::{
    attestation::Attestation,
    ids::{Id, KeyRef},
    json,
    keybook::KeyBook,
    mandate::{Freeze, Mandate, Revocation},
    manifest::Manifest,
    refusal::Refusal,
    state::{STATE_LEN_MAX, State},
    statement::Tally,
};
use crate::{
    merkle::{ENTRY_LEN_MAX, Hash, leaf_hash},
    note::{self, NoteSigner, SignError, SignatureLine, SignedNote, SigningKey, VerifierKey},
};

/// Most signature lines of an entry: the author and fifteen co-signers.
pub const SIGNATURES_MAX: usize = 16;

/// The first line of a state, the one kind of entry that nobody signs.
const STATE_LINE: &[u8] = b"jejak/state/v1\n";

/// Bytes of an Ed25519 signature.
const SIGNATURE_LEN: usize = 64;

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Body {
    /// The rules of the election.
    Manifest(Box<Manifest>),
    /// Keys that may speak from now on.
    Mandate(Mandate),
    /// A key that no longer speaks.
    Revocation(Revocation),
    /// The numbers of a form.
    Tally(Box<Tally>),
    /// What somebody else says about a tally.
    Attestation(Attestation),
    /// The log's own commitment to the recap of everything before it.
    State(State),
    /// The end of the log.
    Freeze(Freeze),
}

impl Body {
    /// The kind: the word between the slashes of the first line.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Manifest(_) => "manifest",
            Self::Mandate(_) => "mandate",
            Self::Revocation(_) => "revocation",
            Self::Tally(_) => "tally",
            Self::Attestation(_) => "attestation",
            Self::State(_) => "state",
            Self::Freeze(_) => "freeze",
        }
    }

    /// Reads the unsigned body of an entry of this kind from canonical JSON.
    ///
    /// # Errors
    /// Fails with `malformed`.
    pub fn from_canonical(kind: &str, text: &str) -> Result<Self, Refusal> {
        // No field holds prose, so nothing ever needs an escape.
        if !text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'\\') {
            return Err(Refusal::Malformed(
                "JSON has a byte that is not printable ASCII, or an escape",
            ));
        }
        let body = match kind {
            "manifest" => json::from_canonical(text).map(Self::Manifest),
            "mandate" => json::from_canonical(text).map(Self::Mandate),
            "revocation" => json::from_canonical(text).map(Self::Revocation),
            "tally" => json::from_canonical(text).map(Self::Tally),
            "attestation" => json::from_canonical(text).map(Self::Attestation),
            "state" => json::from_canonical(text).map(Self::State),
            "freeze" => json::from_canonical(text).map(Self::Freeze),
            _ => return Err(Refusal::Malformed("unknown kind or version on the first line")),
        };
        body.map_err(|error| match error {
            json::JsonError::Schema => {
                Refusal::Malformed("the second line is not the object that the first announces")
            }
            json::JsonError::NotCanonical => Refusal::Malformed("JSON is not in canonical form"),
        })
    }

    /// The text that is signed: two lines, kind and canonical JSON.
    pub fn text(&self) -> String {
        let json = match self {
            Self::Manifest(body) => json::to_canonical(body),
            Self::Mandate(body) => json::to_canonical(body),
            Self::Revocation(body) => json::to_canonical(body),
            Self::Tally(body) => json::to_canonical(body),
            Self::Attestation(body) => json::to_canonical(body),
            Self::State(body) => json::to_canonical(body),
            Self::Freeze(body) => json::to_canonical(body),
        };
        format!("jejak/{}/v1\n{json}\n", self.kind())
    }

    /// The author; a manifest and a state have none.
    pub fn author(&self) -> Option<&KeyRef> {
        match self {
            Self::Manifest(_) | Self::State(_) => None,
            Self::Mandate(body) => Some(&body.by),
            Self::Revocation(body) => Some(&body.by),
            Self::Tally(body) => Some(&body.by),
            Self::Attestation(body) => Some(&body.by),
            Self::Freeze(body) => Some(&body.by),
        }
    }

    /// Origin, election and genesis: what ties the statement to one log. A state names none of
    /// them: it follows from the entries that do.
    pub fn place(&self) -> Option<(&str, &Id, Option<&Hash>)> {
        Some(match self {
            Self::Manifest(body) => (&body.log, &body.election, body.genesis.as_ref()),
            Self::Mandate(body) => (&body.log, &body.election, Some(&body.genesis)),
            Self::Revocation(body) => (&body.log, &body.election, Some(&body.genesis)),
            Self::Tally(body) => (&body.log, &body.election, Some(&body.genesis)),
            Self::Attestation(body) => (&body.log, &body.election, Some(&body.genesis)),
            Self::Freeze(body) => (&body.log, &body.election, Some(&body.genesis)),
            Self::State(_) => return None,
        })
    }

    /// Signs: the author's line first, the others ascending by (name, key id).
    ///
    /// Gives the bytes of an entry, which [`Entry::parse`] reads if every key is there once and
    /// the author of the body among them.
    pub fn sign(&self, keys: &[&SigningKey]) -> String {
        let keys: Vec<&dyn NoteSigner> = keys.iter().map(|key| *key as _).collect();
        self.try_sign(&keys).expect("a key in memory signs")
    }

    /// As [`Body::sign`], by keys wherever they are.
    ///
    /// # Errors
    /// Fails if one of them does not sign.
    pub fn try_sign(&self, keys: &[&dyn NoteSigner]) -> Result<String, SignError> {
        let text = self.text();
        let lines = keys.iter().map(|key| line_by(*key, &text)).collect::<Result<_, _>>()?;
        Ok(compose(self.author(), &text, lines))
    }
}

fn line_by(key: &dyn NoteSigner, text: &str) -> Result<(KeyRef, String), SignError> {
    let verifier = key.public();
    Ok((KeyRef::new(verifier.name(), verifier.id()), key.try_sign_line(text)?))
}

/// Puts an entry together: the author's line first, the others ascending by (name, key id).
fn compose(author: Option<&KeyRef>, text: &str, lines: Vec<(KeyRef, String)>) -> String {
    let mut lines: Vec<_> =
        lines.into_iter().map(|(key, line)| (author != Some(&key), key, line)).collect();
    lines.sort();
    let lines: Vec<String> = lines.into_iter().map(|(_, _, line)| line).collect();
    note::compose(text, &lines)
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    key: KeyRef,
    signature: [u8; SIGNATURE_LEN],
}

/// An entry that has the right form. Nothing is known yet about its signatures.
#[derive(Clone, Debug)]
pub struct Entry {
    bytes: Box<[u8]>,
    leaf: Hash,
    text_len: usize,
    lines: Vec<Line>,
    body: Body,
}

impl Entry {
    /// Reads an entry: a signed note of two lines, the second canonical JSON; or a state, which is
    /// two such lines and nothing else.
    ///
    /// # Errors
    /// Fails with `too_large` or `malformed`: any byte that the one spelling does not have.
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        if bytes.len() > ENTRY_LEN_MAX {
            return Err(Refusal::TooLarge);
        }
        let leaf = leaf_hash(bytes);
        if bytes.starts_with(STATE_LINE) {
            let body = parse_state(bytes)?;
            return Ok(Self {
                bytes: bytes.into(),
                leaf,
                text_len: bytes.len(),
                lines: Vec::new(),
                body,
            });
        }
        let note = SignedNote::parse_with(bytes, SIGNATURES_MAX, ENTRY_LEN_MAX)
            .map_err(|_| Refusal::Malformed("not a signed note of at most sixteen lines"))?;
        let text = note.text();
        let body = parse_text(text)?;
        let lines = note.lines().iter().map(|line| {
            let signature = line.signature().try_into().ok()?;
            Some(Line { key: KeyRef::new(line.name(), line.key_id()), signature })
        });
        let lines: Option<Vec<Line>> = lines.collect();
        let lines = lines.ok_or(Refusal::Malformed("a signature is not one of Ed25519"))?;
        check_order(body.author(), &lines)?;
        Ok(Self { bytes: bytes.into(), leaf, text_len: text.len(), lines, body })
    }

    /// The entry as it is logged.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its leaf hash.
    pub fn leaf(&self) -> Hash {
        self.leaf
    }

    /// What is signed: everything before the empty line.
    pub fn text(&self) -> &str {
        core::str::from_utf8(&self.bytes[..self.text_len]).expect("a parsed note is UTF-8")
    }

    /// What it says.
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// The keys whose lines it carries, the author first.
    pub fn signers(&self) -> impl ExactSizeIterator<Item = &KeyRef> {
        self.lines.iter().map(|line| &line.key)
    }

    /// The same entry with the lines of further keys, each in its place.
    ///
    /// Gives bytes as [`Body::sign`] does; a key that has signed already changes nothing. What
    /// [`Entry::parse`] then refuses holds too many lines, or one that says to be by one of `keys`
    /// and is not.
    ///
    /// # Errors
    /// Fails if a key does not sign.
    pub fn countersign(&self, keys: &[&dyn NoteSigner]) -> Result<String, SignError> {
        let text = self.text();
        let note = SignedNote::parse_with(&self.bytes, SIGNATURES_MAX, ENTRY_LEN_MAX)
            .expect("an entry is a signed note");
        let line = |line: &SignatureLine<'_>| {
            (KeyRef::new(line.name(), line.key_id()), format!("{}\n", line.text()))
        };
        let mut lines: Vec<(KeyRef, String)> = note.lines().iter().map(line).collect();
        for key in keys {
            let line = line_by(*key, text)?;
            // A key signs a text in one way: the same line again is no second signature.
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
        Ok(compose(self.body.author(), text, lines))
    }

    /// Checks every signature line against the keys known so far, and the keys that a mandate or
    /// a manifest brings along. Pure: any number of entries can be checked at once.
    ///
    /// Whether the keys are in force and may say this is for [`Ledger::apply`](super::Ledger).
    ///
    /// # Errors
    /// Fails with `unknown_key`, `bad_signature`, or the `invalid_` field of a key it brings.
    pub fn check(self, keys: &KeyBook) -> Result<CheckedEntry, Refusal> {
        if let Body::Manifest(manifest) = &self.body {
            let roots = manifest.root_verifiers()?;
            self.check_lines(keys, &roots)?;
            return Ok(CheckedEntry { entry: self, brought: roots });
        }
        // Reading the keys of a mandate is dear: nobody gets it for a line that does not verify.
        self.check_lines(keys, &[])?;
        self.assume_checked()
    }

    fn check_lines(&self, keys: &KeyBook, new_roots: &[VerifierKey]) -> Result<(), Refusal> {
        let text = self.text();
        for line in &self.lines {
            let of_line =
                |key: &&VerifierKey| key.name() == line.key.name() && key.id() == line.key.id();
            let verifier = keys
                .find(&line.key)
                .map(|key| key.verifier())
                .or_else(|| new_roots.iter().find(of_line))
                .ok_or(Refusal::UnknownKey)?;
            verifier.verify(text, &line.signature).map_err(|_| Refusal::BadSignature)?;
        }
        Ok(())
    }

    /// Whether the line of this key verifies; `None` if no line has its name and key id.
    pub(super) fn signed_by(&self, key: &VerifierKey) -> Option<bool> {
        let of_key = |line: &&Line| line.key.name() == key.name() && line.key.id() == key.id();
        let line = self.lines.iter().find(of_key)?;
        Some(key.verify(self.text(), &line.signature).is_ok())
    }

    /// Takes the signatures for good: only for bytes out of one's own log, whose signatures were
    /// checked when they were admitted.
    ///
    /// # Errors
    /// Fails with the `invalid_` field of a key that the entry brings.
    pub fn assume_checked(self) -> Result<CheckedEntry, Refusal> {
        let brought = match &self.body {
            Body::Manifest(manifest) => manifest.root_verifiers()?,
            Body::Mandate(mandate) => mandate.verifiers()?,
            _ => Vec::new(),
        };
        Ok(CheckedEntry { entry: self, brought })
    }
}

/// Reads a state: its text alone, without an empty line and without signatures.
fn parse_state(bytes: &[u8]) -> Result<Body, Refusal> {
    let text = core::str::from_utf8(bytes).ok().filter(|text| text.len() <= STATE_LEN_MAX);
    parse_text(text.ok_or(Refusal::Malformed("a state is text of at most 512 bytes"))?)
}

/// Reads the text of an entry: two lines, kind and canonical JSON.
fn parse_text(text: &str) -> Result<Body, Refusal> {
    let (head, rest) = text.split_once('\n').ok_or(Refusal::Malformed("no second line"))?;
    let kind = head
        .strip_prefix("jejak/")
        .and_then(|head| head.strip_suffix("/v1"))
        .ok_or(Refusal::Malformed("the first line is not jejak/<kind>/v1"))?;
    let json = rest
        .strip_suffix('\n')
        .filter(|json| !json.contains('\n'))
        .ok_or(Refusal::Malformed("the text has not exactly two lines"))?;
    Body::from_canonical(kind, json)
}

/// The author first, then ascending by (name, key id), no key twice: one order for one set.
fn check_order(author: Option<&KeyRef>, lines: &[Line]) -> Result<(), Refusal> {
    let co_signers = match author {
        None => lines,
        Some(author) => match lines.split_first() {
            Some((first, rest)) if first.key == *author => rest,
            _ => return Err(Refusal::Malformed("the first line is not the author's, `by`")),
        },
    };
    let rising = co_signers.is_sorted_by(|a, b| a.key < b.key);
    if rising && co_signers.iter().all(|line| Some(&line.key) != author) {
        Ok(())
    } else {
        Err(Refusal::Malformed("lines are not ascending by name and key id, or a key stands twice"))
    }
}

/// An entry whose signature lines all verify, with the keys that it brings parsed.
#[derive(Clone, Debug)]
pub struct CheckedEntry {
    entry: Entry,
    brought: Vec<VerifierKey>,
}

impl CheckedEntry {
    /// The entry.
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// The keys of a mandate, in its order; the root keys of a manifest.
    pub(super) fn brought(&self) -> &[VerifierKey] {
        &self.brought
    }
}
