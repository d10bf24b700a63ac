//! The recap: the current value of every unit, its absence, and every sum up to the top, under one
//! root (SPEC.md, "Recap tree").
//!
//! ```text
//! recap root                 RFC 6962 tree over the contests, by id
//!   contest                  options, manifest, counters, top
//!     region                 record of its declared recaps, children, counters, root below
//!       inner ... inner      between children, with the sums of both sides
//!         station            record, counters
//! ```
//!
//! A station without a tally has a record too, so absence can be proved. The recap is a function of
//! the entries: every ledger computes it, nobody stores it as truth.

mod pages;
mod proof;
mod record;
mod row;
mod settle;
mod shape;
mod tree;
mod values;

use alloc::{collections::BTreeMap, vec::Vec};

pub(super) use self::values::{ValueRef, ValueTable};
pub use self::{
    proof::{
        Level, ProvenRecap, ProvenUnit, RECAP_PROOF_LEN_MAX, RecapProof, RecapProofError, Sibling,
        Unsealed,
    },
    record::{
        Below, FIXED_COUNTERS, Record, RecordHead, Status, contest_hash, counter, inner_hash,
        region_hash, station_hash, trail_hash,
    },
    shape::{Place, Shape},
    tree::ContestRecap,
    values::Values,
};
use super::{manifest::Election, state::State};
use crate::merkle::{Frontier, Hash, leaf_hash, node_hash};

/// The entries about one unit that is in no tree now: it takes them up again when it returns.
#[derive(Clone, Debug)]
pub(super) struct Trail {
    pub entries: u32,
    pub trail: Hash,
    pub indexes: Vec<u64>,
}

/// The recap of every contest. Clones share what neither changed, so one costs little; one that is
/// settled after a change hashes all anew.
#[derive(Clone, Debug)]
pub struct Recap {
    contests: Vec<ContestRecap>,
    /// Leaf hash of the manifest in force.
    manifest: Hash,
}

impl Recap {
    /// An election in which nothing was reported.
    pub(super) fn new(election: &Election) -> Self {
        let contests = election.contests.contests().iter().zip(election.shapes());
        let contests = contests
            .map(|(contest, shape)| {
                ContestRecap::new(contest, shape.clone(), election.units.clone())
            })
            .collect();
        Self { contests, manifest: election.leaf }
    }

    /// The contests, ascending by id.
    pub fn contests(&self) -> &[ContestRecap] {
        &self.contests
    }

    /// The contest with this id, and its place among all.
    pub fn find(&self, contest: &str) -> Option<(usize, &ContestRecap)> {
        let by_id = |recap: &ContestRecap| recap.contest().id.as_str().cmp(contest);
        let place = self.contests.binary_search_by(by_id).ok()?;
        Some((place, &self.contests[place]))
    }

    /// Leaf hash of the manifest under which it stands.
    pub fn manifest(&self) -> Hash {
        self.manifest
    }

    pub(super) fn contest_mut(&mut self, place: usize) -> &mut ContestRecap {
        &mut self.contests[place]
    }

    /// Brings every hash up to date. Costs in proportion to what changed.
    pub(super) fn settle(&mut self) {
        self.contests.iter_mut().for_each(ContestRecap::settle);
    }

    fn leaves(&self) -> impl Iterator<Item = Hash> {
        self.contests.iter().map(|contest| contest_leaf(&contest.contest_hash(&self.manifest)))
    }

    /// The root over all contests, as of the last settling.
    pub(super) fn root(&self) -> Hash {
        let mut frontier = Frontier::new();
        self.leaves().for_each(|leaf| frontier.push(leaf));
        frontier.head().root
    }

    /// The proof, without the receipt of its state, that `unit` stands as it does; `None` if there
    /// is no such contest, or the unit takes no part in it.
    pub(super) fn path(
        &self,
        contest: &str,
        unit: &str,
    ) -> Option<(usize, ProvenUnit, Vec<Level>)> {
        let (index, recap) = self.find(contest)?;
        let place = recap.find(unit)?;
        let station = recap.shape().is_station(place);
        let proven = ProvenUnit {
            below: (!station).then(|| recap.below(place)),
            counters: recap.counters(place),
            record: recap.record(place),
            unit: recap.code(place).parse().expect("codes of a register are codes"),
        };
        let mut levels = Vec::new();
        let mut here = place;
        while let Some(region) = recap.shape().parent(here) {
            levels.push(proof::level(recap, region, here));
            here = region;
        }
        Some((index, proven, levels))
    }

    /// The siblings of a contest, from its own up (RFC 6962).
    pub(super) fn contest_path(&self, index: usize) -> Vec<Hash> {
        let leaves: Vec<Hash> = self.leaves().collect();
        let join = |left: &Hash, right: &Hash| node_hash(left, right);
        let mut path = Vec::new();
        proof::path(&leaves, index, &join, &mut |sibling| path.push(*sibling));
        path
    }
}

/// A contest as a leaf of the tree over all contests.
fn contest_leaf(contest: &Hash) -> Hash {
    leaf_hash(contest.as_bytes())
}

/// The recap as a state entry committed to it. Readers hold it while the ledger goes on.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// What the entry says; it covers all entries before it, so its index is its `size`.
    pub state: State,
    pub(super) recap: Recap,
}

impl Sealed {
    /// The recap as of the state entry.
    pub fn recap(&self) -> &Recap {
        &self.recap
    }

    /// All that a recap proof of this unit has but the receipt of the state entry.
    pub fn prove(&self, contest: &str, unit: &str) -> Option<Unsealed> {
        let (index, unit, levels) = self.recap.path(contest, unit)?;
        let found = self.recap.contests[index].contest();
        Some(Unsealed {
            contest: found.id.clone(),
            contest_hashes: self.recap.contest_path(index),
            contest_index: index as u64,
            levels,
            options: found.options.clone(),
            state: self.state.clone(),
            unit,
        })
    }
}

/// Trails by the numbers of contest and unit.
pub(super) type Trails = BTreeMap<(u32, u32), Trail>;
