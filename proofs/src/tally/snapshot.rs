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

use serde::{Deserialize, Serialize};

use super::{
    authority::Authority,
    chains::{ChainHead, ChainId, ChainOwner, Names, Newest, UnitNumbers},
    entry::{Body, Entry},
    ids::{Id, UnitCode},
    keybook::Key,
    ledger::Ledger,
    manifest::Election,
    recap::Trail,
    register::{ContestRegister, UnitRegister},
    statement::Count,
};
use crate::{merkle::Hash, note::VerifierKey};

/// Everything that a [`Ledger`] holds but the registers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Snapshot {
    origin: Box<str>,
    size: u64,
    genesis: Option<[u8; 32]>,
    /// Index and leaf hash of the manifest in force.
    manifest: Option<(u64, [u8; 32])>,
    keys: Vec<SavedKey>,
    roots: Vec<u32>,
    revoked: Vec<(u32, bool)>,
    chains: Vec<SavedChain>,
    units: UnitNumbers,
    names: Names,
    frozen: bool,
    trails: Vec<SavedTrail>,
    /// Key numbers of attestations, with the chain and `seq` of their tallies.
    attested: Vec<(ChainId, u32, u32)>,
    covered: u64,
}

/// What the log says about one contest in one unit, by their numbers.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct SavedTrail {
    contest: u32,
    unit: u32,
    trail: [u8; 32],
    indexes: Vec<u64>,
}

impl SavedTrail {
    fn restore(self) -> ((u32, u32), Trail) {
        let (entries, trail) = (self.indexes.len() as u32, Hash::new(self.trail));
        ((self.contest, self.unit), Trail { entries, trail, indexes: self.indexes })
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

#[derive(Clone, Debug, Serialize, Deserialize)]
struct SavedChain {
    chain: ChainId,
    index: u64,
    leaf: [u8; 32],
    seq: u32,
    withdrawn: bool,
    counts: Vec<Count>,
    replaced: Vec<[u8; 32]>,
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
        let key = |key: &Arc<Key>| SavedKey {
            vkey: key.verifier.to_string(),
            role: key.role.clone(),
            units: key.units.clone(),
            contests: key.contests.clone(),
            granter: key.granter,
            depth: key.depth,
            index: key.index,
        };
        let chain = |(chain, newest): (&ChainId, &Newest)| SavedChain {
            chain: *chain,
            index: newest.head.index,
            leaf: *newest.head.leaf.as_bytes(),
            seq: newest.head.seq,
            withdrawn: newest.withdrawn,
            counts: self.chains.values(newest).counts().collect(),
            replaced: self.chains.replaced(chain).iter().map(|leaf| *leaf.as_bytes()).collect(),
        };
        let election = self.election.as_deref();
        Snapshot {
            origin: self.origin.clone(),
            size: self.size,
            genesis: self.genesis.map(|hash| *hash.as_bytes()),
            manifest: election.map(|election| (election.index, *election.leaf.as_bytes())),
            keys: self.authority.keys.iter().map(key).collect(),
            roots: self.authority.roots.iter().copied().collect(),
            revoked: self.authority.revoked.iter().map(|(key, subtree)| (*key, *subtree)).collect(),
            chains: self.chains.iter().map(chain).collect(),
            units: self.units.clone(),
            names: self.names.clone(),
            frozen: self.frozen,
            trails: self.saved_trails(),
            attested: self.attested.iter().copied().collect(),
            covered: self.covered,
        }
    }

    fn saved_trails(&self) -> Vec<SavedTrail> {
        let saved = |((contest, unit), trail): ((u32, u32), Trail)| SavedTrail {
            contest,
            unit,
            trail: *trail.trail.as_bytes(),
            indexes: trail.indexes,
        };
        self.all_trails().into_iter().map(saved).collect()
    }

    /// Takes up a snapshot, with the entry of the manifest that was in force and its registers.
    ///
    /// # Errors
    /// Fails if the parts do not belong together. Whether the snapshot is true to the log is for
    /// the caller to check, or to trust as far as its own disk.
    pub fn restore(
        mut snapshot: Snapshot,
        manifest: &Entry,
        units: Arc<UnitRegister>,
        contests: Arc<ContestRegister>,
    ) -> Result<Self, SnapshotError> {
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
        let trails = snapshot.trails.into_iter().map(SavedTrail::restore).collect();
        ledger.restore_recap(&election, trails, snapshot.covered);
        Ok(ledger)
    }

    /// Takes the chains out of a snapshot; says whether they, and what it says about them, point
    /// at what there is.
    fn restore_chains(&mut self, snapshot: &mut Snapshot, election: &Election) -> bool {
        let mut widths = BTreeMap::new();
        for contest in election.contests.contests() {
            let number = snapshot.names.contests.get(contest.id.as_str());
            // Votes, valid, invalid, total.
            widths.extend(number.map(|number| (number, contest.options.len() + 3)));
        }
        let mut whole = snapshot.covered <= snapshot.size;
        for saved in core::mem::take(&mut snapshot.chains) {
            let SavedChain { chain, index, leaf, seq, withdrawn, counts, replaced } = saved;
            whole &= replaced.len() == seq as usize
                && widths.get(&chain.contest) == Some(&counts.len())
                && index < snapshot.size;
            let head = ChainHead { index, leaf: Hash::new(leaf), seq };
            let replaced = replaced.into_iter().map(Hash::new).collect();
            self.chains.restore(chain, head, withdrawn, counts, replaced);
        }
        let known = |(chain, _): (&ChainId, &Newest)| {
            let owner = match chain.owner {
                ChainOwner::Official => true,
                ChainOwner::Key(number) => self.authority.mandated(number),
            };
            let names = snapshot.names.knows(chain.contest, chain.round);
            owner && names && snapshot.units.knows(chain.unit)
        };
        let attested = |(chain, seq, key): &(ChainId, u32, u32)| {
            let tally = self.chains.head(chain).is_some_and(|head| *seq <= head.seq);
            tally && self.authority.mandated(*key)
        };
        let placed = |trail: &SavedTrail| {
            let inside = trail.indexes.last().is_some_and(|last| *last < snapshot.size);
            let rising = trail.indexes.is_sorted_by(|a, b| a < b);
            let about = widths.contains_key(&trail.contest) && snapshot.units.knows(trail.unit);
            inside && rising && about
        };
        whole
            && self.chains.iter().all(known)
            && snapshot.attested.iter().all(attested)
            && snapshot.trails.iter().all(placed)
    }
}

impl Snapshot {
    /// Number of entries that the snapshot stands for.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Index of the manifest that was in force.
    pub fn manifest_index(&self) -> Option<u64> {
        self.manifest.map(|(index, _)| index)
    }

    /// Origin of the log.
    pub fn origin(&self) -> &str {
        &self.origin
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
