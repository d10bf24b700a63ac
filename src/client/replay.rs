//! One's own replay: every entry under a sealed checkpoint, through the very ledger that the log
//! admits with. What comes out is believed because it was computed here.

use std::sync::Arc;

use jejak_proofs::{
    merkle::{BundleId, Frontier, Hash, TILE_WIDTH, leaf_hash, parse_bundle},
    note::{Checkpoint, CheckpointError, NOTE_LEN_MAX, Policy, UnverifiedCheckpoint},
    tally::{
        Body, CheckedEntry, ContestRegister, Entry, FileRef, Ledger, Manifest, REGISTER_LEN_MAX,
        Refusal, Sealed, UnitRegister,
    },
};
use rayon::prelude::*;

use super::{
    fetch::{Fetch, FetchError},
    source::{self, Bundle, ServeError, Source},
};

/// Bundles fetched at once: 4,096 entries, some 3 MB.
pub(super) const BUNDLES_AT_ONCE: usize = 16;

/// Why a log could not be replayed to its newest sealed checkpoint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The log was not reached, or refused.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The checkpoint does not verify.
    #[error("the log's checkpoint does not verify: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// A bundle or a register did not arrive, or is not what its path names.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// Entry 0 is not the one that the policy pins.
    #[error("entry 0 of this log is not the genesis that the policy pins")]
    Genesis,
    /// An entry that the rules refuse stands in the log.
    #[error("entry {index} breaks the rules of the log: {refusal}")]
    Refused {
        /// Its index.
        index: u64,
        /// The rule.
        refusal: Refusal,
    },
    /// The entries do not lead to the signed root.
    #[error("the {size} entries that the log serves do not lead to the root that it signed")]
    Root {
        /// Their number.
        size: u64,
    },
    /// No state covers the newest entry, so the checkpoint commits to no recap of all.
    #[error("the checkpoint over {size} entries does not end in a state")]
    Unsealed {
        /// Its size.
        size: u64,
    },
}

/// A log as of one sealed checkpoint, computed from its entries.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// The ledger after its last entry.
    pub ledger: Ledger,
    /// The recap that the last entry commits to.
    pub sealed: Arc<Sealed>,
}

/// Replays the log up to its newest sealed checkpoint. `seen` is told each entry, its index and
/// the number of all, in order, after the ledger has taken it; nothing of it is proven before this
/// returns.
///
/// # Errors
/// As [`ReplayError`] says: the first entry that breaks a rule ends it.
pub fn replay(
    fetch: &Fetch,
    policy: &Policy,
    genesis: Hash,
    mut seen: impl FnMut(&Entry, u64, u64),
) -> Result<Replayed, ReplayError> {
    let body = fetch.get("checkpoint", NOTE_LEN_MAX as u64)?.body;
    let checkpoint = policy.verify(UnverifiedCheckpoint::parse(&body)?)?;
    let size = checkpoint.head().size;
    let mut replay = Replay::new(checkpoint.origin(), genesis);
    let ids = BundleId::of_tree(0, size);
    source::bundles_ahead(fetch, ids, BUNDLES_AT_ONCE, |groups| {
        groups.into_iter().try_for_each(|bundles| {
            replay.judge(fetch, &bundles?, &mut |entry, frontier| {
                seen(entry, frontier.size() - 1, size)
            })
        })
    })?;
    let Replay { ledger, frontier, refused, .. } = replay;
    if frontier.head() != checkpoint.head() {
        return Err(ReplayError::Root { size });
    }
    // Only now is it the log that is to blame, not something between it and us.
    if let Some((index, refusal)) = refused {
        return Err(ReplayError::Refused { index, refusal });
    }
    let sealed = ledger.sealed().filter(|_| ledger.unsealed() == 0 && size > 0).cloned();
    let sealed = sealed.ok_or(ReplayError::Unsealed { size })?;
    Ok(Replayed { checkpoint, ledger, sealed })
}

/// A ledger on its way through the entries of a log.
#[derive(Debug)]
pub(super) struct Replay {
    genesis: Hash,
    pub(super) ledger: Ledger,
    /// The tree over the entries so far.
    pub(super) frontier: Frontier,
    /// The first entry that the rules refuse; after it entries are only hashed.
    pub(super) refused: Option<(u64, Refusal)>,
}

impl Replay {
    pub(super) fn new(origin: &str, genesis: Hash) -> Self {
        Self { genesis, ledger: Ledger::new(origin), frontier: Frontier::new(), refused: None }
    }

    /// Takes the entries of some bundles, in order; those that it has already are passed over.
    /// `seen` is told each entry that the ledger took, and the tree that ends with it.
    pub(super) fn judge(
        &mut self,
        source: &impl Source,
        bundles: &[Bundle],
        seen: &mut dyn FnMut(&Entry, &Frontier),
    ) -> Result<(), ReplayError> {
        let mut items = Vec::new();
        for Bundle { id, bytes, .. } in bundles {
            let malformed = |_| ServeError::Malformed { path: id.path() };
            let entries = parse_bundle(*id, bytes).map_err(malformed)?;
            let start = id.index * u64::from(TILE_WIDTH);
            let known = self.frontier.size().saturating_sub(start);
            items.extend(entries.into_iter().skip(usize::try_from(known).unwrap_or(usize::MAX)));
        }
        // Signatures are the cost of a replay, and need only the keys: every core works.
        let keys = self.ledger.keys();
        let check = |bytes: &&[u8]| {
            let checked = Entry::parse(bytes).and_then(|entry| entry.check(keys));
            (leaf_hash(bytes), checked)
        };
        let judged: Vec<_> = items.par_iter().map(check).collect();
        for (bytes, (leaf, checked)) in items.into_iter().zip(judged) {
            let index = self.frontier.size();
            if index == 0 && leaf != self.genesis {
                return Err(ReplayError::Genesis);
            }
            self.frontier.push(leaf);
            if self.refused.is_some() {
                continue;
            }
            match self.apply(source, bytes, checked)? {
                Ok(checked) => seen(checked.entry(), &self.frontier),
                Err(refusal) => self.refused = Some((index, refusal)),
            }
        }
        Ok(())
    }

    fn apply(
        &mut self,
        source: &impl Source,
        bytes: &[u8],
        checked: Result<CheckedEntry, Refusal>,
    ) -> Result<Result<CheckedEntry, Refusal>, ReplayError> {
        let checked = match checked {
            // The mandate may stand between: look again with the keys of now.
            Err(Refusal::UnknownKey) => {
                Entry::parse(bytes).and_then(|entry| entry.check(self.ledger.keys()))
            }
            checked => checked,
        };
        let Ok(checked) = checked else { return Ok(checked) };
        if let Body::Manifest(manifest) = checked.entry().body() {
            self.provide(source, manifest)?;
        }
        Ok(self.ledger.apply(&checked).map(|_| checked))
    }

    /// Fetches the registers that a manifest names.
    fn provide(&mut self, source: &impl Source, manifest: &Manifest) -> Result<(), ReplayError> {
        let units = register(source, &manifest.registers.units, |bytes| {
            UnitRegister::parse(bytes).ok().map(|register| (register.sha256(), register))
        })?;
        self.ledger.provide_units(Arc::new(units));
        let contests = register(source, &manifest.registers.contests, |bytes| {
            ContestRegister::parse(bytes).ok().map(|register| (register.sha256(), register))
        })?;
        self.ledger.provide_contests(Arc::new(contests));
        Ok(())
    }
}

fn register<T>(
    source: &impl Source,
    file: &FileRef,
    parse: impl Fn(&[u8]) -> Option<(Hash, T)>,
) -> Result<T, ReplayError> {
    let path = format!("register/{}", file.sha256);
    let bytes = source::file(source, path.clone(), REGISTER_LEN_MAX as u64, &file.sha256)?;
    let named = parse(&bytes).filter(|(sha256, _)| *sha256 == file.sha256);
    let malformed = ServeError::Malformed { path };
    named.map(|(_, register)| register).ok_or(ReplayError::Serve(malformed))
}
