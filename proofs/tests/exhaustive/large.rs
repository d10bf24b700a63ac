//! Sizes that no test can fill: near 2^32, near 2^63 - 1, and beyond what a checkpoint may say.
//! Proofs of arbitrary hashes stand in, and the recursion says which roots they lead to.

use jejak_proofs::merkle::{
    BatchError, ConsistencyError, InclusionError, NodeId, Plan, TREE_SIZE_MAX, TreeHead,
};

use super::{
    forge::{Random, flip},
    rfc::{self, split},
};

fn sizes() -> Vec<u64> {
    let around = |bit: u32| [(1 << bit) - 2, (1 << bit) - 1, 1 << bit, (1 << bit) + 1, 3 << bit];
    let mut sizes: Vec<u64> = [8, 16, 31, 32, 33, 48, 61].into_iter().flat_map(around).collect();
    sizes.extend([TREE_SIZE_MAX - 1, TREE_SIZE_MAX, 1 << 63, (1 << 63) + 1, u64::MAX - 1]);
    sizes.extend([u64::MAX, 0x5555_5555_5555_5555, 0xaaaa_aaaa_aaaa_aaaa, 823_236]);
    sizes
}

/// Some numbers below `bound`, rising: both ends, powers of two, and others.
fn below(bound: u64, random: &mut Random) -> Vec<u64> {
    let mut some = vec![0, 1, 2, bound / 2, bound / 3, bound - 1, bound.saturating_sub(2)];
    some.extend((0..64).map(|bit| 1 << bit).flat_map(|power: u64| [power - 1, power]));
    some.extend((0..10).map(|_| random.below(bound)));
    some.retain(|number| *number < bound);
    some.sort_unstable();
    some.dedup();
    some
}

/// The complete subtrees over leaves `start` to `end`, split as the RFC splits.
fn subtrees(start: u128, end: u128) -> Vec<NodeId> {
    let count = end - start;
    if count.is_power_of_two() {
        let level = count.trailing_zeros() as u8;
        return vec![NodeId { level, index: (start >> level) as u64 }];
    }
    let middle = start + split(count);
    [subtrees(start, middle), subtrees(middle, end)].concat()
}

/// PATH(m, D\[n\]) as ranges of leaves: siblings from the leaf up.
fn path(start: u128, end: u128, m: u128) -> Vec<(u128, u128)> {
    if end - start == 1 {
        return vec![];
    }
    let middle = start + split(end - start);
    let (mut ranges, sibling) = match m < middle {
        true => (path(start, middle, m), (middle, end)),
        false => (path(middle, end, m), (start, middle)),
    };
    ranges.push(sibling);
    ranges
}

/// SUBPROOF(m, D\[n\], whole) as ranges of leaves.
fn subproof(start: u128, end: u128, m: u128, whole: bool) -> Vec<(u128, u128)> {
    if m == end {
        return if whole { vec![] } else { vec![(start, end)] };
    }
    let middle = start + split(end - start);
    let (mut ranges, other) = match m <= middle {
        true => (subproof(start, middle, m, whole), (middle, end)),
        false => (subproof(middle, end, m, false), (start, middle)),
    };
    ranges.push(other);
    ranges
}

fn nodes(ranges: &[(u128, u128)]) -> Vec<NodeId> {
    ranges.iter().flat_map(|(start, end)| subtrees(*start, *end)).collect()
}

#[test]
fn roots_of_large_trees() {
    for size in sizes() {
        assert_eq!(Plan::root(size).nodes(), subtrees(0, size.into()), "{size}");
    }
}

#[test]
fn inclusion_in_large_trees() {
    let mut random = Random(2);
    for size in sizes() {
        for index in below(size, &mut random) {
            let ranges = path(0, size.into(), index.into());
            let plan = Plan::inclusion(size, index).unwrap();
            assert_eq!(plan.nodes(), nodes(&ranges), "{index} of {size}");
            let hashes = random.hashes(plan.nodes().len());
            assert_eq!(plan.combine(&hashes).unwrap().len(), ranges.len(), "{index} of {size}");

            let (leaf, mut proof) = (rfc::leaf(index), random.hashes(ranges.len()));
            let root = rfc::inclusion_root(index.into(), size.into(), leaf, &proof).unwrap();
            let head = TreeHead { size, root };
            assert_eq!(head.verify_inclusion(index, leaf, &proof), Ok(()), "{index} of {size}");
            for i in 0..proof.len() {
                proof[i] = flip(proof[i], i);
                let answer = head.verify_inclusion(index, leaf, &proof);
                assert_eq!(answer, Err(InclusionError::WrongRoot));
                proof[i] = flip(proof[i], i);
            }
            let want = proof.len();
            proof.push(leaf);
            let error = InclusionError::WrongLength { got: want + 1, want };
            assert_eq!(head.verify_inclusion(index, leaf, &proof), Err(error));
        }
        let error = InclusionError::IndexOutOfRange { index: size, size };
        assert_eq!(Plan::inclusion(size, size), Err(error));
    }
}

#[test]
fn consistency_of_large_trees() {
    let mut random = Random(3);
    for size in sizes() {
        for old_size in below(size, &mut random).into_iter().filter(|old| *old > 0) {
            let ranges = subproof(0, size.into(), old_size.into(), true);
            let plan = Plan::consistency(old_size, size).unwrap();
            assert_eq!(plan.nodes(), nodes(&ranges), "{old_size} to {size}");
            let hashes = random.hashes(plan.nodes().len());
            assert_eq!(plan.combine(&hashes).unwrap().len(), ranges.len());

            let (seed, mut proof) = (rfc::leaf(old_size), random.hashes(ranges.len()));
            let (old_root, root) =
                rfc::consistency_roots(old_size.into(), size.into(), seed, &proof).unwrap();
            let (old, new) = (TreeHead { size: old_size, root: old_root }, TreeHead { size, root });
            assert_eq!(new.verify_consistency(&old, &proof), Ok(()), "{old_size} to {size}");
            for i in 0..proof.len() {
                proof[i] = flip(proof[i], i);
                let answer = new.verify_consistency(&old, &proof);
                assert_eq!(answer, Err(ConsistencyError::WrongNewRoot));
                proof[i] = flip(proof[i], i);
            }
            let want = proof.len();
            proof.push(seed);
            let error = ConsistencyError::WrongLength { got: want + 1, want };
            assert_eq!(new.verify_consistency(&old, &proof), Err(error));
            let error = ConsistencyError::Shrunk { old: size, new: old_size };
            assert_eq!(old.verify_consistency(&new, &[]), Err(error));
        }
        assert_eq!(Plan::consistency(0, size).unwrap().nodes(), []);
        assert_eq!(Plan::consistency(size, size).unwrap().nodes(), []);
    }
}

#[test]
fn batches_in_large_trees() {
    let mut random = Random(4);
    for size in sizes() {
        let some = below(size, &mut random);
        for count in [1, 2, 3, some.len() / 2, some.len()] {
            let indexes: Vec<u64> = (0..count).map(|i| some[i * some.len() / count]).collect();
            let leaves: Vec<_> = indexes.iter().map(|i| (*i, rfc::leaf(*i))).collect();
            let plan = Plan::batch(size, &indexes).unwrap();
            let stand_ins = random.hashes(plan.nodes().len());
            let proof = plan.combine(&stand_ins).unwrap();
            let root = rfc::batch_root(size.into(), &leaves, &proof).unwrap();
            let head = TreeHead { size, root };
            assert_eq!(head.verify_batch(&leaves, &proof), Ok(()), "{indexes:?} of {size}");
            let singles = head.split_batch(&leaves, &proof).unwrap();
            assert_eq!(singles.len(), leaves.len());
            for ((index, leaf), single) in leaves.iter().zip(&singles) {
                let root = rfc::inclusion_root((*index).into(), size.into(), *leaf, single);
                assert_eq!(root, Some(head.root), "{index} of {size}");
            }
            let longer = [&proof[..], &[root]].concat();
            let error = BatchError::WrongLength { got: longer.len(), want: proof.len() };
            assert_eq!(head.verify_batch(&leaves, &longer), Err(error));
        }
    }
}

/// The figure that batches exist for.
#[test]
fn neighbours_in_a_million_need_few_hashes() {
    let indexes: Vec<u64> = (500_000..500_200).collect();
    let plan = Plan::batch(1 << 20, &indexes).unwrap();
    assert_eq!(plan.nodes().len(), 15);
    let singles = indexes.iter().map(|i| Plan::inclusion(1 << 20, *i).unwrap().nodes().len());
    assert_eq!(singles.sum::<usize>(), 4_000);
}
