//! One log: its copy, and the thread that keeps it.

use std::{
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use jejak_proofs::{
    merkle::{Hash, TilePath},
    note::{
        Checkpoint, CheckpointError, CosigningKey, NOTE_LEN_MAX, Policy, SignatureError,
        UnverifiedCheckpoint,
    },
};

use super::{
    StartError, id_of, kept,
    status::{Standing, Status},
};
use crate::{
    audit::{Damaged, Pull, PullError, Replica},
    client::Fetch,
    clock,
    store::{Directory, StoreError},
};

/// Time between two looks through a copy that could not be mended: each reads all of it.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How long a follower that waits may take to notice that it is to stop.
const NAP: Duration = Duration::from_millis(50);

/// Where the newest head of a copy is.
const CHECKPOINT: &str = "checkpoint";

/// Why a look at a source changed nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RoundError {
    /// As the pull says.
    #[error("{error}{}", kept_as(kept.as_deref()))]
    Pull {
        /// What is wrong.
        error: PullError,
        /// Where what convicts was kept, below the mirror's directory.
        kept: Option<String>,
    },
    /// Another copy, which the log is pulled from, has fewer entries than this one.
    #[error("the source is behind: it has {shown} entries, the copy {size}")]
    Behind {
        /// Entries of the copy.
        size: u64,
        /// Entries of the source.
        shown: u64,
    },
    /// The head is the log's, but not enough witnesses of the policy cosigned it.
    #[error("{0}")]
    Quorum(CheckpointError),
    /// A key of the mirror cannot cosign the head.
    #[error("not cosigned: {0}")]
    Sign(SignatureError),
    /// What was to be kept could not be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn kept_as(file: Option<&str>) -> String {
    file.map(|file| format!("; kept as {file}")).unwrap_or_default()
}

impl From<PullError> for RoundError {
    fn from(error: PullError) -> Self {
        Self::Pull { error, kept: None }
    }
}

impl RoundError {
    /// Whether a look that could not mend the copy need not ask for what is new.
    fn ends_round(&self) -> bool {
        let pull = match self {
            Self::Pull { error, .. } => error,
            _ => return true,
        };
        matches!(pull, PullError::Stopped | PullError::Store(_))
    }

    /// Whether nobody knows what is durable: nothing may be pulled any more.
    fn is_final(&self) -> bool {
        let store = match self {
            Self::Store(error) | Self::Pull { error: PullError::Store(error), .. } => error,
            _ => return false,
        };
        !store.is_out_of_space()
    }
}

/// Where a log is pulled from.
pub(super) struct Place {
    pub source: Fetch,
    /// It is another copy, and not the log itself.
    pub is_copy: bool,
}

/// A log that is followed.
#[derive(Debug)]
pub(super) struct Followed {
    origin: String,
    id: Hash,
    policy: Arc<Policy>,
    source: Fetch,
    /// The source is another copy, and not the log itself.
    is_copy: bool,
    /// Keys that cosign what is stored.
    keys: Arc<[CosigningKey]>,
    /// The mirror's directory.
    dir: Directory,
    /// The copy.
    files: Arc<Directory>,
    view: RwLock<Option<Arc<Replica>>>,
    status: Mutex<Status>,
    /// The copy is to be looked through: at the start, and when something in it was damaged.
    unsure: AtomicBool,
    /// The last note that the source showed, as it was.
    shown: Mutex<String>,
    pub stop: AtomicBool,
    wake: mpsc::SyncSender<()>,
    woken: Mutex<mpsc::Receiver<()>>,
}

impl Followed {
    /// The copy of a log in `dir`, as far as it is there.
    pub fn open(
        dir: &Path,
        origin: &str,
        from: Place,
        policy: Arc<Policy>,
        keys: Arc<[CosigningKey]>,
    ) -> Result<Self, StartError> {
        let id = id_of(origin);
        let place = dir.join(id.to_string());
        let files = Arc::new(Directory::open(&place));
        let (around, record) = (Directory::open(dir), record_of(id));
        let recorded = around.len(&record)?.is_some();
        let checkpoint = match files.read(CHECKPOINT, NOTE_LEN_MAX as u64)? {
            None if recorded => {
                return Err(StartError::Lost {
                    file: place.join(CHECKPOINT),
                    record: dir.join(record),
                });
            }
            None => None,
            Some(bytes) => {
                let read = UnverifiedCheckpoint::parse(&bytes);
                let read = read.and_then(|read| policy.verify_log(read));
                let file = place.join(CHECKPOINT);
                let checkpoint = read.map_err(|error| StartError::Checkpoint {
                    file: file.clone(),
                    reason: error.to_string(),
                })?;
                if !recorded {
                    around.replace(&record, &bytes)?;
                }
                Some(checkpoint)
            }
        };
        let replica = checkpoint.and_then(|checkpoint| Replica::open(&files, checkpoint));
        sweep(&files, replica.as_ref())?;
        let (wake, woken) = mpsc::sync_channel(1);
        Ok(Self {
            origin: origin.to_owned(),
            id,
            policy,
            source: from.source,
            is_copy: from.is_copy,
            keys,
            dir: around,
            files,
            view: RwLock::new(replica.map(Arc::new)),
            status: Mutex::default(),
            unsure: AtomicBool::new(true),
            shown: Mutex::default(),
            stop: AtomicBool::new(false),
            wake,
            woken: Mutex::new(woken),
        })
    }

    pub fn origin(&self) -> &str {
        &self.origin
    }

    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The copy that is served; `None` while there is none.
    pub fn view(&self) -> Option<Arc<Replica>> {
        self.view.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn status(&self) -> MutexGuard<'_, Status> {
        // Each change leaves it whole.
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn standing(&self) -> Standing {
        let head = self.view().map(|view| view.head());
        Standing { head, written: self.status().written }
    }

    /// Reads from the copy. What is damaged is noted, and will be pulled again.
    pub fn read<T>(
        &self,
        read: impl Fn(&Replica) -> Result<T, Damaged>,
    ) -> Option<Result<T, Damaged>> {
        loop {
            let view = self.view()?;
            let damaged = match read(&view) {
                Ok(value) => return Some(Ok(value)),
                Err(damaged) => damaged,
            };
            // Partial files go when the next head has larger ones.
            if self.view().is_some_and(|newest| Arc::ptr_eq(&newest, &view)) {
                tracing::error!(origin = self.origin, %damaged, "damaged: to be pulled again");
                self.unsure.store(true, Ordering::Relaxed);
                let _ = self.wake.try_send(());
                return Some(Err(damaged));
            }
        }
    }

    /// Looks at the source every so often until it is ended.
    pub fn follow(&self, every: Duration) {
        let woken = self.woken.lock().unwrap_or_else(PoisonError::into_inner);
        let mut said = None;
        while !self.stop.load(Ordering::Relaxed) {
            let round = self.round();
            let trouble = round.as_ref().err().map(ToString::to_string);
            if trouble != said {
                match &trouble {
                    Some(trouble) => tracing::error!(origin = self.origin, trouble, "not pulled"),
                    None => tracing::info!(origin = self.origin, "pulled again"),
                }
                said = trouble;
            }
            if round.is_err_and(|error| error.is_final()) {
                self.status().stuck = true;
                return;
            }
            match self.unsure.load(Ordering::Relaxed) {
                // Whoever asks for what is damaged must not make us read all the time.
                true => self.rest(LOOK_EVERY.max(every)),
                false => drop(woken.recv_timeout(every)),
            }
        }
    }

    /// Waits, whoever wakes it, unless it is to end.
    fn rest(&self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end && !self.stop.load(Ordering::Relaxed) {
            thread::sleep(NAP);
        }
    }

    /// Ends [`Followed::follow`].
    pub fn end(&self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.wake.try_send(());
    }

    /// Looks at the source once. The copy is as it was if that fails.
    pub fn round(&self) -> Result<(), RoundError> {
        let healed = self.heal();
        let pulled = match &healed {
            // A copy whose right edge is lost has no head that what is new could be held against.
            Err(error) if error.ends_round() || self.has_no_edge()? => None,
            _ => Some(self.pull()),
        };
        let is_pulled = matches!(pulled, Some(Ok(())));
        // What is new is pulled whatever a source lacks to mend what is old.
        let done = pulled.unwrap_or(Ok(())).and(healed);
        let mut status = self.status();
        if is_pulled {
            status.agreed = Some(Instant::now());
        }
        match &done {
            Ok(()) => status.trouble = None,
            Err(RoundError::Pull { error: PullError::Stopped, .. }) => {}
            Err(error) => status.trouble = Some(error.to_string()),
        }
        done
    }

    /// Whether there is a copy of which not even the right edge is whole.
    fn has_no_edge(&self) -> Result<bool, StoreError> {
        Ok(self.view().is_none() && self.files.len(CHECKPOINT)?.is_some())
    }

    fn to_pull(&self) -> Pull<'_, Fetch> {
        let Self { source, files, policy, origin, stop, .. } = self;
        Pull { source, files, policy, origin, stop }
    }

    /// Looks through the copy, if it is not known to be whole, and fetches what is damaged.
    fn heal(&self) -> Result<(), RoundError> {
        if !self.unsure.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        // A source that is away mends nothing: reading all of the copy would be in vain.
        let healed = match self.to_pull().head(None) {
            Err(error @ PullError::Unreachable(_)) => Err(error.into()),
            _ => self.look_through(),
        };
        if healed.is_err() {
            self.unsure.store(true, Ordering::Relaxed);
        }
        healed
    }

    fn look_through(&self) -> Result<(), RoundError> {
        // The head is on disk even where the right edge beside it is damaged.
        let Some(bytes) = self.files.read(CHECKPOINT, NOTE_LEN_MAX as u64)? else {
            return Ok(());
        };
        let checkpoint = UnverifiedCheckpoint::parse(&bytes)
            .and_then(|read| self.policy.verify_log(read))
            .map_err(PullError::Signature)?;
        let size = checkpoint.head().size;
        let pulled = self.to_pull().fill(checkpoint, 0, size)?;
        self.status().written += pulled.written;
        if pulled.written > 0 {
            tracing::warn!(origin = self.origin, files = pulled.written, "healed");
        }
        self.show(pulled.replica);
        Ok(())
    }

    /// Pulls what is new.
    fn pull(&self) -> Result<(), RoundError> {
        let known = self.view();
        let shown = self.to_pull().head(known.as_deref()).map_err(|error| self.keep(error))?;
        let note = shown.note().to_owned();
        if *self.shown() != note {
            // Nothing gets a name under a head that lacks the quorum. This line is shown to nobody;
            // the one that says that everything is stored is made once it is.
            self.cosigned(&shown)?;
        }
        match known {
            Some(known) if known.head() == shown.head() => {
                if *self.shown() != note {
                    self.publish((*known).clone(), shown, Some(known.checkpoint()))?;
                }
            }
            known => {
                let size = known.as_ref().map_or(0, |known| known.head().size);
                let pulled = self.to_pull().fill(shown.clone(), size, size)?;
                self.status().written += pulled.written;
                let next = pulled.replica.clone();
                self.publish(pulled.replica, shown, None)?;
                let gone = known.map(|known| known.partials_before(&next)).unwrap_or_default();
                gone.iter().try_for_each(|path| self.files.remove_partial(path))?;
            }
        }
        *self.shown() = note;
        Ok(())
    }

    fn shown(&self) -> MutexGuard<'_, String> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a head, under which everything is durable, the one that is served: first on disk.
    /// `before` is the same head under the lines that are served now.
    fn publish(
        &self,
        replica: Replica,
        shown: Checkpoint,
        before: Option<&Checkpoint>,
    ) -> Result<(), RoundError> {
        let next = self.cosigned(&shown)?;
        // A cache may show lines that are older than those that we have.
        let age = |checkpoint| self.policy.vouched_time(checkpoint).ok().flatten();
        if before.is_some_and(|before| age(before) > age(&next)) {
            return Ok(());
        }
        // The record first, so that a checkpoint that is gone is missed. Only the first record
        // comes after: a start that finds a checkpoint alone writes it.
        let (record, note) = (record_of(self.id), next.note().as_bytes());
        if self.dir.len(&record)?.is_some() {
            self.dir.replace(&record, note)?;
            self.files.replace(CHECKPOINT, note)?;
        } else {
            self.files.replace(CHECKPOINT, note)?;
            self.dir.replace(&record, note)?;
        }
        self.show(replica.with_checkpoint(next));
        Ok(())
    }

    /// The checkpoint with the mirror's own lines, as the policy asks for it.
    fn cosigned(&self, shown: &Checkpoint) -> Result<Checkpoint, RoundError> {
        let now = clock::now_ms() / 1_000;
        let lines = self.keys.iter().map(|key| key.cosign(shown, now));
        let lines = lines.collect::<Result<Vec<_>, _>>().map_err(RoundError::Sign)?;
        let next = shown.with_lines(&lines).map_err(RoundError::Quorum)?;
        self.policy.verify(next.into()).map_err(RoundError::Quorum)
    }

    fn show(&self, replica: Replica) {
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        *view = Some(Arc::new(replica));
    }

    /// Keeps what convicts the log.
    fn keep(&self, error: PullError) -> RoundError {
        if let (PullError::Rollback { size, shown }, true) = (&error, self.is_copy) {
            return RoundError::Behind { size: *size, shown: shown.head().size };
        }
        let kept = kept::keep(&self.dir, self.id, &error).unwrap_or_else(|failure| {
            // What the log did is said all the same, and the next look tries again.
            tracing::error!(origin = self.origin, %failure, "what convicts could not be kept");
            None
        });
        RoundError::Pull { error, kept }
    }
}

/// Where the whole head of a copy is kept a second time, below the mirror's directory.
fn record_of(id: Hash) -> String {
    format!("heads/{id}")
}

/// Removes what a process that was killed left behind: files without a name, and partial files of
/// other heads than the one that is served.
fn sweep(files: &Directory, replica: Option<&Replica>) -> Result<(), StoreError> {
    let used = replica.map(Replica::partial_paths).unwrap_or_default();
    for path in files.paths()? {
        let partial = match path.parse() {
            Ok(TilePath::Tile(id)) => id.width < 256,
            Ok(TilePath::Bundle(id)) => id.width < 256,
            Err(_) => false,
        };
        // Without a copy that is whole, nothing says which of them are needed to mend it.
        if path.ends_with(".tmp") || (partial && replica.is_some() && !used.contains(&path)) {
            files.remove_partial(&path)?;
        }
    }
    Ok(())
}
