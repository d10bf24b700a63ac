//! Where copies are written: a directory in which every file appears whole.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::store::{Directory, StoreError};

/// Writes into a directory what is not there yet. Threads share it.
pub(super) struct Sink<'a> {
    files: &'a Directory,
    written: AtomicU64,
    kept: AtomicU64,
}

impl<'a> Sink<'a> {
    pub fn new(files: &'a Directory) -> Self {
        Self { files, written: AtomicU64::new(0), kept: AtomicU64::new(0) }
    }

    /// Files that were written, and files that were there already.
    pub fn counts(&self) -> (u64, u64) {
        (self.written.load(Ordering::Relaxed), self.kept.load(Ordering::Relaxed))
    }

    /// Writes a file unless these bytes are there. Not synced.
    pub fn put(&self, path: &str, bytes: &[u8], len_max: u64) -> Result<(), StoreError> {
        // What cannot be read there is replaced.
        if self.files.read(path, len_max).ok().flatten().as_deref() == Some(bytes) {
            self.keep(path);
            return Ok(());
        }
        self.write(path, bytes)
    }

    /// Writes a file. Not synced.
    pub fn write(&self, path: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.written.fetch_add(1, Ordering::Relaxed);
        self.files.write(path, bytes)
    }

    /// Counts a file that is there as it must be, and has it synced with the others: who wrote it
    /// may not have lived to do so.
    pub fn keep(&self, path: &str) {
        self.files.found(path);
        self.count();
    }

    /// Counts a file that is known to be durable.
    pub fn count(&self) {
        self.kept.fetch_add(1, Ordering::Relaxed);
    }
}
