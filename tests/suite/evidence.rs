//! Evidence out of the entries of a log, judged in two languages and by `jejak verify`.

use std::path::Path;

use jejak_proofs::{
    evidence::{
        EVIDENCE_ENTRIES_MAX, EVIDENCE_LEN_MAX, Evidence, EvidenceError, Proven, ProvenEntry,
    },
    merkle::{Hash, Plan, leaf_hash},
    note::{Checkpoint, Policy, compose},
    tally::{Body, State, Tally},
};

use super::{
    oracle,
    program::jejak,
    python::{Files, python, run},
    spec_world::{OBSERVER, OFFICER, ROOTS, World, key, log_key, tally},
};

/// A log with these entries, right or wrong.
pub struct Shown {
    entries: Vec<Vec<u8>>,
    leaves: Vec<Hash>,
}

impl Shown {
    pub fn of<'a>(world: &'a World, more: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let taken = world.entries.iter().map(|entry| entry.as_bytes());
        let entries: Vec<Vec<u8>> = taken.chain(more).map(Into::into).collect();
        Self { leaves: entries.iter().map(|entry| leaf_hash(entry)).collect(), entries }
    }

    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint::sign(oracle::head(&self.leaves), &log_key()).unwrap()
    }

    pub fn proven(&self, indexes: &[usize]) -> Proven {
        let entry = |&index: &usize| ProvenEntry {
            bytes: self.entries[index].clone(),
            hashes: oracle::path(&self.leaves, index),
            index: index as u64,
        };
        Proven {
            checkpoint: Box::new(self.checkpoint().as_unverified().clone()),
            entries: indexes.iter().map(entry).collect(),
        }
    }

    pub fn bad(&self, indexes: &[usize]) -> Evidence {
        Evidence::BadEntry(self.proven(indexes))
    }

    pub fn broken(&self, indexes: &[usize]) -> Evidence {
        Evidence::BrokenChain(self.proven(indexes))
    }
}

/// A log that is sealed, after a tally, its revision, an attestation and a revocation.
pub fn honest() -> World {
    let mut world = World::new();
    world.take(&tally(world.opening(OFFICER, "31.1")), &[OFFICER]);
    let first = world.last();
    world.take(&tally(world.revision(OFFICER, "31.1", 1, first)), &[OFFICER]);
    let said = Body::Attestation(world.attestation(OBSERVER, "31.1", first));
    world.take(&said, &[OBSERVER]);
    world.take(&world.revocation(ROOTS[0], OBSERVER, true), &ROOTS);
    world.seal();
    world
}

pub const OPENED: usize = 2;
pub const REVISED: usize = 3;
const ATTESTED: usize = 4;
const REVOKED: usize = 5;
const SEALED: usize = 6;
/// Where the next entry stands.
pub const NEXT: usize = 7;

pub fn sign(body: &Body, names: &[&str]) -> Vec<u8> {
    let keys: Vec<_> = names.iter().map(|name| key(name)).collect();
    body.sign(&keys.iter().collect::<Vec<_>>()).into_bytes()
}

/// The opening of a station, under a line that the officer made for another text.
fn forged(world: &World) -> Vec<u8> {
    let text = tally(world.opening(OFFICER, "31.K")).text();
    compose(&text, &[key(OFFICER).sign_line("another text\n")]).into_bytes()
}

/// Evidence that convicts, of every kind, with the rule that was broken.
pub fn convicting() -> Vec<(Evidence, &'static str)> {
    let world = honest();
    let first = world.leaves[OPENED];
    let revision = |change: &dyn Fn(&mut Tally)| {
        let mut changed = world.revision(OFFICER, "31.1", 1, first);
        change(&mut changed);
        sign(&tally(changed), &[OFFICER])
    };
    let with = |bytes: &[u8]| Shown::of(&world, [bytes]);
    let other = revision(&|tally| tally.total = Some(7));
    let skips = revision(&|tally| tally.seq = 2);
    let late = Body::Attestation(world.attestation(OBSERVER, "31.1", world.leaves[REVISED]));
    let late = sign(&late, &[OBSERVER]);
    let state = world.ledger.sealed().unwrap().state.clone();
    let state = Body::State(State { size: NEXT as u64, ..state }).text().into_bytes();
    let twice = sign(&tally(world.opening(OFFICER, "31.1")), &[OFFICER]);
    let second = Tally { total: Some(9), ..world.opening(OFFICER, "31.1") };
    let second = sign(&tally(second), &[OFFICER]);
    let after = State { size: NEXT as u64 + 1, ..world.ledger.sealed().unwrap().state.clone() };
    let after = Body::State(after).text().into_bytes();
    let wide = revision(&|tally| tally.decision = None);
    let honest = Shown::of(&world, []);
    let (fork, short) = (with(b"one"), Shown::of(&world, []));
    let mut rewritten = Shown::of(&world, [&b"two"[..], b"three"]);
    rewritten.leaves[1] = leaf_hash(b"another mandate");
    let plan = Plan::prefix(NEXT as u64, rewritten.leaves.len() as u64).unwrap();
    let node = |node: &jejak_proofs::merkle::NodeId| {
        let start = (node.index as usize) << node.level;
        oracle::head(&rewritten.leaves[start..start + (1 << node.level)]).root
    };
    let nodes: Vec<Hash> = plan.nodes().iter().map(node).collect();
    let hashes = plan.combine(&nodes).unwrap();
    let two = Evidence::two_roots(&fork.checkpoint(), &with(b"two").checkpoint());
    let inconsistent = Evidence::inconsistent(&short.checkpoint(), &rewritten.checkpoint(), hashes);
    assert_eq!(honest.leaves.len(), NEXT);
    vec![
        (two, "C3"),
        (inconsistent, "C3"),
        (with(b"\xff not an entry").bad(&[NEXT]), "D1"),
        (with(&wide).bad(&[NEXT]), "D1"),
        (with(&forged(&world)).bad(&[NEXT, 1]), "D1"),
        (with(&twice).broken(&[OPENED, NEXT]), "D2"),
        (with(&other).broken(&[REVISED, NEXT]), "H2"),
        (with(&skips).broken(&[OPENED, NEXT]), "H2"),
        (with(&late).broken(&[REVOKED, NEXT]), "M8"),
        (with(&state).broken(&[SEALED, NEXT]), "E37"),
        (Shown::of(&world, [&second[..], &after]).broken(&[OPENED, NEXT, 0, NEXT + 1]), "H2"),
    ]
}

/// Everything that can be put together from honest entries, one or two at a time, and some fours.
fn innocent() -> Vec<Evidence> {
    let mut world = honest();
    world.take(&Body::Manifest(Box::new(world.successor())), &ROOTS);
    world.take(&world.freeze(), &ROOTS);
    world.seal();
    let shown = Shown::of(&world, []);
    let all = 0..world.leaves.len();
    let mut files: Vec<Evidence> = all.clone().map(|index| shown.bad(&[index])).collect();
    for (a, b) in all.clone().flat_map(|a| all.clone().map(move |b| (a, b))) {
        files.push(shown.bad(&[a, b]));
        files.push(shown.broken(&[a, b]));
    }
    files.push(shown.broken(&[OPENED, REVISED, 0, SEALED]));
    files.push(shown.broken(&[OPENED, ATTESTED, 0, SEALED]));
    let earlier = Shown::of(&honest(), []);
    files.push(Evidence::two_roots(&shown.checkpoint(), &shown.checkpoint()));
    files.push(Evidence::two_roots(&shown.checkpoint(), &earlier.checkpoint()));
    files.push(Evidence::inconsistent(&earlier.checkpoint(), &shown.checkpoint(), vec![]));
    files
}

/// What both make of each file: a line of the verifier in Python, and a verdict here.
fn judge_both(python: &Path, policy: &str, files: &[Vec<u8>]) -> Vec<Option<String>> {
    let dir = Files::new();
    let policy_file = dir.write("policy", policy);
    let names: Vec<String> =
        files.iter().enumerate().map(|(n, bytes)| dir.write(&format!("e{n}"), bytes)).collect();
    let mut args = vec!["evidence", &policy_file];
    args.extend(names.iter().map(String::as_str));
    let output = run(python, "verify.py", &args);
    let said = String::from_utf8(output.stdout).unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(!err.contains("Traceback"), "{err}");
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), files.len(), "{err}");
    let policy = Policy::parse(policy).unwrap();
    let ours = files.iter().map(|bytes| {
        let verdict = Evidence::parse(bytes).and_then(|evidence| evidence.verify_under(&policy));
        let spelled = verdict.as_ref().map(|found| {
            format!("{} convicts {} by {}", found.kind(), found.origin(), found.rule())
        });
        (spelled.ok(), verdict)
    });
    for ((number, line), (ours, verdict)) in lines.iter().enumerate().zip(ours.clone()) {
        let theirs = (!line.starts_with("innocent: ")).then(|| (*line).to_owned());
        let file = String::from_utf8_lossy(&files[number]).into_owned();
        assert_eq!(theirs, ours, "{line}, {verdict:?}: {file}");
    }
    ours.map(|(spelled, _)| spelled).collect()
}

// SPEC [V5] [V6] [V7] [V8]: with the tables of `breaches` in the other crate.
#[test]
fn both_convict_of_the_same_and_no_flipped_bit_does() {
    let Some(python) = python() else { return };
    let policy = honest().policy();
    let good = convicting();
    let files: Vec<Vec<u8>> = good.iter().map(|(file, _)| file.to_string().into()).collect();
    let verdicts = judge_both(&python, &policy, &files);
    for ((evidence, rule), verdict) in good.iter().zip(&verdicts) {
        let verdict = verdict.as_ref().unwrap_or_else(|| panic!("innocent: {evidence}"));
        assert!(verdict.ends_with(&format!(" by {rule}")), "{verdict}, {rule}: {evidence}");
    }
    let mut flipped = vec![];
    for file in &files {
        for part in 0..24 {
            let at = file.len() * part / 24;
            let mut changed = file.clone();
            changed[at] ^= 1 << (part % 7);
            flipped.push(changed);
        }
    }
    let verdicts = judge_both(&python, &policy, &flipped);
    assert!(verdicts.iter().all(Option::is_none), "{verdicts:?}");
    let many = Shown::of(&honest(), []).bad(&[0; EVIDENCE_ENTRIES_MAX + 1]).to_string();
    assert_eq!(Evidence::parse(many.as_bytes()), Err(EvidenceError::Entries));
    let long = vec![b' '; EVIDENCE_LEN_MAX + 1];
    assert_eq!(Evidence::parse(&long), Err(EvidenceError::TooLong));
    assert!(judge_both(&python, &policy, &[many.into_bytes(), long]).iter().all(Option::is_none));
}

// SPEC [V4]
#[test]
fn honest_entries_convict_nobody_however_they_are_put_together() {
    let Some(python) = python() else { return };
    let files: Vec<Vec<u8>> = innocent().iter().map(|file| file.to_string().into_bytes()).collect();
    assert!(files.len() > 200, "{}", files.len());
    let verdicts = judge_both(&python, &honest().policy(), &files);
    assert!(verdicts.iter().all(Option::is_none), "{verdicts:?}");
}

#[test]
fn verify_says_what_a_file_convicts_of() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let write = |name: &str, bytes: &[u8]| std::fs::write(dir.join(name), bytes).unwrap();
    write("policy", honest().policy().as_bytes());
    for (evidence, rule) in convicting() {
        let file = evidence.to_string();
        write("x.evidence", file.as_bytes());
        let said = jejak(dir, &["verify", "-p", "policy", "x.evidence"]).exit(0).stdout;
        assert!(said.starts_with("convicted: log.example/rules signed"), "{said}");
        assert!(said.contains(&format!("([{rule}] of SPEC.md)")), "{said}");
        let json = jejak(dir, &["verify", "--json", "-p", "policy", "x.evidence"]).exit(0).stdout;
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!((&json["convicted"], &json["rule"]), (&true.into(), &rule.into()), "{json}");
        let kind = file.split("\"kind\":\"").nth(1).unwrap().split('"').next().unwrap();
        assert_eq!(json["kind"], kind, "{json}");
    }
    for (number, evidence) in innocent().iter().enumerate().step_by(23) {
        write("x.evidence", evidence.to_string().as_bytes());
        let ended = jejak(dir, &["verify", "-p", "policy", "x.evidence"]).exit(1);
        assert!(ended.stderr.contains("this convicts nobody"), "{number}: {}", ended.stderr);
    }
}
