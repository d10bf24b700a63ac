//! The Merkle tree of RFC 6962 and RFC 9162: hashes, proofs, tiles.
//!
//! Proofs are built in two phases: a plan says *which* hashes it needs, the caller reads them from
//! wherever they are, and the plan combines them. So the mathematics does no I/O.

mod hash;
mod tree;

pub use hash::{HASH_LEN, Hash, HashError, leaf_hash, node_hash, sha256};
pub use tree::{TREE_SIZE_MAX, TreeHead};
