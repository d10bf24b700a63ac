//! What the monitor finds in the entries is written down as evidence where that convicts offline.

use jejak_proofs::{evidence::Evidence, merkle::sha256, note::Policy};
use serde_json::{Value, json};

use super::{
    election::{Clerk, key},
    fake::{Desk, Fake},
    honest::{FIRST, honest},
};

/// The kinds and rules of what a run of a fresh monitor wrote about this log: one a critical
/// finding that names a file, `None` for one that does not.
fn written(log: &[Vec<u8>]) -> Vec<Option<(String, String)>> {
    written_by(&Desk::new(), log)
}

/// The same of a monitor that may have followed the log before.
fn written_by(desk: &Desk, log: &[Vec<u8>]) -> Vec<Option<(String, String)>> {
    let fake = Fake::serve(log);
    let run = desk.run(&fake, &[]);
    assert_eq!(run.exit, 19, "{:?} {}", run.lines, run.errors);
    let policy = Policy::parse(&std::fs::read_to_string(&desk.policy).unwrap()).unwrap();
    let judged = |finding: &&Value| {
        let file = finding["evidence"].as_str()?;
        let evidence = Evidence::parse(&std::fs::read(file).unwrap()).unwrap();
        let conviction = evidence.verify_under(&policy).unwrap();
        assert!(evidence.verify(&[key("another.example/log").verifier()]).is_err());
        Some((conviction.kind().to_owned(), conviction.rule().to_owned()))
    };
    let found = run.lines.iter().filter(|line| line["severity"] == "critical");
    let all: Vec<_> = found.collect();
    let again = desk.run(&fake, &[]);
    assert_eq!((again.exit, again.counts()), (19, run.counts()));
    all.iter().map(judged).collect()
}

/// The honest log with this entry before the one at `at`, or at its end.
fn with(at: Option<usize>, entry: Vec<u8>) -> Vec<Vec<u8>> {
    let mut log = honest(&Clerk::new());
    log.insert(at.unwrap_or(log.len()), entry);
    log
}

#[test]
fn what_convicts_offline_is_written_as_evidence() {
    let clerk = Clerk::new();
    let log = honest(&clerk);
    let changed = {
        let text = String::from_utf8(log[FIRST + 200].clone()).unwrap();
        let mut log = log.clone();
        log[FIRST + 200] = text.replace(r#""01":70"#, r#""01":71"#).into_bytes();
        log
    };
    let revision = |of: usize, seq| clerk.revision("official/ID", 9, (9, 9), (&log[of], seq));
    let rival = clerk.revision("official/31", 0, (82, 10), (&log[FIRST], 0));
    let foreign = clerk.tally_with("official/ID", 470, (1, 1), json!({"genesis": sha256(b"x")}));
    let mut ended = log[..400].to_vec();
    ended.extend([clerk.freeze(), clerk.tally("official/ID", 470, (1, 1))]);
    for (log, kind, rule) in [
        (changed, "bad_entry", "D1"),
        (with(Some(256), b"hello\n".to_vec()), "bad_entry", "D1"),
        (with(Some(300), foreign), "bad_entry", "D1"),
        (with(Some(500), log[FIRST].clone()), "broken_chain", "D2"),
        (with(Some(500), revision(FIRST + 9, 1)), "broken_chain", "H2"),
        (with(Some(500), revision(FIRST + 8, 0)), "broken_chain", "H2"),
        (with(None, rival), "broken_chain", "H2"),
        (with(None, clerk.tally("clerk/31", 300, (1, 1))), "broken_chain", "M8"),
        (ended, "broken_chain", "F2"),
    ] {
        let want = Some((kind.to_owned(), rule.to_owned()));
        assert_eq!(written(&log), [want], "{rule}");
    }
}

/// What was revoked, and that the log ended, is known to a monitor that was restarted since.
#[test]
fn what_came_before_a_restart_convicts_too() {
    let clerk = Clerk::new();
    let mut ended = honest(&clerk)[..400].to_vec();
    ended.push(clerk.freeze());
    let frozen = (ended.clone(), clerk.tally("official/ID", 470, (1, 1)), "F2");
    let revoked = (honest(&clerk), clerk.tally("clerk/31", 300, (1, 1)), "M8");
    for (mut log, more, rule) in [frozen, revoked] {
        let desk = Desk::new();
        assert_eq!(desk.run(&Fake::serve(&log), &[]).exit, 0);
        log.push(more);
        let want = Some(("broken_chain".to_owned(), rule.to_owned()));
        assert_eq!(written_by(&desk, &log), [want]);
    }
}

/// A log that does not serve what convicts it is asked once in a run, and is found all the same.
#[test]
fn what_is_withheld_keeps_no_finding_back() {
    let clerk = Clerk::new();
    let mut log = honest(&clerk);
    let (desk, fake) = (Desk::new(), Fake::serve(&log));
    assert_eq!(desk.run(&fake, &[]).exit, 0);
    for number in [8, 9, 10] {
        log.push(clerk.revision("official/ID", number, (9, 9), (&log[FIRST + 7], 1)));
    }
    fake.show(&log);
    fake.remove("tile/entries/000");
    fake.bundles_asked();
    let run = desk.run(&fake, &[]);
    assert_eq!((run.exit, run.findings("S2").len()), (19, 3), "{:?} {}", run.lines, run.errors);
    assert!(run.findings("S2").iter().all(|finding| finding["evidence"] == Value::Null));
    let asked = fake.bundles_asked();
    assert_eq!(asked.iter().filter(|path| *path == "tile/entries/000").count(), 1, "{asked:?}");
}

#[test]
fn what_needs_the_other_entries_stays_a_finding() {
    let clerk = Clerk::new();
    for entry in [
        clerk.tally("official/31.0001", 470, (1, 1)),
        clerk.mandate("official/31", "official/31.0003"),
        clerk.tally_with("official/ID", 470, (1, 1), json!({"unit": "31.9999"})),
        // A chain that is opened twice shows only with the state behind it.
        clerk.tally("official/ID", 9, (9, 9)),
    ] {
        assert_eq!(written(&with(Some(500), entry)), [None]);
    }
}

#[test]
fn a_log_that_is_crooked_throughout_fills_no_disk() {
    let mut log = honest(&Clerk::new());
    for number in 0..40 {
        log.insert(300, format!("no entry {number}").into_bytes());
    }
    let written = written(&log);
    assert_eq!(written.iter().flatten().count(), 16, "{written:?}");
    assert_eq!(written.len(), 40);
}
