//! The ledger's state as plain data, so that a restart need not replay the whole log.
//!
//! A snapshot is derived state: it may be lost or wrong at any time, and whoever loads one checks
//! it against the log. The registers are not in it; they are files of their own, by hash.

use alloc::{
    boxed::Box,
    collections::BTreeMap,
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};

use serde::{Deserialize, Serialize, Serializer};

use super::{
    authority::Authority,
    chains::{ChainId, ChainOwner, Names, Newest, UnitNumbers},
    entry::{Body, Entry},
    ids::{Id, UnitCode},
    keybook::Key,
    ledger::Ledger,
    manifest::Election,
    recap::Trail,
    register::{ContestRegister, UnitRegister},
    saved::{SavedChains, SavedTrails, write_chains, write_trails},
};
use crate::note::VerifierKey;

/// Everything that a [`Ledger`] holds but the registers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Snapshot(Parts<SavedChains, SavedTrails>);

/// A [`Snapshot`] that borrows what is large, to be written: with the same bytes, if the trails
/// come in the same order.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct SnapshotView<'a>(Parts<ChainsOf<'a>, TrailsOf<'a>>);

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename = "Snapshot")]
struct Parts<C, T> {
    origin: Box<str>,
    size: u64,
    genesis: Option<[u8; 32]>,
    /// Index and leaf hash of the manifest in force.
    manifest: Option<(u64, [u8; 32])>,
    keys: Vec<SavedKey>,
    roots: Vec<u32>,
    revoked: Vec<(u32, bool)>,
    chains: C,
    units: UnitNumbers,
    names: Names,
    frozen: bool,
    trails: T,
    /// Key numbers of attestations, with the chain and `seq` of their tallies.
    attested: Vec<(ChainId, u32, u32)>,
    covered: u64,
}

#[derive(Debug)]
struct ChainsOf<'a>(&'a Ledger);

impl Serialize for ChainsOf<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        write_chains(&self.0.chains, serializer)
    }
}

#[derive(Debug)]
struct TrailsOf<'a>(&'a Ledger);

impl Serialize for TrailsOf<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        write_trails(self.0, serializer)
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct SavedKey {
    vkey: String,
    role: Id,
    units: Vec<UnitCode>,
    contests: Option<Vec<Id>>,
    granter: Option<u32>,
    depth: u8,
    index: u64,
}

/// Why a snapshot cannot be taken up: replay the log instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The manifest given is not the one that was in force.
    #[error("the manifest is not the one that was in force")]
    Manifest,
    /// A key cannot be read, or a number points nowhere.
    #[error("the snapshot contradicts itself")]
    Contents,
}

impl Ledger {
    /// The state as plain data.
    pub fn snapshot(&self) -> Snapshot {
        let chains = SavedChains { chains: self.chains.clone(), whole: true };
        let trails = SavedTrails(self.all_trails().into_iter().collect());
        Snapshot(self.parts(chains, trails))
    }

    /// The state as plain data, to be written without a copy of all of it.
    pub fn snapshot_view(&self) -> SnapshotView<'_> {
        SnapshotView(self.parts(ChainsOf(self), TrailsOf(self)))
    }

    fn parts<C, T>(&self, chains: C, trails: T) -> Parts<C, T> {
        let key = |key: &Arc<Key>| SavedKey {
            vkey: key.verifier.to_string(),
            role: key.role.clone(),
            units: key.units.clone(),
            contests: key.contests.clone(),
            granter: key.granter,
            depth: key.depth,
            index: key.index,
        };
        let election = self.election.as_deref();
        Parts {
            origin: self.origin.clone(),
            size: self.size,
            genesis: self.genesis.map(|hash| *hash.as_bytes()),
            manifest: election.map(|election| (election.index, *election.leaf.as_bytes())),
            keys: self.authority.keys.iter().map(key).collect(),
            roots: self.authority.roots.iter().copied().collect(),
            revoked: self.authority.revoked.iter().map(|(key, subtree)| (*key, *subtree)).collect(),
            chains,
            units: self.units.clone(),
            names: self.names.clone(),
            frozen: self.frozen,
            trails,
            attested: self.attested.iter().copied().collect(),
            covered: self.covered,
        }
    }

    /// Takes up a snapshot, with the entry of the manifest that was in force and its registers.
    ///
    /// # Errors
    /// Fails if the parts do not belong together. Whether the snapshot is true to the log is for
    /// the caller to check, or to trust as far as its own disk.
    pub fn restore(
        snapshot: Snapshot,
        manifest: &Entry,
        units: Arc<UnitRegister>,
        contests: Arc<ContestRegister>,
    ) -> Result<Self, SnapshotError> {
        let Snapshot(mut snapshot) = snapshot;
        let Body::Manifest(body) = manifest.body() else { return Err(SnapshotError::Manifest) };
        let Some((index, leaf)) = snapshot.manifest else { return Err(SnapshotError::Manifest) };
        if leaf != *manifest.leaf().as_bytes() {
            return Err(SnapshotError::Manifest);
        }
        let mut ledger = Self::new(&snapshot.origin);
        ledger.provide_units(units.clone());
        ledger.provide_contests(contests.clone());
        let election = Election::new((**body).clone(), index, manifest.leaf(), units, contests)
            .map_err(|_| SnapshotError::Manifest)?;
        ledger.authority = restore_keys(core::mem::take(&mut snapshot.keys))?;
        ledger.authority.revoked = snapshot.revoked.iter().copied().collect();
        let roots = body.root_verifiers().map_err(|_| SnapshotError::Manifest)?;
        ledger.authority.set_roots(&roots);
        let genesis = body.genesis.unwrap_or(manifest.leaf());
        let fits = ledger.authority.roots.iter().eq(&snapshot.roots)
            && ledger.authority.roots.len() == roots.len()
            && ledger.authority.revoked.keys().all(|number| ledger.authority.mandated(*number))
            && snapshot.genesis == Some(*genesis.as_bytes())
            && snapshot.units.fits(&election.units)
            && snapshot.names.fits(&election);
        if !fits {
            return Err(SnapshotError::Contents);
        }
        if !ledger.restore_chains(&mut snapshot, &election) {
            return Err(SnapshotError::Contents);
        }
        let election = Arc::new(election);
        ledger.size = snapshot.size;
        ledger.genesis = Some(genesis);
        ledger.election = Some(election.clone());
        ledger.units = snapshot.units;
        ledger.names = snapshot.names;
        ledger.frozen = snapshot.frozen;
        ledger.attested = snapshot.attested.into_iter().collect();
        ledger.restore_recap(&election, snapshot.trails.0, snapshot.covered);
        Ok(ledger)
    }

    /// Takes the chains out of a snapshot; says whether they, and what it says about them, point
    /// at what there is.
    fn restore_chains(
        &mut self,
        snapshot: &mut Parts<SavedChains, SavedTrails>,
        election: &Election,
    ) -> bool {
        let mut widths = BTreeMap::new();
        for contest in election.contests.contests() {
            let number = snapshot.names.contests.get(contest.id.as_str());
            // Votes, valid, invalid, total.
            widths.extend(number.map(|number| (number, contest.options.len() + 3)));
        }
        self.chains = core::mem::take(&mut snapshot.chains.chains);
        let known = |(chain, newest): (&ChainId, &Newest)| {
            let counts = self.chains.values(newest).counts().count();
            let owner = match chain.owner {
                ChainOwner::Official => true,
                ChainOwner::Key(number) => self.authority.mandated(number),
            };
            let names = snapshot.names.knows(chain.contest, chain.round);
            let inside =
                newest.head.index < snapshot.size && widths.get(&chain.contest) == Some(&counts);
            owner && names && inside && snapshot.units.knows(chain.unit)
        };
        let attested = |(chain, seq, key): &(ChainId, u32, u32)| {
            let tally = self.chains.head(chain).is_some_and(|head| *seq <= head.seq);
            tally && self.authority.mandated(*key)
        };
        let placed = |((contest, unit), trail): (&(u32, u32), &Trail)| {
            let inside = trail.indexes.last().is_some_and(|last| *last < snapshot.size);
            let rising = trail.indexes.is_sorted_by(|a, b| a < b);
            let about = widths.contains_key(contest) && snapshot.units.knows(*unit);
            inside && rising && about
        };
        snapshot.covered <= snapshot.size
            && snapshot.chains.whole
            && self.chains.iter().all(known)
            && snapshot.attested.iter().all(attested)
            && snapshot.trails.0.iter().all(placed)
    }
}

impl Snapshot {
    /// Number of entries that the snapshot stands for.
    pub fn size(&self) -> u64 {
        self.0.size
    }

    /// Index of the manifest that was in force.
    pub fn manifest_index(&self) -> Option<u64> {
        self.0.manifest.map(|(index, _)| index)
    }

    /// Origin of the log.
    pub fn origin(&self) -> &str {
        &self.0.origin
    }
}

fn restore_keys(saved: Vec<SavedKey>) -> Result<Authority, SnapshotError> {
    let mut authority = Authority::default();
    for (number, saved) in saved.into_iter().enumerate() {
        if saved.granter.is_some_and(|granter| granter as usize >= number) {
            return Err(SnapshotError::Contents);
        }
        let key = Key {
            number: number as u32,
            verifier: VerifierKey::parse(&saved.vkey).map_err(|_| SnapshotError::Contents)?,
            role: saved.role,
            units: saved.units,
            contests: saved.contests,
            granter: saved.granter,
            depth: saved.depth,
            index: saved.index,
        };
        if authority.knows(&key.verifier) {
            return Err(SnapshotError::Contents);
        }
        authority.insert(&[Arc::new(key)]);
    }
    Ok(authority)
}
