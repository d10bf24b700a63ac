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
    /// Whether nobody knows what is durable: nothing may be pulled any more.
    fn is_final(&self) -> bool {
        let store = match self {
            Self::Store(error) | Self::Pull { error: PullError::Store(error), .. } => error,
            _ => return false,
        };
        !store.is_out_of_space()
    }
}

/// A log that is followed.
#[derive(Debug)]
pub(super) struct Followed {
    origin: String,
    id: Hash,
    policy: Arc<Policy>,
    source: Fetch,
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
        source: Fetch,
        policy: Arc<Policy>,
        keys: Arc<[CosigningKey]>,
    ) -> Result<Self, StartError> {
        let id = id_of(origin);
        let place = dir.join(id.to_string());
        let files = Arc::new(Directory::open(&place));
        let checkpoint = match files.read(CHECKPOINT, NOTE_LEN_MAX as u64)? {
            None => None,
            Some(bytes) => {
                let read = UnverifiedCheckpoint::parse(&bytes);
                let read = read.and_then(|read| policy.verify_log(read));
                let file = place.join(CHECKPOINT);
                Some(read.map_err(|error| StartError::Checkpoint {
                    file: file.clone(),
                    reason: error.to_string(),
                })?)
            }
        };
        let replica = checkpoint.and_then(|checkpoint| Replica::open(&files, checkpoint));
        sweep(&files, replica.as_ref())?;
        let (wake, woken) = mpsc::sync_channel(1);
        Ok(Self {
            origin: origin.to_owned(),
            id,
            policy,
            source,
            keys,
            dir: Directory::open(dir),
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
        let done = self.heal().and_then(|()| self.pull());
        let mut status = self.status();
        match &done {
            Ok(()) => {
                status.agreed = Some(Instant::now());
                status.trouble = None;
            }
            Err(RoundError::Pull { error: PullError::Stopped, .. }) => {}
            Err(error) => status.trouble = Some(error.to_string()),
        }
        done
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
        self.files.replace(CHECKPOINT, next.note().as_bytes())?;
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
        match kept::keep(&self.dir, self.id, &error) {
            Ok(kept) => RoundError::Pull { error, kept },
            Err(error) => RoundError::Store(error),
        }
    }
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
