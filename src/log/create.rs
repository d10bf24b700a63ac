//! Making a log: entry 0 and the first checkpoint.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use jejak_proofs::{
    merkle::{Hash, leaf_hash},
    note::{Checkpoint, CheckpointError, NoteSigner},
    tally::{Body, ContestRegister, Entry, KeyBook, Ledger, Refusal, RegisterError, UnitRegister},
};

use super::{edge::Edge, integrate::integrate};
use crate::{
    clock,
    store::{DirLock, Journal, JournalOptions, Objects, Record, StoreError},
};

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

/// Makes the log directory below `dir`, with the manifest as entry 0 and a first checkpoint.
/// Returns the genesis: the leaf hash of entry 0.
///
/// # Errors
/// Fails if the ledger refuses the manifest or if there is a log already.
pub fn create(
    dir: &Path,
    key: &dyn NoteSigner,
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
    key: &dyn NoteSigner,
    manifest: &[u8],
    units: &[u8],
    contests: &[u8],
) -> Result<(), CreateError> {
    let entry = Entry::parse(manifest).map_err(CreateError::Refused)?;
    let vkey = key.public().to_string();
    let named = matches!(entry.body(), Body::Manifest(manifest)
        if manifest.log_key_counts(&vkey, 1));
    let checked = entry.check(&KeyBook::new()).map_err(CreateError::Refused)?;
    let mut ledger = Ledger::new(key.public().name());
    ledger.provide_units(Arc::new(UnitRegister::parse(units)?));
    ledger.provide_contests(Arc::new(ContestRegister::parse(contests)?));
    ledger.apply(&checked).map_err(CreateError::Refused)?;
    if named { Ok(()) } else { Err(CreateError::LogKey) }
}
