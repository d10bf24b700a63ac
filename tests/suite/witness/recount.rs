//! The recount witness: it cosigns what it replayed, and nothing else.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use jejak_proofs::{
    merkle::sha256,
    note::{Policy, SigningKey},
    tally::{Body, State},
};
use serde_json::json;

use super::{
    history::History,
    place::{Ours, Place as _, Reply},
};
use crate::monitor::{
    election::{ORIGIN, key},
    fake::Fake,
    wide::{Wide, station},
};

fn log_key() -> SigningKey {
    key(ORIGIN)
}

/// A history of these entries, signed by the log.
fn history(entries: &[Vec<u8>]) -> History {
    History::of(entries, log_key())
}

/// A recount witness of a served log, not served yet.
fn recounter(log: &Wide, fake: &Fake) -> Ours {
    let ours = Ours::of(&["--recount"], &[]);
    let keys = [log_key().verifier()];
    let policy = Policy::compose(&keys, Some(&fake.url), &log.genesis()).unwrap();
    fs::write(ours.dir.path().join("policy"), policy).unwrap();
    ours.run("add-log", &["-p", "policy"]).exit(0);
    ours
}

/// Asks until the recount has an answer.
fn settled(ours: &Ours, body: &str) -> Reply {
    let started = Instant::now();
    loop {
        let reply = ours.add(body);
        if reply.status != 503 {
            return reply;
        }
        assert!(reply.retry_after.is_some(), "{reply:?}");
        assert!(started.elapsed() < Duration::from_secs(30), "{reply:?}");
        thread::sleep(Duration::from_millis(100));
    }
}

/// A sealed log with some tallies.
fn sealed() -> Wide {
    let mut log = Wide::new();
    for number in 0..3 {
        log.tally("official/ID", &station("11.1", number), (20, 30), json!({}));
    }
    log.seal();
    log
}

// SPEC [J17]
#[test]
fn an_honest_log_is_cosigned_and_only_what_is_new_is_read() {
    let mut log = sealed();
    let fake = Fake::serve(&log.entries);
    let mut ours = recounter(&log, &fake);
    ours.serve(&["--recount"]);
    let first = history(&log.entries);
    let reply = settled(&ours, &first.request(0, first.size()));
    assert_eq!(reply.status, 200, "{reply:?}");
    ours.verified(&first, first.size(), &reply);
    // More than a bundle, so that the first is not asked for again.
    for entry in log.mandates(300) {
        log.push(entry);
    }
    log.seal();
    fake.show(&log.entries);
    let second = history(&log.entries);
    ours.cosigned(&second, first.size(), second.size());
    log.tally("official/ID", &station("12.1", 0), (1, 2), json!({}));
    log.seal();
    fake.show(&log.entries);
    fake.answers().asked.clear();
    let third = history(&log.entries);
    ours.cosigned(&third, second.size(), third.size());
    let asked = fake.bundles_asked();
    assert!(asked.iter().all(|path| path.contains("entries/001")), "{asked:?}");
    // A restart replays, and then knows as much as before.
    ours.kill();
    let reply = settled(&ours, &third.request(third.size(), third.size()));
    assert_eq!(reply.status, 200, "{reply:?}");
    // Heads that the recount has passed are still known to be right.
    let reply = settled(&ours, &second.request(first.size(), second.size()));
    assert_eq!(reply.status, 409, "{reply:?}");
}

/// Demands the refusal of a head over `entries`, and its report.
#[track_caller]
fn refused(log: &Wide, entries: &[Vec<u8>], word: &str) {
    let fake = Fake::serve(entries);
    let mut ours = recounter(log, &fake);
    ours.serve(&["--recount"]);
    let head = history(entries);
    for _ in 0..2 {
        let reply = settled(&ours, &head.request(0, head.size()));
        assert_eq!(reply.status, 422, "{reply:?}");
        assert!(reply.body.contains("\"not_recounted\"") && reply.body.contains(word), "{reply:?}");
    }
    let reports = ours.kept("reports");
    assert_eq!(reports.len(), 1, "{reports:?}");
    let report = fs::read_to_string(&reports[0]).unwrap();
    assert!(report.starts_with("jejak/report/v1\nrecount: ") && report.contains(word), "{report}");
    assert_eq!(ours.monitored(ORIGIN).status, 404, "nothing was cosigned");
    // A witness that only asks for consistency cosigns it.
    let plain = Ours::served(&[&head]);
    plain.cosigned(&head, 0, head.size());
}

// SPEC [J17]
#[test]
fn a_forged_state_is_refused_and_reported() {
    let mut log = sealed();
    log.tally("official/ID", &station("12.1", 0), (1, 2), json!({}));
    let due = log.due();
    for lie in
        [State { recap: sha256(b"another"), ..due.clone() }, State { contests: 2, ..due.clone() }]
    {
        let mut entries = log.entries.clone();
        entries.push(Body::State(lie).text().into_bytes());
        refused(&log, &entries, "breaks the rules");
    }
}

// SPEC [J17]
#[test]
fn an_inadmissible_entry_is_refused_for_ever() {
    let mut log = sealed();
    let mut entries = log.entries.clone();
    // The same tally twice, under a state that the log made up.
    let index = entries.len();
    entries.push(entries[index - 2].clone());
    entries.push(entries[index - 1].clone());
    refused(&log, &entries, &format!("entry {index} breaks the rules"));
    // Whatever follows stands on it.
    log.tally("official/ID", &station("12.1", 0), (1, 2), json!({}));
    log.seal();
    let later = [&entries[..], &log.entries[index..]].concat();
    refused(&log, &later, &format!("entry {index} breaks the rules"));
}

// SPEC [J17]
#[test]
fn a_head_without_a_state_or_over_other_entries_is_refused() {
    let mut log = sealed();
    let whole = log.entries.clone();
    log.tally("official/ID", &station("12.1", 0), (1, 2), json!({}));
    refused(&log, &log.entries, "does not end in a state");
    // What the log signed for others than us.
    let mut other = sealed();
    other.tally("official/ID", &station("12.1", 0), (9, 9), json!({}));
    other.seal();
    log.seal();
    let fake = Fake::serve(&log.entries);
    let mut ours = recounter(&log, &fake);
    ours.serve(&["--recount"]);
    let (shown, hidden) = (history(&log.entries), history(&other.entries));
    let reply = settled(&ours, &hidden.request(0, hidden.size()));
    assert_eq!(reply.status, 422, "{reply:?}");
    assert!(reply.body.contains("do not lead to the root"), "{reply:?}");
    // The ledger did not move: the honest head is cosigned, an older one too if it comes first.
    let first = history(&whole);
    ours.cosigned(&first, 0, first.size());
    ours.cosigned(&shown, first.size(), shown.size());
}

// SPEC [J18]
#[test]
fn a_log_that_does_not_answer_is_not_blamed() {
    let log = sealed();
    let fake = Fake::serve(&log.entries);
    let files = fake.answers().files.clone();
    fake.answers().files.clear();
    let mut ours = recounter(&log, &fake);
    ours.serve(&["--recount"]);
    let head = history(&log.entries);
    let body = head.request(0, head.size());
    let reply = ours.add(&body);
    assert_eq!((reply.status, reply.retry_after.as_deref()), (503, Some("5")), "{reply:?}");
    assert!(reply.body.contains("\"replaying\""), "{reply:?}");
    assert_eq!(ours.kept("reports").len(), 0);
    fake.answers().files = files;
    assert_eq!(settled(&ours, &body).status, 200);
}

#[test]
fn a_recount_needs_a_place_and_a_genesis() {
    let log = sealed();
    let fake = Fake::serve(&log.entries);
    let ours = recounter(&log, &fake);
    let vkey = History::new("log.example/other", 0).vkey().to_string();
    let ended = ours.run("add-log", &["--origin", "log.example/other", "--vkey", &vkey]).exit(78);
    assert!(ended.stderr.contains("genesis"), "{}", ended.stderr);
    let ended = ours.run("serve", &["--listen", "127.0.0.1:0"]).exit(78);
    assert!(ended.stderr.contains("--recount"), "{}", ended.stderr);
}
