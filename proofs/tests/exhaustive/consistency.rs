use jejak_proofs::merkle::{ConsistencyError, Hash, Plan, TreeHead, prefix_roots};

use super::{
    forge::{flip, forgeries},
    plan::build,
    rfc,
};

fn head(leaves: &[Hash]) -> TreeHead {
    TreeHead { size: leaves.len() as u64, root: rfc::root(leaves) }
}

fn heads(all: &[Hash]) -> Vec<TreeHead> {
    (0..=all.len()).map(|size| head(&all[..size])).collect()
}

/// What the verification must answer, by the recursion.
fn expected(
    old: TreeHead,
    new: TreeHead,
    proof: &[Hash],
    want: usize,
) -> Result<(), ConsistencyError> {
    use ConsistencyError::*;
    if old.size > new.size {
        return Err(Shrunk { old: old.size, new: new.size });
    }
    if proof.len() != want {
        return Err(WrongLength { got: proof.len(), want });
    }
    if old.size == 0 && old.root != rfc::root(&[]) {
        return Err(NotEmpty);
    }
    if old.size == new.size {
        return if old.root == new.root { Ok(()) } else { Err(Forked) };
    }
    if old.size == 0 {
        return Ok(());
    }
    let (m, n) = (u128::from(old.size), u128::from(new.size));
    let (old_root, new_root) = rfc::consistency_roots(m, n, old.root, proof).unwrap();
    match (old_root == old.root, new_root == new.root) {
        (_, false) => Err(WrongNewRoot),
        (false, true) => Err(WrongOldRoot),
        (true, true) => Ok(()),
    }
}

// SPEC [T6]
#[test]
fn every_two_small_trees_are_consistent() {
    let all = rfc::leaves(rfc::SIZE_MAX);
    let heads = heads(&all);
    for (new_size, new) in heads.iter().enumerate() {
        for (old_size, old) in heads[..=new_size].iter().enumerate() {
            let proof = rfc::consistency(old_size, &all[..new_size]);
            let plan = Plan::consistency(old.size, new.size).unwrap();
            assert_eq!(build(&plan, &all[..new_size]), proof, "{old_size} to {new_size}");
            assert_eq!(new.verify_consistency(old, &proof), Ok(()), "{old_size} to {new_size}");
        }
    }
}

// SPEC [T6]
#[test]
fn every_forged_consistency_proof_is_refused() {
    let all = rfc::leaves(rfc::SIZE_MAX);
    let heads = heads(&all);
    for (new_size, new) in heads.iter().enumerate() {
        for (old_size, old) in heads[..=new_size].iter().enumerate() {
            let proof = rfc::consistency(old_size, &all[..new_size]);
            let want = proof.len();
            for forged in forgeries(&proof) {
                let error = match forged.len() == want {
                    true => ConsistencyError::WrongNewRoot,
                    false => ConsistencyError::WrongLength { got: forged.len(), want },
                };
                let answer = new.verify_consistency(old, &forged);
                assert_eq!(answer, Err(error), "{old_size} to {new_size}");
            }
        }
    }
}

#[test]
fn a_lying_root_is_refused() {
    let all = rfc::leaves(rfc::SIZE_MAX);
    let heads = heads(&all);
    for (new_size, &new) in heads.iter().enumerate() {
        for (old_size, &old) in heads[..=new_size].iter().enumerate() {
            let proof = rfc::consistency(old_size, &all[..new_size]);
            let lying_old = TreeHead { root: flip(old.root, new_size), ..old };
            let error = match old_size {
                0 => ConsistencyError::NotEmpty,
                _ if old_size == new_size => ConsistencyError::Forked,
                // The old root is the first node of the path.
                _ if old_size.is_power_of_two() => ConsistencyError::WrongNewRoot,
                _ => ConsistencyError::WrongOldRoot,
            };
            let answer = new.verify_consistency(&lying_old, &proof);
            assert_eq!(answer, Err(error), "{old_size} to {new_size}");

            let lying_new = TreeHead { root: flip(new.root, old_size), ..new };
            let answer = lying_new.verify_consistency(&old, &proof);
            let want = match old_size {
                _ if old_size == new_size => Err(ConsistencyError::Forked),
                // Whatever it is, a tree begins with nothing.
                0 => Ok(()),
                _ => Err(ConsistencyError::WrongNewRoot),
            };
            assert_eq!(answer, want, "{old_size} to {new_size}");
        }
    }
}

#[test]
fn a_lying_size_is_refused_unless_the_path_is_the_same() {
    let all = rfc::leaves(rfc::SIZE_MAX);
    let heads = heads(&all);
    // Every length, so that a lie about the size does not repeat the recursion each time.
    let lens: Vec<Vec<usize>> = (0..=all.len())
        .map(|new| (0..=new).map(|old| rfc::consistency(old, &all[..new]).len()).collect())
        .collect();
    let lies = |size: usize, small: bool| -> Vec<usize> {
        let near = [size.wrapping_sub(1), size + 1, size / 2, size * 2, size ^ 1, 0, 1];
        let all = if small { (0..=24).collect() } else { near.to_vec() };
        all.into_iter().filter(|lie| *lie <= rfc::SIZE_MAX).collect()
    };
    for new_size in 0..=all.len() {
        for old_size in 0..=new_size {
            let proof = rfc::consistency(old_size, &all[..new_size]);
            let check = |old_lie: usize, new_lie: usize| {
                let old = TreeHead { size: old_lie as u64, ..heads[old_size] };
                let new = TreeHead { size: new_lie as u64, ..heads[new_size] };
                let want = lens[new_lie].get(old_lie).copied().unwrap_or(0);
                let answer = new.verify_consistency(&old, &proof);
                let context = || format!("{old_size} to {new_size} as {old_lie} to {new_lie}");
                assert_eq!(answer, expected(old, new, &proof, want), "{}", context());
            };
            let small = new_size <= 24;
            lies(old_size, small).into_iter().for_each(|lie| check(lie, new_size));
            lies(new_size, small).into_iter().for_each(|lie| check(old_size, lie));
            check(new_size, old_size);
        }
    }
}

// SPEC [T6]
#[test]
fn a_tree_never_shrinks() {
    let all = rfc::leaves(rfc::SIZE_MAX);
    let heads = heads(&all);
    for old_size in 0..=all.len() {
        for new_size in 0..old_size {
            let (old, new) = (heads[old_size], heads[new_size]);
            let error = ConsistencyError::Shrunk { old: old.size, new: new.size };
            let proof = rfc::consistency(new_size, &all[..old_size]);
            assert_eq!(new.verify_consistency(&old, &proof), Err(error));
            assert_eq!(new.verify_consistency(&old, &[]), Err(error));
            // Not even to the same root.
            let same = TreeHead { root: old.root, ..new };
            assert_eq!(same.verify_consistency(&old, &[]), Err(error));
            assert_eq!(Plan::consistency(old.size, new.size), Err(error));
        }
    }
}

/// The log rewrote one old entry, and proves consistency with the history that it invented.
#[test]
fn a_rewritten_history_convicts() {
    let all = rfc::leaves(64);
    for new_size in 2..=all.len() {
        for old_size in 1..new_size {
            for rewritten in 0..old_size {
                let mut forged = all[..new_size].to_vec();
                forged[rewritten] = flip(forged[rewritten], 0);
                let (old, new) = (head(&all[..old_size]), head(&forged));
                let error = match old_size.is_power_of_two() {
                    true => ConsistencyError::WrongNewRoot,
                    false => ConsistencyError::WrongOldRoot,
                };
                let proof = rfc::consistency(old_size, &forged);
                assert_eq!(new.verify_consistency(&old, &proof), Err(error));
            }
        }
    }
}

/// Size 0 has one root only, on either side.
// SPEC [T6]
#[test]
fn the_empty_tree_has_one_root() {
    let empty = TreeHead::EMPTY;
    let lying = TreeHead { root: rfc::leaf(0), ..empty };
    assert_eq!(empty.verify_consistency(&empty, &[]), Ok(()));
    assert_eq!(lying.verify_consistency(&lying, &[]), Err(ConsistencyError::NotEmpty));
    assert_eq!(empty.verify_consistency(&lying, &[]), Err(ConsistencyError::NotEmpty));
    assert_eq!(lying.verify_consistency(&empty, &[]), Err(ConsistencyError::Forked));
}

#[test]
fn every_prefix_of_every_small_tree() {
    let all = rfc::leaves(rfc::SIZE_MAX);
    let heads = heads(&all);
    for (new_size, new) in heads.iter().enumerate() {
        for (old_size, old) in heads.iter().enumerate() {
            let shrunk = ConsistencyError::Shrunk { old: old.size, new: new.size };
            if old_size == 0 || old_size >= new_size {
                assert_eq!(Plan::prefix(old.size, new.size), Err(shrunk));
                assert_eq!(prefix_roots(old.size, new.size, &[old.root]), Err(shrunk));
                continue;
            }
            // The proof of the RFC; where it leaves the old root out, the old root first.
            let mut proof = rfc::consistency(old_size, &all[..new_size]);
            if old_size.is_power_of_two() {
                proof.insert(0, old.root);
            }
            let plan = Plan::prefix(old.size, new.size).unwrap();
            assert_eq!(build(&plan, &all[..new_size]), proof, "{old_size} of {new_size}");
            let roots = prefix_roots(old.size, new.size, &proof);
            assert_eq!(roots, Ok((old.root, new.root)), "{old_size} of {new_size}");
            for forgery in forgeries(&proof) {
                let got = prefix_roots(old.size, new.size, &forgery);
                match forgery.len() == proof.len() {
                    true => assert_ne!(got.unwrap().1, new.root, "{old_size} of {new_size}"),
                    false => {
                        let (got_len, want) = (forgery.len(), proof.len());
                        let length = ConsistencyError::WrongLength { got: got_len, want };
                        assert_eq!(got, Err(length));
                    }
                }
            }
        }
    }
}
