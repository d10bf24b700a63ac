//! Tree heads.

use super::Hash;

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
