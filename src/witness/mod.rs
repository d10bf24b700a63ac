//! The witness: cosigns the heads of logs, each consistent with the one before (C2SP tlog-witness).
//!
//! It judges with [`judge`], a pure function; what it cosigned is durable before anyone sees the
//! line; what a log signed and it refused is kept, because it may convict. A *recount* witness asks
//! for more: it cosigns only what it replayed (`recount`).
//!
//! It names `proofs`, the state, and for the recount the client: it never runs a log's code.

pub mod http;
pub mod judge;
mod memory;
mod metrics;
mod rate;
pub mod record;
mod recount;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use jejak_proofs::{
    merkle::Hash,
    note::{AddCheckpoint, AddCheckpointError, Checkpoint, CheckpointError, CosigningKey},
};

use self::{
    judge::{Kept, Outcome, Refusal, Suspicion},
    memory::Committer,
    metrics::Metrics,
    rate::Bucket,
    record::{KEPT_MAX, Record, id_of},
    recount::{Recounter, Verdict},
};
pub use self::{
    memory::{Failure, Memory, MemoryError, Statement},
    rate::Rate,
    recount::RECOUNT_WAIT_MAX,
};
use crate::clock;

/// Oldest time of a cosignature that the monitoring route serves, in seconds.
pub const MONITORED_AGE_MAX_S: u64 = 3_600;

/// A request as the witness answers it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// 200: signature lines.
    Cosigned(String),
    /// 400: not a request.
    Malformed(AddCheckpointError),
    /// 404: a log that the witness was not told of.
    UnknownOrigin,
    /// 400, 403, 409, 422 or 503.
    Refused(Refusal),
    /// 422: the recount found the head wrong.
    NotRight(String),
    /// 503: the recount has not come so far, or the log did not serve what it needs.
    Replaying(String),
    /// 429: more requests for one log than are taken.
    TooMany,
    /// 500: the witness must not go on.
    Failed,
}

/// How a witness runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Log-signed requests for one log.
    pub rate: Rate,
}

/// One log in memory: some hundred bytes. Its record is read from the state for each request.
struct Known {
    record: Mutex<Bucket>,
    recounter: Option<Recounter>,
}

/// A witness that runs.
pub struct Witness {
    key: CosigningKey,
    memory: Arc<Memory>,
    logs: BTreeMap<Hash, Known>,
    committer: Committer,
    failure: Arc<Failure>,
    metrics: Metrics,
    rate: Rate,
    started: Instant,
}

/// Why a witness cannot begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Its state cannot be used.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// A recount witness knows a log without the place of its entries or without its genesis.
    #[error("{origin}: a recount needs a URL and a genesis")]
    NoPlace {
        /// The log.
        origin: String,
    },
    /// The URL of a log.
    #[error("{origin}: {error}")]
    Url {
        /// The log.
        origin: String,
        /// What is wrong with it.
        error: Box<crate::client::FetchError>,
    },
    /// The system gives no thread.
    #[error("no thread: {0}")]
    Thread(#[from] std::io::Error),
}

impl Witness {
    /// Starts a witness: every log's record is read and verified first.
    ///
    /// # Errors
    /// As [`StartError`] says; then nothing was signed.
    pub fn start(key: CosigningKey, memory: Memory, options: Options) -> Result<Self, StartError> {
        let mut logs = BTreeMap::new();
        for record in memory.records() {
            let record = record?;
            let recounter = match memory.statement() {
                Statement::Consistent => None,
                Statement::Recounted => Some(Recounter::start(&record)?),
            };
            let bucket = Mutex::new(Bucket::full(options.rate));
            logs.insert(id_of(&record.origin), Known { record: bucket, recounter });
        }
        let memory = Arc::new(memory);
        let failure = Arc::new(Failure::default());
        let committer = Committer::start(Arc::clone(&memory), Arc::clone(&failure))?;
        let metrics = Metrics::new(logs.len());
        let (rate, started) = (options.rate, Instant::now());
        Ok(Self { key, memory, logs, committer, failure, metrics, rate, started })
    }

    /// Number of logs.
    pub fn len(&self) -> usize {
        self.logs.len()
    }

    /// Whether there is no log.
    pub fn is_empty(&self) -> bool {
        self.logs.is_empty()
    }

    /// Told when the witness must not go on.
    pub fn failure(&self) -> &Arc<Failure> {
        &self.failure
    }

    /// `add-checkpoint`: judges `body` and answers. Waits for the disk, and for a recount up to
    /// [`RECOUNT_WAIT_MAX`]; call it where waiting is allowed.
    pub fn add_checkpoint(&self, body: &[u8]) -> Answer {
        let answer = self.answer(body);
        self.metrics.answered(&answer);
        answer
    }

    fn answer(&self, body: &[u8]) -> Answer {
        let request = match AddCheckpoint::parse(body) {
            Ok(request) => request,
            Err(AddCheckpointError::Checkpoint(CheckpointError::EmptyRoot)) => {
                return self.refuse_empty_root(body);
            }
            Err(error) => return Answer::Malformed(error),
        };
        let id = id_of(request.checkpoint.origin());
        let Some(known) = self.logs.get(&id) else { return Answer::UnknownOrigin };
        // First without the lock, for what needs no memory of heads, and for the slow recount.
        let record = match self.record(id) {
            Ok(record) => record,
            Err(answer) => return answer,
        };
        let signed = match judge::verify(&record.known(), &request) {
            Ok(signed) => signed,
            Err(refusal) => return Answer::Refused(refusal),
        };
        // Only what the log signed counts: nobody else can use up its share.
        if !lock(&known.record).take(self.rate, self.started.elapsed()) {
            return Answer::TooMany;
        }
        if let Some(recounter) = &known.recounter {
            let now = clock::now_ms() / 1_000;
            let outcome = judge::judge(&record.known(), &request, signed.clone(), now);
            if matches!(outcome, Outcome::Cosign { .. })
                && let Err(answer) = self.recount(recounter, id, &request, &signed)
            {
                return answer;
            }
        }
        self.settle(id, known, &request, signed)
    }

    /// Judges and stores, one request of a log at a time.
    fn settle(
        &self,
        id: Hash,
        known: &Known,
        request: &AddCheckpoint,
        signed: Checkpoint,
    ) -> Answer {
        let _turn = lock(&known.record);
        let mut record = match self.record(id) {
            Ok(record) => record,
            Err(answer) => return answer,
        };
        let now = clock::now_ms() / 1_000;
        match judge::judge(&record.known(), request, signed, now) {
            Outcome::Again => match &record.last {
                Some(last) => Answer::Cosigned(last.line.clone()),
                None => Answer::Failed,
            },
            Outcome::Cosign { checkpoint, time } => {
                let line = record.cosign(checkpoint, time, &self.key).line.clone();
                match self.committer.commit(&record) {
                    // The head is durable: the line may be seen.
                    true => Answer::Cosigned(line),
                    false => Answer::Failed,
                }
            }
            Outcome::Refuse(refusal, kept) => match kept {
                Some(kept) => self
                    .keep(record, request, *kept, refusal.to_string(), || Answer::Refused(refusal)),
                None => Answer::Refused(refusal),
            },
        }
    }

    /// Keeps a refused request if there is room for it, then answers.
    fn keep(
        &self,
        mut record: Record,
        request: &AddCheckpoint,
        kept: Kept,
        reason: String,
        answer: impl FnOnce() -> Answer,
    ) -> Answer {
        let head = request.checkpoint.claimed_head();
        let root = &head.root.to_string()[..16];
        let (list, name, text) = match &kept {
            Kept::Evidence(evidence) => {
                let keys = [&record.keys[..], &record.former[..]].concat();
                if evidence.verify(&keys).is_err() {
                    return answer();
                }
                (
                    0,
                    format!("evidence/{}/{}-{root}.evidence", record.id(), head.size),
                    evidence.to_string(),
                )
            }
            Kept::Report(suspicion) => {
                let kind = suspicion.word();
                let name = format!("reports/{}/{kind}-{}-{root}.report", record.id(), head.size);
                (1, name, format!("jejak/report/v1\n{kind}: {reason}\n\n{request}"))
            }
        };
        self.metrics.kept(&kept);
        if record.kept[list].len() >= KEPT_MAX || record.kept[list].contains(&name) {
            return answer();
        }
        tracing::error!(
            origin = record.origin,
            file = name,
            reason,
            "a log-signed head is refused"
        );
        if let Err(error) = self.memory.publish(&name, &text) {
            self.failure.set(error);
            return Answer::Failed;
        }
        record.kept[list].push(name);
        if self.committer.commit(&record) { answer() } else { Answer::Failed }
    }

    /// Asks the recount, and keeps what it finds wrong.
    fn recount(
        &self,
        recounter: &Recounter,
        id: Hash,
        request: &AddCheckpoint,
        signed: &Checkpoint,
    ) -> Result<(), Answer> {
        match recounter.ask(signed.head()) {
            Verdict::Right => Ok(()),
            Verdict::NotYet(reason) => Err(Answer::Replaying(reason)),
            Verdict::Wrong(reason) => {
                let Some(known) = self.logs.get(&id) else { return Err(Answer::Failed) };
                let _turn = lock(&known.record);
                let record = self.record(id)?;
                let kept = Kept::Report(Suspicion::Recount);
                let text = reason.clone();
                Err(self.keep(record, request, kept, reason, || Answer::NotRight(text)))
            }
        }
    }

    /// A checkpoint of size 0 with a root that no empty tree has: who signed comes first.
    fn refuse_empty_root(&self, body: &[u8]) -> Answer {
        let note = AddCheckpoint::split(body).map_or(&[][..], |(_, note)| note);
        let origin = note.split(|b| *b == b'\n').next().and_then(|line| str::from_utf8(line).ok());
        let id = id_of(origin.unwrap_or_default());
        if !self.logs.contains_key(&id) {
            return Answer::UnknownOrigin;
        }
        match self.record(id) {
            Ok(record) => Answer::Refused(judge::refuse_empty_root(&record.known(), note)),
            Err(answer) => answer,
        }
    }

    /// The record of a log that the witness knows. One that is gone or damaged ends the witness.
    fn record(&self, id: Hash) -> Result<Record, Answer> {
        if self.failure.cause().is_some() {
            return Err(Answer::Failed);
        }
        let record = self.memory.record(id).and_then(|record| record.ok_or(MemoryError::Index));
        record.map_err(|error| {
            self.failure.set(error);
            Answer::Failed
        })
    }

    /// The whole signed head of a log as monitors read it, cosigned anew if the cosignature is over
    /// an hour old; `None` if the log is unknown or was never cosigned.
    ///
    /// # Errors
    /// [`Answer::Failed`] if the witness must not go on.
    pub fn monitored(&self, id: Hash) -> Result<Option<String>, Answer> {
        let Some(known) = self.logs.get(&id) else { return Ok(None) };
        let record = self.record(id)?;
        let now = clock::now_ms() / 1_000;
        let fresh = |time: u64| now.saturating_sub(time) <= MONITORED_AGE_MAX_S;
        match &record.last {
            None => return Ok(None),
            Some(last) if fresh(last.time) => return Ok(Some(last.note())),
            Some(_) => {}
        }
        let _turn = lock(&known.record);
        // Somebody may have been here before.
        let mut record = self.record(id)?;
        let Some(last) = record.last.clone() else { return Ok(None) };
        if fresh(last.time) {
            return Ok(Some(last.note()));
        }
        let note = record.cosign(last.checkpoint, now, &self.key).note();
        if self.committer.commit(&record) { Ok(Some(note)) } else { Err(Answer::Failed) }
    }
}

/// A panic while it was held left nothing half done: what counts is in the state.
fn lock(bucket: &Mutex<Bucket>) -> std::sync::MutexGuard<'_, Bucket> {
    bucket.lock().unwrap_or_else(PoisonError::into_inner)
}
