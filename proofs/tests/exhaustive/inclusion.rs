use jejak_proofs::merkle::{Hash, InclusionError, Plan, TreeHead};

use super::{
    forge::{flip, forgeries},
    plan::build,
    rfc,
};

/// What the verification must answer, by the recursion.
fn expected(
    head: TreeHead,
    index: u64,
    leaf: Hash,
    proof: &[Hash],
    want: usize,
) -> Result<(), InclusionError> {
    match rfc::inclusion_root(u128::from(index), u128::from(head.size), leaf, proof) {
        None => Err(InclusionError::WrongLength { got: proof.len(), want }),
        Some(root) if root != head.root => Err(InclusionError::WrongRoot),
        Some(_) => Ok(()),
    }
}

#[test]
fn every_leaf_of_every_small_tree_is_proved() {
    let all = rfc::leaves(rfc::SIZE_MAX);
    for size in 1..=all.len() {
        let leaves = &all[..size];
        let head = TreeHead { size: size as u64, root: rfc::root(leaves) };
        for (index, leaf) in leaves.iter().enumerate() {
            let proof = rfc::inclusion(index, leaves);
            let plan = Plan::inclusion(head.size, index as u64).unwrap();
            assert_eq!(build(&plan, leaves), proof, "{index} of {size}");
            let answer = head.verify_inclusion(index as u64, *leaf, &proof);
            assert_eq!(answer, Ok(()), "{index} of {size}");
        }
    }
}

// SPEC [T5]
#[test]
fn every_forged_inclusion_proof_is_refused() {
    let all = rfc::leaves(rfc::SIZE_MAX);
    for size in 1..=all.len() {
        let leaves = &all[..size];
        let head = TreeHead { size: size as u64, root: rfc::root(leaves) };
        for (index, leaf) in leaves.iter().enumerate() {
            let proof = rfc::inclusion(index, leaves);
            let (want, verify) = (proof.len(), |head: TreeHead, leaf, proof: &[Hash]| {
                head.verify_inclusion(index as u64, leaf, proof)
            });
            for forged in forgeries(&proof) {
                let error = match forged.len() == want {
                    true => InclusionError::WrongRoot,
                    false => InclusionError::WrongLength { got: forged.len(), want },
                };
                assert_eq!(verify(head, *leaf, &forged), Err(error), "{index} of {size}");
            }
            let lying = TreeHead { root: flip(head.root, index), ..head };
            assert_eq!(verify(lying, *leaf, &proof), Err(InclusionError::WrongRoot));
            let other = flip(*leaf, size);
            assert_eq!(verify(head, other, &proof), Err(InclusionError::WrongRoot));
        }
    }
}

// SPEC [T5]
#[test]
fn another_index_is_refused() {
    let all = rfc::leaves(rfc::SIZE_MAX);
    for size in 1..=all.len() {
        let leaves = &all[..size];
        let head = TreeHead { size: size as u64, root: rfc::root(leaves) };
        let paths: Vec<_> = (0..size).map(|index| rfc::inclusion(index, leaves)).collect();
        for (index, proof) in paths.iter().enumerate() {
            for (lie, path) in paths.iter().enumerate().filter(|(lie, _)| *lie != index) {
                let error = match path.len() == proof.len() {
                    true => InclusionError::WrongRoot,
                    false => InclusionError::WrongLength { got: proof.len(), want: path.len() },
                };
                let answer = head.verify_inclusion(lie as u64, leaves[index], proof);
                assert_eq!(answer, Err(error), "{index} as {lie} of {size}");
            }
            for lie in [head.size, head.size + 1, head.size + index as u64, 1 << 63, u64::MAX] {
                let error = InclusionError::IndexOutOfRange { index: lie, size: head.size };
                let answer = head.verify_inclusion(lie, leaves[index], proof);
                assert_eq!(answer, Err(error), "{index} as {lie} of {size}");
            }
        }
    }
}

/// A proof can fit several sizes, so a lying size is refused exactly where the recursion differs.
// SPEC [T7]
#[test]
fn another_size_is_refused_unless_the_path_is_the_same() {
    let all = rfc::leaves(rfc::SIZE_MAX);
    let path_lens: Vec<Vec<usize>> = (0..=all.len())
        .map(|size| (0..size).map(|index| rfc::inclusion(index, &all[..size]).len()).collect())
        .collect();
    let (mut accepted, mut tried) = (0, 0);
    for size in 1..=64 {
        let root = rfc::root(&all[..size]);
        for index in 0..size {
            let proof = rfc::inclusion(index, &all[..size]);
            let mut fits = 0;
            for lie in (0..=all.len()).filter(|lie| *lie != size) {
                let head = TreeHead { size: lie as u64, root };
                let answer = head.verify_inclusion(index as u64, all[index], &proof);
                if lie <= index {
                    let (index, size) = (index as u64, lie as u64);
                    assert_eq!(answer, Err(InclusionError::IndexOutOfRange { index, size }));
                    continue;
                }
                let want = path_lens[lie][index];
                assert_eq!(
                    answer,
                    expected(head, index as u64, all[index], &proof, want),
                    "{index} of {size} said to be of {lie}"
                );
                fits += usize::from(answer.is_ok() && lie <= 64);
            }
            accepted += usize::from(fits > 0);
            tried += 1;
        }
    }
    // Why a size must come from a signature: nearly every proof fits another size as well.
    assert_eq!((accepted, tried), (1_984, 2_080));
}

#[test]
fn the_empty_tree_has_no_entry() {
    for index in [0, 1, u64::MAX] {
        let error = InclusionError::IndexOutOfRange { index, size: 0 };
        let root = TreeHead::EMPTY.root;
        assert_eq!(TreeHead::EMPTY.verify_inclusion(index, root, &[]), Err(error));
        assert_eq!(Plan::inclusion(0, index), Err(error));
    }
}
