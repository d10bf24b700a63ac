//! Waiting for the log to seal what it has published.

use std::{
    thread,
    time::{Duration, Instant},
};

use jejak_proofs::note::{NOTE_LEN_MAX, UnverifiedCheckpoint};

use crate::client::source::Source;

/// How often the log is asked.
const EVERY: Duration = Duration::from_millis(100);

/// Waits until `checkpoint` covers what `checkpoint/latest` shows now, at most for `patience`.
///
/// A log seals once a second, and a monitor follows sealed heads; whoever asks for what is there
/// now means the last second too. Nothing is believed here: both sizes are only a reason to wait.
pub fn until_sealed(source: &impl Source, patience: Duration) {
    let claimed = |path: &str| {
        let bytes = source.get(path, NOTE_LEN_MAX as u64).ok()??;
        Some(UnverifiedCheckpoint::parse(&bytes).ok()?.claimed_head().size)
    };
    let end = Instant::now() + patience;
    // A static copy has no newer head than its checkpoint.
    let Some(latest) = claimed("checkpoint/latest") else { return };
    while claimed("checkpoint").is_some_and(|sealed| sealed < latest) && Instant::now() < end {
        thread::sleep(EVERY);
    }
}
