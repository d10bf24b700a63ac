//! Bringing hashes and sums up to date, from below, in one pass over what is stale.

use alloc::{vec, vec::Vec};
use core::cmp::Reverse;

use super::{
    record::{Below, FIXED_COUNTERS, Hasher},
    row,
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
    /// The regions among those places, each once.
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
            if !shape.is_station(place) {
                self.stale.push(place);
            }
            next = shape.parent(place);
        }
    }

    /// Before the first settling: everything is stale.
    fn begin(&mut self, shape: &Shape) {
        self.stations = vec![TreeHead::EMPTY.root; shape.stations()];
        self.inner = vec![TreeHead::EMPTY.root; shape.count()];
        self.is_stale = vec![true; shape.count()];
        let places = 0..shape.count() as Place;
        self.stale = places.filter(|place| !shape.is_station(*place)).collect();
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
        let mut children = Children::new(self.contest().options.len() + FIXED_COUNTERS);
        for region in stale.drain(..) {
            self.settle_region(region, &mut kept, &mut children);
        }
        // The top is no one's child.
        kept.is_stale[0] = false;
        kept.stale = stale;
        self.kept = kept;
    }

    /// Hashes the stations among the children of a region that are stale, what stands above them,
    /// and the region. Sums of what is not stale are cheaper to make anew than to keep.
    fn settle_region(&mut self, region: Place, kept: &mut Kept, children: &mut Children) {
        // All is read before anything is hashed: memory answers many at once, and hashing has to
        // wait for each.
        children.clear();
        let inner = &mut kept.inner[self.shape.below(region)..];
        for (place, inner) in self.shape.children(region).zip(&*inner) {
            self.add_counters(place, &mut children.counters);
            let hash = match self.shape.is_station(place) {
                true => kept.stations[self.shape.row(place)],
                false => row::region_hash(self.row(place)),
            };
            let stale = core::mem::take(&mut kept.is_stale[place as usize]);
            children.nodes.push(Node { hash, inner: *inner, place, stale });
        }
        let id = self.contest().id.as_str();
        let Children { hasher, width, nodes, counters } = children;
        for (node, counters) in nodes.iter_mut().zip(counters.chunks_exact(*width)) {
            if node.stale && self.shape.is_station(node.place) {
                let record = row::record_bytes(self.row(node.place));
                node.hash = hasher.station(id, self.code(node.place), record, counters);
                kept.stations[self.shape.row(node.place)] = node.hash;
            }
        }
        let below = children.join(inner);
        let sums = &children.counters[..children.width];
        let (code, record) = (self.code(region), row::record_bytes(self.row(region)));
        let hash = children.hasher.region(id, code, record, &below, sums);
        row::set_region(self.row_mut(region), &hash, sums);
    }
}

/// A child of a region, and then the complete subtree that begins with it.
struct Node {
    hash: Hash,
    /// As in [`Kept`].
    inner: Hash,
    place: Place,
    stale: bool,
}

/// The children of one region.
struct Children {
    hasher: Hasher,
    /// Number of counters of each.
    width: usize,
    nodes: Vec<Node>,
    /// The counters of each.
    counters: Vec<u64>,
}

impl Children {
    fn new(width: usize) -> Self {
        Self { hasher: Hasher::default(), width, nodes: Vec::new(), counters: Vec::new() }
    }

    fn clear(&mut self) {
        self.nodes.clear();
        self.counters.clear();
    }

    /// Joins neighbours to subtrees of twice the size until one is left, the first, with the sums
    /// of all; hashes where something below is stale. So RFC 6962, Section 2.1, splits them too.
    fn join(&mut self, inner: &mut [Hash]) -> Below {
        let count = self.nodes.len();
        let mut half = 1;
        while half < count {
            for right in (half..count).step_by(2 * half) {
                self.join_two(right - half, right, &mut inner[right]);
            }
            half *= 2;
        }
        // A region without children has sums too.
        self.counters.resize(self.width.max(self.counters.len()), 0);
        let root = self.nodes.first().map_or(TreeHead::EMPTY.root, |whole| whole.hash);
        Below { count: count as u32, root }
    }

    /// Makes `left` the subtree of both.
    fn join_two(&mut self, left: usize, right: usize, inner: &mut Hash) {
        let (before, after) = self.counters.split_at_mut(right * self.width);
        let left_counters = &mut before[left * self.width..][..self.width];
        let right_counters = &after[..self.width];
        let [left, right] = self.nodes.get_disjoint_mut([left, right]).expect("two children");
        left.stale |= right.stale;
        left.hash = if left.stale {
            *inner = self.hasher.inner((&left.hash, left_counters), (&right.hash, right_counters));
            *inner
        } else {
            right.inner
        };
        for (left, right) in left_counters.iter_mut().zip(right_counters) {
            // No overflow: a register has fewer than 2^26 units, and each adds less than 2^33.
            *left += right;
        }
    }
}
