//! `--mirror`: clients go on where the log is gone or does not give what verifies.

use std::{collections::BTreeMap, fs};

use jejak_proofs::merkle::sha256;
use tempfile::TempDir;

use crate::{
    monitor::{
        Run,
        election::{Clerk, ORIGIN},
        fake::{self, Desk, Fake},
        honest::honest,
    },
    program::{Serving, example_log, jejak},
};

/// Where nobody listens.
const NOWHERE: &str = "http://127.0.0.1:1";

/// A mirror that serves these entries.
fn mirror_of(entries: &[Vec<u8>]) -> Fake {
    let mirror = Fake::of(BTreeMap::new());
    mirror.answers().files = under_id(entries);
    mirror
}

fn under_id(entries: &[Vec<u8>]) -> BTreeMap<String, Vec<u8>> {
    let id = sha256(ORIGIN.as_bytes());
    fake::files(entries).into_iter().map(|(path, bytes)| (format!("{id}/{path}"), bytes)).collect()
}

fn run(desk: &Desk, log: &str, mirror: &Fake) -> Run {
    crate::monitor::run(log, &desk.policy, &desk.state(), &["--mirror", &mirror.url])
}

fn audited(run: &Run) -> u64 {
    let mut all = run.lines.iter().filter_map(|line| line["audited"].as_u64());
    all.next_back().unwrap_or_else(|| panic!("{:?} {}", run.lines, run.errors))
}

// SPEC [Y12]
#[test]
fn a_monitor_goes_on_with_a_mirror_when_the_log_is_gone() {
    let log = honest(&Clerk::new());
    let (desk, mirror) = (Desk::new(), mirror_of(&log[..512]));
    let first = run(&desk, NOWHERE, &mirror);
    assert_eq!((first.exit, audited(&first)), (0, 512), "{:?} {}", first.lines, first.errors);
    assert!(first.errors.contains("its mirrors are read instead"), "{}", first.errors);
    mirror.answers().files = under_id(&log);
    let all = log.len() as u64;
    let next = run(&desk, NOWHERE, &mirror);
    assert_eq!((next.exit, audited(&next)), (0, all), "{:?} {}", next.lines, next.errors);
    // A mirror that is behind accuses nobody, and one that shows rubbish says nothing.
    mirror.answers().files = under_id(&log[..300]);
    let behind = run(&desk, NOWHERE, &mirror);
    assert_eq!(behind.exit, 0, "{:?} {}", behind.lines, behind.errors);
    let id = sha256(ORIGIN.as_bytes());
    mirror.change(&format!("{id}/checkpoint"), |note| note.truncate(40));
    assert_eq!(run(&desk, NOWHERE, &mirror).exit, 69);
    // Two signed histories convict, whoever shows one of them.
    let mut lie = log.clone();
    lie[5] = Clerk::new().tally("official/ID", 2, (1, 99));
    for size in [300, log.len()] {
        let desk = desk.copy();
        mirror.answers().files = under_id(&lie[..size]);
        let forked = run(&desk, NOWHERE, &mirror);
        assert_eq!(forked.exit, 16, "{:?} {}", forked.lines, forked.errors);
        assert!(forked.conviction()["evidence"].is_string());
    }
}

// SPEC [Y12]
#[test]
fn what_the_log_does_not_serve_comes_from_a_mirror_and_is_reported() {
    let log = honest(&Clerk::new());
    let (fake, mirror) = (Fake::serve(&log), mirror_of(&log));
    let all = log.len() as u64;
    type Lie = fn(&Fake);
    let lies: [(Lie, &str, i32); 5] = [
        (|fake| fake.remove("tile/entries/001"), "L5", 0),
        (|fake| fake.change("tile/entries/001", |bundle| bundle.truncate(99)), "L5", 0),
        (|fake| fake.remove("tile/0/001"), "L5", 0),
        (|fake| fake.change("tile/0/001", |tile| tile[99] ^= 1), "L5", 0),
        (|fake| fake.change("tile/entries/001", |bundle| bundle[300] ^= 1), "L4", 19),
    ];
    for (number, (lie, id, exit)) in lies.into_iter().enumerate() {
        fake.show(&log);
        lie(&fake);
        let run = run(&Desk::new(), &fake.url, &mirror);
        assert_eq!((run.exit, audited(&run)), (exit, all), "lie {number}: {:?}", run.lines);
        assert_eq!(run.findings(id).len(), 1, "lie {number}: {:?}", run.lines);
    }
    // A mirror that lies as well helps nobody, and harms nobody.
    fake.show(&log);
    fake.remove("tile/entries/001");
    let path = format!("{}/tile/entries/001", sha256(ORIGIN.as_bytes()));
    mirror.change(&path, |bundle| bundle[300] ^= 1);
    let run = run(&Desk::new(), &fake.url, &mirror);
    assert!(run.exit != 0 && run.findings("L1").is_empty(), "{:?}", run.lines);
}

/// A log that answers each look with an error, and is not waited for.
fn gone() -> Fake {
    let gone = Fake::of(BTreeMap::new());
    gone.answers().failing.extend(["checkpoint".to_owned(), "checkpoint/latest".to_owned()]);
    gone
}

/// What a mirror can have of a log that a disk, or somebody, changed.
const WRONG: [&str; 4] = ["tile/entries/001", "tile/entries/000", "tile/0/001", "tile/1/000.p/2"];

fn spoil(mirror: &Fake, path: &str) {
    let path = format!("{}/{path}", sha256(ORIGIN.as_bytes()));
    mirror.change(&path, |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    });
}

fn registers(log: &[Vec<u8>]) -> Vec<String> {
    let files = fake::files(log).into_keys();
    files.filter(|path| path.starts_with("register/")).collect()
}

// SPEC [Y12]
#[test]
fn a_mirror_that_is_wrong_accuses_nobody_while_the_log_is_gone() {
    let log = honest(&Clerk::new());
    let (all, gone) = (log.len() as u64, gone());
    let more = registers(&log);
    let wrong: Vec<&str> = WRONG.into_iter().chain(more.iter().map(String::as_str)).collect();
    for path in &wrong {
        let (lying, honest) = (mirror_of(&log), mirror_of(&log));
        spoil(&lying, path);
        // Alone it leads nowhere, and that is no finding; not all of it is read.
        let desk = Desk::new();
        let alone = run(&desk, &gone.url, &lying);
        assert!([0, 69].contains(&alone.exit), "{path}: {:?} {}", alone.lines, alone.errors);
        assert!(["L1", "L4", "L5"].iter().all(|id| alone.findings(id).is_empty()), "{path}");
        // Before an honest one it changes nothing, also for one that began with it.
        for desk in [desk, Desk::new()] {
            let mirrors = ["--mirror", &lying.url, "--mirror", &honest.url];
            let both = crate::monitor::run(&gone.url, &desk.policy, &desk.state(), &mirrors);
            assert_eq!((both.exit, audited(&both)), (0, all), "{path}: {:?}", both.lines);
            assert!(["L1", "L4", "L5"].iter().all(|id| both.findings(id).is_empty()), "{path}");
        }
    }
    let lying = mirror_of(&log);
    spoil(&lying, WRONG[0]);
    assert_eq!(run(&Desk::new(), &gone.url, &lying).exit, 69);
    // So with two that are wrong at two places, each where the other is right.
    let other = mirror_of(&log);
    spoil(&other, WRONG[1]);
    let desk = Desk::new();
    let mirrors = ["--mirror", &lying.url, "--mirror", &other.url];
    let both = crate::monitor::run(&gone.url, &desk.policy, &desk.state(), &mirrors);
    assert_eq!((both.exit, audited(&both)), (0, all), "{:?} {}", both.lines, both.errors);
}

// SPEC [Y12]
#[test]
fn a_mirror_that_is_wrong_is_no_fault_of_a_log_that_fails_for_one_file() {
    let log = honest(&Clerk::new());
    let path = "tile/entries/001";
    for (status, found) in [(404, 1), (500, 0)] {
        let (fake, lying, honest) = (Fake::serve(&log), mirror_of(&log), mirror_of(&log));
        spoil(&lying, path);
        match status {
            404 => fake.remove(path),
            _ => drop(fake.answers().failing.insert(path.to_owned())),
        }
        let alone = run(&Desk::new(), &fake.url, &lying);
        assert!(alone.exit != 0 && alone.findings("L4").is_empty(), "{:?}", alone.lines);
        assert_eq!(alone.findings("L5").len(), found, "{status}: {:?}", alone.lines);
        let desk = Desk::new();
        let mirrors = ["--mirror", &lying.url, "--mirror", &honest.url];
        let both = crate::monitor::run(&fake.url, &desk.policy, &desk.state(), &mirrors);
        assert_eq!((both.exit, audited(&both)), (0, log.len() as u64), "{:?}", both.lines);
        assert!(both.findings("L4").is_empty());
        assert_eq!(both.findings("L5").len(), found, "{status}: {:?}", both.lines);
    }
}

// SPEC [Y12]
#[test]
fn verify_asks_a_mirror_when_the_log_is_gone() {
    let dir = TempDir::new().unwrap();
    let log = example_log(dir.path());
    let url = log.url.clone();
    let submit = ["submit", "-p", "log/policy", "-k", "officer.key", "form.json", "--url", &url];
    jejak(dir.path(), &submit).exit(0);
    let monitor = ["monitor", "-p", "log/policy", "--url", &url, "--once", "--state"];
    jejak(dir.path(), &[&monitor[..], &["seen"]].concat()).exit(0);
    let listen = ["--listen", "127.0.0.1:0", "--from", &url, "--every", "50ms"];
    let serve = [&["mirror", "serve", "m", "-p", "log/policy"][..], &listen].concat();
    let mirror = Serving::with(dir.path(), &serve);
    let base = mirror.url.rsplit_once('/').unwrap().0.to_owned();
    super::gone::until(&format!("{}/checkpoint", mirror.url), |status, _| status == 200);
    let verify = ["verify", "-p", "log/policy", "--against", &url, "--mirror", &base, "form.note"];
    let receipt = [&verify[..], &["form.tlog-proof"]].concat();
    let said = jejak(dir.path(), &receipt).exit(0).stdout;
    assert!(said.contains("still extends it"), "{said}");
    log.kill();
    let said = jejak(dir.path(), &receipt).exit(0).stdout;
    assert!(said.contains("its mirror extends it"), "{said}");
    jejak(dir.path(), &verify).exit(0);
    // Another form is not in it, and without the mirror nothing can be said.
    fs::write(
        dir.path().join("form.note"),
        fs::read(dir.path().join("log/manifest.note")).unwrap(),
    )
    .unwrap();
    jejak(dir.path(), &verify).exit(0);
    jejak(dir.path(), &verify[..5]).exit(2);
    let alone = ["verify", "-p", "log/policy", "--against", &url, "form.note"];
    jejak(dir.path(), &alone).exit(69);
    // A monitor that knows the log goes on, and so does one that begins.
    for state in ["seen", "new"] {
        let ended =
            jejak(dir.path(), &[&monitor[..], &[state, "--mirror", &base]].concat()).exit(0);
        assert!(ended.stderr.contains("its mirrors are read instead"), "{}", ended.stderr);
    }
    jejak(dir.path(), &[&monitor[..], &["none"]].concat()).exit(69);
}
