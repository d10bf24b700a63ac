//! What is on disk: before the answer, or not at all; and a witness that lost it signs no more.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use jejak::{
    state::{Mark, State},
    witness::{Memory, Options, Statement, Witness, record::Record},
};
use jejak_proofs::{
    merkle::sha256,
    note::{CosigningKey, KeyKind},
};
use serde_json::Value;

use super::{
    history::{History, ORIGIN},
    place::{Ours, Place as _},
};
use crate::{monitor::fake::copy_dir, program::skipped};

/// The system calls of a running witness while `work` is done, one a line.
fn traced(ours: &Ours, work: impl FnOnce()) -> Option<String> {
    let file = ours.dir.path().join("trace");
    let calls = "trace=fsync,fdatasync,recvfrom,read,sendto,write,pwrite64,writev,rename,renameat2";
    let pid = ours.pid().to_string();
    let mut strace = Command::new("strace");
    strace.args(["-f", "-y", "-s", "64", "-e", calls, "-p", &pid, "-o"]).arg(&file);
    let mut child = strace.stderr(Stdio::piped()).spawn().ok()?;
    let mut stderr = BufReader::new(child.stderr.take()?);
    let mut line = String::new();
    // It says when it has attached, or why it may not.
    let attached = stderr.read_line(&mut line).is_ok() && line.contains("attached");
    if attached {
        work();
    }
    thread::sleep(Duration::from_millis(200));
    child.kill().ok()?;
    child.wait().ok()?;
    attached.then(|| fs::read_to_string(file).unwrap())
}

/// Where the first line after line `from` is that holds all of `words`.
#[track_caller]
fn find(trace: &[&str], from: usize, words: &[&str]) -> usize {
    let fits = |line: &&str| words.iter().all(|word| line.contains(word));
    let found = trace.iter().skip(from).position(fits);
    from + found.unwrap_or_else(|| panic!("no {words:?} after {from} in\n{}", trace.join("\n")))
}

// SPEC [J8] [J12]
#[test]
fn a_head_is_synced_before_its_cosignature_is_sent() {
    let log = History::new(ORIGIN, 12);
    let fork = log.forked(6, "fork");
    let ours = Ours::served(&[&log]);
    ours.cosigned(&log, 0, 5);
    let Some(trace) = traced(&ours, || {
        ours.cosigned(&log, 5, 8);
        assert_eq!(ours.add(fork.request(8, 8)).status, 422);
    }) else {
        return skipped("no strace that may look at a process");
    };
    let trace: Vec<&str> = trace.lines().collect();
    let asked = find(&trace, 0, &["POST /add-checkpoint"]);
    let written = find(&trace, asked, &["state/db/db>", "write"]).min(trace.len());
    let synced = find(&trace, written, &["fsync(", "state/db/db>"]);
    let answered = find(&trace, asked, &["HTTP/1.1 200"]);
    let marked = find(&trace, synced, &["fsync(", "state/commits>"]);
    assert!(marked < answered, "{asked} {synced} {answered}\n{}", trace.join("\n"));
    // The evidence is whole on disk before the log hears that it was seen through.
    let asked = find(&trace, answered, &["POST /add-checkpoint"]);
    let synced = find(&trace, asked, &["fsync(", "/evidence/", ".tmp>"]);
    let renamed = find(&trace, synced, &["rename", ".evidence"]);
    let answered = find(&trace, asked, &["HTTP/1.1 422"]);
    assert!(renamed < answered, "{asked} {renamed} {answered}\n{}", trace.join("\n"));
}

/// A witness that cosigned one head and stopped.
fn stopped() -> (Ours, History) {
    let log = History::new(ORIGIN, 12);
    let mut ours = Ours::served(&[&log]);
    ours.cosigned(&log, 0, 5);
    assert_eq!(ours.stop(), Some(0));
    (ours, log)
}

#[track_caller]
fn refuses(ours: &Ours, exit: i32, word: &str) {
    for verb in ["serve", "list"] {
        let listen: &[&str] = if verb == "serve" { &["--listen", "127.0.0.1:0"] } else { &[] };
        let ended = ours.run(verb, listen).exit(exit);
        assert!(ended.stderr.contains(word), "{}", ended.stderr);
    }
}

// SPEC [J11]
#[test]
fn a_lost_or_damaged_state_is_an_alarm_and_a_stop() {
    let (ours, _) = stopped();
    let state = ours.dir.path().join("w/state");
    let away = ours.dir.path().join("away");
    fs::rename(&state, &away).unwrap();
    refuses(&ours, 70, "retire this key");
    fs::create_dir(&state).unwrap();
    refuses(&ours, 70, "retire this key");
    fs::remove_dir_all(&state).unwrap();
    fs::rename(&away, &state).unwrap();
    // It was only away.
    assert_eq!(ours.listed()["size"], 5);
    fs::rename(state.join("db"), &away).unwrap();
    refuses(&ours, 70, "db is missing");
}

// SPEC [J11]
#[test]
fn every_changed_byte_of_the_state_is_seen_or_means_nothing() {
    let (ours, _) = stopped();
    let path = ours.dir.path().join("w/state/db/db");
    let good = fs::read(&path).unwrap();
    let used = good.iter().rposition(|byte| *byte != 0).unwrap();
    let mut stops = 0;
    for at in (0..=used).step_by(used / 100 + 1) {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        fs::write(&path, &bad).unwrap();
        let ended = ours.run("list", &[]);
        match ended.status {
            70 => stops += 1,
            0 => assert_eq!(ended.json()["size"], 5, "byte {at}"),
            _ => panic!("byte {at}: {}", ended.stderr),
        }
    }
    assert!(stops > 0, "some of them count");
}

/// Changes the stored record of the one log, and what tells that it was changed.
fn tamper(ours: &Ours, change: impl FnOnce(&mut Value)) {
    let state = State::open(&ours.dir.path().join("w/state")).unwrap();
    let name = format!("log/{}", sha256(ORIGIN.as_bytes()));
    let mut record: Value = serde_json::from_slice(&state.get(&name).unwrap().unwrap()).unwrap();
    change(&mut record);
    let value = serde_json::to_vec(&record).unwrap();
    let old = Mark::parse(&state.get("commits").unwrap().unwrap()).unwrap();
    let mark = Mark { commits: old.commits + 1, digest: sha256(&value) };
    state.commit(&[(name, value), ("commits".to_owned(), mark.to_bytes())]).unwrap();
    state.marks("commits", false).unwrap().set(mark).unwrap();
}

// SPEC [J11]
#[test]
fn a_database_that_goes_back_is_noticed() {
    let log = History::new(ORIGIN, 12);
    let mut ours = Ours::served(&[&log]);
    ours.cosigned(&log, 0, 5);
    ours.stop();
    let db = ours.dir.path().join("w/state/db");
    let old = ours.dir.path().join("old");
    copy_dir(&db, &old);
    ours.serve(&[]);
    ours.cosigned(&log, 5, 8);
    ours.cosigned(&log, 8, 12);
    ours.stop();
    fs::remove_dir_all(&db).unwrap();
    copy_dir(&old, &db);
    refuses(&ours, 70, "not what was committed last");
    // The mark alone cannot be lost either.
    fs::remove_file(ours.dir.path().join("w/state/commits")).unwrap();
    refuses(&ours, 70, "commits is missing");
}

// SPEC [J11]
#[test]
fn a_stored_head_that_does_not_verify_is_an_alarm_and_a_stop() {
    let other = History::new(ORIGIN, 12).forked(0, "other");
    let lies: [fn(&mut Value, &History); 4] = [
        |record, other| {
            // Another head, which the log signed and the witness did not.
            let note = record["note"].as_str().unwrap();
            let line = note.lines().last().unwrap();
            record["note"] = format!("{}{line}\n", other.checkpoint(5).note()).into();
        },
        |record, other| record["note"] = other.checkpoint(5).note().into(),
        |record, _| record["keys"] = serde_json::json!([]),
        |record, _| record["origin"] = "log.example/other".into(),
    ];
    for lie in lies {
        let (ours, _) = stopped();
        tamper(&ours, |record| lie(record, &other));
        refuses(&ours, 70, "next");
    }
    // What was not changed is fine.
    let (ours, _) = stopped();
    tamper(&ours, |_| {});
    assert_eq!(ours.listed()["size"], 5);
}

#[test]
fn the_state_of_another_key_is_refused() {
    let (ours, _) = stopped();
    let (other, _) = stopped();
    let key = |ours: &Ours| ours.dir.path().join("w/key");
    fs::copy(key(&other), key(&ours)).unwrap();
    refuses(&ours, 78, "another key");
}

// SPEC [J8]
#[test]
fn a_commit_that_was_cut_off_before_its_mark_counts_again_and_again() {
    let log = History::new(ORIGIN, 12);
    let mut ours = Ours::served(&[&log]);
    let marks = ours.dir.path().join("w/state/commits");
    for (old, new) in [(0, 5), (5, 8), (8, 11)] {
        let before = fs::read(&marks).unwrap();
        ours.cosigned(&log, old, new);
        ours.stop();
        // As if the power had gone between database and mark.
        fs::write(&marks, before).unwrap();
        ours.serve(&[]);
    }
    ours.cosigned(&log, 11, 12);
}

/// Memory of a process in KiB.
fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The name of log `number` of thousands.
fn origin(number: usize) -> String {
    format!("log.example/{number}")
}

/// A state with many logs, made without a command a log.
fn many(dir: &Path, count: usize) -> (CosigningKey, Memory) {
    let key =
        CosigningKey::from_seed("witness.example/m", KeyKind::CosignatureV1, [7; 32]).unwrap();
    let memory = Memory::create(State::open(dir).unwrap(), &key, Statement::Consistent).unwrap();
    let record = |number| {
        let log = History::new(&origin(number), 0);
        Record::new(&log.origin, vec![log.vkey()], None, None)
    };
    let records: Vec<Record> = (0..count).map(record).collect();
    memory.add(&records).unwrap();
    (key, memory)
}

// SPEC [J14]
#[test]
fn thousands_of_logs_take_little_memory() {
    const LOGS: usize = 5_000;
    const ASKED: usize = 200;
    let dir = tempfile::tempdir().unwrap();
    let before = resident_kib(std::process::id());
    let (key, memory) = many(dir.path(), LOGS);
    let witness = Arc::new(Witness::start(key, memory, Options::default()).unwrap());
    assert_eq!(witness.len(), LOGS);
    let started = Instant::now();
    thread::scope(|scope| {
        for thread in 0..8 {
            let witness = &witness;
            scope.spawn(move || {
                for number in (thread..ASKED).step_by(8) {
                    let log = History::new(&origin(number * LOGS / ASKED), 4);
                    for (old, new) in [(0, 2), (2, 4), (4, 4)] {
                        let answer = witness.add_checkpoint(log.request(old, new).as_bytes());
                        let jejak::witness::Answer::Cosigned(line) = answer else {
                            panic!("{answer:?}");
                        };
                        assert!(line.ends_with('\n'));
                    }
                }
            });
        }
    });
    let took = started.elapsed();
    let grown = resident_kib(std::process::id()).saturating_sub(before);
    println!("{LOGS} logs: {grown} KiB more, {} heads in {took:?}", 3 * ASKED);
    assert!(grown < 64 << 10, "{grown} KiB");
    drop(witness);
    let key =
        CosigningKey::from_seed("witness.example/m", KeyKind::CosignatureV1, [7; 32]).unwrap();
    let memory = Memory::open(State::open(dir.path()).unwrap(), &key).unwrap();
    let cosigned = memory.records().filter(|record| record.as_ref().unwrap().last.is_some());
    assert_eq!(cosigned.count(), ASKED);
}
