//! Building proofs in two phases: which hashes, then combine.

use alloc::vec::Vec;
use core::ops::Range;

use super::{
    BatchError, ConsistencyError, Hash, InclusionError, batch::check_indexes, tree::fold_peaks,
};

/// A complete subtree: the one over the leaves from `index << level` to `(index + 1) << level`.
/// Its hash never changes as the tree grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId {
    /// Height above the leaves: the subtree has `1 << level` of them.
    pub level: u8,
    /// Number of subtrees of this level to its left.
    pub index: u64,
}

impl NodeId {
    /// Whether a tree of `size` leaves has this subtree complete.
    pub const fn is_complete(self, size: u64) -> bool {
        self.level < 64 && self.index < size >> self.level
    }
}

/// Which hashes a proof is made of, and how.
///
/// The caller looks up the hashes of [`Plan::nodes`] and hands them to [`Plan::combine`].
/// Constructors fail on the arguments on which the verification of such a proof fails, with the
/// same error. They accept every `u64` as a size.
///
/// ```
/// use jejak_proofs::merkle::{NodeId, Plan, leaf_hash, node_hash};
///
/// // The root of three leaves is over a pair and a lone leaf.
/// let plan = Plan::root(3);
/// assert_eq!(plan.nodes(), [NodeId { level: 1, index: 0 }, NodeId { level: 0, index: 2 }]);
/// let (pair, lone) = (leaf_hash(b"stands for a pair"), leaf_hash(b"lone"));
/// assert_eq!(plan.combine(&[pair, lone]), Ok(vec![node_hash(&pair, &lone)]));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    size: u64,
    nodes: Vec<NodeId>,
    /// The nodes that fold into one hash, the root of a subtree that the right edge of the tree
    /// cuts short. A proof needs at most one: from there on the way up, the edge is known.
    edge: Option<Range<usize>>,
}

/// Why hashes could not be combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// Not one hash for each node.
    #[error("{got} hashes for a plan of {want}")]
    WrongCount {
        /// Hashes given.
        got: usize,
        /// Nodes of the plan.
        want: usize,
    },
}

impl Plan {
    /// The plan for the root; its nodes are the peaks of the tree, largest first: at most 64.
    pub fn root(size: u64) -> Self {
        let mut plan = Self::empty(size);
        plan.add_edge(u64::BITS);
        plan
    }

    /// The plan for the proof that [`TreeHead::verify_inclusion`] checks, at most 64 nodes.
    ///
    /// [`TreeHead::verify_inclusion`]: super::TreeHead::verify_inclusion
    ///
    /// # Errors
    /// [`InclusionError::IndexOutOfRange`].
    pub fn inclusion(size: u64, index: u64) -> Result<Self, InclusionError> {
        if index >= size {
            return Err(InclusionError::IndexOutOfRange { index, size });
        }
        let mut plan = Self::empty(size);
        plan.add_path(NodeId { level: 0, index });
        Ok(plan)
    }

    /// The plan for the proof that [`TreeHead::verify_consistency`] checks, at most 65 nodes.
    ///
    /// [`TreeHead::verify_consistency`]: super::TreeHead::verify_consistency
    ///
    /// # Errors
    /// [`ConsistencyError::Shrunk`].
    pub fn consistency(old: u64, new: u64) -> Result<Self, ConsistencyError> {
        if old > new {
            return Err(ConsistencyError::Shrunk { old, new });
        }
        if old == 0 || old == new {
            return Ok(Self::empty(new));
        }
        // RFC 9162, Section 2.1.4.1: the peak is left out where it is the whole old tree.
        Ok(Self::from_last_peak(old, new, !old.is_power_of_two()))
    }

    /// The plan for the hashes of [`prefix_roots`](super::prefix_roots): as for a consistency proof,
    /// with its left node always written out. At most 65 nodes.
    ///
    /// # Errors
    /// [`ConsistencyError::Shrunk`] unless 0 < `old` < `new`.
    pub fn prefix(old: u64, new: u64) -> Result<Self, ConsistencyError> {
        if old == 0 || old >= new {
            return Err(ConsistencyError::Shrunk { old, new });
        }
        Ok(Self::from_last_peak(old, new, true))
    }

    /// The last complete subtree of the old tree, the smallest of its peaks, if asked for, and its
    /// siblings up to the root of the new tree.
    fn from_last_peak(old: u64, new: u64, write_out: bool) -> Self {
        let mut plan = Self::empty(new);
        let level = old.trailing_zeros();
        let peak = NodeId { level: level as u8, index: (old >> level) - 1 };
        if write_out {
            plan.add(peak);
        }
        plan.add_path(peak);
        plan
    }

    /// The plan for the compact proof that [`TreeHead::verify_batch`] checks.
    ///
    /// Level by level from the leaves, ascending: for each known node its sibling, unless that is
    /// known too, or absent beside the lone last node. This is the order of the crate `rs_merkle`.
    ///
    /// [`TreeHead::verify_batch`]: super::TreeHead::verify_batch
    ///
    /// # Errors
    /// [`BatchError::NoLeaves`], [`BatchError::NotRising`], [`BatchError::IndexOutOfRange`].
    pub fn batch(size: u64, indexes: &[u64]) -> Result<Self, BatchError> {
        check_indexes(size, indexes.iter().copied())?;
        let mut plan = Self::empty(size);
        let mut known = indexes.to_vec();
        let mut last = size - 1;
        for level in 0.. {
            if last == 0 {
                break;
            }
            // Each round replaces the known nodes, in place, by their parents.
            let (mut read, mut parents) = (0, 0);
            while let Some(&node) = known.get(read) {
                let sibling = node ^ 1;
                read += 1;
                if known.get(read) == Some(&sibling) {
                    read += 1;
                } else if sibling <= last {
                    plan.add(NodeId { level, index: sibling });
                }
                known[parents] = node >> 1;
                parents += 1;
            }
            known.truncate(parents);
            last >>= 1;
        }
        Ok(plan)
    }

    /// The nodes whose hashes [`Plan::combine`] wants, in that order.
    pub fn nodes(&self) -> &[NodeId] {
        &self.nodes
    }

    /// The proof, or the one root hash, out of the hashes of [`Plan::nodes`].
    ///
    /// # Errors
    /// Fails if there is not one hash for each node.
    pub fn combine(&self, hashes: &[Hash]) -> Result<Vec<Hash>, PlanError> {
        if hashes.len() != self.nodes.len() {
            return Err(PlanError::WrongCount { got: hashes.len(), want: self.nodes.len() });
        }
        let Some(edge) = self.edge.clone() else {
            return Ok(hashes.to_vec());
        };
        let mut proof = Vec::with_capacity(hashes.len() - edge.len() + 1);
        proof.extend_from_slice(&hashes[..edge.start]);
        proof.push(fold_peaks(&hashes[edge.clone()]));
        proof.extend_from_slice(&hashes[edge.end..]);
        Ok(proof)
    }

    fn empty(size: u64) -> Self {
        Self { size, nodes: Vec::new(), edge: None }
    }

    /// Adds the siblings from this node up to the root.
    fn add_path(&mut self, node: NodeId) {
        let NodeId { mut level, mut index } = node;
        let mut last = (self.size - 1) >> level;
        while last > 0 {
            let sibling = index ^ 1;
            if sibling <= last {
                self.add(NodeId { level, index: sibling });
            }
            index >>= 1;
            last >>= 1;
            level += 1;
        }
    }

    /// Adds one hash: the node itself, or where the tree ends within it, what there is of it.
    fn add(&mut self, node: NodeId) {
        if node.is_complete(self.size) {
            self.nodes.push(node);
        } else {
            self.add_edge(u32::from(node.level));
        }
    }

    /// Adds one hash: the root over the peaks of the tree below `level`.
    fn add_edge(&mut self, level: u32) {
        let start = self.nodes.len();
        for bit in (0..level).rev() {
            let complete = self.size >> bit;
            if complete & 1 == 1 {
                self.nodes.push(NodeId { level: bit as u8, index: complete - 1 });
            }
        }
        self.edge = Some(start..self.nodes.len());
    }
}
