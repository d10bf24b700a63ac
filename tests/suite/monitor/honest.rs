//! An honest log: everything is audited, nobody is accused.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use jejak_proofs::{
    merkle::{leaf_hash, sha256},
    note::Policy,
    tally::{Body, Entry},
};
use serde_json::json;

use super::{
    command,
    election::{self, Clerk, ORIGIN, STATIONS, key, station},
    fake::{Desk, Fake},
};
use crate::program::{Serving, jejak, root};

/// Entries before the tallies of an honest log: manifest and two mandates.
pub const FIRST: usize = 3;

/// A log as it should be, 600 entries: mandates, forms right and wrong, counter-tallies, revisions,
/// a key that is mandated and speaks at once, a revocation, a new manifest.
pub fn honest(clerk: &Clerk) -> Vec<Vec<u8>> {
    let mut log = vec![
        clerk.manifest.clone(),
        clerk.mandate("root/ID", "official/ID"),
        clerk.mandate("root/ID", "official/31"),
    ];
    for number in 0..450 {
        // 3 of 100 forms do not add up to `total`, 1 of 100 not to `valid`.
        let more = match number % 100 {
            7 | 17 | 27 => json!({"total": 150}),
            50 => json!({"valid": 90}),
            _ => json!({}),
        };
        log.push(clerk.tally_with("official/ID", number, (70, 10 + number as u32 % 50), more));
    }
    log.push(clerk.mandate("official/ID", "clerk/31"));
    for number in 0..98 {
        log.push(clerk.tally("clerk/31", number, (70, 11)));
    }
    let first = log[FIRST].clone();
    log.push(clerk.revision("official/31", 0, (80, 10), (&first, 0)));
    let revised = log.last().unwrap().clone();
    log.push(clerk.revision("official/ID", 0, (81, 10), (&revised, 1)));
    let gone = json!({
        "decision": leaf_hash(b"x"), "invalid": null, "prev": leaf_hash(&log[FIRST + 1]),
        "reason": "withdrawn", "seq": 1, "total": null, "valid": null,
        "votes": {"01": null, "02": null},
    });
    log.push(clerk.tally_with("official/ID", 1, (0, 0), gone));
    log.push(clerk.revocation("official/ID", "clerk/31"));
    log.push(clerk.manifest_entry(2, STATIONS + 7, clerk.genesis));
    // The new manifest has seven stations more, and they speak last.
    for number in STATIONS + 7 + log.len() as u64 - 600..STATIONS + 7 {
        log.push(clerk.tally("official/ID", number, (50, 50)));
    }
    log
}

#[test]
fn an_honest_log_passes_and_its_forms_are_counted() {
    let clerk = Clerk::new();
    let log = honest(&clerk);
    assert_eq!(log.len(), 600);
    let (desk, fake) = (Desk::new(), Fake::serve(&log));
    let run = desk.run(&fake, &[]);
    assert_eq!(run.exit, 0, "{:?} {}", run.lines, run.errors);
    assert!(run.lines.iter().all(|line| line["severity"] != "critical"));
    // Of 450 forms 15 have another total; 4 another `valid`, so that A2 fails too.
    let counts = json!({"A1": 4, "A11": 4, "A2": 19, "S4": 1, "T1": 2, "T3": 1});
    assert_eq!(run.counts(), &counts);
    let index = |finding: &&serde_json::Value| finding["index"].as_u64().unwrap();
    let flagged: Vec<u64> = run.findings("A1").iter().map(index).collect();
    assert_eq!(flagged, [50, 150, 250, 350].map(|number| number + FIRST as u64));
    assert_eq!(run.findings("A1")[0]["detail"], "votes 80, valid 90");
    assert_eq!(
        run.findings("A11")[0]["detail"],
        "votes.01 80 for 70 or votes.02 20 for 10 or valid 80 for 90"
    );
}

#[test]
fn a_revision_is_told_in_full() {
    let clerk = Clerk::new();
    let log = honest(&clerk);
    let (desk, fake) = (Desk::new(), Fake::serve(&log));
    let run = desk.run(&fake, &[]);
    let revisions = run.findings("T1");
    let first = revisions[0];
    assert_eq!(first["unit"], station(0));
    assert_eq!(first["contest"], "ppwp");
    let index = first["index"].as_u64().unwrap() as usize;
    assert_eq!(first["leaf"], leaf_hash(&log[index]).to_string());
    let detail = first["detail"].as_str().unwrap();
    for part in [
        "revision 1 by official/31+",
        ", clerical, decision ",
        ", replaces entry 3; votes.01 70 -> 80, valid 80 -> 90, total 83 -> 93",
    ] {
        assert!(detail.contains(part), "{detail}");
    }
    // The second names the first as what it replaces.
    let detail = revisions[1]["detail"].as_str().unwrap();
    assert!(detail.contains(&format!("replaces entry {index}; votes.01 80 -> 81")), "{detail}");
    let withdrawn = run.findings("T3")[0]["detail"].as_str().unwrap();
    assert!(withdrawn.contains("votes.01 70 -> null, votes.02 11 -> null"), "{withdrawn}");
    let manifest = run.findings("S4")[0]["detail"].as_str().unwrap();
    assert_eq!(manifest, "version 2, registers; units +7 -0, contests +0 -0");
}

#[test]
fn findings_can_be_made_to_fail() {
    let (desk, fake) = (Desk::new(), Fake::serve(&honest(&Clerk::new())));
    for (level, exit) in [("info", 1), ("medium", 1), ("high", 1)] {
        assert_eq!(desk.run(&fake, &["--fail-on", level]).exit, exit, "{level}");
    }
    let calm = [Clerk::new().manifest];
    let (desk, fake) = (Desk::new(), Fake::serve(&calm));
    assert_eq!(desk.run(&fake, &["--fail-on", "info"]).exit, 0);
}

#[test]
fn a_monitor_goes_on_where_it_was() {
    let clerk = Clerk::new();
    let log = honest(&clerk);
    let (desk, fake) = (Desk::new(), Fake::serve(&log[..1]));
    let mut counted = 0;
    // Across tile edges, one entry at a time, and nothing new at all.
    for size in [1, 2, 255, 256, 257, 257, 300, 512, 513, 599, 600] {
        fake.show(&log[..size]);
        fake.bundles_asked();
        let run = desk.run(&fake, &[]);
        assert_eq!(run.exit, 0, "{size}: {:?} {}", run.lines, run.errors);
        let new = run.lines.iter().filter(|line| line["id"].is_string()).count();
        counted += new;
        let standing = run.lines.iter().find(|line| line["root"].is_string()).unwrap();
        assert_eq!(standing["audited"], size);
    }
    let whole = Desk::new().run(&fake, &[]);
    let all = whole.lines.iter().filter(|line| line["id"].is_string()).count();
    assert_eq!(counted, all);
    fake.bundles_asked();
    let again = desk.run(&fake, &[]);
    assert_eq!(again.counts(), whole.counts());
    assert_eq!(again.findings("T1").len(), 0);
    assert_eq!(fake.bundles_asked(), Vec::<String>::new(), "the ledger was saved");
}

#[test]
fn a_lost_ledger_is_replayed_in_silence() {
    let log = honest(&Clerk::new());
    let (desk, fake) = (Desk::new(), Fake::serve(&log[..590]));
    desk.run(&fake, &[]);
    let ledger = desk.state().join("ledger");
    let mut bytes = std::fs::read(&ledger).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&ledger, bytes).unwrap();
    fake.show(&log);
    let run = desk.run(&fake, &[]);
    assert_eq!(run.exit, 0, "{}", run.errors);
    assert_eq!(run.counts(), Desk::new().run(&fake, &[]).counts());
    assert!(run.findings("T1").is_empty());
}

#[test]
fn a_signal_ends_it_with_its_state_saved() {
    let log = honest(&Clerk::new());
    let (desk, fake) = (Desk::new(), Fake::serve(&log));
    let mut child = command(&fake.url, &desk.policy, &desk.state())
        .args(["--json", "--interval", "1h"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.find(|line| line.as_ref().unwrap().contains("\"audited\":600")).unwrap().unwrap();
    let kill = std::process::Command::new("kill").arg(child.id().to_string()).status();
    assert!(kill.unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    fake.bundles_asked();
    assert_eq!(desk.run(&fake, &[]).exit, 0);
    assert_eq!(fake.bundles_asked(), Vec::<String>::new());
}

#[test]
fn polling_finds_what_is_new() {
    let log = honest(&Clerk::new());
    let (desk, fake) = (Desk::new(), Fake::serve(&log[..400]));
    let mut child = command(&fake.url, &desk.policy, &desk.state())
        .args(["--json", "--interval", "20ms"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.find(|line| line.as_ref().unwrap().contains("\"audited\":400")).unwrap().unwrap();
    fake.show(&log);
    lines.find(|line| line.as_ref().unwrap().contains("\"audited\":600")).unwrap().unwrap();
    // A lie ends it at once, without a signal.
    fake.show(&log[..500]);
    assert_eq!(child.wait().unwrap().code(), Some(16));
}

#[test]
fn people_read_a_table_and_what_must_be_published() {
    let clerk = Clerk::new();
    let mut log = honest(&clerk);
    log.push(clerk.tally("official/ID", 9, (9, 9)));
    let (desk, fake) = (Desk::new(), Fake::serve(&log));
    let output = command(&fake.url, &desk.policy, &desk.state()).arg("--once").output().unwrap();
    assert_eq!(output.status.code(), Some(19));
    let text = String::from_utf8(output.stdout).unwrap();
    let root = super::fake::head(&log).root;
    let want = format!(
        "S2 critical: an entry that breaks its chain; entry 600, ppwp of unit 31.0009: conflict \
         (`seq` and `prev` do not extend the head of the chain)\n\
         audited: 601 entries, root {root}\n\
         S2  critical         1  an entry that breaks its chain\n\
         S4  high             1  the manifest changed\n\
         T1  high             2  a revision\n\
         T3  high             1  a result was taken back\n\
         A1  high             4  the votes do not add up to `valid`\n\
         A2  high            19  `valid` and `invalid` do not add up to `total`\n\
         A11 info             4  one digit would repair the sum of the votes\n"
    );
    assert_eq!(text, want);
}

/// The name of a log may look like a URL: it stands in every entry.
#[test]
fn a_log_is_not_convicted_for_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    std::fs::copy(root().join("examples/units.csv"), dir.join("units.csv")).unwrap();
    let init = ["init", "log", "--origin", "www.example/https-2024", "--units", "units.csv"];
    jejak(dir, &[&init[..], &["--contest", "ppwp=01,02"]].concat()).exit(0);
    let server = Serving::start(dir, "log");
    let by = ["--by", "log/keys/root", "--role", "official", "--units", "ID"];
    let url = ["-p", "log/policy", "--url", &server.url, "--new", "officer.key"];
    jejak(dir, &[&["mandate"][..], &by, &url].concat()).exit(0);
    let run = super::run(&server.url, &dir.join("log/policy"), &dir.join("watch"), &[]);
    assert_eq!((run.exit, run.findings("P1").len()), (0, 0), "{:?} {}", run.lines, run.errors);
}

/// A code with as many digits as an identity number, of a unit that is in the register, and is
/// named again when it no longer is: by root keys that come with the register, and a revocation.
#[test]
fn long_codes_of_old_registers_are_known() {
    let code = "9234567890123456";
    let before = format!("{}{code},31,tps,,120,130\n", election::units(STATIONS));
    let mut clerk = Clerk::new();
    let Body::Manifest(mut first) = Entry::parse(&clerk.manifest).unwrap().body().clone() else {
        panic!("entry 0 is a manifest")
    };
    first.registers.units.sha256 = sha256(before.as_bytes());
    first.registers.units.bytes = before.len() as u64;
    let root = key(&format!("root/{code}"));
    first.root_keys = vec![root.verifier().to_string().into()];
    let first = Body::Manifest(first).sign(&[&root]).into_bytes();
    let genesis = leaf_hash(&first);
    clerk.genesis = Some(genesis);
    let Body::Manifest(mut second) =
        Entry::parse(&clerk.manifest_entry(2, STATIONS, clerk.genesis)).unwrap().body().clone()
    else {
        panic!("a manifest")
    };
    second.root_keys = vec![root.verifier().to_string().into()];
    let clerk_key = format!("clerk/{code}");
    let log = [
        first,
        clerk.mandate(root.name(), "official/ID"),
        clerk.mandate("official/ID", &clerk_key),
        Body::Manifest(second).sign(&[&root]).into_bytes(),
        clerk.revocation("official/ID", &clerk_key),
    ];
    let policy = Policy::compose(&[key(ORIGIN).verifier()], None, &genesis).unwrap();
    let (desk, fake) = (Desk::with(&policy), Fake::serve(&log));
    let serve = |size: usize| {
        fake.show(&log[..size]);
        let path = format!("register/{}", sha256(before.as_bytes()));
        fake.answers().files.insert(path, before.clone().into_bytes());
        desk.run(&fake, &[])
    };
    // With what was learned before, and all at once.
    for size in [4, 5] {
        let run = serve(size);
        assert_eq!(run.exit, 0, "{size}: {:?} {}", run.lines, run.errors);
        assert_eq!(run.findings("P1").len(), 0);
    }
    let whole = super::run(&fake.url, &desk.policy, &desk.dir.path().join("other"), &[]);
    assert_eq!(whole.exit, 0, "{:?} {}", whole.lines, whole.errors);
}
