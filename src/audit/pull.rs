//! Pulling a copy of a log from a source that is not believed.
//!
//! The order keeps it honest. A head comes first: signed by the log, and consistent with the head
//! of the copy that is there. Then its right edge, which must lead to the signed root; then full
//! tiles from the top down, each compared with its place in the tile above; then bundles, each
//! compared with the tile of its leaf hashes; then the registers that the manifests among them
//! name. Nothing gets a name before it was compared, and everything is synced before
//! [`Pull::fill`] returns. So whatever a source says, and whenever the process is killed, what is
//! there is right, and what is there need not be fetched again.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use jejak_proofs::{
    evidence::Evidence,
    merkle::{
        BundleId, HASH_LEN, Hash, Plan, TILE_LEVELS, TILE_WIDTH, TileId, TreeHead, parse_bundle,
        prefix_roots,
    },
    note::{
        Checkpoint, CheckpointError, CheckpointFault, NOTE_LEN_MAX, Policy, UnverifiedCheckpoint,
    },
    tally::{Body, Entry},
};

use super::{
    CHECKPOINT, extras,
    replica::{Damaged, Replica, is_below, is_bundle},
    sink::Sink,
    tree::{WIDTH, edge_of},
};
use crate::{
    client::source::{self, ServeError, Source, SourceError, get_all},
    store::{Directory, StoreError},
};

/// Files between two looks at whether to stop.
const AT_ONCE: usize = 64;

/// How the entry begins that names registers.
const MANIFEST: &[u8] = b"jejak/manifest/";

/// Why nothing was pulled. The copy is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PullError {
    /// No answer: accuse no one.
    #[error("the source cannot be reached: {0}")]
    Unreachable(SourceError),
    /// What answers shows no checkpoint of this log: accuse no one.
    #[error("the source does not show the log: {0}")]
    NotTheLog(String),
    /// A checkpoint that the log did not sign.
    #[error("{0}")]
    Signature(CheckpointError),
    /// A head that the log signed and that contradicts the one of the copy.
    #[error("FORK: the log signed two histories")]
    Fork(Box<Evidence>),
    /// A head that the log signed and that is older than the one of the copy.
    #[error("ROLLBACK: {size} entries were signed before, {} are shown now", shown.head().size)]
    Rollback {
        /// Entries of the copy.
        size: u64,
        /// What is shown.
        shown: Box<Checkpoint>,
    },
    /// The tree that the log signed does not begin with the entry that the policy pins.
    #[error("the leaf hash of entry 0 is {0}, not the genesis that the policy pins")]
    Genesis(Hash),
    /// Something that the signed head covers is missing at the source, or is not what it covers:
    /// the log's doing, or that of whatever is between.
    #[error("the source does not serve what the signed head of {size} entries covers: {file}")]
    Withheld {
        /// Entries of the head.
        size: u64,
        /// The file, and what is wrong with it.
        file: String,
    },
    /// A file of the copy that was needed for a judgement is damaged.
    #[error("the copy: {0}")]
    Damaged(#[from] Damaged),
    /// The copy could not be written; after a failed sync nobody knows what is durable.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Told to stop.
    #[error("stopped")]
    Stopped,
}

/// What a pull did.
#[derive(Debug)]
pub struct Pulled {
    /// The copy, durable, under the head that was pulled. Its checkpoint is not written yet.
    pub replica: Replica,
    /// Files that were fetched and written.
    pub written: u64,
    /// Files that were there already.
    pub kept: u64,
}

/// A pull of one log into one directory.
#[derive(Debug)]
pub struct Pull<'a, S> {
    /// Where from.
    pub source: &'a S,
    /// Where to.
    pub files: &'a Arc<Directory>,
    /// The log's keys and genesis.
    pub policy: &'a Policy,
    /// The log.
    pub origin: &'a str,
    /// Once true, the pull ends after what it is doing now.
    pub stop: &'a AtomicBool,
}

impl<S: Source> Pull<'_, S> {
    /// The checkpoint that the source shows: signed by the log, and not contradicting `known`. The
    /// quorum of the policy is not looked at.
    ///
    /// # Errors
    /// As [`PullError`] says.
    pub fn head(&self, known: Option<&Replica>) -> Result<Checkpoint, PullError> {
        let bytes = match self.source.get(CHECKPOINT, NOTE_LEN_MAX as u64) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Err(PullError::NotTheLog("it has no checkpoint".to_owned())),
            Err(error @ SourceError::TooLong { .. }) => {
                return Err(PullError::NotTheLog(error.to_string()));
            }
            Err(error) => return Err(PullError::Unreachable(error)),
        };
        let shown = UnverifiedCheckpoint::parse(&bytes)
            .map_err(|error| PullError::NotTheLog(error.to_string()))?;
        if shown.origin() != self.origin {
            return Err(PullError::NotTheLog("its checkpoint is that of another log".to_owned()));
        }
        let shown = self.policy.verify_log(shown).map_err(|error| match error.fault() {
            CheckpointFault::Malformed => PullError::NotTheLog(error.to_string()),
            _ => PullError::Signature(error),
        })?;
        if let Some(known) = known {
            self.compare(known, &shown)?;
        }
        Ok(shown)
    }

    /// Refuses a head that is older than the copy, or of another history.
    fn compare(&self, known: &Replica, shown: &Checkpoint) -> Result<(), PullError> {
        let (old, new) = (known.head(), shown.head());
        if new.size == old.size {
            let evidence = || Evidence::two_roots(known.checkpoint(), shown);
            return if new.root == old.root {
                Ok(())
            } else {
                Err(self.convicted(evidence(), shown))
            };
        }
        if new.size < old.size {
            if new.size == 0 || known.root_at(new.size)? == new.root {
                let shown = Box::new(shown.clone());
                return Err(PullError::Rollback { size: old.size, shown });
            }
            let plan = Plan::prefix(new.size, old.size).expect("0 < new < old");
            let hashes = known.combine(&plan)?;
            let evidence = Evidence::inconsistent(shown, known.checkpoint(), hashes);
            return Err(self.convicted(evidence, shown));
        }
        let Ok(plan) = Plan::prefix(old.size, new.size) else { return Ok(()) };
        let hashes = source::combine(self.source, &plan, new.size).map_err(of_serve(new))?;
        match prefix_roots(old.size, new.size, &hashes) {
            Ok(roots) if roots == (old.root, new.root) => Ok(()),
            _ => {
                let evidence = Evidence::inconsistent(known.checkpoint(), shown, hashes);
                Err(self.convicted(evidence, shown))
            }
        }
    }

    /// A fork, if that is what the evidence proves: hashes of the source may be rubbish.
    fn convicted(&self, evidence: Evidence, shown: &Checkpoint) -> PullError {
        match evidence.verify_under(self.policy) {
            Ok(_) => PullError::Fork(Box::new(evidence)),
            Err(error) => {
                withheld(shown.head(), format!("the proof that it extends the copy ({error})"))
            }
        }
    }

    /// Makes everything of the tree under `checkpoint` durable. What the tree of `known` entries
    /// has not is looked at, and fetched unless it is there; what the tree of `durable` entries has
    /// is known to be synced.
    ///
    /// `known` and `durable` are one number where a copy grows. To find what is damaged in the copy
    /// of a head, `known` is 0 and `durable` the size of that head.
    ///
    /// # Errors
    /// As [`PullError`] says.
    pub fn fill(
        &self,
        checkpoint: Checkpoint,
        known: u64,
        durable: u64,
    ) -> Result<Pulled, PullError> {
        let filling = Filling {
            pull: self,
            sink: Sink::new(self.files),
            head: checkpoint.head(),
            replica: self.edge(checkpoint)?,
            durable,
            manifests: Mutex::default(),
        };
        filling.run(known)?;
        // Disk: everything that the head covers is there. Only now may anyone hear of it.
        self.files.sync()?;
        let (written, kept) = filling.sink.counts();
        Ok(Pulled { replica: filling.replica, written, kept })
    }

    /// The right edge, from disk or from the source.
    fn edge(&self, checkpoint: Checkpoint) -> Result<Replica, PullError> {
        if let Some(replica) = Replica::open(self.files, checkpoint.clone()) {
            return Ok(replica);
        }
        let head = checkpoint.head();
        let edge = get_all(&edge_of(head.size), |id| source::tile(self.source, id));
        Replica::new(self.files, checkpoint, edge.map_err(of_serve(head))?)
            .ok_or_else(|| withheld(head, "the right edge does not lead to the root"))
    }
}

/// A pull whose right edge is known.
struct Filling<'a, S> {
    pull: &'a Pull<'a, S>,
    sink: Sink<'a>,
    head: TreeHead,
    replica: Replica,
    durable: u64,
    manifests: Mutex<BTreeMap<u64, Entry>>,
}

impl<S: Source> Filling<'_, S> {
    fn run(&self, known: u64) -> Result<(), PullError> {
        let size = self.head.size;
        // A tile is compared with the one above it, so that must be there. A log may sign a size
        // that no list of files fits in memory: the first that is missing must end it.
        for level in (0..TILE_LEVELS).rev() {
            let tiles = TileId::of_level(level, known, size);
            self.each(tiles.filter(|id| id.width == TILE_WIDTH), |id| self.tile(id))?;
        }
        if known == 0 && size > 0 {
            let first = self.replica.row(0, 0)?[0];
            if self.pull.policy.genesis(self.pull.origin).is_some_and(|pinned| pinned != first) {
                return Err(PullError::Genesis(first));
            }
        }
        self.each(BundleId::of_tree(known, size), |id| self.bundle(id))?;
        let manifests = self.manifests.lock().unwrap_or_else(PoisonError::into_inner);
        for (hash, len) in extras::registers(&manifests) {
            self.register(&hash, len)?;
        }
        for tile in self.replica.edge() {
            let bytes: Vec<u8> = tile.hashes().iter().flat_map(|hash| *hash.as_bytes()).collect();
            self.sink.put(&tile.id().path(), &bytes, WIDTH * HASH_LEN as u64)?;
        }
        Ok(())
    }

    /// Does many things, several at once.
    fn each<I: Copy + Sync>(
        &self,
        ids: impl Iterator<Item = I>,
        one: impl Fn(I) -> Result<(), PullError> + Sync,
    ) -> Result<(), PullError> {
        let mut ids = ids.peekable();
        while ids.peek().is_some() {
            if self.pull.stop.load(Ordering::Relaxed) {
                return Err(PullError::Stopped);
            }
            let group: Vec<I> = ids.by_ref().take(AT_ONCE).collect();
            get_all(&group, &one)?;
        }
        Ok(())
    }

    /// A file that is there as it must be.
    fn keep(&self, end: u64, path: &str) {
        match end <= self.durable {
            true => self.sink.count(),
            false => self.sink.keep(path),
        }
    }

    /// A full tile.
    fn tile(&self, id: TileId) -> Result<(), PullError> {
        if self.replica.row(id.level, id.index).is_ok() {
            // A tile of level 8 would be the first whose entries are too many to count.
            let end = (id.index + 1) << (8 * (u32::from(id.level) + 1));
            self.keep(end, &id.path());
            return Ok(());
        }
        let tile = source::tile(self.pull.source, id).map_err(of_serve(self.head))?;
        if !is_below(&tile, Some(self.replica.above(id)?)) {
            return Err(withheld(self.head, id.path()));
        }
        let bytes: Vec<u8> = tile.hashes().iter().flat_map(|hash| *hash.as_bytes()).collect();
        Ok(self.sink.write(&id.path(), &bytes)?)
    }

    fn bundle(&self, id: BundleId) -> Result<(), PullError> {
        let first = id.index * WIDTH;
        if let Ok(Some(bytes)) = self.replica.bundle(id) {
            self.note_manifests(id, &bytes);
            self.keep(first + u64::from(id.width), &id.path());
            return Ok(());
        }
        let bytes = source::bundle(self.pull.source, id).map_err(of_serve(self.head))?.bytes;
        if !is_bundle(id, &bytes, &self.replica.row(0, id.index)?) {
            return Err(withheld(self.head, id.path()));
        }
        self.note_manifests(id, &bytes);
        Ok(self.sink.write(&id.path(), &bytes)?)
    }

    /// Remembers the manifests of a bundle: they name registers.
    fn note_manifests(&self, id: BundleId, bytes: &[u8]) {
        let entries = parse_bundle(id, bytes).unwrap_or_default();
        for (index, bytes) in (id.index * WIDTH..).zip(entries) {
            if bytes.starts_with(MANIFEST)
                && let Ok(entry) = Entry::parse(bytes)
                && matches!(entry.body(), Body::Manifest(_))
            {
                let mut manifests = self.manifests.lock().unwrap_or_else(PoisonError::into_inner);
                manifests.insert(index, entry);
            }
        }
    }

    fn register(&self, hash: &Hash, len: u64) -> Result<(), PullError> {
        let path = extras::register_path(hash);
        if let Ok(Some(_)) = self.replica.register(hash) {
            self.keep(u64::MAX, &path);
            return Ok(());
        }
        let got = source::file(self.pull.source, path.clone(), len, hash);
        let bytes = got.map_err(of_serve(self.head))?;
        Ok(self.sink.write(&path, &bytes)?)
    }
}

/// What it means that a file of the tree of `head` did not arrive.
fn of_serve(head: TreeHead) -> impl Fn(ServeError) -> PullError {
    move |error| match error {
        ServeError::Unreachable(error) => PullError::Unreachable(error),
        error => withheld(head, error.to_string()),
    }
}

fn withheld(head: TreeHead, file: impl Into<String>) -> PullError {
    PullError::Withheld { size: head.size, file: file.into() }
}
