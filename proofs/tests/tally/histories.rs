//! Ten thousand random histories of right and wrong moves, against the model of `model` and the
//! recap of `recap_model`.
//!
//! Beside the ledger run three others that must agree with it: one restored from a snapshot at a
//! random point, one that gets entries checked against the keys of an earlier batch, and a fresh
//! replay of everything that was taken. States are made from what `recap_model` computes, so the
//! ledger takes one only if it computes the same; one that was sealed early is looked at again at
//! the end.

use std::collections::BTreeMap;
use std::sync::Arc;

use jejak_proofs::note::SigningKey;
use jejak_proofs::tally::*;

use super::false_refusals::assert_no_lie;
use super::model::{Action, Grant, Model};
use super::moves::{ALL_ROOTS, CONTESTS, body, first_keys, labels, random_action, state_body};
use super::recap::{assert_same, compute};
use super::recap_model::{Computed, ComputedRecap, RecapModel};
use super::{rng::Rng, world::*};

/// Tests that share the histories, so that cores do.
const PARTS: u64 = 4;
const HISTORIES_PER_PART: u64 = 2_500;
const LONGEST: u64 = 34;

/// Everything that the histories share, made once.
pub struct Stage {
    pub keys: BTreeMap<String, SigningKey>,
    pub grants: Vec<Grant>,
    pub full: Arc<UnitRegister>,
    pub fewer: Arc<UnitRegister>,
    pub narrow: Arc<ContestRegister>,
    pub wide: Arc<ContestRegister>,
    pub templates: BTreeMap<(String, &'static str), Tally>,
    founding: Vec<u8>,
}

impl Stage {
    fn new() -> Self {
        let grant =
            |label: &str, role, unit, contest| Grant { label: label.into(), role, unit, contest };
        let grants = vec![
            grant("kpu/ID", "kpu", "ID", None),
            grant("kpu/31", "kpu", "31", None),
            grant("kpu/31 1", "kpu", "31", Some("ppwp")),
            grant("ppk/310101", "ppk", "310101", None),
            grant("ppk/310101 1", "ppk", "310101", Some("dpr:3101")),
            grant("kpps/310101.001", "kpps", "310101.001", None),
            grant("kpps/310101.002", "kpps", "310101.002", None),
            grant("kpps/310101", "kpps", "310101", Some("ppwp")),
            grant("kpps/320101.001", "kpps", "320101.001", None),
            grant("observer/ID", "observer", "ID", None),
            grant("observer/310101", "observer", "310101", None),
            grant("saksi/31", "saksi", "31", Some("ppwp")),
            grant("saksi/310101.001", "saksi", "310101.001", Some("ppwp")),
        ];
        let labels = grants.iter().map(|grant| grant.label.clone());
        let keys: BTreeMap<_, _> = labels
            .chain(ALL_ROOTS.map(String::from))
            .map(|label| match label.split_once(' ') {
                Some((name, n)) => (label.clone(), key_n(name, n.parse().unwrap())),
                None => (label.clone(), key(&label)),
            })
            .collect();
        let mut fewer = units();
        fewer.retain(|unit| unit.code.as_str() != STATION_TWO);
        let mut wide = contests();
        wide[1].scope = codes(&["3101", "320101"]);
        wide.push(contest("dpd:31", &["01"], &["31"]));
        let world = World::founded();
        let mut templates = BTreeMap::new();
        for (label, key) in &keys {
            for contest in CONTESTS {
                templates.insert((label.clone(), contest), world.tally(key, contest, STATION));
            }
        }
        Self {
            keys,
            grants,
            full: unit_register(&units()),
            fewer: unit_register(&fewer),
            narrow: contest_register(&contests()),
            wide: contest_register(&wide),
            founding: world.entries[0].clone(),
            templates,
        }
    }

    fn ledger(&self) -> Ledger {
        let mut ledger = Ledger::new(ORIGIN);
        self.provide(&mut ledger);
        ledger
    }

    fn provide(&self, ledger: &mut Ledger) {
        for units in [&self.full, &self.fewer] {
            ledger.provide_units(units.clone());
        }
        for contests in [&self.narrow, &self.wide] {
            ledger.provide_contests(contests.clone());
        }
    }

    /// The same after a restart.
    fn restored(&self, ledger: &Ledger, manifest: &[u8]) -> Ledger {
        let text = state(ledger);
        let election = ledger.election().unwrap();
        let (units, contests) = (election.units.clone(), election.contests.clone());
        let snapshot = serde_json::from_str(&text).unwrap();
        let manifest = Entry::parse(manifest).unwrap();
        let mut restored = Ledger::restore(snapshot, &manifest, units, contests).unwrap();
        self.provide(&mut restored);
        assert_eq!(state(&restored), text);
        restored
    }
}

fn state(ledger: &Ledger) -> String {
    serde_json::to_string(&ledger.snapshot()).unwrap()
}

/// Signers as they stand in the entry: each once, the author first.
fn tidy(mut signers: Vec<String>) -> Vec<String> {
    let mut seen = std::collections::BTreeSet::new();
    signers.retain(|label| seen.insert(label.clone()));
    signers
}

fn computed_units(recap: &ComputedRecap) -> impl Iterator<Item = &Computed> {
    recap.contests.iter().flat_map(|contest| contest.units.values())
}

type Counts = BTreeMap<&'static str, u32>;
fn seen_alone(index: u64, bytes: &[u8]) -> Result<Placed, Breach> {
    judge_alone(ORIGIN, None, index, bytes)
}

type Verdict = Result<Option<ChainHead>, Refusal>;

fn offer(ledger: &mut Ledger, entry: &Entry, keys: &KeyBook) -> Verdict {
    let checked = entry.clone().check(keys)?;
    ledger.apply(&checked).map(|outcome| outcome.replaced)
}

/// One log, and everything that must agree with it.
struct History<'a> {
    stage: &'a Stage,
    model: Model,
    recap: RecapModel,
    ledger: Ledger,
    taken: Vec<Vec<u8>>,
    /// The same, as those see them who have a few entries and no more.
    placed: Vec<Placed>,
    /// What was refused, with which size before it.
    refused: Vec<(Vec<u8>, Refusal, usize)>,
    manifest_at: usize,
    /// The keys of an earlier batch.
    stale: KeyBook,
    twin: Option<Ledger>,
    /// A state that was sealed, with what was computed for it.
    kept: Option<(Arc<Sealed>, ComputedRecap)>,
}

impl<'a> History<'a> {
    fn new(stage: &'a Stage) -> Self {
        let mut ledger = stage.ledger();
        let founding = Entry::parse(&stage.founding).unwrap();
        ledger.apply(&founding.assume_checked().unwrap()).unwrap();
        let mut recap = RecapModel::default();
        recap.push(&stage.founding);
        Self {
            stage,
            model: Model::new(),
            recap,
            taken: vec![stage.founding.clone()],
            placed: vec![seen_alone(0, &stage.founding).unwrap()],
            refused: vec![],
            manifest_at: 0,
            stale: ledger.keys().clone(),
            twin: None,
            kept: None,
            ledger,
        }
    }

    /// The entry that says it.
    fn entry(&self, signers: &[String], action: &Action) -> Vec<u8> {
        if let Action::State { wrong } = action {
            let before = self.ledger.sealed().map(|sealed| sealed.state.clone());
            return state_body(&compute(&self.ledger, &self.recap), *wrong, &before);
        }
        let keys: Vec<&SigningKey> = signers.iter().map(|label| &self.stage.keys[label]).collect();
        let body = body(self.stage, &self.ledger, keys[0], &signers[0], action);
        body.sign(&keys).into_bytes()
    }

    /// Offers it to all who run along.
    fn step(&mut self, rng: &mut Rng, signers: &[String], action: &Action, counts: &mut Counts) {
        let bytes = self.entry(signers, action);
        let entry = Entry::parse(&bytes).unwrap();
        let expected = self.model.judge(signers, action);
        let before = self.ledger.clone();
        let result = offer(&mut self.ledger, &entry, before.keys());
        let told = || format!("{signers:?} {action:?}: {result:?}, expected {expected:?}");
        match &result {
            Ok(_) => assert!(expected.is_empty(), "{}", told()),
            Err(refusal) => {
                assert!(expected.contains(refusal.code()), "{}", told());
                if rng.one_in(8) {
                    assert_eq!(state(&self.ledger), state(&before), "{}", told());
                }
            }
        }
        *counts.entry(result.as_ref().map_or_else(Refusal::code, |_| "taken")).or_default() += 1;

        // The keys of an earlier batch know less, and nothing more gets through.
        if self.stale.len() < before.keys().len() {
            let mut fork = before;
            let late = offer(&mut fork, &entry, &self.stale);
            let unknown = late == Err(Refusal::UnknownKey);
            assert!(late == result || unknown, "{late:?}, {}", told());
            *counts.entry("with an old book").or_default() += u32::from(!unknown);
        }
        if let Some(twin) = &mut self.twin {
            let keys = twin.keys().clone();
            assert_eq!(offer(twin, &entry, &keys), result, "{}", told());
        }
        self.judge_by_few(&bytes, result.is_ok(), counts);
        // Bytes that are logged are answered before any rule is asked.
        if let (Err(refusal), false) = (&result, self.taken.contains(&bytes)) {
            self.refused.push((bytes.clone(), refusal.clone(), self.taken.len()));
        }
        if result.is_ok() {
            self.take(rng, signers, action, bytes, counts);
        }
    }

    /// What an honest log takes breaks no rule that shows without the others; of what it refuses,
    /// some does.
    fn judge_by_few(&mut self, bytes: &[u8], taken: bool, counts: &mut Counts) {
        let alone = seen_alone(self.placed.len() as u64, bytes);
        let all = alone.and_then(|placed| {
            for other in &self.placed {
                judge_lines(&placed, other)?;
                judge_lines(other, &placed)?;
                judge_pair(other, &placed)?;
            }
            Ok(placed)
        });
        match (all, taken) {
            (Ok(placed), true) => self.placed.push(placed),
            (Err(breach), true) => panic!("{breach} by {}", String::from_utf8_lossy(bytes)),
            (Err(breach), false) => *counts.entry(breach.rule()).or_default() += 1,
            (Ok(_), false) => {}
        }
    }

    fn take(
        &mut self,
        rng: &mut Rng,
        signers: &[String],
        action: &Action,
        bytes: Vec<u8>,
        counts: &mut Counts,
    ) {
        match action {
            Action::Manifest { .. } => self.manifest_at = self.taken.len(),
            Action::State { .. } => {
                let sealed = self.ledger.sealed().unwrap().clone();
                let computed = compute(&self.ledger, &self.recap);
                assert_same(sealed.recap(), &computed);
                *counts.entry("sealed").or_default() += 1;
                for unit in computed_units(&computed) {
                    let status = ["none", "disputed", "corrected", "single"];
                    *counts.entry(status[usize::from(unit.status)]).or_default() += 1;
                }
                if self.kept.is_none() || rng.one_in(3) {
                    self.kept = Some((sealed, computed));
                }
            }
            Action::Attestation { .. } => *counts.entry("attested").or_default() += 1,
            _ => {}
        }
        self.model.take(signers, action, Entry::parse(&bytes).unwrap().leaf());
        self.recap.push(&bytes);
        self.taken.push(bytes);
    }

    /// Whether all agree on how it ended.
    fn end(mut self) {
        let of = |kind: &'static str| {
            self.placed.iter().filter(move |placed| placed.entry().body().kind() == kind)
        };
        for (a, b) in of("tally").flat_map(|a| of("tally").map(move |b| (a, b))) {
            for (manifest, state) in of("manifest").flat_map(|m| of("state").map(move |s| (m, s))) {
                if a.index() < b.index() {
                    judge_place(a, b, manifest, state).unwrap();
                }
            }
        }
        assert_eq!(self.ledger.frozen(), self.model.frozen);
        let last = state(&self.ledger);
        let due = self.ledger.next_state();
        let computed = compute(&self.ledger, &self.recap);
        assert_eq!(self.ledger.unsealed() > 0, due.is_some());
        if let Some(due) = &due {
            assert_eq!((*due.recap.as_bytes(), due.size), (computed.root, computed.size));
        }
        assert_same(self.ledger.recap().unwrap(), &computed);
        let mut replay = self.stage.ledger();
        for bytes in &self.taken {
            let checked = Entry::parse(bytes).unwrap().assume_checked().unwrap();
            replay.apply(&checked).unwrap();
        }
        for mut other in [self.twin, Some(replay)].into_iter().flatten() {
            assert_eq!(state(&other), last);
            assert_eq!(other.next_state(), due);
            assert_same(other.recap().unwrap(), &computed);
        }
        if let Some((sealed, computed)) = self.kept {
            assert_same(sealed.recap(), &computed);
        }
    }
}

fn run(rng: &mut Rng, stage: &Stage, counts: &mut Counts) {
    let mut history = History::new(stage);
    for step in 0..5 + rng.below(LONGEST - 5) {
        let (signers, action) = match step {
            0 => (labels(&ROOTS), Action::Mandate { keys: first_keys(rng, stage) }),
            _ => random_action(rng, stage, &history.model),
        };
        history.step(rng, &tidy(signers), &action, counts);
        if rng.one_in(4) {
            history.stale = history.ledger.keys().clone();
        }
        if rng.one_in(12) {
            let manifest = &history.taken[history.manifest_at];
            history.twin = Some(stage.restored(&history.ledger, manifest));
        }
    }
    if rng.one_in(40) {
        let History { taken, refused, .. } = &history;
        assert_no_lie(taken, refused);
    }
    history.end();
}

/// The seeds of one part. `JEJAK_HISTORIES` makes them fewer, for those who run the tests often.
fn run_part(part: u64) {
    let given = std::env::var("JEJAK_HISTORIES").ok().and_then(|number| number.parse().ok());
    let histories = given.map_or(HISTORIES_PER_PART, |all: u64| all / PARTS);
    let stage = Stage::new();
    let mut counts = Counts::new();
    for seed in (0..histories).map(|n| PARTS * n + part) {
        let mut rng = Rng::quiet(seed);
        let history = std::panic::AssertUnwindSafe(|| run(&mut rng, &stage, &mut counts));
        if let Err(panic) = std::panic::catch_unwind(history) {
            println!("seed {seed}");
            std::panic::resume_unwind(panic);
        }
    }
    println!("{histories} seeds from {part} on: {counts:?}");
    // Nothing that can happen here went without happening often.
    let codes = ["taken", "attested", "with an old book", "unknown_key", "key_revoked"];
    let recap = ["sealed", "none", "disputed", "corrected", "single"];
    let more = ["out_of_scope", "conflict", "duplicate", "log_frozen", "invalid_unit"];
    let rules = ["invalid_key", "invalid_rounds", "invalid_previous", "invalid_threshold"];
    let fields = ["invalid_round", "invalid_contest", "invalid_leaf", "invalid_registers"];
    let few = ["D1", "D2", "E31", "E34", "E37", "F2", "H2", "H4", "M5", "M8"];
    for rule in few {
        assert!(counts.contains_key(rule), "{rule}: {counts:?}");
    }
    for code in codes.into_iter().chain(recap).chain(more).chain(rules).chain(fields) {
        let often = counts.get(code).is_some_and(|count| u64::from(*count) >= histories / 125);
        assert!(often, "{code}: {counts:?}");
    }
}

#[test]
fn random_histories_end_as_the_model_says_1() {
    run_part(0);
}

#[test]
fn random_histories_end_as_the_model_says_2() {
    run_part(1);
}

#[test]
fn random_histories_end_as_the_model_says_3() {
    run_part(2);
}

#[test]
fn random_histories_end_as_the_model_says_4() {
    run_part(3);
}
