//! The recap as clients see it: proofs are verified, and what no signature covers is checked
//! against them.

use jejak_proofs::{
    merkle::{Hash, leaf_hash},
    note::Policy,
    tally::{
        Body, Entry, Id, ProvenRecap, ProvenUnit, RECAP_PROOF_LEN_MAX, RecapProof, RecapProofError,
        Record, Status, UnitCode, trail_hash,
    },
};
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    entries::{EntriesError, entries_at},
    fetch::{Fetch, FetchError},
};

/// Bytes of an unsigned answer: 10,000 children with 1,000 options, or the indexes of 5 million
/// entries.
const ANSWER_LEN_MAX: u64 = 64 << 20;

/// How often answers that speak about another state are asked for again: a log seals at most once
/// a second.
const TRIES_MAX: u32 = 5;

/// Why there is nothing about a unit that can be believed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecapError {
    /// The log was not reached, or refused.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The log's recap proof does not verify.
    #[error("the log's recap proof does not verify: {0}")]
    Proof(#[from] RecapProofError),
    /// A proof that verifies, of something else than was asked for.
    #[error("the log answered with a recap proof of another contest or unit")]
    OtherUnit,
    /// An answer that the protocol does not have.
    #[error("the log's answer at {path} is none")]
    Answer {
        /// What was asked for.
        path: String,
    },
    /// The children that the log names are not those whose sums are proven.
    #[error("the children that the log names do not add up to the proven sums of {unit}")]
    Sums {
        /// The region.
        unit: UnitCode,
    },
    /// An entry does not lead to the root of the checkpoint.
    #[error(transparent)]
    Entries(EntriesError),
    /// Entries were left out, added, or changed: the trail is that of others.
    #[error(
        "the entries that the log names are not all that it has about {unit}: the trail differs"
    )]
    Trail {
        /// The unit.
        unit: UnitCode,
    },
    /// Proof and answer never spoke about the same state.
    #[error("the log seals faster than it can be read")]
    Moving,
}

impl From<EntriesError> for RecapError {
    fn from(error: EntriesError) -> Self {
        match error {
            EntriesError::Fetch(error) => Self::Fetch(error),
            EntriesError::Answer { path } => Self::Answer { path },
            error => Self::Entries(error),
        }
    }
}

/// A recap proof as it came, and what it has shown.
#[derive(Clone, Debug)]
pub struct UnitProof {
    /// The file: its one spelling.
    pub text: String,
    /// What it shows.
    pub proven: ProvenRecap,
}

impl UnitProof {
    /// The unit that the proof is about.
    pub fn unit(&self) -> &ProvenUnit {
        // A proof begins with its unit.
        &self.proven.units[0]
    }
}

/// Fetches the recap proof of a unit under the newest sealed checkpoint, and verifies it.
///
/// # Errors
/// Fails if the log refuses, if the proof does not verify, or if it is one of another unit.
pub fn recap_proof(
    fetch: &Fetch,
    policy: &Policy,
    contest: &Id,
    unit: &UnitCode,
) -> Result<UnitProof, RecapError> {
    let path = format!("recap-proof/{contest}/{unit}");
    let proof = RecapProof::parse(&fetch.get(&path, RECAP_PROOF_LEN_MAX as u64)?.body)?;
    let proven = proof.verify(policy)?;
    if proven.contest != *contest || proven.units[0].unit != *unit {
        return Err(RecapError::OtherUnit);
    }
    Ok(UnitProof { text: proof.to_text(), proven })
}

/// A unit below a region, as the log tells it. Its numbers add up, with those of the others, to
/// sums that are proven; that each is right takes a recap proof of its own.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Child {
    /// Its counters, in the order of those that are proven.
    pub counters: Vec<u64>,
    /// Its kind.
    pub kind: String,
    /// Its name; empty for stations.
    pub name: String,
    /// What became of its official head.
    pub status: Status,
    /// Its code.
    pub unit: UnitCode,
}

/// A region with its proven sums, and the children that add up to them.
#[derive(Clone, Debug)]
pub struct Region {
    /// The proof of the region, or of the station.
    pub proof: UnitProof,
    /// The children in the order of the register; none of a station.
    pub children: Vec<Child>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RegionAnswer {
    children: Vec<Child>,
    contest: Id,
    #[expect(dead_code, reason = "the proven ones count")]
    counters: Vec<u64>,
    #[expect(dead_code, reason = "the proven ones count")]
    options: Vec<Id>,
    size: u64,
    unit: UnitCode,
}

/// Fetches a region with its children, and checks that they add up to the proven sums.
///
/// # Errors
/// As [`recap_proof`], and if the children are too many, too few, or do not add up.
pub fn region(
    fetch: &Fetch,
    policy: &Policy,
    contest: &Id,
    unit: &UnitCode,
) -> Result<Region, RecapError> {
    for _ in 0..TRIES_MAX {
        let proof = recap_proof(fetch, policy, contest, unit)?;
        let Some(below) = proof.unit().below else {
            return Ok(Region { proof, children: Vec::new() });
        };
        let path = format!("recap/{contest}/{unit}");
        let answer: RegionAnswer = answer(fetch, &path)?;
        if answer.contest != *contest || answer.unit != *unit {
            return Err(RecapError::Answer { path });
        }
        if answer.size != proof.proven.checkpoint.head().size {
            continue;
        }
        let sums = &proof.unit().counters;
        if answer.children.len() != below.count as usize || !add_up(&answer.children, sums) {
            return Err(RecapError::Sums { unit: unit.clone() });
        }
        return Ok(Region { proof, children: answer.children });
    }
    Err(RecapError::Moving)
}

fn add_up(children: &[Child], sums: &[u64]) -> bool {
    let mut total = vec![0_u64; sums.len()];
    for child in children {
        if child.counters.len() != total.len() {
            return false;
        }
        for (sum, counter) in total.iter_mut().zip(&child.counters) {
            let Some(new) = sum.checked_add(*counter) else { return false };
            *sum = new;
        }
    }
    total == sums
}

/// Every entry about a unit: none was left out, none added, as long as the log's state is true.
#[derive(Clone, Debug)]
pub struct History {
    /// The proof whose trail the entries lead to.
    pub proof: UnitProof,
    /// Index and entry, oldest first. Each is in the tree under the proof's checkpoint.
    pub entries: Vec<(u64, Entry)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HistoryAnswer {
    contest: Id,
    indexes: Vec<u64>,
    size: u64,
    unit: UnitCode,
}

/// Fetches every entry about a unit, checks each against the tree, and all of them against the
/// trail of the unit's recap proof.
///
/// # Errors
/// As [`recap_proof`], and if an entry is not in the tree, or the entries are not those of the
/// trail.
pub fn history(
    fetch: &Fetch,
    policy: &Policy,
    contest: &Id,
    unit: &UnitCode,
) -> Result<History, RecapError> {
    for _ in 0..TRIES_MAX {
        let proof = recap_proof(fetch, policy, contest, unit)?;
        let path = format!("unit/{contest}/{unit}/history");
        let answer: HistoryAnswer = answer(fetch, &path)?;
        if answer.contest != *contest || answer.unit != *unit {
            return Err(RecapError::Answer { path });
        }
        let head = proof.proven.checkpoint.head();
        if answer.size < head.size {
            continue;
        }
        // What a later state covers is not part of this one.
        let covered = |index: &u64| *index < proof.proven.state.size;
        let indexes: Vec<u64> = answer.indexes.into_iter().filter(covered).collect();
        let other = || RecapError::Trail { unit: unit.clone() };
        // Before anything is fetched: a log cannot make a client fetch more than the proof counts.
        if indexes.len() as u64 != u64::from(proof.unit().record.entries)
            || !indexes.is_sorted_by(|a, b| a < b)
        {
            return Err(other());
        }
        let bytes = entries_at(fetch, head, &indexes)?;
        if trail(&indexes, &bytes) != proof.unit().record.trail {
            return Err(other());
        }
        let entries = bytes.iter().map(|bytes| Entry::parse(bytes).ok());
        let entries: Option<Vec<Entry>> = entries.collect();
        let entries = entries.filter(|all| all.iter().all(|entry| is_about(entry, contest, unit)));
        let entries = indexes.into_iter().zip(entries.ok_or_else(other)?).collect();
        return Ok(History { proof, entries });
    }
    Err(RecapError::Moving)
}

fn trail(indexes: &[u64], entries: &[Vec<u8>]) -> Hash {
    let leaves = indexes.iter().zip(entries).map(|(index, entry)| (*index, leaf_hash(entry)));
    leaves.fold(Record::EMPTY.trail, |trail, (index, leaf)| trail_hash(&trail, index, &leaf))
}

fn is_about(entry: &Entry, contest: &Id, unit: &UnitCode) -> bool {
    match entry.body() {
        Body::Tally(tally) => tally.contest == *contest && tally.unit == *unit,
        Body::Attestation(body) => body.contest == *contest && body.unit == *unit,
        _ => false,
    }
}

/// The first unit of the unit register that the log names: the one at the top. Nothing proves it
/// but a recap proof of that unit, which has no region above it.
///
/// # Errors
/// Fails if the log does not answer, or not with a register.
pub fn top_unit(fetch: &Fetch) -> Result<UnitCode, RecapError> {
    #[derive(Deserialize)]
    struct Description {
        manifest: Manifest,
    }
    #[derive(Deserialize)]
    struct Manifest {
        units: Hash,
    }
    let description: Description = answer(fetch, "log.json")?;
    let path = format!("register/{}", description.manifest.units);
    let start = fetch.get_start(&path, REGISTER_START_LEN)?;
    let text = String::from_utf8_lossy(&start);
    let code = text.split('\n').nth(1).and_then(|line| line.split(',').next());
    code.and_then(|code| code.parse().ok()).ok_or(RecapError::Answer { path })
}

/// The header of a register and its first line, whatever name stands in it.
const REGISTER_START_LEN: u64 = 1 << 10;

fn answer<T: DeserializeOwned>(fetch: &Fetch, path: &str) -> Result<T, RecapError> {
    let body = fetch.get(path, ANSWER_LEN_MAX)?.body;
    serde_json::from_slice(&body).map_err(|_| RecapError::Answer { path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn child(counters: &[u64]) -> Child {
        Child {
            counters: counters.to_vec(),
            kind: "station".to_owned(),
            name: String::new(),
            status: Status::Single,
            unit: "31.001".parse().unwrap(),
        }
    }

    #[test]
    fn children_add_up_or_are_refused() {
        let children = [child(&[1, 2]), child(&[3, 4])];
        assert!(add_up(&children, &[4, 6]));
        assert!(!add_up(&children, &[4, 7]));
        assert!(!add_up(&children, &[4]));
        assert!(!add_up(&children[..1], &[4, 6]));
        assert!(add_up(&[], &[0, 0]));
        // A sum that wraps around would pass for a small one.
        assert!(!add_up(&[child(&[u64::MAX, 0]), child(&[5, 6])], &[4, 6]));
    }

    #[test]
    fn a_trail_binds_index_order_and_bytes() {
        let entries = [b"a".to_vec(), b"b".to_vec()];
        let good = trail(&[3, 5], &entries);
        assert_eq!(trail(&[], &[]), Record::EMPTY.trail);
        assert_ne!(trail(&[3, 6], &entries), good);
        assert_ne!(trail(&[3], &entries[..1]), good);
        let [a, b] = entries;
        assert_ne!(trail(&[3, 5], &[b, a]), good);
    }
}
