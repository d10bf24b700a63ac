//! Entries that are proved to be in a signed tree, and that no honest log holds.

use alloc::{
    boxed::Box,
    string::{String, ToString},
    vec::Vec,
};

use super::{Conviction, EvidenceError, EvidencePart, Signed};
use crate::{
    merkle::{Hash, TreeHead, leaf_hash},
    note::UnverifiedCheckpoint,
    tally::{Entry, Placed, judge_alone, judge_lines, judge_pair, judge_place},
};

/// Most entries of one evidence: the manifest of a refusal, and a mandate for every line of what
/// was refused.
pub const EVIDENCE_ENTRIES_MAX: usize = 17;

/// An entry with its place in a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenEntry {
    /// Its bytes, as they are hashed.
    pub bytes: Vec<u8>,
    /// The inclusion proof, from the leaf's sibling up.
    pub hashes: Vec<Hash>,
    /// The 0-based index.
    pub index: u64,
}

/// Entries that one checkpoint proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// The checkpoint.
    pub checkpoint: Box<UnverifiedCheckpoint>,
    /// The entries, in the order that their kind of evidence asks for.
    pub entries: Vec<ProvenEntry>,
}

impl Proven {
    /// The signed head, once it is known that all entries are in its tree.
    pub(super) fn head(&self, signed: &Signed<'_>) -> Result<TreeHead, EvidenceError> {
        let head = signed.head(&self.checkpoint, EvidencePart::Only)?;
        for (entry, at) in self.entries.iter().zip(0..) {
            head.verify_inclusion(entry.index, leaf_hash(&entry.bytes), &entry.hashes)
                .map_err(|error| EvidenceError::Inclusion { entry: at, error })?;
        }
        Ok(head)
    }

    /// Reads all entries but the first `from`. One that is none speaks for a kind of its own.
    pub(super) fn placed(&self, from: usize) -> Result<Vec<Placed>, EvidenceError> {
        let read = |(at, proven): (usize, &ProvenEntry)| {
            let entry = Entry::parse(&proven.bytes);
            let entry = entry.map_err(|_| EvidenceError::NotAnEntry { entry: at })?;
            Ok(Placed::new(proven.index, entry))
        };
        self.entries.iter().enumerate().skip(from).map(read).collect()
    }

    fn breach(&self, at: usize) -> (u64, Hash) {
        (self.entries[at].index, leaf_hash(&self.entries[at].bytes))
    }
}

/// The first entry breaks a rule by itself, or a signature line of it fails under the key that the
/// second one brings.
pub(super) fn bad_entry(proven: &Proven, signed: &Signed<'_>) -> Result<Conviction, EvidenceError> {
    if !(1..=2).contains(&proven.entries.len()) {
        return Err(EvidenceError::Entries);
    }
    let head = proven.head(signed)?;
    let origin = proven.checkpoint.origin();
    let bad = &proven.entries[0];
    let alone = judge_alone(origin, signed.genesis(origin).as_ref(), bad.index, &bad.bytes);
    let breach = match (alone, &proven.placed(1)?[..]) {
        (Err(breach), []) => breach,
        (Ok(placed), [giver]) => match judge_lines(&placed, giver) {
            Err(breach) => breach,
            Ok(()) => return Err(EvidenceError::NoBreach),
        },
        (Ok(_), _) => return Err(EvidenceError::NoBreach),
        // What needs no second entry has none: one conviction, one file.
        (Err(_), _) => return Err(EvidenceError::Entries),
    };
    let (index, leaf) = proven.breach(0);
    Ok(Conviction::BadEntry { origin: origin.to_string(), size: head.size, index, leaf, breach })
}

/// Two entries that break a rule together; for a place in a chain that is held twice with the
/// manifest and a state after them.
pub(super) fn broken_chain(
    proven: &Proven,
    signed: &Signed<'_>,
) -> Result<Conviction, EvidenceError> {
    let (indexes, two) = match &proven.entries[..] {
        [a, b] => ([a.index, b.index], true),
        [a, b, _, _] => ([a.index, b.index], false),
        _ => return Err(EvidenceError::Entries),
    };
    if indexes[0] >= indexes[1] {
        return Err(EvidenceError::Entries);
    }
    let head = proven.head(signed)?;
    let judged = match &proven.placed(0)?[..] {
        [a, b] if two => judge_pair(a, b),
        [a, b, manifest, state] => judge_place(a, b, manifest, state),
        _ => return Err(EvidenceError::Entries),
    };
    let breach = judged.err().ok_or(EvidenceError::NoBreach)?;
    let (earlier, later) = (proven.breach(0), proven.breach(1));
    Ok(Conviction::BrokenChain {
        origin: String::from(proven.checkpoint.origin()),
        size: head.size,
        entries: [earlier, later],
        breach,
    })
}
