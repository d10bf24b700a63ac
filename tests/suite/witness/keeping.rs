//! Evidence, reports, rates, ages, and the commands around them.

use std::{fs, os::unix::fs::PermissionsExt as _, thread, time::Duration};

use jejak::{
    clock,
    state::State,
    witness::{Answer, MONITORED_AGE_MAX_S, Memory, Options, Statement, Witness, record::Record},
};
use jejak_proofs::note::{CosigningKey, KeyKind, SigningKey};
use serde_json::json;

use super::{
    history::{History, ORIGIN},
    place::{Ours, Place as _, send},
};
use crate::program::jejak;

/// The policy of a log in a file, for `jejak verify`.
fn policy(ours: &Ours, log: &History) -> String {
    let path = ours.dir.path().join("policy");
    let genesis = "0".repeat(64);
    let text = format!("# jejak-genesis {ORIGIN} {genesis}\nlog {}\nquorum none\n", log.vkey());
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

// SPEC [J12]
#[test]
fn what_a_log_signed_and_may_not_is_evidence_that_convicts() {
    let log = History::new(ORIGIN, 30);
    let fork = log.forked(3, "fork");
    let mut ours = Ours::served(&[&log]);
    ours.cosigned(&log, 0, 7);
    // The same twice is kept once, and a restart forgets nothing of it.
    for _ in 0..2 {
        assert_eq!(ours.add(fork.request(7, 7)).status, 422);
        assert_eq!(ours.add(fork.request(7, 9)).status, 422);
        ours.kill();
    }
    assert_eq!(ours.add(log.request(0, 4)).status, 409);
    let files = ours.kept("evidence");
    assert_eq!(files.len(), 2, "{files:?}");
    let policy = policy(&ours, &log);
    let mut kinds = Vec::new();
    for file in &files {
        let path = file.to_str().unwrap();
        let verdict = jejak(ours.dir.path(), &["--json", "verify", path, "-p", &policy]).exit(0);
        kinds.push(verdict.json()["kind"].as_str().unwrap().to_owned());
        // With a changed bit it convicts nobody.
        let mut bytes = fs::read(file).unwrap();
        let at = bytes.len() / 3;
        bytes[at] ^= 1;
        let mutated = ours.dir.path().join("mutated.evidence");
        fs::write(&mutated, bytes).unwrap();
        let path = mutated.to_str().unwrap();
        assert_ne!(jejak(ours.dir.path(), &["verify", path, "-p", &policy]).status, 0);
    }
    kinds.sort();
    assert_eq!(kinds, ["inconsistent", "two_roots"]);
    let reports = ours.kept("reports");
    assert_eq!(reports.len(), 1, "{reports:?}");
    let report = fs::read_to_string(&reports[0]).unwrap();
    assert!(report.starts_with("jejak/report/v1\nrollback: "), "{report}");
    assert!(report.ends_with(&log.request(0, 4)), "{report}");
    assert_eq!(ours.stop(), Some(0));
    let listed = ours.listed();
    assert_eq!(listed["evidence"].as_array().unwrap().len(), 2, "{listed}");
}

// SPEC [J12]
#[test]
fn what_is_kept_is_bounded_and_old_heads_push_out_no_evidence() {
    let log = History::new(ORIGIN, 60);
    let mut ours = Ours::of(&[], &[&log]);
    ours.serve(&["--burst", "1000"]);
    ours.cosigned(&log, 0, 50);
    for size in 1..30 {
        assert_eq!(ours.add(log.request(0, size)).status, 409);
    }
    assert_eq!(ours.kept("reports").len(), 16);
    for number in 0..20 {
        let fork = log.forked(3, &format!("fork {number}"));
        assert_eq!(ours.add(fork.request(50, 50)).status, 422);
    }
    assert_eq!(ours.kept("evidence").len(), 16);
    // It goes on witnessing what is consistent.
    ours.cosigned(&log, 50, 60);
}

// SPEC [J13]
#[test]
fn one_log_cannot_take_the_share_of_another_nor_a_stranger_that_of_a_log() {
    let (log, other) = (History::new(ORIGIN, 12), History::new("log.example/other", 12));
    let mut ours = Ours::of(&[], &[&log, &other]);
    ours.serve(&["--rate", "1", "--burst", "3"]);
    let stranger = SigningKey::from_seed("stranger.example", KeyKind::Ed25519, [1; 32]).unwrap();
    let text = log.checkpoint(5).text().to_owned();
    let unsigned = format!("old 0\n\n{text}\n{}", stranger.sign_line(&text));
    for _ in 0..20 {
        assert_eq!(ours.add(&unsigned).status, 403);
    }
    ours.cosigned(&log, 0, 5);
    let replies: Vec<_> = (0..6).map(|_| ours.add(log.request(5, 5))).collect();
    assert_eq!(replies[0].status, 200);
    let last = replies.last().unwrap();
    assert_eq!((last.status, last.retry_after.as_deref()), (429, Some("1")), "{last:?}");
    ours.cosigned(&other, 0, 12);
    thread::sleep(Duration::from_millis(2_100));
    ours.cosigned(&log, 5, 8);
}

// SPEC [J15]
#[test]
fn a_monitor_sees_no_cosignature_older_than_an_hour() {
    let log = History::new(ORIGIN, 12);
    let dir = tempfile::tempdir().unwrap();
    let key =
        CosigningKey::from_seed("witness.example/o", KeyKind::CosignatureV1, [7; 32]).unwrap();
    let now = clock::now_ms() / 1_000;
    for (age, renewed) in [(MONITORED_AGE_MAX_S + 60, true), (MONITORED_AGE_MAX_S - 60, false)] {
        let dir = dir.path().join(age.to_string());
        let state = State::open(&dir).unwrap();
        let memory = Memory::create(state, &key, Statement::Consistent).unwrap();
        let mut record = Record::new(ORIGIN, vec![log.vkey()], None, None);
        let old = record.cosign(log.checkpoint(8), now - age, &key).note();
        memory.add(std::slice::from_ref(&record)).unwrap();
        let witness = Witness::start(key.clone(), memory, Options::default()).unwrap();
        let shown = witness.monitored(record.id()).unwrap().unwrap();
        assert_eq!(shown != old, renewed, "{shown}");
        let again = Witness::monitored(&witness, record.id()).unwrap().unwrap();
        assert_eq!(again, shown, "once an hour");
        drop(witness);
        // What was shown is what is stored.
        let memory = Memory::open(State::open(&dir).unwrap(), &key).unwrap();
        let stored = memory.record(record.id()).unwrap().unwrap().last.unwrap();
        assert_eq!(stored.note(), shown);
        assert!(if renewed { stored.time >= now } else { stored.time == now - age });
    }
}

// SPEC [J10]
#[test]
fn a_clock_that_went_back_takes_no_time_with_it() {
    let log = History::new(ORIGIN, 12);
    let dir = tempfile::tempdir().unwrap();
    let key =
        CosigningKey::from_seed("witness.example/o", KeyKind::CosignatureV1, [7; 32]).unwrap();
    let later = clock::now_ms() / 1_000 + 100;
    let memory =
        Memory::create(State::open(dir.path()).unwrap(), &key, Statement::Consistent).unwrap();
    let mut record = Record::new(ORIGIN, vec![log.vkey()], None, None);
    let line = record.cosign(log.checkpoint(8), later, &key).line.clone();
    memory.add(std::slice::from_ref(&record)).unwrap();
    let witness = Witness::start(key, memory, Options::default()).unwrap();
    assert_eq!(witness.add_checkpoint(log.request(8, 8).as_bytes()), Answer::Cosigned(line));
    let answer = witness.add_checkpoint(log.request(8, 9).as_bytes());
    assert!(matches!(answer, Answer::Cosigned(_)), "{answer:?}");
    let shown = witness.monitored(record.id()).unwrap().unwrap();
    assert!(shown.starts_with(log.checkpoint(9).text()));
}

// SPEC [J16]
#[test]
fn the_commands_refuse_what_would_be_regretted() {
    let log = History::new(ORIGIN, 12);
    let mut ours = Ours::served(&[&log]);
    ours.cosigned(&log, 0, 5);
    // One process a directory.
    let vkey = log.vkey().to_string();
    let add = ["--origin", ORIGIN, "--vkey", &vkey];
    for ended in [ours.run("add-log", &add), ours.run("list", &[])] {
        assert!(ended.exit(75).stderr.contains("stop `jejak witness serve` first"));
    }
    assert_eq!(ours.stop(), Some(0));
    let mode = fs::metadata(ours.dir.path().join("w/key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    ours.run("init", &["--name", "witness.example/again"]).exit(78);
    // The same again is nothing new.
    assert_eq!(ours.run("add-log", &add).exit(0).stdout, "");
    let second = SigningKey::from_seed(ORIGIN, KeyKind::Ed25519, [9; 32]).unwrap();
    let alone = second.verifier().to_string();
    let both = [&add[..], &["--vkey", &alone]].concat();
    let ended = ours.run("add-log", &both).exit(78);
    assert!(ended.stderr.contains("--replace"), "{}", ended.stderr);
    ours.run("add-log", &[&both[..], &["--replace"]].concat()).exit(0);
    assert_eq!(ours.listed()["keys"].as_array().unwrap().len(), 2);
    let alone = ["--origin", ORIGIN, "--vkey", &alone, "--replace"];
    ours.run("add-log", &alone).exit(0);
    // What the old key signed is still explained, and the old key signs no more.
    assert_eq!(ours.listed()["size"], 5);
    ours.serve(&[]);
    assert_eq!(ours.add(log.request(5, 8)).status, 403);
    assert_eq!(ours.monitored(ORIGIN).status, 200);
    assert_eq!(ours.stop(), Some(0));
    // Keys that sign for no log.
    let cosigner = CosigningKey::from_seed(ORIGIN, KeyKind::CosignatureV1, [1; 32]).unwrap();
    for vkey in [cosigner.verifier(), History::new("log.example/other", 0).vkey()] {
        let vkey = vkey.to_string();
        ours.run("add-log", &["--origin", ORIGIN, "--vkey", &vkey, "--replace"]).exit(78);
    }
    let ended = ours.run("serve", &["--recount", "--listen", "127.0.0.1:0"]).exit(78);
    assert!(ended.stderr.contains("init --recount"), "{}", ended.stderr);
}

#[test]
fn an_operator_sees_what_was_answered() {
    let log = History::new(ORIGIN, 12);
    let mut ours = Ours::of(&[], &[&log]);
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let operator = free.local_addr().unwrap().to_string();
    drop(free);
    ours.serve(&["--operator", &operator]);
    ours.cosigned(&log, 0, 5);
    assert_eq!(ours.add(log.forked(2, "fork").request(5, 5)).status, 422);
    let metrics = send(&format!("http://{operator}/metrics"), None).body;
    for line in [
        "jejak_witness_logs 1",
        "jejak_witness_answers_total{outcome=\"cosigned\"} 1",
        "jejak_witness_answers_total{outcome=\"inconsistent\"} 1",
        "jejak_witness_suspicions_total{kind=\"evidence\"} 1",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    assert_eq!(send(&format!("http://{operator}/healthz"), None).body, "ok\n");
    assert_eq!(ours.stop(), Some(0));
    assert_eq!(ours.listed()["reports"], json!([]));
}
