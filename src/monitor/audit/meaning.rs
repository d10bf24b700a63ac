//! What there is to say about a tally that the log was right to take.
//!
//! The ledger has been applied, so it tells what holds with the tally; what was before is read from
//! the log again, by index. In a replay nothing is read: what was found then is stored.

use std::collections::BTreeSet;

use jejak_proofs::{
    merkle::{Frontier, Hash, TILE_WIDTH, parse_bundle},
    tally::{
        Body, Children, ContestRecap, Count, Entry, KeyRef, Outcome, Place as UnitPlace, Standing,
        Tally,
    },
};
use serde::{Deserialize, Serialize};

use super::{AuditError, Auditor, Item, Reach};
use crate::{
    client::source::Source,
    monitor::{
        documents::Place,
        fields::{self, Reading},
        finding::{FieldNumbers, Finding, Proof, Revision, Rule, Side},
        memory::bundle_of,
        revision,
    },
};

/// Bundles kept for the revisions that come back to them.
const OLD_BUNDLES_MAX: usize = 32;

/// Chains of one unit that are compared with a new tally of another reading; others are not.
const CHAINS_COMPARED_MAX: usize = 16;

/// Whose chain it is; `None` for the official one.
type Owner = Option<KeyRef>;

/// Who ever spoke by a machine's reading, and who by a signed form: only between these can a
/// contradiction be.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Readings {
    machine: BTreeSet<Owner>,
    form: BTreeSet<Owner>,
}

impl Readings {
    fn of(&self, reading: Reading) -> &BTreeSet<Owner> {
        match reading {
            Reading::Machine => &self.machine,
            Reading::Form => &self.form,
        }
    }

    fn note(&mut self, reading: Reading, owner: &Owner) {
        let known = match reading {
            Reading::Machine => &mut self.machine,
            Reading::Form => &mut self.form,
        };
        if !known.contains(owner) {
            known.insert(owner.clone());
        }
    }
}

/// Where a tally stands in the recap.
struct At<'a> {
    recap: &'a ContestRecap,
    place: UnitPlace,
}

impl Auditor {
    pub(super) fn tally(
        &mut self,
        item: &Item<'_>,
        tally: &Tally,
        outcome: &Outcome,
        reach: &Reach<'_, impl Source>,
        findings: &mut Vec<Finding>,
    ) -> Result<(), AuditError> {
        for rule in outcome.flags.iter() {
            let finding = item.finding_of(rule.into(), tally, revision::of_form(rule, tally));
            findings.push(Finding { fields: fields::of_rule(rule, tally), ..finding });
        }
        let official = self.is_official(tally);
        if let Some(replaced) = outcome.replaced {
            self.revision(item, tally, replaced.into(), reach, findings)?;
            if official && !fields::overrules(tally.reason) {
                findings.extend(self.declared_above(item, tally, replaced.into()));
            }
        }
        self.documents(item, tally, reach, findings)?;
        self.readings(item, tally, official, reach, findings)?;
        if let (true, Some(children)) = (official, &tally.children) {
            findings.extend(self.children(item, tally, children));
        }
        Ok(())
    }

    /// Whether the author speaks in the one official chain of the unit.
    fn is_official(&self, tally: &Tally) -> bool {
        let role = self.ledger.keys().find(&tally.by).map(|key| key.role());
        let election = self.ledger.election();
        let role = role.and_then(|role| election?.role(role.as_str()));
        role.is_some_and(|role| role.official)
    }

    fn at(&self, tally: &Tally) -> Option<At<'_>> {
        let (_, recap) = self.ledger.recap()?.find(tally.contest.as_str())?;
        Some(At { recap, place: recap.find(tally.unit.as_str())? })
    }

    /// T1 and T3: what a revision changed, and what that does to the sums.
    fn revision(
        &mut self,
        item: &Item<'_>,
        tally: &Tally,
        replaced: Proof,
        reach: &Reach<'_, impl Source>,
        findings: &mut Vec<Finding>,
    ) -> Result<(), AuditError> {
        let old = self.tally_at(item, replaced, reach)?;
        let emptied =
            fields::is_empty(tally) && old.as_ref().is_some_and(|old| !fields::is_empty(old));
        let rule = if tally.withdrawn() || emptied { Rule::Withdrawn } else { Rule::Revision };
        let official = self.is_official(tally);
        let region = if official { self.moved_region(item, tally) } else { None };
        let mut finding = Finding {
            others: vec![replaced],
            fields: old.as_ref().map_or(Vec::new(), |old| fields::changes(old, tally)),
            revision: Some(Revision {
                by: tally.by.to_string(),
                reason: revision::word(&tally.reason),
                seq: tally.seq,
                official,
                region: region.filter(|_| old.is_some()),
            }),
            ..item.finding_of(rule, tally, "")
        };
        finding.detail = revision::of_tally(tally, old.as_ref(), replaced.index, &finding);
        findings.push(finding);
        Ok(())
    }

    /// The region below the top whose sums a revision has changed: none if another round counts,
    /// now or before.
    fn moved_region(&self, item: &Item<'_>, tally: &Tally) -> Option<String> {
        let At { recap, place } = self.at(tally)?;
        let head = recap.record(place).head;
        let counts = head.map_or(tally.withdrawn(), |head| head.leaf == item.leaf);
        let chains = self.ledger.standings(tally.contest.as_str(), tally.unit.as_str());
        let other_round =
            chains.iter().any(|chain| chain.owner.is_none() && chain.round != tally.round);
        let station = recap.shape().is_station(place);
        (counts && !other_round && station).then(|| {
            let mut here = place;
            while let Some(above) = recap.shape().parent(here).filter(|above| *above != 0) {
                here = above;
            }
            recap.code(here).to_owned()
        })
    }

    /// T2: a region above has declared its recap, and nothing in the reason stands above that.
    fn declared_above(&self, item: &Item<'_>, tally: &Tally, replaced: Proof) -> Option<Finding> {
        let At { recap, place } = self.at(tally)?;
        let mut above = recap.shape().parent(place);
        while let Some(region) = above {
            if let Some(head) = recap.record(region).head {
                let code = recap.code(region);
                let detail = format!(
                    "{}, while {code} declared its recap in entry {}",
                    revision::word(&tally.reason),
                    head.index
                );
                let finding = item.finding_of(Rule::RevisedBelow, tally, detail);
                return Some(Finding { others: vec![replaced, head.into()], ..finding });
            }
            above = recap.shape().parent(region);
        }
        None
    }

    /// X4: a document that was named before, for another unit.
    fn documents(
        &mut self,
        item: &Item<'_>,
        tally: &Tally,
        reach: &Reach<'_, impl Source>,
        findings: &mut Vec<Finding>,
    ) -> Result<(), AuditError> {
        let Some(unit) = self.ledger.unit_number(tally.unit.as_str()) else { return Ok(()) };
        let index = u32::try_from(item.index).unwrap_or(u32::MAX);
        let was_full = self.documents.is_full();
        let mut said = BTreeSet::new();
        for doc in &tally.docs {
            let first = self.documents.first(&doc.sha256, Place { index, unit });
            let Some(first) = first.filter(|first| first.unit != unit) else { continue };
            let leaf = reach.memory.leaves(first.index.into(), 1)?.first().copied();
            let proof = leaf.map(|leaf| Proof { index: first.index.into(), leaf });
            let Some(proof) = proof.filter(|_| said.insert(first.index)) else { continue };
            let other = self.tally_at(item, proof, reach)?;
            // A part of the hash was the same: see whether the rest is.
            let same = |other: &Tally| other.docs.iter().any(|old| old.sha256 == doc.sha256);
            if let Some(other) = other.filter(same) {
                let detail = format!("document {}, also of unit {}", doc.sha256, other.unit);
                let finding = item.finding_of(Rule::Document, tally, detail);
                findings.push(Finding { others: vec![proof], ..finding });
            }
        }
        if self.documents.is_full() && !was_full {
            let detail = format!("{} are remembered, later ones are not", self.documents.len());
            findings.push(item.finding_of(Rule::DocumentsFull, tally, detail));
        }
        Ok(())
    }

    /// X2: a machine's reading beside a signed form that says something else.
    fn readings(
        &mut self,
        item: &Item<'_>,
        tally: &Tally,
        official: bool,
        reach: &Reach<'_, impl Source>,
        findings: &mut Vec<Finding>,
    ) -> Result<(), AuditError> {
        let Some(reading) = Reading::of(&tally.basis).filter(|_| !tally.withdrawn()) else {
            return Ok(());
        };
        let owner = (!official).then(|| tally.by.clone());
        self.readings.note(reading, &owner);
        if self.readings.of(reading.other()).is_empty() || item.index < reach.memory.audited() {
            return Ok(());
        }
        let (contest, unit) = (tally.contest.as_str(), tally.unit.as_str());
        let mut chains = self.ledger.standings(contest, unit);
        let Some(ours) = chains.iter().position(|chain| chain.head.leaf == item.leaf) else {
            return Ok(());
        };
        let ours = chains.swap_remove(ours);
        let others = self.readings.of(reading.other());
        let may_differ = |chain: &Standing| {
            chain.round == ours.round
                && !chain.withdrawn
                && others.contains(&chain.owner)
                && differ(&chain.counts, &ours.counts)
        };
        chains.retain(may_differ);
        for theirs in chains.iter().take(CHAINS_COMPARED_MAX) {
            let old = self.tally_at(item, theirs.head.into(), reach)?;
            if old.and_then(|old| Reading::of(&old.basis)) == Some(reading.other()) {
                findings.push(self.misread(item, tally, (reading, &ours), theirs));
            }
        }
        Ok(())
    }

    fn misread(
        &self,
        item: &Item<'_>,
        tally: &Tally,
        (reading, ours): (Reading, &Standing),
        theirs: &Standing,
    ) -> Finding {
        let election = self.ledger.election();
        let contest = election.and_then(|of| of.contests.find(tally.contest.as_str()));
        let boxes = contest.map_or(Vec::new(), |(_, contest)| fields::boxes(contest));
        let (ours_wide, theirs_wide) = (fields::wide(&ours.counts), fields::wide(&theirs.counts));
        let differences = fields::differences(
            &boxes,
            (reading.side(), &ours_wide),
            (reading.other().side(), &theirs_wide),
        );
        let detail =
            format!("beside entry {}: {}", theirs.head.index, revision::list(&differences));
        Finding {
            others: vec![theirs.head.into()],
            fields: differences,
            ..item.finding_of(Rule::Misread, tally, detail)
        }
    }

    /// G2: the child leaves that a declared recap names are not those that count now.
    fn children(&self, item: &Item<'_>, tally: &Tally, named: &Children) -> Option<Finding> {
        let At { recap, place } = self.at(tally)?;
        let mut frontier = Frontier::new();
        child_heads(recap, place, &mut |leaf| frontier.push(leaf));
        let head = frontier.head();
        if (u64::from(named.count), named.root) == (head.size, head.root) {
            return None;
        }
        let detail = format!(
            "made from {} leaves with the root {}; {} count now, with the root {}",
            named.count, named.root, head.size, head.root
        );
        let numbers =
            vec![(Side::Declared, Some(named.count.into())), (Side::Computed, Some(head.size))];
        let field = "children.count".to_owned();
        let finding = item.finding_of(Rule::Children, tally, detail);
        Some(Finding { fields: vec![FieldNumbers { field, numbers }], ..finding })
    }

    /// A tally that stands below the entry being judged; `None` if it is none, or in a replay.
    fn tally_at(
        &mut self,
        item: &Item<'_>,
        at: Proof,
        reach: &Reach<'_, impl Source>,
    ) -> Result<Option<Tally>, AuditError> {
        if item.index < reach.memory.audited() {
            return Ok(None);
        }
        let id = bundle_of(at.index, reach.memory.frontier().size());
        let known = self.old_bundles.iter().position(|(index, _)| *index == id.index);
        let bundle = match known {
            Some(bundle) => bundle,
            None => {
                let bytes = super::bundle(reach, id)?;
                if self.old_bundles.len() == OLD_BUNDLES_MAX {
                    self.old_bundles.pop_front();
                }
                self.old_bundles.push_back((id.index, bytes));
                self.old_bundles.len() - 1
            }
        };
        let entries = parse_bundle(id, &self.old_bundles[bundle].1).unwrap_or_default();
        let place = (at.index % u64::from(TILE_WIDTH)) as usize;
        let entry = entries.get(place).and_then(|bytes| Entry::parse(bytes).ok());
        let entry = entry.filter(|entry| entry.leaf() == at.leaf);
        Ok(match entry.map(|entry| entry.body().clone()) {
            Some(Body::Tally(tally)) => Some(*tally),
            _ => None,
        })
    }
}

fn differ(ours: &[Count], theirs: &[Count]) -> bool {
    ours.iter().zip(theirs).any(|(a, b)| a.zip(*b).is_some_and(|(a, b)| a != b))
}

/// The leaf hashes of the official tallies that count below a region, in the order of the register.
/// A region that declared none is no level of recaps: what counts below it stands in its place.
fn child_heads(recap: &ContestRecap, region: UnitPlace, visit: &mut impl FnMut(Hash)) {
    for child in recap.shape().children(region) {
        match recap.record(child).head {
            Some(head) => visit(head.leaf),
            None if recap.shape().is_station(child) => {}
            None => child_heads(recap, child, visit),
        }
    }
}
