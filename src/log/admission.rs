//! From bytes to candidates: duplicates first, then grammar, then signatures, on every core.

use std::sync::Arc;

use bytes::Bytes;
use jejak_proofs::{
    merkle::leaf_hash,
    tally::{Body, Entry, Refusal},
};
use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};
use tokio::sync::oneshot;

use super::{Shared, answer::SubmitError, pool::Candidate, view::ReadError};

/// Checks entries on worker threads. The reactor only waits.
pub(super) async fn check(
    shared: Arc<Shared>,
    entries: Vec<Bytes>,
) -> Result<Vec<Candidate>, SubmitError> {
    let (sender, receiver) = oneshot::channel();
    rayon::spawn(move || {
        let candidates: Result<Vec<_>, _> = match entries.len() {
            1 => entries.into_iter().map(|bytes| candidate(&shared, bytes)).collect(),
            _ => entries.into_par_iter().map(|bytes| candidate(&shared, bytes)).collect(),
        };
        // The request may have been given up; then nobody waits.
        let _ = sender.send(candidates.map_err(|cause| {
            tracing::error!(log = shared.origin, %cause, "cannot look up duplicates");
            SubmitError::Unavailable
        }));
    });
    receiver.await.unwrap_or(Err(SubmitError::Unavailable))
}

/// A resend costs no signature, and gets its old index whatever became of its key since.
fn candidate(shared: &Shared, bytes: Bytes) -> Result<Candidate, ReadError> {
    let leaf = leaf_hash(&bytes);
    if let Some(index) = shared.index_of(&leaf)? {
        // The leaf hash is in the tree; before an answer rests on it, the logged bytes must be
        // there too, and be these.
        return match shared.view().entry(&shared.objects, index)? {
            Some(logged) if logged == bytes => Ok(Candidate::Known { index, leaf }),
            _ => Err(ReadError::Damaged(format!("entry {index}"))),
        };
    }
    let checked = Entry::parse(&bytes).and_then(|entry| match entry.body() {
        // Nobody signs a state: only the sequencer makes one.
        Body::State(_) => Err(Refusal::State),
        _ => entry.check(&shared.keys()),
    });
    Ok(match checked {
        Ok(entry) => Candidate::fresh(bytes, entry),
        Err(refusal) => Candidate::Refused(refusal),
    })
}
