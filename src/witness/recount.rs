//! The recount: one thread a log, which holds the log's ledger and answers for heads, one by one.
//!
//! It begins with the head that the log shows, and then reads only what is new. After a restart it
//! replays from the first entry; until it is through, it says so.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use jejak_proofs::{
    merkle::TreeHead,
    note::{NOTE_LEN_MAX, UnverifiedCheckpoint},
};

use super::{StartError, record::Record};
use crate::client::{Fetch, FetchLimits, Recount};

/// How long a request waits for the recount; then 503, while the recount goes on.
pub const RECOUNT_WAIT_MAX: Duration = Duration::from_secs(8);

/// Requests of one log that wait at a time.
const WAITING_MAX: usize = 16;

/// How long a log is given for one file: shorter than a monitor would, because somebody waits.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

/// What the recount says about a head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Every entry was replayed, and the state at the end is right.
    Right,
    /// The log is to blame.
    Wrong(String),
    /// Nobody is: it takes more time, or the log did not answer.
    NotYet(String),
}

/// A question, and where its answer goes.
type Ask = (TreeHead, mpsc::SyncSender<Verdict>);

/// The recount of one log.
#[derive(Debug)]
pub(super) struct Recounter {
    asks: mpsc::SyncSender<Ask>,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
}

impl Recounter {
    /// Starts the recount of a log; it connects later.
    pub(super) fn start(record: &Record) -> Result<Self, StartError> {
        let origin = record.origin.clone();
        let (Some(url), Some(genesis)) = (&record.url, record.genesis) else {
            return Err(StartError::NoPlace { origin });
        };
        let limits = FetchLimits { answer_time_max: ANSWER_TIME_MAX, ..FetchLimits::default() };
        let fetch = Fetch::new(url, &limits)
            .map_err(|error| StartError::Url { origin, error: Box::new(error) })?;
        let (asks, asked) = mpsc::sync_channel(WAITING_MAX);
        let stop = Arc::new(AtomicBool::new(false));
        let done = Arc::new(AtomicU64::new(0));
        let run = Run {
            recount: Recount::new(&record.origin, genesis),
            record: record.clone(),
            fetch,
            stop: Arc::clone(&stop),
            done: Arc::clone(&done),
        };
        thread::Builder::new().name("recount".to_owned()).spawn(move || run.run(&asked))?;
        Ok(Self { asks, stop, done })
    }

    /// Asks for a head that the log signed, and waits for at most [`RECOUNT_WAIT_MAX`].
    pub(super) fn ask(&self, head: TreeHead) -> Verdict {
        let (tell, told) = mpsc::sync_channel(1);
        let answer = match self.asks.try_send((head, tell)) {
            Ok(()) => told.recv_timeout(RECOUNT_WAIT_MAX).ok(),
            Err(_) => None,
        };
        answer.unwrap_or_else(|| {
            let done = self.done.load(Ordering::Relaxed);
            Verdict::NotYet(format!("replaying the log: {done} of {} entries done", head.size))
        })
    }
}

impl Drop for Recounter {
    /// The thread ends after the group of entries that it is at; nobody waits for it.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// What the thread owns.
struct Run {
    recount: Recount,
    record: Record,
    fetch: Fetch,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
}

impl Run {
    fn run(mut self, asked: &mpsc::Receiver<Ask>) {
        // Most of the work before anybody asks.
        match self.newest() {
            Ok(head) => drop(self.said(head)),
            Err(reason) => {
                tracing::warn!(origin = self.record.origin, %reason, "the recount waits");
            }
        }
        while let Ok((head, asker)) = asked.recv() {
            let verdict = self.said(head);
            // Who does not wait any more asks again, and is told at once.
            let _ = asker.send(verdict);
        }
    }

    /// The head that the log shows.
    fn newest(&self) -> Result<TreeHead, String> {
        let bytes =
            self.fetch.get("checkpoint", NOTE_LEN_MAX as u64).map_err(|error| error.to_string())?;
        let note = UnverifiedCheckpoint::parse(&bytes.body).map_err(|error| error.to_string())?;
        let signed = note
            .verify(&self.record.origin, &self.record.keys)
            .map_err(|error| error.to_string())?;
        Ok(signed.head())
    }

    fn said(&mut self, head: TreeHead) -> Verdict {
        let result = self.recount.confirm(&self.fetch, head, &self.stop, &self.done);
        let (origin, size) = (self.record.origin.as_str(), head.size);
        match result {
            Ok(()) => {
                tracing::debug!(origin, size, "recounted");
                Verdict::Right
            }
            Err(error) if error.is_passing() => {
                tracing::warn!(origin, size, %error, "the recount waits");
                Verdict::NotYet(error.to_string())
            }
            Err(error) => {
                tracing::error!(origin, size, %error, "the recount refuses");
                Verdict::Wrong(error.to_string())
            }
        }
    }
}
