//! What `log.json` says about a log: where to find what, not to be trusted without the policy.

use std::sync::PoisonError;

use jejak_proofs::{
    merkle::{ENTRY_LEN_MAX, Hash},
    tally::{Body, Entry},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{BATCH_BYTES_MAX, BATCH_ENTRIES_MAX, Log};

/// The content of `log.json`. Fields stand in bytewise order of their names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// What the log takes.
    pub limits: Limits,
    /// The manifest in force; `null` where a damaged log is served for reading and its ledger
    /// could not be rebuilt.
    pub manifest: Option<ManifestInForce>,
    /// The name of the log in its checkpoints.
    pub origin: String,
    /// The policy file, as the operator has it.
    pub policy: String,
    /// The keys that sign checkpoints.
    pub vkeys: Vec<String>,
}

/// What a log takes at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Bytes of a batch.
    pub batch_bytes: usize,
    /// Entries of a batch.
    pub batch_entries: usize,
    /// Bytes of an entry.
    pub entry_bytes: usize,
}

/// Which manifest is in force, and what it names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestInForce {
    /// SHA-256 of the contest register.
    pub contests: Hash,
    /// The election id.
    pub election: String,
    /// Index of its entry.
    pub index: u64,
    /// Its leaf hash.
    pub leaf: Hash,
    /// SHA-256 of the unit register.
    pub units: Hash,
    /// Its version.
    pub version: u32,
}

impl Log {
    /// What `log.json` says: where to find what, not to be trusted without the policy.
    pub fn describe(&self) -> Value {
        let manifest = self.0.manifest.read().unwrap_or_else(PoisonError::into_inner).clone();
        let description = Description {
            limits: Limits::OURS,
            manifest,
            origin: self.origin().to_owned(),
            policy: self.0.policy_text.clone(),
            vkeys: self.policy().log_keys(self.origin()).iter().map(ToString::to_string).collect(),
        };
        serde_json::to_value(description).expect("a description is text and numbers")
    }
}

impl Description {
    /// Describes a log whose manifest in force is the entry `manifest` at `index`; `None` if that
    /// is no manifest.
    pub fn new(
        origin: &str,
        vkeys: Vec<String>,
        policy: String,
        index: u64,
        manifest: &Entry,
    ) -> Option<Self> {
        let manifest = Some(ManifestInForce::of(index, manifest)?);
        Some(Self { limits: Limits::OURS, manifest, origin: origin.to_owned(), policy, vkeys })
    }

    /// The bytes of `log.json`.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a description is text and numbers")
    }
}

impl Limits {
    /// The limits of this version.
    pub const OURS: Self = Self {
        batch_bytes: BATCH_BYTES_MAX,
        batch_entries: BATCH_ENTRIES_MAX,
        entry_bytes: ENTRY_LEN_MAX,
    };
}

impl ManifestInForce {
    pub(super) fn of(index: u64, entry: &Entry) -> Option<Self> {
        let Body::Manifest(manifest) = entry.body() else { return None };
        Some(Self {
            contests: manifest.registers.contests.sha256,
            election: manifest.election.to_string(),
            index,
            leaf: entry.leaf(),
            units: manifest.registers.units.sha256,
            version: manifest.version,
        })
    }
}
