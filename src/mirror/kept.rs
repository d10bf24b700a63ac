//! What convicts a log, or what somebody should look at: files beside the copies.

use jejak_proofs::{evidence::Evidence, merkle::Hash};

use crate::{
    audit::PullError,
    store::{Directory, StoreError},
};

/// Files that are kept of one log, of each kind: anybody may send old heads that the log signed.
const KEPT_MAX: usize = 16;

/// Keeps what `error` is worth keeping: the path of the file.
pub(super) fn keep(
    dir: &Directory,
    id: Hash,
    error: &PullError,
) -> Result<Option<String>, StoreError> {
    let (name, text) = match error {
        PullError::Fork(evidence) => {
            let (kind, head) = match &**evidence {
                Evidence::TwoRoots { second, .. } => ("two-roots", second.claimed_head()),
                Evidence::Inconsistent { newer, .. } => ("inconsistent", newer.claimed_head()),
                _ => return Ok(None),
            };
            let root = &head.root.to_string()[..16];
            (format!("evidence/{id}/{kind}-{}-{root}.evidence", head.size), evidence.to_string())
        }
        PullError::Rollback { size, shown } => {
            let head = shown.head();
            let name = format!("reports/{id}/rollback-{size}-{}.checkpoint", head.size);
            (name, shown.note().to_owned())
        }
        _ => return Ok(None),
    };
    if dir.len(&name)?.is_none() {
        let (place, _) = name.rsplit_once('/').unwrap_or_default();
        if dir.count(place)? >= KEPT_MAX {
            return Ok(None);
        }
        dir.replace(&name, text.as_bytes())?;
    }
    Ok(Some(name))
}
