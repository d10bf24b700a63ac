//! The newest sealed tree: one that ends in a state, with the recap that the state commits to.

use std::sync::Arc;

use jejak_proofs::{
    merkle::{Hash, TreeHead},
    note::{Checkpoint, Receipt, UnverifiedCheckpoint},
    tally::{Body, ContestRecap, Place, Sealed},
};
use serde_json::{Value, json};

use super::view::View;

/// A sealed checkpoint and its recap. Immutable: readers hold one while the log goes on.
#[derive(Clone, Debug)]
pub struct SealedView {
    /// The signed checkpoint.
    pub checkpoint: UnverifiedCheckpoint,
    /// The tree, whose last entry is the state.
    pub head: TreeHead,
    /// The checkpoint as a note.
    pub note: Arc<str>,
    /// When those whom the policy asks last vouched for it, in POSIX seconds: a quorum of
    /// witnesses, or the log itself where there is none. `None` if they have not.
    pub vouched: Option<u64>,
    /// State and recap; `None` in a log that makes no states, and of a tree that was sealed before
    /// the newest one and before the log was started.
    state: Option<Arc<Sealed>>,
}

impl SealedView {
    /// The tree of `view`, whose last entry is this state.
    pub(super) fn new(view: &View, state: Arc<Sealed>) -> Self {
        Self { state: Some(state), ..Self::unsealed(view) }
    }

    /// A tree that was sealed before the newest one.
    pub(super) fn older(checkpoint: Checkpoint, state: Arc<Sealed>) -> Self {
        Self { state: Some(state), ..Self::of(checkpoint.into()) }
    }

    /// A tree that a quorum cosigned before the log was started.
    pub(super) fn witnessed(checkpoint: Checkpoint, vouched: u64) -> Self {
        Self { vouched: Some(vouched), ..Self::of(checkpoint.into()) }
    }

    fn of(checkpoint: UnverifiedCheckpoint) -> Self {
        let (head, note): (_, Arc<str>) = (checkpoint.claimed_head(), checkpoint.note().into());
        Self { checkpoint, head, note, vouched: None, state: None }
    }

    /// The same tree under a checkpoint with more signatures.
    pub(super) fn under(&self, checkpoint: Checkpoint, vouched: Option<u64>) -> Self {
        Self { state: self.state.clone(), vouched, ..Self::of(checkpoint.into()) }
    }

    /// What stands in for a sealed tree in a log that makes no states.
    pub(super) fn unsealed(view: &View) -> Self {
        Self::of(view.checkpoint.clone())
    }

    /// Whether the recap of this tree is here.
    pub(super) fn has_recap(&self) -> bool {
        self.state.is_some()
    }

    /// The recap of `other`, if that is the same tree.
    pub(super) fn with_recap_of(mut self, other: &Self) -> Self {
        if self.head == other.head {
            self.state.clone_from(&other.state);
        }
        self
    }

    /// Index and leaf hash of the state entry.
    pub(super) fn state_entry(&self) -> Option<(u64, Hash)> {
        let state = &self.state.as_ref()?.state;
        let text = Body::State(state.clone()).text();
        Some((state.size, jejak_proofs::merkle::leaf_hash(text.as_bytes())))
    }

    /// The recap proof of a unit, given the receipt of the state entry under this checkpoint.
    pub(super) fn prove(&self, contest: &str, unit: &str, receipt: Receipt) -> Option<String> {
        Some(self.state.as_ref()?.prove(contest, unit)?.with(receipt).to_text())
    }

    fn find(&self, contest: &str, unit: &str) -> Option<(&ContestRecap, Place)> {
        let (_, recap) = self.state.as_ref()?.recap().find(contest)?;
        Some((recap, recap.find(unit)?))
    }

    /// What `unit/<contest>/<code>` says: the record of a unit.
    pub fn unit(&self, contest: &str, unit: &str) -> Option<Value> {
        let (recap, place) = self.find(contest, unit)?;
        let shape = recap.shape();
        let station = shape.is_station(place);
        Some(json!({
            "below": (!station).then(|| recap.below(place)),
            "contest": contest,
            "counters": recap.counters(place),
            "kind": kind(recap, place),
            "name": name(recap, place),
            "options": recap.contest().options,
            "parent": shape.parent(place).map(|parent| recap.code(parent)),
            "record": recap.record(place),
            "size": self.head.size,
            "unit": unit,
        }))
    }

    /// What `unit/<contest>/<code>/history` says: every entry about a unit, oldest first.
    pub fn history(&self, contest: &str, unit: &str) -> Option<Value> {
        let (recap, place) = self.find(contest, unit)?;
        Some(json!({
            "contest": contest,
            "indexes": recap.entries(place),
            "size": self.head.size,
            "unit": unit,
        }))
    }

    /// What `recap/<contest>/<code>` says: the sums of a unit and of each child.
    pub fn recap(&self, contest: &str, unit: &str) -> Option<Value> {
        let (recap, place) = self.find(contest, unit)?;
        let child = |child| {
            json!({
                "counters": recap.counters(child),
                "kind": kind(recap, child),
                "name": name(recap, child),
                "status": recap.record(child).status,
                "unit": recap.code(child),
            })
        };
        Some(json!({
            "children": recap.shape().children(place).map(child).collect::<Vec<_>>(),
            "contest": contest,
            "counters": recap.counters(place),
            "options": recap.contest().options,
            "size": self.head.size,
            "unit": unit,
        }))
    }
}

fn kind(recap: &ContestRecap, place: Place) -> &str {
    recap.units().kind(recap.shape().slot(place)).as_str()
}

fn name(recap: &ContestRecap, place: Place) -> &str {
    recap.units().name(recap.shape().slot(place))
}
