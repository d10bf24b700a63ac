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
        Body, CheckedEntry, ContestRegister, Entry, Field, Ledger, Manifest, Refusal, Snapshot,
        State, UnitRegister,
    },
};
use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};

use super::{
    recovery::OpenError,
    view::{ReadError, View},
};
use crate::store::{LeafTable, Objects, StoreError};

const MAGIC: [u8; 8] = *b"\x89jejakL2";
const HEADER_LEN: usize = 8 + 8 + HASH_LEN;

fn path(dir: &Path) -> PathBuf {
    dir.join("derived").join("ledger")
}

/// Saves a snapshot of the ledger, which stands at `head`: whole, synced, then renamed.
pub(super) fn save(dir: &Path, ledger: &Ledger, head: &TreeHead) -> io::Result<()> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&head.size.to_be_bytes());
    bytes.extend_from_slice(head.root.as_bytes());
    let mut bytes = postcard::to_extend(&ledger.snapshot(), bytes).map_err(io::Error::other)?;
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

/// The ledger after all entries of the view, and whether a snapshot helped.
pub(super) fn ledger(
    dir: &Path,
    origin: &str,
    view: &View,
    objects: &Objects,
) -> Result<(Ledger, bool), OpenError> {
    match load(dir, origin, view, objects) {
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

/// Loads the snapshot, if it is whole and stands for a tree that the view extends.
fn load(dir: &Path, origin: &str, view: &View, objects: &Objects) -> Result<Ledger, &'static str> {
    let bytes = fs::read(path(dir)).map_err(|_| "there is no snapshot")?;
    let (content, digest) = bytes.split_last_chunk::<HASH_LEN>().ok_or("snapshot cut short")?;
    if sha256(content).as_bytes() != digest || content.len() < HEADER_LEN {
        return Err("snapshot damaged");
    }
    let (header, content) = content.split_at(HEADER_LEN);
    let (magic, header) = header.split_at(8);
    let (size, root) = header.split_at(8);
    let size = u64::from_be_bytes(size.try_into().expect("split at eight"));
    if magic != MAGIC || size > view.head.size {
        return Err("snapshot of another version or of a longer log");
    }
    let roots = view.prove(objects, &Plan::root(size)).map_err(|_| "tree unreadable")?;
    if roots.first().map(|root| root.as_bytes().as_slice()) != Some(root) {
        return Err("snapshot of another log");
    }
    let snapshot: Snapshot = postcard::from_bytes(content).map_err(|_| "snapshot unreadable")?;
    if snapshot.size() != size || snapshot.origin() != origin {
        return Err("snapshot contradicts itself");
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
        let bundles: Vec<Bytes> = (first..end)
            .map(|index| whole_bundle(view, objects, index))
            .collect::<Result<_, _>>()?;
        let parsed: Vec<Vec<Option<CheckedEntry>>> = bundles.par_iter().map(parse).collect();
        for checked in parsed.into_iter().flatten().skip(skip) {
            let index = ledger.size();
            let own = || OpenError::OwnEntry { index };
            let checked = checked.ok_or_else(own)?;
            if let Body::Manifest(manifest) = checked.entry().body() {
                provide_registers(ledger, objects, manifest).map_err(|_| own())?;
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

/// The leaf table, by streaming the level-0 tiles: 32 bytes an entry.
pub(super) fn leaf_table(view: &View, objects: &Objects) -> Result<LeafTable, OpenError> {
    let mut table = LeafTable::with_capacity(view.head.size as usize);
    for id in TileId::of_tree(0, view.head.size).take_while(|id| id.level == 0) {
        let bytes = view.tile(objects, id)?.ok_or_else(|| ReadError::Missing(id.path()))?;
        let first = id.index * u64::from(TILE_WIDTH);
        let (hashes, _) = bytes.as_chunks::<HASH_LEN>();
        for (hash, index) in hashes.iter().zip(first..) {
            table.insert(&Hash::new(*hash), index)?;
        }
    }
    Ok(table)
}

/// Gives the ledger the register files that a manifest names.
///
/// # Errors
/// Fails with `invalid_registers` if one is not here or is not a register.
pub(super) fn provide_registers(
    ledger: &mut Ledger,
    objects: &Objects,
    manifest: &Manifest,
) -> Result<(), Refusal> {
    let (units, contests) =
        registers(objects, manifest).map_err(|_| Refusal::Invalid(Field::Registers))?;
    ledger.provide_units(units);
    ledger.provide_contests(contests);
    Ok(())
}

fn registers(
    objects: &Objects,
    manifest: &Manifest,
) -> Result<(Arc<UnitRegister>, Arc<ContestRegister>), Option<StoreError>> {
    let read = |hash: &Hash| objects.register(hash).map_err(Some)?.ok_or(None);
    let units = read(&manifest.registers.units.sha256)?;
    let contests = read(&manifest.registers.contests.sha256)?;
    let units = UnitRegister::parse(&units).map_err(|_| None)?;
    let contests = ContestRegister::parse(&contests).map_err(|_| None)?;
    Ok((Arc::new(units), Arc::new(contests)))
}
