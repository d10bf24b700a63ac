//! The pool: checked entries that wait for the next batch. Bounded, in order of arrival.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use jejak_proofs::{
    merkle::{Hash, leaf_hash},
    tally::{CheckedEntry, Refusal},
};
use tokio::sync::oneshot;

use super::answer::{Sequenced, SubmitError};

/// Most entries that wait at once; what comes then is refused with `overloaded`.
pub const POOL_ENTRIES_MAX: usize = 16_384;
/// Most bytes that wait at once.
pub const POOL_BYTES_MAX: usize = 64 << 20;
/// Most entries that one batch takes.
pub const TAKE_ENTRIES_MAX: usize = 4_096;
/// Most bytes that one batch takes: well below the longest journal record.
pub const TAKE_BYTES_MAX: usize = 12 << 20;

/// One entry on its way into the log.
#[derive(Debug)]
pub enum Candidate {
    /// Already logged, byte for byte.
    Known {
        /// Where.
        index: u64,
        /// Its leaf hash.
        leaf: Hash,
    },
    /// Every signature verified; the ledger has not judged it yet.
    Fresh {
        /// What is to be logged.
        bytes: Bytes,
        /// The same, parsed.
        entry: Box<CheckedEntry>,
    },
    /// Not an entry, or a signature that fails.
    Refused(Refusal),
}

impl Candidate {
    pub(super) fn fresh(bytes: Bytes, entry: CheckedEntry) -> Self {
        debug_assert_eq!(leaf_hash(&bytes), entry.entry().leaf());
        Self::Fresh { bytes, entry: Box::new(entry) }
    }

    fn len(&self) -> usize {
        match self {
            Self::Fresh { bytes, .. } => bytes.len() + crate::store::FRAME_LEN,
            Self::Known { .. } | Self::Refused(_) => 0,
        }
    }
}

/// What one request wants sequenced, and where its answer goes.
#[derive(Debug)]
pub struct Submission {
    /// The entries, in the order of the request.
    pub candidates: Vec<Candidate>,
    /// Takes the answer, once the batch is durable.
    pub answer: oneshot::Sender<Result<Sequenced, SubmitError>>,
}

impl Submission {
    /// Bytes that the entries take in a journal record, at most.
    pub fn framed_len(&self) -> usize {
        self.candidates.iter().map(Candidate::len).sum()
    }
}

/// Submissions between the requests that bring them and the one thread that sequences them.
#[derive(Debug, Default)]
pub struct Pool {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    submissions: VecDeque<Submission>,
    entries: usize,
    bytes: usize,
    closed: bool,
}

impl Pool {
    /// Queues a submission.
    ///
    /// # Errors
    /// Fails if too much waits already, or if the pool is closed.
    pub fn push(&self, submission: Submission) -> Result<(), SubmitError> {
        let (entries, bytes) = (submission.candidates.len(), submission.framed_len());
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(SubmitError::Closing);
        }
        if waiting.entries + entries > POOL_ENTRIES_MAX || waiting.bytes + bytes > POOL_BYTES_MAX {
            return Err(SubmitError::Full);
        }
        waiting.entries += entries;
        waiting.bytes += bytes;
        waiting.submissions.push_back(submission);
        drop(waiting);
        self.changed.notify_one();
        Ok(())
    }

    /// Waits for submissions and takes as many as one batch may hold, at least one; `None` once
    /// the pool is closed and empty. While a batch syncs, the next one gathers here: load makes
    /// batches, not a timer.
    pub fn take(&self) -> Option<Vec<Submission>> {
        let mut waiting = self.lock();
        while waiting.submissions.is_empty() {
            if waiting.closed {
                return None;
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        let (mut entries, mut bytes) = (0, 0);
        let mut taken = Vec::new();
        while let Some(next) = waiting.submissions.front() {
            let (more, longer) = (next.candidates.len(), next.framed_len());
            let fits = entries + more <= TAKE_ENTRIES_MAX && bytes + longer <= TAKE_BYTES_MAX;
            if !taken.is_empty() && !fits {
                break;
            }
            entries += more;
            bytes += longer;
            taken.extend(waiting.submissions.pop_front());
        }
        waiting.entries -= entries;
        waiting.bytes -= bytes;
        Some(taken)
    }

    /// Takes no more submissions. What waits is still sequenced.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Takes no more submissions and drops what waits: its requests are answered `unavailable`.
    pub fn abandon(&self) {
        let mut waiting = self.lock();
        waiting.closed = true;
        let dropped = std::mem::take(&mut waiting.submissions);
        (waiting.entries, waiting.bytes) = (0, 0);
        drop(waiting);
        self.changed.notify_all();
        for submission in dropped {
            // The request may be gone; then nobody waits for the answer.
            let _ = submission.answer.send(Err(SubmitError::Unavailable));
        }
    }

    /// Entries that wait.
    pub fn len(&self) -> usize {
        self.lock().entries
    }

    /// Whether submissions are still taken.
    pub fn is_open(&self) -> bool {
        !self.lock().closed
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Every change above leaves the counts true at each step that can unwind.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
