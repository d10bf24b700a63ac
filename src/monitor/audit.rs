//! Auditing entries: the same three steps as the log's own admission, and what came of them.
//!
//! Bundles are fetched while the entries before them are judged. Leaf hashes under the followed
//! head are known by then, so every entry is checked against its own before anything else.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, mpsc},
    thread,
};

use jejak_proofs::{
    merkle::{BundleId, Hash, TILE_WIDTH, leaf_hash, parse_bundle},
    tally::{
        Body, ChainHead, CheckedEntry, ContestRegister, Entry, FileRef, Ledger, Manifest, Outcome,
        REGISTER_LEN_MAX, Refusal, Snapshot, Tally, UnitRegister,
    },
};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{
    Monitor, PollError, Source, Watch,
    finding::{Finding, Rule},
    follow::BUNDLES_AT_ONCE,
    memory::{Memory, bundle_of},
    personal::Known,
    revision,
    source::{self, ServeError},
};
use crate::state::StateError;

/// Entries after which the ledger is saved again, so that a restart replays no more than these.
const SNAPSHOT_EVERY: u64 = 250_000;

/// Refused entries of a run that are looked for among those before them; beyond, a doubled entry
/// is reported as any other that the rules should have refused.
const DOUBLE_SEARCHES_MAX: u32 = 1_000;

/// Bundles kept for the revisions that come back to them.
const OLD_BUNDLES_MAX: usize = 32;

/// A bundle as it was served.
type Bundle = (BundleId, Vec<u8>);

/// Why a chunk could not be judged to its end.
enum AuditError {
    /// An entry does not hash to its leaf under the signed root.
    Wrong {
        index: u64,
    },
    Serve(ServeError),
    State(StateError),
}

impl From<StateError> for AuditError {
    fn from(error: StateError) -> Self {
        Self::State(error)
    }
}

/// What is kept of a ledger, with the manifest in force.
#[derive(Serialize, Deserialize)]
struct Saved {
    snapshot: Snapshot,
    manifest: Vec<u8>,
    /// What [`Known`] learned.
    codes: BTreeSet<String>,
}

/// The ledger, and what is needed to say more than that it refused.
pub(super) struct Auditor {
    ledger: Ledger,
    /// The entry of the manifest in force.
    manifest: Vec<u8>,
    known: Known,
    /// Entries in the newest snapshot.
    saved: u64,
    searches: u32,
    old_bundles: VecDeque<(u64, Vec<u8>)>,
}

/// What stands at an index: the entry's bytes and the leaf hash that it must have.
struct Item<'a> {
    index: u64,
    leaf: Hash,
    bytes: &'a [u8],
}

/// What the parallel half says about an entry.
struct Judged {
    matches: bool,
    checked: Result<CheckedEntry, Refusal>,
    personal: bool,
}

impl<S: Source> Monitor<'_, S> {
    /// Audits every entry under the followed head that was not audited before.
    pub(super) fn audit(&mut self, watch: &Watch<'_>) -> Result<(), PollError> {
        let size = self.memory.frontier().size();
        let mut auditor = match self.auditor.take() {
            Some(auditor) => auditor,
            None => Auditor::restore(&self.memory, self.origin)?,
        };
        auditor.old_bundles.clear();
        let source = self.source;
        let done = thread::scope(|scope| {
            let ids = BundleId::of_tree(auditor.ledger.size(), size).collect::<Vec<_>>();
            // One chunk waits while one is judged and one is fetched.
            let (sender, chunks) = mpsc::sync_channel(0);
            scope.spawn(move || {
                for group in ids.chunks(BUNDLES_AT_ONCE) {
                    let got = source::get_all(group, |id| Ok((id, source::bundle(source, id)?)));
                    let failed = got.is_err();
                    if sender.send(got).is_err() || failed {
                        return;
                    }
                }
            });
            self.judge_all(&mut auditor, chunks, watch)
        });
        self.auditor = Some(auditor);
        done
    }

    fn judge_all(
        &mut self,
        auditor: &mut Auditor,
        chunks: mpsc::Receiver<Result<Vec<Bundle>, ServeError>>,
        watch: &Watch<'_>,
    ) -> Result<(), PollError> {
        let size = self.memory.frontier().size();
        (watch.progress)(self.memory.audited(), size);
        for chunk in chunks {
            let mut findings = Vec::new();
            let done = chunk.map_err(AuditError::Serve).and_then(|bundles| {
                auditor.judge(&bundles, self.source, &self.memory, &mut findings)
            });
            // Findings about entries below were stored by an earlier run: this was a replay.
            let stored = self.memory.audited();
            findings.retain(|finding| finding.index.is_none_or(|index| index >= stored));
            let audited = auditor.ledger.size().max(stored);
            self.memory.progress(audited, &findings)?;
            findings.iter().for_each(|finding| {
                self.run.add(finding.rule);
                (watch.found)(finding);
            });
            (watch.progress)(audited, size);
            done.map_err(|error| self.audit_failed(error, watch))?;
            if auditor.ledger.size() >= auditor.saved + SNAPSHOT_EVERY {
                auditor.save(&self.memory)?;
            }
            if watch.stopped() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn audit_failed(&mut self, error: AuditError, watch: &Watch<'_>) -> PollError {
        match error {
            AuditError::State(error) => PollError::State(error),
            AuditError::Serve(ServeError::Unreachable(error)) => PollError::Unreachable(error),
            AuditError::Serve(error) => self.end(Finding::of_log(Rule::Withheld, error), watch),
            AuditError::Wrong { index } => {
                let detail = "what is served there does not hash to the leaf under the signed root";
                let finding = Finding::of_log(Rule::Root, detail);
                self.end(Finding { index: Some(index), ..finding }, watch)
            }
        }
    }
}

impl Auditor {
    /// The ledger as it was saved, or an empty one: what is missing is replayed.
    fn restore(memory: &Memory, origin: &str) -> Result<Self, StateError> {
        let saved = memory.saved_ledger()?.and_then(|bytes| postcard::from_bytes(&bytes).ok());
        let restored = match saved {
            Some(saved) => Self::restore_saved(memory, origin, saved)?,
            None => None,
        };
        let (ledger, manifest, known) = restored.unwrap_or_else(|| {
            (Ledger::new(origin), Vec::new(), Known::new(origin, BTreeSet::new()))
        });
        let (saved, old_bundles) = (ledger.size(), VecDeque::new());
        Ok(Self { ledger, manifest, known, saved, searches: 0, old_bundles })
    }

    fn restore_saved(
        memory: &Memory,
        origin: &str,
        saved: Saved,
    ) -> Result<Option<(Ledger, Vec<u8>, Known)>, StateError> {
        let Saved { snapshot, manifest, codes } = saved;
        let fits = snapshot.origin() == origin && snapshot.size() <= memory.audited();
        let (Some(index), true) = (snapshot.manifest_index(), fits) else { return Ok(None) };
        let leaf = memory.leaves(index, 1)?.first().copied();
        let Ok(entry) = Entry::parse(&manifest) else { return Ok(None) };
        let Body::Manifest(body) = entry.body() else { return Ok(None) };
        let files = [&body.registers.units, &body.registers.contests];
        let [units, contests] = files.map(|file| memory.register(file.sha256));
        let (Some(units), Some(contests)) = (units?, contests?) else { return Ok(None) };
        let (Ok(units), Ok(contests)) =
            (UnitRegister::parse(&units), ContestRegister::parse(&contests))
        else {
            return Ok(None);
        };
        if leaf != Some(entry.leaf()) {
            return Ok(None);
        }
        let ledger = Ledger::restore(snapshot, &entry, Arc::new(units), Arc::new(contests)).ok();
        Ok(ledger.map(|ledger| (ledger, manifest, Known::new(origin, codes))))
    }

    /// Saves the ledger if it has grown.
    pub fn save(&mut self, memory: &Memory) -> Result<(), StateError> {
        if self.ledger.size() == self.saved || self.ledger.size() > memory.audited() {
            return Ok(());
        }
        let (snapshot, manifest) = (self.ledger.snapshot(), self.manifest.clone());
        let saved = Saved { snapshot, manifest, codes: self.known.codes().clone() };
        let bytes = postcard::to_stdvec(&saved).expect("plain data in memory");
        memory.save_ledger(&bytes)?;
        self.saved = self.ledger.size();
        Ok(())
    }

    /// Judges the entries of some bundles, in order, from where the ledger is.
    fn judge(
        &mut self,
        bundles: &[Bundle],
        source: &impl Source,
        memory: &Memory,
        findings: &mut Vec<Finding>,
    ) -> Result<(), AuditError> {
        let mut items = Vec::new();
        for (id, bytes) in bundles {
            let start = id.index * u64::from(TILE_WIDTH);
            let malformed = |_| ServeError::Malformed { path: id.path() };
            let entries = parse_bundle(*id, bytes).map_err(malformed).map_err(AuditError::Serve)?;
            let leaves = memory.leaves(start, entries.len())?;
            let all = (start..).zip(leaves).zip(entries);
            let all = all.map(|((index, leaf), bytes)| Item { index, leaf, bytes });
            items.extend(all.filter(|item| item.index >= self.ledger.size()));
        }
        // Signatures are the cost of an audit, and need only the keys: every core works.
        let judged: Vec<Judged> = items.par_iter().map(|item| self.check(item)).collect();
        for (item, judged) in items.iter().zip(judged) {
            if !judged.matches {
                return Err(AuditError::Wrong { index: item.index });
            }
            self.apply(item, judged, source, memory, findings)?;
        }
        Ok(())
    }

    /// All that does not depend on the entries between here and the ledger.
    fn check(&self, item: &Item<'_>) -> Judged {
        Judged {
            matches: leaf_hash(item.bytes) == item.leaf,
            checked: Entry::parse(item.bytes).and_then(|entry| entry.check(self.ledger.keys())),
            personal: self.known.find(item.bytes).is_some(),
        }
    }

    fn apply(
        &mut self,
        item: &Item<'_>,
        judged: Judged,
        source: &impl Source,
        memory: &Memory,
        findings: &mut Vec<Finding>,
    ) -> Result<(), AuditError> {
        let checked = match judged.checked {
            // The mandate may stand between: look again with the keys of now.
            Err(Refusal::UnknownKey) => {
                Entry::parse(item.bytes).and_then(|entry| entry.check(self.ledger.keys()))
            }
            checked => checked,
        };
        let election = self.ledger.election().cloned();
        let applied = match checked {
            Ok(checked) => {
                if let Body::Manifest(manifest) = checked.entry().body() {
                    self.provide(manifest, source, memory)?;
                }
                self.ledger.apply(&checked).map(|outcome| (checked, outcome))
            }
            Err(refusal) => Err(refusal),
        };
        if let Ok((checked, _)) = &applied
            && let (Body::Manifest(_), Some(election)) =
                (checked.entry().body(), self.ledger.election())
        {
            // Root keys are named after units of the register that comes with them.
            self.known.learn(&election.units);
        }
        if judged.personal
            && let Some(pattern) = self.known.find(item.bytes)
        {
            findings.push(item.finding(Rule::Personal, pattern.word()));
        }
        let (checked, outcome) = match applied {
            Ok(applied) => applied,
            Err(refusal) => return self.refused(item, refusal, memory, findings),
        };
        match checked.entry().body() {
            Body::Manifest(manifest) => {
                self.manifest = item.bytes.to_vec();
                if let (Some(old), Some(new)) = (&election, self.ledger.election()) {
                    findings.push(
                        item.finding(Rule::Manifest, revision::of_manifest(manifest, old, new)),
                    );
                }
            }
            Body::Tally(tally) => self.tally(item, tally, &outcome, source, memory, findings)?,
            _ => {}
        }
        Ok(())
    }

    /// An entry that stands in the log and should not.
    fn refused(
        &mut self,
        item: &Item<'_>,
        refusal: Refusal,
        memory: &Memory,
        findings: &mut Vec<Finding>,
    ) -> Result<(), AuditError> {
        self.ledger.skip();
        self.searches += 1;
        let double = match self.searches <= DOUBLE_SEARCHES_MAX {
            true => memory.index_of(item.leaf, item.index)?,
            false => None,
        };
        let rule = match refusal {
            Refusal::Conflict { .. } if double.is_none() => Rule::Chain,
            _ => Rule::Refused,
        };
        let detail = match double {
            Some(first) => format!("the same entry stands at {first}"),
            None => format!("{} ({refusal})", refusal.code()),
        };
        findings.push(item.finding(rule, detail));
        Ok(())
    }

    /// What there is to say about a tally that the log was right to take.
    fn tally(
        &mut self,
        item: &Item<'_>,
        tally: &Tally,
        outcome: &Outcome,
        source: &impl Source,
        memory: &Memory,
        findings: &mut Vec<Finding>,
    ) -> Result<(), AuditError> {
        for rule in outcome.flags.iter() {
            let detail = revision::of_form(rule, tally);
            findings.push(item.finding_of(rule.into(), tally, detail));
        }
        if let Some(replaced) = outcome.replaced {
            // What was audited before need not be asked for again to be named.
            let replay = item.index < memory.audited();
            let old = if replay { None } else { self.old_tally(replaced, source, memory)? };
            let detail = revision::of_tally(tally, old.as_ref(), replaced.index);
            let rule = if tally.withdrawn() { Rule::Withdrawn } else { Rule::Revision };
            findings.push(item.finding_of(rule, tally, detail));
        }
        Ok(())
    }

    /// The tally that was the head of its chain.
    fn old_tally(
        &mut self,
        head: ChainHead,
        source: &impl Source,
        memory: &Memory,
    ) -> Result<Option<Tally>, AuditError> {
        let id = bundle_of(head.index, memory.frontier().size());
        let known = self.old_bundles.iter().position(|(index, _)| *index == id.index);
        let at = match known {
            Some(at) => at,
            None => {
                let bytes = source::bundle(source, id).map_err(AuditError::Serve)?;
                if self.old_bundles.len() == OLD_BUNDLES_MAX {
                    self.old_bundles.pop_front();
                }
                self.old_bundles.push_back((id.index, bytes));
                self.old_bundles.len() - 1
            }
        };
        let entries = parse_bundle(id, &self.old_bundles[at].1).unwrap_or_default();
        let place = (head.index % u64::from(TILE_WIDTH)) as usize;
        let entry = entries.get(place).and_then(|bytes| Entry::parse(bytes).ok());
        Ok(
            match entry.filter(|entry| entry.leaf() == head.leaf).map(|entry| entry.body().clone())
            {
                Some(Body::Tally(tally)) => Some(*tally),
                _ => None,
            },
        )
    }

    /// Gives the ledger the registers that a manifest names.
    fn provide(
        &mut self,
        manifest: &Manifest,
        source: &impl Source,
        memory: &Memory,
    ) -> Result<(), AuditError> {
        // A register that does not parse is not given: the ledger then refuses the manifest.
        let units = register(&manifest.registers.units, source, memory)?;
        if let Some(units) = units.and_then(|bytes| UnitRegister::parse(&bytes).ok()) {
            self.ledger.provide_units(Arc::new(units));
        }
        let contests = register(&manifest.registers.contests, source, memory)?;
        if let Some(contests) = contests.and_then(|bytes| ContestRegister::parse(&bytes).ok()) {
            self.ledger.provide_contests(Arc::new(contests));
        }
        Ok(())
    }
}

impl Item<'_> {
    /// A finding about this entry; names contest and unit if it is a tally.
    fn finding(&self, rule: Rule, detail: impl std::fmt::Display) -> Finding {
        let entry = Entry::parse(self.bytes);
        match entry.as_ref().map(Entry::body) {
            Ok(Body::Tally(tally)) => self.finding_of(rule, tally, detail),
            _ => Finding::of_entry(rule, self.index, self.leaf, detail),
        }
    }

    fn finding_of(&self, rule: Rule, tally: &Tally, detail: impl std::fmt::Display) -> Finding {
        Finding {
            contest: Some(tally.contest.to_string()),
            unit: Some(tally.unit.to_string()),
            ..Finding::of_entry(rule, self.index, self.leaf, detail)
        }
    }
}

/// A register by its hash, from the state or from the log; `None` for one that nobody could have
/// taken, for its length.
fn register(
    file: &FileRef,
    source: &impl Source,
    memory: &Memory,
) -> Result<Option<Vec<u8>>, AuditError> {
    if let Some(bytes) = memory.register(file.sha256)? {
        return Ok(Some(bytes));
    }
    if file.bytes > REGISTER_LEN_MAX as u64 {
        return Ok(None);
    }
    let path = format!("register/{}", file.sha256);
    let bytes = source::file(source, path.clone(), file.bytes).map_err(AuditError::Serve)?;
    if jejak_proofs::merkle::sha256(&bytes) != file.sha256 {
        return Err(AuditError::Serve(ServeError::Malformed { path }));
    }
    memory.keep_register(file.sha256, &bytes)?;
    Ok(Some(bytes))
}
