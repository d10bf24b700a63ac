//! Which keys are in force, what they cover, and how that changes.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    vec::Vec,
};

use super::{
    ids::{Id, KeyRef},
    keybook::{Key, KeyBook},
    mandate::{DELEGATION_DEPTH_MAX, Mandate, MandatedKey, Revocation},
    manifest::{Election, ROOT_ROLE},
    refusal::{Field, Refusal},
    register::Slot,
};
use crate::note::VerifierKey;

/// Every key ever mandated, and which of them may speak now. Order in the log is the only time.
#[derive(Clone, Debug, Default)]
pub(super) struct Authority {
    pub(super) book: KeyBook,
    /// Keys by number.
    pub(super) keys: Vec<Arc<Key>>,
    /// Public keys ever mandated: each once, under one name, for ever.
    public: BTreeSet<[u8; 32]>,
    /// Numbers of the root keys of the manifest in force.
    pub(super) roots: BTreeSet<u32>,
    /// Revoked keys; `true` if everything granted through them fell too.
    pub(super) revoked: BTreeMap<u32, bool>,
}

impl Authority {
    /// The keys behind the lines of an entry, in their order.
    ///
    /// # Errors
    /// Fails with `unknown_key` or `key_revoked` if one of them may not speak now.
    pub fn signers<'a>(
        &self,
        refs: impl Iterator<Item = &'a KeyRef>,
    ) -> Result<Vec<Arc<Key>>, Refusal> {
        refs.map(|key_ref| {
            let key = self.book.find(key_ref).ok_or(Refusal::UnknownKey)?;
            if self.in_force(key) { Ok(key.clone()) } else { Err(Refusal::KeyRevoked) }
        })
        .collect()
    }

    /// Whether the key may speak in the next entry.
    pub fn in_force(&self, key: &Key) -> bool {
        if key.is_root() {
            return self.roots.contains(&key.number);
        }
        !self.revoked.contains_key(&key.number)
            && self.granters(key).all(|above| self.revoked.get(&above.number) != Some(&true))
    }

    /// Whether a key with these bytes, or with this name and id, was ever mandated.
    pub fn knows(&self, key: &VerifierKey) -> bool {
        key.ed25519_bytes().is_some_and(|public| self.public.contains(public))
            || self.book.find(&KeyRef::new(key.name(), key.id())).is_some()
    }

    /// Whether this is the number of a key that a mandate named: not of a root key.
    pub fn mandated(&self, number: u32) -> bool {
        self.keys.get(number as usize).is_some_and(|key| !key.is_root())
    }

    /// The keys above this one, nearest first, the root not among them.
    fn granters<'a>(&'a self, key: &'a Key) -> impl Iterator<Item = &'a Arc<Key>> {
        let above = |key: &Key| key.granter.map(|number| &self.keys[number as usize]);
        core::iter::successors(above(key), move |key| above(key))
    }

    /// Checks that root keys sign, as many as the manifest in force asks for, and no others.
    pub fn require_root(&self, election: &Election, signers: &[Arc<Key>]) -> Result<(), Refusal> {
        let enough = signers.len() as u64 >= u64::from(election.manifest.threshold);
        if enough && signers.iter().all(|key| key.is_root()) {
            Ok(())
        } else {
            Err(Refusal::OutOfScope)
        }
    }

    /// Checks a mandate and gives its keys. Changes nothing.
    pub fn mandate(
        &self,
        election: &Election,
        signers: &[Arc<Key>],
        mandate: &Mandate,
        verifiers: &[VerifierKey],
        index: u64,
    ) -> Result<Vec<Arc<Key>>, Refusal> {
        let author = &signers[0];
        if author.is_root() {
            self.require_root(election, signers)?;
        }
        let mut public = BTreeSet::new();
        let mut names = BTreeSet::new();
        let mut keys = Vec::with_capacity(verifiers.len());
        for (granted, verifier) in mandate.keys.iter().zip(verifiers) {
            check_known(election, granted)?;
            if !author.is_root() {
                signers.iter().try_for_each(|key| check_grant(election, key, granted))?;
            }
            let key_ref = KeyRef::new(verifier.name(), verifier.id());
            let new = verifier.ed25519_bytes().is_some_and(|bytes| public.insert(*bytes));
            if self.knows(verifier) || !new || !names.insert(key_ref) {
                return Err(Refusal::Duplicate);
            }
            keys.push(Arc::new(Key {
                number: (self.keys.len() + keys.len()) as u32,
                verifier: verifier.clone(),
                role: granted.role.clone(),
                units: granted.units.clone(),
                contests: granted.contests.clone(),
                granter: (!author.is_root()).then_some(author.number),
                depth: if author.is_root() { 1 } else { author.depth + 1 },
                index,
            }));
        }
        Ok(keys)
    }

    /// The root keys of a manifest that this log does not know yet.
    ///
    /// # Errors
    /// Fails with `duplicate` if one is known as another key, or as a root key of the past.
    pub fn new_roots(&self, roots: &[VerifierKey], index: u64) -> Result<Vec<Arc<Key>>, Refusal> {
        let mut new = Vec::new();
        for root in roots {
            let key_ref = KeyRef::new(root.name(), root.id());
            let known = root.ed25519_bytes().is_none_or(|bytes| self.public.contains(bytes));
            match self.book.find(&key_ref) {
                Some(key) if key.verifier == *root && self.in_force(key) => {}
                None if !known => new.push(Arc::new(Key {
                    number: (self.keys.len() + new.len()) as u32,
                    verifier: root.clone(),
                    role: ROOT_ROLE.parse().expect("the root role is an id"),
                    units: Vec::new(),
                    contests: None,
                    granter: None,
                    depth: 0,
                    index,
                })),
                _ => return Err(Refusal::Duplicate),
            }
        }
        Ok(new)
    }

    /// Puts the root keys of a new manifest in force, and no others.
    pub fn set_roots(&mut self, roots: &[VerifierKey]) {
        let number = |root: &VerifierKey| {
            self.book.find(&KeyRef::new(root.name(), root.id())).map(|key| key.number)
        };
        self.roots = roots.iter().filter_map(number).collect();
    }

    /// Adds keys that were checked.
    pub fn insert(&mut self, keys: &[Arc<Key>]) {
        for key in keys {
            self.public.extend(key.verifier.ed25519_bytes());
            self.keys.push(key.clone());
            self.book.insert(key.clone());
        }
    }

    /// Checks a revocation and gives the number of its key. Changes nothing.
    pub fn revocation(
        &self,
        election: &Election,
        signers: &[Arc<Key>],
        revocation: &Revocation,
    ) -> Result<u32, Refusal> {
        let key = self.book.find(&revocation.key).ok_or(Refusal::Invalid(Field::Key))?;
        if key.is_root() {
            // Root keys go by a manifest, which shows what takes their place.
            return Err(Refusal::Invalid(Field::Key));
        }
        if signers[0].is_root() {
            self.require_root(election, signers)?;
        } else {
            let above = |signer: &Arc<Key>| {
                signer.number == key.number
                    || self.granters(key).any(|above| above.number == signer.number)
            };
            if !signers.iter().all(above) {
                return Err(Refusal::OutOfScope);
            }
        }
        // A key that fell alone may still take down what it granted; nothing falls twice.
        let known = self.revoked.get(&key.number).copied();
        let fallen = self.granters(key).any(|above| self.revoked.get(&above.number) == Some(&true));
        let adds = !fallen && (known.is_none() || (known == Some(false) && revocation.subtree));
        if adds { Ok(key.number) } else { Err(Refusal::Duplicate) }
    }
}

impl Key {
    /// Whether the key's mandate covers this unit, judged by the register in force.
    pub(super) fn covers_unit(&self, election: &Election, slot: Slot) -> bool {
        self.units
            .iter()
            .filter_map(|code| election.units.slot(code.as_str()))
            .any(|top| election.units.subtree(top).contains(&slot))
    }

    /// Whether the key's mandate covers this contest.
    pub(super) fn covers_contest(&self, contest: &Id) -> bool {
        self.contests.as_ref().is_none_or(|contests| contests.binary_search(contest).is_ok())
    }
}

/// Whether role, units and contests of a mandate exist.
fn check_known(election: &Election, granted: &MandatedKey) -> Result<(), Refusal> {
    election.role(granted.role.as_str()).ok_or(Refusal::Invalid(Field::Role))?;
    let units = granted.units.iter().all(|code| election.units.slot(code.as_str()).is_some());
    let known = |id: &Id| election.contests.find(id.as_str()).is_some();
    let contests = granted.contests.iter().flatten().all(known);
    if !units {
        return Err(Refusal::Invalid(Field::Unit));
    }
    if contests { Ok(()) } else { Err(Refusal::Invalid(Field::Contest)) }
}

/// Whether `granter` could have granted this alone.
fn check_grant(election: &Election, granter: &Key, granted: &MandatedKey) -> Result<(), Refusal> {
    let role = election.role(granter.role.as_str());
    let may = role.is_some_and(|role| role.may_grant.contains(&granted.role));
    let units = granted.units.iter().all(|code| {
        election.units.slot(code.as_str()).is_some_and(|slot| granter.covers_unit(election, slot))
    });
    let contests = match &granted.contests {
        None => granter.contests.is_none(),
        Some(contests) => contests.iter().all(|contest| granter.covers_contest(contest)),
    };
    if may && units && contests && granter.depth < DELEGATION_DEPTH_MAX {
        Ok(())
    } else {
        Err(Refusal::OutOfScope)
    }
}
