//! RFC 6962 and RFC 9162, Section 2.1, written as the recursions that they are. Slow on purpose.

use std::collections::{BTreeMap, BTreeSet};

use jejak_proofs::merkle::Hash;
use sha2::{Digest, Sha256};

/// Trees of 0 to this many leaves are tried: past one power of two.
pub const SIZE_MAX: usize = 130;

/// The leaf hash of test entry `i`.
pub fn leaf(i: u64) -> Hash {
    sha256(&[&[0], &i.to_be_bytes()])
}

/// The leaf hashes of entries 0 to `size`.
pub fn leaves(size: usize) -> Vec<Hash> {
    (0..size as u64).map(leaf).collect()
}

pub fn node(left: Hash, right: Hash) -> Hash {
    sha256(&[&[1], left.as_bytes(), right.as_bytes()])
}

pub fn sha256(parts: &[&[u8]]) -> Hash {
    Hash::new(Sha256::digest(parts.concat()).into())
}

/// The largest power of two below `n`.
pub fn split(n: u128) -> u128 {
    let mut k = 1;
    while 2 * k < n {
        k *= 2;
    }
    k
}

fn halves(hashes: &[Hash]) -> (&[Hash], &[Hash]) {
    hashes.split_at(split(hashes.len() as u128) as usize)
}

/// MTH(D\[n\]).
pub fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => sha256(&[]),
        [leaf] => *leaf,
        _ => {
            let (left, right) = halves(leaves);
            node(root(left), root(right))
        }
    }
}

/// PATH(m, D\[n\]).
pub fn inclusion(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return vec![];
    }
    let (left, right) = halves(leaves);
    let (mut path, sibling) = match m < left.len() {
        true => (inclusion(m, left), root(right)),
        false => (inclusion(m - left.len(), right), root(left)),
    };
    path.push(sibling);
    path
}

/// PROOF(m, D\[n\]), for 0 < m < n; empty for m = 0 and m = n.
pub fn consistency(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    if m == 0 { vec![] } else { subproof(m, leaves, true) }
}

fn subproof(m: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
    if m == leaves.len() {
        return if whole { vec![] } else { vec![root(leaves)] };
    }
    let (left, right) = halves(leaves);
    let (mut proof, other) = match m <= left.len() {
        true => (subproof(m, left, whole), root(right)),
        false => (subproof(m - left.len(), right, false), root(left)),
    };
    proof.push(other);
    proof
}

/// The compact proof, level by level: siblings of known nodes that are neither known nor absent.
pub fn batch(indexes: &[u64], leaves: &[Hash]) -> Vec<Hash> {
    let mut level = leaves.to_vec();
    let mut known: BTreeSet<u64> = indexes.iter().copied().collect();
    let mut proof = vec![];
    while level.len() > 1 {
        let wanted: BTreeSet<u64> = known.iter().map(|i| i ^ 1).collect();
        proof.extend(wanted.difference(&known).filter_map(|i| level.get(*i as usize)));
        known = known.iter().map(|i| i / 2).collect();
        level = level.chunks(2).map(root).collect();
    }
    proof
}

/// The root that an inclusion proof leads to, read from the root down; `None` if the proof has
/// another number of hashes than the path.
pub fn inclusion_root(m: u128, n: u128, leaf: Hash, proof: &[Hash]) -> Option<Hash> {
    let mut rest = proof.to_vec();
    let root = climb(m, n, leaf, &mut rest)?;
    rest.is_empty().then_some(root)
}

fn climb(m: u128, n: u128, leaf: Hash, proof: &mut Vec<Hash>) -> Option<Hash> {
    if n == 1 {
        return Some(leaf);
    }
    let (k, sibling) = (split(n), proof.pop()?);
    Some(match m < k {
        true => node(climb(m, k, leaf, proof)?, sibling),
        false => node(sibling, climb(m - k, n - k, leaf, proof)?),
    })
}

/// The old and the new root that a consistency proof leads to, for 0 < m < n.
pub fn consistency_roots(m: u128, n: u128, old: Hash, proof: &[Hash]) -> Option<(Hash, Hash)> {
    let mut rest = proof.to_vec();
    let roots = climb_both(m, n, Some(old), &mut rest)?;
    rest.is_empty().then_some(roots)
}

fn climb_both(m: u128, n: u128, old: Option<Hash>, proof: &mut Vec<Hash>) -> Option<(Hash, Hash)> {
    if m == n {
        let hash = if let Some(old) = old { old } else { proof.pop()? };
        return Some((hash, hash));
    }
    let (k, other) = (split(n), proof.pop()?);
    Some(if m <= k {
        let (old, new) = climb_both(m, k, old, proof)?;
        (old, node(new, other))
    } else {
        let (old, new) = climb_both(m - k, n - k, None, proof)?;
        (node(other, old), node(other, new))
    })
}

/// The root that a compact proof leads to.
pub fn batch_root(n: u128, leaves: &[(u64, Hash)], proof: &[Hash]) -> Option<Hash> {
    let mut known: BTreeMap<u128, Hash> =
        leaves.iter().map(|(index, leaf)| (u128::from(*index), *leaf)).collect();
    let mut proof = proof.iter();
    let mut width = n;
    while width > 1 {
        let missing: Vec<u128> =
            known.keys().map(|i| i ^ 1).filter(|i| *i < width && !known.contains_key(i)).collect();
        for index in missing {
            known.insert(index, *proof.next()?);
        }
        let parents: BTreeSet<u128> = known.keys().map(|i| i / 2).collect();
        let parent = |i: u128| match known.get(&(2 * i + 1)) {
            Some(right) => node(known[&(2 * i)], *right),
            None => known[&(2 * i)],
        };
        known = parents.into_iter().map(|i| (i, parent(i))).collect();
        width = width.div_ceil(2);
    }
    if proof.next().is_some() { None } else { known.get(&0).copied() }
}
