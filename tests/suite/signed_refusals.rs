//! Signed refusals as a log gives them: true of the tree that they name, bounded, kept by
//! `jejak submit`, and evidence where they are false.

use std::{fs, path::Path, thread, time::Duration};

use jejak::client::{self, Fetch, FetchError, FetchLimits, SubmitError};
use jejak_proofs::{
    evidence::{Evidence, Proven, ProvenEntry, RefusalBody, RefusalHead, SignedRefusal},
    merkle::{Hash, leaf_hash},
    note::{KeyKind, Policy, SigningKey, UnverifiedCheckpoint, VerifierKey},
    tally::{Body, ChainHead, Entry, KeyRef, Reason, Tally},
};

use super::{
    oracle,
    program::{Serving, example_log, jejak},
    python::{Files, python, run},
    spec::code_blocks,
    spec_example::Example,
};

/// The example's log with one form in it, and what its officer would send next.
struct Stage {
    dir: tempfile::TempDir,
    serving: Serving,
    officer: SigningKey,
    first: Tally,
    leaf: Hash,
}

impl Stage {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let serving = example_log(dir.path());
        let stage = |file: &str| fs::read(dir.path().join(file)).unwrap();
        let submit = ["submit", "-p", "log/policy", "--url", &serving.url, "-k", "officer.key"];
        jejak(dir.path(), &[&submit[..], &["form.json"]].concat()).exit(0);
        let entry = Entry::parse(&stage("form.note")).unwrap();
        let Body::Tally(first) = entry.body().clone() else { panic!() };
        let key = String::from_utf8(stage("officer.key")).unwrap();
        let officer = SigningKey::parse(key.trim_end()).unwrap();
        Self { first: *first, leaf: entry.leaf(), officer, serving, dir }
    }

    fn file(&self, name: &str) -> Vec<u8> {
        fs::read(self.dir.path().join(name)).unwrap()
    }

    fn policy(&self) -> Policy {
        Policy::parse(str::from_utf8(&self.file("log/policy")).unwrap()).unwrap()
    }

    /// The key that the manifest names.
    fn key(&self) -> VerifierKey {
        let entry = Entry::parse(&self.file("log/manifest.note")).unwrap();
        let Body::Manifest(manifest) = entry.body() else { panic!() };
        VerifierKey::parse(manifest.refusal_key.as_deref().unwrap()).unwrap()
    }

    fn sign(&self, tally: Tally, key: &SigningKey) -> Vec<u8> {
        let by = KeyRef::new(key.name(), key.verifier().id());
        Body::Tally(Box::new(Tally { by, ..tally })).sign(&[key]).into_bytes()
    }

    /// Another opening of the chain.
    fn rival(&self, total: u32) -> Vec<u8> {
        self.sign(Tally { total: Some(total), ..self.first.clone() }, &self.officer)
    }

    /// What the log answers: nothing if it takes the entry, else the code and the signed refusal.
    fn send(&self, entry: &[u8]) -> Option<(String, Option<SignedRefusal>)> {
        let fetch = Fetch::new(&self.serving.url, &FetchLimits::default()).unwrap();
        match client::submit(&fetch, &self.policy(), entry, None, Duration::ZERO) {
            Ok(_) => None,
            Err(SubmitError::Fetch(FetchError::Refused(refusal))) => {
                let signed = refusal.refusal.map(|note| {
                    let signed = SignedRefusal::parse(note.as_bytes()).unwrap();
                    assert_eq!(signed.verify(&self.key()), Ok(()));
                    signed
                });
                Some((refusal.code.unwrap().into(), signed))
            }
            Err(other) => panic!("{other}"),
        }
    }

    /// Every entry under the newest checkpoint.
    fn log(&self) -> (UnverifiedCheckpoint, Vec<Vec<u8>>) {
        let fetch = Fetch::new(&self.serving.url, &FetchLimits::default()).unwrap();
        let note = fetch.get("checkpoint/latest", 1 << 20).unwrap().body;
        let checkpoint = UnverifiedCheckpoint::parse(&note).unwrap();
        let checkpoint = self.policy().verify_log(checkpoint).unwrap();
        let size = checkpoint.head().size;
        let entry = |index| fetch.get(&format!("entry/{index}"), 1 << 16).unwrap().body;
        (checkpoint.as_unverified().clone(), (0..size).map(entry).collect())
    }

    /// Evidence out of these entries of the log.
    fn evidence(
        &self,
        indexes: &[usize],
        refusal: SignedRefusal,
        refused: Option<&[u8]>,
    ) -> Evidence {
        let (checkpoint, entries) = self.log();
        let leaves: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
        let entry = |&index: &usize| ProvenEntry {
            bytes: entries[index].clone(),
            hashes: oracle::path(&leaves, index),
            index: index as u64,
        };
        let proven = Proven {
            checkpoint: Box::new(checkpoint),
            entries: indexes.iter().map(entry).collect(),
        };
        let (refusal, refused) = (Box::new(refusal), refused.map(<[u8]>::to_vec));
        Evidence::FalseRefusal { proven, refusal, refused }
    }
}

/// That what a refusal says of the tree is so.
fn assert_true(body: &RefusalBody, entry: &[u8], entries: &[Vec<u8>]) {
    let size = usize::try_from(body.size).unwrap();
    let leaves: Vec<Hash> = entries[..size].iter().map(|entry| leaf_hash(entry)).collect();
    assert_eq!(body.root, oracle::head(&leaves).root, "{body:?}");
    assert_eq!((body.leaf, body.genesis), (leaf_hash(entry), leaves[0]));
    assert!(!leaves.contains(&body.leaf), "{body:?}");
    if let Some(head) = body.head {
        assert_eq!(leaves.get(head.index as usize), Some(&head.leaf), "{body:?}");
    }
}

// SPEC [Z3] [Z4] [Z5]
#[test]
fn what_is_refused_under_load_is_signed_truly_and_seldom() {
    let stage = Stage::new();
    let stranger = SigningKey::from_seed("official/31", KeyKind::Ed25519, [9; 32]).unwrap();
    let fresh = |n| stage.sign(Tally { total: Some(n), ..stage.first.clone() }, &stranger);
    let sent: Vec<(Vec<u8>, String, Option<SignedRefusal>)> = thread::scope(|scope| {
        // The chain grows while others do not extend it, and others nobody knows.
        let growing = scope.spawn(|| {
            let mut prev = stage.leaf;
            for seq in 1..=12 {
                let next = Tally {
                    decision: Some(leaf_hash(b"decision")),
                    prev: Some(prev),
                    reason: Some(Reason::Clerical),
                    seq,
                    ..stage.first.clone()
                };
                let entry = stage.sign(next, &stage.officer);
                prev = leaf_hash(&entry);
                assert!(stage.send(&entry).is_none());
            }
        });
        let sender = |thread: u32| {
            let (stage, fresh) = (&stage, &fresh);
            move || {
                let number = |n| 1_000 * (thread + 1) + n;
                let mut sent = vec![];
                for n in 0..8 {
                    for entry in [stage.rival(number(n)), fresh(number(n))] {
                        let (code, signed) = stage.send(&entry).expect("it is refused");
                        sent.push((entry, code, signed));
                    }
                }
                sent
            }
        };
        let senders: Vec<_> = (0..4).map(|thread| scope.spawn(sender(thread))).collect();
        growing.join().unwrap();
        senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect()
    });
    let (_, entries) = stage.log();
    let mut counts = [0; 2];
    for (entry, code, signed) in &sent {
        let unknown = code == "unknown_key";
        assert!(unknown || code == "conflict", "{code}");
        let Some(signed) = signed else { continue };
        assert_eq!(signed.body().code.as_str(), code);
        assert_eq!(signed.body().head.is_some(), !unknown);
        assert_true(signed.body(), entry, &entries);
        counts[usize::from(unknown)] += 1;
    }
    // A minute may begin in between; then it is twice as many.
    assert!((10..=20).contains(&counts[0]), "{counts:?}");
    assert_eq!(counts[1], 32, "of keys that nobody knows each has its turn");
    // They are true, so they convict nobody.
    for (entry, code, signed) in sent.iter().filter(|(.., signed)| signed.is_some()).step_by(9) {
        let signed = signed.clone().unwrap();
        for (indexes, refused) in [
            (vec![0], None),
            (vec![0], Some(&entry[..])),
            (vec![0, 2], Some(&entry[..])),
            (vec![0, entries.len() - 2], None),
        ] {
            let file = stage.evidence(&indexes, signed.clone(), refused);
            let verdict = file.verify_under(&stage.policy());
            assert!(verdict.is_err(), "{code}: {verdict:?}");
        }
    }
}

// SPEC [Z7]
#[test]
fn a_refusal_is_verified_by_the_key_of_entry_0() {
    let stage = Stage::new();
    let dir = stage.dir.path();
    let (_, signed) = stage.send(&stage.rival(151)).unwrap();
    let signed = signed.unwrap();
    fs::write(dir.join("x.refusal"), signed.to_string()).unwrap();
    let verify = |file: &str| jejak(dir, &["--json", "verify", "-p", "log/policy", file]);
    assert_eq!(verify("x.refusal").exit(0).json()["verified"], true);
    let said = jejak(dir, &["verify", "x.refusal", "-p", "log/policy"]).exit(0).stdout;
    assert!(said.starts_with("a refusal by log.example/2024: conflict: "), "{said}");
    // By another key, of another beginning, or with nobody to ask: it is shown, and not believed.
    let key = String::from_utf8(stage.file("log/keys/refusal")).unwrap();
    let key = SigningKey::parse(key.trim_end()).unwrap();
    let stranger = SigningKey::from_seed(key.name(), KeyKind::Ed25519, [7; 32]).unwrap();
    let elsewhere = RefusalBody { genesis: stage.leaf, ..signed.body().clone() };
    for forged in [signed.body().clone().sign(&stranger), elsewhere.sign(&key)] {
        fs::write(dir.join("forged.refusal"), forged.to_string()).unwrap();
        assert_eq!(verify("forged.refusal").exit(1).json()["verified"], false);
    }
    let bare = jejak(dir, &["verify", "x.refusal"]).exit(1);
    assert!(bare.stderr.contains("not verified"), "{}", bare.stderr);
}

// SPEC [Z6]
#[test]
fn submit_keeps_it_and_a_false_one_convicts() {
    let stage = Stage::new();
    let dir = stage.dir.path();
    fs::write(dir.join("again.json"), form(dir, 151)).unwrap();
    let submit = ["submit", "-p", "log/policy", "--url", &stage.serving.url, "-k", "officer.key"];
    let ended = jejak(dir, &[&submit[..], &["again.json"]].concat()).exit(1);
    assert!(ended.stderr.contains("signed in again.refusal"), "{}", ended.stderr);
    let kept = SignedRefusal::parse(&stage.file("again.refusal")).unwrap();
    assert_eq!(kept.verify(&stage.key()), Ok(()));
    let entry = stage.file("again.refused");
    assert_true(kept.body(), &entry, &stage.log().1);
    let head = ChainHead { index: 3, leaf: stage.leaf, seq: 0 };

    // With the same key, of the very form that is logged; and of one that does extend the head.
    let key = String::from_utf8(stage.file("log/keys/refusal")).unwrap();
    let key = SigningKey::parse(key.trim_end()).unwrap();
    let logged = RefusalBody { leaf: stage.leaf, ..kept.body().clone() };
    let index = stage.log().1.iter().position(|entry| leaf_hash(entry) == stage.leaf).unwrap();
    let logged = RefusalBody { size: index as u64 + 1, ..logged };
    let next = Tally {
        decision: Some(leaf_hash(b"decision")),
        prev: Some(stage.leaf),
        reason: Some(Reason::Clerical),
        seq: 1,
        ..stage.first.clone()
    };
    let next = stage.sign(next, &stage.officer);
    let head = Some(RefusalHead { index: index as u64, ..head.into() });
    let extends = RefusalBody { leaf: leaf_hash(&next), head, ..kept.body().clone() };
    let python = python();
    // The head with another place in its chain, and the head of another chain.
    let misplaced = RefusalHead { seq: 4, ..extends.head.unwrap() };
    let misplaced = RefusalBody { head: Some(misplaced), ..kept.body().clone() };
    let recount = Tally { round: "recount".parse().unwrap(), ..stage.first.clone() };
    let recount = stage.sign(recount, &stage.officer);
    let strange = RefusalBody { leaf: leaf_hash(&recount), ..extends.clone() };
    for (body, indexes, refused, rule) in [
        (logged, vec![0, index], None, "D2"),
        (extends, vec![0], Some(&next[..]), "H2"),
        (misplaced, vec![0, index], None, "H2"),
        (strange, vec![0, index], Some(&recount[..]), "H2"),
    ] {
        let stranger = SigningKey::from_seed(key.name(), KeyKind::Ed25519, [7; 32]).unwrap();
        let theirs = stage.evidence(&indexes, body.clone().sign(&stranger), refused).to_string();
        let file = stage.evidence(&indexes, body.sign(&key), refused).to_string();
        fs::write(dir.join("x.evidence"), &file).unwrap();
        let said = jejak(dir, &["verify", "-p", "log/policy", "x.evidence"]).exit(0).stdout;
        assert!(said.contains(&format!("([{rule}] of SPEC.md)")), "{said}");
        let mut flipped = file.clone().into_bytes();
        let at = file.find("\"refusal\"").unwrap() + 40;
        flipped[at] ^= 1;
        let Some(python) = &python else { continue };
        let files = Files::new();
        let (good, bad) = (files.write("good", &file), files.write("bad", &flipped));
        let theirs = files.write("theirs", theirs);
        let policy = files.write("policy", stage.file("log/policy"));
        let output = run(python, "verify.py", &["evidence", &policy, &good, &bad, &theirs]);
        let said = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines[0], format!("false_refusal convicts log.example/2024 by {rule}"));
        assert!(lines[1..].iter().all(|line| line.starts_with("innocent: ")), "{said}");
        assert_eq!(lines.len(), 3);
    }
}

/// The example's form with another total.
fn form(dir: &Path, total: u32) -> String {
    let form = fs::read_to_string(dir.join("form.json")).unwrap();
    form.replace("\"total\": 154", &format!("\"total\": {total}"))
}

#[test]
fn the_example_is_made_again_from_its_seed() {
    let example = Example::new();
    let key = SigningKey::from_seed("log.example/2024/refusal", KeyKind::Ed25519, [5; 32]).unwrap();
    let second = Body::Tally(Box::new(example.tally([98, 84])));
    let second = second.sign(&[&example.officer]);
    let body = RefusalBody {
        code: "conflict".parse().unwrap(),
        election: "2024".parse().unwrap(),
        genesis: example.leaves[0],
        head: Some(RefusalHead { index: 2, leaf: example.leaves[2], seq: 0 }),
        leaf: leaf_hash(second.as_bytes()),
        log: example.log_key.name().into(),
        root: example.checkpoint.head().root,
        size: 4,
        time: 1_707_903_000,
    };
    let made = [format!("{}\n", key.verifier()), body.sign(&key).to_string()];
    assert_eq!(code_blocks("### Signed refusals"), made);
}
