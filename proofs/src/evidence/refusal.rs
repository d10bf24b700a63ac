//! Signed refusals: what a log said of an entry that it did not take, and when that was false.
//!
//! ```text
//! jejak/refusal/v1
//! {"code":"conflict","election":"2024","genesis":"c824...","head":{...},"leaf":"50dd...",...}
//!
//! <em dash> log.example/2024/refusal 1PeUKSVO...
//! ```
//!
//! The key is one of its own, which the manifest in force names. It is not the log's: what signs
//! many answers a second is kept apart from what signs trees.

use alloc::{
    boxed::Box,
    format,
    string::{String, ToString},
};
use core::fmt;

use serde::{Deserialize, Serialize};

use super::{Conviction, EvidenceError, Proven, Signed};
use crate::{
    merkle::{Hash, TreeHead, leaf_hash},
    note::{KeyKind, SignedNote, SigningKey, VerifierKey, compose},
    tally::{
        Body, ChainHead, Entry, Id, Manifest, Placed, Word, from_canonical, judge_alone,
        to_canonical,
    },
};

/// Bytes of a signed refusal that are read.
pub const REFUSAL_LEN_MAX: usize = 4 * 1024;

/// The first line.
const HEADING: &str = "jejak/refusal/v1";

/// What is signed. Fields stand in bytewise order of their names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefusalBody {
    /// The stable code of SPEC.md, "Errors".
    pub code: Word,
    /// The election id.
    pub election: Id,
    /// Leaf hash of entry 0.
    pub genesis: Hash,
    /// The head of the chain that a `conflict` does not extend; null if that chain is empty, and
    /// for every other code.
    pub head: Option<RefusalHead>,
    /// Leaf hash of what was refused.
    pub leaf: Hash,
    /// Origin of the log.
    pub log: Box<str>,
    /// Root of the tree that it was judged at.
    pub root: Hash,
    /// Entries that stood before it.
    pub size: u64,
    /// When, in POSIX seconds, as the log says.
    pub time: u64,
}

/// The head of a chain, as a refusal names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefusalHead {
    /// Its index.
    pub index: u64,
    /// Its leaf hash.
    pub leaf: Hash,
    /// Its place in the chain, from 0.
    pub seq: u32,
}

impl From<ChainHead> for RefusalHead {
    fn from(head: ChainHead) -> Self {
        Self { index: head.index, leaf: head.leaf, seq: head.seq }
    }
}

/// Why bytes are no signed refusal, or none of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefusalError {
    /// More than [`REFUSAL_LEN_MAX`] bytes, or not a note of two lines and one signature.
    #[error("not a signed refusal")]
    Malformed,
    /// Another key signed, or the signature does not verify.
    #[error("it is not signed by the refusal key that the manifest names")]
    Signature,
    /// The manifest names no key for refusals, or is not one.
    #[error("the first entry is no manifest that names a key for refusals")]
    NoKey,
    /// It names another log, election or beginning than the manifest.
    #[error("it is of another log")]
    OtherLog,
    /// The manifest stands at or behind the size that it was judged at.
    #[error("it was judged before the manifest that names the key")]
    TooEarly,
    /// The refused bytes are not those whose leaf hash was refused.
    #[error("it is about another entry")]
    OtherEntry,
}

/// A refusal that was read, or signed here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedRefusal {
    body: RefusalBody,
    note: Box<str>,
}

impl RefusalBody {
    /// The text that is signed.
    pub fn text(&self) -> String {
        format!("{HEADING}\n{}\n", to_canonical(self))
    }

    /// Signs it, by a key that the manifest in force names.
    pub fn sign(self, key: &SigningKey) -> SignedRefusal {
        let text = self.text();
        let note = compose(&text, &[key.sign_line(&text)]).into();
        SignedRefusal { body: self, note }
    }
}

impl SignedRefusal {
    /// Reads a refusal in its one spelling. Nothing is known yet about its signature.
    ///
    /// # Errors
    /// Fails with [`RefusalError::Malformed`]. It never panics.
    pub fn parse(bytes: &[u8]) -> Result<Self, RefusalError> {
        let malformed = RefusalError::Malformed;
        let note = SignedNote::parse_with(bytes, 1, REFUSAL_LEN_MAX).map_err(|_| malformed)?;
        let json = note
            .text()
            .strip_prefix(HEADING)
            .and_then(|rest| rest.strip_prefix('\n'))
            .and_then(|rest| rest.strip_suffix('\n'))
            .ok_or(malformed)?;
        // The bytes of an entry's JSON: no field holds prose, so nothing ever needs an escape.
        if !json.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'\\') {
            return Err(malformed);
        }
        let body: RefusalBody = from_canonical(json).map_err(|_| malformed)?;
        let text = core::str::from_utf8(bytes).map_err(|_| malformed)?;
        if body.head.is_some() && body.code.as_str() != "conflict" {
            return Err(malformed);
        }
        Ok(Self { body, note: text.into() })
    }

    /// What it says.
    pub fn body(&self) -> &RefusalBody {
        &self.body
    }

    /// Checks that the refusal is signed by this key.
    ///
    /// # Errors
    /// Fails with [`RefusalError::Signature`].
    pub fn verify(&self, key: &VerifierKey) -> Result<(), RefusalError> {
        let error = RefusalError::Signature;
        let note = SignedNote::parse_with(self.note.as_bytes(), 1, REFUSAL_LEN_MAX);
        let note = note.map_err(|_| error)?;
        let [line] = note.lines() else { return Err(error) };
        let valid = key.kind() == KeyKind::Ed25519
            && line.is_by(key)
            && key.verify(note.text(), line.signature()).is_ok();
        if valid { Ok(()) } else { Err(error) }
    }
}

impl fmt::Display for SignedRefusal {
    /// The note.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.note)
    }
}

/// What makes a signed refusal false.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Lie {
    /// The entry was logged.
    #[error("it refused bytes that it had logged")]
    Logged,
    /// The tree that it was judged at is none of the log's.
    #[error("it was judged at a tree that the log did not sign")]
    Root,
    /// The log took entries after it had said that it had ended.
    #[error("it said that it had ended, and went on")]
    WentOn,
    /// Every signing key was mandated.
    #[error("it did not know a key, and had taken the mandates of all of them")]
    Known,
    /// Every line verifies.
    #[error("it called a signature false, and all of them verify")]
    Valid,
    /// The tally extends the head that the refusal names.
    #[error("it named a head as one that the tally does not extend, and the tally extends it")]
    Extends,
    /// The head that the refusal names is not there, or was replaced.
    #[error("it named a head that was none")]
    Head,
    /// The entry names this log and its beginning.
    #[error("it called the entry one of another log, and it is of this one")]
    Place,
    /// The entry keeps the rule that it is said to break.
    #[error("it called a field false that breaks no rule")]
    Field,
}

impl Lie {
    /// The rule of SPEC.md, without brackets.
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Logged => "D2",
            Self::Root => "C3",
            Self::WentOn => "F1",
            Self::Known => "D5",
            Self::Valid => "M1",
            Self::Extends | Self::Head => "H2",
            Self::Place => "E12",
            Self::Field => "D1",
        }
    }
}

/// A refusal under the key that the first entry names, and what contradicts it.
pub(super) fn false_refusal(
    proven: &Proven,
    refusal: &SignedRefusal,
    refused: Option<&[u8]>,
    signed: &Signed<'_>,
) -> Result<Conviction, EvidenceError> {
    let origin = proven.checkpoint.origin();
    let head = proven.head(signed)?;
    let shown = proven.placed(0)?;
    let [manifest, others @ ..] = &shown[..] else { return Err(EvidenceError::Entries) };
    let body = refusal.body();
    let rules = under_manifest(origin, manifest, refusal).map_err(EvidenceError::Refusal)?;
    let entry = match refused {
        Some(bytes) if leaf_hash(bytes) != body.leaf => {
            return Err(EvidenceError::Refusal(RefusalError::OtherEntry));
        }
        Some(bytes) => Some(Entry::parse(bytes).map_err(|_| EvidenceError::NoBreach)?),
        None => None,
    };
    let of_keys = matches!(body.code.as_str(), "bad_signature" | "unknown_key");
    let lie = match (&entry, others) {
        (None, []) => by_head(body, head),
        (None, [other]) => by_entry(body, other),
        (Some(entry), _) if of_keys => by_keys(body, entry, &shown),
        (Some(entry), []) => by_refused(body, rules, entry),
        (Some(entry), [other]) if body.head.is_some() => by_chain(body, entry, other),
        _ => return Err(EvidenceError::Entries),
    };
    let lie = lie.ok_or(EvidenceError::NoBreach)?;
    Ok(Conviction::FalseRefusal {
        origin: origin.to_string(),
        code: body.code.to_string(),
        leaf: body.leaf,
        judged: TreeHead { size: body.size, root: body.root },
        lie,
    })
}

/// The manifest that names the key, if it signed the refusal and stands before it.
fn under_manifest<'a>(
    origin: &str,
    manifest: &'a Placed,
    refusal: &SignedRefusal,
) -> Result<&'a Manifest, RefusalError> {
    let Body::Manifest(rules) = manifest.entry().body() else { return Err(RefusalError::NoKey) };
    let vkey = rules.refusal_key.as_deref().ok_or(RefusalError::NoKey)?;
    let key = VerifierKey::parse(vkey).map_err(|_| RefusalError::NoKey)?;
    refusal.verify(&key)?;
    let body = refusal.body();
    let genesis = rules.genesis.unwrap_or_else(|| manifest.entry().leaf());
    if *body.log != *origin || body.genesis != genesis || body.election != rules.election {
        return Err(RefusalError::OtherLog);
    }
    if manifest.index() < body.size { Ok(rules) } else { Err(RefusalError::TooEarly) }
}

/// What the refusal says of the tree, and of the head of a chain in it.
fn by_head(body: &RefusalBody, head: TreeHead) -> Option<Lie> {
    if body.head.is_some_and(|named| named.index >= body.size) {
        return Some(Lie::Head);
    }
    (head.size == body.size && head.root != body.root).then_some(Lie::Root)
}

/// What one entry of the log says against it.
fn by_entry(body: &RefusalBody, other: &Placed) -> Option<Lie> {
    let (index, leaf) = (other.index(), other.entry().leaf());
    let (before, is_state) = (index < body.size, matches!(other.entry().body(), Body::State(_)));
    if before && leaf == body.leaf {
        return Some(Lie::Logged);
    }
    // The state that covers the freeze is all that may still come.
    let after = index > body.size || (index == body.size && !is_state);
    if body.code.as_str() == "log_frozen" && after {
        return Some(Lie::WentOn);
    }
    let named = body.head?;
    let is_it = leaf == named.leaf
        && matches!(other.entry().body(), Body::Tally(tally) if tally.seq == named.seq);
    let another = index == named.index && !is_it;
    let replaced = before
        && matches!(other.entry().body(), Body::Tally(tally) if tally.prev == Some(named.leaf));
    (another || replaced).then_some(Lie::Head)
}

/// What the named head itself says against it: that it is of another chain than the tally.
fn by_chain(body: &RefusalBody, entry: &Entry, other: &Placed) -> Option<Lie> {
    let named = body.head?;
    if (other.index(), other.entry().leaf()) != (named.index, named.leaf) {
        return None;
    }
    let (Body::Tally(tally), Body::Tally(head)) = (entry.body(), other.entry().body()) else {
        return None;
    };
    let same = tally.contest == head.contest && tally.unit == head.unit;
    (!same || tally.round != head.round).then_some(Lie::Head)
}

/// What the keys that entries before it brought say against it.
fn by_keys(body: &RefusalBody, entry: &Entry, shown: &[Placed]) -> Option<Lie> {
    let before = |placed: &&Placed| placed.index() < body.size;
    let known = |key| shown.iter().filter(before).any(|placed| placed.key(key).is_some());
    if entry.signers().len() == 0 || !entry.signers().all(known) {
        return None;
    }
    let lines = shown.iter().all(|placed| placed.lines_hold(entry));
    match body.code.as_str() {
        "unknown_key" => Some(Lie::Known),
        _ => lines.then_some(Lie::Valid),
    }
}

/// What the refused entry says against it.
fn by_refused(body: &RefusalBody, rules: &Manifest, entry: &Entry) -> Option<Lie> {
    let (log, election, genesis) = entry.body().place()?;
    let place = match body.code.as_str() {
        "invalid_log" => log == &*body.log,
        "invalid_election" => *election == rules.election,
        "invalid_genesis" => genesis == Some(&body.genesis),
        _ => false,
    };
    if place {
        return Some(Lie::Place);
    }
    let Body::Tally(tally) = entry.body() else { return None };
    match body.code.as_str() {
        "conflict" => {
            let extends = match body.head {
                None => tally.seq == 0,
                Some(head) => {
                    head.seq.checked_add(1) == Some(tally.seq) && tally.prev == Some(head.leaf)
                }
            };
            extends.then_some(Lie::Extends)
        }
        "invalid_decision" | "invalid_docs" | "invalid_prev" | "invalid_reason" => {
            let alone = judge_alone(&body.log, Some(&body.genesis), body.size, entry.bytes());
            alone.is_ok().then_some(Lie::Field)
        }
        _ => None,
    }
}
