//! RFC 6962, Section 2.1, word by word, with no code of ours.

use std::collections::BTreeMap;

use jejak_proofs::{
    merkle::{Hash, TreeHead},
    note::{Policy, Receipt},
};
use sha2::{Digest as _, Sha256};

pub fn leaf(entry: &[u8]) -> Hash {
    Hash::new(Sha256::new_with_prefix([0]).chain_update(entry).finalize().into())
}

pub fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::new(Sha256::digest([]).into()),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node(&root(left), &root(right))
        }
    }
}

fn node(left: &Hash, right: &Hash) -> Hash {
    let node = Sha256::new_with_prefix([1]).chain_update(left.as_bytes());
    Hash::new(node.chain_update(right.as_bytes()).finalize().into())
}

pub fn head(leaves: &[Hash]) -> TreeHead {
    TreeHead { size: leaves.len() as u64, root: root(leaves) }
}

/// The inclusion proof of a leaf: PATH(m, D[n]).
pub fn path(leaves: &[Hash], index: usize) -> Vec<Hash> {
    if leaves.len() == 1 {
        return vec![];
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    let (mut path, other) = match index.checked_sub(left.len()) {
        None => (path(left, index), root(right)),
        Some(index) => (path(right, index), root(left)),
    };
    path.push(other);
    path
}

/// The index and the head that a receipt of this entry proves.
pub fn receipt(text: &str, entry: &[u8], policy: &str) -> (u64, TreeHead) {
    let policy = Policy::parse(policy).unwrap();
    let receipt = Receipt::parse(text.as_bytes()).unwrap();
    let checkpoint = receipt.verify(entry, &policy).unwrap();
    (receipt.index, checkpoint.head())
}

/// The roots of the trees of these sizes: peaks of equal height are merged as soon as there are
/// two.
pub fn roots(leaves: &[Hash], sizes: impl Iterator<Item = u64>) -> BTreeMap<u64, Hash> {
    let mut roots = BTreeMap::new();
    let mut peaks: Vec<(u32, Hash)> = Vec::new();
    let mut sizes = sizes.peekable();
    for size in 0..=leaves.len() {
        if sizes.next_if_eq(&(size as u64)).is_some() {
            let whole =
                peaks.iter().map(|(_, hash)| *hash).rev().reduce(|right, left| node(&left, &right));
            roots.insert(size as u64, whole.unwrap_or_else(|| root(&[])));
        }
        let Some(leaf) = leaves.get(size) else { break };
        let mut peak = (0, *leaf);
        while let Some(left) = peaks.pop_if(|left| left.0 == peak.0) {
            peak = (peak.0 + 1, node(&left.1, &peak.1));
        }
        peaks.push(peak);
    }
    roots
}

#[test]
fn both_ways_give_the_same_roots() {
    let leaves: Vec<Hash> = (0..300_u32).map(|n| leaf(&n.to_be_bytes())).collect();
    let roots = roots(&leaves, 0..=300);
    assert_eq!(roots.len(), 301);
    for (size, found) in roots {
        assert_eq!(found, root(&leaves[..size as usize]), "{size}");
    }
}
