use jejak_proofs::merkle::{BatchError, Hash, Plan, TreeHead};

use super::{
    forge::{Random, flip, forgeries},
    plan::build,
    rfc,
};

/// A tree, some of its leaves, and the compact proof of the recursion.
struct Case<'a> {
    all: &'a [Hash],
    head: TreeHead,
    indexes: Vec<u64>,
    leaves: Vec<(u64, Hash)>,
    proof: Vec<Hash>,
}

impl<'a> Case<'a> {
    fn new(all: &'a [Hash], indexes: Vec<u64>) -> Self {
        let head = TreeHead { size: all.len() as u64, root: rfc::root(all) };
        let leaves = indexes.iter().map(|i| (*i, all[*i as usize])).collect();
        let proof = rfc::batch(&indexes, all);
        Self { all, head, indexes, leaves, proof }
    }

    fn holds(&self) {
        let plan = Plan::batch(self.head.size, &self.indexes).unwrap();
        assert_eq!(build(&plan, self.all), self.proof, "{:?}", self.indexes);
        assert_eq!(self.head.verify_batch(&self.leaves, &self.proof), Ok(()));
        let singles: Vec<_> =
            self.indexes.iter().map(|i| rfc::inclusion(*i as usize, self.all)).collect();
        assert_eq!(self.head.split_batch(&self.leaves, &self.proof), Ok(singles));
    }

    /// Both functions answer alike.
    fn refused(&self, head: TreeHead, leaves: &[(u64, Hash)], proof: &[Hash], error: BatchError) {
        assert_eq!(head.verify_batch(leaves, proof), Err(error), "{:?}", self.indexes);
        assert_eq!(head.split_batch(leaves, proof), Err(error), "{:?}", self.indexes);
    }

    fn refuses_forged_proofs(&self) {
        let want = self.proof.len();
        for forged in forgeries(&self.proof) {
            let error = match forged.len() == want {
                true => BatchError::WrongRoot,
                false => BatchError::WrongLength { got: forged.len(), want },
            };
            self.refused(self.head, &self.leaves, &forged, error);
        }
        let lying = TreeHead { root: flip(self.head.root, want), ..self.head };
        self.refused(lying, &self.leaves, &self.proof, BatchError::WrongRoot);
    }

    fn refuses_forged_leaves(&self) {
        for i in 0..self.leaves.len() {
            let mut lying = self.leaves.clone();
            lying[i].1 = flip(lying[i].1, i);
            self.refused(self.head, &lying, &self.proof, BatchError::WrongRoot);

            // A second leaf for the same index: the hole through which a fake one slips in.
            let mut doubled = self.leaves.clone();
            let (index, fake) = (self.leaves[i].0, rfc::leaf(u64::MAX));
            let error = BatchError::NotRising { index, previous: index };
            doubled.insert(i, (index, fake));
            self.refused(self.head, &doubled, &self.proof, error);
            doubled.swap(i, i + 1);
            self.refused(self.head, &doubled, &self.proof, error);

            if i > 0 {
                let mut swapped = self.leaves.clone();
                swapped.swap(i - 1, i);
                let (index, previous) = (self.leaves[i - 1].0, self.leaves[i].0);
                let error = BatchError::NotRising { index, previous };
                self.refused(self.head, &swapped, &self.proof, error);
            }
        }
        for index in [self.head.size, self.head.size + 1, u64::MAX] {
            let mut beyond = self.leaves.clone();
            beyond.push((index, rfc::leaf(index)));
            let error = BatchError::IndexOutOfRange { index, size: self.head.size };
            self.refused(self.head, &beyond, &self.proof, error);
        }
        self.refused(self.head, &[], &self.proof, BatchError::NoLeaves);
        self.refused(self.head, &[], &[], BatchError::NoLeaves);
    }

    /// The same proof for other indexes, fewer leaves or another size: as the recursion says.
    fn lies_like_the_recursion(&self) {
        for i in 0..self.leaves.len() {
            let mut fewer = self.leaves.clone();
            fewer.remove(i);
            self.agrees(self.head, &fewer);
            for lie in 0..self.head.size {
                let mut moved = self.leaves.clone();
                moved[i].0 = lie;
                if moved.is_sorted_by(|a, b| a.0 < b.0) {
                    self.agrees(self.head, &moved);
                }
            }
        }
        let largest = self.indexes.last().copied().unwrap();
        for size in largest + 1..2 * self.head.size + 2 {
            self.agrees(TreeHead { size, ..self.head }, &self.leaves);
        }
    }

    fn agrees(&self, head: TreeHead, leaves: &[(u64, Hash)]) {
        let want = match rfc::batch_root(u128::from(head.size), leaves, &self.proof) {
            _ if leaves.is_empty() => Err(BatchError::NoLeaves),
            None => {
                let indexes: Vec<_> = leaves.iter().map(|leaf| leaf.0).collect();
                let want = rfc::batch(&indexes, &rfc::leaves(head.size as usize)).len();
                Err(BatchError::WrongLength { got: self.proof.len(), want })
            }
            Some(root) if root != head.root => Err(BatchError::WrongRoot),
            Some(_) => Ok(()),
        };
        assert_eq!(head.verify_batch(leaves, &self.proof), want, "{head:?} {leaves:?}");
    }
}

fn subset(size: usize, bits: u64) -> Vec<u64> {
    (0..size as u64).filter(|i| bits >> i & 1 == 1).collect()
}

// SPEC [B1] [B2]
#[test]
fn every_subset_of_every_tree_up_to_ten() {
    let all = rfc::leaves(10);
    for size in 1..=all.len() {
        for bits in 1..1 << size {
            let case = Case::new(&all[..size], subset(size, bits));
            case.holds();
            case.refuses_forged_proofs();
            case.refuses_forged_leaves();
            if size <= 7 {
                case.lies_like_the_recursion();
            }
        }
    }
}

#[test]
fn random_subsets_of_every_small_tree() {
    let all = rfc::leaves(rfc::SIZE_MAX);
    let mut random = Random(1);
    for size in 1..=all.len() {
        for density in [1, 2, 4, 8, 16, 32] {
            let mut indexes: Vec<u64> =
                (0..size as u64).filter(|_| random.below(density) == 0).collect();
            if indexes.is_empty() {
                indexes.push(random.below(size as u64));
            }
            let case = Case::new(&all[..size], indexes);
            case.holds();
            case.refuses_forged_proofs();
            case.refuses_forged_leaves();
        }
    }
}

#[test]
fn every_range_of_every_small_tree() {
    let all = rfc::leaves(33);
    for size in 1..=all.len() as u64 {
        for start in 0..size {
            for end in start + 1..=size {
                Case::new(&all[..size as usize], (start..end).collect()).holds();
            }
        }
    }
}

#[test]
fn one_leaf_is_an_inclusion_proof_and_all_leaves_need_none() {
    for size in 1..=rfc::SIZE_MAX as u64 {
        for index in 0..size {
            let single = Plan::inclusion(size, index).unwrap();
            assert_eq!(Plan::batch(size, &[index]), Ok(single));
        }
        let all: Vec<u64> = (0..size).collect();
        assert_eq!(Plan::batch(size, &all).unwrap().nodes(), []);
    }
}

// SPEC [B2]
#[test]
fn a_plan_fails_as_the_verification_does() {
    for (size, indexes, error) in [
        (5, &[][..], BatchError::NoLeaves),
        (0, &[], BatchError::NoLeaves),
        (0, &[0], BatchError::IndexOutOfRange { index: 0, size: 0 }),
        (5, &[5], BatchError::IndexOutOfRange { index: 5, size: 5 }),
        (5, &[1, 9], BatchError::IndexOutOfRange { index: 9, size: 5 }),
        (5, &[1, 1], BatchError::NotRising { index: 1, previous: 1 }),
        (5, &[2, 4, 3], BatchError::NotRising { index: 3, previous: 4 }),
        (5, &[9, 3], BatchError::NotRising { index: 3, previous: 9 }),
    ] {
        assert_eq!(Plan::batch(size, indexes), Err(error));
        let head = TreeHead { size, root: rfc::leaf(0) };
        let leaves: Vec<_> = indexes.iter().map(|i| (*i, rfc::leaf(*i))).collect();
        assert_eq!(head.verify_batch(&leaves, &[]), Err(error));
    }
}
