//! What the oracles share: entries, and a tree of ours over them.

use jejak_proofs::merkle::{Frontier, Hash, NodeId, Plan, TreeHead, leaf_hash};

/// Trees of 0 to this many leaves are tried: past one power of two.
pub const SIZE_MAX: usize = 130;

pub fn entries(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|i| format!("entry {i}").into_bytes()).collect()
}

pub fn leaves(count: usize) -> Vec<Hash> {
    entries(count).iter().map(|entry| leaf_hash(entry)).collect()
}

pub fn head(leaves: &[Hash]) -> TreeHead {
    let mut tree = Frontier::new();
    leaves.iter().for_each(|leaf| tree.push(*leaf));
    tree.head()
}

/// Carries out a plan over leaves.
pub fn build(plan: &Plan, leaves: &[Hash]) -> Vec<Hash> {
    let lookup = |node: &NodeId| {
        let start = (node.index as usize) << node.level;
        head(&leaves[start..start + (1 << node.level)]).root
    };
    plan.combine(&plan.nodes().iter().map(lookup).collect::<Vec<_>>()).unwrap()
}

pub fn flip(hash: Hash) -> Hash {
    let mut bytes = *hash.as_bytes();
    bytes[0] ^= 1;
    Hash::new(bytes)
}
