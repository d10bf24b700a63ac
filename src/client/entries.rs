//! Entries by index, each checked against the tree under a checkpoint.

use std::fmt::Write as _;

use jejak_proofs::merkle::{ENTRY_LEN_MAX, Hash, TreeHead, leaf_hash};
use serde::Deserialize;

use super::{
    fetch::{Fetch, FetchError},
    source::get_all,
};

/// Ranges and leaves of one compact proof (SPEC.md, "Limits").
const PROOF_RANGES_MAX: usize = 16;
const PROOF_LEAVES_MAX: usize = 1_024;

/// Bytes of a compact proof: 1,024 leaves need fewer than 64 hashes each.
const PROOF_LEN_MAX: u64 = 8 << 20;

/// Why entries cannot be believed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EntriesError {
    /// The log was not reached, or refused.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// An answer that the protocol does not have.
    #[error("the log's answer at {path} is none")]
    Answer {
        /// What was asked for.
        path: String,
    },
    /// The proof does not lead from the entries to the root of the checkpoint.
    #[error("the entries from {first} to {last} are not those under the signed root")]
    Inclusion {
        /// The first index of those that were to be proven together.
        first: u64,
        /// The last one.
        last: u64,
    },
}

/// Fetches the entries at these indexes, which rise strictly, and checks that the tree under
/// `head` has each of them there.
///
/// # Security
/// Take `head` from a verified checkpoint.
///
/// # Errors
/// Fails if one does not arrive, or is not the entry that the tree has.
pub fn entries_at(
    fetch: &Fetch,
    head: TreeHead,
    indexes: &[u64],
) -> Result<Vec<Vec<u8>>, EntriesError> {
    let entries = get_all(indexes, |index| {
        Ok::<_, FetchError>(fetch.get(&format!("entry/{index}"), ENTRY_LEN_MAX as u64)?.body)
    })?;
    let leaves: Vec<(u64, Hash)> =
        indexes.iter().zip(&entries).map(|(index, entry)| (*index, leaf_hash(entry))).collect();
    for (ranges, leaves) in provable(&leaves) {
        let proof = batch_proof(fetch, head.size, &ranges)?;
        let error =
            EntriesError::Inclusion { first: leaves[0].0, last: leaves[leaves.len() - 1].0 };
        head.verify_batch(leaves, &proof).map_err(|_| error)?;
    }
    Ok(entries)
}

fn batch_proof(fetch: &Fetch, size: u64, ranges: &str) -> Result<Vec<Hash>, EntriesError> {
    #[derive(Deserialize)]
    struct Proof {
        hashes: Vec<String>,
    }
    let path = format!("proof/batch/{size}/{ranges}");
    let body = fetch.get(&path, PROOF_LEN_MAX)?.body;
    let proof: Option<Proof> = serde_json::from_slice(&body).ok();
    let hashes = proof.and_then(|proof| {
        proof.hashes.iter().map(|hash| Hash::from_base64(hash).ok()).collect::<Option<Vec<_>>>()
    });
    hashes.ok_or(EntriesError::Answer { path })
}

/// Cuts leaves into pieces that one compact proof covers, each with its ranges as a path has them.
fn provable(leaves: &[(u64, Hash)]) -> Vec<(String, &[(u64, Hash)])> {
    let mut pieces = Vec::new();
    let mut rest = leaves;
    while !rest.is_empty() {
        let (mut ranges, mut count) = (Vec::<(u64, u64)>::new(), 0);
        for (index, _) in rest.iter().take(PROOF_LEAVES_MAX) {
            let full = ranges.len() == PROOF_RANGES_MAX;
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == *index => *last = *index,
                _ if full => break,
                _ => ranges.push((*index, *index)),
            }
            count += 1;
        }
        let (piece, after) = rest.split_at(count);
        pieces.push((spell(&ranges), piece));
        rest = after;
    }
    pieces
}

fn spell(ranges: &[(u64, u64)]) -> String {
    let mut text = String::new();
    for (first, last) in ranges {
        let comma = if text.is_empty() { "" } else { "," };
        // Writing to a string cannot fail.
        let _ = match first == last {
            true => write!(text, "{comma}{first}"),
            false => write!(text, "{comma}{first}-{last}"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(indexes: impl IntoIterator<Item = u64>) -> Vec<(String, usize)> {
        let leaf = leaf_hash(b"");
        let leaves: Vec<_> = indexes.into_iter().map(|index| (index, leaf)).collect();
        provable(&leaves).into_iter().map(|(ranges, piece)| (ranges, piece.len())).collect()
    }

    #[test]
    fn ranges_have_the_one_spelling_and_the_limits_of_the_route() {
        assert_eq!(pieces([]), []);
        assert_eq!(pieces([7]), [("7".to_owned(), 1)]);
        assert_eq!(pieces([0, 1, 2, 4, 6, 7]), [("0-2,4,6-7".to_owned(), 6)]);
        let sparse = pieces((0..17).map(|n| 2 * n));
        assert_eq!(sparse.len(), 2);
        assert_eq!(sparse[1], ("32".to_owned(), 1));
        let dense = pieces(0..1_025);
        assert_eq!(dense, [("0-1023".to_owned(), 1_024), ("1024".to_owned(), 1)]);
    }
}
