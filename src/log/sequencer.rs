//! The sequencer: one thread that owns the ledger, the journal and the log's key.
//!
//! Each step of a batch is followed by what is then true. Only a durable head is ever signed.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, atomic::Ordering, mpsc::Sender},
    time::{Duration, Instant},
};

use bytes::Bytes;
use jejak_proofs::{
    merkle::{Hash, TreeHead},
    note::{Checkpoint, CheckpointError},
    tally::{
        Body, ChainHead, CheckedEntry, Election, Entry, Field, Key, Ledger, Outcome, Refusal,
        STATE_GAP_MAX, STATE_LEN_MAX,
    },
};

use super::{
    ManifestInForce, Shared,
    answer::{BatchItem, Rejection, Sequenced, SubmitError},
    derived::{self, RegisterFault},
    endorse::ToSign,
    integrate::{Integrated, Mismatch, integrate, verify},
    pool::{Candidate, Submission, Taken},
    sealed::SealedView,
    signers::Signers,
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
/// Bytes that a state takes in a journal record, at most.
const STATE_ROOM: u64 = (STATE_LEN_MAX + FRAME_LEN) as u64;

/// How often a full disk is looked at again while nothing comes.
const ROOM_CHECK_EVERY: Duration = Duration::from_secs(1);

/// What the ledger says of a manifest whose registers it does not know yet.
const REGISTERS: Refusal = Refusal::Invalid(Field::Registers);

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
    /// A witness shows a head that the log's key signed, and that is none of this log's trees.
    #[error(
        "witness {witness} holds a signed head of {size} entries that this log does not have: \
         another copy of it is, or was, in use"
    )]
    Fork {
        /// Who shows it.
        witness: String,
        /// Entries of that tree.
        size: u64,
    },
    /// No key of the log may sign a tree that was committed.
    #[error("no key of the log may sign its newest tree")]
    Key,
    /// The clock reads a time that no signature can have.
    #[error("the clock reads no time since 1970")]
    Clock,
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
    pub signers: Signers,
    /// Takes sealed heads, to sign them with a time. Dropped, it ends the notary.
    pub notary: Option<Sender<ToSign>>,
    /// Size of the newest snapshot.
    pub snapshot: u64,
    /// How long an entry waits for a state that covers it; `None` for a log that makes none.
    pub seal_after: Option<Duration>,
    /// When the first entry came that no state covers yet.
    pub unsealed_since: Option<Instant>,
    /// Bytes for which there was no room on disk when they were last asked for.
    pub no_room: Option<u64>,
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
            match self.shared.pool.take(self.wake_at()) {
                Taken::Batch(batch) => self.sequence(batch)?,
                Taken::Due => self.wake()?,
                Taken::Closed => break,
            }
            self.save_snapshot_when_due();
        }
        // Stopped from outside: nothing more is signed.
        if self.shared.fatal.borrow().is_some() {
            return Ok(());
        }
        // A clean stop: everything is sealed, and what the next start can skip is saved and synced.
        self.seal()?;
        self.save_snapshot();
        let durable = self.shared.objects.sync()?;
        self.journal.trim(durable)?;
        Ok(())
    }

    /// When there is something to do though nothing comes.
    fn wake_at(&self) -> Option<Instant> {
        let look = self.no_room.map(|_| Instant::now() + ROOM_CHECK_EVERY);
        self.seal_at().into_iter().chain(look).min()
    }

    /// When a state is due.
    fn seal_at(&self) -> Option<Instant> {
        Some(self.unsealed_since? + self.seal_after?)
    }

    /// Nothing has come. While the disk is full, looks whether it still is; else seals what is due.
    fn wake(&mut self) -> Result<(), Fatal> {
        if let Some(framed_len) = self.no_room {
            self.look_for_room(framed_len);
        }
        self.seal_if_due()
    }

    fn seal_if_due(&mut self) -> Result<(), Fatal> {
        if self.is_seal_due() { self.seal() } else { Ok(()) }
    }

    /// Seals what no state covers, whether it is due or not. Without room on the disk it stays
    /// unsealed, and is due again after as long.
    pub fn seal(&mut self) -> Result<(), Fatal> {
        if self.seal_after.is_none() || self.ledger.unsealed() == 0 {
            return Ok(());
        }
        self.unsealed_since = Some(Instant::now());
        let reserved = self.journal.reserve(STATE_ROOM);
        if !matches!(reserved, Ok(()) | Err(StoreError::NoSpace { .. })) {
            return Ok(reserved?);
        }
        let full = reserved.is_err();
        self.note_room(STATE_ROOM, reserved);
        let mut admitted = Admitted::default();
        if !full {
            self.append_state(&mut admitted)?;
        }
        if !admitted.sealed {
            return Ok(());
        }
        self.commit(admitted)?;
        self.trim()
    }

    /// Looks whether there is room for this many bytes, and takes none.
    pub fn look_for_room(&mut self, framed_len: u64) {
        self.note_room(framed_len, self.journal.check_room(framed_len));
    }

    /// Makes room for what may have to be logged, and for a state after it. Without it, answers
    /// those that need it: nothing of them was applied. What is left needs none.
    fn reserve(&mut self, batch: Vec<Submission>) -> Result<Vec<Submission>, Fatal> {
        let framed_len: usize = batch.iter().map(Submission::framed_len).sum();
        if framed_len == 0 {
            return Ok(batch);
        }
        let framed_len = framed_len as u64 + STATE_ROOM;
        let reserved = self.journal.reserve(framed_len);
        let (full, fatal) = match &reserved {
            Ok(()) => (false, false),
            Err(StoreError::NoSpace { .. }) => (true, false),
            Err(_) => (true, true),
        };
        let (refused, left) = batch.into_iter().partition(|one| full && one.needs_room());
        if fatal {
            refuse_all(refused);
            reserved?;
            return Ok(left);
        }
        // Known before anyone is told: whoever is refused finds the log not ready.
        self.note_room(framed_len, reserved);
        refuse_all(refused);
        Ok(left)
    }

    /// Keeps whether there is room, and tells when that changes.
    fn note_room(&mut self, framed_len: u64, room: Result<(), StoreError>) {
        let had_room = self.no_room.is_none();
        self.no_room = room.is_err().then_some(framed_len);
        self.shared.has_room.store(room.is_ok(), Ordering::Release);
        let log = &self.shared.origin;
        match room {
            Err(cause) if had_room => tracing::warn!(log, %cause, "full: entries are refused"),
            Ok(()) if !had_room => tracing::info!(log, "there is room again: entries are taken"),
            _ => {}
        }
    }

    fn sequence(&mut self, batch: Vec<Submission>) -> Result<(), Fatal> {
        let started = Instant::now();
        // All that can fail for want of space happens here, while an answer is still possible.
        let batch = self.reserve(batch)?;

        let mut admitted = self.admit(&batch)?;
        if !admitted.entries.is_empty() {
            self.unsealed_since.get_or_insert_with(Instant::now);
            if self.is_seal_due() {
                self.append_state(&mut admitted)?;
            }
        }
        // Memory: the ledger stands after the batch. Disk: nothing has changed.
        let results = std::mem::take(&mut admitted.results);
        if admitted.entries.is_empty() {
            // Conflicts and duplicates rest on what is committed already.
            answer(batch, results, &self.shared.view());
            return self.seal_if_due();
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

        let checkpoint = self.sign(record.head)?;
        let view = self.publish(grown, checkpoint, &record, admitted)?;
        // Disk: full tiles and `checkpoint` are in place, not synced; the journal has it all.
        // Memory: readers see the new tree.
        Ok(view)
    }

    /// Signs the head that the ledger stands at. Admission has asked whether a key may.
    fn sign(&self, head: TreeHead) -> Result<Checkpoint, Fatal> {
        let election = self.ledger.election().ok_or(Fatal::Key)?;
        self.signers.sign(head, &election.manifest)?.ok_or(Fatal::Key)
    }

    /// Whether the batch that was just admitted must end in a state: an entry has waited for long
    /// enough, or there are many, or the log ends here but for the state that covers the freeze.
    fn is_seal_due(&self) -> bool {
        let waited = |due| due <= Instant::now();
        let many = self.ledger.unsealed() >= UNSEALED_MAX;
        self.seal_at().is_some_and(|due| waited(due) || many || self.ledger.frozen())
    }

    /// Ends a batch with the state that covers everything before it.
    fn append_state(&mut self, admitted: &mut Admitted) -> Result<(), Fatal> {
        let size = self.shared.view().head.size + admitted.entries.len() as u64 + 1;
        let counts = |e: &Arc<Election>| self.signers.may_sign(&e.manifest, size);
        if !self.ledger.election().is_some_and(counts) {
            return Ok(());
        }
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
        // A state must still fit after it.
        let size = first + admitted.entries.len() as u64 + 1 + u64::from(self.seal_after.is_some());
        if let Some(rejection) = self.beyond_key(checked, size) {
            return Ok(Err(rejection));
        }
        let Outcome { flags, keys, .. } = match self.apply(checked)? {
            Ok(outcome) => outcome,
            Err(refusal) => {
                let refusal = self.name_duplicate(refusal, checked.entry(), admitted)?;
                return Ok(Err(Rejection::judged(&refusal, self.ledger.size())));
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

    /// The answer to an entry that makes the tree as large as the log's key may not sign it.
    fn beyond_key(&mut self, checked: &CheckedEntry, size: u64) -> Option<Rejection> {
        let log = &*self.shared;
        let manifest = match checked.entry().body() {
            Body::Manifest(new) => new,
            _ => &self.ledger.election()?.manifest,
        };
        let may_sign = self.signers.may_sign(manifest, size);
        let names_ours = match checked.entry().body() {
            Body::Manifest(new) => log.refuser.holds(new),
            _ => true,
        };
        if may_sign && names_ours {
            log.key_ended.store(false, Ordering::Release);
            return None;
        }
        if let Body::Manifest(new) = checked.entry().body() {
            if self.ledger.check_manifest(checked) == Err(REGISTERS) {
                // What is missing is found missing again.
                let _ = derived::provide_registers(&mut self.ledger, &log.objects, new);
            }
            // One that is refused says nothing about keys.
            self.ledger.check_manifest(checked).ok()?;
        }
        if may_sign {
            tracing::error!(
                log = log.origin,
                "a manifest is not taken: this log does not hold the `refusal_key` that it names. \
                 Next: put that key where the log's keys are, start again, and send it again"
            );
            return Some(Rejection::beyond_key());
        }
        if !log.key_ended.swap(true, Ordering::AcqRel) {
            tracing::error!(
                log = log.origin,
                keys = self.signers.vkeys(),
                "no entry is taken: the manifest lets no key of this log sign a tree of {size} \
                 entries. Next: stop, put the key that `log_keys` names for that size into \
                 keys/log-next, list it in the policy, and start again"
            );
        }
        Some(Rejection::beyond_key())
    }

    fn apply(&mut self, checked: &CheckedEntry) -> Result<Result<Outcome, Refusal>, Fatal> {
        match (self.ledger.apply(checked), checked.entry().body()) {
            // The last rule of a manifest: everything else about it is in order, signatures of
            // the root keys included, so its files are worth reading, and they must be here.
            (Err(REGISTERS), Body::Manifest(manifest)) => {
                match derived::provide_registers(&mut self.ledger, &self.shared.objects, manifest) {
                    Ok(()) => Ok(self.ledger.apply(checked)),
                    // A fault of ours accuses no submitter. A file of another hash than its name
                    // is one that somebody is still copying, or has copied wrongly.
                    Err(RegisterFault::Store(error)) if !error.is_damage() => Err(error.into()),
                    Err(cause) => {
                        tracing::info!(log = self.shared.origin, %cause, "a manifest is refused");
                        Ok(Err(REGISTERS))
                    }
                }
            }
            (result, _) => Ok(result),
        }
    }

    /// A conflict with a head that says the very same is a duplicate under other signatures.
    fn name_duplicate(
        &self,
        refusal: Refusal,
        entry: &Entry,
        admitted: &Admitted,
    ) -> Result<Refusal, Fatal> {
        let Refusal::Conflict { head: Some(ChainHead { index, leaf, .. }) } = refusal else {
            return Ok(refusal);
        };
        let view = self.shared.view();
        if leaf == entry.leaf() {
            // It is logged, and its leaf hash was not found in the tree.
            view.check_leaf_tile(&self.shared.objects, index)?;
            return Err(ReadError::Damaged(format!("the leaf hash of entry {index}")).into());
        }
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
            let sealed = SealedView::new(&view, state.clone());
            match &self.notary {
                // A notary that is gone has failed, and the log with it.
                Some(notary) => drop(notary.send(self.to_sign(sealed))),
                None => shared.endorsement.sign(Arc::new(sealed)),
            }
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
            *shared.manifest.write().unwrap_or_else(PoisonError::into_inner) = Some(manifest);
            self.ledger.election().into_iter().for_each(|election| shared.refuser.follow(election));
        }
        Ok(view)
    }

    /// A sealed head, and the keys that add a time if the manifest in force lets them sign.
    pub fn to_sign(&self, view: SealedView) -> ToSign {
        let election = self.ledger.election();
        let keys = election.map(|e| self.signers.with_time(&e.manifest, view.head.size));
        ToSign { keys: keys.unwrap_or_default(), view }
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

/// Answers when there is no room: nothing was applied.
fn refuse_all(batch: Vec<Submission>) {
    for submission in batch {
        let _ = submission.answer.send(Err(SubmitError::Unavailable));
    }
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
