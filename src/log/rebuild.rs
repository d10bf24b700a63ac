//! The right edge of a tree out of files.

use bytes::Bytes;
use jejak_proofs::merkle::{
    BundleId, Frontier, HASH_LEN, Hash, TILE_WIDTH, TileId, TreeHead, entries, prefix_len,
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
    let mut peaks = Vec::new();
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
        // A row of hashes has the same peaks whatever it is a row of.
        let mut row = Frontier::new();
        hashes.iter().for_each(|hash| row.push(*hash));
        peaks.splice(0..0, row.peaks().iter().copied());
        levels.push(hashes);
    }
    let bundle = bundle_prefix(objects, head.size)?;
    let damaged = || ReadError::Damaged(format!("a tile below entry {}", head.size));
    let frontier = Frontier::from_peaks(head.size, peaks).map_err(|_| damaged())?;
    let edge = Edge::from_parts(frontier, levels, bundle);
    if edge.head() == head { Ok(edge) } else { Err(damaged().into()) }
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
