//! Tree heads, and the least that one must keep of a tree in order to extend it.

use alloc::vec::Vec;

use super::{Hash, node_hash};

/// The largest tree that Jejak reads or writes: other clients hold sizes in an `int64`.
pub const TREE_SIZE_MAX: u64 = i64::MAX as u64;

/// The size and the root of a tree. Size and root travel together, because a root alone, or a
/// proof alone, does not determine the size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TreeHead {
    /// Number of entries.
    pub size: u64,
    /// Root hash.
    pub root: Hash,
}

impl TreeHead {
    /// The head of the empty tree; its root is SHA-256 of nothing (RFC 6962, Section 2.1).
    pub const EMPTY: Self = Self {
        size: 0,
        root: Hash::new([
            0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f,
            0xb9, 0x24, 0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b,
            0x78, 0x52, 0xb8, 0x55,
        ]),
    };
}

/// A tree that can grow: the roots of its complete subtrees, largest first.
///
/// These *peaks* are one for each set bit of the size, at most 63 hashes whatever the tree holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// Always `size.count_ones()` of them.
    peaks: Vec<Hash>,
}

/// Why peaks are not those of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrontierError {
    /// The size is above [`TREE_SIZE_MAX`].
    #[error("a tree of {size} entries is too large")]
    TooLarge {
        /// The size in question.
        size: u64,
    },
    /// A tree of this size has another number of peaks.
    #[error("{got} peaks where the tree has {want}")]
    WrongCount {
        /// Peaks given.
        got: usize,
        /// Peaks of a tree of that size.
        want: usize,
    },
}

impl Frontier {
    /// The empty tree.
    pub const fn new() -> Self {
        Self { size: 0, peaks: Vec::new() }
    }

    /// The tree of `size` entries with these peaks, largest first. [`Plan::root`] names them.
    ///
    /// [`Plan::root`]: super::Plan::root
    ///
    /// # Errors
    /// Fails if the size is above [`TREE_SIZE_MAX`] or has another number of peaks. Whether the
    /// peaks are the right ones shows only when [`Frontier::head`] is compared with a known head.
    pub fn from_peaks(size: u64, peaks: Vec<Hash>) -> Result<Self, FrontierError> {
        if size > TREE_SIZE_MAX {
            return Err(FrontierError::TooLarge { size });
        }
        let want = size.count_ones() as usize;
        if peaks.len() != want {
            return Err(FrontierError::WrongCount { got: peaks.len(), want });
        }
        Ok(Self { size, peaks })
    }

    /// Number of entries.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the complete subtrees, largest first.
    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// Appends a leaf. Hashes once a leaf on average, at most 63 times.
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        // The new leaf completes one subtree for each trailing one of the size, like a carry.
        for _ in 0..self.size.trailing_ones() {
            let left = self.peaks.pop().expect("a peak for each set bit of the size");
            hash = node_hash(&left, &hash);
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// Size and root. Hashes once less than there are peaks.
    pub fn head(&self) -> TreeHead {
        TreeHead { size: self.size, root: fold_peaks(&self.peaks) }
    }
}

/// The root over complete subtrees, largest first; the root of the empty tree if there are none.
pub(super) fn fold_peaks(peaks: &[Hash]) -> Hash {
    let fold = |right, left| node_hash(&left, &right);
    peaks.iter().copied().rev().reduce(fold).unwrap_or(TreeHead::EMPTY.root)
}
