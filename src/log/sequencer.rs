//! The sequencer: one thread that owns the ledger, the journal and the log's key.
//!
//! Each step of a batch is followed by what is then true. Only a durable head is ever signed.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;
use jejak_proofs::{
    merkle::Hash,
    note::{Checkpoint, CheckpointError, SigningKey},
    tally::{
        Body, ChainHead, CheckedEntry, Entry, Field, Key, Ledger, Outcome, Refusal, STATE_GAP_MAX,
        STATE_LEN_MAX,
    },
};

use super::{
    ManifestInForce, Shared,
    answer::{BatchItem, Rejection, Sequenced, SubmitError},
    derived,
    integrate::{Integrated, Mismatch, integrate, verify},
    pool::{Candidate, Submission, Taken},
    sealed::SealedView,
    view::{ReadError, View},
};
use crate::{
    clock,
    store::{FRAME_LEN, Journal, LeafIndexError, Record, StoreError},
};

/// Entries between two snapshots of the ledger.
const SNAPSHOT_EVERY: u64 = 250_000;
/// Entries that no state covers after which one is made, however little time has passed: with the
/// largest batch on top it stays below what the rules allow.
const UNSEALED_MAX: u64 = STATE_GAP_MAX / 2;

/// Why a log stopped for good: the process must end, and start-up finds out what is true on disk.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fatal {
    /// The store failed with an unknown outcome.
    #[error("the store failed: {0}")]
    Store(#[from] StoreError),
    /// The batch in memory is not what would be signed.
    #[error("refused to sign: {0}")]
    Mismatch(#[from] Mismatch),
    /// The log's own files could not be read.
    #[error("the log cannot read its own files: {0}")]
    Read(#[from] ReadError),
    /// The checkpoint could not be made.
    #[error("the checkpoint could not be signed: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// The tree is larger than the leaf table can index.
    #[error("the log is too large: {0}")]
    LeafTable(#[from] LeafIndexError),
    /// The ledger refuses the state that it gave itself.
    #[error("the state of the recap is not the one that follows from the entries")]
    State,
    /// A thread of the log panicked.
    #[error("a thread of the log panicked")]
    Panicked,
}

/// Owned by the sequencer's thread alone.
pub(super) struct Sequencer {
    pub shared: Arc<Shared>,
    pub ledger: Ledger,
    pub journal: Journal,
    pub key: SigningKey,
    /// Size of the newest snapshot.
    pub snapshot: u64,
    /// How long an entry waits for a state that covers it; `None` for a log that makes none.
    pub seal_after: Option<Duration>,
    /// When the first entry came that no state covers yet.
    pub unsealed_since: Option<Instant>,
}

/// A batch that the ledger has admitted.
#[derive(Default)]
struct Admitted {
    entries: Vec<Bytes>,
    leaves: Vec<Hash>,
    /// Where in this batch an entry stands, for duplicates within it.
    places: HashMap<Hash, usize>,
    keys: Vec<Arc<Key>>,
    manifest: Option<ManifestInForce>,
    /// Whether its last entry is a state.
    sealed: bool,
    /// One list of results a submission, in its order.
    results: Vec<Vec<Result<BatchItem, Rejection>>>,
}

impl Sequencer {
    /// Sequences until the pool is closed and empty, then leaves a clean directory.
    pub fn run(mut self) -> Result<(), Fatal> {
        loop {
            match self.shared.pool.take(self.seal_due()) {
                Taken::Batch(batch) => self.sequence(batch)?,
                Taken::Due => self.seal()?,
                Taken::Closed => break,
            }
            self.save_snapshot_when_due();
        }
        // A clean stop: everything is sealed, and what the next start can skip is saved and synced.
        self.seal()?;
        self.save_snapshot();
        let durable = self.shared.objects.sync()?;
        self.journal.trim(durable)?;
        Ok(())
    }

    /// When a state is due.
    fn seal_due(&self) -> Option<Instant> {
        Some(self.unsealed_since? + self.seal_after?)
    }

    /// Seals what no state covers, whether it is due or not. Without room on the disk it stays
    /// unsealed, and is due again after as long.
    pub fn seal(&mut self) -> Result<(), Fatal> {
        if self.seal_after.is_none() || self.ledger.unsealed() == 0 {
            return Ok(());
        }
        self.unsealed_since = Some(Instant::now());
        match self.journal.reserve((STATE_LEN_MAX + FRAME_LEN) as u64) {
            Ok(()) => {}
            Err(error) => return refuse_all(Vec::new(), error),
        }
        let mut admitted = Admitted::default();
        self.append_state(&mut admitted)?;
        self.commit(admitted)?;
        self.trim()
    }

    fn sequence(&mut self, batch: Vec<Submission>) -> Result<(), Fatal> {
        let started = Instant::now();
        // All that can fail for want of space happens here, while an answer is still possible.
        let framed_len: usize = batch.iter().map(Submission::framed_len).sum();
        let room = framed_len + STATE_LEN_MAX + FRAME_LEN;
        if let Err(error) = self.journal.reserve(room as u64) {
            return refuse_all(batch, error);
        }

        let mut admitted = self.admit(&batch)?;
        if self.is_seal_due() {
            self.append_state(&mut admitted)?;
        }
        // Memory: the ledger stands after the batch. Disk: nothing has changed.
        let results = std::mem::take(&mut admitted.results);
        if admitted.entries.is_empty() {
            // Conflicts and duplicates rest on what is committed already.
            answer(batch, results, &self.shared.view());
            return Ok(());
        }
        let entries = admitted.entries.len();
        let view = self.commit(admitted)?;
        self.count(entries, started);
        answer(batch, results, &view);
        self.trim()
    }

    /// Integrates, verifies, makes durable and publishes what the ledger has admitted.
    fn commit(&mut self, mut admitted: Admitted) -> Result<Arc<View>, Fatal> {
        let old = self.shared.view();
        let grown = integrate(&old.edge, &admitted.entries, &admitted.leaves);
        verify(&self.journal.head(), &old.edge, &grown, &admitted.entries)?;
        // The bytes about to be written lead to the new root, which extends the committed one.

        let record = Record {
            first: old.head.size,
            // One clock reading a batch, never before the last one.
            time_ms: clock::now_ms().max(self.journal.time_ms()),
            head: grown.edge.head(),
            entries: std::mem::take(&mut admitted.entries),
        };
        self.journal.append(&record)?;
        // Disk: the batch is committed, and survives a power cut. Nobody outside knows of it yet.

        let checkpoint = Checkpoint::sign(record.head, &self.key)?;
        self.publish(grown, checkpoint, &record, admitted)
        // Disk: full tiles and `checkpoint` are in place, not synced; the journal has it all.
        // Memory: readers see the new tree.
    }

    /// Whether the batch that was just admitted must end in a state.
    fn is_seal_due(&mut self) -> bool {
        if self.seal_after.is_none() || self.ledger.unsealed() == 0 {
            return false;
        }
        let since = *self.unsealed_since.get_or_insert_with(Instant::now);
        // A freeze is the last entry but for the state that covers it.
        self.seal_after.is_some_and(|after| since.elapsed() >= after)
            || self.ledger.unsealed() >= UNSEALED_MAX
            || self.ledger.frozen()
    }

    /// Ends a batch with the state that covers everything before it.
    fn append_state(&mut self, admitted: &mut Admitted) -> Result<(), Fatal> {
        let Some(state) = self.ledger.next_state() else { return Ok(()) };
        let bytes = Bytes::from(Body::State(state).text());
        let entry = Entry::parse(&bytes).and_then(Entry::assume_checked);
        let checked = entry.map_err(|_| Fatal::State)?;
        self.ledger.apply(&checked).map_err(|_| Fatal::State)?;
        admitted.leaves.push(checked.entry().leaf());
        admitted.entries.push(bytes);
        admitted.sealed = true;
        self.unsealed_since = None;
        Ok(())
    }

    /// Applies the batch to the ledger, in order of arrival.
    fn admit(&mut self, batch: &[Submission]) -> Result<Admitted, Fatal> {
        let mut admitted = Admitted::default();
        for submission in batch {
            let mut results = Vec::with_capacity(submission.candidates.len());
            for candidate in &submission.candidates {
                results.push(match candidate {
                    Candidate::Known { index, leaf } => Ok(known(*index, *leaf)),
                    Candidate::Refused(refusal) => Err(Rejection::from(refusal)),
                    Candidate::Fresh { bytes, entry } => {
                        self.admit_fresh(&mut admitted, bytes, entry)?
                    }
                });
            }
            admitted.results.push(results);
        }
        Ok(admitted)
    }

    fn admit_fresh(
        &mut self,
        admitted: &mut Admitted,
        bytes: &Bytes,
        checked: &CheckedEntry,
    ) -> Result<Result<BatchItem, Rejection>, Fatal> {
        let leaf = checked.entry().leaf();
        let first = self.shared.view().head.size;
        // It may have been logged since it was checked, or stand earlier in this batch.
        if let Some(place) = admitted.places.get(&leaf) {
            return Ok(Ok(known(first + *place as u64, leaf)));
        }
        if let Some(index) = self.shared.index_of(&leaf)? {
            return Ok(Ok(known(index, leaf)));
        }
        let Outcome { flags, keys, .. } = match self.apply(checked) {
            Ok(outcome) => outcome,
            Err(refusal) => {
                let refusal = self.name_duplicate(refusal, checked.entry(), admitted)?;
                return Ok(Err(Rejection::from(&refusal)));
            }
        };
        let index = first + admitted.entries.len() as u64;
        if let Some(manifest) = ManifestInForce::of(index, checked.entry()) {
            admitted.manifest = Some(manifest);
        }
        admitted.places.insert(leaf, admitted.entries.len());
        admitted.entries.push(bytes.clone());
        admitted.leaves.push(leaf);
        admitted.keys.extend(keys);
        Ok(Ok(BatchItem { index, leaf, flags: flags.to_string(), new: true }))
    }

    fn apply(&mut self, checked: &CheckedEntry) -> Result<Outcome, Refusal> {
        const REGISTERS: Refusal = Refusal::Invalid(Field::Registers);
        match (self.ledger.apply(checked), checked.entry().body()) {
            // The last rule of a manifest: everything else about it is in order, signatures of
            // the root keys included, so its files are worth reading, and they must be here.
            (Err(REGISTERS), Body::Manifest(manifest)) => {
                derived::provide_registers(&mut self.ledger, &self.shared.objects, manifest)?;
                self.ledger.apply(checked)
            }
            (result, _) => result,
        }
    }

    /// A conflict with a head that says the very same is a duplicate under other signatures.
    fn name_duplicate(
        &self,
        refusal: Refusal,
        entry: &Entry,
        admitted: &Admitted,
    ) -> Result<Refusal, Fatal> {
        let Refusal::Conflict { head: Some(ChainHead { index, .. }) } = refusal else {
            return Ok(refusal);
        };
        let view = self.shared.view();
        let head = match index.checked_sub(view.head.size) {
            Some(place) => admitted.entries.get(place as usize).cloned(),
            None => view.entry(&self.shared.objects, index)?,
        };
        let same = head
            .and_then(|head| Entry::parse(&head).ok())
            .is_some_and(|head| head.text() == entry.text());
        Ok(if same { Refusal::Duplicate } else { refusal })
    }

    /// Makes a committed batch visible: files first, then memory, so that whatever a reader finds
    /// in memory is also behind it on disk.
    fn publish(
        &self,
        grown: Integrated,
        checkpoint: Checkpoint,
        record: &Record,
        admitted: Admitted,
    ) -> Result<Arc<View>, Fatal> {
        let shared = &*self.shared;
        shared.objects.publish(record.head.size, grown.objects)?;
        shared.objects.put_checkpoint(checkpoint.note().as_bytes())?;
        let view = Arc::new(View::new(checkpoint.into(), record.time_ms, grown.edge));
        *shared.view.write().unwrap_or_else(PoisonError::into_inner) = view.clone();
        if let Some(state) = self.ledger.sealed().filter(|_| admitted.sealed) {
            let sealed = Arc::new(SealedView::new(&view, state.clone()));
            *shared.sealed.write().unwrap_or_else(PoisonError::into_inner) = Some(sealed);
        }
        {
            let mut leaves = shared.leaves.write().unwrap_or_else(PoisonError::into_inner);
            for (leaf, index) in admitted.leaves.iter().zip(record.first..) {
                leaves.insert(leaf, index)?;
            }
        }
        if !admitted.keys.is_empty() {
            let mut keys = shared.keys.write().unwrap_or_else(PoisonError::into_inner);
            admitted.keys.into_iter().for_each(|key| keys.insert(key));
        }
        if let Some(manifest) = admitted.manifest {
            *shared.manifest.write().unwrap_or_else(PoisonError::into_inner) = manifest;
        }
        Ok(view)
    }

    /// Drops journal segments that tiles and bundles have made redundant.
    fn trim(&mut self) -> Result<(), Fatal> {
        self.journal.trim(self.shared.durable.load(Ordering::Acquire))?;
        Ok(())
    }

    fn count(&self, entries: usize, started: Instant) {
        let took = started.elapsed();
        self.shared.stats.lock().unwrap_or_else(PoisonError::into_inner).count(entries);
        tracing::debug!(log = self.shared.origin, entries, ?took, "batch");
    }

    fn save_snapshot_when_due(&mut self) {
        if self.ledger.size() - self.snapshot >= SNAPSHOT_EVERY {
            self.save_snapshot();
        }
    }

    /// Saves derived state. A failure costs only time at the next start.
    fn save_snapshot(&mut self) {
        // A snapshot ends in a state, so that the recap it leads to can be compared with one.
        let open = self.seal_after.is_some() && self.ledger.unsealed() > 0;
        if self.ledger.size() == self.snapshot || open {
            return;
        }
        let head = self.journal.head();
        match derived::save(&self.shared.dir, &self.ledger, &head) {
            Ok(()) => self.snapshot = head.size,
            Err(cause) => {
                tracing::warn!(log = self.shared.origin, %cause, "no snapshot of the ledger");
            }
        }
    }
}

fn known(index: u64, leaf: Hash) -> BatchItem {
    BatchItem { index, leaf, flags: String::new(), new: false }
}

/// Answers when there is no room: nothing was applied. Any other error is fatal.
fn refuse_all(batch: Vec<Submission>, error: StoreError) -> Result<(), Fatal> {
    let full = matches!(error, StoreError::NoSpace { .. });
    for submission in batch {
        let _ = submission.answer.send(Err(SubmitError::Unavailable));
    }
    if full {
        tracing::warn!(cause = %error, "no room for a batch");
        return Ok(());
    }
    Err(error.into())
}

/// Sends every answer of a batch: its tree is published.
fn answer(
    batch: Vec<Submission>,
    results: Vec<Vec<Result<BatchItem, Rejection>>>,
    view: &Arc<View>,
) {
    for (submission, results) in batch.into_iter().zip(results) {
        // Whoever has gone away finds the entry when it sends it again.
        let _ = submission.answer.send(Ok(Sequenced { results, view: view.clone() }));
    }
}

/// Upper ends of the classes in which batch sizes are counted.
const BATCH_CLASSES: [u64; 7] = [1, 4, 16, 64, 256, 1024, 4096];

/// What the sequencer has done since the start.
#[derive(Clone, Debug, Default)]
pub(super) struct Stats {
    pub entries: u64,
    classes: [u64; BATCH_CLASSES.len() + 1],
}

impl Stats {
    fn count(&mut self, entries: usize) {
        let entries = entries as u64;
        self.entries += entries;
        let class = BATCH_CLASSES.iter().position(|end| entries <= *end);
        self.classes[class.unwrap_or(BATCH_CLASSES.len())] += 1;
    }

    pub fn batch_sizes(&self) -> Vec<(u64, u64)> {
        BATCH_CLASSES.into_iter().chain([u64::MAX]).zip(self.classes).collect()
    }
}
