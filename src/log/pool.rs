//! The pool: checked entries that wait for the next batch. Bounded, in order of arrival.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
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

    /// Whether any of its entries may have to be logged.
    pub fn needs_room(&self) -> bool {
        self.candidates.iter().any(|candidate| matches!(candidate, Candidate::Fresh { .. }))
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
        self.take_within(Duration::MAX)
    }

    /// As [`take`](Self::take), but takes nothing once `patience` is over.
    pub fn take_within(&self, patience: Duration) -> Option<Vec<Submission>> {
        let idle = |waiting: &mut Waiting| waiting.submissions.is_empty() && !waiting.closed;
        let waited = self.changed.wait_timeout_while(self.lock(), patience, idle);
        let (mut waiting, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if waiting.submissions.is_empty() && waiting.closed {
            return None;
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

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread};

    use super::*;

    type Answer = oneshot::Receiver<Result<Sequenced, SubmitError>>;

    /// A submission of `count` entries that cost a place and no bytes.
    fn of(count: usize) -> (Submission, Answer) {
        let (answer, receiver) = oneshot::channel();
        let candidates = (0..count).map(|_| Candidate::Refused(Refusal::Duplicate)).collect();
        (Submission { candidates, answer }, receiver)
    }

    fn sizes(taken: &[Submission]) -> Vec<usize> {
        taken.iter().map(|submission| submission.candidates.len()).collect()
    }

    #[test]
    fn what_waits_is_taken_in_order_and_together() {
        let pool = Pool::default();
        let _answers = [3, 1, 2].map(|count| {
            let (submission, answer) = of(count);
            pool.push(submission).unwrap();
            answer
        });
        assert_eq!(pool.len(), 6);
        assert_eq!(sizes(&pool.take().unwrap()), [3, 1, 2]);
        assert_eq!(pool.len(), 0);
    }

    #[test]
    fn a_batch_takes_what_fits_and_at_least_one() {
        let pool = Pool::default();
        let counts = [TAKE_ENTRIES_MAX - 1, 1, 1, TAKE_ENTRIES_MAX + 1, 1];
        let _answers = counts.map(|count| {
            let (submission, answer) = of(count);
            pool.push(submission).unwrap();
            answer
        });
        assert_eq!(sizes(&pool.take().unwrap()), [TAKE_ENTRIES_MAX - 1, 1]);
        assert_eq!(sizes(&pool.take().unwrap()), [1]);
        assert_eq!(sizes(&pool.take().unwrap()), [TAKE_ENTRIES_MAX + 1]);
        assert_eq!(sizes(&pool.take().unwrap()), [1]);
    }

    #[test]
    fn the_pool_is_bounded_and_room_comes_back() {
        let pool = Pool::default();
        let (almost, _first) = of(POOL_ENTRIES_MAX - 1);
        pool.push(almost).unwrap();
        assert_eq!(pool.push(of(2).0).unwrap_err(), SubmitError::Full);
        let (last, _second) = of(1);
        pool.push(last).unwrap();
        assert_eq!(pool.push(of(1).0).unwrap_err(), SubmitError::Full);
        pool.take().unwrap();
        assert_eq!(pool.len(), 1);
        pool.push(of(1).0).unwrap();
    }

    #[test]
    fn a_closed_pool_gives_out_what_waits_and_then_ends() {
        let pool = Arc::new(Pool::default());
        let (submission, _answer) = of(1);
        pool.push(submission).unwrap();
        assert!(pool.is_open());
        pool.close();
        assert!(!pool.is_open());
        assert_eq!(pool.push(of(1).0).unwrap_err(), SubmitError::Closing);
        assert!(pool.take().is_some());
        assert!(pool.take().is_none());

        let waiting = Arc::new(Pool::default());
        let taker = thread::spawn({
            let pool = waiting.clone();
            move || pool.take().is_none()
        });
        thread::sleep(Duration::from_millis(20));
        waiting.close();
        assert!(taker.join().unwrap(), "whoever waits is woken");
    }

    #[test]
    fn who_is_out_of_patience_takes_nothing() {
        let pool = Pool::default();
        assert!(pool.take_within(Duration::from_millis(1)).unwrap().is_empty());
        let (submission, _answer) = of(1);
        pool.push(submission).unwrap();
        assert_eq!(sizes(&pool.take_within(Duration::ZERO).unwrap()), [1]);
        pool.close();
        assert!(pool.take_within(Duration::ZERO).is_none());
    }

    #[test]
    fn an_abandoned_pool_answers_what_waits() {
        let pool = Pool::default();
        let (submission, mut answer) = of(5);
        pool.push(submission).unwrap();
        pool.abandon();
        assert_eq!(answer.try_recv().unwrap().unwrap_err(), SubmitError::Unavailable);
        assert_eq!(pool.len(), 0);
        assert_eq!(pool.push(of(1).0).unwrap_err(), SubmitError::Closing);
        assert!(pool.take().is_none());
    }
}
