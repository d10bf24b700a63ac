//! Verification of compact proofs: many leaves, one proof, no hash twice.
//!
//! A proof for 200 neighbours out of a million leaves has some 15 hashes, where single proofs have
//! 4,000. The order of its hashes is that of [`Plan::batch`](super::Plan::batch).

use alloc::vec::Vec;
use core::{mem, ops::Range};

use super::{Hash, TreeHead, inclusion::path_lengths, node_hash};

/// Why a compact proof was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// There is nothing to prove.
    #[error("a batch of no leaves")]
    NoLeaves,
    /// An index is not above the one before it.
    #[error("index {index} does not come after {previous}")]
    NotRising {
        /// The index in question.
        index: u64,
        /// The index before it in the list.
        previous: u64,
    },
    /// The tree has no such entry.
    #[error("index {index} is not in a tree of {size}")]
    IndexOutOfRange {
        /// The index in question, 0-based: the largest.
        index: u64,
        /// Number of entries.
        size: u64,
    },
    /// The proof has not the one length that indexes and size allow.
    #[error("a proof of {got} hashes where {want} are needed")]
    WrongLength {
        /// Hashes given.
        got: usize,
        /// Hashes needed.
        want: usize,
    },
    /// The proof leads to another root.
    #[error("the compact proof leads to another root")]
    WrongRoot,
}

impl TreeHead {
    /// Checks that each of these leaves, given as (index, leaf hash), is in this tree.
    ///
    /// Time and memory are linear in the number of leaves, times the height of the tree for time.
    ///
    /// # Security
    /// As for inclusion, take `self` from a verified checkpoint.
    ///
    /// # Errors
    /// Fails if there are no leaves, if their indexes do not strictly rise, if one is not in the
    /// tree, if `proof` has not the one length that indexes and size allow, or if it leads to
    /// another root. It never panics.
    pub fn verify_batch(&self, leaves: &[(u64, Hash)], proof: &[Hash]) -> Result<(), BatchError> {
        self.climb(leaves, proof, |_, _| ())
    }

    /// Verifies a compact proof, then cuts out of it the inclusion proof of each leaf, in the order
    /// of the leaves: what [`TreeHead::verify_inclusion`] checks, hash for hash.
    ///
    /// Hashes no more than [`TreeHead::verify_batch`].
    ///
    /// # Errors
    /// Those of [`TreeHead::verify_batch`].
    pub fn split_batch(
        &self,
        leaves: &[(u64, Hash)],
        proof: &[Hash],
    ) -> Result<Vec<Vec<Hash>>, BatchError> {
        let height = (u64::BITS - self.size.leading_zeros()) as usize;
        let mut proofs: Vec<_> = leaves.iter().map(|_| Vec::with_capacity(height)).collect();
        self.climb(leaves, proof, |below, sibling| {
            proofs[below].iter_mut().for_each(|proof| proof.push(sibling));
        })?;
        Ok(proofs)
    }

    /// Verifies a compact proof, and reports each sibling on the way up together with the range of
    /// `leaves` whose path it is on, from the leaves to the root.
    fn climb(
        &self,
        leaves: &[(u64, Hash)],
        proof: &[Hash],
        mut report: impl FnMut(Range<usize>, Hash),
    ) -> Result<(), BatchError> {
        let indexes = leaves.iter().map(|&(index, _)| index);
        check_indexes(self.size, indexes.clone())?;
        let want = proof_len(self.size - 1, indexes);
        if proof.len() != want {
            return Err(BatchError::WrongLength { got: proof.len(), want });
        }
        let mut proof = proof.iter().copied();
        let mut last = self.size - 1;
        let mut known: Vec<Known> = leaves.iter().enumerate().map(Known::leaf).collect();
        let mut parents = Vec::with_capacity(known.len());
        while last > 0 {
            let mut nodes = known.drain(..).peekable();
            while let Some(mut node) = nodes.next() {
                let sibling = node.index ^ 1;
                if let Some(right) = nodes.next_if(|next| next.index == sibling) {
                    report(node.below.clone(), right.hash);
                    report(right.below.clone(), node.hash);
                    node.hash = node_hash(&node.hash, &right.hash);
                    node.below.end = right.below.end;
                } else if sibling <= last {
                    let hash = proof.next().expect("the length of the proof was checked");
                    report(node.below.clone(), hash);
                    node.hash = match node.index & 1 {
                        0 => node_hash(&node.hash, &hash),
                        _ => node_hash(&hash, &node.hash),
                    };
                }
                node.index >>= 1;
                parents.push(node);
            }
            drop(nodes);
            mem::swap(&mut known, &mut parents);
            last >>= 1;
        }
        match known.as_slice() {
            [root] if root.hash == self.root => Ok(()),
            _ => Err(BatchError::WrongRoot),
        }
    }
}

/// A node whose hash is known, on the way up.
struct Known {
    index: u64,
    hash: Hash,
    /// Which of the leaves in question are below it.
    below: Range<usize>,
}

impl Known {
    fn leaf((position, &(index, hash)): (usize, &(u64, Hash))) -> Self {
        Self { index, hash, below: position..position + 1 }
    }
}

/// Refuses indexes that cannot be those of a batch in a tree of `size` entries.
pub(super) fn check_indexes(
    size: u64,
    mut indexes: impl Iterator<Item = u64>,
) -> Result<(), BatchError> {
    let mut previous = indexes.next().ok_or(BatchError::NoLeaves)?;
    for index in indexes {
        if index <= previous {
            return Err(BatchError::NotRising { index, previous });
        }
        previous = index;
    }
    if previous >= size {
        return Err(BatchError::IndexOutOfRange { index: previous, size });
    }
    Ok(())
}

/// The one length of a compact proof for these strictly rising indexes, the last leaf being `last`.
fn proof_len(last: u64, indexes: impl Iterator<Item = u64>) -> usize {
    let mut len = 0;
    let mut previous = None;
    for index in indexes {
        len += match previous.replace(index) {
            None => path_len(index, last),
            Some(previous) => {
                // On this level the two paths come to siblings, which meet in one parent. So the
                // path of `index` counts only below, within a subtree that `last` may cut short,
                // and the sibling that the path of `previous` had to be told is known after all.
                let level = u64::ilog2(previous ^ index);
                let mask = (1 << level) - 1;
                len -= 1;
                path_len(index & mask, mask.min(last - (index & !mask)))
            }
        };
    }
    len
}

/// The length of the path from leaf `index` to the root, the last leaf being `last`.
const fn path_len(index: u64, last: u64) -> usize {
    let (inner, border) = path_lengths(index, last);
    inner + border
}
