//! Auditing entries: the same three steps as the log's own admission, and what came of them.
//!
//! Bundles are fetched while the entries before them are judged. Leaf hashes under the followed
//! head are known by then, so every entry is checked against its own before anything else.

mod convict;
mod meaning;
mod saved;

use std::{
    collections::VecDeque,
    sync::{Arc, mpsc},
};

use jejak_proofs::{
    merkle::{BundleId, Hash, TILE_WIDTH, leaf_hash, parse_bundle},
    note::{Policy, VerifierKey},
    tally::{
        Body, CheckedEntry, ContestRegister, Entry, FileRef, Ledger, Manifest, REGISTER_LEN_MAX,
        Refusal, STATE_GAP_MAX, Tally, UnitRegister,
    },
};
use rayon::prelude::*;

use self::{
    convict::{Case, Convict, Ended},
    meaning::Readings,
};
use super::{
    Monitor, PollError, Watch,
    documents::Documents,
    finding::{Finding, Rule},
    follow::BUNDLES_AT_ONCE,
    memory::Memory,
    personal::Known,
    revision,
};
use crate::{
    client::source::{self, Bundle, ServeError, Source},
    state::StateError,
};

/// Entries after which the ledger is saved again, so that a restart replays no more than these.
const SNAPSHOT_EVERY: u64 = 250_000;

/// Refused entries of a run that are looked for among those before them; beyond, a doubled entry
/// is reported as any other that the rules should have refused.
const DOUBLE_SEARCHES_MAX: u32 = 1_000;

/// Entries of a bundle.
const WIDTH: u64 = TILE_WIDTH as u64;

/// How an entry begins that is the log's own.
const STATE_HEADER: &[u8] = b"jejak/state/";

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

/// The ledger, and what is needed to say more than that it refused.
pub(super) struct Auditor {
    ledger: Ledger,
    /// The entry of the manifest in force.
    manifest: Vec<u8>,
    readings: Readings,
    documents: Documents,
    known: Known,
    /// Entries in the newest snapshot.
    saved: u64,
    searches: u32,
    convict: Convict,
    old_bundles: VecDeque<(u64, Vec<u8>)>,
}

/// Where entries and what is remembered of them come from.
struct Reach<'a, S> {
    source: &'a S,
    policy: &'a Policy,
    memory: &'a Memory,
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
        let ids = BundleId::of_tree(auditor.ledger.size(), size);
        let done = source::bundles_ahead(source, ids, BUNDLES_AT_ONCE, |groups| {
            self.judge_all(&mut auditor, groups, watch)
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
            let reach = Reach { source: self.source, policy: self.policy, memory: &self.memory };
            let done = chunk
                .map_err(AuditError::Serve)
                .and_then(|mut bundles| auditor.judge_any(&mut bundles, &reach, &mut findings));
            // Findings about entries below were stored by an earlier run: this was a replay.
            let stored = self.memory.audited();
            findings.retain(|finding| finding.index.is_none_or(|index| index >= stored));
            if auditor.ledger.size() == size && stored < size {
                findings.extend(self.signed_outside(&auditor.ledger));
            }
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

    /// The finding about a followed head that no key signed which the manifest in force lets sign
    /// a tree of that size. One that counts is enough: any key may add its line to a checkpoint.
    fn signed_outside(&self, ledger: &Ledger) -> Option<Finding> {
        let (head, election) = (self.memory.followed()?, ledger.election()?);
        let size = head.head().size;
        let counts = |key: &VerifierKey| {
            election.manifest.log_key_counts(&key.to_string(), size)
                && head.as_unverified().clone().verify(self.origin, [key]).is_ok()
        };
        let mut known = self.policy.log_keys_at(self.origin, size);
        let detail = || format!("no key that `log_keys` names for {size} entries signed them");
        (!known.any(counts)).then(|| Finding::of_log(Rule::LogKey, detail()))
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
    /// The ledger with every sum brought up to date.
    pub fn ledger(&mut self) -> &Ledger {
        // Sums are settled when a state is due; where none is due they are.
        let _ = self.ledger.next_state();
        &self.ledger
    }

    /// Judges the entries of some bundles; where they are not those under the signed root, the
    /// bundles of a mirror that has them. It is the log's doing only if the log itself gave them.
    fn judge_any(
        &mut self,
        bundles: &mut [Bundle],
        reach: &Reach<'_, impl Source>,
        findings: &mut Vec<Finding>,
    ) -> Result<(), AuditError> {
        let judged = self.judge(bundles, reach, findings);
        if !matches!(judged, Err(AuditError::Wrong { .. })) || reach.source.mirrors().is_empty() {
            return judged;
        }
        for bundle in bundles.iter_mut() {
            findings.extend(mend(bundle, reach)?);
        }
        // What was judged before the wrong entry stands, and is not judged again.
        let judged = self.judge(bundles, reach, findings);
        let Err(AuditError::Wrong { index }) = judged else { return judged };
        let wrong = bundles.iter_mut().find(|bundle| bundle.id.index == index / WIDTH);
        Err(match wrong.and_then(|bundle| bundle.failure.take()) {
            Some(failure) => AuditError::Serve(failure),
            None => AuditError::Wrong { index },
        })
    }

    /// Judges the entries of some bundles, in order, from where the ledger is.
    fn judge(
        &mut self,
        bundles: &[Bundle],
        reach: &Reach<'_, impl Source>,
        findings: &mut Vec<Finding>,
    ) -> Result<(), AuditError> {
        let mut items = Vec::new();
        for Bundle { id, bytes, .. } in bundles {
            let start = id.index * WIDTH;
            let malformed = |_| ServeError::Malformed { path: id.path() };
            let entries = parse_bundle(*id, bytes).map_err(malformed).map_err(AuditError::Serve)?;
            let leaves = reach.memory.leaves(start, entries.len())?;
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
            self.apply(item, judged, reach, findings)?;
            // Said once: the number grows by one with every entry until the next state.
            if self.ledger.unsealed() == STATE_GAP_MAX + 1 {
                let detail = format!("more than {STATE_GAP_MAX} entries without a state");
                findings.push(item.finding(Rule::State, detail));
            }
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
        reach: &Reach<'_, impl Source>,
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
                    self.provide(manifest, reach)?;
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
            Err(refusal) => return self.refused(item, &refusal, reach, findings),
        };
        self.convict.note(item.index, checked.entry());
        match checked.entry().body() {
            Body::Manifest(manifest) => {
                self.manifest = item.bytes.to_vec();
                if let (Some(old), Some(new)) = (&election, self.ledger.election()) {
                    let detail = revision::of_manifest(manifest, old, new);
                    findings.push(item.finding(Rule::Manifest, detail));
                }
            }
            Body::Tally(tally) => self.tally(item, tally, &outcome, reach, findings)?,
            Body::State(_) => self.ledger.forget_sealed(),
            _ => {}
        }
        Ok(())
    }

    /// An entry that stands in the log and should not.
    fn refused(
        &mut self,
        item: &Item<'_>,
        refusal: &Refusal,
        reach: &Reach<'_, impl Source>,
        findings: &mut Vec<Finding>,
    ) -> Result<(), AuditError> {
        self.ledger.skip();
        self.searches += 1;
        let double = match self.searches <= DOUBLE_SEARCHES_MAX {
            true => reach.memory.index_of(item.leaf, item.index)?,
            false => None,
        };
        let rule = match refusal {
            _ if item.bytes.starts_with(STATE_HEADER) => Rule::State,
            Refusal::Conflict { .. } if double.is_none() => Rule::Chain,
            _ => Rule::Refused,
        };
        let detail = match double {
            Some(first) => format!("the same entry stands at {first}"),
            None => format!("{} ({refusal})", refusal.code()),
        };
        let case = Case { item, refusal, double, ledger: &self.ledger };
        let evidence = self.convict.write(&case, reach)?;
        findings.push(Finding { evidence, ..item.finding(rule, detail) });
        Ok(())
    }

    /// Gives the ledger the registers that a manifest names.
    fn provide(
        &mut self,
        manifest: &Manifest,
        reach: &Reach<'_, impl Source>,
    ) -> Result<(), AuditError> {
        // A register that does not parse is not given: the ledger then refuses the manifest.
        let units = register(&manifest.registers.units, reach)?;
        if let Some(units) = units.and_then(|bytes| UnitRegister::parse(&bytes).ok()) {
            self.ledger.provide_units(Arc::new(units));
        }
        let contests = register(&manifest.registers.contests, reach)?;
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

/// A bundle below the entry that is judged, as it must be under the signed root if a place has it
/// so; whoever reads it holds its entries against their leaf hashes.
fn bundle(reach: &Reach<'_, impl Source>, id: BundleId) -> Result<Vec<u8>, AuditError> {
    let mut bundle = source::bundle(reach.source, id).map_err(AuditError::Serve)?;
    mend(&mut bundle, reach)?;
    match wrong_entry(&bundle, reach.memory)?.and(bundle.failure) {
        Some(failure) => Err(AuditError::Serve(failure)),
        None => Ok(bundle.bytes),
    }
}

/// Puts the right bundle of a mirror in the place of a wrong one, if one has it; and says so if it
/// was the log that gave the wrong one.
fn mend(
    bundle: &mut Bundle,
    reach: &Reach<'_, impl Source>,
) -> Result<Option<Finding>, StateError> {
    let Some(index) = wrong_entry(bundle, reach.memory)? else { return Ok(None) };
    let id = bundle.id;
    let leaves = reach.memory.leaves(id.index * WIDTH, id.width.into())?;
    let is_right = |bytes: &[u8]| first_wrong(id, bytes, &leaves).is_none();
    let copy = source::bundle_of_mirrors(reach.source.mirrors(), id, is_right);
    let Some(copy) = copy else { return Ok(None) };
    bundle.bytes = copy;
    let detail = "the log serves another entry there than a mirror, and than the leaf under the \
                  signed root";
    let finding = Finding { index: Some(index), ..Finding::of_log(Rule::Root, detail) };
    Ok(bundle.failure.is_none().then_some(finding))
}

/// The first entry of a bundle that is not the one under the signed root.
fn wrong_entry(bundle: &Bundle, memory: &Memory) -> Result<Option<u64>, StateError> {
    let leaves = memory.leaves(bundle.id.index * WIDTH, bundle.id.width.into())?;
    Ok(first_wrong(bundle.id, &bundle.bytes, &leaves))
}

fn first_wrong(id: BundleId, bytes: &[u8], leaves: &[Hash]) -> Option<u64> {
    let entries = parse_bundle(id, bytes).unwrap_or_default();
    let right = entries.iter().zip(leaves).take_while(|(entry, leaf)| leaf_hash(entry) == **leaf);
    let right = right.count();
    (right < usize::from(id.width)).then_some(id.index * WIDTH + right as u64)
}

/// A register by its hash, from the state or from the log; `None` for one that nobody could have
/// taken, for its length.
fn register(file: &FileRef, reach: &Reach<'_, impl Source>) -> Result<Option<Vec<u8>>, AuditError> {
    if let Some(bytes) = reach.memory.register(file.sha256)? {
        return Ok(Some(bytes));
    }
    if file.bytes > REGISTER_LEN_MAX as u64 {
        return Ok(None);
    }
    let path = format!("register/{}", file.sha256);
    let bytes = source::file(reach.source, path, file.bytes, &file.sha256);
    let bytes = bytes.map_err(AuditError::Serve)?;
    reach.memory.keep_register(file.sha256, &bytes)?;
    Ok(Some(bytes))
}
