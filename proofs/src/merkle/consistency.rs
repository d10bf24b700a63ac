//! Verification of consistency proofs.

use super::{Hash, TreeHead, inclusion::path_lengths, node_hash};

/// Why a consistency proof was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConsistencyError {
    /// The older tree is the larger one.
    #[error("a tree of {old} entries cannot become one of {new}")]
    Shrunk {
        /// Entries of the older tree.
        old: u64,
        /// Entries of the newer tree.
        new: u64,
    },
    /// The proof has not the one length that the two sizes allow.
    #[error("a proof of {got} hashes where {want} are needed")]
    WrongLength {
        /// Hashes given.
        got: usize,
        /// Hashes needed.
        want: usize,
    },
    /// The older tree is said to be empty, but its root is not that of the empty tree.
    #[error("the empty tree has another root")]
    NotEmpty,
    /// Two trees of one size have different roots. If both are signed, the log is convicted.
    #[error("two roots for one size")]
    Forked,
    /// The proof does not lead to the newer root: a bad proof, which says nothing about the log.
    #[error("the consistency proof leads to another new root")]
    WrongNewRoot,
    /// The proof leads to the newer root, and from there to another old root. If both heads are
    /// signed, this proof convicts the log. (Where the old size is a power of two, the proof
    /// begins with the old root itself, and a fork shows as [`ConsistencyError::WrongNewRoot`].)
    #[error("the consistency proof leads to another old root")]
    WrongOldRoot,
}

impl TreeHead {
    /// Checks that the tree `old` is the beginning of this one: nothing in it was changed,
    /// moved or removed.
    ///
    /// `proof` is that of [RFC 9162, Section 2.1.4], defined there for 0 < old size < new size.
    /// As witnesses need it, an old size of 0 wants an empty proof and the empty root, and equal
    /// sizes want an empty proof and equal roots. Hashes at most 128 times, whatever the input.
    ///
    /// [RFC 9162, Section 2.1.4]: https://www.rfc-editor.org/rfc/rfc9162#section-2.1.4
    ///
    /// # Security
    /// As for inclusion, only signatures bind the two sizes to their roots.
    ///
    /// # Errors
    /// Fails if this tree is the smaller one, if `proof` has not the one length that the sizes
    /// allow, or if it does not lead to both roots. It never panics.
    pub fn verify_consistency(
        &self,
        old: &TreeHead,
        proof: &[Hash],
    ) -> Result<(), ConsistencyError> {
        if old.size > self.size {
            return Err(ConsistencyError::Shrunk { old: old.size, new: self.size });
        }
        if old.size == 0 || old.size == self.size {
            return self.verify_without_proof(old, proof);
        }
        let want = proof_len(old.size, self.size);
        if proof.len() != want {
            return Err(ConsistencyError::WrongLength { got: proof.len(), want });
        }
        // Where the last peak is the whole old tree, the proof leaves it out: it is the old root.
        let (seed, path) = match proof.split_first() {
            Some((seed, path)) if !old.size.is_power_of_two() => (*seed, path),
            _ => (old.root, proof),
        };
        let (old_root, new_root) = climb(old.size, self.size, seed, path);
        if new_root != self.root {
            return Err(ConsistencyError::WrongNewRoot);
        }
        if old_root != old.root {
            return Err(ConsistencyError::WrongOldRoot);
        }
        Ok(())
    }

    /// The cases that RFC 9162 leaves out: from nothing, and from itself.
    fn verify_without_proof(&self, old: &TreeHead, proof: &[Hash]) -> Result<(), ConsistencyError> {
        if !proof.is_empty() {
            return Err(ConsistencyError::WrongLength { got: proof.len(), want: 0 });
        }
        if old.size == 0 && old.root != Self::EMPTY.root {
            return Err(ConsistencyError::NotEmpty);
        }
        if old.size == self.size && old.root != self.root {
            return Err(ConsistencyError::Forked);
        }
        Ok(())
    }
}

/// The roots, old and new, to which a consistency proof with its left node written out leads.
///
/// `hashes` is the proof of [RFC 9162, Section 2.1.4], except that the last complete subtree of the
/// old tree always comes first, also where it is the whole old tree: [`Plan::prefix`] names them.
/// Then the proof needs neither root, and shows what the tree with that new root was before.
/// Hashes at most 128 times, whatever the input.
///
/// [RFC 9162, Section 2.1.4]: https://www.rfc-editor.org/rfc/rfc9162#section-2.1.4
/// [`Plan::prefix`]: super::Plan::prefix
///
/// # Security
/// Unless SHA-256 is broken, a tree of `new` entries with the new root has exactly one old root
/// for `old` entries. A signed head of that size with another root is of another history.
///
/// # Errors
/// Fails with [`ConsistencyError::Shrunk`] unless 0 < `old` < `new`, and if `hashes` has not the one
/// length that the sizes allow. It never panics.
pub fn prefix_roots(old: u64, new: u64, hashes: &[Hash]) -> Result<(Hash, Hash), ConsistencyError> {
    if old == 0 || old >= new {
        return Err(ConsistencyError::Shrunk { old, new });
    }
    let want = proof_len(old, new) + usize::from(old.is_power_of_two());
    match hashes.split_first() {
        Some((seed, path)) if hashes.len() == want => Ok(climb(old, new, *seed, path)),
        _ => Err(ConsistencyError::WrongLength { got: hashes.len(), want }),
    }
}

/// The last complete subtree of the old tree, its smallest peak: level and index. There the path
/// begins.
const fn last_peak(old: u64) -> (u32, u64) {
    let level = old.trailing_zeros();
    (level, (old >> level) - 1)
}

/// The one length of a proof for 0 < `old` < `new`.
fn proof_len(old: u64, new: u64) -> usize {
    let (level, peak) = last_peak(old);
    let (inner, border) = path_lengths(peak, (new - 1) >> level);
    usize::from(!old.is_power_of_two()) + inner + border
}

/// The old and the new root, from the last peak of the old tree along a path of the right length.
fn climb(old: u64, new: u64, seed: Hash, path: &[Hash]) -> (Hash, Hash) {
    let (level, peak) = last_peak(old);
    let (inner, border) = path.split_at(path_lengths(peak, (new - 1) >> level).0);
    let (mut old_root, mut new_root) = (seed, seed);
    for (level, sibling) in inner.iter().enumerate() {
        if peak >> level & 1 == 0 {
            // A subtree to the right is not in the old tree.
            new_root = node_hash(&new_root, sibling);
        } else {
            old_root = node_hash(sibling, &old_root);
            new_root = node_hash(sibling, &new_root);
        }
    }
    for sibling in border {
        old_root = node_hash(sibling, &old_root);
        new_root = node_hash(sibling, &new_root);
    }
    (old_root, new_root)
}
