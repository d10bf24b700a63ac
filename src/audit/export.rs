//! A complete static copy of a log: files that any web server serves as they are.

use std::collections::BTreeMap;

use jejak_proofs::{
    merkle::{self, BundleId, HASH_LEN, Hash, TILE_WIDTH, TileId, TilePath},
    note::{Checkpoint, Policy, UnverifiedCheckpoint},
};

use super::{
    AuditError, CHECKPOINT, Finding, Report, Source, View, check, extras,
    journal::JournalView,
    sink::Sink,
    source::Fault,
    tree::{BUNDLE_LEN_MAX, Row, Tree, WIDTH},
    walk::Walk,
};
use crate::{
    log::Description,
    store::{Directory, StoreError},
};

/// Why there is no export, or not a whole one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The log could not be read, or has no manifest.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// What is to be exported is damaged; nothing was written.
    #[error("the log is damaged")]
    Damaged(Vec<Finding>),
    /// The target holds a tree that this log does not extend; nothing was written.
    #[error("the target holds another history, or a longer one, of {size} entries")]
    OtherHistory {
        /// Entries that the target's checkpoint covers.
        size: u64,
    },
    /// The target holds files that no export writes; nothing was written.
    #[error("the target is not empty and holds no export")]
    NotAnExport,
    /// A file could not be written. The target's checkpoint is the old one.
    #[error(transparent)]
    Write(#[from] StoreError),
}

/// What an export did.
#[derive(Clone, Debug)]
pub struct Exported {
    /// The checkpoint that was exported.
    pub checkpoint: Checkpoint,
    /// Files that were written.
    pub written: u64,
    /// Files that were there already, byte for byte.
    pub kept: u64,
    /// Partial files of earlier sizes that were removed.
    pub removed: u64,
    /// The audit of the target, read back after everything was written and synced.
    pub report: Report,
}

/// Writes a static copy of the log in the directory `source` into `target`.
///
/// The copy is the tree of the newest checkpoint: full and partial tiles and bundles, registers,
/// `log.json`, the checkpoint last. It is checked before it is written and after. Run again, it
/// writes what is new. Partial files are those of this size; those of earlier exports stay until
/// the full file is there, as C2SP tlog-tiles demands.
///
/// A server may read `target` meanwhile: every file appears whole, and the checkpoint only after
/// everything that it covers.
///
/// # Errors
/// Fails without writing anything if the log is damaged, or if `target` holds something else.
pub fn export(
    source: &Source,
    policy: &Policy,
    policy_text: &str,
    target: &Directory,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Exported, ExportError> {
    let view = View::read(source, policy)?;
    let Some(checkpoint) = view.checkpoint.clone() else {
        return Err(ExportError::Damaged(view.findings));
    };
    let head = checkpoint.head();
    let tree = Tree { source, journal: &view.journal, size: head.size };
    let walk = Walk::new(tree, head.size, progress);
    let edge = walk.run(Some(head.root))?;
    if walk.found().findings.is_empty() && !walk.leads_to(&edge, head)? {
        // The journal is the right edge, and it is not here.
        return Err(ExportError::Damaged(view.findings));
    }
    let named = extras::registers(&walk.found().manifests);
    for (hash, len) in named {
        extras::register(&walk, &extras::register_path(&hash), &hash, Some(len))?;
    }
    if !walk.found().findings.is_empty() {
        return Err(ExportError::Damaged(walk.into_found().findings));
    }
    check_target(target, &walk, &edge, policy)?;

    let copy = Copy(Sink::new(target));
    copy.tree(&walk.tree, &edge)?;
    copy.registers(source, &walk)?;
    let keys = policy.log_keys(checkpoint.origin()).iter().map(ToString::to_string).collect();
    let manifest = walk.found().manifests.last_key_value().map(|(i, entry)| (*i, entry.clone()));
    let description = manifest.and_then(|(index, manifest)| {
        let text = policy_text.to_owned();
        Description::new(checkpoint.origin(), keys, text, index, &manifest)
    });
    if let Some(description) = description {
        let bytes = description.to_bytes();
        copy.0.put(extras::DESCRIPTION, &bytes, bytes.len() as u64)?;
    }
    // Disk: after this sync everything that the checkpoint covers is there; then the checkpoint.
    target.sync()?;
    copy.0.put(CHECKPOINT, checkpoint.note().as_bytes(), checkpoint.note().len() as u64)?;
    target.sync()?;
    let (written, kept) = copy.0.counts();
    let removed = remove_partials(target, &walk.tree)?;
    let report = check(&Source::directory(target.root())?, policy, &|_, _| {})?;
    Ok(Exported { checkpoint, written, kept, removed, report })
}

/// The target must be empty, or an earlier export of the same log.
fn check_target(
    target: &Directory,
    walk: &Walk<'_>,
    edge: &[(TileId, Row)],
    policy: &Policy,
) -> Result<(), ExportError> {
    let Some(bytes) = target.read(CHECKPOINT, jejak_proofs::note::NOTE_LEN_MAX as u64)? else {
        let known = |path: &String| {
            path.starts_with("tile/")
                || path.starts_with(extras::REGISTERS)
                || path == extras::DESCRIPTION
                || path.ends_with(".tmp")
        };
        let empty = target.paths()?.iter().all(known);
        return if empty { Ok(()) } else { Err(ExportError::NotAnExport) };
    };
    // A damaged checkpoint there says nothing, and will be replaced.
    let old = UnverifiedCheckpoint::parse(&bytes).and_then(|read| policy.verify_log(read));
    let Ok(old) = old else { return Ok(()) };
    let head = old.head();
    if head.size > walk.tree.size || !walk.leads_to(edge, head)? {
        return Err(ExportError::OtherHistory { size: head.size });
    }
    Ok(())
}

/// Writes the tree of a log into a target.
struct Copy<'a>(Sink<'a>);

impl Copy<'_> {
    fn tree(&self, tree: &Tree<'_>, edge: &[(TileId, Row)]) -> Result<(), ExportError> {
        for id in TileId::of_tree(0, tree.size) {
            let hashes = match edge.iter().find(|(partial, _)| *partial == id) {
                Some((_, row)) => row.iter().flatten().copied().collect(),
                None => tree.tile(id.level, id.index)?.hashes,
            };
            let bytes: Vec<u8> = hashes.iter().flat_map(|hash: &Hash| *hash.as_bytes()).collect();
            self.0.put(&id.path(), &bytes, WIDTH * HASH_LEN as u64)?;
        }
        for id in BundleId::of_tree(0, tree.size) {
            let bytes = match id.width {
                TILE_WIDTH => tree.bundle(id.index)?.bytes,
                _ => partial_bundle(tree, id)?,
            };
            self.0.put(&id.path(), &bytes, BUNDLE_LEN_MAX)?;
        }
        Ok(())
    }

    fn registers(&self, source: &Source, walk: &Walk<'_>) -> Result<(), ExportError> {
        let named: BTreeMap<Hash, u64> = extras::registers(&walk.found().manifests);
        for (hash, len) in named {
            let path = extras::register_path(&hash);
            match source.read(&path, len) {
                Ok(Some(bytes)) => self.0.put(&path, &bytes, len)?,
                // It was read a moment ago. The audit of the target will name what is missing.
                Ok(None) | Err(Fault::Damage(_)) => {}
                Err(Fault::Stop(error)) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// The last bundle of a tree: from the journal, or, if the log has grown on, cut from the full one.
fn partial_bundle(tree: &Tree<'_>, id: BundleId) -> Result<Vec<u8>, ExportError> {
    let journal: &JournalView = tree.journal;
    let first = id.index * WIDTH;
    let width = usize::from(id.width);
    let mut bytes = Vec::new();
    let skip = first.checked_sub(journal.tail_first).and_then(|skip| usize::try_from(skip).ok());
    let tail = skip.and_then(|skip| journal.tail.get(skip..skip + width));
    if let Some(tail) = tail {
        for entry in tail {
            merkle::push_entry(&mut bytes, entry).expect("a journal holds no longer entries");
        }
        return Ok(bytes);
    }
    let mut whole = tree.bundle(id.index)?.bytes;
    whole.truncate(merkle::prefix_len(&whole, id.width).unwrap_or(0));
    Ok(whole)
}

/// Removes partial files whose full form is there now.
fn remove_partials(target: &Directory, tree: &Tree<'_>) -> Result<u64, ExportError> {
    let mut removed = 0;
    for path in target.paths()? {
        let full = match path.parse() {
            Ok(TilePath::Tile(id)) if id.width < TILE_WIDTH => tree.width(id.level, id.index),
            Ok(TilePath::Bundle(id)) if id.width < TILE_WIDTH => tree.width(0, id.index),
            _ => continue,
        };
        if full == TILE_WIDTH {
            target.remove_partial(&path)?;
            removed += 1;
        }
    }
    Ok(removed)
}
