//! A published tree: one checkpoint, and everything that can be read under it.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use bytes::Bytes;
use jejak_proofs::{
    merkle::{
        BundleId, Hash, NodeId, Plan, TILE_WIDTH, Tile, TileId, TreeHead, entries, prefix_len,
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
    /// A file does not hold what its place in the tree demands.
    #[error("{0} is damaged: run `jejak fsck`")]
    Damaged(String),
}

impl View {
    /// The tree of this edge under its checkpoint.
    pub(super) fn new(checkpoint: UnverifiedCheckpoint, time_ms: u64, edge: Edge) -> Self {
        let (head, note) = (edge.head(), checkpoint.note().into());
        Self { checkpoint, head, note, time_ms, edge }
    }

    /// A tile of any width up to what the tree has; `None` beyond.
    pub fn tile(&self, objects: &Objects, id: TileId) -> Result<Option<Vec<u8>>, ReadError> {
        if !self.is_full(id) {
            return Ok(self.edge.tile(id));
        }
        let object = ObjectId::Tile { level: id.level, index: id.index };
        let len = usize::from(id.width) * 32;
        let bytes = objects.read_range(object, 0, len)?;
        bytes.map(Some).ok_or_else(|| ReadError::Missing(object.path()))
    }

    /// A bundle of any width up to what the tree has; `None` beyond.
    pub fn bundle(&self, objects: &Objects, id: BundleId) -> Result<Option<Vec<u8>>, ReadError> {
        if id.index >= self.head.size / u64::from(TILE_WIDTH) {
            return Ok(self.edge.bundle(id));
        }
        let mut bytes = full_bundle(objects, id.index)?;
        let len = prefix_len(&bytes, id.width).map_err(|_| ReadError::Damaged(id.path()))?;
        // An answer may live as long as its reader is slow: the rest of the file does not.
        bytes.truncate(len);
        bytes.shrink_to_fit();
        Ok(Some(bytes))
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
        let bundle = full_bundle(objects, index / u64::from(TILE_WIDTH))?;
        let damaged = || {
            let object = ObjectId::Bundle { index: index / u64::from(TILE_WIDTH) };
            ReadError::Damaged(object.path())
        };
        let all = entries(&bundle).map_err(|_| damaged())?;
        let entry = all.get((index % u64::from(TILE_WIDTH)) as usize).ok_or_else(damaged)?;
        // A copy, which does not keep the bundle.
        Ok(Some(Bytes::copy_from_slice(entry)))
    }

    /// The leaf hash of an entry of this tree; `None` beyond.
    pub fn leaf(&self, objects: &Objects, index: u64) -> Result<Option<Hash>, ReadError> {
        let node = NodeId { level: 0, index };
        if index >= self.head.size {
            return Ok(None);
        }
        Ok(Some(self.nodes(objects, &[node])?[0]))
    }

    /// Reads what a plan needs and combines it.
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

    fn parsed_tile(&self, objects: &Objects, id: TileId) -> Result<Tile, ReadError> {
        let bytes = self.tile(objects, id)?.ok_or_else(|| ReadError::Missing(id.path()))?;
        Tile::parse(id, &bytes).map_err(|_| ReadError::Damaged(id.path()))
    }
}

fn full_bundle(objects: &Objects, index: u64) -> Result<Vec<u8>, ReadError> {
    let object = ObjectId::Bundle { index };
    objects.read(object)?.ok_or_else(|| ReadError::Missing(object.path()))
}
