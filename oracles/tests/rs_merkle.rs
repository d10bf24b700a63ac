//! rs_merkle, given the prefixes of RFC 6962: the same roots, the same paths, and compact proofs in
//! the same order, both ways.

mod common;

use common::{SIZE_MAX, build, flip, head, leaves};
use jejak_proofs::merkle::{BatchError, Hash, Plan};
use rs_merkle::{Hasher, MerkleProof, MerkleTree};
use sha2::{Digest, Sha256};

#[derive(Clone)]
struct Rfc6962;

impl Hasher for Rfc6962 {
    type Hash = [u8; 32];

    /// Given two concatenated hashes: the leaves come hashed already.
    fn hash(data: &[u8]) -> [u8; 32] {
        Sha256::new().chain_update([1]).chain_update(data).finalize().into()
    }
}

fn bytes(hashes: &[Hash]) -> Vec<[u8; 32]> {
    hashes.iter().map(|hash| *hash.as_bytes()).collect()
}

/// Compares the compact proof of one set of leaves, both ways.
fn same_proof(theirs: &MerkleTree<Rfc6962>, leaves: &[Hash], indexes: &[usize]) {
    let head = head(leaves);
    let wide: Vec<u64> = indexes.iter().map(|i| *i as u64).collect();
    let ours = build(&Plan::batch(head.size, &wide).unwrap(), leaves);
    let proof = theirs.proof(indexes);
    assert_eq!(proof.proof_hashes(), bytes(&ours), "{indexes:?} of {}", head.size);

    let some: Vec<Hash> = indexes.iter().map(|i| leaves[*i]).collect();
    let proof = MerkleProof::<Rfc6962>::new(bytes(&ours));
    let root = *head.root.as_bytes();
    assert!(proof.verify(root, indexes, &bytes(&some), leaves.len()));
    let pairs: Vec<_> = wide.into_iter().zip(some).collect();
    assert_eq!(head.verify_batch(&pairs, &ours), Ok(()));
}

#[test]
fn roots_and_inclusion_proofs_of_every_small_tree() {
    let all = leaves(SIZE_MAX);
    for size in 1..=all.len() {
        let leaves = &all[..size];
        let head = head(leaves);
        let theirs = MerkleTree::<Rfc6962>::from_leaves(&bytes(leaves));
        assert_eq!(theirs.root(), Some(*head.root.as_bytes()), "{size}");
        for index in 0..size {
            let proof = theirs.proof(&[index]);
            let ours = build(&Plan::inclusion(head.size, index as u64).unwrap(), leaves);
            assert_eq!(proof.proof_hashes(), bytes(&ours), "{index} of {size}");
            let theirs: Vec<Hash> = proof.proof_hashes().iter().map(|h| Hash::new(*h)).collect();
            assert_eq!(head.verify_inclusion(index as u64, leaves[index], &theirs), Ok(()));
            same_proof(&MerkleTree::from_leaves(&bytes(leaves)), leaves, &[index]);
        }
    }
    assert_eq!(MerkleTree::<Rfc6962>::from_leaves(&[]).root(), None);
}

#[test]
fn compact_proofs_of_every_small_tree() {
    let all = leaves(SIZE_MAX);
    for size in 1..=all.len() {
        let leaves = &all[..size];
        let theirs = MerkleTree::<Rfc6962>::from_leaves(&bytes(leaves));
        for step in 1..=9 {
            for first in 0..step.min(size) {
                let comb: Vec<usize> = (first..size).step_by(step).collect();
                same_proof(&theirs, leaves, &comb);
                let range: Vec<usize> = (first..size / step + 1).filter(|i| *i < size).collect();
                if !range.is_empty() {
                    same_proof(&theirs, leaves, &range);
                }
            }
        }
        if size <= 10 {
            for bits in 1..1 << size {
                let subset: Vec<usize> = (0..size).filter(|i| bits >> i & 1 == 1).collect();
                same_proof(&theirs, leaves, &subset);
            }
        }
    }
}

/// What rs_merkle accepts and a log must not. Should this fail, it has become stricter.
#[test]
fn proofs_that_only_rs_merkle_accepts() {
    let leaves = leaves(8);
    let head = head(&leaves);
    let root = *head.root.as_bytes();
    let proof = build(&Plan::batch(8, &[2, 3]).unwrap(), &leaves);
    let fake = flip(leaves[3]);

    let longer = [&proof[..], &[fake]].concat();
    let theirs = MerkleProof::<Rfc6962>::new(bytes(&longer));
    assert!(theirs.verify(root, &[2, 3], &bytes(&leaves[2..4]), 8), "a trailing hash");
    let error = BatchError::WrongLength { got: 3, want: 2 };
    assert_eq!(head.verify_batch(&[(2, leaves[2]), (3, leaves[3])], &longer), Err(error));

    let theirs = MerkleProof::<Rfc6962>::new(bytes(&proof));
    let tripled = [leaves[2], leaves[3], fake];
    assert!(theirs.verify(root, &[2, 3, 3], &bytes(&tripled), 8), "a fake leaf beside a true one");
    let error = BatchError::NotRising { index: 3, previous: 3 };
    let tripled = [(2, leaves[2]), (3, leaves[3]), (3, fake)];
    assert_eq!(head.verify_batch(&tripled, &proof), Err(error));
}
