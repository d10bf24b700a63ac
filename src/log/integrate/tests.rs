use std::collections::BTreeMap;

use jejak_proofs::merkle::{BundleId, Frontier, HASH_LEN};
use sha2::{Digest as _, Sha256};

use super::*;

fn entry(index: u64) -> Bytes {
    // Of several lengths, none among them too.
    vec![index as u8; (index % 5) as usize].into_iter().chain(index.to_be_bytes()).collect()
}

fn entries(range: std::ops::Range<u64>) -> Vec<Bytes> {
    range.map(entry).collect()
}

/// RFC 6962, Section 2.1, word by word, with no code of ours.
mod rfc {
    use super::*;

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

    pub fn leaves(count: u64) -> Vec<Hash> {
        (0..count).map(|index| leaf(&entry(index))).collect()
    }

    /// Every tile and bundle that is full in a tree of these leaves and was not when it had `old`.
    pub fn objects(leaves: &[Hash], old: u64) -> BTreeMap<String, Vec<u8>> {
        let mut objects = BTreeMap::new();
        let size = leaves.len() as u64;
        for level in 0..3_u8 {
            let below = 256_usize.pow(u32::from(level));
            for index in old / (below as u64 * 256)..size / (below as u64 * 256) {
                let start = index as usize * below * 256;
                let subtrees = leaves[start..start + below * 256].chunks(below);
                let bytes = subtrees.flat_map(|leaves| *root(leaves).as_bytes()).collect();
                objects.insert(ObjectId::Tile { level, index }.path(), bytes);
            }
        }
        for index in old / 256..size / 256 {
            let framed = |entry: Bytes| [&(entry.len() as u16).to_be_bytes(), &*entry].concat();
            let bytes = entries(index * 256..index * 256 + 256).into_iter().flat_map(framed);
            objects.insert(ObjectId::Bundle { index }.path(), bytes.collect());
        }
        objects
    }
}

fn grow(edge: &Edge, size: u64) -> Integrated {
    let entries = entries(edge.size()..size);
    let leaves: Vec<Hash> = entries.iter().map(|entry| rfc::leaf(entry)).collect();
    let grown = integrate(edge, &entries, &leaves);
    assert_eq!(verify(&edge.head(), edge, &grown, &entries), Ok(()), "{} to {size}", edge.size());
    grown
}

fn edge(size: u64) -> Edge {
    match size {
        0 => Edge::new(),
        _ => grow(&Edge::new(), size).edge,
    }
}

/// Compares a grown tree with the one that the RFC describes.
fn check(old: u64, grown: &Integrated, leaves: &[Hash]) {
    let size = leaves.len() as u64;
    let what = format!("{old} to {size}");
    assert_eq!(grown.edge.head(), TreeHead { size, root: rfc::root(leaves) }, "{what}");
    let got: BTreeMap<String, Vec<u8>> =
        grown.objects.iter().map(|(id, bytes)| (id.path(), bytes.clone())).collect();
    assert_eq!(got.len(), grown.objects.len(), "{what}: each object once");
    assert_eq!(got, rfc::objects(leaves, old), "{what}");
    let first = size / 256 * 256;
    for index in [first.wrapping_sub(1), first, size.wrapping_sub(1), size] {
        let held = (first..size).contains(&index).then(|| entry(index));
        assert_eq!(grown.edge.entry(index).cloned(), held, "{what}: entry {index}");
    }
}

#[test]
fn batches_of_every_size_grow_the_tree_of_the_rfc() {
    let leaves = rfc::leaves(600);
    for old in [0, 1, 200, 255, 256, 257] {
        let edge = edge(old);
        for size in old + 1..=old + 300 {
            check(old, &grow(&edge, size), &leaves[..size as usize]);
        }
    }
}

#[test]
fn batches_across_the_borders_of_level_1_and_2() {
    let leaves = rfc::leaves(65_537 + 256);
    let almost = edge(65_533);
    for (old, sizes) in [
        (65_533, vec![65_534, 65_535, 65_536, 65_537, 65_792, 65_793]),
        (65_535, vec![65_536, 65_537]),
        (65_536, vec![65_537, 65_792]),
        (65_537, vec![65_538, 65_793]),
    ] {
        let edge = if old == 65_533 { almost.clone() } else { grow(&almost, old).edge };
        for size in sizes {
            check(old, &grow(&edge, size), &leaves[..size as usize]);
        }
    }
}

#[test]
fn an_edge_gives_every_width_that_it_has_and_no_other() {
    let size = 65_536 + 3 * 256 + 5;
    let leaves = rfc::leaves(size);
    let edge = edge(size);
    for (level, index, have) in [(0, 259, 5), (1, 1, 3), (2, 0, 1)] {
        let below = 256_usize.pow(u32::from(level));
        for width in 1..=256 {
            let start = index as usize * 256 * below;
            let want = (width <= have).then(|| -> Vec<u8> {
                let subtrees = leaves[start..].chunks(below).take(usize::from(width));
                subtrees.flat_map(|leaves| *rfc::root(leaves).as_bytes()).collect()
            });
            assert_eq!(edge.tile(TileId { level, index, width }), want, "{level} {width}");
            for index in [index - index.min(1), index + 1].into_iter().filter(|i| *i != index) {
                assert_eq!(edge.tile(TileId { level, index, width }), None);
            }
        }
    }
    assert_eq!(edge.tile(TileId { level: 3, index: 0, width: 1 }), None);
    for level in [7, 8, 63] {
        assert_eq!(edge.tile(TileId { level, index: 0, width: 1 }), None);
    }
    for width in 1..=256 {
        let want = (width <= 5).then(|| {
            let all = entries(size - 5..size - 5 + u64::from(width));
            all.iter().flat_map(|e| [&(e.len() as u16).to_be_bytes(), &**e].concat()).collect()
        });
        assert_eq!(edge.bundle(BundleId { index: 259, width }), want);
        assert_eq!(edge.bundle(BundleId { index: 258, width }), None);
        assert_eq!(edge.bundle(BundleId { index: 260, width }), None);
    }
}

/// A batch that fills a bundle, tiles of two levels, and goes on.
struct Batch {
    old: Edge,
    entries: Vec<Bytes>,
    leaves: Vec<Hash>,
}

impl Batch {
    fn new() -> Self {
        let (old, size) = (65_536 - 256 + 200, 65_536 + 7);
        let entries = entries(old..size);
        let leaves = entries.iter().map(|entry| rfc::leaf(entry)).collect();
        Self { old: edge(old), entries, leaves }
    }

    fn integrate(&self) -> Integrated {
        integrate(&self.old, &self.entries, &self.leaves)
    }

    fn verify(&self, grown: &Integrated) -> Result<(), Mismatch> {
        verify(&self.old.head(), &self.old, grown, &self.entries)
    }
}

fn flip(hash: Hash) -> Hash {
    let mut bytes = *hash.as_bytes();
    bytes[17] ^= 0x10;
    Hash::new(bytes)
}

fn flip_first(bytes: &Bytes) -> Bytes {
    bytes.iter().enumerate().map(|(at, byte)| byte ^ u8::from(at == 0)).collect()
}

#[test]
fn an_entry_that_changed_after_it_was_hashed_is_not_signed() {
    let batch = Batch::new();
    let grown = batch.integrate();
    assert_eq!(batch.verify(&grown), Ok(()));
    for place in 0..batch.entries.len() {
        let mut changed = Batch { entries: batch.entries.clone(), ..Batch::new_like(&batch) };
        changed.entries[place] = flip_first(&changed.entries[place]);
        let error = changed.verify(&grown).unwrap_err();
        assert_eq!(error, Mismatch::Inclusion(BatchError::WrongRoot), "{place}");
    }
    let mut changed = Batch::new_like(&batch);
    for place in 0..batch.leaves.len() {
        changed.leaves[place] = flip(batch.leaves[place]);
        assert!(matches!(changed.verify(&changed.integrate()), Err(Mismatch::Inclusion(_))));
        changed.leaves[place] = batch.leaves[place];
    }
    for fewer in [1, 63] {
        let entries = &batch.entries[..batch.entries.len() - fewer];
        let result = verify(&batch.old.head(), &batch.old, &grown, entries);
        assert!(matches!(result, Err(Mismatch::Inclusion(_))), "{result:?}");
    }
}

impl Batch {
    fn new_like(other: &Self) -> Self {
        let Self { old, entries, leaves } = other;
        Self { old: old.clone(), entries: entries.clone(), leaves: leaves.clone() }
    }
}

#[test]
fn an_edge_that_rotted_in_memory_is_not_signed() {
    let good = Batch::new();
    let committed = good.old.head();
    let (frontier, levels, bundle) = good.old.clone().into_parts();
    assert_eq!(levels.iter().map(Vec::len).collect::<Vec<_>>(), [200, 255]);
    let mut rotten = Vec::new();
    for (level, hashes) in levels.iter().enumerate() {
        for place in 0..hashes.len() {
            let mut levels = levels.clone();
            levels[level][place] = flip(levels[level][place]);
            let edge = Edge::from_parts(frontier.clone(), levels, bundle.clone());
            rotten.push((format!("level {level}, hash {place}"), edge));
        }
    }
    for place in 0..bundle.len() {
        let mut bundle = bundle.clone();
        bundle[place] = flip_first(&bundle[place]);
        let edge = Edge::from_parts(frontier.clone(), levels.clone(), bundle);
        rotten.push((format!("entry {place}"), edge));
    }
    for (what, old) in rotten {
        let batch = Batch { old, ..Batch::new_like(&good) };
        let result = verify(&committed, &batch.old, &batch.integrate(), &batch.entries);
        assert!(result.is_err(), "{what}");
    }
    let peaks = frontier.peaks().to_vec();
    for place in 0..peaks.len() {
        let mut peaks = peaks.clone();
        peaks[place] = flip(peaks[place]);
        let frontier = Frontier::from_peaks(committed.size, peaks).unwrap();
        let old = Edge::from_parts(frontier, levels.clone(), bundle.clone());
        let batch = Batch { old, ..Batch::new_like(&good) };
        let result = verify(&committed, &batch.old, &batch.integrate(), &batch.entries);
        assert_eq!(result, Err(Mismatch::OldRoot), "peak {place}");
        // The same after the old edge was looked at.
        let result = verify(&committed, &good.old, &batch.integrate(), &batch.entries);
        assert!(result.is_err(), "peak {place}");
    }
}

#[test]
fn a_rotten_hash_is_found_by_a_batch_of_one_too() {
    let size = 65_536 + 3 * 256 + 5;
    let good = edge(size);
    let (frontier, levels, bundle) = good.clone().into_parts();
    for level in 0..levels.len() {
        for place in 0..levels[level].len() {
            let mut levels = levels.clone();
            levels[level][place] = flip(levels[level][place]);
            let old = Edge::from_parts(frontier.clone(), levels, bundle.clone());
            let grown = integrate(&old, &[entry(size)], &[rfc::leaf(&entry(size))]);
            let result = verify(&good.head(), &old, &grown, &[entry(size)]);
            assert!(result.is_err(), "level {level}, hash {place}");
        }
    }
}

#[test]
fn a_file_that_changed_before_it_is_written_is_not_signed() {
    let batch = Batch::new();
    let good = batch.integrate();
    let kinds: Vec<String> = good.objects.iter().map(|(id, _)| id.path()).collect();
    assert_eq!(kinds, ["tile/entries/255", "tile/0/255", "tile/1/000"]);
    for (number, kind) in kinds.iter().enumerate() {
        let len = good.objects[number].1.len();
        for at in (0..len).step_by(HASH_LEN - 1).chain([len - 1]) {
            let mut grown = batch.integrate();
            grown.objects[number].1[at] ^= 1;
            assert!(batch.verify(&grown).is_err(), "{kind} byte {at}");
        }
        let mut grown = batch.integrate();
        let (id, bytes) = grown.objects.remove(number);
        let moved = match id {
            ObjectId::Tile { level, index } => ObjectId::Tile { level, index: index + 1 },
            ObjectId::Bundle { index } => ObjectId::Bundle { index: index + 1 },
        };
        grown.objects.insert(number, (moved, bytes));
        assert!(batch.verify(&grown).is_err(), "{kind} elsewhere");
    }
    for missing in ["tile/0/255", "tile/1/000"] {
        let mut grown = batch.integrate();
        grown.objects.retain(|(id, _)| id.path() != missing);
        assert!(batch.verify(&grown).is_err(), "without {missing}");
    }
}

#[test]
fn another_committed_head_is_not_extended() {
    let batch = Batch::new();
    let grown = batch.integrate();
    let TreeHead { size, root } = batch.old.head();
    for committed in [
        TreeHead { size, root: flip(root) },
        TreeHead { size: size - 1, root },
        TreeHead { size: size + 1, root },
        TreeHead::EMPTY,
    ] {
        let result = verify(&committed, &batch.old, &grown, &batch.entries);
        assert_eq!(result, Err(Mismatch::OldRoot));
    }
    // An edge that is itself consistent, and of another history.
    let other = Batch { leaves: vec![rfc::leaf(b"x"); 63], ..Batch::new_like(&batch) };
    let other = Edge::clone(&other.integrate().edge);
    let foreign = integrate(&other, &batch.entries, &batch.leaves);
    assert!(verify(&batch.old.head(), &batch.old, &foreign, &batch.entries).is_err());
}
