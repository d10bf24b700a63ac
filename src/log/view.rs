//! A published tree: one checkpoint, and everything that can be read under it.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use bytes::Bytes;
use jejak_proofs::{
    merkle::{
        BundleId, HASH_LEN, Hash, NodeId, Plan, TILE_WIDTH, Tile, TileId, TreeHead, entries,
        prefix_len,
    },
    note::UnverifiedCheckpoint,
};

use super::edge::Edge;
use crate::store::{ObjectId, Objects, StoreError};

/// A published tree: its right edge in memory, the rest in files that only grow.
///
/// Immutable. Readers hold one while the sequencer publishes the next, so a reader never waits
/// for the writer and never sees half a batch.
#[derive(Clone, Debug)]
pub struct View {
    /// The signed checkpoint.
    pub checkpoint: UnverifiedCheckpoint,
    /// The tree.
    pub head: TreeHead,
    /// The checkpoint as a note.
    pub note: Arc<str>,
    /// The clock reading of the batch, in milliseconds since 1970.
    pub time_ms: u64,
    pub(super) edge: Edge,
}

/// Why something that the log must have could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file that the tree needs is not there.
    #[error("{0} is missing: run `jejak fsck`")]
    Missing(String),
    /// What this needs was lost, which only a log that is served for reading knows of.
    #[error("{0} could not be rebuilt: run `jejak fsck`")]
    Lost(&'static str),
    /// A file does not hold what its place in the tree demands.
    #[error("{0} is damaged: run `jejak fsck`")]
    Damaged(String),
}

pub(super) const THE_EDGE: &str = "the right edge of the tree";

impl View {
    /// The tree of this edge under its checkpoint.
    pub(super) fn new(checkpoint: UnverifiedCheckpoint, time_ms: u64, edge: Edge) -> Self {
        let (head, note) = (edge.head(), checkpoint.note().into());
        Self { checkpoint, head, note, time_ms, edge }
    }

    /// The tree of this head where only a part of its right edge could be rebuilt.
    pub(super) fn without_edge(
        checkpoint: UnverifiedCheckpoint,
        time_ms: u64,
        head: TreeHead,
        part: Edge,
    ) -> Self {
        Self { head, ..Self::new(checkpoint, time_ms, part) }
    }

    /// A tile of any width up to what the tree has; `None` beyond.
    pub fn tile(&self, objects: &Objects, id: TileId) -> Result<Option<Vec<u8>>, ReadError> {
        let Some(bytes) = self.stored_tile(objects, id)? else { return Ok(None) };
        if self.has_full(id.level, id.index) {
            self.check_tile(objects, id.level, id.index, &bytes)?;
        }
        Ok(Some(bytes[..usize::from(id.width) * HASH_LEN].to_vec()))
    }

    /// A bundle of any width up to what the tree has; `None` beyond.
    pub fn bundle(&self, objects: &Objects, id: BundleId) -> Result<Option<Vec<u8>>, ReadError> {
        if id.index >= self.head.size / u64::from(TILE_WIDTH) {
            let within = fits(id.index, id.width, self.head.size);
            return at_edge(self.edge.bundle(id), within);
        }
        let bytes = full_bundle(objects, id.index)?;
        let len = prefix_len(&bytes, id.width).map_err(|_| ReadError::Damaged(id.path()))?;
        self.check_bundle(objects, id, &bytes[..len])?;
        // An answer may live as long as its reader is slow: the rest of the file does not.
        Ok(Some(bytes[..len].to_vec()))
    }

    /// The most bytes that reading a bundle takes in memory; 0 beyond the tree.
    pub fn bundle_memory(&self, objects: &Objects, id: BundleId) -> Result<u64, ReadError> {
        if id.index >= self.head.size / u64::from(TILE_WIDTH) {
            return Ok(self.edge.bundle_len() as u64);
        }
        let object = ObjectId::Bundle { index: id.index };
        objects.len(object)?.ok_or_else(|| ReadError::Missing(object.path()))
    }

    /// The bytes of an entry; `None` beyond the tree.
    pub fn entry(&self, objects: &Objects, index: u64) -> Result<Option<Bytes>, ReadError> {
        if index >= self.head.size {
            return Ok(None);
        }
        if let Some(entry) = self.edge.entry(index) {
            return Ok(Some(entry.clone()));
        }
        if index / u64::from(TILE_WIDTH) >= self.head.size / u64::from(TILE_WIDTH) {
            return at_edge(None, true);
        }
        let bundle = full_bundle(objects, index / u64::from(TILE_WIDTH))?;
        let damaged = || {
            let object = ObjectId::Bundle { index: index / u64::from(TILE_WIDTH) };
            ReadError::Damaged(object.path())
        };
        let all = entries(&bundle).map_err(|_| damaged())?;
        let entry = all.get((index % u64::from(TILE_WIDTH)) as usize).ok_or_else(damaged)?;
        self.check_entry(objects, index, entry)?;
        // A copy, which does not keep the bundle.
        Ok(Some(Bytes::copy_from_slice(entry)))
    }

    /// The leaf hash of an entry of this tree, as its tile has it; `None` beyond.
    pub fn leaf(&self, objects: &Objects, index: u64) -> Result<Option<Hash>, ReadError> {
        if index >= self.head.size {
            return Ok(None);
        }
        self.stored_hash(objects, 0, index).map(Some)
    }

    /// The leaf hashes of entries of this tree, each with its index; each tile is read once.
    pub(super) fn leaves(
        &self,
        objects: &Objects,
        indexes: &[u64],
    ) -> Result<Vec<(u64, Hash)>, ReadError> {
        let nodes: Vec<NodeId> =
            indexes.iter().map(|index| NodeId { level: 0, index: *index }).collect();
        Ok(indexes.iter().copied().zip(self.nodes(objects, &nodes)?).collect())
    }

    /// Reads what a plan needs and combines it. Nothing is checked: the caller must compare what
    /// comes out with a hash that it knows.
    pub fn prove(&self, objects: &Objects, plan: &Plan) -> Result<Vec<Hash>, ReadError> {
        let hashes = self.nodes(objects, plan.nodes())?;
        Ok(plan.combine(&hashes).expect("one hash for each node of the plan"))
    }

    /// Whether all that a plan needs is in memory, so that proving reads no file.
    pub fn has_in_memory(&self, plan: &Plan) -> bool {
        let in_edge = |node: &NodeId| {
            TileId::of_node(*node, self.head.size).is_some_and(|id| !self.is_full(id))
        };
        plan.nodes().iter().all(in_edge)
    }

    /// Whether the tile with this place is full in this tree, and so a file.
    fn is_full(&self, id: TileId) -> bool {
        let shift = 8 * (u32::from(id.level) + 1);
        id.index < self.head.size.checked_shr(shift).unwrap_or(0)
    }

    /// The hashes of complete subtrees of this tree; each tile is read once.
    fn nodes(&self, objects: &Objects, nodes: &[NodeId]) -> Result<Vec<Hash>, ReadError> {
        let mut tiles: HashMap<TileId, Tile> = HashMap::new();
        let mut hashes = Vec::with_capacity(nodes.len());
        for node in nodes {
            let id = TileId::of_node(*node, self.head.size)
                .ok_or_else(|| ReadError::Missing(format!("{node:?}")))?;
            let tile = match tiles.entry(id) {
                Entry::Occupied(tile) => tile.into_mut(),
                Entry::Vacant(place) => place.insert(self.parsed_tile(objects, id)?),
            };
            let hash = tile.node(*node);
            hashes.push(hash.ok_or_else(|| ReadError::Damaged(id.path()))?);
        }
        Ok(hashes)
    }

    /// A full tile whole, or what was asked for of a partial one, as it is; `None` beyond the tree.
    fn stored_tile(&self, objects: &Objects, id: TileId) -> Result<Option<Bytes>, ReadError> {
        if !self.has_full(id.level, id.index) {
            let hashes = self.head.size.checked_shr(8 * u32::from(id.level)).unwrap_or(0);
            return at_edge(self.edge.tile(id).map(Bytes::from), fits(id.index, id.width, hashes));
        }
        full_tile(objects, id.level, id.index).map(Some)
    }

    /// Whether this tree has the whole of this tile, so that it is a file.
    pub(super) fn has_full(&self, level: u8, index: u64) -> bool {
        let shift = 8 * (u32::from(level) + 1);
        index < self.head.size.checked_shr(shift).unwrap_or(0)
    }

    fn parsed_tile(&self, objects: &Objects, id: TileId) -> Result<Tile, ReadError> {
        let bytes = self.stored_tile(objects, id)?.ok_or_else(|| ReadError::Missing(id.path()))?;
        let bytes = bytes.get(..usize::from(id.width) * HASH_LEN).unwrap_or_default();
        Tile::parse(id, bytes).map_err(|_| ReadError::Damaged(id.path()))
    }
}

fn full_bundle(objects: &Objects, index: u64) -> Result<Vec<u8>, ReadError> {
    let object = ObjectId::Bundle { index };
    objects.read(object)?.ok_or_else(|| ReadError::Missing(object.path()))
}

/// Whether the tile or bundle `index` of this width is in a row of `count`.
fn fits(index: u64, width: u16, count: u64) -> bool {
    let first = index.checked_mul(u64::from(TILE_WIDTH));
    first.and_then(|first| first.checked_add(width.into())).is_some_and(|end| end <= count)
}

/// What the right edge holds. It holds all that no file does, unless a part of it was lost.
fn at_edge<T>(found: Option<T>, within: bool) -> Result<Option<T>, ReadError> {
    match found {
        None if within => Err(ReadError::Lost(THE_EDGE)),
        found => Ok(found),
    }
}

/// A full tile as it is on disk.
pub(super) fn full_tile(objects: &Objects, level: u8, index: u64) -> Result<Bytes, ReadError> {
    let object = ObjectId::Tile { level, index };
    objects.read(object)?.map(Bytes::from).ok_or_else(|| ReadError::Missing(object.path()))
}
