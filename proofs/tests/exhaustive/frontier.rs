use jejak_proofs::merkle::{Frontier, FrontierError, Plan, TREE_SIZE_MAX, TreeHead};

use super::rfc;

#[test]
fn a_tree_grows_leaf_by_leaf() {
    let all = rfc::leaves(1_030);
    let mut tree = Frontier::new();
    assert_eq!(tree, Frontier::default());
    assert_eq!(tree.head(), TreeHead::EMPTY);
    for size in 0..=all.len() {
        assert_eq!(tree.head(), TreeHead { size: size as u64, root: rfc::root(&all[..size]) });
        assert_eq!(tree.size(), size as u64);
        let peaks: Vec<_> = Plan::root(tree.size())
            .nodes()
            .iter()
            .map(|n| rfc::root(&all[(n.index as usize) << n.level..][..1 << n.level]))
            .collect();
        assert_eq!(tree.peaks(), peaks, "{size}");
        assert_eq!(Frontier::from_peaks(tree.size(), peaks), Ok(tree.clone()));
        if let Some(leaf) = all.get(size) {
            tree.push(*leaf);
        }
    }
}

#[test]
fn peaks_fit_their_size() {
    for size in [0, 1, 2, 3, 255, 256, 1 << 62, TREE_SIZE_MAX] {
        let want = format!("{size:b}").matches('1').count();
        for got in 0..66 {
            let answer = Frontier::from_peaks(size, rfc::leaves(got)).map(|tree| tree.size());
            let error = FrontierError::WrongCount { got, want };
            assert_eq!(answer, if got == want { Ok(size) } else { Err(error) });
        }
    }
    for size in [1 << 63, u64::MAX] {
        let answer = Frontier::from_peaks(size, rfc::leaves(size.count_ones() as usize));
        assert_eq!(answer, Err(FrontierError::TooLarge { size }));
    }
}

#[test]
fn the_largest_tree_still_has_a_head() {
    let mut tree = Frontier::from_peaks(TREE_SIZE_MAX - 1, rfc::leaves(62)).unwrap();
    tree.push(rfc::leaf(62));
    assert_eq!(tree.peaks(), rfc::leaves(63));
    let root = rfc::leaves(63).into_iter().rev().reduce(|right, left| rfc::node(left, right));
    assert_eq!(tree.head(), TreeHead { size: TREE_SIZE_MAX, root: root.unwrap() });
}
