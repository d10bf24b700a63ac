//! Evidence out of entries that the rules should have refused: whatever convicts offline is written
//! down as a file that anybody can judge; the rest stays a finding that others must repeat.
//!
//! A refusal says which rule was broken, and so where to look for the other entry that makes it
//! show: the mandate of a key, the head of a chain, a revocation. Nothing that is fetched is
//! believed before its leaf hash is that under the followed head.

use std::{
    cell::Cell,
    collections::BTreeMap,
    time::{Duration, Instant},
};

use jejak_proofs::{
    evidence::{Evidence, Proven, ProvenEntry},
    merkle::{Plan, TILE_WIDTH, leaf_hash, parse_bundle},
    tally::{Body, Entry, KeyRef, Ledger, Refusal},
};

use serde::{Deserialize, Serialize};

use super::{AuditError, Item, Reach};
use crate::{client::source::Source, monitor::memory::bundle_of, state::StateError};

/// Evidence of this kind that one run writes: a log that is crooked throughout is convicted by
/// the first of them, and fills no disk.
pub const CONVICTIONS_MAX: u32 = 16;
/// Entries of one run that evidence is looked for against: what stands behind them has to be read.
const TRIES_MAX: u32 = 256;
/// How long one run looks for evidence, all in all: a log that is slow may keep it back, and not
/// the findings.
const TIME_MAX: Duration = Duration::from_secs(30);
/// Tallies of a chain that are looked at, from its head back.
const CHAIN_MAX: usize = 16;
/// Revocations whose places are remembered.
const REVOCATIONS_MAX: usize = 65_536;

/// What was seen that later entries may be held against, saved with the ledger.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Ended {
    /// Where the log ended.
    freeze: Option<u64>,
    /// Where each key was revoked.
    revoked: BTreeMap<KeyRef, u64>,
}

/// Looks for evidence, within bounds for one run.
#[derive(Default)]
pub struct Convict {
    pub ended: Ended,
    written: u32,
    tries: u32,
    /// How long it has looked in this run.
    took: Duration,
}

/// One search for evidence: what is read for it, while there is time.
struct Search<'a, S> {
    case: &'a Case<'a>,
    reach: &'a Reach<'a, S>,
    until: Instant,
    /// Something was not served: nothing more is asked for.
    gave_up: Cell<bool>,
}

/// An entry that should have been refused, and what it is held against.
pub struct Case<'a> {
    pub item: &'a Item<'a>,
    pub refusal: &'a Refusal,
    /// Where the same bytes stand.
    pub double: Option<u64>,
    pub ledger: &'a Ledger,
}

impl Convict {
    /// For a run that goes on from what was saved.
    pub fn after(ended: Ended) -> Self {
        Self { ended, ..Self::default() }
    }

    /// Remembers an entry that was taken.
    pub fn note(&mut self, index: u64, entry: &Entry) {
        match entry.body() {
            Body::Freeze(_) => self.ended.freeze = Some(index),
            Body::Revocation(revocation) if self.ended.revoked.len() < REVOCATIONS_MAX => {
                self.ended.revoked.entry(revocation.key.clone()).or_insert(index);
            }
            _ => {}
        }
    }

    /// Writes evidence against the log if it can be made out of this entry; gives the name of the
    /// file. What the log does not serve makes none.
    ///
    /// # Errors
    /// As the state says.
    pub fn write(
        &mut self,
        case: &Case<'_>,
        reach: &Reach<'_, impl Source>,
    ) -> Result<Option<String>, StateError> {
        // A replay of what was judged before writes nothing again.
        let done =
            self.written == CONVICTIONS_MAX || self.tries == TRIES_MAX || self.took >= TIME_MAX;
        if done || case.item.index < reach.memory.audited() {
            return Ok(None);
        }
        self.tries += 1;
        let started = Instant::now();
        let until = started + (TIME_MAX - self.took);
        let search = Search { case, reach, until, gave_up: Cell::new(false) };
        let found = self.find(&search);
        // A log that does not serve what convicts it is not asked again in this run.
        self.took = if search.gave_up.get() { TIME_MAX } else { self.took + started.elapsed() };
        let Some(evidence) = found? else { return Ok(None) };
        self.written += 1;
        let name = format!("evidence/entry-{}.evidence", case.item.index);
        reach.memory.publish(name, &evidence.to_string()).map(Some)
    }

    fn find(&self, search: &Search<'_, impl Source>) -> Result<Option<Evidence>, StateError> {
        let (case, index) = (search.case, search.case.item.index);
        let convicts = |evidence: &Evidence| evidence.verify_under(search.reach.policy).is_ok();
        let Some(alone) = search.prove(&[index])? else { return Ok(None) };
        let alone = Evidence::BadEntry(alone);
        if convicts(&alone) {
            return Ok(Some(alone));
        }
        for others in self.suspects(search)? {
            let found = match &others[..] {
                [other] if *case.refusal == Refusal::BadSignature => {
                    search.prove(&[index, *other])?.map(Evidence::BadEntry)
                }
                [other] => search.prove(&[*other, index])?.map(Evidence::BrokenChain),
                [other, more @ ..] => {
                    let all = [&[*other, index], more].concat();
                    search.prove(&all)?.map(Evidence::BrokenChain)
                }
                [] => None,
            };
            if let Some(evidence) = found.filter(&convicts) {
                return Ok(Some(evidence));
            }
        }
        Ok(None)
    }

    /// Where the entry may stand that shows the breach, likeliest first; with what else is needed.
    fn suspects(&self, search: &Search<'_, impl Source>) -> Result<Vec<Vec<u64>>, StateError> {
        let case = search.case;
        if let Some(first) = case.double {
            return Ok(vec![vec![first]]);
        }
        let Ok(entry) = Entry::parse(case.item.bytes) else { return Ok(Vec::new()) };
        let (ledger, index) = (case.ledger, case.item.index);
        let signers = || entry.signers().filter_map(|signer| ledger.keys().find(signer));
        let leaf = |hash| search.reach.memory.index_of(hash, index);
        let one = |found: Option<u64>| found.map(|index| vec![index]).into_iter().collect();
        Ok(match (case.refusal, entry.body()) {
            (Refusal::State, _) => one(index.checked_sub(1)),
            (Refusal::Frozen, _) => one(self.ended.freeze),
            (Refusal::BadSignature | Refusal::OutOfScope, _) => {
                signers().map(|key| vec![key.index()]).collect()
            }
            (Refusal::KeyRevoked, _) => entry
                .signers()
                .filter_map(|key| self.ended.revoked.get(key))
                .map(|at| vec![*at])
                .collect(),
            (Refusal::Duplicate, Body::Mandate(mandate)) => {
                let names = mandate.keys.iter().filter_map(|key| named(&key.vkey));
                let known = names.filter_map(|name| ledger.keys().find(&name).cloned());
                known.map(|key| vec![key.index()]).collect()
            }
            (Refusal::Duplicate, Body::Revocation(revocation)) => {
                one(self.ended.revoked.get(&revocation.key).copied())
            }
            (Refusal::Conflict { head }, Body::Tally(tally)) => {
                let prev = tally.prev.map(leaf).transpose()?.flatten();
                let mut found: Vec<Vec<u64>> = one(prev);
                if let Some(head) = head {
                    found.extend(search.chain(head.index)?);
                }
                found
            }
            (Refusal::Invalid(_), Body::Attestation(said)) => one(leaf(said.leaf)?),
            (Refusal::Invalid(_), Body::Manifest(_)) => {
                let force = ledger.election().map(|election| vec![election.index]);
                force.into_iter().chain([vec![0]]).collect()
            }
            (Refusal::Invalid(_), _) => vec![vec![0]],
            _ => Vec::new(),
        })
    }
}

/// The name of a key in a vkey.
fn named(vkey: &str) -> Option<KeyRef> {
    let (name, rest) = vkey.split_once('+')?;
    let (id, _) = rest.split_once('+')?;
    format!("{name}+{id}").parse().ok()
}

impl<S: Source> Search<'_, S> {
    /// The tallies of a chain, from its head back; each also with the manifest in force and the
    /// state at the end of the tree, which two of one `seq` need.
    fn chain(&self, head: u64) -> Result<Vec<Vec<u64>>, StateError> {
        let Case { item, ledger, .. } = self.case;
        let (mut at, mut all) = (Some(head), Vec::new());
        let state = self.reach.memory.frontier().size() - 1;
        let manifest = ledger.election().map_or(0, |election| election.index);
        while let Some(place) = at.filter(|_| all.len() < 2 * CHAIN_MAX) {
            all.push(vec![place]);
            if state > item.index {
                all.push(vec![place, manifest, state]);
            }
            let tally = self.fetch(place)?.and_then(|bytes| Entry::parse(&bytes).ok());
            at = match tally.as_ref().map(Entry::body) {
                Some(Body::Tally(tally)) => match tally.prev {
                    Some(prev) => self.reach.memory.index_of(prev, place)?,
                    None => None,
                },
                _ => None,
            };
        }
        Ok(all)
    }

    /// The bytes of an entry under the followed head, if the log serves them in time.
    fn fetch(&self, index: u64) -> Result<Option<Vec<u8>>, StateError> {
        let Reach { memory, .. } = self.reach;
        let item = self.case.item;
        if index == item.index {
            return Ok(Some(item.bytes.to_vec()));
        }
        if self.gave_up.get() || Instant::now() >= self.until {
            return Ok(None);
        }
        let id = bundle_of(index, memory.frontier().size());
        let bundle = match super::bundle(self.reach, id) {
            Ok(bundle) => bundle,
            Err(AuditError::State(error)) => return Err(error),
            Err(_) => {
                self.gave_up.set(true);
                return Ok(None);
            }
        };
        let entries = parse_bundle(id, &bundle).unwrap_or_default();
        let entry = entries.get((index % u64::from(TILE_WIDTH)) as usize);
        let leaf = memory.leaves(index, 1)?;
        let entry = entry.filter(|entry| leaf.first() == Some(&leaf_hash(entry)));
        Ok(entry.map(|entry| entry.to_vec()))
    }

    /// These entries with their proofs under the followed head, out of our own leaf hashes.
    fn prove(&self, indexes: &[u64]) -> Result<Option<Proven>, StateError> {
        let memory = self.reach.memory;
        let Some(head) = memory.followed() else { return Ok(None) };
        let mut entries = Vec::with_capacity(indexes.len());
        for &index in indexes {
            let Some(bytes) = self.fetch(index)? else { return Ok(None) };
            let Ok(plan) = Plan::inclusion(head.head().size, index) else { return Ok(None) };
            let nodes = plan.nodes().iter().map(|node| memory.node(*node));
            let nodes = nodes.collect::<Result<Vec<_>, _>>()?;
            let Ok(hashes) = plan.combine(&nodes) else { return Ok(None) };
            entries.push(ProvenEntry { bytes, hashes, index });
        }
        Ok(Some(Proven { checkpoint: Box::new(head.as_unverified().clone()), entries }))
    }
}
