//! Chains and trails as a snapshot has them, one at a time: there may be as many as entries, and
//! neither writing nor reading may need room for all of them twice.

use alloc::vec::Vec;
use core::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{SeqAccess, Visitor},
    ser::SerializeSeq as _,
};

use super::{
    chains::{ChainHead, ChainId, Chains, Newest},
    ledger::Ledger,
    recap::{ContestRecap, Place, Recap, Trail, Trails},
    statement::Count,
};
use crate::merkle::Hash;

/// One chain by its head.
#[derive(Serialize, Deserialize)]
struct SavedChain {
    chain: ChainId,
    index: u64,
    leaf: [u8; 32],
    seq: u32,
    withdrawn: bool,
    counts: Vec<Count>,
    replaced: Vec<[u8; 32]>,
}

/// What the log says about one contest in one unit, by their numbers.
#[derive(Serialize, Deserialize)]
struct SavedTrail {
    contest: u32,
    unit: u32,
    trail: [u8; 32],
    indexes: Vec<u64>,
}

impl SavedTrail {
    fn new((contest, unit): (u32, u32), trail: &Hash, indexes: Vec<u64>) -> Self {
        Self { contest, unit, trail: *trail.as_bytes(), indexes }
    }
}

/// Writes every chain.
pub(super) fn write_chains<S: Serializer>(chains: &Chains, to: S) -> Result<S::Ok, S::Error> {
    let saved = |(chain, newest): (&ChainId, &Newest)| SavedChain {
        chain: *chain,
        index: newest.head.index,
        leaf: *newest.head.leaf.as_bytes(),
        seq: newest.head.seq,
        withdrawn: newest.withdrawn,
        counts: chains.values(newest).counts().collect(),
        replaced: chains.replaced(chain).iter().map(|leaf| *leaf.as_bytes()).collect(),
    };
    to.collect_seq(chains.iter().map(saved))
}

/// Writes the trail of every unit.
pub(super) fn write_trails<S: Serializer>(ledger: &Ledger, to: S) -> Result<S::Ok, S::Error> {
    let contests = || ledger.recap.iter().flat_map(Recap::contests);
    let spoken_of = |contest: &ContestRecap| {
        let places = 0..contest.shape().count() as Place;
        places.filter(|place| contest.record(*place).entries > 0).count()
    };
    let count = ledger.trails.len() + contests().map(spoken_of).sum::<usize>();
    let mut all = to.serialize_seq(Some(count))?;
    for (numbers, trail) in &ledger.trails {
        all.serialize_element(&SavedTrail::new(*numbers, &trail.trail, trail.indexes.clone()))?;
    }
    for contest in contests() {
        let number = ledger.names.contests.get(contest.contest().id.as_str());
        let number = number.expect("every contest of a manifest has a number");
        for place in 0..contest.shape().count() as Place {
            if let Some((record, indexes)) = contest.take_trail(place) {
                let unit = ledger.units.of(contest.shape().slot(place));
                all.serialize_element(&SavedTrail::new((number, unit), &record.trail, indexes))?;
            }
        }
    }
    all.end()
}

/// Chains out of a snapshot.
#[derive(Clone, Debug)]
pub(super) struct SavedChains {
    pub chains: Chains,
    /// Whether every chain has as many former heads as its `seq` says.
    pub whole: bool,
}

impl Serialize for SavedChains {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        write_chains(&self.chains, serializer)
    }
}

impl<'de> Deserialize<'de> for SavedChains {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let saved = Self { chains: Chains::default(), whole: true };
        deserializer.deserialize_seq(Each::new(saved, |saved: &mut Self, chain: SavedChain| {
            let SavedChain { index, leaf, seq, .. } = chain;
            let head = ChainHead { index, leaf: Hash::new(leaf), seq };
            let replaced: Vec<Hash> = chain.replaced.into_iter().map(Hash::new).collect();
            saved.whole &= replaced.len() == seq as usize;
            saved.chains.restore(chain.chain, head, chain.withdrawn, chain.counts, replaced);
        }))
    }
}

/// Trails out of a snapshot.
#[derive(Clone, Debug)]
pub(super) struct SavedTrails(pub Trails);

impl Serialize for SavedTrails {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let saved = |(numbers, trail): (&(u32, u32), &Trail)| {
            SavedTrail::new(*numbers, &trail.trail, trail.indexes.clone())
        };
        serializer.collect_seq(self.0.iter().map(saved))
    }
}

impl<'de> Deserialize<'de> for SavedTrails {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let saved = Self(Trails::new());
        deserializer.deserialize_seq(Each::new(saved, |saved: &mut Self, one: SavedTrail| {
            let entries = one.indexes.len() as u32;
            let trail = Trail { entries, trail: Hash::new(one.trail), indexes: one.indexes };
            saved.0.insert((one.contest, one.unit), trail);
        }))
    }
}

/// Takes each element of a sequence as it is read.
struct Each<A, T> {
    all: A,
    take: fn(&mut A, T),
}

impl<A, T> Each<A, T> {
    fn new(all: A, take: fn(&mut A, T)) -> Self {
        Self { all, take }
    }
}

impl<'de, A, T: Deserialize<'de>> Visitor<'de> for Each<A, T> {
    type Value = A;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence")
    }

    fn visit_seq<S: SeqAccess<'de>>(mut self, mut from: S) -> Result<A, S::Error> {
        while let Some(one) = from.next_element()? {
            (self.take)(&mut self.all, one);
        }
        Ok(self.all)
    }
}
