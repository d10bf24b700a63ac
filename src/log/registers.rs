//! Register files in memory: large, few, and the same for every reader.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError, RwLock},
};

use bytes::Bytes;
use jejak_proofs::merkle::Hash;

use crate::store::{Objects, StoreError};

/// Registers by hash, each read and verified once and then shared.
///
/// A register never changes under its hash, so a reader takes no memory of its own, however slow
/// it is. There are as many as the operator has put into the directory: a client adds none.
#[derive(Debug, Default)]
pub(super) struct Registers {
    read: RwLock<HashMap<Hash, Bytes>>,
    /// Held while a file is read, so that many who ask at once wait for one read.
    reading: Mutex<()>,
}

impl Registers {
    /// The register with this hash; `None` while there is no such file.
    pub fn get(&self, objects: &Objects, hash: &Hash) -> Result<Option<Bytes>, StoreError> {
        if let Some(known) = self.known(hash) {
            return Ok(Some(known));
        }
        let _one = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        // Somebody else may have read it meanwhile.
        if let Some(known) = self.known(hash) {
            return Ok(Some(known));
        }
        let Some(bytes) = objects.register(hash)?.map(Bytes::from) else { return Ok(None) };
        let mut read = self.read.write().unwrap_or_else(PoisonError::into_inner);
        Ok(Some(read.entry(*hash).or_insert(bytes).clone()))
    }

    fn known(&self, hash: &Hash) -> Option<Bytes> {
        self.read.read().unwrap_or_else(PoisonError::into_inner).get(hash).cloned()
    }
}
