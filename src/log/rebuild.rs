//! The right edge of a tree out of files: what start-up, and a log for reading only, begin with.

use bytes::Bytes;
use jejak_proofs::merkle::{
    BundleId, Frontier, HASH_LEN, Hash, TILE_WIDTH, TileId, TreeHead, entries, leaf_hash,
    prefix_len,
};

use super::{
    edge::{Edge, tile_root},
    recovery::OpenError,
    view::ReadError,
};
use crate::store::{ObjectId, Objects};

/// The right edge of a tree out of full tiles and bundles alone. Where the journal was trimmed,
/// they hold all of it.
pub(super) fn edge_at(head: TreeHead, objects: &Objects) -> Result<Edge, OpenError> {
    const WIDTH: u64 = TILE_WIDTH as u64;
    let mut levels = Vec::new();
    for level in 0..8_u8 {
        let count = head.size >> (8 * level);
        let (index, width) = (count / WIDTH, (count % WIDTH) as usize);
        let hashes = match level {
            0 if width > 0 => tile_prefix(objects, index, width)?,
            0 => Vec::new(),
            _ => (count - width as u64..count)
                .map(|below| full_tile_root(objects, level - 1, below))
                .collect::<Result<_, _>>()?,
        };
        levels.push(hashes);
    }
    let bundle = bundle_prefix(objects, head.size)?;
    let edge = assemble(head, levels, bundle);
    edge.ok_or_else(|| ReadError::Damaged(format!("a tile below entry {}", head.size)).into())
}

/// The edge out of the partial tile of each level and the entries of the partial bundle, if they
/// lead to this head.
fn assemble(head: TreeHead, levels: Vec<Vec<Hash>>, bundle: Vec<Bytes>) -> Option<Edge> {
    let mut peaks = Vec::new();
    for hashes in &levels {
        // A row of hashes has the same peaks whatever it is a row of.
        let mut row = Frontier::new();
        hashes.iter().for_each(|hash| row.push(*hash));
        peaks.splice(0..0, row.peaks().iter().copied());
    }
    let frontier = Frontier::from_peaks(head.size, peaks).ok()?;
    let edge = Edge::from_parts(frontier, levels, bundle);
    (edge.head() == head).then_some(edge)
}

/// What could be rebuilt of the right edge of a published tree.
pub(super) enum Rebuilt {
    /// All of it: it leads to the signed head.
    Whole(Edge),
    /// The hashes on which two files agree.
    Part(Edge),
}

/// The right edge out of whatever is left: `tail` has the entries of the partial bundle, or what a
/// damaged journal still has of them. The signed head decides what is true.
pub(super) fn rebuild(head: TreeHead, objects: &Objects, tail: Vec<Bytes>) -> Rebuilt {
    let stored = rows(head.size, |level, index| full_tile_root(objects, level, index).ok());
    let from_file = bundle_prefix(objects, head.size).unwrap_or_default();
    let lead = |rows: &[Vec<Hash>], tail: &[Bytes]| {
        let leaves = tail.iter().map(|entry| leaf_hash(entry)).collect();
        let levels = [leaves].into_iter().chain(rows.iter().cloned()).collect();
        assemble(head, levels, tail.to_vec())
    };
    let tails = [tail, from_file];
    if let Some(edge) = tails.iter().find_map(|tail| lead(&stored, tail)) {
        return Rebuilt::Whole(edge);
    }
    // A tile is missing or damaged. Its root can be made of what lies below it.
    let below = |level, index| root_from_below(objects, level, index);
    let made = rows(head.size, |level, index| {
        below(level, index).or_else(|| full_tile_root(objects, level, index).ok())
    });
    if let Some(edge) = tails.iter().find_map(|tail| lead(&made, tail)) {
        return Rebuilt::Whole(edge);
    }
    let agreed = rows(head.size, |level, index| {
        full_tile_root(objects, level, index).ok().filter(|root| below(level, index) == Some(*root))
    });
    let levels = [Vec::new()].into_iter().chain(agreed).collect();
    // Nobody asks this edge for its head, which nothing leads to.
    let peaks = vec![TreeHead::EMPTY.root; head.size.count_ones() as usize];
    let frontier = Frontier::from_peaks(head.size, peaks).expect("as many peaks as the size has");
    Rebuilt::Part(Edge::from_parts(frontier, levels, Vec::new()))
}

/// The partial tiles of all levels above the lowest, each up to the first hash that is unknown.
fn rows(size: u64, root: impl Fn(u8, u64) -> Option<Hash>) -> Vec<Vec<Hash>> {
    const WIDTH: u64 = TILE_WIDTH as u64;
    let row = |level: u8| {
        let count = size >> (8 * level);
        (count - count % WIDTH..count).map_while(|index| root(level - 1, index)).collect()
    };
    (1..8).map(row).collect()
}

/// The root of a full tile without the tile: out of its bundle, or of the tiles below it.
fn root_from_below(objects: &Objects, level: u8, index: u64) -> Option<Hash> {
    const WIDTH: u64 = TILE_WIDTH as u64;
    let hashes: Vec<Hash> = match level {
        0 => {
            let bundle = objects.read(ObjectId::Bundle { index }).ok()??;
            entries(&bundle).ok()?.into_iter().map(leaf_hash).collect()
        }
        _ => (index * WIDTH..(index + 1) * WIDTH)
            .map(|below| full_tile_root(objects, level - 1, below).ok())
            .collect::<Option<_>>()?,
    };
    let bytes: Vec<u8> = hashes.iter().flat_map(|hash| *hash.as_bytes()).collect();
    (hashes.len() as u64 == WIDTH).then(|| tile_root(TileId::full(level, index), &bytes))
}

pub(super) fn tile_prefix(
    objects: &Objects,
    index: u64,
    width: usize,
) -> Result<Vec<Hash>, OpenError> {
    let object = ObjectId::Tile { level: 0, index };
    let bytes = objects.read_range(object, 0, width * HASH_LEN)?;
    let bytes = bytes.ok_or_else(|| ReadError::Missing(object.path()))?;
    let (hashes, _) = bytes.as_chunks();
    Ok(hashes.iter().copied().map(Hash::new).collect())
}

fn full_tile_root(objects: &Objects, level: u8, index: u64) -> Result<Hash, OpenError> {
    let object = ObjectId::Tile { level, index };
    let bytes = objects.read(object)?.ok_or_else(|| ReadError::Missing(object.path()))?;
    Ok(tile_root(TileId::full(level, index), &bytes))
}

fn bundle_prefix(objects: &Objects, size: u64) -> Result<Vec<Bytes>, OpenError> {
    let (index, width) = (size / u64::from(TILE_WIDTH), (size % u64::from(TILE_WIDTH)) as u16);
    if width == 0 {
        return Ok(Vec::new());
    }
    let object = ObjectId::Bundle { index };
    let bytes = objects.read(object)?.ok_or_else(|| ReadError::Missing(object.path()))?;
    let damaged = || ReadError::Damaged(BundleId { index, width }.path());
    let len = prefix_len(&bytes, width).map_err(|_| damaged())?;
    let bytes = Bytes::from(bytes).slice(..len);
    let all = entries(&bytes).map_err(|_| damaged())?;
    Ok(all.into_iter().map(|entry| bytes.slice_ref(entry)).collect())
}
