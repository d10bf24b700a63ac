//! A replay that goes on: the ledger of a log, kept in memory, moved from one signed head to the
//! next by the entries between them.
//!
//! The ledger moves only over entries whose leaf hashes lead to a head that the log signed: leaf
//! hashes come first, out of tiles, and the entries are held against them. So what something
//! between us and the log made up costs an attempt, never the ledger.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use jejak_proofs::{
    merkle::{BundleId, Frontier, Hash, TILE_WIDTH, TreeHead, leaf_hash, parse_bundle},
    tally::{Body, Refusal},
};

use super::{
    replay::{BUNDLES_AT_ONCE, Replay, ReplayError},
    source::{self, Bundle, ServeError, Source},
};

/// Tiles of leaf hashes fetched at once: half a MiB.
const TILES_AT_ONCE: usize = 64;

/// Sealed heads that are remembered, 40 bytes each: an hour of a log that seals every second.
const SEALED_MAX: usize = 4_096;

/// Why a head is not found right.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecountError {
    /// A tile, a bundle or a register did not arrive, or is not what its path names: try again,
    /// accuse no one.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// Stopped before the end.
    #[error("stopped")]
    Stopped,
    /// Entry 0 is not the one that is pinned.
    #[error("entry 0 of the log is not the pinned genesis")]
    Genesis,
    /// What the log serves leads to another root than the one that it signed.
    #[error("the {size} entries that the log serves do not lead to the root that it signed")]
    Root {
        /// Their number.
        size: u64,
    },
    /// An entry that the rules refuse stands in the log; a wrong state is one.
    #[error("entry {index} breaks the rules of the log: {refusal}")]
    Refused {
        /// Its index.
        index: u64,
        /// The rule.
        refusal: Refusal,
    },
    /// The tree does not end in a state, so it commits to no recap of all.
    #[error("the tree of {size} entries does not end in a state")]
    Unsealed {
        /// Its size.
        size: u64,
    },
    /// A head from before those that are remembered.
    #[error("the head of {size} entries is older than those that are remembered")]
    TooOld {
        /// Its size.
        size: u64,
    },
}

impl RecountError {
    /// Whether the log is not to blame, so that the same head can be found right later.
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Serve(_) | Self::Stopped)
    }
}

impl From<ReplayError> for RecountError {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Serve(error) => Self::Serve(error),
            ReplayError::Refused { index, refusal } => Self::Refused { index, refusal },
            ReplayError::Root { size } => Self::Root { size },
            ReplayError::Unsealed { size } => Self::Unsealed { size },
            // Judging bundles fetches no checkpoint: what is left is the first entry.
            ReplayError::Genesis | ReplayError::Fetch(_) | ReplayError::Checkpoint(_) => {
                Self::Genesis
            }
        }
    }
}

/// A log's ledger between two heads.
#[derive(Debug)]
pub struct Recount {
    replay: Replay,
    /// The newest trees that end in a state which the ledger found right.
    sealed: VecDeque<TreeHead>,
}

impl Recount {
    /// A recount of the log `origin` that has seen nothing; `genesis` is the leaf hash of entry 0.
    pub fn new(origin: &str, genesis: Hash) -> Self {
        Self { replay: Replay::new(origin, genesis), sealed: VecDeque::new() }
    }

    /// Checks that every entry of the tree `head` is admissible and that the tree ends in a state
    /// which is the one that follows from the entries before it.
    ///
    /// Reads what is new since the head before and nothing else. `progress` is set to the number of
    /// entries done.
    ///
    /// # Security
    /// Take `head` from a checkpoint that the log signed: a head that nobody signed would move the
    /// ledger onto entries that nobody logged.
    ///
    /// # Errors
    /// As [`RecountError`] says. After [`RecountError::Refused`] no later head is ever right.
    pub fn confirm(
        &mut self,
        source: &impl Source,
        head: TreeHead,
        stop: &AtomicBool,
        progress: &AtomicU64,
    ) -> Result<(), RecountError> {
        if head.size < self.replay.frontier.size() {
            return self.look_back(head);
        }
        if let Some((index, refusal)) = self.replay.refused.clone() {
            return Err(RecountError::Refused { index, refusal });
        }
        let leaves = self.leaves(source, head, stop)?;
        let start = self.replay.frontier.size();
        let ids = BundleId::of_tree(start, head.size);
        source::bundles_ahead(source, ids, BUNDLES_AT_ONCE, |groups| {
            for bundles in groups {
                if stop.load(Ordering::Relaxed) {
                    return Err(RecountError::Stopped);
                }
                let bundles = bundles?;
                check_leaves(&bundles, start, &leaves)?;
                self.take(source, &bundles)?;
                progress.store(self.replay.frontier.size(), Ordering::Relaxed);
            }
            Ok(())
        })?;
        self.verdict(head)
    }

    /// Takes entries whose leaf hashes are known to be the log's.
    fn take(&mut self, source: &impl Source, bundles: &[Bundle]) -> Result<(), RecountError> {
        let sealed = &mut self.sealed;
        let judged = self.replay.judge(source, bundles, &mut |entry, frontier| {
            if matches!(entry.body(), Body::State(_)) {
                sealed.truncate(SEALED_MAX - 1);
                sealed.push_front(frontier.head());
            }
        });
        // Nobody reads the recap here.
        self.replay.ledger.forget_sealed();
        Ok(judged?)
    }

    fn verdict(&self, head: TreeHead) -> Result<(), RecountError> {
        if let Some((index, refusal)) = self.replay.refused.clone() {
            return Err(RecountError::Refused { index, refusal });
        }
        match self.sealed.front() {
            Some(newest) if *newest == head => Ok(()),
            _ => Err(RecountError::Unsealed { size: head.size }),
        }
    }

    /// A head that the ledger has passed.
    fn look_back(&self, head: TreeHead) -> Result<(), RecountError> {
        let size = head.size;
        match self.sealed.iter().find(|sealed| sealed.size <= size) {
            Some(sealed) if *sealed == head => Ok(()),
            Some(sealed) if sealed.size == size => Err(RecountError::Root { size }),
            Some(_) => Err(RecountError::Unsealed { size }),
            None => Err(RecountError::TooOld { size }),
        }
    }

    /// The leaf hashes from here to `head`, which lead to its root.
    fn leaves(
        &self,
        source: &impl Source,
        head: TreeHead,
        stop: &AtomicBool,
    ) -> Result<Vec<Hash>, RecountError> {
        let mut frontier: Frontier = self.replay.frontier.clone();
        let mut all = Vec::new();
        let mut places = BundleId::of_tree(frontier.size(), head.size).peekable();
        while places.peek().is_some() {
            if stop.load(Ordering::Relaxed) {
                return Err(RecountError::Stopped);
            }
            let group: Vec<BundleId> = places.by_ref().take(TILES_AT_ONCE).collect();
            for (place, leaves) in group.iter().zip(source::leaf_tiles(source, &group)?) {
                let new = leaves.get(known_of(place, frontier.size())..).unwrap_or_default();
                new.iter().for_each(|leaf| frontier.push(*leaf));
                all.extend_from_slice(new);
            }
        }
        let fits = frontier.head() == head;
        if fits { Ok(all) } else { Err(RecountError::Root { size: head.size }) }
    }
}

/// How many entries of a bundle are below `size`.
fn known_of(place: &BundleId, size: u64) -> usize {
    let start = place.index * u64::from(TILE_WIDTH);
    usize::try_from(size.saturating_sub(start)).unwrap_or(usize::MAX)
}

/// Holds the entries of bundles from index `start` on against `leaves`, which begin there.
fn check_leaves(bundles: &[Bundle], start: u64, leaves: &[Hash]) -> Result<(), ServeError> {
    for Bundle { id, bytes, .. } in bundles {
        let malformed = || ServeError::Malformed { path: id.path() };
        let entries = parse_bundle(*id, bytes).map_err(|_| malformed())?;
        let first = id.index * u64::from(TILE_WIDTH);
        for (entry, index) in entries.into_iter().zip(first..).skip(known_of(id, start)) {
            let leaf = usize::try_from(index - start).ok().and_then(|at| leaves.get(at));
            if leaf != Some(&leaf_hash(entry)) {
                return Err(malformed());
            }
        }
    }
    Ok(())
}
