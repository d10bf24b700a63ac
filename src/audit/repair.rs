//! Repair: what is damaged or missing is fetched by its place from another source, and taken only
//! if it leads to the log's own signed head.
//!
//! Only files that never change under their names are mended: full tiles, bundles, registers. The
//! journal, the checkpoint and partial files are the log's own; what is wrong with them is named.

use std::sync::{Mutex, PoisonError};

use jejak_proofs::{
    merkle::{HASH_LEN, Hash, Tile, TileId},
    note::{Checkpoint, Policy},
};

use super::{
    AuditError, Report, View, check, extras,
    settle::tile_root,
    source::{Fault, Source},
    tree::{Tree, WIDTH},
    walk::Walk,
};
use crate::store::Directory;

/// What a repair did.
#[derive(Clone, Debug)]
pub struct Repaired {
    /// The files that were damaged or missing and are as they must be, by path.
    pub mended: Vec<String>,
    /// The audit after everything was written and synced.
    pub report: Report,
}

/// Mends what can be mended in the directory `source` out of `from`, then checks it as [`check`]
/// does.
///
/// Right is what leads to the root of the newest head that the log signed. What a log has beyond
/// that its next start writes again.
///
/// The caller sees to it that no server is at work on the directory.
///
/// # Errors
/// As [`check`]; [`AuditError::NotADirectory`] if `source` is a URL. Files that were mended before
/// an error stay: each is durable and as it must be.
pub fn repair(
    source: &Source,
    from: &Source,
    policy: &Policy,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Repaired, AuditError> {
    let into = source.files().ok_or(AuditError::NotADirectory)?;
    let mender = Mender { from, into, mended: Mutex::default() };
    let view = View::read(source, policy)?;
    // Without a head that the log signed nothing says what is right.
    if let Some(head) = view.checkpoint.as_ref().map(Checkpoint::head) {
        let tree = Tree { source, journal: &view.journal, size: head.size };
        let walk = Walk::new(tree, head.size, progress).mending(&mender);
        walk.run(Some(head.root))?;
        let mut named = extras::registers(&walk.found().manifests);
        named.extend(extras::registers(&view.journal.manifests));
        for (hash, len) in named {
            extras::register(&walk, &extras::register_path(&hash), &hash, Some(len))?;
        }
    }
    let prefix = source.prefix();
    let mended = mender.mended.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut mended: Vec<String> =
        mended.into_iter().map(|path| format!("{prefix}{path}")).collect();
    mended.sort();
    Ok(Repaired { mended, report: check(source, policy, &|_, _| {})? })
}

/// Mends files of one directory. Threads share it.
pub(super) struct Mender<'a> {
    from: &'a Source,
    into: &'a Directory,
    mended: Mutex<Vec<String>>,
}

impl Mender<'_> {
    /// Fetches a file by its place, and writes it if it is the right one. False if it is not there,
    /// or another.
    pub fn fetch(
        &self,
        path: &str,
        len_max: u64,
        is_right: impl Fn(&[u8]) -> bool,
    ) -> Result<bool, AuditError> {
        match self.from.read(path, len_max) {
            Ok(Some(bytes)) if is_right(&bytes) => self.put(path, &bytes).map(|()| true),
            Ok(_) | Err(Fault::Damage(_)) => Ok(false),
            Err(Fault::Stop(error)) => Err(error),
        }
    }

    /// The hashes of a partial tile as the other source has them: from its file, from a larger one,
    /// or from the tiles below it, which is all that the directory of a log has. `None` if it has
    /// not all of them. Nothing proves them yet.
    pub fn edge_row(&self, id: TileId) -> Result<Option<Vec<Hash>>, AuditError> {
        for path in [id.path(), TileId::full(id.level, id.index).path()] {
            let bytes = self.read(&path)?;
            let hashes = bytes.iter().flat_map(|bytes| bytes.as_chunks().0);
            let row: Vec<Hash> = hashes.copied().map(Hash::new).take(id.width.into()).collect();
            if row.len() == usize::from(id.width) {
                return Ok(Some(row));
            }
        }
        let Some(below) = id.level.checked_sub(1) else { return Ok(None) };
        let mut row = Vec::with_capacity(id.width.into());
        for place in 0..u64::from(id.width) {
            let child = TileId::full(below, id.index * WIDTH + place);
            let tile = self.read(&child.path())?.and_then(|bytes| Tile::parse(child, &bytes).ok());
            match tile.and_then(|tile| tile_root(tile.hashes())) {
                Some(root) => row.push(root),
                None => return Ok(None),
            }
        }
        Ok(Some(row))
    }

    /// A tile of the other source; `None` if it cannot be had.
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, AuditError> {
        match self.from.read(path, WIDTH * HASH_LEN as u64) {
            Ok(found) => Ok(found),
            Err(Fault::Damage(_)) => Ok(None),
            Err(Fault::Stop(error)) => Err(error),
        }
    }

    /// Writes a file that is right, durably.
    pub fn put(&self, path: &str, bytes: &[u8]) -> Result<(), AuditError> {
        self.into.replace(path, bytes).map_err(AuditError::Store)?;
        self.mended.lock().unwrap_or_else(PoisonError::into_inner).push(path.to_owned());
        Ok(())
    }
}
