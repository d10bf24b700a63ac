//! Recap proofs: one file that shows the record of a unit, and that it is contained in the total of
//! every region above it (`.recap-proof`).
//!
//! ```text
//! jejak/recap-proof/v1
//! {"contest":"ppwp","contest_hashes":[],"contest_index":0,"levels":[...],...,"unit":{...}}
//!
//! jejak/state/v1
//! {"contests":1,"manifest":"...","recap":"...","size":3}
//!
//! c2sp.org/tlog-proof@v1
//! index 3
//! ...
//! ```

use alloc::{format, string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use super::{
    Below, Record, Status, contest_hash, contest_leaf, inner_hash,
    record::FIXED_COUNTERS,
    region_hash,
    shape::Place,
    station_hash,
    tree::{Child, ContestRecap, station_counters_fit},
};
use crate::{
    merkle::{Hash, InclusionError, TreeHead},
    note::{Checkpoint, Policy, Receipt, ReceiptError},
    tally::{
        entry::{Body, Entry},
        ids::{Id, UnitCode},
        json,
        state::State,
    },
};

/// Bytes of a recap proof that are read.
pub const RECAP_PROOF_LEN_MAX: usize = 4 << 20;

const HEADER: &str = "jejak/recap-proof/v1\n";

/// Why a recap proof was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecapProofError {
    /// Not a recap proof in its one spelling.
    #[error("not a recap proof: {0}")]
    Form(&'static str),
    /// The receipt of the state entry does not verify.
    #[error("receipt of the state entry: {0}")]
    Receipt(#[from] ReceiptError),
    /// The state entry is not the last of its checkpoint, so it says nothing about what follows.
    #[error("the state entry is not the last one under its checkpoint")]
    NotLast,
    /// The state entry does not cover everything before it.
    #[error("the state entry covers another size")]
    StateSize,
    /// A row of counters is not as long as the contest's options demand.
    #[error("a row of counters has another length than the contest")]
    Width,
    /// A record, or the counters of a station, contradict their own status.
    #[error("the record of {unit} contradicts itself")]
    Record {
        /// The unit of the record.
        unit: UnitCode,
    },
    /// A region's number of children and the position do not allow that many siblings.
    #[error("the path below {unit} has another length than its children demand")]
    Path {
        /// The region.
        unit: UnitCode,
    },
    /// A sum does not fit 64 bits.
    #[error("a sum below {unit} overflows")]
    Overflow {
        /// The region.
        unit: UnitCode,
    },
    /// What was recomputed is not what the state commits to.
    #[error("the path does not lead to the recap root of the state entry: {0}")]
    Root(InclusionError),
}

/// The unit that a proof is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProvenUnit {
    /// Of a region, what is below it; null for a station.
    pub below: Option<Below>,
    /// Its counters: the options in order, then the nine of every contest.
    pub counters: Vec<u64>,
    /// Its record; of a region, that of its declared recaps.
    pub record: Record,
    /// Its code.
    pub unit: UnitCode,
}

/// A region on the way from the unit to the top.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Level {
    /// Children that take part in the contest.
    pub children: u32,
    /// Which of them the path comes from, from 0.
    pub position: u32,
    /// The record of the region's declared recaps.
    pub record: Record,
    /// What the path is joined with between the children, from below.
    pub siblings: Vec<Sibling>,
    /// The region's code.
    pub unit: UnitCode,
}

/// A node beside the path, with the sums of everything below it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sibling {
    /// Its counters.
    pub counters: Vec<u64>,
    /// Its hash.
    pub hash: Hash,
}

/// The second line of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Path {
    contest: Id,
    contest_hashes: Vec<Hash>,
    contest_index: u64,
    levels: Vec<Level>,
    options: Vec<Id>,
    unit: ProvenUnit,
}

/// A recap proof that lacks the receipt of its state entry.
#[derive(Clone, Debug)]
pub struct Unsealed {
    pub(super) contest: Id,
    pub(super) contest_hashes: Vec<Hash>,
    pub(super) contest_index: u64,
    pub(super) levels: Vec<Level>,
    pub(super) options: Vec<Id>,
    pub(super) state: State,
    pub(super) unit: ProvenUnit,
}

impl Unsealed {
    /// The whole proof, with the receipt of the state entry.
    pub fn with(self, receipt: Receipt) -> RecapProof {
        let Self { contest, contest_hashes, contest_index, levels, options, state, unit } = self;
        let path = Path { contest, contest_hashes, contest_index, levels, options, unit };
        RecapProof { path, state, receipt }
    }
}

/// A recap proof that was read, or that is to be written; nothing in it is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecapProof {
    path: Path,
    state: State,
    receipt: Receipt,
}

/// What a recap proof has shown: the log has committed in public to this record, and it is
/// contained in the total of each region above.
#[derive(Clone, Debug)]
pub struct ProvenRecap {
    /// The checkpoint under which it holds.
    pub checkpoint: Checkpoint,
    /// The contest.
    pub contest: Id,
    /// Its options, in the order of the counters.
    pub options: Vec<Id>,
    /// The state entry.
    pub state: State,
    /// The unit and the regions above it, from below.
    pub units: Vec<ProvenUnit>,
}

impl RecapProof {
    /// Reads a recap proof in its one spelling.
    ///
    /// # Errors
    /// Fails on every other spelling, and beyond [`RECAP_PROOF_LEN_MAX`]. It never panics.
    pub fn parse(bytes: &[u8]) -> Result<Self, RecapProofError> {
        let form = RecapProofError::Form;
        if bytes.len() > RECAP_PROOF_LEN_MAX {
            return Err(form("longer than 4 MiB"));
        }
        let text = core::str::from_utf8(bytes).map_err(|_| form("not UTF-8"))?;
        let rest = text.strip_prefix(HEADER).ok_or(form("the first line is another"))?;
        let mut parts = rest.splitn(3, "\n\n");
        let mut part =
            || parts.next().ok_or(form("path, state entry and receipt are not all there"));
        let (path, state, receipt) = (part()?, part()?, part()?);
        let path =
            json::from_canonical(path).map_err(|_| form("the path is not canonical JSON"))?;
        let state = Entry::parse(format!("{state}\n").as_bytes());
        let state = match state.as_ref().map(Entry::body) {
            Ok(Body::State(state)) => state.clone(),
            _ => return Err(form("the second part is not a state entry")),
        };
        let receipt = Receipt::parse(receipt.as_bytes())?;
        if receipt.extra.is_some() {
            return Err(form("the receipt has data that nothing proves"));
        }
        Ok(Self { path, state, receipt })
    }

    /// Writes the file.
    pub fn to_text(&self) -> String {
        let path = json::to_canonical(&self.path);
        format!("{HEADER}{path}\n\n{}\n{}", self.state_text(), self.receipt)
    }

    fn state_text(&self) -> String {
        Body::State(self.state.clone()).text()
    }

    /// Checks everything against `policy`: the log committed to this record, and it is contained
    /// in every total above.
    ///
    /// # Security
    /// Nothing here says that no entry about the unit was left out, or that the log computed the
    /// totals of other units right: that takes a replay of the log, by oneself or by a witness.
    ///
    /// # Errors
    /// As [`RecapProofError`] says. It never panics.
    pub fn verify(&self, policy: &Policy) -> Result<ProvenRecap, RecapProofError> {
        let checkpoint = self.receipt.verify(self.state_text().as_bytes(), policy)?;
        if self.receipt.index + 1 != checkpoint.head().size {
            return Err(RecapProofError::NotLast);
        }
        if self.state.size != self.receipt.index {
            return Err(RecapProofError::StateSize);
        }
        let units = self.units()?;
        let Some(top) = units.last() else { unreachable!("the unit itself is there") };
        let Path { contest, options, contest_index, contest_hashes, .. } = &self.path;
        let hash =
            contest_hash(contest.as_str(), options, &self.state.manifest, &top.0.counters, &top.1);
        let recap = TreeHead { size: self.state.contests, root: self.state.recap };
        recap
            .verify_inclusion(*contest_index, contest_leaf(&hash), contest_hashes)
            .map_err(RecapProofError::Root)?;
        Ok(ProvenRecap {
            checkpoint,
            contest: contest.clone(),
            options: options.clone(),
            state: self.state.clone(),
            units: units.into_iter().map(|(unit, _)| unit).collect(),
        })
    }

    /// The unit and the regions above it with their hashes, every sum recomputed.
    fn units(&self) -> Result<Vec<(ProvenUnit, Hash)>, RecapProofError> {
        let Path { contest, levels, options, unit, .. } = &self.path;
        let width = options.len() + FIXED_COUNTERS;
        let siblings = levels.iter().flat_map(|level| &level.siblings);
        if unit.counters.len() != width || siblings.clone().any(|s| s.counters.len() != width) {
            return Err(RecapProofError::Width);
        }
        check_record(&unit.unit, &unit.record)?;
        let (id, code) = (contest.as_str(), unit.unit.as_str());
        let hash = match &unit.below {
            Some(below) => region_hash(id, code, &unit.record, below, &unit.counters),
            None if station_counters_fit(unit.record.status, &unit.counters) => {
                station_hash(id, code, &unit.record, &unit.counters)
            }
            None => return Err(RecapProofError::Record { unit: unit.unit.clone() }),
        };
        let mut units = Vec::with_capacity(1 + levels.len());
        units.push((unit.clone(), hash));
        for level in levels {
            let (below, hash) = &units[units.len() - 1];
            let (root, counters) = level.join(*hash, below.counters.clone())?;
            check_record(&level.unit, &level.record)?;
            let below = Below { count: level.children, root };
            let hash = region_hash(id, level.unit.as_str(), &level.record, &below, &counters);
            let (unit, record) = (level.unit.clone(), level.record);
            units.push((ProvenUnit { below: Some(below), counters, record, unit }, hash));
        }
        Ok(units)
    }
}

impl Level {
    /// The root over the region's children and their sums, from the child that the path comes from.
    fn join(&self, hash: Hash, counters: Vec<u64>) -> Result<(Hash, Vec<u64>), RecapProofError> {
        let path = || RecapProofError::Path { unit: self.unit.clone() };
        let overflow = || RecapProofError::Overflow { unit: self.unit.clone() };
        if self.position >= self.children {
            return Err(path());
        }
        let sides = sides(self.position, self.children);
        if sides.len() != self.siblings.len() {
            return Err(path());
        }
        let mut joined = (hash, counters);
        for (side, sibling) in sides.into_iter().zip(&self.siblings) {
            let ours = (&joined.0, joined.1.as_slice());
            let theirs = (&sibling.hash, sibling.counters.as_slice());
            let hash = match side {
                Side::Left => inner_hash(theirs, ours),
                Side::Right => inner_hash(ours, theirs),
            };
            let sums = joined.1.iter().zip(&sibling.counters).map(|(a, b)| a.checked_add(*b));
            joined = (hash, sums.collect::<Option<_>>().ok_or_else(overflow)?);
        }
        Ok(joined)
    }
}

fn check_record(unit: &UnitCode, record: &Record) -> Result<(), RecapProofError> {
    let fits = record.head.is_none() == (record.status == Status::None);
    if fits { Ok(()) } else { Err(RecapProofError::Record { unit: unit.clone() }) }
}

#[derive(Clone, Copy)]
enum Side {
    Left,
    Right,
}

/// On which side the siblings of child `index` of `count` stand, from below. Where the path is a
/// lone last node there is none, and it goes up as it is.
fn sides(index: u32, count: u32) -> Vec<Side> {
    let (mut index, mut last) = (index, count - 1);
    let mut sides = Vec::new();
    while last > 0 {
        if index & 1 == 1 {
            sides.push(Side::Left);
        } else if index < last {
            sides.push(Side::Right);
        }
        (index, last) = (index >> 1, last >> 1);
    }
    sides
}

/// The siblings of leaf `index` from its own up, in the tree of RFC 6962, Section 2.1.
pub(super) fn path<T: Clone>(
    leaves: &[T],
    index: usize,
    join: &dyn Fn(&T, &T) -> T,
    take: &mut dyn FnMut(&T),
) {
    if leaves.len() < 2 {
        return;
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    if index < left.len() {
        path(left, index, join, take);
        root(right, join).iter().for_each(take);
    } else {
        path(right, index - left.len(), join, take);
        root(left, join).iter().for_each(take);
    }
}

/// The root over these leaves; `None` over none.
pub(super) fn root<T: Clone>(leaves: &[T], join: &dyn Fn(&T, &T) -> T) -> Option<T> {
    if leaves.len() < 2 {
        return leaves.first().cloned();
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    Some(join(&root(left, join)?, &root(right, join)?))
}

/// The largest power of two below `count`, which is at least 2.
const fn split(count: usize) -> usize {
    1 << (count - 1).ilog2()
}

/// The level of `region` for a path that comes from its child at `child`.
pub(super) fn level(recap: &ContestRecap, region: Place, child: Place) -> Level {
    let children = recap.children(region);
    let position = recap.shape().children(region).position(|place| place == child);
    let position = position.expect("a parent has its child");
    let mut siblings = Vec::new();
    path(&children, position, &Child::join, &mut |sibling: &Child| {
        siblings.push(Sibling { counters: sibling.counters.clone(), hash: sibling.hash });
    });
    Level {
        children: children.len() as u32,
        position: position as u32,
        record: recap.record(region),
        siblings,
        unit: recap.code(region).parse().expect("codes of a register are codes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From below and from above: where the siblings of a child stand, and what they are.
    #[test]
    fn sides_are_those_of_the_path_of_rfc_6962() {
        type Range = (u32, u32);
        let join = |left: &Range, right: &Range| {
            assert_eq!(left.1, right.0);
            (left.0, right.1)
        };
        for count in 1..=70 {
            let leaves: Vec<Range> = (0..count).map(|n| (n, n + 1)).collect();
            assert_eq!(root(&leaves, &join), Some((0, count)));
            for index in 0..count {
                let mut joined = (index, index + 1);
                let mut sides = sides(index, count).into_iter();
                path(&leaves, index as usize, &join, &mut |sibling| {
                    joined = match sides.next() {
                        Some(Side::Left) => join(sibling, &joined),
                        Some(Side::Right) => join(&joined, sibling),
                        None => panic!("no side for a sibling of {index} of {count}"),
                    };
                });
                assert!(sides.next().is_none(), "{index} of {count}");
                assert_eq!(joined, (0, count));
            }
        }
        assert_eq!(sides(u32::MAX - 1, u32::MAX).len(), 31);
        assert_eq!(sides(0, u32::MAX).len(), 32);
    }
}
