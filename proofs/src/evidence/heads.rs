//! Two signed heads that cannot both be true.

use alloc::string::{String, ToString};

use super::{Conviction, EvidenceError, EvidencePart, Signed};
use crate::{
    merkle::{ConsistencyError, Hash, TreeHead, prefix_roots},
    note::UnverifiedCheckpoint,
};

/// The heads behind two checkpoints of one log, both signed.
fn heads(
    first: &UnverifiedCheckpoint,
    second: &UnverifiedCheckpoint,
    signed: &Signed<'_>,
) -> Result<(String, TreeHead, TreeHead), EvidenceError> {
    let origin = first.origin().to_string();
    if second.origin() != origin {
        return Err(EvidenceError::TwoOrigins);
    }
    let first = signed.head(first, EvidencePart::First)?;
    Ok((origin, first, signed.head(second, EvidencePart::Second)?))
}

/// One size, two roots.
pub(super) fn two_roots(
    first: &UnverifiedCheckpoint,
    second: &UnverifiedCheckpoint,
    signed: &Signed<'_>,
) -> Result<Conviction, EvidenceError> {
    let (origin, first, second) = heads(first, second, signed)?;
    if first.size != second.size {
        return Err(EvidenceError::Sizes);
    }
    if first.root == second.root {
        return Err(EvidenceError::NoContradiction);
    }
    Ok(Conviction::TwoRoots { origin, size: first.size, roots: [first.root, second.root] })
}

/// Two sizes, and hashes that refute the older root.
pub(super) fn inconsistent(
    older: &UnverifiedCheckpoint,
    newer: &UnverifiedCheckpoint,
    hashes: &[Hash],
    signed: &Signed<'_>,
) -> Result<Conviction, EvidenceError> {
    let (origin, older, newer) = heads(older, newer, signed)?;
    if older.size == 0 || older.size >= newer.size {
        return Err(EvidenceError::Sizes);
    }
    let (root_in_newer, new_root) =
        prefix_roots(older.size, newer.size, hashes).map_err(EvidenceError::Proof)?;
    if new_root != newer.root {
        return Err(EvidenceError::Proof(ConsistencyError::WrongNewRoot));
    }
    if root_in_newer == older.root {
        return Err(EvidenceError::NoContradiction);
    }
    Ok(Conviction::Inconsistent { origin, older, newer, root_in_newer })
}
