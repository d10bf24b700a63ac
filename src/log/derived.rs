//! Derived state: the ledger and the leaf table. Never the truth; rebuilt from the files when it
//! is missing, damaged, or not of this log.
//!
//! `derived/ledger` is a snapshot of the ledger:
//!
//! ```text
//! offset  bytes
//!      0      8  magic: 89 6a 65 6a 61 6b 4c 32 (0x89 "jejakL2")
//!      8      8  size of the tree that it stands for, big-endian
//!     16     32  root of that tree
//!     48  n-80   the snapshot, in postcard
//!   n-32     32  SHA-256 of bytes 0 to n-33
//! ```

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use jejak_proofs::{
    merkle::{BundleId, HASH_LEN, Hash, Plan, TILE_WIDTH, TileId, TreeHead, sha256},
    tally::{
        Body, CheckedEntry, ContestRegister, Entry, Ledger, Manifest, RegisterError, Snapshot,
        State, UnitRegister,
    },
};
use rayon::iter::{IntoParallelIterator as _, IntoParallelRefIterator as _, ParallelIterator as _};

use super::{
    ManifestInForce,
    recovery::OpenError,
    view::{ReadError, View},
};
use crate::store::{LeafTable, Objects, StoreError};

const MAGIC: [u8; 8] = *b"\x89jejakL2";

fn path(dir: &Path) -> PathBuf {
    dir.join("derived").join("ledger")
}

/// Saves a snapshot of the ledger, which stands at `head`: whole, synced, then renamed.
pub(super) fn save(dir: &Path, ledger: &Ledger, head: &TreeHead) -> io::Result<()> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&head.size.to_be_bytes());
    bytes.extend_from_slice(head.root.as_bytes());
    let mut bytes =
        postcard::to_extend(&ledger.snapshot_view(), bytes).map_err(io::Error::other)?;
    let digest = sha256(&bytes);
    bytes.extend_from_slice(digest.as_bytes());
    let path = path(dir);
    let parent = path.parent().unwrap_or(dir);
    fs::create_dir_all(parent)?;
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, &path)?;
    File::open(parent)?.sync_all()
}

/// A snapshot that is whole and of this origin. It was saved after its tree was committed and
/// published; whether the log at hand is the one that it was saved of, nobody has asked yet.
pub(super) struct Saved {
    /// The tree that it stands for.
    pub head: TreeHead,
    snapshot: Snapshot,
}

/// Reads the snapshot, or says why there is none to use.
pub(super) fn saved(dir: &Path, origin: &str) -> Result<Saved, &'static str> {
    let bytes = fs::read(path(dir)).map_err(|_| "there is no snapshot")?;
    let (content, digest) = bytes.split_last_chunk::<HASH_LEN>().ok_or("snapshot cut short")?;
    if sha256(content).as_bytes() != digest {
        return Err("snapshot damaged");
    }
    let (magic, content) = content.split_first_chunk::<8>().ok_or("snapshot cut short")?;
    if *magic != MAGIC {
        return Err("snapshot of another version");
    }
    let (size, content) = content.split_first_chunk().ok_or("snapshot cut short")?;
    let (root, content) = content.split_first_chunk().ok_or("snapshot cut short")?;
    let head = TreeHead { size: u64::from_be_bytes(*size), root: Hash::new(*root) };
    let snapshot: Snapshot = postcard::from_bytes(content).map_err(|_| "snapshot unreadable")?;
    if snapshot.size() != head.size {
        return Err("snapshot contradicts itself");
    }
    if snapshot.origin() != origin {
        return Err("snapshot of another origin");
    }
    Ok(Saved { head, snapshot })
}

/// The ledger after all entries of the view, and whether a snapshot helped.
pub(super) fn ledger(
    saved: Result<Saved, &'static str>,
    origin: &str,
    view: &View,
    objects: &Objects,
) -> Result<(Ledger, bool), OpenError> {
    match saved.and_then(|saved| resume(saved, view, objects)) {
        Ok(mut ledger) => {
            replay(&mut ledger, view, objects)?;
            Ok((ledger, true))
        }
        Err(cause) => {
            tracing::info!(log = origin, cause, "replaying the whole log into the ledger");
            let mut ledger = Ledger::new(origin);
            replay(&mut ledger, view, objects)?;
            Ok((ledger, false))
        }
    }
}

/// The ledger of a snapshot, if that stands for a tree that the view extends.
fn resume(saved: Saved, view: &View, objects: &Objects) -> Result<Ledger, &'static str> {
    let Saved { head, snapshot } = saved;
    if head.size > view.head.size {
        return Err("snapshot of a longer log");
    }
    let roots = view.prove(objects, &Plan::root(head.size)).map_err(|_| "tree unreadable")?;
    if roots.first() != Some(&head.root) {
        return Err("snapshot of another log");
    }
    let ledger = restore(snapshot, view, objects).ok_or("snapshot does not fit the log")?;
    match ledger.sealed() {
        Some(sealed) if !is_logged(&sealed.state, view, objects) => {
            Err("the recap of the snapshot is not the one that the log committed to")
        }
        _ => Ok(ledger),
    }
}

/// Whether the log holds this state where it must stand.
fn is_logged(state: &State, view: &View, objects: &Objects) -> bool {
    let entry = view.entry(objects, state.size).ok().flatten();
    entry.is_some_and(|entry| *entry == *Body::State(state.clone()).text().as_bytes())
}

fn restore(snapshot: Snapshot, view: &View, objects: &Objects) -> Option<Ledger> {
    let index = snapshot.manifest_index()?;
    let entry = view.entry(objects, index).ok()??;
    let entry = Entry::parse(&entry).ok()?;
    let Body::Manifest(manifest) = entry.body() else { return None };
    let (units, contests) = registers(objects, manifest).ok()?;
    Ledger::restore(snapshot, &entry, units, contests).ok()
}

/// Applies what stands after the ledger, without checking signatures again.
fn replay(ledger: &mut Ledger, view: &View, objects: &Objects) -> Result<(), OpenError> {
    const WIDTH: u64 = TILE_WIDTH as u64;
    /// Bundles that are parsed at once, on all cores.
    const BUNDLES: u64 = 16;
    while ledger.size() < view.head.size {
        let first = ledger.size() / WIDTH;
        let end = view.head.size.div_ceil(WIDTH).min(first + BUNDLES);
        let skip = (ledger.size() - first * WIDTH) as usize;
        let parsed: Vec<Vec<Option<CheckedEntry>>> = (first..end)
            .into_par_iter()
            .map(|index| whole_bundle(view, objects, index).map(|bundle| parse(&bundle)))
            .collect::<Result<_, _>>()?;
        for checked in parsed.into_iter().flatten().skip(skip) {
            let index = ledger.size();
            let own = || OpenError::OwnEntry { index };
            let checked = checked.ok_or_else(own)?;
            if let Body::Manifest(manifest) = checked.entry().body() {
                provide_registers(ledger, objects, manifest)?;
            }
            ledger.apply(&checked).map_err(|_| own())?;
        }
    }
    Ok(())
}

fn parse(bundle: &Bytes) -> Vec<Option<CheckedEntry>> {
    let Ok(entries) = jejak_proofs::merkle::entries(bundle) else { return vec![None] };
    entries.iter().map(|entry| Entry::parse(entry).ok()?.assume_checked().ok()).collect()
}

fn whole_bundle(view: &View, objects: &Objects, index: u64) -> Result<Bytes, ReadError> {
    let count = view.head.size - index * u64::from(TILE_WIDTH);
    let width = u16::try_from(count).map_or(TILE_WIDTH, |count| count.min(TILE_WIDTH));
    let id = BundleId { index, width };
    let bytes = view.bundle(objects, id)?.ok_or_else(|| ReadError::Missing(id.path()))?;
    Ok(bytes.into())
}

/// What `log.json` says about the manifest that the ledger goes by.
pub(super) fn manifest_in_force(
    ledger: &Ledger,
    view: &View,
    objects: &Objects,
) -> Result<ManifestInForce, OpenError> {
    let index = ledger.election().ok_or(OpenError::Genesis)?.index;
    let entry = view.entry(objects, index)?;
    entry
        .and_then(|entry| Entry::parse(&entry).ok())
        .and_then(|entry| ManifestInForce::of(index, &entry))
        .ok_or(OpenError::OwnEntry { index })
}

/// The leaf table, by streaming the level-0 tiles: 32 bytes an entry. Each is checked, because a
/// leaf hash that is not found is an entry that is not known.
pub(super) fn leaf_table(view: &View, objects: &Objects) -> Result<LeafTable, OpenError> {
    /// Tiles that are checked at once, on all cores.
    const TILES: usize = 256;
    let mut table = LeafTable::with_capacity(view.head.size as usize);
    let ids = TileId::of_tree(0, view.head.size).take_while(|id| id.level == 0);
    let ids: Vec<TileId> = ids.collect();
    let read = |id: &TileId| {
        view.tile(objects, *id)?
            .ok_or_else(|| ReadError::Missing(id.path()))
            .map(|tile| (*id, tile))
    };
    for ids in ids.chunks(TILES) {
        let tiles: Vec<(TileId, Vec<u8>)> = ids.par_iter().map(read).collect::<Result<_, _>>()?;
        for (id, tile) in tiles {
            let (hashes, _) = tile.as_chunks::<HASH_LEN>();
            for (hash, index) in hashes.iter().zip(id.index * u64::from(TILE_WIDTH)..) {
                table.insert(&Hash::new(*hash), index)?;
            }
        }
    }
    Ok(table)
}

/// Why the registers that a manifest names cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum RegisterFault {
    /// A file is not here.
    #[error("register/{0} is missing")]
    Missing(Hash),
    /// A file is here and is not a register.
    #[error("register/{0}: {1}")]
    Invalid(Hash, RegisterError),
    /// A file could not be read, or is damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<RegisterFault> for OpenError {
    /// For a manifest that is logged: its files were here, and were registers.
    fn from(fault: RegisterFault) -> Self {
        let path = |hash| format!("register/{hash}");
        match fault {
            RegisterFault::Missing(hash) => ReadError::Missing(path(hash)).into(),
            RegisterFault::Invalid(hash, _) => ReadError::Damaged(path(hash)).into(),
            RegisterFault::Store(error) => error.into(),
        }
    }
}

/// Gives the ledger the register files that a manifest names.
///
/// # Errors
/// Fails if one is not here, is not a register, or cannot be read.
pub(super) fn provide_registers(
    ledger: &mut Ledger,
    objects: &Objects,
    manifest: &Manifest,
) -> Result<(), RegisterFault> {
    let (units, contests) = registers(objects, manifest)?;
    ledger.provide_units(units);
    ledger.provide_contests(contests);
    Ok(())
}

fn registers(
    objects: &Objects,
    manifest: &Manifest,
) -> Result<(Arc<UnitRegister>, Arc<ContestRegister>), RegisterFault> {
    let read = |hash: Hash| objects.register(&hash)?.ok_or(RegisterFault::Missing(hash));
    let (units, contests) = (manifest.registers.units.sha256, manifest.registers.contests.sha256);
    let invalid = |hash| move |error| RegisterFault::Invalid(hash, error);
    let unit_register = UnitRegister::parse(&read(units)?).map_err(invalid(units))?;
    let register = ContestRegister::parse(&read(contests)?).map_err(invalid(contests))?;
    Ok((Arc::new(unit_register), Arc::new(register)))
}
