//! Files beside the tree: registers, derived state, the description, and what should not be there.

use std::collections::{BTreeMap, BTreeSet};

use jejak_proofs::{
    merkle::{BundleId, HASH_LEN, Hash, TILE_WIDTH, TileId, TilePath, prefix_len, sha256},
    note::Policy,
    tally::{Body, Entry, REGISTER_LEN_MAX},
};

use super::{
    AuditError, CHECKPOINT, View, WITNESSED,
    finding::Damage,
    source::{Fault, Source},
    tree::{BUNDLE_LEN_MAX, Tree},
    walk::Walk,
};
use crate::log;

/// Where registers are, each under its hash.
pub(super) const REGISTERS: &str = "register/";

/// What a static copy says about itself.
pub(super) const DESCRIPTION: &str = "log.json";

/// Bytes of a description that are read: a policy and little else.
const DESCRIPTION_LEN_MAX: u64 = 4 << 20;

/// Bytes of a snapshot that are read.
const DERIVED_LEN_MAX: u64 = 1 << 40;

/// Checks every file that is no tile or bundle of the tree, and reports those that no log has.
pub(super) fn check(
    source: &Source,
    view: &View,
    walk: &Walk<'_>,
    policy: &Policy,
) -> Result<(), AuditError> {
    let mut named = registers(&walk.found().manifests);
    // A bundle may be damaged where a manifest was.
    named.extend(registers(&view.journal.manifests));
    for (hash, len) in &named {
        register(walk, &register_path(hash), hash, Some(*len))?;
    }
    for path in view.paths.iter().flatten() {
        listed(source, view, walk, &named, path)?;
    }
    if source.log().is_none() && !source.is_url() {
        description(source, view, walk, policy)?;
    }
    Ok(())
}

/// The registers that manifests name, with their lengths.
pub(super) fn registers(manifests: &BTreeMap<u64, Entry>) -> BTreeMap<Hash, u64> {
    let files = manifests.values().filter_map(|entry| match entry.body() {
        Body::Manifest(manifest) => Some(manifest.registers),
        _ => None,
    });
    files.flat_map(|files| [files.units, files.contests]).map(|f| (f.sha256, f.bytes)).collect()
}

/// Where the register with this hash is.
pub(super) fn register_path(hash: &Hash) -> String {
    format!("{REGISTERS}{hash}")
}

/// Checks one register against its name and, where it is known, its length.
pub(super) fn register(
    walk: &Walk<'_>,
    path: &str,
    hash: &Hash,
    len: Option<u64>,
) -> Result<(), AuditError> {
    let mut damage = wrong(walk.tree.source, path, hash, len)?;
    if let (Some(mender), Some(_), Some(len)) = (walk.mender, &damage, len) {
        let is_it = |bytes: &[u8]| sha256(bytes) == *hash && bytes.len() as u64 == len;
        if mender.fetch(path, len, is_it)? {
            damage = wrong(walk.tree.source, path, hash, Some(len))?;
        }
    }
    let mut found = walk.found();
    match damage {
        None => found.files += 1,
        Some(damage) => found.findings.push(walk.tree.source.finding(path, damage)),
    }
    Ok(())
}

/// What is wrong with a register.
fn wrong(
    source: &Source,
    path: &str,
    hash: &Hash,
    len: Option<u64>,
) -> Result<Option<Damage>, AuditError> {
    Ok(match read(source, path, REGISTER_LEN_MAX as u64)? {
        Ok(bytes) if sha256(&bytes) != *hash => Some(Damage::Hash),
        Ok(bytes) => len
            .filter(|len| bytes.len() as u64 != *len)
            .map(|want| Damage::Length { got: bytes.len() as u64, want }),
        Err(damage) => Some(damage),
    })
}

/// The bytes of a file, or what is wrong with it.
fn read(source: &Source, path: &str, len_max: u64) -> Result<Result<Vec<u8>, Damage>, AuditError> {
    match source.read(path, len_max) {
        Ok(Some(bytes)) => Ok(Ok(bytes)),
        Ok(None) => Ok(Err(Damage::Missing)),
        Err(Fault::Damage(damage)) => Ok(Err(damage)),
        Err(Fault::Stop(error)) => Err(error),
    }
}

/// Judges a file by its name, and reads it unless that was done.
fn listed(
    source: &Source,
    view: &View,
    walk: &Walk<'_>,
    named: &BTreeMap<Hash, u64>,
    path: &str,
) -> Result<(), AuditError> {
    let in_log = source.log().is_some();
    let finding = match path {
        CHECKPOINT => None,
        // Compared with the tree, as the checkpoint is.
        "lock" | WITNESSED if in_log => None,
        DESCRIPTION if !in_log => None,
        // What a process that was killed leaves behind, or one that is at work.
        _ if path.ends_with(".tmp") || (in_log && path.starts_with("tmp/")) => None,
        _ if in_log && is_segment(path) => None,
        "derived/ledger" if in_log => {
            derived(source, path)?.map(|damage| source.finding(path, damage).info())
        }
        _ if path.starts_with("tile/") => {
            tile(view, &walk.tree, path)?.map(|damage| source.finding(path, damage))
        }
        _ => match path.strip_prefix(REGISTERS).and_then(|hash| hash.parse::<Hash>().ok()) {
            Some(hash) if named.contains_key(&hash) => None,
            Some(hash) => {
                register(walk, path, &hash, None)?;
                // It may be there for a manifest that is still to come, or that is unreadable.
                let readable = walk.found().findings.iter().all(|f| f.damage == Damage::Unnamed);
                readable.then(|| source.finding(path, Damage::Unnamed).info())
            }
            None => Some(source.finding(path, Damage::Unexpected)),
        },
    };
    walk.found().findings.extend(finding);
    Ok(())
}

fn is_segment(path: &str) -> bool {
    path.strip_prefix("journal/")
        .is_some_and(|name| name.len() == 20 && name.bytes().all(|b| b.is_ascii_digit()))
}

/// Derived files end in the SHA-256 of all before it.
fn derived(source: &Source, path: &str) -> Result<Option<Damage>, AuditError> {
    let bytes = match read(source, path, DERIVED_LEN_MAX)? {
        Ok(bytes) => bytes,
        // Replaced or removed meanwhile: it may go at any time.
        Err(Damage::Missing) => return Ok(None),
        Err(damage) => return Ok(Some(damage)),
    };
    let whole = bytes
        .split_last_chunk::<HASH_LEN>()
        .is_some_and(|(content, digest)| sha256(content).as_bytes() == digest);
    Ok((!whole).then_some(Damage::Derived))
}

/// Judges a file below `tile/` that is there: the walk has read those that must be.
fn tile(view: &View, tree: &Tree<'_>, path: &str) -> Result<Option<Damage>, AuditError> {
    let Ok(name) = path.parse::<TilePath>() else { return Ok(Some(Damage::Unexpected)) };
    let (level, index, width) = match name {
        TilePath::Tile(id) => (id.level, id.index, id.width),
        TilePath::Bundle(id) => (0, id.index, id.width),
    };
    let in_log = tree.source.log().is_some();
    if in_log && width < TILE_WIDTH {
        return Ok(Some(Damage::Unexpected));
    }
    let has = tree.width(level, index);
    if has == width {
        return Ok(None);
    }
    if has < width {
        // A copy is written before its checkpoint; a log has nothing beyond its journal.
        let whole = view.root_known;
        return Ok(whole.then_some(Damage::Beyond));
    }
    older_partial(tree, path, name)
}

/// A partial tile or bundle of an earlier size must be a prefix of the one that there is now.
fn older_partial(
    tree: &Tree<'_>,
    path: &str,
    name: TilePath,
) -> Result<Option<Damage>, AuditError> {
    let bytes = match read(tree.source, path, BUNDLE_LEN_MAX)? {
        Ok(bytes) => bytes,
        Err(damage) => return Ok(Some(damage)),
    };
    let prefix = match name {
        TilePath::Tile(TileId { level, index, width }) => {
            let hashes = tree.tile(level, index)?.hashes;
            hashes.iter().take(width.into()).flat_map(|hash| *hash.as_bytes()).collect()
        }
        TilePath::Bundle(BundleId { index, width }) => {
            let mut whole = tree.bundle(index)?.bytes;
            whole.truncate(prefix_len(&whole, width).unwrap_or(0));
            whole
        }
    };
    Ok((bytes != prefix).then_some(Damage::Content))
}

/// Checks the description of a static copy against the log that it describes.
fn description(
    source: &Source,
    view: &View,
    walk: &Walk<'_>,
    policy: &Policy,
) -> Result<(), AuditError> {
    let finding = match read(source, DESCRIPTION, DESCRIPTION_LEN_MAX)? {
        Ok(bytes) => {
            describes(&bytes, view, walk, policy).map(|damage| source.finding(DESCRIPTION, damage))
        }
        // A mirror has none: it follows from the entries and from the policy.
        Err(Damage::Missing) => Some(source.finding(DESCRIPTION, Damage::Missing).info()),
        Err(damage) => Some(source.finding(DESCRIPTION, damage)),
    };
    walk.found().findings.extend(finding);
    Ok(())
}

fn describes(bytes: &[u8], view: &View, walk: &Walk<'_>, policy: &Policy) -> Option<Damage> {
    let said: Option<log::Description> = serde_json::from_slice(bytes).ok();
    let Some(said) = said else { return Some(Damage::Description) };
    let Some(checkpoint) = &view.checkpoint else { return None };
    let found = walk.found();
    let (&index, manifest) = found.manifests.last_key_value()?;
    let keys: BTreeSet<String> =
        policy.log_keys(checkpoint.origin()).iter().map(ToString::to_string).collect();
    // The policy in it is for people; it counts only if it pins the same log.
    let theirs = Policy::parse(&said.policy).ok();
    let same_log = theirs.is_some_and(|theirs| {
        theirs.genesis(checkpoint.origin()) == policy.genesis(checkpoint.origin())
            && theirs.log_keys(checkpoint.origin()) == policy.log_keys(checkpoint.origin())
    });
    let vkeys = said.vkeys.iter().all(|key| keys.contains(key));
    let expected = log::Description::new(
        checkpoint.origin(),
        said.vkeys.clone(),
        said.policy.clone(),
        index,
        manifest,
    );
    let right = expected.is_some_and(|expected| expected.to_bytes() == bytes);
    (!(same_log && vkeys && right)).then_some(Damage::Description)
}
