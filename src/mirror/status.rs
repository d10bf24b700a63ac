//! What a mirror knows of itself: how far each copy is, and what is in its way.

use std::time::Instant;

use jejak_proofs::merkle::TreeHead;

/// How far a copy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The head that is served; `None` while there is none.
    pub head: Option<TreeHead>,
    /// Files that were fetched since the start.
    pub written: u64,
}

/// What a follower has come to know since the start.
#[derive(Debug, Default)]
pub(super) struct Status {
    /// When the source last showed a head that the copy could follow, and everything under it.
    pub agreed: Option<Instant>,
    /// Why the last look at the source changed nothing, if so.
    pub trouble: Option<String>,
    /// Files fetched.
    pub written: u64,
    /// Nothing can be pulled any more: what is durable is not known. What is there is served on.
    pub stuck: bool,
}
