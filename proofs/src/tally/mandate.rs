//! Who may speak: mandates, revocations, and the freeze that ends a log.

use alloc::{boxed::Box, vec::Vec};

use serde::{Deserialize, Serialize};

use super::{
    ids::{Id, KeyRef, UnitCode},
    refusal::{Field, Refusal},
};
use crate::{
    merkle::Hash,
    note::{KeyKind, VerifierKey},
};

/// Most keys that one mandate names.
pub const MANDATE_KEYS_MAX: usize = 400;
/// Most units, or contests, of one key.
pub const SCOPE_MAX: usize = 256;
/// Longest chain of grants below a root key.
pub const DELEGATION_DEPTH_MAX: u8 = 8;

/// The body of a `jejak/mandate/v1` entry. Fields stand in bytewise order of their names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mandate {
    /// The author: a root key, or a key whose role may grant.
    pub by: KeyRef,
    /// The election id.
    pub election: Id,
    /// Leaf hash of entry 0.
    pub genesis: Hash,
    /// The keys that may speak from the next entry on; at most [`MANDATE_KEYS_MAX`].
    pub keys: Vec<MandatedKey>,
    /// Origin of the log.
    pub log: Box<str>,
}

/// One key of a mandate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MandatedKey {
    /// The contests it may speak about, ascending; null for all.
    pub contests: Option<Vec<Id>>,
    /// Its role, one of the manifest's.
    pub role: Id,
    /// Units, ascending; each means itself and all below it.
    pub units: Vec<UnitCode>,
    /// The key. Its name is `<role>/<unit>`, with one of `units`.
    pub vkey: Box<str>,
}

/// The body of a `jejak/revocation/v1` entry. Fields stand in bytewise order of their names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revocation {
    /// The author: the key itself, a granter above it, or root keys.
    pub by: KeyRef,
    /// The election id.
    pub election: Id,
    /// Leaf hash of entry 0.
    pub genesis: Hash,
    /// The key that no longer speaks.
    pub key: KeyRef,
    /// Origin of the log.
    pub log: Box<str>,
    /// Why.
    pub reason: RevocationReason,
    /// Whether every key granted through it falls too.
    pub subtree: bool,
}

/// Why a key is revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RevocationReason {
    /// Somebody else may hold it.
    Compromised,
    /// Its task is done.
    Ended,
    /// Nobody holds it.
    Lost,
    /// Another key takes its place.
    Replaced,
}

/// The body of a `jejak/freeze/v1` entry: the log ends here. Fields stand in bytewise order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Freeze {
    /// The author: a root key.
    pub by: KeyRef,
    /// SHA-256 of the decision that ends the log.
    pub decision: Hash,
    /// The election id.
    pub election: Id,
    /// Leaf hash of entry 0.
    pub genesis: Hash,
    /// Origin of the log.
    pub log: Box<str>,
    /// Why.
    pub reason: FreezeReason,
}

/// Why a log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FreezeReason {
    /// The result is proclaimed.
    Completed,
    /// A log key or a root key may be in other hands.
    Compromised,
    /// Another log goes on.
    Replaced,
}

/// Reads a vkey that signs entries: Ed25519, not weak.
///
/// # Errors
/// Fails with `invalid_key`.
pub(super) fn entry_key(vkey: &str) -> Result<VerifierKey, Refusal> {
    VerifierKey::parse(vkey)
        .ok()
        .filter(|key| key.kind() == KeyKind::Ed25519)
        .ok_or(Refusal::Invalid(Field::Key))
}

impl Mandate {
    /// The parsed keys, in order. Costs two scalar multiplications a key: done where many cores
    /// can share it, not in the ledger.
    pub(super) fn verifiers(&self) -> Result<Vec<VerifierKey>, Refusal> {
        if !(1..=MANDATE_KEYS_MAX).contains(&self.keys.len()) {
            return Err(Refusal::Invalid(Field::Keys));
        }
        self.keys.iter().map(MandatedKey::verifier).collect()
    }
}

impl MandatedKey {
    fn verifier(&self) -> Result<VerifierKey, Refusal> {
        let rising = self.units.is_sorted_by(|a, b| a < b);
        if !rising || !(1..=SCOPE_MAX).contains(&self.units.len()) {
            return Err(Refusal::Invalid(Field::Units));
        }
        if let Some(contests) = &self.contests
            && !(contests.is_sorted_by(|a, b| a < b) && (1..=SCOPE_MAX).contains(&contests.len()))
        {
            return Err(Refusal::Invalid(Field::Contests));
        }
        let key = entry_key(&self.vkey)?;
        let named = key.name().split_once('/').is_some_and(|(role, unit)| {
            role == self.role.as_str() && self.units.iter().any(|code| code.as_str() == unit)
        });
        if named { Ok(key) } else { Err(Refusal::Invalid(Field::Name)) }
    }
}
