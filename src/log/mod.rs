//! One log: submit, sequence, integrate, publish.
//!
//! A [`Log`] is a cheap handle. Requests check entries on worker threads (`admission`) and put
//! them into the pool (`pool`); one thread, the sequencer, takes everything that waits, makes a
//! batch durable and publishes it (`sequencer`); then each request builds its own answer out of
//! the published [`View`]. Reads use the newest view and files, and never wait for the writer.

mod admission;
mod answer;
mod checked;
mod create;
mod derived;
mod description;
mod edge;
mod endorse;
mod integrate;
mod pool;
mod read_only;
mod rebuild;
mod recovery;
mod refuser;
mod registers;
mod sealed;
mod sequencer;
mod signers;
mod view;
mod window;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

use bytes::Bytes;
use jejak_proofs::{
    merkle::{BundleId, Hash, Plan, TileId, TreeHead, leaf_hash},
    note::{Policy, Receipt, UnverifiedCheckpoint},
    tally::KeyBook,
};
use tokio::sync::{oneshot, watch};

pub use jejak_proofs::tally::ChainHead;

use self::{
    answer::Sequenced,
    endorse::Endorsement,
    pool::{Pool, Submission},
    recovery::Without,
    refuser::Refuser,
    registers::Registers,
    sequencer::Stats,
    view::View,
};
pub use self::{
    answer::{BatchItem, BatchLogged, Logged, Rejection, SubmitError},
    create::{CreateError, create, judge_genesis},
    description::{Description, Limits, ManifestInForce},
    edge::Edge,
    endorse::{ENDORSE_EVERY, Standing},
    integrate::{Integrated, Mismatch, integrate, verify},
    pool::{POOL_BYTES_MAX, POOL_ENTRIES_MAX, TAKE_BYTES_MAX, TAKE_ENTRIES_MAX},
    recovery::{OpenError, Options, SEAL_AFTER},
    sealed::SealedView,
    sequencer::Fatal,
    signers::LogKeys,
    view::{ReadError, View as Published},
};
use crate::store::{FRAME_LEN, LeafTable, Objects};

/// Most entries of one batch request.
pub const BATCH_ENTRIES_MAX: usize = 1_000;
/// Most bytes of one batch request, framing included.
pub const BATCH_BYTES_MAX: usize = 4 << 20;

/// A running log. Clones share it.
#[derive(Clone)]
pub struct Log(Arc<Shared>);

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Log").field(&self.origin()).finish()
    }
}

/// What requests and the sequencer share.
struct Shared {
    origin: String,
    dir: PathBuf,
    policy_text: String,
    objects: Objects,
    registers: Registers,
    pool: Pool,
    /// The newest published tree. Replaced by the sequencer alone, after the commit.
    view: RwLock<Arc<View>>,
    /// The newest sealed tree and the newest one that is witnessed, never larger than `view`.
    endorsement: Endorsement,
    /// Leaf hash to index, for every entry of `view`. Written by the sequencer alone.
    leaves: RwLock<LeafTable>,
    /// Every key that an entry of `view` mandated. Written by the sequencer alone.
    keys: RwLock<KeyBook>,
    /// The manifest in force: index of its entry, and what `log.json` says about it. Always known
    /// where a sequencer runs.
    manifest: RwLock<Option<ManifestInForce>>,
    /// Signs refusals.
    refuser: Refuser,
    stats: Mutex<Stats>,
    /// Whether entries found room on disk when that was last asked. Written by the sequencer alone.
    has_room: AtomicBool,
    /// Whether an entry was refused because the log's key may not sign the tree that it makes.
    key_ended: AtomicBool,
    /// Size up to which full tiles and bundles are durable.
    durable: AtomicU64,
    /// Set once, when the log stopped for good and must not go on.
    fatal: watch::Sender<Option<Arc<Fatal>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    without: Without,
}

/// How a log is doing.
#[derive(Clone, Debug)]
pub struct Status {
    /// Entries in the published tree.
    pub size: u64,
    /// Entries in the newest sealed tree.
    pub sealed: u64,
    /// Entries in the sealed tree that `checkpoint` serves.
    pub served: u64,
    /// Milliseconds since the newest time for which those whom the policy asks vouch for what
    /// `checkpoint` serves; `None` if nobody does.
    pub vouched_age_ms: Option<u64>,
    /// Whether entries wait until the witnesses have said that they know of no newer head.
    pub held: bool,
    /// The witnesses of the policy.
    pub witnesses: Vec<(String, Standing)>,
    /// Clock reading of the newest batch, in milliseconds since 1970.
    pub time_ms: u64,
    /// Milliseconds since the newest checkpoint was made.
    pub checkpoint_age_ms: u64,
    /// Entries that wait for a batch.
    pub queue: u64,
    /// Whether submissions are taken.
    pub accepting: bool,
    /// How many batches of which size: (entries at most, batches), the last one without bound.
    pub batch_sizes: Vec<(u64, u64)>,
    /// Entries in all batches since the start.
    pub batched: u64,
}

impl Log {
    /// Opens the log in `dir` and starts its sequencer. Start-up is the only recovery.
    ///
    /// # Errors
    /// Fails, without having changed anything, if the directory is not the sound directory of one
    /// log, is in use, or ends before what was published.
    pub fn open(
        dir: &Path,
        keys: impl Into<LogKeys>,
        options: &Options,
    ) -> Result<Self, OpenError> {
        match options.read_only {
            true => Self::open_read_only(dir),
            false => recovery::open(dir, keys.into(), options),
        }
    }

    /// Opens the log in `dir` to serve what verifies, also where start-up would refuse the
    /// directory. Writes and signs nothing. What could not be rebuilt is an error where it is
    /// asked for, and everything is checked as it is read.
    ///
    /// # Errors
    /// Fails without a policy, and without a checkpoint that this verifies.
    pub fn open_read_only(dir: &Path) -> Result<Self, OpenError> {
        read_only::open(dir)
    }

    /// The name in URLs: the last element of the origin.
    pub fn name(&self) -> &str {
        let origin = self.origin();
        origin.rsplit_once('/').map_or(origin, |(_, name)| name)
    }

    /// The origin: the name of the log in its checkpoints.
    pub fn origin(&self) -> &str {
        &self.0.origin
    }

    /// Submits one entry, and answers once a published checkpoint covers it.
    ///
    /// # Errors
    /// Fails if the log refuses the entry, or cannot take any.
    pub async fn submit(&self, entry: Bytes) -> Result<Logged, SubmitError> {
        let bytes = entry.clone();
        let Sequenced { results, view } = self.sequence(vec![entry]).await?;
        let item = match results.into_iter().next().ok_or(SubmitError::Unavailable)? {
            Ok(item) => item,
            Err(rejection) => return Err(self.signed(bytes, rejection, view).await),
        };
        let BatchItem { index, leaf, flags, new } = item;
        let plan = Plan::inclusion(view.head.size, index);
        let receipt = self
            .off_reactor(view, plan.as_ref().ok(), move |log, view| {
                log.receipt_under(view, (&view.checkpoint, view.head), index, Some(leaf))
            })
            .await?
            .ok_or(SubmitError::Unavailable)?;
        Ok(Logged { index, leaf, flags, new, receipt: receipt.to_string() })
    }

    /// Submits a batch. Each entry stands or falls by itself; one proof covers all that stand.
    ///
    /// # Errors
    /// Fails if nothing was judged, also with `too_large` over [`BATCH_ENTRIES_MAX`] or
    /// [`BATCH_BYTES_MAX`].
    pub async fn submit_batch(&self, entries: Vec<Bytes>) -> Result<BatchLogged, SubmitError> {
        let framed_len: usize = entries.iter().map(|entry| entry.len() + FRAME_LEN).sum();
        if entries.len() > BATCH_ENTRIES_MAX || framed_len > BATCH_BYTES_MAX {
            return Err(SubmitError::Rejected(Rejection::batch_too_large()));
        }
        let Sequenced { results, view } = self.sequence(entries).await?;
        let logged = results.iter().filter_map(|result| result.as_ref().ok());
        let mut leaves: Vec<(u64, Hash)> = logged.map(|item| (item.index, item.leaf)).collect();
        leaves.sort_unstable();
        leaves.dedup();
        let indexes: Vec<u64> = leaves.iter().map(|(index, _)| *index).collect();
        let plan = Plan::batch(view.head.size, &indexes);
        let hashes = self
            .off_reactor(view.clone(), plan.as_ref().ok(), move |log, view| {
                log.compact_proof(view, &leaves)
            })
            .await?;
        Ok(BatchLogged { results, checkpoint: view.note.clone(), indexes, hashes })
    }

    /// Proves out of `view`, here if the tiles of `plan` are in memory, as those of the newest
    /// entries are; else on a thread that may wait for a disk.
    async fn off_reactor<T: Send + 'static>(
        &self,
        view: Arc<View>,
        plan: Option<&Plan>,
        prove: impl FnOnce(&Self, &View) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, SubmitError> {
        let proof = match plan.is_some_and(|plan| view.has_in_memory(plan)) {
            true => prove(self, &view),
            false => {
                let log = self.clone();
                let proving = tokio::task::spawn_blocking(move || prove(&log, &view));
                proving.await.map_err(|_| SubmitError::Unavailable)?
            }
        };
        proof.map_err(|error| self.unavailable(&error))
    }

    /// A compact proof that was verified: no answer leaves that its reader would refuse.
    fn compact_proof(&self, view: &View, leaves: &[(u64, Hash)]) -> Result<Vec<Hash>, ReadError> {
        if leaves.is_empty() {
            return Ok(Vec::new());
        }
        let proof = view.batch(&self.0.objects, view.head.size, leaves)?;
        proof.ok_or_else(|| ReadError::Damaged("the tree above these entries".to_owned()))
    }

    async fn sequence(&self, entries: Vec<Bytes>) -> Result<Sequenced, SubmitError> {
        if self.0.without.writer {
            return Err(SubmitError::Unavailable);
        }
        let candidates = admission::check(self.0.clone(), entries).await?;
        let (answer, receiver) = oneshot::channel();
        let submission = Submission { candidates, answer };
        // What is logged, and what is no entry, is answered as ever.
        if self.is_held() && submission.needs_room() {
            return Err(SubmitError::Unavailable);
        }
        self.0.pool.push(submission)?;
        receiver.await.unwrap_or(Err(SubmitError::Unavailable))
    }

    fn unavailable(&self, cause: &ReadError) -> SubmitError {
        // The entry is logged and durable; only its proof could not be read. A resend gets it.
        tracing::error!(log = self.name(), %cause, "no receipt for a logged entry");
        SubmitError::Unavailable
    }

    /// The newest published tree.
    pub fn published(&self) -> Arc<Published> {
        self.0.view()
    }

    /// What `GET checkpoint` serves: the newest witnessed sealed tree, or the newest sealed one
    /// where the policy asks for no witness, or none has cosigned yet.
    pub fn served(&self) -> Arc<SealedView> {
        let served = self.0.endorsement.served();
        served.unwrap_or_else(|| Arc::new(SealedView::unsealed(&self.0.view())))
    }

    /// The newest sealed tree whose recap is here, and it is the one that is served, unless the
    /// log was started since that was sealed.
    pub fn recapped(&self) -> Arc<SealedView> {
        let served = self.served();
        match self.0.endorsement.signed() {
            Some(sealed) if !served.has_recap() => sealed,
            _ => served,
        }
    }

    /// The newest sealed tree, signed by the log: what witnesses are asked to cosign. A new value
    /// comes when one is sealed, and every [`ENDORSE_EVERY`].
    pub fn to_cosign(&self) -> watch::Receiver<Option<Arc<SealedView>>> {
        self.0.endorsement.to_cosign()
    }

    /// Hands in the cosignature lines of a sealed tree. Once they make the policy's quorum it is
    /// what [`Log::served`] returns, unless that is larger. Returns whether they do. For one caller
    /// at a time.
    ///
    /// # Errors
    /// Fails if a line does not verify, or with what ends the log.
    pub fn cosigned<L: AsRef<str>>(
        &self,
        view: &SealedView,
        lines: &[L],
    ) -> Result<bool, Arc<Fatal>> {
        let result = self.0.endorsement.cosign(view, lines, &self.0.objects);
        result.map_err(|fatal| self.0.fail(fatal))
    }

    /// Waits until [`Log::served`] covers the entry at `index`, under the policy's quorum.
    pub async fn witnessed(&self, index: u64) {
        let covers = |view: &Option<Arc<SealedView>>| {
            view.as_ref().is_some_and(|view| view.head.size > index && view.vouched.is_some())
        };
        let mut served = self.0.endorsement.subscribe();
        if served.wait_for(covers).await.is_err() {
            // The sender lives in `self`.
            std::future::pending::<()>().await;
        }
    }

    /// Whether entries wait until [`Log::release`].
    pub fn is_held(&self) -> bool {
        self.0.endorsement.is_held()
    }

    /// Takes entries from now on: the witnesses know of no head beyond this log's.
    pub fn release(&self) {
        self.0.endorsement.release();
    }

    /// The log must not go on.
    pub fn stop(&self, fatal: Fatal) {
        self.0.fail(fatal);
    }

    /// Keeps what a witness answered, for [`Log::status`].
    pub fn note_witness(&self, name: &str, change: impl FnOnce(&mut Standing)) {
        self.0.endorsement.note(name, change);
    }

    /// The policy in the log's directory.
    pub fn policy(&self) -> &Policy {
        self.0.endorsement.policy()
    }

    /// The recap proof of a unit under [`Log::recapped`], and the size of that; `None`
    /// if there is no such contest, or the unit takes no part in it.
    ///
    /// # Errors
    /// Fails if the store does.
    pub fn recap_proof(
        &self,
        contest: &str,
        unit: &str,
    ) -> Result<Option<(u64, String)>, ReadError> {
        let sealed = self.recapped();
        let Some((index, leaf)) = sealed.state_entry() else { return Ok(None) };
        let under = (&sealed.checkpoint, sealed.head);
        let receipt = self.receipt_under(&self.0.view(), under, index, Some(leaf))?;
        let proof = receipt.and_then(|receipt| sealed.prove(contest, unit, receipt));
        Ok(proof.map(|proof| (sealed.head.size, proof)))
    }

    /// A tile of any width up to what the published tree has; `None` beyond.
    ///
    /// # Errors
    /// Fails if the store does, as all reads below.
    pub fn tile(&self, id: TileId) -> Result<Option<Vec<u8>>, ReadError> {
        self.0.view().tile(&self.0.objects, id)
    }

    /// A bundle of any width up to what the published tree has; `None` beyond.
    pub fn bundle(&self, id: BundleId) -> Result<Option<Vec<u8>>, ReadError> {
        self.0.view().bundle(&self.0.objects, id)
    }

    /// The most bytes that reading this bundle takes in memory; 0 beyond the published tree.
    pub fn bundle_memory(&self, id: BundleId) -> Result<u64, ReadError> {
        self.0.view().bundle_memory(&self.0.objects, id)
    }

    /// The bytes of an entry; `None` beyond the published tree.
    pub fn entry(&self, index: u64) -> Result<Option<Bytes>, ReadError> {
        self.0.view().entry(&self.0.objects, index)
    }

    /// The index of the entry with this leaf hash.
    pub fn index_of(&self, leaf: &Hash) -> Result<Option<u64>, ReadError> {
        self.0.index_of(leaf)
    }

    /// An inclusion proof in the tree of `size` entries; `None` beyond the published tree.
    pub fn inclusion(&self, size: u64, index: u64) -> Result<Option<Vec<Hash>>, ReadError> {
        let view = self.0.view();
        match view.leaf(&self.0.objects, index)? {
            Some(leaf) => view.inclusion(&self.0.objects, size, index, leaf),
            None => Ok(None),
        }
    }

    /// The root of the tree of the first `size` entries; `None` beyond the published tree.
    pub fn root(&self, size: u64) -> Result<Option<Hash>, ReadError> {
        let view = self.0.view();
        if size > view.head.size {
            return Ok(None);
        }
        Ok(view.prove(&self.0.objects, &Plan::root(size))?.first().copied())
    }

    /// A consistency proof; `None` beyond the published tree.
    pub fn consistency(&self, old: u64, new: u64) -> Result<Option<Vec<Hash>>, ReadError> {
        self.0.view().consistency(&self.0.objects, old, new)
    }

    /// One compact proof for several entries; `None` beyond the published tree.
    pub fn batch_proof(&self, size: u64, indexes: &[u64]) -> Result<Option<Vec<Hash>>, ReadError> {
        let view = self.0.view();
        if indexes.iter().any(|index| *index >= view.head.size) {
            return Ok(None);
        }
        let leaves = view.leaves(&self.0.objects, indexes)?;
        view.batch(&self.0.objects, size, &leaves)
    }

    /// A `.tlog-proof` of the entry under [`Log::served`], or under the newest checkpoint if that
    /// does not cover it; `None` beyond the tree.
    pub fn receipt(&self, index: u64) -> Result<Option<String>, ReadError> {
        // Read in this order, the sealed tree is never larger than the view.
        let served = self.served();
        let view = self.0.view();
        let under = match index < served.head.size {
            true => (&served.checkpoint, served.head),
            false => (&view.checkpoint, view.head),
        };
        Ok(self.receipt_under(&view, under, index, None)?.map(|receipt| receipt.to_string()))
    }

    /// Builds a receipt under a checkpoint that `view` extends, and verifies it as its reader will.
    fn receipt_under(
        &self,
        view: &View,
        (checkpoint, head): (&UnverifiedCheckpoint, TreeHead),
        index: u64,
        leaf: Option<Hash>,
    ) -> Result<Option<Receipt>, ReadError> {
        let leaf = match leaf {
            Some(leaf) => leaf,
            None => match view.entry(&self.0.objects, index)? {
                Some(entry) => leaf_hash(&entry),
                None => return Ok(None),
            },
        };
        let proof = view.inclusion(&self.0.objects, head.size, index, leaf)?;
        let Some(proof) = proof else { return Ok(None) };
        head.verify_inclusion(index, leaf, &proof)
            .map_err(|_| ReadError::Damaged(format!("the tree above entry {index}")))?;
        let checkpoint = checkpoint.clone();
        Ok(Some(Receipt { index, proof, checkpoint, extra: None }))
    }

    /// A register file by its hash: every reader gets the same memory.
    pub fn register(&self, sha256: &Hash) -> Result<Option<Bytes>, ReadError> {
        Ok(self.0.registers.get(&self.0.objects, sha256)?)
    }

    /// How the log is doing.
    pub fn status(&self) -> Status {
        let (served, sealed) = (self.served(), self.0.endorsement.signed());
        let (view, now_ms) = (self.0.view(), crate::clock::now_ms());
        let stats = self.0.stats.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Status {
            size: view.head.size,
            sealed: sealed.map_or(0, |sealed| sealed.head.size).min(view.head.size),
            served: served.head.size.min(view.head.size),
            vouched_age_ms: served.vouched.map(|time| now_ms.saturating_sub(time * 1_000)),
            held: self.is_held(),
            witnesses: self.0.endorsement.witnesses(),
            time_ms: view.time_ms,
            checkpoint_age_ms: now_ms.saturating_sub(view.time_ms),
            queue: self.0.pool.len() as u64,
            accepting: !self.0.without.writer
                && !self.is_held()
                && self.0.pool.is_open()
                && self.0.has_room.load(Ordering::Acquire)
                && !self.0.key_ended.load(Ordering::Acquire),
            batch_sizes: stats.batch_sizes(),
            batched: stats.entries,
        }
    }

    /// Resolves when the log met an error after which it must not go on, with the error.
    pub async fn failed(&self) -> Arc<Fatal> {
        let mut receiver = self.0.fatal.subscribe();
        loop {
            if let Some(fatal) = receiver.borrow_and_update().clone() {
                return fatal;
            }
            if receiver.changed().await.is_err() {
                // The sender lives in `self`.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Stops: takes no more, sequences what waits, syncs, saves derived state.
    ///
    /// # Errors
    /// Fails with the error that ended the log, if there was one.
    pub fn close(self) -> Result<(), Arc<Fatal>> {
        self.0.pool.close();
        let threads =
            std::mem::take(&mut *self.0.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            thread.thread().unpark();
            // A thread that panicked has left its cause in `fatal`.
            let _ = thread.join();
        }
        match self.0.fatal.borrow().clone() {
            Some(fatal) => Err(fatal),
            None => Ok(()),
        }
    }
}

impl Shared {
    fn view(&self) -> Arc<View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends the log: whoever waits for it is told why, and start-up finds out what is true.
    fn fail(&self, fatal: Fatal) -> Arc<Fatal> {
        tracing::error!(log = self.origin, cause = %fatal, "the log has stopped");
        // Closed first: whoever is told that the log has stopped finds it so.
        self.pool.abandon();
        let mut cause = Arc::new(fatal);
        // The first cause stays: what fails after it fails because of it.
        self.fatal.send_modify(|first| cause = first.get_or_insert(cause.clone()).clone());
        cause
    }

    fn keys(&self) -> RwLockReadGuard<'_, KeyBook> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The index of a published entry with this leaf hash. The table only knows where to look;
    /// the tree decides.
    fn index_of(&self, leaf: &Hash) -> Result<Option<u64>, ReadError> {
        if self.without.leaves {
            return Err(ReadError::Lost("the table of leaf hashes"));
        }
        let candidates: Vec<u64> = {
            let leaves = self.leaves.read().unwrap_or_else(PoisonError::into_inner);
            leaves.candidates(leaf).collect()
        };
        if candidates.is_empty() {
            return Ok(None);
        }
        let view = self.view();
        for index in candidates {
            match view.leaf(&self.objects, index)? {
                Some(found) if found == *leaf => return Ok(Some(index)),
                // Rarely another entry with the same part of a hash; or is its tile damaged?
                Some(_) => view.check_leaf_tile(&self.objects, index)?,
                None => {}
            }
        }
        Ok(None)
    }
}
