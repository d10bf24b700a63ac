//! Attestations: what somebody else says about one logged tally.

use alloc::boxed::Box;

use serde::{Deserialize, Serialize};

use super::ids::{Id, KeyRef, UnitCode};
use crate::merkle::Hash;

/// The body of a `jejak/attestation/v1` entry. Fields stand in bytewise order of their names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attestation {
    /// The author: a key of a role that is not official.
    pub by: KeyRef,
    /// The contest of the tally.
    pub contest: Id,
    /// The election id.
    pub election: Id,
    /// Leaf hash of entry 0.
    pub genesis: Hash,
    /// Leaf hash of the tally: any that is logged, the head of its chain or an older one.
    pub leaf: Hash,
    /// Origin of the log.
    pub log: Box<str>,
    /// The unit of the tally.
    pub unit: UnitCode,
    /// What the author says of it.
    pub verdict: AttestationVerdict,
}

/// What an attestation says of a tally.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AttestationVerdict {
    /// The numbers are those that the author saw.
    Agrees,
    /// They are not.
    Disagrees,
    /// The author was not there.
    NotPresent,
    /// The author cannot read the form.
    Unreadable,
}
