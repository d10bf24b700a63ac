//! RFC 6962, Section 2.1, word by word, with no code of ours.

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
            let node = Sha256::new_with_prefix([1]).chain_update(root(left).as_bytes());
            Hash::new(node.chain_update(root(right).as_bytes()).finalize().into())
        }
    }
}

pub fn head(leaves: &[Hash]) -> TreeHead {
    TreeHead { size: leaves.len() as u64, root: root(leaves) }
}

/// The index and the head that a receipt of this entry proves.
pub fn receipt(text: &str, entry: &[u8], policy: &str) -> (u64, TreeHead) {
    let policy = Policy::parse(policy).unwrap();
    let receipt = Receipt::parse(text.as_bytes()).unwrap();
    let checkpoint = receipt.verify(entry, &policy).unwrap();
    (receipt.index, checkpoint.head())
}
