//! Verification of inclusion proofs.

use super::{Hash, TreeHead, node_hash};

/// Why an inclusion proof was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InclusionError {
    /// The tree has no such entry.
    #[error("index {index} is not in a tree of {size}")]
    IndexOutOfRange {
        /// The index in question, 0-based.
        index: u64,
        /// Number of entries.
        size: u64,
    },
    /// The proof has not the one length that index and size allow.
    #[error("a proof of {got} hashes where {want} are needed")]
    WrongLength {
        /// Hashes given.
        got: usize,
        /// Hashes needed.
        want: usize,
    },
    /// The proof leads to another root.
    #[error("the inclusion proof leads to another root")]
    WrongRoot,
}

impl TreeHead {
    /// Checks that the entry with hash `leaf` has the given `index` in this tree.
    ///
    /// `proof` lists the siblings from the leaf to the root, as in [RFC 9162, Section 2.1.3.2].
    /// Hashes once per element: at most 64 times, whatever the input.
    ///
    /// [RFC 9162, Section 2.1.3.2]: https://www.rfc-editor.org/rfc/rfc9162#section-2.1.3.2
    ///
    /// # Security
    /// The proof says nothing about `self.size`: one proof can fit several sizes. Only a
    /// signature binds the size to the root, so take `self` from a verified checkpoint.
    ///
    /// # Errors
    /// Fails if `index` is not in the tree, if `proof` has not the one length that `index` and
    /// the size allow, or if it leads to another root. It never panics.
    pub fn verify_inclusion(
        &self,
        index: u64,
        leaf: Hash,
        proof: &[Hash],
    ) -> Result<(), InclusionError> {
        if index >= self.size {
            return Err(InclusionError::IndexOutOfRange { index, size: self.size });
        }
        let (inner, border) = path_lengths(index, self.size - 1);
        if proof.len() != inner + border {
            return Err(InclusionError::WrongLength { got: proof.len(), want: inner + border });
        }
        let (inner, border) = proof.split_at(inner);
        let mut root = leaf;
        for (level, sibling) in inner.iter().enumerate() {
            let (left, right) = match index >> level & 1 {
                0 => (&root, sibling),
                _ => (sibling, &root),
            };
            root = node_hash(left, right);
        }
        for sibling in border {
            root = node_hash(sibling, &root);
        }
        if root != self.root {
            return Err(InclusionError::WrongRoot);
        }
        Ok(())
    }
}

/// The two parts of the path from node `index` of a level whose last node is `last` to the root:
/// siblings on both sides as long as the right edge of the tree runs beside the path, then, once
/// the path is the edge, those on the left only.
pub(super) const fn path_lengths(index: u64, last: u64) -> (usize, usize) {
    let inner = u64::BITS - (index ^ last).leading_zeros();
    // All 64 bits may differ, and a shift by 64 is none.
    let above = match index.checked_shr(inner) {
        Some(above) => above,
        None => 0,
    };
    (inner as usize, above.count_ones() as usize)
}
