//! tlog_tiles, the translation of Go's sumdb/tlog: proofs, tile paths, and which tiles to publish.
//!
//! Its paths name the height of tiles and call bundles `data`: `tile/8/data/000`.

mod common;

use common::{SIZE_MAX, build, flip, head, leaves};
use jejak_proofs::merkle::{BundleId, Hash, Plan, TileId, TilePath, TreeHead};
use tlog_tiles::{
    HashReader, Tile, check_record, check_tree, prove_record, prove_tree,
    stored_hashes_for_record_hash, tree_hash,
};

/// Their own storage of a tree.
struct Stored(Vec<tlog_tiles::Hash>);

impl HashReader for Stored {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog_tiles::Hash>, tlog_tiles::Error> {
        Ok(indexes.iter().map(|i| self.0[*i as usize]).collect())
    }
}

impl Stored {
    fn push(&mut self, index: usize, leaf: Hash) {
        self.0.extend(stored_hashes_for_record_hash(index as u64, theirs(leaf), self).unwrap());
    }
}

fn theirs(hash: Hash) -> tlog_tiles::Hash {
    tlog_tiles::Hash(*hash.as_bytes())
}

fn list(hashes: &[Hash]) -> Vec<tlog_tiles::Hash> {
    hashes.iter().map(|hash| theirs(*hash)).collect()
}

#[test]
fn inclusion_proofs_of_every_small_tree() {
    let all = leaves(SIZE_MAX);
    let mut stored = Stored(vec![]);
    for size in 0..=all.len() {
        let TreeHead { size: n, root } = head(&all[..size]);
        assert_eq!(tree_hash(n, &stored).unwrap(), theirs(root), "{size}");
        for index in 0..size {
            let i = index as u64;
            let ours = list(&build(&Plan::inclusion(n, i).unwrap(), &all[..size]));
            assert_eq!(prove_record(n, i, &stored).unwrap(), ours, "{index} of {size}");
            let leaf = theirs(all[index]);
            assert!(check_record(&ours, n, theirs(root), i, leaf).is_ok());
            assert!(check_record(&ours, n, theirs(flip(root)), i, leaf).is_err());
        }
        if size < all.len() {
            stored.push(size, all[size]);
        }
    }
}

#[test]
fn consistency_proofs_of_every_two_small_trees() {
    let all = leaves(SIZE_MAX);
    let heads: Vec<_> = (0..=all.len()).map(|size| head(&all[..size])).collect();
    let mut stored = Stored(vec![]);
    for new_size in 1..=all.len() {
        stored.push(new_size - 1, all[new_size - 1]);
        for old_size in 1..=new_size {
            let (old, new) = (heads[old_size], heads[new_size]);
            let plan = Plan::consistency(old.size, new.size).unwrap();
            let ours = list(&build(&plan, &all[..new_size]));
            let from_them = prove_tree(new.size, old.size, &stored).unwrap();
            assert_eq!(from_them, ours, "{old_size} to {new_size}");
            let (old_root, new_root) = (theirs(old.root), theirs(new.root));
            assert!(check_tree(&ours, new.size, new_root, old.size, old_root).is_ok());
        }
    }
}

fn our_path(tile: &Tile) -> String {
    tile.path().replacen("tile/8/", "tile/", 1).replacen("/data/", "/entries/", 1)
}

#[test]
fn paths_of_tiles_and_bundles() {
    let powers = (0..64).map(|bit| 1u64 << bit).flat_map(|power| [power - 1, power, power + 1]);
    let thousands = (0..=6).map(|k| 1_000u64.pow(k)).flat_map(|power| [power - 1, power]);
    for index in powers.chain(thousands).chain([1_234_067, u64::MAX - 1, u64::MAX]) {
        for width in [1, 2, 9, 10, 99, 100, 255, 256] {
            for level in [0, 1, 7, 9, 10, 63] {
                let id = TileId { level, index, width };
                let theirs = our_path(&Tile::new(8, level, index, width.into(), false));
                assert_eq!(id.path(), theirs);
                assert_eq!(theirs.parse(), Ok(TilePath::Tile(id)));
            }
            let id = BundleId { index, width };
            let theirs = our_path(&Tile::new(8, 0, index, width.into(), true));
            assert_eq!(id.path(), theirs);
            assert_eq!(theirs.parse(), Ok(TilePath::Bundle(id)));
        }
    }
}

/// Both accept the same spellings. (Width 0 is left out, on which theirs panics, and so are levels
/// from 64.)
#[test]
fn the_same_spellings() {
    let numbers = ["0", "00", "000", "001", "x001", "x000", "x01", "0001", "999", "1", "+01", ""];
    let ends = ["", "/", ".p", ".p/", ".p/1", ".p/01", ".p/255", ".p/256", ".p/+1", ".p/x"];
    for level in ["0", "1", "01", "63", "+1", "", "x", "entries", "data"] {
        for first in ["", "x001/", "x000/", "001/", "x1/", "x999/x000/", "x001/x01/"] {
            for number in numbers {
                for end in ends {
                    let path = format!("tile/{level}/{first}{number}{end}");
                    let level = match level {
                        "entries" => "data",
                        "data" => "entries",
                        _ => level,
                    };
                    let theirs = Tile::from_path(&format!("tile/8/{level}/{first}{number}{end}"));
                    assert_eq!(path.parse::<TilePath>().is_ok(), theirs.is_ok(), "{path}");
                }
            }
        }
    }
}

#[test]
fn tiles_to_publish() {
    let mut sizes: Vec<u64> = (0..4).chain([255, 256, 257, 600, 65_535, 65_536, 65_537]).collect();
    sizes.extend([70_000, 131_072, 823_236]);
    for &size in &sizes {
        for &old in sizes.iter().filter(|old| **old <= size) {
            let ours: Vec<String> = TileId::of_tree(old, size).map(|id| id.path()).collect();
            let theirs: Vec<String> = Tile::new_tiles(8, old, size).iter().map(our_path).collect();
            assert_eq!(ours, theirs, "{old} to {size}");
        }
    }
}
