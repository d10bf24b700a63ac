//! Evidence out of entries that the rules should have refused: whatever convicts offline is written
//! down as a file that anybody can judge; the rest stays a finding that others must repeat.
//!
//! A refusal says which rule was broken, and so where to look for the other entry that makes it
//! show: the mandate of a key, the head of a chain, a revocation. Nothing that is fetched is
//! believed before its leaf hash is that under the followed head.

use std::collections::BTreeMap;

use jejak_proofs::{
    evidence::{Evidence, Proven, ProvenEntry},
    merkle::{Plan, TILE_WIDTH, leaf_hash, parse_bundle},
    tally::{Body, Entry, KeyRef, Ledger, Refusal},
};

use super::{AuditError, Item, Reach};
use crate::{client::source::Source, monitor::memory::bundle_of, state::StateError};

/// Evidence of this kind that one run writes: a log that is crooked throughout is convicted by
/// the first of them, and fills no disk.
pub const CONVICTIONS_MAX: u32 = 16;
/// Entries of one run that evidence is looked for against: what stands behind them has to be read.
const TRIES_MAX: u32 = 256;
/// Tallies of a chain that are looked at, from its head back.
const CHAIN_MAX: usize = 16;
/// Revocations whose places are remembered.
const REVOCATIONS_MAX: usize = 65_536;

/// What this run has seen that later entries may be held against.
#[derive(Default)]
pub struct Convict {
    /// Where the log ended.
    freeze: Option<u64>,
    /// Where each key was revoked.
    revoked: BTreeMap<KeyRef, u64>,
    written: u32,
    tries: u32,
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
    /// Remembers an entry that was taken.
    pub fn note(&mut self, index: u64, entry: &Entry) {
        match entry.body() {
            Body::Freeze(_) => self.freeze = Some(index),
            Body::Revocation(revocation) if self.revoked.len() < REVOCATIONS_MAX => {
                self.revoked.entry(revocation.key.clone()).or_insert(index);
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
        let done = self.written == CONVICTIONS_MAX || self.tries == TRIES_MAX;
        if done || case.item.index < reach.memory.audited() {
            return Ok(None);
        }
        self.tries += 1;
        let Some(evidence) = self.find(case, reach)? else { return Ok(None) };
        self.written += 1;
        let name = format!("evidence/entry-{}.evidence", case.item.index);
        reach.memory.publish(name, &evidence.to_string()).map(Some)
    }

    fn find(
        &self,
        case: &Case<'_>,
        reach: &Reach<'_, impl Source>,
    ) -> Result<Option<Evidence>, StateError> {
        let index = case.item.index;
        let convicts = |evidence: &Evidence| evidence.verify_under(reach.policy).is_ok();
        let Some(alone) = prove(reach, &[index])? else { return Ok(None) };
        let alone = Evidence::BadEntry(alone);
        if convicts(&alone) {
            return Ok(Some(alone));
        }
        for others in self.suspects(case, reach)? {
            let found = match &others[..] {
                [other] if *case.refusal == Refusal::BadSignature => {
                    prove(reach, &[index, *other])?.map(Evidence::BadEntry)
                }
                [other] => prove(reach, &[*other, index])?.map(Evidence::BrokenChain),
                [other, more @ ..] => {
                    let all = [&[*other, index], more].concat();
                    prove(reach, &all)?.map(Evidence::BrokenChain)
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
    fn suspects(
        &self,
        case: &Case<'_>,
        reach: &Reach<'_, impl Source>,
    ) -> Result<Vec<Vec<u64>>, StateError> {
        if let Some(first) = case.double {
            return Ok(vec![vec![first]]);
        }
        let Ok(entry) = Entry::parse(case.item.bytes) else { return Ok(Vec::new()) };
        let (ledger, index) = (case.ledger, case.item.index);
        let signers = || entry.signers().filter_map(|signer| ledger.keys().find(signer));
        let leaf = |hash| reach.memory.index_of(hash, index);
        let one = |found: Option<u64>| found.map(|index| vec![index]).into_iter().collect();
        Ok(match (case.refusal, entry.body()) {
            (Refusal::State, _) => one(index.checked_sub(1)),
            (Refusal::Frozen, _) => one(self.freeze),
            (Refusal::BadSignature | Refusal::OutOfScope, _) => {
                signers().map(|key| vec![key.index()]).collect()
            }
            (Refusal::KeyRevoked, _) => entry
                .signers()
                .filter_map(|key| self.revoked.get(key))
                .map(|at| vec![*at])
                .collect(),
            (Refusal::Duplicate, Body::Mandate(mandate)) => {
                let names = mandate.keys.iter().filter_map(|key| named(&key.vkey));
                let known = names.filter_map(|name| ledger.keys().find(&name).cloned());
                known.map(|key| vec![key.index()]).collect()
            }
            (Refusal::Duplicate, Body::Revocation(revocation)) => {
                one(self.revoked.get(&revocation.key).copied())
            }
            (Refusal::Conflict { head }, Body::Tally(tally)) => {
                let prev = tally.prev.map(leaf).transpose()?.flatten();
                let mut found: Vec<Vec<u64>> = one(prev);
                if let Some(head) = head {
                    found.extend(chain(reach, ledger, head.index, index)?);
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

/// The tallies of a chain, from its head back; each also with the manifest in force and the state
/// at the end of the tree, which two of one `seq` need.
fn chain(
    reach: &Reach<'_, impl Source>,
    ledger: &Ledger,
    head: u64,
    index: u64,
) -> Result<Vec<Vec<u64>>, StateError> {
    let (mut at, mut all) = (Some(head), Vec::new());
    let state = reach.memory.frontier().size() - 1;
    let manifest = ledger.election().map_or(0, |election| election.index);
    while let Some(place) = at.filter(|_| all.len() < 2 * CHAIN_MAX) {
        all.push(vec![place]);
        if state > index {
            all.push(vec![place, manifest, state]);
        }
        let tally = fetch(reach, place)?.and_then(|bytes| Entry::parse(&bytes).ok());
        at = match tally.as_ref().map(Entry::body) {
            Some(Body::Tally(tally)) => match tally.prev {
                Some(prev) => reach.memory.index_of(prev, place)?,
                None => None,
            },
            _ => None,
        };
    }
    Ok(all)
}

/// The bytes of an entry under the followed head, if the log serves them.
fn fetch(reach: &Reach<'_, impl Source>, index: u64) -> Result<Option<Vec<u8>>, StateError> {
    let id = bundle_of(index, reach.memory.frontier().size());
    let bundle = match super::bundle(reach, id) {
        Ok(bundle) => bundle,
        Err(AuditError::State(error)) => return Err(error),
        Err(_) => return Ok(None),
    };
    let entries = parse_bundle(id, &bundle).unwrap_or_default();
    let entry = entries.get((index % u64::from(TILE_WIDTH)) as usize).map(|entry| entry.to_vec());
    let leaf = reach.memory.leaves(index, 1)?;
    Ok(entry.filter(|entry| leaf.first() == Some(&leaf_hash(entry))))
}

/// These entries with their proofs under the followed head, out of our own leaf hashes.
fn prove(reach: &Reach<'_, impl Source>, indexes: &[u64]) -> Result<Option<Proven>, StateError> {
    let memory = reach.memory;
    let Some(head) = memory.followed() else { return Ok(None) };
    let mut entries = Vec::with_capacity(indexes.len());
    for &index in indexes {
        let Some(bytes) = fetch(reach, index)? else { return Ok(None) };
        let Ok(plan) = Plan::inclusion(head.head().size, index) else { return Ok(None) };
        let nodes = plan.nodes().iter().map(|node| memory.node(*node));
        let nodes = nodes.collect::<Result<Vec<_>, _>>()?;
        let Ok(hashes) = plan.combine(&nodes) else { return Ok(None) };
        entries.push(ProvenEntry { bytes, hashes, index });
    }
    Ok(Some(Proven { checkpoint: Box::new(head.as_unverified().clone()), entries }))
}
