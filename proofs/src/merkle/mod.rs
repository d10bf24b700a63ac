//! The Merkle tree of RFC 6962 and RFC 9162: hashes, proofs, tiles.
//!
//! An entry is hashed into a leaf; two nodes are hashed into their parent; a tree of n leaves is
//! split at the largest power of two below n. The root of that tree, together with its size, is a
//! [`TreeHead`]. Three proofs speak about it, and each is checked by a method of [`TreeHead`]:
//!
//! | proof | says | check |
//! |---|---|---|
//! | inclusion | this leaf has this index in the tree | [`TreeHead::verify_inclusion`] |
//! | batch | the same of many leaves at once, in far fewer hashes | [`TreeHead::verify_batch`] |
//! | consistency | the older tree is the beginning of this one | [`TreeHead::verify_consistency`] |
//!
//! Every check compares the length of the proof with the one length that sizes and indexes allow
//! before it hashes anything, so there is one proof for one statement and no room for more.
//!
//! Proofs are built in two phases: a [`Plan`] says *which* hashes it needs, the caller reads them
//! from wherever they are, and the plan combines them. So the mathematics does no I/O.
//!
//! # Example
//!
//! A log of three entries, kept as one tile, proves to a reader that it holds the second:
//!
//! ```
//! use jejak_proofs::merkle::{Frontier, Plan, Tile, TileId, leaf_hash};
//!
//! let leaves = [leaf_hash(b"one"), leaf_hash(b"two"), leaf_hash(b"three")];
//! let mut tree = Frontier::new();
//! leaves.into_iter().for_each(|leaf| tree.push(leaf));
//! let head = tree.head();
//!
//! // The log: which hashes, where they are, and the proof out of them.
//! let plan = Plan::inclusion(head.size, 1)?;
//! let id = TileId::of_node(plan.nodes()[0], head.size).expect("a node of this tree");
//! assert_eq!(id.path(), "tile/0/000.p/3");
//! let tile = Tile::parse(id, &leaves.map(|leaf| *leaf.as_bytes()).concat())?;
//! let hashes: Vec<_> = plan.nodes().iter().map(|node| tile.node(*node).unwrap()).collect();
//! let proof = plan.combine(&hashes)?;
//!
//! // The reader, who trusts `head` because it is signed.
//! head.verify_inclusion(1, leaf_hash(b"two"), &proof)?;
//! assert!(head.verify_inclusion(1, leaf_hash(b"2"), &proof).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! And that a tree only grew:
//!
//! ```
//! use jejak_proofs::merkle::{Frontier, TreeHead, leaf_hash};
//!
//! let mut tree = Frontier::new();
//! tree.push(leaf_hash(b"one"));
//! let old = tree.head();
//! tree.push(leaf_hash(b"two"));
//!
//! // The old root is the left half of the new one: only the right half is missing.
//! tree.head().verify_consistency(&old, &[leaf_hash(b"two")])?;
//! tree.head().verify_consistency(&TreeHead::EMPTY, &[])?;
//! # Ok::<(), jejak_proofs::merkle::ConsistencyError>(())
//! ```

mod batch;
mod bundle;
mod consistency;
mod hash;
mod inclusion;
mod plan;
mod tile;
mod tree;

pub use batch::BatchError;
pub use bundle::{
    BundleError, BundleId, ENTRY_LEN_MAX, EntryTooLong, entries, parse_bundle, prefix_len,
    push_entry,
};
pub use consistency::{ConsistencyError, prefix_roots};
pub use hash::{HASH_LEN, Hash, HashError, leaf_hash, node_hash, sha256};
pub use inclusion::InclusionError;
pub use plan::{NodeId, Plan, PlanError};
pub use tile::{
    TILE_HEIGHT, TILE_LEVELS, TILE_WIDTH, Tile, TileError, TileId, TilePath, TilePathError,
};
pub use tree::{Frontier, FrontierError, TREE_SIZE_MAX, TreeHead};
