//! ct-merkle: inclusion and consistency proofs, both ways, and the same answers to forged ones.

mod common;

use common::{SIZE_MAX, build, entries, flip, head, leaves};
use ct_merkle::{ConsistencyProof, InclusionProof, RootHash, mem_backed_tree::MemoryBackedTree};
use jejak_proofs::merkle::{Hash, Plan, TreeHead};
use sha2::Sha256;

type Tree = MemoryBackedTree<Sha256, Vec<u8>>;

fn theirs(head: TreeHead) -> RootHash<Sha256> {
    RootHash::new((*head.root.as_bytes()).into(), head.size)
}

fn concat(proof: &[Hash]) -> Vec<u8> {
    proof.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

/// The proof itself, and some that are not.
fn variants(proof: &[Hash]) -> Vec<Vec<Hash>> {
    let mut variants = vec![proof.to_vec(), [proof, &[Hash::new([7; 32])]].concat()];
    for i in 0..proof.len() {
        let mut flipped = proof.to_vec();
        flipped[i] = flip(flipped[i]);
        variants.push(flipped);
        variants.push([&proof[..i], &proof[i + 1..]].concat());
    }
    variants
}

#[test]
fn inclusion_proofs_of_every_small_tree() {
    let (entries, all) = (entries(SIZE_MAX), leaves(SIZE_MAX));
    let mut tree = Tree::new();
    for size in 1..=all.len() {
        tree.push(entries[size - 1].clone());
        let head = head(&all[..size]);
        assert_eq!(tree.root(), theirs(head), "{size}");
        for index in 0..size {
            let proof = build(&Plan::inclusion(head.size, index as u64).unwrap(), &all[..size]);
            assert_eq!(tree.prove_inclusion(index).as_bytes(), concat(&proof), "{index} of {size}");
            for variant in variants(&proof) {
                let ours = head.verify_inclusion(index as u64, all[index], &variant);
                let theirs_too = InclusionProof::try_from_bytes(concat(&variant)).unwrap();
                let answer =
                    theirs(head).verify_inclusion(&entries[index], index as u64, &theirs_too);
                assert_eq!(ours.is_ok(), answer.is_ok(), "{index} of {size}");
                assert_eq!(ours.is_ok(), variant == proof, "{index} of {size}");
            }
        }
    }
}

#[test]
fn consistency_proofs_of_every_two_small_trees() {
    let (entries, all) = (entries(SIZE_MAX), leaves(SIZE_MAX));
    let heads: Vec<_> = (0..=all.len()).map(|size| head(&all[..size])).collect();
    let mut tree = Tree::new();
    for new_size in 1..=all.len() {
        tree.push(entries[new_size - 1].clone());
        for old_size in 1..=new_size {
            let (old, new) = (heads[old_size], heads[new_size]);
            let plan = Plan::consistency(old.size, new.size).unwrap();
            let proof = build(&plan, &all[..new_size]);
            let from_them = tree.prove_consistency(new_size - old_size);
            assert_eq!(from_them.as_bytes(), concat(&proof), "{old_size} to {new_size}");
            for variant in variants(&proof) {
                for old in [old, TreeHead { root: flip(old.root), ..old }] {
                    let ours = new.verify_consistency(&old, &variant);
                    let proof = ConsistencyProof::try_from_bytes(concat(&variant)).unwrap();
                    let answer = theirs(new).verify_consistency(&theirs(old), &proof);
                    assert_eq!(ours.is_ok(), answer.is_ok(), "{old_size} to {new_size}");
                }
            }
        }
    }
}
