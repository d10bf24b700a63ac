//! Making a log, and opening one. Start-up is the only recovery there is.

use std::{
    fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use jejak_proofs::{
    merkle::{
        BundleId, Frontier, HASH_LEN, Hash, Plan, TILE_WIDTH, TileId, TreeHead, entries, leaf_hash,
        prefix_len,
    },
    note::{
        Checkpoint, CheckpointError, Policy, PolicyError, SigningKey, UnverifiedCheckpoint,
        VerifierKey,
    },
    tally::{
        Body, ContestRegister, Entry, KeyBook, Ledger, Refusal, RegisterError, Sealed, UnitRegister,
    },
};
use tokio::sync::watch;

use super::{
    Log, ManifestInForce, Shared, derived,
    edge::{Edge, tile_root},
    integrate::integrate,
    pool::Pool,
    registers::Registers,
    sealed::SealedView,
    sequencer::{Fatal, Sequencer, Stats},
    view::{ReadError, View},
    window,
};
use crate::{
    clock,
    store::{
        DirLock, Journal, JournalOptions, LeafIndexError, ObjectId, Objects, Record, Replay,
        StoreError,
    },
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
}

impl Default for Options {
    fn default() -> Self {
        let journal = JournalOptions::default();
        Self { journal, read_only: false, seal_after: Some(SEAL_AFTER) }
    }
}

/// Why no log was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// The first entry is refused by the rules of the ledger.
    #[error("the manifest is refused ({code}): {0}", code = .0.code())]
    Refused(Refusal),
    /// A register is not in its one spelling.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// The manifest does not name the key that is to sign checkpoints.
    #[error("the manifest does not name this log key in `log_keys` for a tree of one entry")]
    LogKey,
    /// The directory holds a log already.
    #[error("{} holds a log already", .0.display())]
    Exists(PathBuf),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The first checkpoint could not be made.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
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
            Fatal::Mismatch(_) | Fatal::State | Fatal::Panicked => Self::Root { first: 0 },
        }
    }
}

/// Makes the log directory below `dir`, with the manifest as entry 0 and a first checkpoint.
/// Returns the genesis: the leaf hash of entry 0.
///
/// # Errors
/// Fails if the ledger refuses the manifest or if there is a log already.
pub fn create(
    dir: &Path,
    key: &SigningKey,
    manifest: &[u8],
    units: &[u8],
    contests: &[u8],
) -> Result<Hash, CreateError> {
    let log_dir = dir.join("log");
    if log_dir.join("journal").exists() {
        return Err(CreateError::Exists(log_dir));
    }
    judge_genesis(key, manifest, units, contests)?;
    // Syncs the names of the new directories as well.
    let mut journal = Journal::create(&log_dir.join("journal"), JournalOptions::default())?;
    let _lock = DirLock::acquire(&log_dir)?;
    let objects = Objects::open(&log_dir);
    objects.put_register(units)?;
    objects.put_register(contests)?;
    let genesis = leaf_hash(manifest);
    let entries = vec![Bytes::copy_from_slice(manifest)];
    let grown = integrate(&Edge::new(), &entries, &[genesis]);
    let record = Record { first: 0, time_ms: clock::now_ms(), head: grown.edge.head(), entries };
    journal.reserve(manifest.len() as u64 + 2)?;
    journal.append(&record)?;
    // Disk: entry 0 is committed.
    let checkpoint = Checkpoint::sign(record.head, key)?;
    objects.publish(record.head.size, grown.objects)?;
    objects.put_checkpoint(checkpoint.note().as_bytes())?;
    objects.sync()?;
    Ok(genesis)
}

/// Applies the manifest to an empty ledger, as every monitor will. Writes nothing.
///
/// # Errors
/// Fails if the ledger refuses it, or if it does not name this key of the log.
pub fn judge_genesis(
    key: &SigningKey,
    manifest: &[u8],
    units: &[u8],
    contests: &[u8],
) -> Result<(), CreateError> {
    let entry = Entry::parse(manifest).map_err(CreateError::Refused)?;
    let vkey = key.verifier().to_string();
    let named = matches!(entry.body(), Body::Manifest(manifest)
        if manifest.log_key_counts(&vkey, 1));
    let checked = entry.check(&KeyBook::new()).map_err(CreateError::Refused)?;
    let mut ledger = Ledger::new(key.name());
    ledger.provide_units(Arc::new(UnitRegister::parse(units)?));
    ledger.provide_contests(Arc::new(ContestRegister::parse(contests)?));
    ledger.apply(&checked).map_err(CreateError::Refused)?;
    if named { Ok(()) } else { Err(CreateError::LogKey) }
}

pub(super) fn open(dir: &Path, key: SigningKey, options: &Options) -> Result<Log, OpenError> {
    let (policy, policy_text) = read_policy(&dir.join("policy"))?;
    let log_key = key.verifier();
    let origin = key.name().to_owned();
    let pinned = policy.logs().any(|log| log.key == log_key).then(|| policy.genesis(&origin));
    let genesis = pinned.flatten().ok_or_else(|| OpenError::LogKey(log_key.to_string()))?;
    let log_dir = dir.join("log");
    let lock = match options.read_only {
        true => None,
        false => Some(DirLock::acquire(&log_dir)?),
    };

    let objects = Objects::open(&log_dir);
    let published = published_head(&objects, &policy)?;
    let journal_dir = log_dir.join("journal");
    let Verified { replay, edge, time_ms, genesis: found } =
        verify_journal(&journal_dir, &objects, published.as_ref(), options.read_only)?;
    if found != Some(genesis) {
        return Err(OpenError::Genesis);
    }
    // Everything so far only read. The journal is sound, or torn where a crash may tear it.
    let journal = match options.read_only {
        true => None,
        false => {
            let known = published.as_ref().map_or(0, |published| published.head.size);
            let known = known.max(objects.known_size()?);
            let journal = Journal::resume(replay, known, options.journal)?;
            objects.remove_leftovers()?;
            publish_again(&journal_dir, &objects)?;
            // Disk: the journal ends with its last committed record, and every full tile and
            // bundle that it covers is written (again).
            Some(journal)
        }
    };

    let published = published.map(|published| published.checkpoint);
    let checkpoint = match (&journal, &published) {
        // It does not leave memory before the manifest in force was asked about the key.
        (Some(_), _) => Checkpoint::sign(edge.head(), &key).map_err(OpenError::Checkpoint)?.into(),
        (None, Some(published)) => published.clone(),
        // Nothing to serve may be signed here.
        (None, None) => return Err(ReadError::Missing("checkpoint".to_owned()).into()),
    };
    let view = View::new(checkpoint, time_ms, edge);
    let opened = Opened { origin, log_dir, policy_text, log_key, objects, view, genesis };
    let ready = start(opened, key)?;
    if journal.is_some() {
        window::put_checkpoint(&ready.shared, &ready.ledger, published)?;
    }
    ready.run(journal, lock, options.seal_after)
}

fn read_policy(path: &Path) -> Result<(Policy, String), OpenError> {
    let text = fs::read_to_string(path)
        .map_err(|source| OpenError::Io { path: path.to_owned(), source })?;
    match Policy::parse(&text) {
        Ok(policy) => Ok((policy, text)),
        Err(source) => Err(OpenError::Policy { path: path.to_owned(), source }),
    }
}

/// What the file `checkpoint` says was published.
struct PublishedHead {
    head: TreeHead,
    checkpoint: UnverifiedCheckpoint,
}

fn published_head(objects: &Objects, policy: &Policy) -> Result<Option<PublishedHead>, OpenError> {
    let Some(bytes) = objects.checkpoint()? else { return Ok(None) };
    // A power cut may leave a file that was renamed and not synced empty or of zeros: no checkpoint
    // then, but the tiles still know what was published. Anything else in it is damage.
    if bytes.iter().all(|byte| *byte == 0) {
        tracing::warn!("the file `checkpoint` is empty, as after a power cut: making it again");
        return Ok(None);
    }
    let checkpoint = UnverifiedCheckpoint::parse(&bytes).map_err(OpenError::Checkpoint)?;
    let verified = policy.verify_log(checkpoint.clone()).map_err(OpenError::Checkpoint)?;
    Ok(Some(PublishedHead { head: verified.head(), checkpoint }))
}

/// A journal that was verified and not yet changed.
struct Verified {
    replay: Replay,
    /// The right edge at its end; for reading only, at the published checkpoint.
    edge: Edge,
    /// The time of the batch that ends there.
    time_ms: u64,
    /// Leaf hash of entry 0.
    genesis: Option<Hash>,
}

/// Replays the journal without writing: every record must lead to its own root, and the tree must
/// be the one that was published.
fn verify_journal(
    journal_dir: &Path,
    objects: &Objects,
    published: Option<&PublishedHead>,
    read_only: bool,
) -> Result<Verified, OpenError> {
    let replay = Replay::open(journal_dir)?;
    let edge = edge_at(replay.start(), objects)?;
    let (time_ms, genesis) = (replay.time_ms(), first_leaf(edge.size(), objects)?);
    let mut verified = Verified { replay, edge, time_ms, genesis };
    if let Some(old) = published.filter(|old| old.head.size < verified.edge.size()) {
        check_trimmed(old, &verified.edge, objects)?;
        if read_only {
            verified.edge = edge_at(old.head, objects)?;
            return Ok(verified);
        }
    }
    let published = published.map(|published| published.head);
    loop {
        let head = verified.edge.head();
        if published.is_some_and(|published| published.size == head.size && published != head) {
            return Err(OpenError::Fork { size: head.size });
        }
        if read_only && published == Some(head) {
            return Ok(verified);
        }
        let Some(record) = verified.replay.next_record()? else { break };
        verified.edge = grow(&verified.edge, &record)?.0;
        verified.time_ms = record.time_ms;
        if record.first == 0 {
            verified.genesis = record.entries.first().map(|entry| leaf_hash(entry));
        }
        // Only the end of a record is ever signed.
        let inside = |size| record.first < size && size < record.head.size;
        if let Some(size) = published.map(|head| head.size).filter(|size| inside(*size)) {
            return Err(OpenError::Fork { size });
        }
    }
    match published {
        // A journal that may be written to is compared with all that is known when it is resumed.
        Some(TreeHead { size: known, .. }) if read_only => {
            let (path, size) = (journal_dir.to_owned(), verified.edge.size());
            Err(StoreError::Rollback { path, size, known }.into())
        }
        _ => Ok(verified),
    }
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
    published: &PublishedHead,
    start: &Edge,
    objects: &Objects,
) -> Result<(), OpenError> {
    let PublishedHead { head: TreeHead { size, root }, checkpoint } = published;
    let damaged = || ReadError::Damaged(format!("a tile below entry {size}"));
    let view = View::new(checkpoint.clone(), 0, start.clone());
    let roots = view.prove(objects, &Plan::root(*size))?;
    let old = TreeHead { size: *size, root: *roots.first().ok_or_else(damaged)? };
    let plan = Plan::consistency(*size, view.head.size).map_err(|_| damaged())?;
    let proof = view.prove(objects, &plan)?;
    view.head.verify_consistency(&old, &proof).map_err(|_| damaged())?;
    if old.root == *root { Ok(()) } else { Err(OpenError::Fork { size: *size }) }
}

fn grow(edge: &Edge, record: &Record) -> Result<(Edge, Vec<super::edge::Object>), OpenError> {
    let leaves: Vec<Hash> = record.entries.iter().map(|entry| leaf_hash(entry)).collect();
    let grown = integrate(edge, &record.entries, &leaves);
    if grown.edge.head() != record.head {
        return Err(OpenError::Root { first: record.first });
    }
    Ok((grown.edge, grown.objects))
}

/// Writes every full tile and bundle that the journal covers, whether it is there or not: the
/// files may be from before a power cut.
fn publish_again(journal_dir: &Path, objects: &Objects) -> Result<(), OpenError> {
    let mut replay = Replay::open(journal_dir)?;
    let mut edge = edge_at(replay.start(), objects)?;
    objects.publish::<Vec<u8>>(edge.size(), [])?;
    while let Some(record) = replay.next_record()? {
        let (grown, full) = grow(&edge, &record)?;
        objects.publish(record.head.size, full)?;
        edge = grown;
    }
    Ok(())
}

/// The right edge of a tree out of full tiles and bundles alone. Where the journal was trimmed,
/// they hold all of it.
fn edge_at(head: TreeHead, objects: &Objects) -> Result<Edge, OpenError> {
    const WIDTH: u64 = TILE_WIDTH as u64;
    let mut levels = Vec::new();
    let mut peaks = Vec::new();
    for level in 0..8_u8 {
        let count = head.size >> (8 * level);
        let (index, width) = (count / WIDTH, (count % WIDTH) as usize);
        let hashes = match level {
            0 if width > 0 => tile_prefix(objects, index, width)?,
            0 => Vec::new(),
            _ => (count - width as u64..count)
                .map(|below| full_tile_root(objects, level - 1, below))
                .collect::<Result<_, _>>()?,
        };
        // A row of hashes has the same peaks whatever it is a row of.
        let mut row = Frontier::new();
        hashes.iter().for_each(|hash| row.push(*hash));
        peaks.splice(0..0, row.peaks().iter().copied());
        levels.push(hashes);
    }
    let bundle = bundle_prefix(objects, head.size)?;
    let damaged = || ReadError::Damaged(format!("a tile below entry {}", head.size));
    let frontier = Frontier::from_peaks(head.size, peaks).map_err(|_| damaged())?;
    let edge = Edge::from_parts(frontier, levels, bundle);
    if edge.head() == head { Ok(edge) } else { Err(damaged().into()) }
}

fn tile_prefix(objects: &Objects, index: u64, width: usize) -> Result<Vec<Hash>, OpenError> {
    let object = ObjectId::Tile { level: 0, index };
    let bytes = objects.read_range(object, 0, width * HASH_LEN)?;
    let bytes = bytes.ok_or_else(|| ReadError::Missing(object.path()))?;
    let (hashes, _) = bytes.as_chunks();
    Ok(hashes.iter().copied().map(Hash::new).collect())
}

fn full_tile_root(objects: &Objects, level: u8, index: u64) -> Result<Hash, OpenError> {
    let object = ObjectId::Tile { level, index };
    let bytes = objects.read(object)?.ok_or_else(|| ReadError::Missing(object.path()))?;
    Ok(tile_root(TileId::full(level, index), &bytes))
}

fn bundle_prefix(objects: &Objects, size: u64) -> Result<Vec<Bytes>, OpenError> {
    let (index, width) = (size / u64::from(TILE_WIDTH), (size % u64::from(TILE_WIDTH)) as u16);
    if width == 0 {
        return Ok(Vec::new());
    }
    let object = ObjectId::Bundle { index };
    let bytes = objects.read(object)?.ok_or_else(|| ReadError::Missing(object.path()))?;
    let damaged = || ReadError::Damaged(BundleId { index, width }.path());
    let len = prefix_len(&bytes, width).map_err(|_| damaged())?;
    let bytes = Bytes::from(bytes).slice(..len);
    let all = entries(&bytes).map_err(|_| damaged())?;
    Ok(all.into_iter().map(|entry| bytes.slice_ref(entry)).collect())
}

/// A log whose files are sound, before its derived state is.
struct Opened {
    origin: String,
    log_dir: PathBuf,
    policy_text: String,
    log_key: VerifierKey,
    objects: Objects,
    view: View,
    genesis: Hash,
}

/// A log whose derived state is there, before its threads run.
struct Ready {
    shared: Arc<Shared>,
    ledger: Ledger,
    snapshot: u64,
    key: SigningKey,
}

/// Rebuilds derived state out of files and snapshot.
fn start(opened: Opened, key: SigningKey) -> Result<Ready, OpenError> {
    let Opened { origin, log_dir, policy_text, log_key, objects, view, genesis } = opened;
    let (ledger, from_snapshot) = derived::ledger(&log_dir, &origin, &view, &objects)?;
    if ledger.genesis() != Some(genesis) {
        return Err(OpenError::Genesis);
    }
    let election = ledger.election().ok_or(OpenError::Genesis)?;
    let entry = view.entry(&objects, election.index)?;
    let manifest = entry
        .and_then(|entry| Entry::parse(&entry).ok())
        .and_then(|entry| ManifestInForce::of(election.index, &entry))
        .ok_or(OpenError::OwnEntry { index: election.index })?;
    let leaves = derived::leaf_table(&view, &objects)?;
    let keys = ledger.keys().clone();
    // A key that begins with a later size does not sign what the one before it signed.
    let vkey = log_key.to_string();
    let signs = |state: &Arc<Sealed>| election.manifest.log_key_counts(&vkey, state.state.size + 1);
    let sealed = ledger.sealed().filter(|state| signs(state));
    let sealed = sealed.map(|state| sealed_view(state, &view, &objects, &key)).transpose()?;
    let shared = Arc::new(Shared {
        origin,
        dir: log_dir,
        policy_text,
        log_key,
        objects,
        registers: Registers::default(),
        pool: Pool::default(),
        sealed: RwLock::new(sealed.map(Arc::new)),
        view: RwLock::new(Arc::new(view)),
        leaves: RwLock::new(leaves),
        keys: RwLock::new(keys),
        manifest: RwLock::new(manifest),
        stats: Mutex::new(Stats::default()),
        has_room: AtomicBool::new(true),
        key_ended: AtomicBool::new(false),
        durable: AtomicU64::new(0),
        fatal: watch::Sender::new(None),
        threads: Mutex::default(),
        read_only: false,
    });
    let snapshot = if from_snapshot { ledger.size() } else { 0 };
    Ok(Ready { shared, ledger, snapshot, key })
}

impl Ready {
    /// Starts the sequencer and the background sync; without a journal, neither.
    fn run(
        self,
        journal: Option<Journal>,
        lock: Option<DirLock>,
        seal_after: Option<Duration>,
    ) -> Result<Log, OpenError> {
        let Self { mut shared, ledger, snapshot, key } = self;
        let (Some(journal), Some(lock)) = (journal, lock) else {
            if let Some(shared) = Arc::get_mut(&mut shared) {
                shared.read_only = true;
            }
            return Ok(Log(shared));
        };
        let unsealed_since = (ledger.unsealed() > 0).then(Instant::now);
        let never = ledger.sealed().is_none();
        let (no_room, vkey) = (None, shared.log_key.to_string());
        let mut sequencer = Sequencer {
            shared: shared.clone(),
            ledger,
            journal,
            key,
            snapshot,
            no_room,
            vkey,
            seal_after,
            unsealed_since,
        };
        sequencer.look_for_room(0);
        if never {
            // A new log: from its first answer on there is a sealed tree.
            sequencer.seal()?;
        }
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
        Ok(Log(shared))
    }
}

/// The tree that ends in the newest state, under the checkpoint that was signed for it: it is the
/// end of a record, and signatures are deterministic.
fn sealed_view(
    state: &Arc<Sealed>,
    view: &View,
    objects: &Objects,
    key: &SigningKey,
) -> Result<SealedView, OpenError> {
    let size = state.state.size + 1;
    if size == view.head.size {
        return Ok(SealedView::new(view, state.clone()));
    }
    let roots = view.prove(objects, &Plan::root(size))?;
    let root = *roots.first().ok_or_else(|| ReadError::Damaged("the tree".to_owned()))?;
    let head = TreeHead { size, root };
    let checkpoint = Checkpoint::sign(head, key).map_err(OpenError::Checkpoint)?.into();
    Ok(SealedView::older(checkpoint, head, view.time_ms, state.clone()))
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
            tracing::error!(log = shared.origin, cause = %fatal, "the log has stopped");
            // Closed first: whoever is told that the log has stopped finds it so.
            shared.pool.abandon();
            // The first cause stays: what fails after it fails because of it.
            shared.fatal.send_modify(|first| {
                first.get_or_insert_with(|| Arc::new(fatal));
            });
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
