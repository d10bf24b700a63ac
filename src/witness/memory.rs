//! The durable side of a witness: whose it is, its logs, and a thread that commits for all.
//!
//! A commit is one flush and one sync whatever is in it, so those that wait while one is under way
//! share the next.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, OnceLock, PoisonError, mpsc},
    thread::{self, JoinHandle},
};

use jejak_proofs::{
    merkle::{Hash, sha256},
    note::{CosigningKey, VerifierKey},
};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::record::{LOGS, Record, RecordError, key_of};
use crate::state::{Mark, MarkFile, State, StateError};

/// Records that one commit takes.
const COMMIT_RECORDS_MAX: usize = 256;

/// Where the state says whose it is.
const OWNER: &str = "witness";

/// Where the state lists its logs.
const INDEX: &str = "logs";

/// Where the mark is, in the database and as a file beside it.
const MARK: &str = "commits";

/// Why the state of a witness cannot be used. Whatever forgets what it cosigned can be made to
/// cosign two histories, so nothing here is passed over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// As the state says.
    #[error(transparent)]
    State(#[from] StateError),
    /// There is a state already where one is to be made.
    #[error("there is a witness already")]
    Exists,
    /// There is nothing: what this key cosigned is not known.
    #[error("the state is gone: what this witness cosigned is not known")]
    Lost,
    /// The state of another key.
    #[error("the state is that of another key, {vkey}")]
    OtherKey {
        /// That key.
        vkey: String,
    },
    /// What is stored about a log is not what was left there.
    #[error("log {id}: {error}")]
    Record {
        /// SHA-256 of its origin.
        id: Hash,
        /// What is wrong.
        error: RecordError,
    },
    /// A log is missing, or there is one too many.
    #[error("the logs that are stored are not those that were added")]
    Index,
    /// The database holds something else than what was committed last: most often something older.
    #[error(
        "the database is not what was committed last: commit {stored}, of {known} that there were"
    )]
    Forgotten {
        /// The commit that the database knows as its last.
        stored: u64,
        /// The last one that is known.
        known: u64,
    },
}

impl MemoryError {
    /// Whether the state is damaged, as opposed to in use, in the way, or another one.
    pub const fn is_damage(&self) -> bool {
        !matches!(self, Self::State(StateError::Busy) | Self::Exists | Self::OtherKey { .. })
    }
}

/// What a key states with each cosignature. One fixed statement a key (C2SP tlog-cosignature).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Statement {
    /// This is the largest consistent tree that I saw.
    Consistent,
    /// And I replayed every entry through the ledger, and the state at its end is right.
    Recounted,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Owner {
    vkey: String,
    statement: Statement,
}

/// The open state of a witness.
#[derive(Debug)]
pub struct Memory {
    state: State,
    own: VerifierKey,
    statement: Statement,
    marks: MarkFile,
    /// What the newest commit left. Held while one is under way.
    mark: Mutex<Mark>,
}

impl Memory {
    /// Makes the state of a new witness.
    ///
    /// # Errors
    /// [`MemoryError::Exists`] if there is one.
    pub fn create(
        state: State,
        key: &CosigningKey,
        statement: Statement,
    ) -> Result<Self, MemoryError> {
        if !state.is_fresh() {
            return Err(MemoryError::Exists);
        }
        let own = key.verifier();
        let owner = Owner { vkey: own.to_string(), statement };
        let owner = serde_json::to_vec(&owner).expect("an owner is text");
        let marks = state.marks(MARK, true)?;
        let mark = Mutex::new(Mark { commits: 0, digest: NOTHING });
        let memory = Self { state, own, statement, marks, mark };
        memory.commit(vec![(OWNER.to_owned(), owner), (INDEX.to_owned(), Vec::new())])?;
        Ok(memory)
    }

    /// Opens the state of the witness with this key.
    ///
    /// # Errors
    /// [`MemoryError::Lost`] if there is nothing, [`MemoryError::OtherKey`] if it is another's.
    pub fn open(state: State, key: &CosigningKey) -> Result<Self, MemoryError> {
        let own = key.verifier();
        let owner = state.get(OWNER)?.ok_or(MemoryError::Lost)?;
        let owner: Owner = serde_json::from_slice(&owner).map_err(|_| MemoryError::Lost)?;
        if owner.vkey != own.to_string() {
            return Err(MemoryError::OtherKey { vkey: owner.vkey });
        }
        let marks = state.marks(MARK, false)?;
        let mark = Mutex::new(remembered(&state, &marks)?);
        Ok(Self { state, own, statement: owner.statement, marks, mark })
    }

    /// Sets all of these values or none, and returns when that is durable, and known apart from the
    /// database.
    fn commit(&self, values: Vec<(String, Vec<u8>)>) -> Result<(), StateError> {
        let mut mark = self.mark.lock().unwrap_or_else(PoisonError::into_inner);
        // The last value of a key is the one that is stored.
        let values: BTreeMap<String, Vec<u8>> = values.into_iter().collect();
        let mut next = Mark { commits: mark.commits + 1, ..*mark };
        for (key, value) in values.iter().filter(|(key, _)| key.starts_with(LOGS)) {
            if let Some(old) = self.state.get(key)? {
                next.digest = xor(next.digest, sha256(&old));
            }
            next.digest = xor(next.digest, sha256(value));
        }
        let mark_value = (MARK.to_owned(), next.to_bytes());
        let values: Vec<_> = values.into_iter().chain([mark_value]).collect();
        self.state.commit(&values)?;
        // The database has it. From the next line on it is noticed if it forgets.
        self.marks.set(next)?;
        *mark = next;
        Ok(())
    }

    /// What the key states.
    pub fn statement(&self) -> Statement {
        self.statement
    }

    /// Every log, in order of ids, each verified.
    ///
    /// # Errors
    /// The first that is not as it was left.
    pub fn records(&self) -> impl Iterator<Item = Result<Record, MemoryError>> {
        let ids = self.ids();
        let (ids, error) = match ids {
            Ok(ids) => (ids, None),
            Err(error) => (BTreeSet::new(), Some(Err(error))),
        };
        let each = ids.into_iter().map(|id| self.record(id)?.ok_or(MemoryError::Index));
        error.into_iter().chain(each)
    }

    /// The ids of all logs, which must be those that were added.
    fn ids(&self) -> Result<BTreeSet<Hash>, MemoryError> {
        let index = self.state.get(INDEX)?.ok_or(MemoryError::Index)?;
        let (ids, rest) = index.as_chunks();
        let ids: BTreeSet<Hash> = ids.iter().copied().map(Hash::new).collect();
        if !rest.is_empty() || self.state.scan(LOGS).count() != ids.len() {
            return Err(MemoryError::Index);
        }
        Ok(ids)
    }

    /// The log with this id, verified.
    ///
    /// # Errors
    /// As [`MemoryError`] says.
    pub fn record(&self, id: Hash) -> Result<Option<Record>, MemoryError> {
        let Some(value) = self.state.get(&key_of(id))? else { return Ok(None) };
        let record = Record::parse(id, &value, &self.own);
        record.map(Some).map_err(|error| MemoryError::Record { id, error })
    }

    /// Adds logs, or replaces what is configured of them, all together.
    ///
    /// # Errors
    /// After an error it is not known what happened: end the process.
    pub fn add(&self, records: &[Record]) -> Result<(), MemoryError> {
        let mut ids = self.ids()?;
        let mut values: Vec<(String, Vec<u8>)> = Vec::with_capacity(records.len() + 1);
        for record in records {
            ids.insert(super::record::id_of(&record.origin));
            values.push((record.key(), record.to_value()));
        }
        let index = ids.iter().flat_map(|id| *id.as_bytes()).collect();
        values.push((INDEX.to_owned(), index));
        Ok(self.commit(values)?)
    }

    /// Writes a file of evidence or a report, whole, and syncs it.
    ///
    /// # Errors
    /// As the state says.
    pub fn publish(&self, name: &str, text: &str) -> Result<(), StateError> {
        self.state.write(name, &[text.as_bytes()])
    }
}

/// The digest of no record.
const NOTHING: Hash = Hash::new([0; 32]);

/// The digest over all records is the sum of theirs, so that one that changes costs two hashes. It
/// is there against forgetting, not against somebody: who can write the directory has the key too.
fn xor(a: Hash, b: Hash) -> Hash {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    Hash::new(std::array::from_fn(|at| a[at] ^ b[at]))
}

/// What the newest commit left, if the database holds exactly that. A commit that was cut off
/// between the database and the mark was answered to nobody: it counts.
fn remembered(state: &State, marks: &MarkFile) -> Result<Mark, MemoryError> {
    let known = marks.newest()?;
    let stored = state.get(MARK)?.and_then(|bytes| Mark::parse(&bytes));
    let stored = stored.ok_or(MemoryError::Lost)?;
    let mut digest = NOTHING;
    for value in state.scan(LOGS) {
        digest = xor(digest, sha256(&value?));
    }
    let follows = stored == known || stored.commits == known.commits + 1;
    if !follows || stored.digest != digest {
        return Err(MemoryError::Forgotten { stored: stored.commits, known: known.commits });
    }
    if stored != known {
        // Else the next commit, cut off in the same place, would be one too many.
        marks.set(stored)?;
    }
    Ok(stored)
}

/// Values to be stored together, and whom to tell.
type Job = (Vec<(String, Vec<u8>)>, mpsc::SyncSender<()>);

/// The end of the witness: after an error whose outcome is unknown nothing is signed any more.
#[derive(Debug, Default)]
pub struct Failure {
    cause: OnceLock<String>,
    told: Notify,
}

impl Failure {
    /// Why the witness must not go on, if so.
    pub fn cause(&self) -> Option<&str> {
        self.cause.get().map(String::as_str)
    }

    /// Ends the witness; the first cause counts.
    pub fn set(&self, cause: impl std::fmt::Display) {
        if self.cause.set(cause.to_string()).is_ok() {
            tracing::error!(cause = self.cause(), "refusing to continue");
        }
        self.told.notify_waiters();
    }

    /// Resolves when the witness must not go on.
    pub async fn wait(&self) -> String {
        let mut told = std::pin::pin!(self.told.notified());
        loop {
            told.as_mut().enable();
            if let Some(cause) = self.cause() {
                return cause.to_owned();
            }
            told.as_mut().await;
            told.set(self.told.notified());
        }
    }
}

/// The thread that commits.
#[derive(Debug)]
pub struct Committer {
    jobs: Option<mpsc::SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Committer {
    pub fn start(memory: Arc<Memory>, failure: Arc<Failure>) -> std::io::Result<Self> {
        let (jobs, waiting) = mpsc::sync_channel::<Job>(COMMIT_RECORDS_MAX);
        let run = move || {
            while let Ok(first) = waiting.recv() {
                let more = waiting.try_iter().take(COMMIT_RECORDS_MAX - 1);
                let (values, askers): (Vec<_>, Vec<_>) = std::iter::once(first).chain(more).unzip();
                if let Err(error) = memory.commit(values.concat()) {
                    // The askers' channels end: none of them hears that its head is durable.
                    failure.set(error);
                    return;
                }
                // From here on all of these survive a power cut.
                for asker in askers {
                    let _ = asker.send(());
                }
            }
        };
        let thread = thread::Builder::new().name("commit".to_owned()).spawn(run)?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Stores a record and returns when it is durable; false if that is not known.
    pub fn commit(&self, record: &Record) -> bool {
        let (done, wait) = mpsc::sync_channel(1);
        let job = (vec![(record.key(), record.to_value())], done);
        let sent = self.jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok());
        sent && wait.recv().is_ok()
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
