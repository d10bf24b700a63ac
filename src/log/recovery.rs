//! Opening a log. Start-up is the only recovery there is.

use std::{
    fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use jejak_proofs::{
    merkle::{Hash, Plan, TreeHead, leaf_hash},
    note::{Checkpoint, CheckpointError, Policy, PolicyError, UnverifiedCheckpoint, WindowsError},
    tally::{KeyBook, Ledger},
};
use tokio::sync::watch;

use super::{
    Log, ManifestInForce, Shared,
    derived::{self, Saved},
    edge::Edge,
    endorse::{self, ENDORSE_EVERY, Endorsement, ToSign},
    integrate::integrate,
    pool::Pool,
    rebuild::{edge_at, tile_prefix},
    refuser::Refuser,
    registers::Registers,
    sealed::SealedView,
    sequencer::{Fatal, Sequencer, Stats},
    signers::{LogKeys, Signers},
    view::{ReadError, View},
    window,
};
use crate::store::{
    DirLock, Journal, JournalOptions, LeafIndexError, LeafTable, Objects, Record, Replay,
    StoreError,
};

/// How often full tiles, bundles and the checkpoint file are synced in the background.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// How long an entry waits at most for a state that covers it: no more than one state a second.
pub const SEAL_AFTER: Duration = Duration::from_secs(1);

/// How a log is opened.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How the journal uses the disk.
    pub journal: JournalOptions,
    /// Serve what verifies; take nothing, write nothing, sign nothing.
    pub read_only: bool,
    /// How long an entry waits at most for a state that covers it; `None` for a log without
    /// states, which no monitor accepts for long.
    pub seal_after: Option<Duration>,
    /// How often the newest sealed head is signed, and cosigned, anew.
    pub endorse_every: Duration,
    /// Take entries before the policy's witnesses have said that they know of no newer head.
    pub start_unwitnessed: bool,
}

impl Default for Options {
    fn default() -> Self {
        let journal = JournalOptions::default();
        let seal_after = Some(SEAL_AFTER);
        let endorse_every = ENDORSE_EVERY;
        Self { journal, read_only: false, seal_after, endorse_every, start_unwitnessed: false }
    }
}

/// Why a log was not opened. Whatever contradicts itself was left as it is: only after journal,
/// checkpoint and genesis are accepted does start-up write, and then only what the journal holds.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A file of the directory could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The policy is not one.
    #[error("{}: {source}", path.display())]
    Policy {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: PolicyError,
    },
    /// The windows of the policy's keys are none.
    #[error("{}: {source}", path.display())]
    Windows {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: WindowsError,
    },
    /// The policy does not list the key that signs.
    #[error("the policy does not list the log's key {0}")]
    LogKey(String),
    /// The manifest in force does not let the key sign the tree.
    #[error("the manifest lets the key {vkey} sign no tree of {size} entries")]
    KeyWindow {
        /// The key.
        vkey: String,
        /// Entries of the tree.
        size: u64,
    },
    /// The store is damaged, in use, or ends before what was published.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file that the tree needs is missing or damaged.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The file `checkpoint` is not a checkpoint of this log.
    #[error("the file `checkpoint` is damaged: {0}")]
    Checkpoint(CheckpointError),
    /// The file `witnessed` is not a checkpoint of this log.
    #[error("the file `witnessed` is damaged: {0}")]
    Witnessed(CheckpointError),
    /// The journal and what was published disagree about a tree of one size.
    #[error("the tree of size {size} is not the one that was published")]
    Fork {
        /// The size in question.
        size: u64,
    },
    /// A record of the journal does not lead to its own root.
    #[error("journal record at entry {first} does not lead to its root")]
    Root {
        /// Index of the first entry of the record.
        first: u64,
    },
    /// Entry 0 is not the genesis that the policy pins.
    #[error("entry 0 is not the genesis that the policy pins")]
    Genesis,
    /// An entry of the log is refused by the ledger.
    #[error("entry {index} breaks the rules of the ledger: run `jejak fsck`")]
    OwnEntry {
        /// Its index.
        index: u64,
    },
    /// The tree is larger than the leaf table can index.
    #[error(transparent)]
    LeafTable(#[from] LeafIndexError),
}

impl From<Fatal> for OpenError {
    fn from(fatal: Fatal) -> Self {
        match fatal {
            Fatal::Store(error) => Self::Store(error),
            Fatal::Read(error) => Self::Read(error),
            Fatal::LeafTable(error) => Self::LeafTable(error),
            Fatal::Checkpoint(error) => Self::Checkpoint(error),
            Fatal::Fork { size, .. } => Self::Fork { size },
            Fatal::Mismatch(_) | Fatal::Clock | Fatal::Key | Fatal::State | Fatal::Panicked => {
                Self::Root { first: 0 }
            }
        }
    }
}

pub(super) fn open(dir: &Path, mut keys: LogKeys, options: &Options) -> Result<Log, OpenError> {
    let refusals = std::mem::take(&mut keys.refusals);
    let (policy, policy_text) = read_policy(&dir.join("policy"))?;
    let signers = Signers::new(keys, &policy)?;
    let origin = signers.origin().to_owned();
    let genesis = policy.genesis(&origin).ok_or_else(|| OpenError::LogKey(signers.vkeys()))?;
    let log_dir = dir.join("log");
    let lock = DirLock::acquire(&log_dir)?;

    let objects = Objects::open(&log_dir);
    let Sound { journal, edge, time_ms, published, witnessed, saved } =
        accept(&log_dir, &origin, &objects, &policy, genesis, options.journal)?;
    // Disk: the journal ends with its last committed record, and every full tile and bundle that
    // it covers is there.

    // It does not leave memory before the manifest in force was asked about the key.
    let checkpoint = signers.draft(edge.head()).map_err(OpenError::Checkpoint)?;
    let view = View::new(checkpoint.into(), time_ms, edge);
    let held = policy.needs_witnesses() && !options.start_unwitnessed;
    let endorsement = Endorsement::new(policy, held);
    let opened = Opened { origin, log_dir, policy_text, endorsement, objects, view };
    let Ready { shared, ledger, snapshot, sealed } = opened.start(genesis, saved, &signers)?;
    window::put_checkpoint(&shared, &ledger, &signers, published)?;
    shared.refuser.begin(refusals);
    ledger.election().into_iter().for_each(|election| shared.refuser.follow(election));
    let never = ledger.sealed().is_none();
    let mut sequencer = Sequencer {
        signers,
        notary: None,
        unsealed_since: (ledger.unsealed() > 0).then(Instant::now),
        seal_after: options.seal_after,
        no_room: None,
        shared,
        ledger,
        journal,
        snapshot,
    };
    let sealed = sealed.map(|sealed| sequencer.to_sign(sealed));
    sequencer.shared.endorsement.begin(witnessed, sealed.as_ref())?;
    if sequencer.signers.has_time() || sequencer.shared.endorsement.policy().needs_witnesses() {
        let every = options.endorse_every;
        sequencer.notary = Some(run_notary(&sequencer.shared, sealed, every));
    }
    sequencer.look_for_room(0);
    if never {
        // A new log: from its first answer on there is a sealed tree.
        sequencer.seal()?;
    }
    Ok(run(sequencer, lock))
}

/// The files of a log that contradict neither each other nor what was published.
struct Sound {
    journal: Journal,
    /// The right edge at the end of the journal, and the time of the batch that ends there.
    edge: Edge,
    time_ms: u64,
    /// The newest checkpoint that was published, unless a power cut took it.
    published: Option<UnverifiedCheckpoint>,
    /// The newest checkpoint that a quorum cosigned.
    witnessed: Option<Checkpoint>,
    saved: Result<Saved, &'static str>,
}

/// Accepts the files of a log, or says what is wrong and leaves them as they are.
fn accept(
    log_dir: &Path,
    origin: &str,
    objects: &Objects,
    policy: &Policy,
    genesis: Hash,
    options: JournalOptions,
) -> Result<Sound, OpenError> {
    let (published, missing) = match published_head(objects, policy)? {
        Published::Head(published) => (Some(published.checkpoint), false),
        Published::Lost => (None, false),
        Published::Missing => (None, true),
    };
    let witnessed = endorse::read_witnessed(objects, policy)?;
    let signed: Vec<&UnverifiedCheckpoint> =
        published.iter().chain(witnessed.as_ref().map(Checkpoint::as_unverified)).collect();
    let journal_dir = log_dir.join("journal");
    let Verified { replay, edge, time_ms, genesis: found } =
        verify_journal(&journal_dir, objects, &signed)?;
    if found != Some(genesis) {
        return Err(OpenError::Genesis);
    }
    if missing {
        // Nobody can say now that the end of the journal was not published.
        return Err(ReadError::Missing("checkpoint".to_owned()).into());
    }
    let saved = derived::saved(log_dir, origin);
    let known = signed.iter().map(|head| head.claimed_head().size).max().unwrap_or(0);
    let known = known.max(saved.as_ref().map_or(0, |saved| saved.head.size));
    let known = known.max(objects.known_size()?);
    // Everything so far only read. The journal is sound, or torn where a crash may tear it.
    let journal = Journal::resume(replay, known, options)?;
    objects.remove_leftovers()?;
    publish_again(&journal_dir, objects)?;
    Ok(Sound { journal, edge, time_ms, published, witnessed, saved })
}

pub(super) fn read_policy(path: &Path) -> Result<(Policy, String), OpenError> {
    let text = fs::read_to_string(path)
        .map_err(|source| OpenError::Io { path: path.to_owned(), source })?;
    let policy = Policy::parse(&text)
        .map_err(|source| OpenError::Policy { path: path.to_owned(), source })?;
    let path = path.with_file_name("policy.windows");
    let policy = match fs::read(&path) {
        Ok(windows) => policy
            .with_windows(&windows)
            .map_err(|source| OpenError::Windows { path: path.clone(), source })?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => policy,
        Err(source) => return Err(OpenError::Io { path, source }),
    };
    Ok((policy, text))
}

/// What the file `checkpoint` says was published.
pub(super) enum Published {
    Head(PublishedHead),
    /// Empty or of zeros, as after a power cut: some head was published, and others must know.
    Lost,
    /// No file. No crash leaves that: the first one is synced before a log is one, and each later
    /// one takes its name in one step.
    Missing,
}

pub(super) struct PublishedHead {
    pub head: TreeHead,
    pub checkpoint: UnverifiedCheckpoint,
}

pub(super) fn published_head(objects: &Objects, policy: &Policy) -> Result<Published, OpenError> {
    let Some(bytes) = objects.checkpoint()? else { return Ok(Published::Missing) };
    // A power cut may leave a file that was renamed and not synced empty or of zeros: the journal,
    // the tiles and the snapshot still know what was published. Anything else in it is damage.
    if bytes.iter().all(|byte| *byte == 0) {
        tracing::warn!("the file `checkpoint` is empty, as after a power cut: making it again");
        return Ok(Published::Lost);
    }
    let checkpoint = UnverifiedCheckpoint::parse(&bytes).map_err(OpenError::Checkpoint)?;
    let verified = policy.verify_log(checkpoint.clone()).map_err(OpenError::Checkpoint)?;
    Ok(Published::Head(PublishedHead { head: verified.head(), checkpoint }))
}

/// A journal that was verified and not yet changed.
struct Verified {
    replay: Replay,
    /// The right edge at its end.
    edge: Edge,
    /// The time of the batch that ends there.
    time_ms: u64,
    /// Leaf hash of entry 0.
    genesis: Option<Hash>,
}

/// Replays the journal without writing: every record must lead to its own root, and the tree must
/// be the one that was published, and witnessed.
fn verify_journal(
    journal_dir: &Path,
    objects: &Objects,
    published: &[&UnverifiedCheckpoint],
) -> Result<Verified, OpenError> {
    let replay = Replay::open(journal_dir)?;
    let edge = edge_at(replay.start(), objects)?;
    let (time_ms, genesis) = (replay.time_ms(), first_leaf(edge.size(), objects)?);
    let mut verified = Verified { replay, edge, time_ms, genesis };
    let start = verified.edge.size();
    for old in published.iter().filter(|old| old.claimed_head().size < start) {
        check_trimmed(old, &verified.edge, objects)?;
    }
    let published: Vec<TreeHead> = published.iter().map(|one| one.claimed_head()).collect();
    loop {
        let head = verified.edge.head();
        if published.iter().any(|published| published.size == head.size && *published != head) {
            return Err(OpenError::Fork { size: head.size });
        }
        let Some(record) = verified.replay.next_record()? else { break };
        verified.edge = grow(&verified.edge, &record)?.0;
        verified.time_ms = record.time_ms;
        if record.first == 0 {
            verified.genesis = record.entries.first().map(|entry| leaf_hash(entry));
        }
        // Only the end of a record is ever signed.
        let inside = |head: &&TreeHead| record.first < head.size && head.size < record.head.size;
        if let Some(TreeHead { size, .. }) = published.iter().find(inside) {
            return Err(OpenError::Fork { size: *size });
        }
    }
    // What is known of larger trees is compared with the end when the journal is resumed.
    Ok(verified)
}

/// Leaf hash of entry 0 where the journal was trimmed and begins at `start`.
fn first_leaf(start: u64, objects: &Objects) -> Result<Option<Hash>, OpenError> {
    match start {
        0 => Ok(None),
        _ => Ok(tile_prefix(objects, 0, 1)?.pop()),
    }
}

/// Compares a published tree with the tiles below the beginning of the journal, which are durable
/// and hold all of it. Tiles that do not lead to the journal are damage, which accuses nobody.
fn check_trimmed(
    published: &UnverifiedCheckpoint,
    start: &Edge,
    objects: &Objects,
) -> Result<(), OpenError> {
    let TreeHead { size, root } = published.claimed_head();
    let damaged = || ReadError::Damaged(format!("a tile below entry {size}"));
    let view = View::new(published.clone(), 0, start.clone());
    let roots = view.prove(objects, &Plan::root(size))?;
    let old = TreeHead { size, root: *roots.first().ok_or_else(damaged)? };
    let plan = Plan::consistency(size, view.head.size).map_err(|_| damaged())?;
    let proof = view.prove(objects, &plan)?;
    view.head.verify_consistency(&old, &proof).map_err(|_| damaged())?;
    if old.root == root { Ok(()) } else { Err(OpenError::Fork { size }) }
}

fn grow(edge: &Edge, record: &Record) -> Result<(Edge, Vec<super::edge::Object>), OpenError> {
    let leaves: Vec<Hash> = record.entries.iter().map(|entry| leaf_hash(entry)).collect();
    let grown = integrate(edge, &record.entries, &leaves);
    if grown.edge.head() != record.head {
        return Err(OpenError::Root { first: record.first });
    }
    Ok((grown.edge, grown.objects))
}

/// Writes every full tile and bundle that the journal covers, unless it is there as it must be: the
/// files may be from before a power cut.
fn publish_again(journal_dir: &Path, objects: &Objects) -> Result<(), OpenError> {
    let mut replay = Replay::open(journal_dir)?;
    let mut edge = edge_at(replay.start(), objects)?;
    objects.publish::<Vec<u8>>(edge.size(), [])?;
    while let Some(record) = replay.next_record()? {
        let (grown, full) = grow(&edge, &record)?;
        objects.publish_again(record.head.size, full)?;
        edge = grown;
    }
    Ok(())
}

/// A log whose files are sound, before its derived state is.
pub(super) struct Opened {
    pub origin: String,
    pub log_dir: PathBuf,
    pub policy_text: String,
    pub endorsement: Endorsement,
    pub objects: Objects,
    pub view: View,
}

/// What a log for reading only does without.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Without {
    /// Nothing is taken.
    pub writer: bool,
    /// No entry is found by its leaf hash.
    pub leaves: bool,
}

/// A log whose derived state is there, before its threads run.
struct Ready {
    shared: Arc<Shared>,
    ledger: Ledger,
    snapshot: u64,
    /// The newest sealed tree.
    sealed: Option<SealedView>,
}

impl Opened {
    /// Rebuilds derived state out of files and snapshot.
    fn start(
        self,
        genesis: Hash,
        saved: Result<Saved, &'static str>,
        signers: &Signers,
    ) -> Result<Ready, OpenError> {
        let (view, objects) = (&self.view, &self.objects);
        let (ledger, from_snapshot) = derived::ledger(saved, &self.origin, view, objects)?;
        if ledger.genesis() != Some(genesis) {
            return Err(OpenError::Genesis);
        }
        let manifest = derived::manifest_in_force(&ledger, view, objects)?;
        let leaves = derived::leaf_table(view, objects)?;
        let keys = ledger.keys().clone();
        let sealed = self.sealed(&ledger, signers)?;
        let shared = Arc::new(self.share(leaves, keys, Some(manifest), Without::default()));
        let snapshot = if from_snapshot { ledger.size() } else { 0 };
        Ok(Ready { shared, ledger, snapshot, sealed })
    }

    /// The tree that ends in the newest state. A key that begins with a later size does not sign
    /// what the one before it signed.
    fn sealed(&self, ledger: &Ledger, signers: &Signers) -> Result<Option<SealedView>, OpenError> {
        let Some((state, election)) = ledger.sealed().zip(ledger.election()) else {
            return Ok(None);
        };
        let size = state.state.size + 1;
        let roots = self.view.prove(&self.objects, &Plan::root(size))?;
        let root = *roots.first().ok_or_else(|| ReadError::Damaged("the tree".to_owned()))?;
        let head = TreeHead { size, root };
        // The end of a record, and signatures are deterministic: these bytes were published.
        let checkpoint = signers.sign(head, &election.manifest).map_err(OpenError::Checkpoint)?;
        Ok(checkpoint.map(|checkpoint| SealedView::older(checkpoint, state.clone())))
    }

    pub(super) fn share(
        self,
        leaves: LeafTable,
        keys: KeyBook,
        manifest: Option<ManifestInForce>,
        without: Without,
    ) -> Shared {
        let Self { origin, log_dir, policy_text, endorsement, objects, view } = self;
        Shared {
            origin,
            dir: log_dir,
            policy_text,
            objects,
            registers: Registers::default(),
            pool: Pool::default(),
            endorsement,
            view: RwLock::new(Arc::new(view)),
            leaves: RwLock::new(leaves),
            keys: RwLock::new(keys),
            manifest: RwLock::new(manifest),
            refuser: Refuser::default(),
            stats: Mutex::new(Stats::default()),
            has_room: AtomicBool::new(true),
            key_ended: AtomicBool::new(false),
            durable: AtomicU64::new(0),
            fatal: watch::Sender::new(None),
            threads: Mutex::default(),
            without,
        }
    }
}

/// Starts the notary, which signs with a time, or brings the newest head to witnesses anew.
fn run_notary(
    shared: &Arc<Shared>,
    newest: Option<ToSign>,
    every: Duration,
) -> mpsc::Sender<ToSign> {
    let (sender, sealed) = mpsc::channel();
    let log = shared.clone();
    let sign = move || endorse::run_notary(&log, newest, &sealed, every);
    let notary = spawn("notary", shared.clone(), sign);
    shared.threads.lock().unwrap_or_else(PoisonError::into_inner).push(notary);
    sender
}

/// Starts the sequencer and the background sync.
fn run(sequencer: Sequencer, lock: DirLock) -> Log {
    let shared = sequencer.shared.clone();
    let sequencing = spawn("sequencer", shared.clone(), move || {
        // The lock goes with the sequencer: nobody else may write before it is done.
        let _lock = lock;
        sequencer.run()
    });
    let syncer = shared.clone();
    let syncing = spawn("sync", shared.clone(), move || sync_in_background(&syncer));
    let mut threads = shared.threads.lock().unwrap_or_else(PoisonError::into_inner);
    threads.extend([sequencing, syncing]);
    drop(threads);
    Log(shared)
}

/// Runs a thread whose failure, or panic, ends the log.
fn spawn(
    name: &str,
    shared: Arc<Shared>,
    work: impl FnOnce() -> Result<(), Fatal> + Send + 'static,
) -> thread::JoinHandle<()> {
    let work = move || {
        let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(Fatal::Panicked));
        if let Err(fatal) = result {
            shared.fail(fatal);
        }
    };
    thread::Builder::new().name(name.into()).spawn(work).expect("the system can start a thread")
}

fn sync_in_background(shared: &Shared) -> Result<(), Fatal> {
    let mut synced = None;
    while shared.pool.is_open() {
        thread::park_timeout(SYNC_EVERY);
        let size = shared.view().head.size;
        if synced != Some(size) {
            shared.durable.store(shared.objects.sync()?, Ordering::Release);
            synced = Some(size);
        }
    }
    Ok(())
}
