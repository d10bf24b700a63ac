//! A copy of a tree on disk, under a head that verified: what it gives leads to the signed root.

use std::{borrow::Cow, sync::Arc};

use jejak_proofs::{
    merkle::{
        BundleId, HASH_LEN, Hash, NodeId, Plan, TILE_HEIGHT, TILE_WIDTH, Tile, TileId, TreeHead,
        leaf_hash, parse_bundle, prefix_len, sha256,
    },
    note::Checkpoint,
    tally::REGISTER_LEN_MAX,
};

use super::{
    extras::register_path,
    tree::{BUNDLE_LEN_MAX, WIDTH, edge_of, edge_root, width_at},
};
use crate::store::Directory;

/// Bytes of a full tile.
const TILE_LEN: u64 = WIDTH * HASH_LEN as u64;

/// A file of a copy that is missing, or is not what the signed head covers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is missing, or not what the signed head covers")]
pub struct Damaged(pub String);

/// A copy of the tree of one signed head.
///
/// The right edge is in memory and leads to the signed root. Every other tile is read from disk
/// each time and compared with its place in the tile above it, up to the edge; a bundle with the
/// tile of its leaf hashes.
#[derive(Clone, Debug)]
pub struct Replica {
    files: Arc<Directory>,
    checkpoint: Checkpoint,
    /// The partial tiles, lowest level first.
    edge: Vec<Tile>,
}

impl Replica {
    /// The copy in `files` with this right edge; `None` if it does not lead to the root.
    pub fn new(files: &Arc<Directory>, checkpoint: Checkpoint, edge: Vec<Tile>) -> Option<Self> {
        let TreeHead { size, root } = checkpoint.head();
        let ids = edge_of(size);
        let hashes: Vec<Hash> = edge.iter().flat_map(Tile::hashes).copied().collect();
        let whole = edge.iter().map(Tile::id).eq(ids.iter().copied());
        let leads = whole && edge_root(&ids, size, &hashes) == Some(root);
        leads.then(|| Self { files: Arc::clone(files), checkpoint, edge })
    }

    /// The copy in `files` with the right edge that is there; `None` if it is damaged.
    pub fn open(files: &Arc<Directory>, checkpoint: Checkpoint) -> Option<Self> {
        let read = |id: TileId| {
            let bytes = files.read(&id.path(), TILE_LEN).ok()??;
            Tile::parse(id, &bytes).ok()
        };
        let edge = edge_of(checkpoint.head().size).into_iter().map(read);
        Self::new(files, checkpoint, edge.collect::<Option<_>>()?)
    }

    /// The signed head.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Size and root.
    pub fn head(&self) -> TreeHead {
        self.checkpoint.head()
    }

    /// The same copy under other signature lines of the same head.
    ///
    /// # Panics
    /// If the head is another one.
    pub fn with_checkpoint(self, checkpoint: Checkpoint) -> Self {
        assert_eq!(self.head(), checkpoint.head(), "the lines of one head");
        Self { checkpoint, ..self }
    }

    /// A tile of any width that there was up to now; `None` if the tree has no such tile.
    ///
    /// # Errors
    /// [`Damaged`] names the file.
    pub fn tile(&self, id: TileId) -> Result<Option<Vec<u8>>, Damaged> {
        if id.width > width_at(self.head().size, id.level, id.index) {
            return Ok(None);
        }
        let row = self.row(id.level, id.index)?;
        let row = &row[..usize::from(id.width)];
        Ok(Some(row.iter().flat_map(|hash| *hash.as_bytes()).collect()))
    }

    /// A bundle of any width that there was up to now; `None` if the tree has no such bundle.
    ///
    /// # Errors
    /// [`Damaged`] names the file.
    pub fn bundle(&self, id: BundleId) -> Result<Option<Vec<u8>>, Damaged> {
        let Some(whole) = self.whole_bundle(id) else { return Ok(None) };
        let damaged = || Damaged(whole.path());
        let bytes = self.files.read(&whole.path(), BUNDLE_LEN_MAX).ok().flatten();
        let mut bytes = bytes.ok_or_else(damaged)?;
        if !is_bundle(whole, &bytes, &self.row(0, id.index)?) {
            return Err(damaged());
        }
        bytes.truncate(prefix_len(&bytes, id.width).map_err(|_| damaged())?);
        Ok(Some(bytes))
    }

    /// Bytes of memory that [`Replica::bundle`] may take: the length of the file; 0 if there is
    /// none.
    pub fn bundle_memory(&self, id: BundleId) -> u64 {
        let len = self.whole_bundle(id).and_then(|id| self.files.len(&id.path()).ok().flatten());
        len.unwrap_or(0).min(BUNDLE_LEN_MAX)
    }

    /// The bundle that is a file; `None` if it has not as many entries as `id`.
    fn whole_bundle(&self, id: BundleId) -> Option<BundleId> {
        let width = width_at(self.head().size, 0, id.index);
        (id.width <= width).then_some(BundleId { index: id.index, width })
    }

    /// A register by its hash; `None` if it was not copied.
    ///
    /// # Errors
    /// [`Damaged`] names the file.
    pub fn register(&self, hash: &Hash) -> Result<Option<Vec<u8>>, Damaged> {
        let path = register_path(hash);
        match self.files.read(&path, REGISTER_LEN_MAX as u64) {
            Ok(None) => Ok(None),
            Ok(Some(bytes)) if sha256(&bytes) == *hash => Ok(Some(bytes)),
            _ => Err(Damaged(path)),
        }
    }

    /// Bytes of memory that [`Replica::register`] may take; 0 if there is none.
    pub fn register_memory(&self, hash: &Hash) -> u64 {
        let len = self.files.len(&register_path(hash)).ok().flatten();
        len.unwrap_or(0).min(REGISTER_LEN_MAX as u64)
    }

    /// All hashes of a tile that the tree has.
    pub(super) fn row(&self, level: u8, index: u64) -> Result<Cow<'_, [Hash]>, Damaged> {
        let width = width_at(self.head().size, level, index);
        let is_it = |tile: &&Tile| tile.id() == TileId { level, index, width };
        if let Some(tile) = self.edge.iter().find(is_it) {
            return Ok(Cow::Borrowed(tile.hashes()));
        }
        let id = TileId::full(level, index);
        let bytes = self.files.read(&id.path(), TILE_LEN).ok().flatten();
        let tile = bytes.and_then(|bytes| Tile::parse(id, &bytes).ok());
        match tile.filter(|tile| width == TILE_WIDTH && is_below(tile, self.above(id).ok())) {
            Some(tile) => Ok(Cow::Owned(tile.hashes().to_vec())),
            None => Err(Damaged(id.path())),
        }
    }

    /// What a full tile must hash to.
    pub(super) fn above(&self, id: TileId) -> Result<Hash, Damaged> {
        let row = self.row(id.level + 1, id.index / WIDTH)?;
        Ok(row[(id.index % WIDTH) as usize])
    }

    /// The right edge.
    pub(super) fn edge(&self) -> &[Tile] {
        &self.edge
    }

    /// The hashes of a plan for this tree or for one that it begins with.
    ///
    /// # Errors
    /// [`Damaged`] names the file.
    pub fn combine(&self, plan: &Plan) -> Result<Vec<Hash>, Damaged> {
        let node = |node: &NodeId| {
            let id = TileId::of_node(*node, self.head().size);
            let id = id.expect("nodes of a plan are complete");
            let row = self.row(id.level, id.index)?;
            let bytes: Vec<u8> = row.iter().flat_map(|hash| *hash.as_bytes()).collect();
            let tile = Tile::parse(id, &bytes).ok();
            tile.and_then(|tile| tile.node(*node)).ok_or_else(|| Damaged(id.path()))
        };
        let hashes = plan.nodes().iter().map(node).collect::<Result<Vec<_>, _>>()?;
        Ok(plan.combine(&hashes).expect("one hash for each node"))
    }

    /// The root of the first `size` entries, not more than there are.
    ///
    /// # Errors
    /// [`Damaged`] names the file.
    pub fn root_at(&self, size: u64) -> Result<Hash, Damaged> {
        Ok(self.combine(&Plan::root(size))?[0])
    }

    /// The paths of partial files that `next`, a later head of the same tree, has no more.
    pub fn partials_before(&self, next: &Self) -> Vec<String> {
        let tiles = self.edge.iter().map(|tile| tile.id().path());
        let kept: Vec<String> = next.partial_paths();
        tiles.chain(self.partial_bundle()).filter(|path| !kept.contains(path)).collect()
    }

    /// The paths of the partial files of this head.
    pub fn partial_paths(&self) -> Vec<String> {
        let tiles = self.edge.iter().map(|tile| tile.id().path());
        tiles.chain(self.partial_bundle()).collect()
    }

    fn partial_bundle(&self) -> Option<String> {
        let edge = self.edge.first().map(Tile::id).filter(|id| id.level == 0)?;
        Some(BundleId { index: edge.index, width: edge.width }.path())
    }
}

/// Whether a full tile hashes to what the tile above it says.
pub(super) fn is_below(tile: &Tile, above: Option<Hash>) -> bool {
    let TileId { level, index, .. } = tile.id();
    above.is_some() && tile.node(NodeId { level: (level + 1) * TILE_HEIGHT, index }) == above
}

/// Whether a bundle holds the entries with these leaf hashes and no others.
pub(super) fn is_bundle(id: BundleId, bytes: &[u8], leaves: &[Hash]) -> bool {
    parse_bundle(id, bytes).is_ok_and(|entries| {
        entries.iter().map(|entry| leaf_hash(entry)).eq(leaves.iter().copied())
    })
}
