//! Random moves for `histories`, and the bodies that say them.

use jejak_proofs::merkle::Hash;
use jejak_proofs::note::SigningKey;
use jejak_proofs::tally::*;

use super::histories::Stage;
use super::model::{Action, Grant, Model, Says, WrongState};
use super::recap_model::ComputedRecap;
use super::{rng::Rng, world::*};

pub const CONTESTS: [&str; 4] = ["ppwp", "ppwp", "dpr:3101", "dpd:31"];
const UNITS: [&str; 8] =
    [STATION, STATION, STATION_TWO, "310101.K1", "310101", "320101.001", "31", "ID"];
const ROUNDS: [&str; 4] = ["regular", "regular", "psu", "court"];
pub const ALL_ROOTS: [&str; 5] = ["root/A", "root/B", "root/C", "root/D", "root/E"];

pub fn labels(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| name.to_string()).collect()
}

/// Most keys of the stage, so that there is somebody to speak.
pub fn first_keys(rng: &mut Rng, stage: &Stage) -> Vec<Grant> {
    let grants = stage.grants.iter().filter(|grant| grant.label == "kpu/ID" || !rng.one_in(3));
    grants.cloned().collect()
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

pub fn random_action(rng: &mut Rng, stage: &Stage, model: &Model) -> (Vec<String>, Action) {
    match rng.below(65) {
        0..30 => random_tally(rng, stage, model),
        30..40 => random_attestation(rng, stage, model),
        40..45 => (Vec::new(), Action::State { wrong: wrong_state(rng) }),
        45..56 => {
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
        56..60 => {
            let key = if rng.one_in(20) { "root/A".into() } else { any_key(rng, stage, model) };
            let signers = match rng.below(3) {
                0 => signing_roots(rng, model),
                1 => vec![key.clone()],
                _ => vec![any_key(rng, stage, model)],
            };
            (signers, Action::Revocation { key, subtree: rng.one_in(2) })
        }
        60..64 => random_manifest(rng, model),
        _ if rng.one_in(3) => (signing_roots(rng, model), Action::Freeze),
        _ => (vec![any_key(rng, stage, model)], Action::Freeze),
    }
}

fn random_manifest(rng: &mut Rng, model: &Model) -> (Vec<String>, Action) {
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
    let (without_station_two, stale) = (rng.one_in(2), rng.one_in(10));
    let wide = !model.wide || rng.one_in(2);
    (signers, Action::Manifest { without_station_two, wide, rounds, roots, threshold, stale })
}

fn wrong_state(rng: &mut Rng) -> Option<WrongState> {
    use WrongState::{Contests, Manifest, Old, Recap, Size};
    let wrong = rng.one_in(3);
    wrong.then(|| *rng.pick(&[Contests, Manifest, Old, Recap, Size]))
}

/// Whether a key has chains of its own.
fn speaks_alone(label: &str) -> bool {
    label.starts_with("observer/") || label.starts_with("saksi/")
}

/// Mostly an observer or a party witness about a tally that is logged.
fn random_attestation(rng: &mut Rng, stage: &Stage, model: &Model) -> (Vec<String>, Action) {
    let mut author = any_key(rng, stage, model);
    for _ in 0..4 {
        if !speaks_alone(&author) {
            author = any_key(rng, stage, model);
        }
    }
    let mut signers = vec![author];
    if rng.one_in(6) {
        signers.push(any_key(rng, stage, model));
    }
    if rng.one_in(40) {
        signers.insert(0, "root/A".into());
    }
    let logged: Vec<_> = model.tallies().map(|(leaf, about)| (*leaf, *about)).collect();
    let (contest, unit) = (*rng.pick(&CONTESTS), *rng.pick(&UNITS));
    let about = match logged.is_empty() {
        true => (hash(5), (contest, unit)),
        false => *rng.pick(&logged),
    };
    let (leaf, (contest, unit)) = match rng.below(10) {
        0 => (about.0, (contest, about.1.1)),
        1 => (about.0, (about.1.0, unit)),
        2 => (hash(5), about.1),
        _ => about,
    };
    (signers, Action::Attestation { contest, unit, leaf, agrees: rng.one_in(2) })
}

fn random_tally(rng: &mut Rng, stage: &Stage, model: &Model) -> (Vec<String>, Action) {
    use Says::{OtherTotal, OtherVote, Plain, Unreadable, Withdrawn};
    let mut signers = vec![any_key(rng, stage, model)];
    let (mut contest, mut unit, mut round) =
        (*rng.pick(&CONTESTS), *rng.pick(&UNITS), *rng.pick(&ROUNDS));
    if !rng.one_in(4) {
        contest = if model.wide { "dpd:31" } else { "ppwp" };
    }
    let own = stage.grants.iter().find(|grant| grant.label == signers[0]);
    if let Some(grant) = own.filter(|_| !rng.one_in(3)) {
        unit = grant.unit;
    }
    // Often what was spoken about already, by somebody who may.
    if !model.spoken.is_empty() && !rng.one_in(3) {
        (contest, unit, round) = *rng.pick(&model.spoken);
        let may = |grant: &&Grant| model.covers(&grant.label, unit, Some(contest));
        let may: Vec<&Grant> = stage.grants.iter().filter(may).collect();
        if !may.is_empty() {
            signers[0] = rng.pick(&may).label.clone();
        }
    }
    if rng.one_in(6) {
        signers.push(any_key(rng, stage, model));
    }
    if rng.one_in(40) {
        signers.insert(0, "root/A".into());
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
    let mut says = *rng.pick(&[Plain, Plain, Plain, OtherVote, OtherTotal, Unreadable, Withdrawn]);
    if speaks_alone(&signers[0]) && rng.one_in(2) {
        says = OtherVote;
    }
    (signers, Action::Tally { contest, unit, round, seq, prev, says })
}

/// Numbers, and for what takes a statement back the reason.
fn say(tally: &mut Tally, says: Says) {
    let last = tally.votes.values_mut().last().unwrap();
    match says {
        Says::Plain => {}
        Says::OtherVote => *last = Some(11),
        Says::OtherTotal => tally.total = Some(1),
        Says::Unreadable => (*last, tally.valid) = (None, None),
        Says::Withdrawn => {
            tally.votes.values_mut().for_each(|vote| *vote = None);
            (tally.valid, tally.invalid, tally.total) = (None, None, None);
            tally.reason = tally.reason.map(|_| Reason::Withdrawn);
        }
    }
}

/// A chain's next tally as the stage's template has it.
fn tally_body(stage: &Stage, author: &SigningKey, label: &str, action: &Action) -> Body {
    let Action::Tally { contest, unit, round, seq, prev, says } = action else { unreachable!() };
    let form = match (author.name().split('/').next().unwrap(), unit.contains('.')) {
        ("observer" | "saksi", true) => "c-salinan",
        (_, true) => "c-hasil",
        (_, false) => "d-hasil",
    };
    let revised = *seq > 0;
    let mut body = Tally {
        decision: revised.then(|| hash(7)),
        form: word(form),
        prev: *prev,
        reason: revised.then_some(Reason::Renvoi),
        round: word(round),
        seq: *seq,
        unit: code(unit),
        ..stage.templates[&(label.to_string(), *contest)].clone()
    };
    say(&mut body, *says);
    tally(&body)
}

/// The body that says it.
pub fn body(
    stage: &Stage,
    ledger: &Ledger,
    author: &SigningKey,
    label: &str,
    action: &Action,
) -> Body {
    let (election, log, by) = (id("id-2024"), ORIGIN.into(), key_ref(author));
    let genesis = ledger.genesis().unwrap();
    match action {
        Action::Tally { .. } => tally_body(stage, author, label, action),
        Action::Attestation { contest, unit, leaf, agrees } => {
            use AttestationVerdict::{Agrees, Disagrees};
            let verdict = if *agrees { Agrees } else { Disagrees };
            let (contest, unit, leaf) = (id(contest), code(unit), *leaf);
            let body = Attestation { by, contest, election, genesis, leaf, log, unit, verdict };
            Body::Attestation(body)
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
        Action::Manifest { without_station_two, wide, rounds, roots, threshold, stale } => {
            let old = ledger.election().unwrap();
            let units = if *without_station_two { &stage.fewer } else { &stage.full };
            let contests = if *wide { &stage.wide } else { &stage.narrow };
            manifest(&Manifest {
                decision: Some(hash(8)),
                genesis: Some(genesis),
                previous: Some(if *stale { hash(4) } else { old.leaf }),
                reason: Some(ManifestReason::Rules),
                registers: registers(units, contests),
                root_keys: roots.iter().map(|root| vkey(&stage.keys[*root])).collect(),
                rounds: words(rounds),
                threshold: *threshold as u32,
                version: old.manifest.version + 1,
                ..old.manifest.clone()
            })
        }
        Action::State { .. } => unreachable!("nobody signs a state"),
        Action::Freeze => {
            let (decision, reason) = (hash(9), FreezeReason::Replaced);
            Body::Freeze(Freeze { by, decision, election, genesis, log, reason })
        }
    }
}

/// The state that is due, or one that differs from it; `before` is the newest one of the log.
pub fn state_body(
    due: &ComputedRecap,
    wrong: Option<WrongState>,
    before: &Option<State>,
) -> Vec<u8> {
    let mut state = State {
        contests: due.contests.len() as u64,
        manifest: Hash::new(due.manifest),
        recap: Hash::new(due.root),
        size: due.size,
    };
    match wrong {
        None => {}
        Some(WrongState::Contests) => state.contests += 1,
        Some(WrongState::Manifest) => state.manifest = hash(1),
        Some(WrongState::Recap) => state.recap = hash(1),
        Some(WrongState::Size) => state.size += 1,
        Some(WrongState::Old) => match before {
            Some(before) => state = before.clone(),
            None => state.size -= 1,
        },
    }
    Body::State(state).text().into_bytes()
}
