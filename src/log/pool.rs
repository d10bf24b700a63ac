//! The pool: checked entries that wait for the next batch. Bounded, in order of arrival.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Instant,
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

/// What the sequencer is to do next.
#[derive(Debug)]
pub enum Taken {
    /// Sequence these, at least one.
    Batch(Vec<Submission>),
    /// Nothing came until the time given.
    Due,
    /// The pool is closed and empty.
    Closed,
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

    /// Waits for submissions, until `due` if there is such a time, and takes as many as one batch
    /// may hold. While a batch syncs, the next one gathers here: load makes batches, not a timer.
    pub fn take(&self, due: Option<Instant>) -> Taken {
        let mut waiting = self.lock();
        while waiting.submissions.is_empty() {
            if waiting.closed {
                return Taken::Closed;
            }
            waiting = match due.map(|due| due.saturating_duration_since(Instant::now())) {
                Some(left) if left.is_zero() => return Taken::Due,
                Some(left) => {
                    let woken = self.changed.wait_timeout(waiting, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner),
            };
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
        Taken::Batch(taken)
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
    use std::{sync::Arc, thread, time::Duration};

    use super::*;

    type Answer = oneshot::Receiver<Result<Sequenced, SubmitError>>;

    /// A submission of `count` entries that cost a place and no bytes.
    fn of(count: usize) -> (Submission, Answer) {
        let (answer, receiver) = oneshot::channel();
        let candidates = (0..count).map(|_| Candidate::Refused(Refusal::Duplicate)).collect();
        (Submission { candidates, answer }, receiver)
    }

    /// How many entries each submission of the next batch has; `None` once the pool has ended.
    fn take(pool: &Pool) -> Option<Vec<usize>> {
        match pool.take(None) {
            Taken::Batch(taken) => Some(taken.iter().map(|s| s.candidates.len()).collect()),
            Taken::Due => panic!("due without a time"),
            Taken::Closed => None,
        }
    }

    #[test]
    fn a_time_that_comes_first_is_told_and_takes_nothing() {
        let pool = Pool::default();
        let soon = || Some(Instant::now() + Duration::from_millis(5));
        assert!(matches!(pool.take(soon()), Taken::Due));
        let (submission, _answer) = of(2);
        pool.push(submission).unwrap();
        // What waits goes before what is due: the batch can take it along.
        assert!(matches!(pool.take(Some(Instant::now())), Taken::Batch(_)));
        assert!(matches!(pool.take(soon()), Taken::Due));
        pool.close();
        assert!(matches!(pool.take(soon()), Taken::Closed));
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
        assert_eq!(take(&pool).unwrap(), [3, 1, 2]);
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
        assert_eq!(take(&pool).unwrap(), [TAKE_ENTRIES_MAX - 1, 1]);
        assert_eq!(take(&pool).unwrap(), [1]);
        assert_eq!(take(&pool).unwrap(), [TAKE_ENTRIES_MAX + 1]);
        assert_eq!(take(&pool).unwrap(), [1]);
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
        take(&pool).unwrap();
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
        assert!(take(&pool).is_some());
        assert!(take(&pool).is_none());

        let waiting = Arc::new(Pool::default());
        let taker = thread::spawn({
            let pool = waiting.clone();
            move || take(&pool).is_none()
        });
        thread::sleep(Duration::from_millis(20));
        waiting.close();
        assert!(taker.join().unwrap(), "whoever waits is woken");
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
        assert!(take(&pool).is_none());
    }
}
