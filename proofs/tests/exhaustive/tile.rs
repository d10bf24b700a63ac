use std::collections::{BTreeMap, BTreeSet};

use jejak_proofs::merkle::{
    BundleId, HASH_LEN, Hash, NodeId, Plan, Tile, TileError, TileId, TreeHead,
};

use super::{forge::Random, rfc};

/// What C2SP tlog-tiles says that a tree of `size` has.
fn tiles_of(size: u64) -> BTreeSet<TileId> {
    let mut tiles = BTreeSet::new();
    for level in 0..8 {
        let hashes = size / 256u64.pow(u32::from(level));
        tiles.extend((0..hashes / 256).map(|index| TileId { level, index, width: 256 }));
        let partial = (hashes % 256) as u16;
        if partial > 0 {
            tiles.insert(TileId { level, index: hashes / 256, width: partial });
        }
    }
    tiles
}

/// A whole log in tiles, hashed by the recursion.
fn store(leaves: &[Hash]) -> BTreeMap<TileId, Tile> {
    let mut levels = vec![leaves.to_vec()];
    for _ in 1..8 {
        let below = &levels[levels.len() - 1];
        levels.push(below.chunks_exact(256).map(rfc::root).collect());
    }
    let parse = |id: TileId| {
        let start = id.index as usize * 256;
        let hashes = &levels[usize::from(id.level)][start..start + usize::from(id.width)];
        let bytes: Vec<u8> = hashes.iter().flat_map(|hash| *hash.as_bytes()).collect();
        (id, Tile::parse(id, &bytes).unwrap())
    };
    tiles_of(leaves.len() as u64).into_iter().map(parse).collect()
}

fn read(store: &BTreeMap<TileId, Tile>, plan: &Plan, size: u64) -> Vec<Hash> {
    let lookup = |node: &NodeId| store[&TileId::of_node(*node, size).unwrap()].node(*node).unwrap();
    plan.combine(&plan.nodes().iter().map(lookup).collect::<Vec<_>>()).unwrap()
}

#[test]
fn every_tile_of_a_tree() {
    let mut sizes: Vec<u64> = (0..=3).chain([254, 255, 256, 257, 511, 512, 513, 1_000]).collect();
    sizes.extend([65_535, 65_536, 65_537, 70_000, 131_072, 131_073]);
    for &size in &sizes {
        for &old in &sizes {
            let got: Vec<_> = TileId::of_tree(old, size).collect();
            let new: Vec<_> = match old < size {
                true => tiles_of(size).difference(&tiles_of(old)).copied().collect(),
                false => vec![],
            };
            assert_eq!(got, new, "{old} to {size}");
            // Entry bundles have the shape of level 0.
            let bundles: Vec<_> = BundleId::of_tree(old, size).collect();
            let level_0 = new.iter().filter(|id| id.level == 0);
            let want: Vec<_> =
                level_0.map(|id| BundleId { index: id.index, width: id.width }).collect();
            assert_eq!(bundles, want, "{old} to {size}");
        }
    }
}

/// The worked example of C2SP tlog-tiles.
#[test]
fn a_tree_of_70000() {
    let all: Vec<_> = TileId::of_tree(0, 70_000).collect();
    assert_eq!(all.len(), 273 + 1 + 1 + 1 + 1);
    assert_eq!(all[..273], (0..273).map(|index| TileId::full(0, index)).collect::<Vec<_>>());
    assert_eq!(all[273], TileId { level: 0, index: 273, width: 112 });
    assert_eq!(all[274..276], [TileId::full(1, 0), TileId { level: 1, index: 1, width: 17 }]);
    assert_eq!(all[276], TileId { level: 2, index: 0, width: 1 });
    let full = TileId::of_tree(0, 256).collect::<Vec<_>>();
    assert_eq!(full, [TileId::full(0, 0), TileId { level: 1, index: 0, width: 1 }]);
}

#[test]
fn the_largest_trees_have_eight_levels() {
    for size in [i64::MAX as u64, 1 << 63, u64::MAX] {
        let new: Vec<_> = TileId::of_tree(size - 1, size).collect();
        let want: Vec<_> = tiles_of_edge(size - 1, size);
        assert_eq!(new, want, "{size}");
    }
}

/// The tiles that one more entry changes.
fn tiles_of_edge(old: u64, size: u64) -> Vec<TileId> {
    let hashes = |level: u8, size: u64| size / 256u64.pow(level.into());
    (0..8)
        .filter(|level| hashes(*level, old) != hashes(*level, size))
        .map(|level| {
            let last = hashes(level, size) - 1;
            TileId { level, index: last / 256, width: (last % 256 + 1) as u16 }
        })
        .collect()
}

#[test]
fn every_node_of_small_trees_is_in_its_tile() {
    for size in [1, 2, 3, 130, 255, 256, 257, 700] {
        let leaves = rfc::leaves(size);
        let store = store(&leaves);
        for level in 0..11 {
            for index in 0..=(size as u64 >> level) + 1 {
                let node = NodeId { level, index };
                let id = TileId::of_node(node, size as u64);
                let start = (index as usize) << level;
                let Some(below) = leaves.get(start..start + (1 << level)) else {
                    assert_eq!(id, None, "{node:?} of {size}");
                    continue;
                };
                let tile = &store[&id.unwrap()];
                assert_eq!(tile.node(node), Some(rfc::root(below)), "{node:?} of {size}");
                // No other tile has it, but the one below whose root it is.
                for other in store.values().filter(|other| other.id() != id.unwrap()) {
                    let root_of = node.level == 8 * (other.id().level + 1)
                        && node.index == other.id().index
                        && other.hashes().len() == 256;
                    let want = root_of.then(|| rfc::root(below));
                    assert_eq!(other.node(node), want, "{node:?} in {:?}", other.id());
                }
            }
        }
    }
}

#[test]
fn nodes_that_no_tree_has() {
    for (level, index) in [(64, 0), (255, 0), (63, 1), (0, u64::MAX)] {
        assert_eq!(TileId::of_node(NodeId { level, index }, i64::MAX as u64), None);
    }
    let top = TileId::of_node(NodeId { level: 62, index: 0 }, i64::MAX as u64);
    assert_eq!(top, Some(TileId { level: 7, index: 0, width: 127 }));
    // A tile of a level that no path of a tree leads to holds nothing, and does not panic.
    for level in [31, 32, 63, 255] {
        let id = TileId { level, index: 0, width: 1 };
        let tile = Tile::parse(id, &[0; HASH_LEN]).unwrap();
        assert_eq!(tile.node(NodeId { level: 0, index: 0 }), None);
        let bottom = tile.node(NodeId { level: 248, index: 0 });
        assert_eq!(bottom.is_some(), level == 31);
    }
}

#[test]
fn proofs_out_of_the_tiles_of_a_large_log() {
    let size = 70_000;
    let leaves = rfc::leaves(size as usize);
    let store = store(&leaves);
    let head = TreeHead { size, root: rfc::root(&leaves) };
    assert_eq!(read(&store, &Plan::root(size), size), [head.root]);
    let mut random = Random(5);
    let mut some: Vec<u64> = (0..8).map(|_| random.below(size)).collect();
    some.extend([0, 255, 256, 65_535, 65_536, size - 1]);
    some.sort_unstable();
    for &index in &some {
        let proof = read(&store, &Plan::inclusion(size, index).unwrap(), size);
        assert_eq!(proof, rfc::inclusion(index as usize, &leaves), "{index}");
        let proof = read(&store, &Plan::consistency(index, size).unwrap(), size);
        assert_eq!(proof, rfc::consistency(index as usize, &leaves), "{index}");
    }
    let proof = read(&store, &Plan::batch(size, &some).unwrap(), size);
    let some: Vec<_> = some.iter().map(|i| (*i, leaves[*i as usize])).collect();
    assert_eq!(head.verify_batch(&some, &proof), Ok(()));
}

// SPEC [T9]
#[test]
fn a_tile_has_its_exact_length() {
    for width in [1, 2, 255, 256] {
        let id = TileId { level: 0, index: 0, width };
        let want = 32 * usize::from(width);
        for got in [0, 1, want - 32, want - 1, want, want + 1, want + 32, 8_192, 8_193] {
            let answer = Tile::parse(id, &vec![0; got]).map(|tile| tile.hashes().len());
            let error = TileError::WrongLength { got, want };
            assert_eq!(answer, if got == want { Ok(want / 32) } else { Err(error) });
        }
    }
    for width in [0, 257, u16::MAX] {
        let id = TileId { level: 0, index: 0, width };
        let bytes = vec![0; 32 * usize::from(width)];
        assert_eq!(Tile::parse(id, &bytes), Err(TileError::InvalidWidth { width }));
    }
}
