//! Which keys were ever mandated, and under whom.

use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};

use super::{
    ids::{Id, KeyRef, UnitCode},
    manifest::ROOT_ROLE,
};
use crate::note::VerifierKey;

/// A key that may, or once might, sign entries.
#[derive(Clone, Debug)]
pub struct Key {
    pub(super) number: u32,
    pub(super) verifier: VerifierKey,
    pub(super) role: Id,
    pub(super) units: Vec<UnitCode>,
    pub(super) contests: Option<Vec<Id>>,
    /// Number of the key that granted it; `None` for root keys and what they granted.
    pub(super) granter: Option<u32>,
    /// Grants between it and the root.
    pub(super) depth: u8,
    pub(super) index: u64,
}

impl Key {
    /// Place in the order in which the log came to know its keys, from 0.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The public key.
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Its role; [`ROOT_ROLE`] for root keys.
    pub fn role(&self) -> &Id {
        &self.role
    }

    /// Whether it is, or was, a root key.
    pub fn is_root(&self) -> bool {
        self.role.as_str() == ROOT_ROLE
    }

    /// The units it speaks for, each with all below it.
    pub fn units(&self) -> &[UnitCode] {
        &self.units
    }

    /// The contests it speaks about; `None` for all.
    pub fn contests(&self) -> Option<&[Id]> {
        self.contests.as_deref()
    }

    /// Index of the entry that mandated it: it counts from the next entry on.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// How entries name it.
    pub fn key_ref(&self) -> KeyRef {
        KeyRef::new(self.verifier.name(), self.verifier.id())
    }
}

/// Every key that the log knows, in force or not. Keys are never removed.
#[derive(Clone, Debug, Default)]
pub struct KeyBook {
    by_ref: BTreeMap<KeyRef, Arc<Key>>,
}

impl KeyBook {
    /// A book without keys.
    pub fn new() -> Self {
        Self::default()
    }

    /// The key that entries name so.
    pub fn find(&self, key: &KeyRef) -> Option<&Arc<Key>> {
        self.by_ref.get(key)
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.by_ref.len()
    }

    /// Whether no key is known yet.
    pub fn is_empty(&self) -> bool {
        self.by_ref.is_empty()
    }

    /// Every key, ascending by (name, key id).
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Key>> {
        self.by_ref.values()
    }

    /// Adds a key that an entry mandated.
    pub fn insert(&mut self, key: Arc<Key>) {
        self.by_ref.insert(key.key_ref(), key);
    }
}
