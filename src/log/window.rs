//! Which trees the log's key may sign: the windows in `log_keys` of the manifest ([C7] in SPEC.md).

use std::sync::{Arc, PoisonError};

use jejak_proofs::{note::UnverifiedCheckpoint, tally::Ledger};

use super::{Shared, recovery::OpenError, view::View};

/// Publishes the newest checkpoint at start-up, if the manifest in force lets the key sign it. A
/// key that begins with the next entry goes on from the checkpoint that the one before it signed.
pub(super) fn put_checkpoint(
    shared: &Shared,
    ledger: &Ledger,
    published: Option<UnverifiedCheckpoint>,
) -> Result<(), OpenError> {
    let mut view = shared.view.write().unwrap_or_else(PoisonError::into_inner);
    let (size, vkey) = (view.head.size, shared.log_key.to_string());
    let manifest = &ledger.election().ok_or(OpenError::Genesis)?.manifest;
    if !manifest.log_key_counts(&vkey, size) {
        let before = published.filter(|before| before.claimed_head() == view.head);
        let begins = manifest.log_key_counts(&vkey, size + 1);
        let Some(before) = before.filter(|_| begins) else {
            return Err(OpenError::KeyWindow { vkey, size });
        };
        *view = Arc::new(View::new(before, view.time_ms, view.edge.clone()));
    }
    Ok(shared.objects.put_checkpoint_again(view.note.as_bytes())?)
}
