//! Which checkpoint a log begins with at a start ([C7] in SPEC.md).

use std::sync::{Arc, PoisonError};

use jejak_proofs::{note::UnverifiedCheckpoint, tally::Ledger};

use super::{Shared, recovery::OpenError, signers::Signers, view::View};

/// Publishes the newest checkpoint at start-up, by the keys that the manifest in force lets sign
/// it. A key that begins with the next entry goes on from the checkpoint that the one before it
/// signed.
pub(super) fn put_checkpoint(
    shared: &Shared,
    ledger: &Ledger,
    signers: &Signers,
    published: Option<UnverifiedCheckpoint>,
) -> Result<(), OpenError> {
    let mut view = shared.view.write().unwrap_or_else(PoisonError::into_inner);
    let size = view.head.size;
    let manifest = &ledger.election().ok_or(OpenError::Genesis)?.manifest;
    let signed = signers.sign(view.head, manifest).map_err(OpenError::Checkpoint)?;
    let checkpoint = match signed {
        Some(checkpoint) => checkpoint.into(),
        None => {
            let before = published.filter(|before| before.claimed_head() == view.head);
            let begins = signers.may_sign(manifest, size + 1);
            let vkey = || signers.vkeys();
            before.filter(|_| begins).ok_or_else(|| OpenError::KeyWindow { vkey: vkey(), size })?
        }
    };
    *view = Arc::new(View::new(checkpoint, view.time_ms, view.edge.clone()));
    Ok(shared.objects.put_checkpoint_again(view.note.as_bytes())?)
}
