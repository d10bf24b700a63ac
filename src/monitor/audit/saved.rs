//! What is kept of the audit, so that a restart does not replay the whole log.

use std::{
    collections::{BTreeSet, VecDeque},
    io,
    sync::Arc,
};

use jejak_proofs::tally::{Body, ContestRegister, Entry, Ledger, Snapshot, UnitRegister};
use serde::{Deserialize, Serialize};

use super::{Auditor, Convict, Ended, Readings};
use crate::{
    monitor::{documents::Documents, memory::Memory, personal::Known},
    state::StateError,
};

const LEDGER: &str = "ledger";
const DOCUMENTS: &str = "documents";

/// What is kept of a ledger, with the manifest in force: of one that is written nothing is copied.
#[derive(Serialize, Deserialize)]
struct Saved<S, M, R, C, E> {
    snapshot: S,
    manifest: M,
    readings: R,
    /// What [`Known`] learned.
    codes: C,
    ended: E,
}

/// The same as it is read.
type Read = Saved<Snapshot, Vec<u8>, Readings, BTreeSet<String>, Ended>;

impl Auditor {
    /// The ledger as it was saved, or an empty one: what is missing is replayed.
    pub fn restore(memory: &Memory, origin: &str) -> Result<Self, StateError> {
        let saved = memory.derived(LEDGER)?;
        let saved = saved.and_then(|bytes| postcard::from_bytes::<Read>(&bytes).ok());
        if let Some(saved) = saved
            && let Some(restored) = Self::restore_saved(memory, origin, saved)?
        {
            return Ok(restored);
        }
        Ok(Self {
            ledger: Ledger::new(origin),
            manifest: Vec::new(),
            readings: Readings::default(),
            documents: Documents::default(),
            known: Known::new(origin, BTreeSet::new()),
            saved: 0,
            searches: 0,
            convict: Convict::default(),
            old_bundles: VecDeque::new(),
        })
    }

    fn restore_saved(
        memory: &Memory,
        origin: &str,
        saved: Read,
    ) -> Result<Option<Self>, StateError> {
        let Saved { snapshot, manifest, readings, codes, ended } = saved;
        let fits = snapshot.origin() == origin && snapshot.size() <= memory.audited();
        let (Some(index), true) = (snapshot.manifest_index(), fits) else { return Ok(None) };
        let leaf = memory.leaves(index, 1)?.first().copied();
        let Ok(entry) = Entry::parse(&manifest) else { return Ok(None) };
        let Body::Manifest(body) = entry.body() else { return Ok(None) };
        let files = [&body.registers.units, &body.registers.contests];
        let [units, contests] = files.map(|file| memory.register(file.sha256));
        let (Some(units), Some(contests)) = (units?, contests?) else { return Ok(None) };
        let (Ok(units), Ok(contests)) =
            (UnitRegister::parse(&units), ContestRegister::parse(&contests))
        else {
            return Ok(None);
        };
        if leaf != Some(entry.leaf()) {
            return Ok(None);
        }
        let Some(documents) = saved_documents(memory, snapshot.size())? else { return Ok(None) };
        let ledger = Ledger::restore(snapshot, &entry, Arc::new(units), Arc::new(contests)).ok();
        Ok(ledger.map(|ledger| Self {
            saved: ledger.size(),
            ledger,
            manifest,
            readings,
            documents,
            known: Known::new(origin, codes),
            searches: 0,
            convict: Convict::after(ended),
            old_bundles: VecDeque::new(),
        }))
    }

    /// Saves the ledger if it has grown.
    pub fn save(&mut self, memory: &Memory) -> Result<(), StateError> {
        let size = self.ledger.size();
        if size == self.saved || size > memory.audited() {
            return Ok(());
        }
        // The two belong together by their size; a crash between them costs a replay.
        memory.save_derived(DOCUMENTS, |file| {
            file.write_all(&size.to_be_bytes())?;
            self.documents.write(file)
        })?;
        let saved = Saved {
            snapshot: self.ledger.snapshot_view(),
            manifest: &self.manifest,
            readings: &self.readings,
            codes: self.known.codes(),
            ended: &self.convict.ended,
        };
        memory.save_derived(LEDGER, |file| {
            postcard::to_io(&saved, file).map(drop).map_err(io::Error::other)
        })?;
        self.saved = size;
        Ok(())
    }
}

/// The documents of the first `size` entries, if it is these that were kept.
fn saved_documents(memory: &Memory, size: u64) -> Result<Option<Documents>, StateError> {
    let bytes = memory.derived(DOCUMENTS)?.unwrap_or_default();
    let same = bytes.split_first_chunk().filter(|(kept, _)| u64::from_be_bytes(**kept) == size);
    Ok(same.and_then(|(_, rows)| Documents::from_bytes(rows)))
}
