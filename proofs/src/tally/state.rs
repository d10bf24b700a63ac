//! State entries: the log's own, each of which commits to the recap of everything before it.

use serde::{Deserialize, Serialize};

use crate::merkle::Hash;

/// Most bytes of a state entry.
pub const STATE_LEN_MAX: usize = 512;
/// Most entries between two states; a log that goes on without one breaks its rules (S5).
pub const STATE_GAP_MAX: u64 = 100_000;

/// The body of a `jejak/state/v1` entry. Nobody signs it: it is a function of the entries before
/// it, every ledger recomputes it, and the checkpoint over it signs it. Fields stand in bytewise
/// order of their names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Number of contests.
    pub contests: u64,
    /// Leaf hash of the manifest in force.
    pub manifest: Hash,
    /// Root of the recap over everything before this entry.
    pub recap: Hash,
    /// Entries that it covers: its own index.
    pub size: u64,
}
