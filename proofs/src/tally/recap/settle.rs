//! Bringing hashes and sums up to date, from below, in one pass over what is stale.

use alloc::{vec, vec::Vec};
use core::cmp::Reverse;

use super::{
    record::{Below, FIXED_COUNTERS, Hasher, Record},
    shape::{Place, Shape},
    tree::ContestRecap,
};
use crate::merkle::{Hash, TreeHead};

/// What settling keeps for the next time, as of the last one. Readers do without it, so a clone
/// begins with nothing, and no page is copied for it.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// For each station: its hash.
    stations: Vec<Hash>,
    /// For each unit, by their parents: the inner node between the children of its parent whose
    /// right side begins with it. The first child has none.
    inner: Vec<Hash>,
    /// For each place: whether its hash is out of date. Empty before the first settling, when all
    /// are.
    is_stale: Vec<bool>,
    /// Those places, each once.
    stale: Vec<Place>,
}

impl Clone for Kept {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Kept {
    /// The unit at `place` has changed, and all above it with it.
    pub fn mark(&mut self, shape: &Shape, place: Place) {
        let mut next = Some(place);
        while let Some(place) = next {
            match self.is_stale.get_mut(place as usize) {
                Some(stale) if !*stale => *stale = true,
                // Those above are marked already, or nothing was settled yet.
                _ => return,
            }
            self.stale.push(place);
            next = shape.parent(place);
        }
    }

    /// Before the first settling: everything is stale.
    fn begin(&mut self, shape: &Shape) {
        self.stations = vec![TreeHead::EMPTY.root; shape.stations()];
        self.inner = vec![TreeHead::EMPTY.root; shape.count()];
        self.is_stale = vec![true; shape.count()];
        self.stale = (0..shape.count() as Place).collect();
    }
}

impl ContestRecap {
    /// Brings every hash and sum up to date, from below, and touches only what is stale.
    pub fn settle(&mut self) {
        let mut kept = core::mem::take(&mut self.kept);
        if kept.is_stale.is_empty() {
            kept.begin(&self.shape);
        }
        let mut stale = core::mem::take(&mut kept.stale);
        // Children have larger places than their parents: each is done before the one above it.
        stale.sort_unstable_by_key(|place| Reverse(*place));
        let mut joiner = Joiner::new(self.contest().options.len() + FIXED_COUNTERS);
        for place in &stale {
            if !self.shape.is_station(*place) {
                self.settle_region(*place, &mut kept, &mut joiner);
            }
        }
        stale.drain(..).for_each(|place| kept.is_stale[place as usize] = false);
        kept.stale = stale;
        self.kept = kept;
    }

    /// Hashes the stations among the children of a region that are stale, what stands above them,
    /// and the region. Sums of what is not stale are cheaper to make anew than to keep.
    fn settle_region(&mut self, region: Place, kept: &mut Kept, joiner: &mut Joiner) {
        let id = self.contest().id.as_str();
        let first = self.shape.below(region);
        let inner = &mut kept.inner[first..];
        for child in self.shape.children(region) {
            let stale = kept.is_stale[child as usize];
            let row = self.shape.row(child);
            self.add_counters(child, &mut joiner.row);
            let hash = if self.shape.is_station(child) {
                let hash = &mut kept.stations[row];
                if stale {
                    *hash = joiner.station(id, self.code(child), self.record(child));
                }
                *hash
            } else {
                self.hashes.row(row)[0]
            };
            joiner.push(hash, stale, inner);
        }
        let below = joiner.finish(inner);
        let (code, record) = (self.code(region), self.record(region));
        let hash = joiner.hasher.region(id, code, record, &below, &joiner.row);
        let row = self.shape.row(region);
        self.sums.row_mut(row).copy_from_slice(&joiner.row);
        self.hashes.row_mut(row)[0] = hash;
        joiner.row.clear();
    }
}

/// A complete subtree over some of the children of a region.
struct Subtree {
    hash: Hash,
    /// The child that it begins with.
    first: usize,
    stale: bool,
}

/// Joins children to complete subtrees, largest first, as the frontier of a Merkle tree, each with
/// its sums.
struct Joiner {
    hasher: Hasher,
    width: usize,
    count: usize,
    subtrees: Vec<Subtree>,
    /// The counters of each.
    row: Vec<u64>,
}

impl Joiner {
    fn new(width: usize) -> Self {
        Self { hasher: Hasher::default(), width, count: 0, subtrees: Vec::new(), row: Vec::new() }
    }

    /// Hashes a station whose counters are the last of the row.
    fn station(&mut self, contest: &str, code: &str, record: &Record) -> Hash {
        let counters = &self.row[self.row.len() - self.width..];
        self.hasher.station(contest, code, record, counters)
    }

    /// One more child, whose counters are the last of the row.
    fn push(&mut self, hash: Hash, stale: bool, inner: &mut [Hash]) {
        self.subtrees.push(Subtree { hash, first: self.count, stale });
        // The new child completes one subtree for each trailing one of the count, like a carry.
        (0..self.count.trailing_ones()).for_each(|_| self.join(inner));
        self.count += 1;
    }

    /// Joins the last two subtrees: hashes where something below is stale.
    fn join(&mut self, inner: &mut [Hash]) {
        let right = self.subtrees.pop().expect("two subtrees");
        let left = self.subtrees.last_mut().expect("two subtrees");
        let middle = self.row.len() - self.width;
        let (before, right_counters) = self.row.split_at_mut(middle);
        let left_counters = &mut before[middle - self.width..];
        let inner = &mut inner[right.first];
        left.stale |= right.stale;
        if left.stale {
            *inner = self.hasher.inner((&left.hash, left_counters), (&right.hash, right_counters));
        }
        left.hash = *inner;
        for (left, right) in left_counters.iter_mut().zip(right_counters) {
            // A register has fewer than 2^26 units, and each adds less than 2^33 to a counter.
            *left = left.checked_add(*right).expect("sums of 32-bit numbers");
        }
        self.row.truncate(middle);
    }

    /// Leaves one row, the sums, and is ready for the next region when that is taken.
    fn finish(&mut self, inner: &mut [Hash]) -> Below {
        while self.subtrees.len() > 1 {
            self.join(inner);
        }
        let root = self.subtrees.pop().map_or(TreeHead::EMPTY.root, |whole| whole.hash);
        self.row.resize(self.width, 0);
        Below { count: core::mem::take(&mut self.count) as u32, root }
    }
}
