//! Logs that sign entries which their own rules forbid: convicted by replay alone, from nothing.

use jejak_proofs::merkle::{leaf_hash, sha256};
use serde_json::{Value, json};

use super::{
    Run,
    election::{Clerk, STATIONS},
    fake::{Desk, Fake},
    honest::{FIRST, honest},
};

/// A fresh monitor on this log; it must end with 19, twice, and name each lie once.
fn convicted(log: &[Vec<u8>]) -> Run {
    let (desk, fake) = (Desk::new(), Fake::serve(log));
    let run = desk.run(&fake, &[]);
    assert_eq!(run.exit, 19, "{:?} {}", run.lines, run.errors);
    let again = desk.run(&fake, &[]);
    assert_eq!(again.exit, 19, "what is under a signed root stays true");
    assert_eq!(again.counts(), run.counts());
    run
}

fn about(finding: &Value) -> (&str, u64, &str) {
    let text = |name: &str| finding[name].as_str().unwrap();
    (text("id"), finding["index"].as_u64().unwrap(), text("detail"))
}

/// The honest log with one more entry before the one at `at`.
fn inserted(at: usize, entry: Vec<u8>) -> Vec<Vec<u8>> {
    let mut log = honest(&Clerk::new());
    log.insert(at, entry);
    log
}

#[test]
fn changed_numbers_under_the_old_signature() {
    let mut log = honest(&Clerk::new());
    let at = FIRST + 200;
    let text = String::from_utf8(log[at].clone()).unwrap();
    log[at] = text.replace(r#""01":70"#, r#""01":71"#).into_bytes();
    let run = convicted(&log);
    let (id, index, detail) = about(run.conviction());
    assert_eq!((id, index), ("S1", at as u64));
    assert_eq!(detail, "bad_signature (a signature does not verify)");
    assert_eq!(run.conviction()["unit"], "31.0200");
    assert_eq!(run.conviction()["leaf"], leaf_hash(&log[at]).to_string());
    // The audit went on to the end.
    assert_eq!(run.counts()["T1"], 2);
}

#[test]
fn an_entry_dropped_or_moved_breaks_its_chain() {
    let mut dropped = honest(&Clerk::new());
    let index = dropped.len();
    dropped.remove(FIRST);
    let run = convicted(&dropped);
    let broken = run.findings("S2");
    // Both revisions of the station lost what they rest on.
    assert_eq!(broken.len(), 2);
    assert!(about(broken[0]).2.starts_with("conflict ("));

    let mut moved = honest(&Clerk::new());
    let first = moved.remove(FIRST);
    moved.insert(index - 2, first);
    assert_eq!(convicted(&moved).findings("S2").len(), 2);
}

#[test]
fn keys_that_may_not_speak() {
    let clerk = Clerk::new();
    let stranger = clerk.tally("official/31.0001", 470, (1, 1));
    let run = convicted(&inserted(400, stranger.clone()));
    let (id, index, detail) = about(run.conviction());
    assert_eq!((id, index), ("S1", 400));
    assert!(detail.starts_with("unknown_key ("), "{detail}");

    // Mandated later: the order in the log is the time.
    let mut late = inserted(400, stranger);
    late.insert(402, clerk.mandate("root/ID", "official/31.0001"));
    let run = convicted(&late);
    assert!(about(run.conviction()).2.starts_with("unknown_key ("));

    let mut log = honest(&clerk);
    log.push(clerk.tally("clerk/31", 300, (1, 1)));
    assert!(about(convicted(&log).conviction()).2.starts_with("key_revoked ("));

    let mut log = honest(&clerk);
    log.push(clerk.mandate("clerk/31", "clerk/31.0002"));
    assert!(about(convicted(&log).conviction()).2.starts_with("key_revoked ("));

    let mandate = clerk.mandate("official/31", "official/31.0003");
    let run = convicted(&inserted(400, mandate));
    assert!(about(run.conviction()).2.starts_with("out_of_scope ("));
}

#[test]
fn chains_that_do_not_fit() {
    let clerk = Clerk::new();
    let log = honest(&clerk);
    let second = clerk.tally("official/ID", 9, (9, 9));
    let run = convicted(&inserted(500, second));
    assert_eq!(about(run.conviction()).0, "S2");
    assert_eq!(run.conviction()["unit"], "31.0009");

    let skipped = clerk.revision("official/ID", 9, (9, 9), (&log[FIRST + 9], 1));
    assert_eq!(about(convicted(&inserted(500, skipped)).conviction()).0, "S2");
    let stray = clerk.revision("official/ID", 9, (9, 9), (&log[FIRST + 8], 0));
    assert_eq!(about(convicted(&inserted(500, stray)).conviction()).0, "S2");
}

#[test]
fn the_same_entry_twice() {
    let log = honest(&Clerk::new());
    for at in [1, FIRST, FIRST + 300] {
        let run = convicted(&inserted(500, log[at].clone()));
        let detail = format!("the same entry stands at {at}");
        assert_eq!(about(run.conviction()), ("S1", 500, detail.as_str()));
    }
}

#[test]
fn bytes_that_are_no_entry() {
    let clerk = Clerk::new();
    let spaced = {
        let text = String::from_utf8(clerk.tally("official/ID", 470, (1, 1))).unwrap();
        text.replacen('{', "{ ", 1).into_bytes()
    };
    for bytes in [Vec::new(), b"hello\n".to_vec(), spaced, vec![0xff; 65_535]] {
        let run = convicted(&inserted(256, bytes));
        let (id, index, detail) = about(run.conviction());
        assert_eq!((id, index), ("S1", 256));
        assert!(detail.starts_with("malformed ("), "{detail}");
    }
}

#[test]
fn places_that_are_not_in_the_register() {
    let clerk = Clerk::new();
    let cases = [
        (json!({"unit": "31.9999"}), "invalid_unit"),
        (json!({"contest": "dpd"}), "invalid_contest"),
        (json!({"round": "psu"}), "invalid_round"),
        (json!({"votes": {"01": 1}}), "invalid_votes"),
        (json!({"genesis": sha256(b"x")}), "invalid_genesis"),
        (json!({"log": "log.example/other"}), "invalid_log"),
    ];
    for (more, code) in cases {
        let run = convicted(&inserted(300, clerk.tally_with("official/ID", 470, (1, 1), more)));
        assert!(about(run.conviction()).2.starts_with(code), "{code}: {:?}", run.conviction());
    }
    // A station of the second manifest, before it.
    let early = clerk.tally("official/ID", STATIONS, (1, 1));
    let run = convicted(&inserted(300, early));
    assert_eq!(about(run.conviction()).1, 300);
    assert!(about(run.conviction()).2.starts_with("invalid_unit"));
}

#[test]
fn nothing_follows_a_freeze() {
    let clerk = Clerk::new();
    let mut log = honest(&clerk)[..400].to_vec();
    log.push(clerk.freeze());
    assert_eq!(Desk::new().run(&Fake::serve(&log), &[]).exit, 0);
    log.push(clerk.tally("official/ID", 470, (1, 1)));
    assert!(about(convicted(&log).conviction()).2.starts_with("log_frozen ("));
}

#[test]
fn personal_data_is_named_and_not_repeated() {
    let clerk = Clerk::new();
    let number = "3173011005110001";
    let entry = clerk.tally_with("official/ID", 3, (1, 1), json!({"contest": number}));
    let run = convicted(&inserted(500, entry));
    assert_eq!(about(run.conviction()), ("P1", 500, "an identity number"));
}

#[test]
fn a_register_that_is_not_served_stops_the_audit() {
    let log = honest(&Clerk::new());
    let fake = Fake::serve(&log);
    let path = format!("register/{}", sha256(super::election::contests().as_bytes()));
    fake.change(&path, |bytes| bytes.push(b'\n'));
    let desk = Desk::new();
    assert_eq!(desk.run(&fake, &[]).exit, 69);
    fake.remove(&path);
    let run = desk.run(&fake, &[]);
    assert_eq!(run.exit, 69);
    assert_eq!(run.findings("L5")[0]["detail"], format!("{path} is missing"));
    fake.show(&log);
    assert_eq!(desk.run(&fake, &[]).exit, 0);
}
