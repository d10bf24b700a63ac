//! A log for reading only: serves what verifies, of a directory that start-up refuses, too.
//!
//! The one thing that must be sound is `checkpoint`. Everything else is compared with its signed
//! head, when it is opened or when it is read, and what was lost is missing in the answers alone.
//! Nothing is written, locked or signed, and no private key is needed.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use jejak_proofs::{
    merkle::{Plan, TILE_WIDTH, TreeHead},
    note::{Checkpoint, Policy},
    tally::{KeyBook, Ledger},
};

use super::{
    Log, ManifestInForce, derived,
    endorse::{Endorsement, ToSign, read_witnessed},
    rebuild::{Rebuilt, rebuild},
    recovery::{OpenError, Opened, Published, Without, published_head, read_policy},
    sealed::SealedView,
    view::{ReadError, THE_EDGE, View},
};
use crate::store::{LeafTable, Objects, Replay, StoreError, salvage};

/// Opens the log in `dir`. What cannot be served is named in the operator's log.
///
/// # Errors
/// Fails without a policy, and without a checkpoint that this verifies.
pub(super) fn open(dir: &Path) -> Result<Log, OpenError> {
    let (policy, policy_text) = read_policy(&dir.join("policy"))?;
    let log_dir = dir.join("log");
    let objects = Objects::open(&log_dir);
    let Published::Head(published) = published_head(&objects, &policy)? else {
        return Err(ReadError::Missing("checkpoint".to_owned()).into());
    };
    let origin = published.checkpoint.origin().to_owned();
    let lacks = || OpenError::LogKey(origin.clone());
    let genesis = policy.genesis(&origin).ok_or_else(lacks)?;
    let journal_dir = log_dir.join("journal");
    report_damage(&origin, &journal_dir, published.head);
    let (tail, time_ms) = tail(&journal_dir, published.head);
    let view = match rebuild(published.head, &objects, tail) {
        Rebuilt::Whole(edge) => View::new(published.checkpoint, time_ms, edge),
        Rebuilt::Part(edge) => {
            warn(&origin, THE_EDGE, &"neither journal nor bundles have what it was made of");
            View::without_edge(published.checkpoint, time_ms, published.head, edge)
        }
    };
    match view.entry(&objects, 0) {
        Ok(Some(entry)) if jejak_proofs::merkle::leaf_hash(&entry) == genesis => {}
        Ok(_) => return Err(OpenError::Genesis),
        Err(cause) => warn(&origin, "entry 0", &cause),
    }
    let known = manifest(&log_dir, &origin, &view, &objects)
        .inspect_err(|cause| warn(&origin, "the manifest in force", cause))
        .ok();
    let (manifest, sealed) = known.unzip();
    let sealed = sealed.flatten();
    let leaves = derived::leaf_table(&view, &objects)
        .inspect_err(|cause| warn(&origin, "the table of leaf hashes", cause));
    let without = Without { writer: true, leaves: leaves.is_err() };
    let leaves = leaves.unwrap_or_else(|_| LeafTable::new());
    let witnessed = witnessed(&origin, &policy, &view, &objects);
    let endorsement = Endorsement::new(policy, false);
    endorsement.begin(witnessed, sealed.map(|view| ToSign { view, keys: Vec::new() }).as_ref())?;
    let opened = Opened { origin, log_dir, policy_text, endorsement, objects, view };
    Ok(Log(Arc::new(opened.share(leaves, KeyBook::new(), manifest, without))))
}

/// The newest checkpoint that a quorum cosigned, if its tree is one that the view extends.
fn witnessed(origin: &str, policy: &Policy, view: &View, objects: &Objects) -> Option<Checkpoint> {
    let read = read_witnessed(objects, policy);
    let found = read.inspect_err(|cause| warn(origin, "the file `witnessed`", cause)).ok()??;
    let TreeHead { size, root } = found.head();
    let roots = view.prove(objects, &Plan::root(size));
    match roots {
        Ok(roots) if size <= view.head.size && roots.first() == Some(&root) => Some(found),
        Ok(_) => {
            warn(origin, "the file `witnessed`", &OpenError::Fork { size });
            None
        }
        Err(cause) => {
            warn(origin, "the file `witnessed`", &cause);
            None
        }
    }
}

fn warn(origin: &str, lost: &str, cause: &dyn std::fmt::Display) {
    tracing::warn!(log = origin, %cause, "served without {lost}");
}

/// Says what is wrong with the journal, which start-up would refuse for it.
fn report_damage(origin: &str, dir: &Path, published: TreeHead) {
    let end = Replay::open(dir).and_then(|mut replay| {
        while replay.next_record()?.is_some() {}
        Ok((replay.head().size, replay.torn().map(|torn| torn.offset)))
    });
    let known = published.size;
    match end {
        Ok((size, _)) if size >= known => {}
        Ok((size, Some(offset))) => {
            tracing::warn!(
                log = origin,
                size,
                known,
                offset,
                "the journal's last record is damaged"
            );
        }
        Ok((size, None)) => {
            let cause = StoreError::Rollback { path: dir.to_owned(), size, known };
            tracing::warn!(log = origin, %cause, "the journal is an old one");
        }
        Err(cause) => tracing::warn!(log = origin, %cause, "the journal is damaged"),
    }
}

/// The entries of the partial bundle of this tree, as far as the journal has them, and the time
/// of the newest batch in it.
fn tail(dir: &Path, head: TreeHead) -> (Vec<Bytes>, u64) {
    let first = head.size - head.size % u64::from(TILE_WIDTH);
    let mut entries: Vec<Option<Bytes>> = vec![None; (head.size - first) as usize];
    let mut time_ms = 0;
    let salvaged = salvage(dir, |record| {
        if record.head.size <= head.size {
            time_ms = time_ms.max(record.time_ms);
        }
        for (entry, index) in record.entries.into_iter().zip(record.first..) {
            let place = index.checked_sub(first).and_then(|place| usize::try_from(place).ok());
            if let Some(place) = place.and_then(|place| entries.get_mut(place)) {
                *place = Some(entry);
            }
        }
    });
    if let Err(cause) = salvaged {
        tracing::warn!(%cause, "the journal cannot be read");
    }
    (entries.into_iter().map_while(|entry| entry).collect(), time_ms)
}

/// The manifest in force: the ledger knows which. And the recap, if the tree ends in a state.
fn manifest(
    dir: &Path,
    origin: &str,
    view: &View,
    objects: &Objects,
) -> Result<(ManifestInForce, Option<SealedView>), OpenError> {
    let (ledger, _): (Ledger, bool) =
        derived::ledger(derived::saved(dir, origin), origin, view, objects)?;
    let manifest = derived::manifest_in_force(&ledger, view, objects)?;
    // Nothing is signed here, so an older state has no checkpoint.
    let last = ledger.sealed().filter(|sealed| sealed.state.size + 1 == view.head.size);
    Ok((manifest, last.map(|sealed| SealedView::new(view, sealed.clone()))))
}
