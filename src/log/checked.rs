//! Nothing damaged is served: what is read is compared with the tree before it leaves.
//!
//! A file is compared with one file more, so that a read stays a matter of microseconds: a bundle,
//! or an entry in it, with the level-0 tile beside it, a full tile with its place in the tile
//! above. A proof is verified as its reader will, under the head. Only when something does not
//! fit, more is read, to name the file that is damaged.

use std::collections::BTreeSet;

use jejak_proofs::merkle::{
    BundleId, HASH_LEN, Hash, NodeId, Plan, TILE_WIDTH, Tile, TileId, TreeHead, entries, leaf_hash,
    prefix_roots,
};

use super::{
    edge::tile_root,
    view::{ReadError, THE_EDGE, View, full_tile},
};
use crate::store::{ObjectId, Objects};

const WIDTH: u64 = TILE_WIDTH as u64;

impl View {
    /// An inclusion proof of the entry with this leaf hash, in the tree of `size` entries; `None`
    /// beyond this tree.
    ///
    /// # Errors
    /// Fails, as everything here, if a file is missing or damaged, and names it.
    pub fn inclusion(
        &self,
        objects: &Objects,
        size: u64,
        index: u64,
        leaf: Hash,
    ) -> Result<Option<Vec<Hash>>, ReadError> {
        let Some(plan) = self.plan(size, Plan::inclusion(size, index).ok()) else {
            return Ok(None);
        };
        let proof = self.prove(objects, &plan)?;
        match self.head_at(objects, size)?.verify_inclusion(index, leaf, &proof) {
            Ok(()) => Ok(Some(proof)),
            Err(_) => Err(self.blame(objects, &plan, &[index])),
        }
    }

    /// A consistency proof between two trees that this one extends; `None` beyond it.
    ///
    /// # Errors
    /// As [`inclusion`](Self::inclusion).
    pub fn consistency(
        &self,
        objects: &Objects,
        old: u64,
        new: u64,
    ) -> Result<Option<Vec<Hash>>, ReadError> {
        let Some(plan) = self.plan(new, Plan::consistency(old, new).ok()) else { return Ok(None) };
        let proof = self.prove(objects, &plan)?;
        let old = self.head_at(objects, old)?;
        match self.head_at(objects, new)?.verify_consistency(&old, &proof) {
            Ok(()) => Ok(Some(proof)),
            Err(_) => Err(self.blame(objects, &plan, &[])),
        }
    }

    /// One compact proof of these entries, ascending, each once; `None` beyond this tree.
    ///
    /// # Errors
    /// As [`inclusion`](Self::inclusion).
    pub fn batch(
        &self,
        objects: &Objects,
        size: u64,
        leaves: &[(u64, Hash)],
    ) -> Result<Option<Vec<Hash>>, ReadError> {
        let indexes: Vec<u64> = leaves.iter().map(|(index, _)| *index).collect();
        let Some(plan) = self.plan(size, Plan::batch(size, &indexes).ok()) else {
            return Ok(None);
        };
        let proof = self.prove(objects, &plan)?;
        match self.head_at(objects, size)?.verify_batch(leaves, &proof) {
            Ok(()) => Ok(Some(proof)),
            Err(_) => Err(self.blame(objects, &plan, &indexes)),
        }
    }

    fn plan(&self, size: u64, plan: Option<Plan>) -> Option<Plan> {
        plan.filter(|_| size <= self.head.size)
    }

    /// The tree of `size` entries, at most as many as this one has, which must extend it.
    pub(super) fn head_at(&self, objects: &Objects, size: u64) -> Result<TreeHead, ReadError> {
        if size == self.head.size {
            return Ok(self.head);
        }
        let Ok(plan) = Plan::prefix(size, self.head.size) else { return Ok(TreeHead::EMPTY) };
        match prefix_roots(size, self.head.size, &self.prove(objects, &plan)?) {
            Ok((root, new)) if new == self.head.root => Ok(TreeHead { size, root }),
            _ => Err(self.blame(objects, &plan, &[])),
        }
    }

    /// Compares a full tile with its place in the tile above.
    pub(super) fn check_tile(
        &self,
        objects: &Objects,
        level: u8,
        index: u64,
        bytes: &[u8],
    ) -> Result<(), ReadError> {
        if self.stored_hash(objects, level + 1, index)?
            == tile_root(TileId::full(level, index), bytes)
        {
            return Ok(());
        }
        // One of the two is damaged. The right edge in memory is not.
        if self.has_full(level + 1, index / WIDTH) {
            self.check_tile_file(objects, level + 1, index / WIDTH)?;
        }
        Err(ReadError::Damaged(ObjectId::Tile { level, index }.path()))
    }

    /// Compares the first entries of a full bundle with the tile beside it.
    pub(super) fn check_bundle(
        &self,
        objects: &Objects,
        id: BundleId,
        bytes: &[u8],
    ) -> Result<(), ReadError> {
        let object = ObjectId::Bundle { index: id.index };
        let tile = full_tile(objects, 0, id.index)?;
        let tile = Tile::parse(TileId::full(0, id.index), &tile)
            .map_err(|_| ReadError::Damaged(ObjectId::Tile { level: 0, index: id.index }.path()))?;
        let entries = entries(bytes).map_err(|_| ReadError::Damaged(object.path()))?;
        let same = entries.len() <= tile.hashes().len()
            && entries.iter().zip(tile.hashes()).all(|(entry, leaf)| leaf_hash(entry) == *leaf);
        if same { Ok(()) } else { Err(self.blame_bundle(objects, id.index)) }
    }

    /// Compares an entry of a full bundle with the tile beside it.
    pub(super) fn check_entry(
        &self,
        objects: &Objects,
        index: u64,
        entry: &[u8],
    ) -> Result<(), ReadError> {
        match self.stored_hash(objects, 0, index)? == leaf_hash(entry) {
            true => Ok(()),
            false => Err(self.blame_bundle(objects, index / WIDTH)),
        }
    }

    /// Compares the tile that holds the leaf hash of an entry with the tree.
    pub(super) fn check_leaf_tile(&self, objects: &Objects, index: u64) -> Result<(), ReadError> {
        match self.has_full(0, index / WIDTH) {
            true => self.check_tile_file(objects, 0, index / WIDTH),
            false => Ok(()),
        }
    }

    fn check_tile_file(&self, objects: &Objects, level: u8, index: u64) -> Result<(), ReadError> {
        self.check_tile(objects, level, index, &full_tile(objects, level, index)?)
    }

    /// One hash of the tiles of `level`, which must be in the tree, as it is stored.
    pub(super) fn stored_hash(
        &self,
        objects: &Objects,
        level: u8,
        index: u64,
    ) -> Result<Hash, ReadError> {
        let (tile, place) = (index / WIDTH, (index % WIDTH) as usize);
        let object = ObjectId::Tile { level, index: tile };
        let missing = || ReadError::Missing(object.path());
        if !self.has_full(level, tile) {
            return self.edge.hash(level, place).ok_or(ReadError::Lost(THE_EDGE));
        }
        let bytes = objects.read_range(object, (place * HASH_LEN) as u64, HASH_LEN)?;
        let bytes = bytes.and_then(|bytes| <[u8; HASH_LEN]>::try_from(bytes).ok());
        bytes.map(Hash::new).ok_or_else(missing)
    }

    /// A bundle and the tile beside it disagree: which of them is damaged?
    fn blame_bundle(&self, objects: &Objects, index: u64) -> ReadError {
        match self.check_tile_file(objects, 0, index) {
            Err(error) => error,
            Ok(()) => ReadError::Damaged(ObjectId::Bundle { index }.path()),
        }
    }

    /// A proof does not verify: which of the tiles under it is damaged?
    fn blame(&self, objects: &Objects, plan: &Plan, leaves: &[u64]) -> ReadError {
        let leaves = leaves.iter().map(|index| NodeId { level: 0, index: *index });
        let nodes = plan.nodes().iter().copied().chain(leaves);
        let tiles: BTreeSet<TileId> =
            nodes.filter_map(|node| TileId::of_node(node, self.head.size)).collect();
        let full = tiles.iter().filter(|tile| self.has_full(tile.level, tile.index));
        let check = |tile: &TileId| self.check_tile_file(objects, tile.level, tile.index);
        let damaged = full.map(check).find_map(Result::err);
        damaged
            .unwrap_or_else(|| ReadError::Damaged(format!("the tree of size {}", self.head.size)))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use bytes::Bytes;
    use jejak_proofs::note::{Checkpoint, KeyKind, SigningKey};
    use tempfile::TempDir;

    use super::{super::edge::Edge, *};

    const SIZE: u64 = 66_000;

    /// A published tree of short entries, with tiles of three levels.
    fn published() -> (TempDir, Objects, View) {
        let dir = tempfile::tempdir().unwrap();
        let objects = Objects::open(dir.path());
        let (mut edge, mut full) = (Edge::new(), Vec::new());
        for index in 0..SIZE {
            let entry = Bytes::from(index.to_string());
            let leaf = leaf_hash(&entry);
            edge.push(entry, leaf, &mut |object| full.push(object));
        }
        objects.publish(SIZE, full).unwrap();
        let key = SigningKey::from_seed("log.example/test", KeyKind::Ed25519, [7; 32]).unwrap();
        let checkpoint = Checkpoint::sign(edge.head(), &key).unwrap();
        (dir, objects, View::new(checkpoint.into(), 0, edge))
    }

    fn flip(dir: &Path, name: &str, at: usize) {
        let mut bytes = fs::read(dir.join(name)).unwrap();
        bytes[at] ^= 4;
        fs::write(dir.join(name), bytes).unwrap();
    }

    fn damaged<T>(result: Result<T, ReadError>) -> String {
        match result.map(|_| ()).unwrap_err() {
            ReadError::Damaged(name) => name,
            other => panic!("{other}"),
        }
    }

    fn inclusion(view: &View, objects: &Objects, size: u64, index: u64) -> Result<(), ReadError> {
        let leaf = view.leaf(objects, index)?.unwrap();
        view.inclusion(objects, size, index, leaf).map(|proof| assert!(proof.is_some()))
    }

    #[test]
    fn a_sound_log_reads_and_proves_at_every_size() {
        let (_dir, objects, view) = published();
        for size in [1, 255, 256, 257, 778, 65_535, 65_536, 65_537, SIZE - 1, SIZE] {
            inclusion(&view, &objects, size, size / 2).unwrap();
            inclusion(&view, &objects, size, size - 1).unwrap();
            for old in [0, 1, 256, 700, size].into_iter().filter(|old| *old <= size) {
                assert!(view.consistency(&objects, old, size).unwrap().is_some());
            }
            let leaves =
                view.leaves(&objects, &[0, size / 2, size - 1][usize::from(size < 3) * 2..]);
            assert!(view.batch(&objects, size, &leaves.unwrap()).unwrap().is_some());
        }
        for id in TileId::of_tree(0, SIZE).step_by(9) {
            assert_eq!(view.tile(&objects, id).unwrap().unwrap().len(), usize::from(id.width) * 32);
        }
        for index in (0..SIZE).step_by(977) {
            assert_eq!(view.entry(&objects, index).unwrap().unwrap(), index.to_string());
        }
        assert!(view.consistency(&objects, 5, SIZE + 1).unwrap().is_none());
        assert!(view.tile(&objects, TileId::full(2, 0)).unwrap().is_none());
    }

    #[test]
    fn a_damaged_tile_is_named_by_all_that_rests_on_it() {
        let (dir, objects, view) = published();
        flip(dir.path(), "tile/0/003", 9 * HASH_LEN);
        let (tile, bundle) = (TileId::full(0, 3), BundleId { index: 3, width: 20 });
        assert_eq!(damaged(view.tile(&objects, tile)), "tile/0/003");
        assert_eq!(damaged(view.tile(&objects, TileId { width: 2, ..tile })), "tile/0/003");
        assert_eq!(damaged(view.bundle(&objects, bundle)), "tile/0/003");
        assert_eq!(damaged(view.entry(&objects, 777)), "tile/0/003");
        // In the tree of 778 entries, path and root come out of the same damaged tile.
        for size in [778, 800, 70 * 256, SIZE] {
            assert_eq!(damaged(inclusion(&view, &objects, size, 770)), "tile/0/003", "{size}");
        }
        assert_eq!(damaged(view.consistency(&objects, 778, SIZE)), "tile/0/003");
        let leaves = view.leaves(&objects, &[1, 770, 60_000]).unwrap();
        assert_eq!(damaged(view.batch(&objects, SIZE, &leaves)), "tile/0/003");
        assert_eq!(damaged(view.check_leaf_tile(&objects, 777)), "tile/0/003");
        // What rests on other files is served.
        assert!(view.entry(&objects, 776).unwrap().is_some());
        assert!(view.tile(&objects, TileId::full(0, 4)).unwrap().is_some());
        inclusion(&view, &objects, SIZE, 5).unwrap();
    }

    #[test]
    fn the_damaged_one_of_two_neighbours_is_named() {
        let (dir, objects, view) = published();
        flip(dir.path(), "tile/1/000", 3 * HASH_LEN);
        assert_eq!(damaged(view.tile(&objects, TileId::full(0, 3))), "tile/1/000");
        assert_eq!(damaged(view.tile(&objects, TileId::full(1, 0))), "tile/1/000");
        assert!(view.tile(&objects, TileId::full(0, 4)).unwrap().is_some());
        flip(dir.path(), "tile/entries/005", 3);
        let bundle = BundleId { index: 5, width: TILE_WIDTH };
        assert_eq!(damaged(view.bundle(&objects, bundle)), "tile/entries/005");
        assert_eq!(damaged(view.entry(&objects, 5 * WIDTH)), "tile/entries/005");
        assert!(view.entry(&objects, 5 * WIDTH + 1).unwrap().is_some());
    }
}
