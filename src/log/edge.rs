//! The right edge of the tree: all that no full tile or bundle holds.

use bytes::Bytes;
use jejak_proofs::merkle::{
    BundleId, ENTRY_LEN_MAX, Frontier, HASH_LEN, Hash, NodeId, TILE_WIDTH, Tile, TileId, TreeHead,
    push_entry,
};

use crate::store::{FRAME_LEN, ObjectId};

const WIDTH: usize = TILE_WIDTH as usize;

/// A tree, as far as it is not in files: its peaks, the partial tile of every level, and the
/// entries of the partial bundle. Files and edge together are the whole log.
#[derive(Clone, Debug, Default)]
pub struct Edge {
    frontier: Frontier,
    /// The hashes of the partial tile of each level, fewer than 256.
    levels: Vec<Vec<Hash>>,
    /// The entries of the partial bundle, fewer than 256.
    bundle: Vec<Bytes>,
}

/// A tile or bundle that became full, with its bytes.
pub type Object = (ObjectId, Vec<u8>);

impl Edge {
    /// The edge of the empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// The edge of a tree whose peaks and partial tiles were read from files.
    pub(super) fn from_parts(
        frontier: Frontier,
        levels: Vec<Vec<Hash>>,
        bundle: Vec<Bytes>,
    ) -> Self {
        Self { frontier, levels, bundle }
    }

    #[cfg(test)]
    pub(super) fn into_parts(self) -> (Frontier, Vec<Vec<Hash>>, Vec<Bytes>) {
        (self.frontier, self.levels, self.bundle)
    }

    /// Size and root, computed from the peaks.
    pub fn head(&self) -> TreeHead {
        self.frontier.head()
    }

    /// Number of entries.
    pub fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// Appends an entry with its leaf hash, and gives each object that it made full to `full`.
    pub(super) fn push(&mut self, entry: Bytes, leaf: Hash, full: &mut impl FnMut(Object)) {
        let bundle_index = self.size() / WIDTH as u64;
        self.frontier.push(leaf);
        self.bundle.push(entry);
        if self.bundle.len() == WIDTH {
            full((ObjectId::Bundle { index: bundle_index }, frame(&self.bundle)));
            self.bundle.clear();
        }
        let mut hash = leaf;
        for level in 0.. {
            if level == self.levels.len() {
                self.levels.push(Vec::with_capacity(WIDTH));
            }
            self.levels[level].push(hash);
            if self.levels[level].len() < WIDTH {
                break;
            }
            let index = (self.size() >> (8 * (level + 1))) - 1;
            let id = TileId::full(level as u8, index);
            let bytes = tile_bytes(&self.levels[level]);
            hash = tile_root(id, &bytes);
            full((ObjectId::Tile { level: id.level, index }, bytes));
            self.levels[level].clear();
        }
    }

    /// The tile, if it is a partial one of this edge that holds at least as many hashes.
    pub fn tile(&self, id: TileId) -> Option<Vec<u8>> {
        let level = self.levels.get(usize::from(id.level))?;
        let index = self.size().checked_shr(8 * (u32::from(id.level) + 1)).unwrap_or(0);
        (id.index == index).then(|| level.get(..usize::from(id.width)).map(tile_bytes)).flatten()
    }

    /// The hash at this place of the partial tile of `level`, if that holds so many.
    pub(super) fn hash(&self, level: u8, place: usize) -> Option<Hash> {
        self.levels.get(usize::from(level))?.get(place).copied()
    }

    /// The bundle, if it is the partial one of this edge and holds at least as many entries.
    pub fn bundle(&self, id: BundleId) -> Option<Vec<u8>> {
        let partial = id.index == self.size() / WIDTH as u64;
        partial.then(|| self.bundle.get(..usize::from(id.width)).map(frame)).flatten()
    }

    /// Bytes of the partial bundle, framed.
    pub fn bundle_len(&self) -> usize {
        framed_len(&self.bundle)
    }

    /// The entry, if the partial bundle holds it.
    pub fn entry(&self, index: u64) -> Option<&Bytes> {
        let first = self.size() - self.bundle.len() as u64;
        self.bundle.get(usize::try_from(index.checked_sub(first)?).ok()?)
    }
}

fn tile_bytes(hashes: &[Hash]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(hashes.len() * HASH_LEN);
    hashes.iter().for_each(|hash| bytes.extend_from_slice(hash.as_bytes()));
    bytes
}

/// The root over a full tile: its place in the level above.
pub(super) fn tile_root(id: TileId, bytes: &[u8]) -> Hash {
    let root = NodeId { level: 8 * (id.level + 1), index: id.index };
    let tile = Tile::parse(id, bytes).expect("a full tile has 256 hashes");
    tile.node(root).expect("a full tile yields its root")
}

fn framed_len(entries: &[Bytes]) -> usize {
    entries.iter().map(|entry| FRAME_LEN + entry.len()).sum()
}

fn frame(entries: &[Bytes]) -> Vec<u8> {
    let mut bundle = Vec::with_capacity(framed_len(entries));
    for entry in entries {
        debug_assert!(entry.len() <= ENTRY_LEN_MAX);
        push_entry(&mut bundle, entry).expect("admitted entries fit a bundle");
    }
    bundle
}
