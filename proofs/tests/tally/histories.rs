//! Two thousand random histories of right and wrong actions, against the model of `model`.
//!
//! Beside the ledger run three others that must agree with it: one restored from a snapshot at a
//! random point, one that gets entries checked against the keys of an earlier batch, and a fresh
//! replay of everything that was taken.

use std::collections::BTreeMap;
use std::sync::Arc;

use jejak_proofs::merkle::Hash;
use jejak_proofs::note::SigningKey;
use jejak_proofs::tally::*;

use super::model::{Action, Grant, Model};
use super::{rng::Rng, world::*};

const HISTORIES: u32 = 2_000;
const LONGEST: u64 = 30;

/// Everything that the histories share, made once.
struct Stage {
    keys: BTreeMap<String, SigningKey>,
    grants: Vec<Grant>,
    full: Arc<UnitRegister>,
    fewer: Arc<UnitRegister>,
    contests: Arc<ContestRegister>,
    founding: Vec<u8>,
    templates: BTreeMap<(String, &'static str), Tally>,
}

const CONTESTS: [&str; 3] = ["ppwp", "ppwp", "dpr:3101"];
const UNITS: [&str; 7] = [STATION, STATION, STATION_TWO, "310101.K1", "310101", "320101.001", "31"];
const ROUNDS: [&str; 4] = ["regular", "regular", "psu", "court"];
const ALL_ROOTS: [&str; 5] = ["root/A", "root/B", "root/C", "root/D", "root/E"];

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
            contests: contest_register(&contests()),
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
        ledger.provide_units(self.full.clone());
        ledger.provide_units(self.fewer.clone());
        ledger.provide_contests(self.contests.clone());
    }

    /// The same after a restart.
    fn restored(&self, ledger: &Ledger, manifest: &[u8]) -> Ledger {
        let text = serde_json::to_string(&ledger.snapshot()).unwrap();
        let election = ledger.election().unwrap();
        let (units, contests) = (election.units.clone(), election.contests.clone());
        let snapshot = serde_json::from_str(&text).unwrap();
        let manifest = Entry::parse(manifest).unwrap();
        let mut restored = Ledger::restore(snapshot, &manifest, units, contests).unwrap();
        self.provide(&mut restored);
        assert_eq!(serde_json::to_string(&restored.snapshot()).unwrap(), text);
        restored
    }
}

fn labels(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| name.to_string()).collect()
}

fn some_roots(rng: &mut Rng) -> Vec<String> {
    let mut all = labels(&ALL_ROOTS);
    all.retain(|_| !rng.one_in(3));
    all
}

/// Roots in force, mostly as many as it takes.
fn signing_roots(rng: &mut Rng, model: &Model) -> Vec<String> {
    let mut roots = labels(&model.roots);
    if rng.one_in(5) {
        roots = some_roots(rng);
        roots.push("root/A".into());
        roots.dedup();
    } else if rng.one_in(3) {
        roots.truncate(model.threshold);
    }
    roots
}

/// Mostly a key that was mandated.
fn any_key(rng: &mut Rng, stage: &Stage, model: &Model) -> String {
    let known: Vec<_> = stage.grants.iter().filter(|grant| model.knows(&grant.label)).collect();
    if known.is_empty() || rng.one_in(10) {
        return rng.pick(&stage.grants).label.clone();
    }
    rng.pick(&known).label.clone()
}

fn random_action(rng: &mut Rng, stage: &Stage, model: &Model) -> (Vec<String>, Action) {
    match rng.below(40) {
        0..20 => random_tally(rng, stage, model),
        20..31 => {
            let mut keys = vec![rng.pick(&stage.grants).clone()];
            if rng.one_in(3) {
                keys.push(rng.pick(&stage.grants).clone());
            }
            let signers = match rng.below(3) {
                0 => signing_roots(rng, model),
                1 => vec!["kpu/ID".into()],
                _ => vec![any_key(rng, stage, model)],
            };
            (signers, Action::Mandate { keys })
        }
        31..35 => {
            let key = if rng.one_in(20) { "root/A".into() } else { any_key(rng, stage, model) };
            let signers = match rng.below(3) {
                0 => signing_roots(rng, model),
                1 => vec![key.clone()],
                _ => vec![any_key(rng, stage, model)],
            };
            (signers, Action::Revocation { key, subtree: rng.one_in(2) })
        }
        35..39 => {
            let mut roots = model.roots.clone();
            if rng.one_in(2) {
                roots = ALL_ROOTS.into_iter().filter(|_| !rng.one_in(3)).collect();
            }
            roots.extend(roots.is_empty().then_some("root/A"));
            let mut rounds = model.rounds.clone();
            match rng.below(8) {
                0 => rounds.rotate_left(1),
                1 if rounds.len() > 1 => drop(rounds.pop()),
                2 if !rounds.contains(&"court") => rounds.push("court"),
                _ => {}
            }
            let threshold = (1 + rng.below(3)) as usize;
            let mut signers = signing_roots(rng, model);
            if !rng.one_in(4) {
                signers.extend(labels(&roots));
            }
            let without_station_two = rng.one_in(2);
            let stale = rng.one_in(10);
            (signers, Action::Manifest { without_station_two, rounds, roots, threshold, stale })
        }
        _ if rng.one_in(4) => (signing_roots(rng, model), Action::Freeze),
        _ => (vec![any_key(rng, stage, model)], Action::Freeze),
    }
}

/// Most keys of the stage, so that there is somebody to speak.
fn first_keys(rng: &mut Rng, stage: &Stage) -> Vec<Grant> {
    let grants = stage.grants.iter().filter(|grant| grant.label == "kpu/ID" || !rng.one_in(3));
    grants.cloned().collect()
}

fn random_tally(rng: &mut Rng, stage: &Stage, model: &Model) -> (Vec<String>, Action) {
    let mut signers = vec![any_key(rng, stage, model)];
    if rng.one_in(6) {
        signers.push(any_key(rng, stage, model));
    }
    if rng.one_in(40) {
        signers.insert(0, "root/A".into());
    }
    let (contest, mut unit, round) = (*rng.pick(&CONTESTS), *rng.pick(&UNITS), *rng.pick(&ROUNDS));
    let own = stage.grants.iter().find(|grant| grant.label == signers[0]);
    if let Some(grant) = own.filter(|_| rng.one_in(2)) {
        unit = grant.unit;
    }
    let head = model.head(&signers[0], contest, unit, round);
    let seq = match (head, rng.below(6)) {
        (_, 0) => rng.below(3) as u32,
        (head, _) => head.map_or(0, |(_, seq)| seq + 1),
    };
    let others: Vec<Hash> = model.heads().map(|(leaf, _)| *leaf).collect();
    let prev = match (head, rng.below(6)) {
        (_, 0) if !others.is_empty() => *rng.pick(&others),
        (head, _) => head.map_or(hash(3), |(leaf, _)| leaf),
    };
    let prev = (seq > 0).then_some(prev);
    (signers, Action::Tally { contest, unit, round, seq, prev })
}

/// The body that says it.
fn body(stage: &Stage, ledger: &Ledger, author: &SigningKey, label: &str, action: &Action) -> Body {
    let (election, log, by) = (id("id-2024"), ORIGIN.into(), key_ref(author));
    let genesis = ledger.genesis().unwrap();
    match action {
        Action::Tally { contest, unit, round, seq, prev } => {
            let (_, role_and_unit) = (label, author.name());
            let station = unit.contains('.');
            let form = match role_and_unit.split('/').next().unwrap() {
                "observer" | "saksi" if station => "c-salinan",
                _ if station => "c-hasil",
                _ => "d-hasil",
            };
            let revised = *seq > 0;
            tally(&Tally {
                decision: revised.then(|| hash(7)),
                form: word(form),
                prev: *prev,
                reason: revised.then_some(Reason::Renvoi),
                round: word(round),
                seq: *seq,
                unit: code(unit),
                ..stage.templates[&(label.to_string(), *contest)].clone()
            })
        }
        Action::Mandate { keys } => {
            let granted = |grant: &Grant| MandatedKey {
                contests: grant.contest.map(|contest| ids(&[contest])),
                role: id(grant.role),
                units: codes(&[grant.unit]),
                vkey: vkey(&stage.keys[&grant.label]),
            };
            let keys = keys.iter().map(granted).collect();
            Body::Mandate(Mandate { by, election, genesis, keys, log })
        }
        Action::Revocation { key, subtree } => Body::Revocation(Revocation {
            by,
            election,
            genesis,
            key: key_ref(&stage.keys[key]),
            log,
            reason: RevocationReason::Lost,
            subtree: *subtree,
        }),
        Action::Manifest { without_station_two, rounds, roots, threshold, stale } => {
            let old = ledger.election().unwrap();
            let units = if *without_station_two { &stage.fewer } else { &stage.full };
            manifest(&Manifest {
                decision: Some(hash(8)),
                genesis: Some(genesis),
                previous: Some(if *stale { hash(4) } else { old.leaf }),
                reason: Some(ManifestReason::Rules),
                registers: registers(units, &stage.contests),
                root_keys: roots.iter().map(|root| vkey(&stage.keys[*root])).collect(),
                rounds: words(rounds),
                threshold: *threshold as u32,
                version: old.manifest.version + 1,
                ..old.manifest.clone()
            })
        }
        Action::Freeze => Body::Freeze(Freeze {
            by,
            decision: hash(9),
            election,
            genesis,
            log,
            reason: FreezeReason::Replaced,
        }),
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

fn run(rng: &mut Rng, stage: &Stage, counts: &mut BTreeMap<&'static str, u32>) {
    let mut model = Model::new();
    let mut ledger = stage.ledger();
    let founding = Entry::parse(&stage.founding).unwrap().assume_checked().unwrap();
    ledger.apply(&founding).unwrap();
    let mut taken = vec![stage.founding.clone()];
    let mut manifest_at = 0;
    let mut stale = ledger.keys().clone();
    let mut twin: Option<Ledger> = None;
    for step in 0..5 + rng.below(LONGEST - 5) {
        let (signers, action) = match step {
            0 => (labels(&ROOTS), Action::Mandate { keys: first_keys(rng, stage) }),
            _ => random_action(rng, stage, &model),
        };
        let signers = tidy(signers);
        let keys: Vec<&SigningKey> = signers.iter().map(|label| &stage.keys[label]).collect();
        let body = body(stage, &ledger, keys[0], &signers[0], &action);
        let bytes = body.sign(&keys).into_bytes();
        let entry = Entry::parse(&bytes).unwrap();
        let expected = model.judge(&signers, &action);

        let before = ledger.clone();
        let checked = entry.clone().check(ledger.keys());
        let result =
            checked.and_then(|checked| ledger.apply(&checked)).map(|outcome| outcome.replaced);
        let told = || format!("{signers:?} {action:?}: {result:?}, expected {expected:?}");
        match &result {
            Ok(_) => assert!(expected.is_empty(), "{}", told()),
            Err(refusal) => {
                assert!(expected.contains(refusal.code()), "{}", told());
                if rng.one_in(8) {
                    assert_eq!(state(&ledger), state(&before), "{}", told());
                }
            }
        }
        *counts.entry(result.as_ref().map_or_else(Refusal::code, |_| "taken")).or_default() += 1;

        // The keys of an earlier batch know less, and nothing more gets through.
        if stale.len() < ledger.keys().len() {
            match entry.clone().check(&stale) {
                Ok(checked) => {
                    let mut fork = before;
                    let late = fork.apply(&checked).map(|outcome| outcome.replaced);
                    assert_eq!(late, result, "{}", told());
                    *counts.entry("with an old book").or_default() += 1;
                }
                Err(refusal) => {
                    let ours = result.as_ref().err().is_none_or(|ours| *ours == refusal);
                    assert!(ours || refusal == Refusal::UnknownKey, "{refusal:?}, {}", told());
                }
            }
        }
        if let Some(twin) = &mut twin {
            let checked = entry.check(twin.keys());
            let again = checked.and_then(|checked| twin.apply(&checked)).map(|o| o.replaced);
            assert_eq!(again, result, "{}", told());
        }
        if result.is_ok() {
            let leaf = Entry::parse(&bytes).unwrap().leaf();
            model.take(&signers, &action, leaf);
            if matches!(action, Action::Manifest { .. }) {
                manifest_at = taken.len();
            }
            taken.push(bytes);
        }
        if rng.one_in(4) {
            stale = ledger.keys().clone();
        }
        if rng.one_in(12) {
            twin = Some(stage.restored(&ledger, &taken[manifest_at]));
        }
    }
    assert_eq!(ledger.frozen(), model.frozen);
    let last = state(&ledger);
    if let Some(twin) = twin {
        assert_eq!(state(&twin), last);
    }
    let mut replay = stage.ledger();
    for bytes in &taken {
        let checked = Entry::parse(bytes).unwrap().assume_checked().unwrap();
        replay.apply(&checked).unwrap();
    }
    assert_eq!(state(&replay), last);
}

/// Every second seed, from `first` on: two tests, so that two cores share them.
fn run_half(first: u32) {
    let stage = Stage::new();
    let mut counts = BTreeMap::new();
    for seed in (first..HISTORIES).step_by(2) {
        let mut rng = Rng::quiet(u64::from(seed));
        let history = std::panic::AssertUnwindSafe(|| run(&mut rng, &stage, &mut counts));
        if let Err(panic) = std::panic::catch_unwind(history) {
            println!("seed {seed}");
            std::panic::resume_unwind(panic);
        }
    }
    println!("seeds {first}, {}, ... {HISTORIES}: {counts:?}", first + 2);
    // Nothing that can happen here went without happening often.
    let codes = ["taken", "with an old book", "unknown_key", "key_revoked", "out_of_scope"];
    let more = ["conflict", "duplicate", "log_frozen", "invalid_unit", "invalid_round"];
    let rules = ["invalid_key", "invalid_rounds", "invalid_previous", "invalid_threshold"];
    for code in codes.into_iter().chain(more).chain(rules) {
        assert!(counts.get(code).is_some_and(|count| *count >= 30), "{code}: {counts:?}");
    }
}

#[test]
fn random_histories_of_even_seeds_end_as_the_model_says() {
    run_half(0);
}

#[test]
fn random_histories_of_odd_seeds_end_as_the_model_says() {
    run_half(1);
}
