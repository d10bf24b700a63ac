//! Hashing a batch into the tree, and checking the result before anything is signed.

use std::collections::HashMap;

use bytes::Bytes;
use jejak_proofs::merkle::{
    BatchError, BundleId, ConsistencyError, Hash, NodeId, Plan, PlanError, TILE_HEIGHT, TILE_WIDTH,
    Tile, TileId, TreeHead, leaf_hash, parse_bundle,
};

use super::edge::{Edge, Object, tile_root};
use crate::store::ObjectId;

/// A tree that has grown by a batch. Nothing of it is on disk yet.
#[derive(Debug)]
pub struct Integrated {
    /// The new right edge.
    pub edge: Edge,
    /// Tiles and bundles that the batch made full.
    pub objects: Vec<Object>,
}

/// Why a batch must not be signed: the process ends. Each of these once ended a public log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Mismatch {
    /// The tree that grew was not the one whose head is committed.
    #[error("the old root is not the committed one")]
    OldRoot,
    /// The leaf hashes of the bytes to be written do not lead to the new root.
    #[error("the new entries are not in the new tree: {0}")]
    Inclusion(#[from] BatchError),
    /// The new tree does not extend the old one.
    #[error("the new tree does not extend the old one: {0}")]
    Consistency(#[from] ConsistencyError),
    /// The tiles to be written lack a node that a proof needs.
    #[error("the new tiles lack a node")]
    Node,
    /// The tiles to be written do not lead to the new root.
    #[error("the new tiles do not lead to the new root")]
    Tiles,
    /// A bundle to be written does not hold what the tile beside it says.
    #[error("the entries of a new bundle are not those of its tile")]
    Bundle,
}

impl From<PlanError> for Mismatch {
    fn from(_: PlanError) -> Self {
        Self::Node
    }
}

/// Grows the tree by `entries`, whose leaf hashes are `leaves`. Pure: the old edge stays as it is.
pub fn integrate(edge: &Edge, entries: &[Bytes], leaves: &[Hash]) -> Integrated {
    let mut edge = edge.clone();
    let mut objects = Vec::new();
    for (entry, leaf) in entries.iter().zip(leaves) {
        edge.push(entry.clone(), *leaf, &mut |object| objects.push(object));
    }
    Integrated { edge, objects }
}

/// Checks by a second path that the new tree holds exactly these bytes and extends the old one.
///
/// The root came from the peaks. Here leaf hashes are computed again from the bytes that will be
/// written, proofs are built out of the tiles that will be written, and both must lead to the
/// committed old head and to the new one; so must every hash of every new tile, and full bundles
/// must hold what their tiles say. A bit that flipped in memory since the entry was parsed, be it
/// batches ago, does not survive this.
///
/// # Errors
/// Any error is fatal: nothing may be signed.
pub fn verify(
    committed: &TreeHead,
    old: &Edge,
    new: &Integrated,
    entries: &[Bytes],
) -> Result<(), Mismatch> {
    if old.head() != *committed {
        return Err(Mismatch::OldRoot);
    }
    let head = new.edge.head();
    let nodes = Nodes::new(new);
    let indexes: Vec<u64> = (committed.size..head.size).collect();
    let plan = Plan::batch(head.size, &indexes)?;
    let proof = nodes.combine(&plan)?;
    let leaves: Vec<(u64, Hash)> =
        indexes.iter().zip(entries).map(|(index, entry)| (*index, leaf_hash(entry))).collect();
    head.verify_batch(&leaves, &proof)?;
    let plan = Plan::consistency(committed.size, head.size)?;
    head.verify_consistency(committed, &nodes.combine(&plan)?)?;
    nodes.verify_partial_tiles(&head)?;
    new.objects.iter().try_for_each(|(id, bytes)| nodes.verify_full(*id, bytes))
}

/// The nodes that a batch touches: in partial tiles of the new edge, or in tiles just made full.
struct Nodes<'a> {
    new: &'a Integrated,
    full: HashMap<ObjectId, &'a [u8]>,
}

impl<'a> Nodes<'a> {
    fn new(new: &'a Integrated) -> Self {
        let full = new.objects.iter().map(|(id, bytes)| (*id, bytes.as_slice())).collect();
        Self { new, full }
    }

    fn combine(&self, plan: &Plan) -> Result<Vec<Hash>, Mismatch> {
        let nodes = plan.nodes().iter().map(|node| self.node(*node).ok_or(Mismatch::Node));
        Ok(plan.combine(&nodes.collect::<Result<Vec<_>, _>>()?)?)
    }

    /// The partial tiles of all levels together lead to the root, so every hash in them is right.
    fn verify_partial_tiles(&self, head: &TreeHead) -> Result<(), Mismatch> {
        let roots = self.combine(&Plan::root(head.size))?;
        if roots == [head.root] { Ok(()) } else { Err(Mismatch::Tiles) }
    }

    /// A full tile leads to its place in the tile above, and so on up to a partial tile; a full
    /// bundle holds the entries of its tile, also those of earlier batches.
    fn verify_full(&self, id: ObjectId, bytes: &[u8]) -> Result<(), Mismatch> {
        match id {
            ObjectId::Tile { level, index } => {
                let above = NodeId { level: TILE_HEIGHT * (level + 1), index };
                let root = tile_root(TileId::full(level, index), bytes);
                if self.node(above) == Some(root) { Ok(()) } else { Err(Mismatch::Tiles) }
            }
            ObjectId::Bundle { index } => {
                let id = BundleId { index, width: TILE_WIDTH };
                let entries = parse_bundle(id, bytes).map_err(|_| Mismatch::Bundle)?;
                let leaves: Vec<Hash> = entries.into_iter().map(leaf_hash).collect();
                let tile = self.full.get(&ObjectId::Tile { level: 0, index });
                let tile = tile.and_then(|tile| Tile::parse(TileId::full(0, index), tile).ok());
                let same = tile.is_some_and(|tile| tile.hashes() == leaves);
                if same { Ok(()) } else { Err(Mismatch::Bundle) }
            }
        }
    }

    fn node(&self, node: NodeId) -> Option<Hash> {
        // Further left lie only full tiles, whose roots stand in the tiles above them.
        let id = TileId::of_node(node, self.new.edge.size())?;
        let full = ObjectId::Tile { level: id.level, index: id.index };
        match self.full.get(&full) {
            Some(bytes) => Tile::parse(id, bytes).ok()?.node(node),
            None => {
                let bytes = self.new.edge.tile(id)?;
                Tile::parse(id, &bytes).ok()?.node(node)
            }
        }
    }
}

#[cfg(test)]
mod tests;
