//! Several files say something about the same hashes of the tree, and some of them are damaged:
//! which of the values are the true ones? Those that lead to a hash that is known to be true.

use jejak_proofs::merkle::{Hash, NodeId, TILE_HEIGHT, Tile, TileId};

/// Combinations that are tried, beyond taking one source for all.
const COMBINATIONS_MAX: usize = 4096;

/// What the sources say about one place in the tree: different values, the nearest source first.
/// Empty if none says anything.
pub(super) type Choices = Vec<Hash>;

/// Adds a value that no source said yet.
pub(super) fn offer(choices: &mut Choices, value: Hash) {
    if !choices.contains(&value) {
        choices.push(value);
    }
}

/// One value for each place such that `accept` takes them all together; `None` if no
/// combination that was tried is accepted, or a place has no value.
pub(super) fn settle(
    choices: &[Choices],
    mut accept: impl FnMut(&[Hash]) -> bool,
) -> Option<Vec<Hash>> {
    let mut found = None;
    combine(choices, COMBINATIONS_MAX, |values| {
        let accepted = accept(values);
        if accepted {
            found = Some(values.to_vec());
        }
        accepted
    });
    found
}

/// Gives combinations of the choices to `visit` until it says that it is done: first the nearest
/// source for all, then the farthest, then each mixture, if there are not more than `max`.
pub(super) fn combine(choices: &[Choices], max: usize, mut visit: impl FnMut(&[Hash]) -> bool) {
    let nearest: Option<Vec<Hash>> = choices.iter().map(|c| c.first().copied()).collect();
    let farthest: Option<Vec<Hash>> = choices.iter().map(|c| c.last().copied()).collect();
    let (Some(mut values), Some(farthest)) = (nearest, farthest) else { return };
    let open: Vec<usize> = (0..choices.len()).filter(|&i| choices[i].len() > 1).collect();
    if visit(&values) || open.is_empty() || visit(&farthest) {
        return;
    }
    let product = open.iter().try_fold(1usize, |n, &i| n.checked_mul(choices[i].len()));
    if product.is_none_or(|product| product > max) {
        return;
    }
    // Counts through all mixtures, like an odometer.
    let mut turns = vec![0; open.len()];
    loop {
        let mut wheel = 0;
        while wheel < open.len() {
            let place = open[wheel];
            turns[wheel] = (turns[wheel] + 1) % choices[place].len();
            values[place] = choices[place][turns[wheel]];
            if turns[wheel] > 0 {
                break;
            }
            wheel += 1;
        }
        if wheel == open.len() || visit(&values) {
            return;
        }
    }
}

/// The root over the hashes of a full tile; `None` unless there are 256.
pub(super) fn tile_root(hashes: &[Hash]) -> Option<Hash> {
    tile_of(TileId::full(0, 0), hashes)?.node(NodeId { level: TILE_HEIGHT, index: 0 })
}

/// The tile `id` with these hashes; `None` unless there are as many as it is wide.
pub(super) fn tile_of(id: TileId, hashes: &[Hash]) -> Option<Tile> {
    let bytes: Vec<u8> = hashes.iter().flat_map(|hash| *hash.as_bytes()).collect();
    Tile::parse(id, &bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jejak_proofs::merkle::sha256;

    fn hashes(count: u8) -> Vec<Hash> {
        (0..count).map(|n| sha256(&[n])).collect()
    }

    #[test]
    fn a_mixture_of_two_damaged_sources_is_found() {
        let truth = hashes(6);
        let bad = sha256(b"bad");
        let mut choices: Vec<Choices> = truth.iter().map(|hash| vec![*hash]).collect();
        choices[1] = vec![bad, truth[1]];
        choices[4] = vec![truth[4], bad];
        assert_eq!(settle(&choices, |values| values == truth), Some(truth.clone()));
        assert_eq!(settle(&choices, |_| false), None);
        choices[5].clear();
        assert_eq!(settle(&choices, |_| true), None, "a place that nobody knows");
    }

    #[test]
    fn every_mixture_is_tried_and_no_more_than_allowed() {
        let choices = vec![hashes(3), hashes(1), hashes(2)];
        let mut seen = std::collections::BTreeSet::new();
        combine(&choices, 6, |values| {
            seen.insert(values.to_vec());
            false
        });
        assert_eq!(seen.len(), 6);
        let mut visits = 0;
        combine(&choices, 5, |_| {
            visits += 1;
            false
        });
        assert_eq!(visits, 2, "one source for all, and the other");
    }
}
