//! S5: states that do not follow from the entries before them, and none for too long.

use jejak_proofs::{
    merkle::sha256,
    tally::{Body, STATE_GAP_MAX, State},
};
use serde_json::json;

use super::{
    fake::{Desk, Fake},
    wide::{STATIONS, Wide, station},
};

fn spelled(state: State) -> Vec<u8> {
    Body::State(state).text().into_bytes()
}

/// A log with some tallies, not sealed since.
fn open() -> Wide {
    let mut log = Wide::new();
    for number in 0..STATIONS {
        log.tally("official/ID", &station("11.1", number), (20, 30), json!({}));
    }
    log
}

#[test]
fn states_that_follow_are_no_finding() {
    let mut log = open();
    log.seal();
    log.tally("official/ID", "11.2.000", (20, 30), json!({}));
    log.seal();
    let (desk, fake) = (Desk::of(&log.entries), Fake::serve(&log.entries));
    let run = desk.run(&fake, &[]);
    assert_eq!(run.exit, 0, "{:?} {}", run.lines, run.errors);
    assert_eq!(run.counts(), &json!({"X3": 1}));
}

#[test]
fn a_wrong_state_convicts_and_the_audit_goes_on() {
    let mut log = open();
    let due = log.due();
    let size = due.size;
    // Nobody signs a state: its form forbids it.
    let signed = [&spelled(due.clone())[..], b"\n\xe2\x80\x94 a b\n"].concat();
    let lies = [
        spelled(State { recap: sha256(b"another"), ..due.clone() }),
        spelled(State { manifest: sha256(b"another"), ..due.clone() }),
        spelled(State { contests: 2, ..due.clone() }),
        spelled(State { size: size - 1, ..due.clone() }),
        b"jejak/state/v1\n{}\n".to_vec(),
        signed,
    ];
    for lie in lies {
        let mut entries = log.entries.clone();
        entries.push(lie);
        let (desk, fake) = (Desk::of(&entries), Fake::serve(&entries));
        let run = desk.run(&fake, &[]);
        assert_eq!(run.exit, 19, "{:?} {}", run.lines, run.errors);
        let conviction = run.conviction();
        assert_eq!((&conviction["id"], &conviction["index"]), (&json!("S5"), &json!(size)));
        // What comes after is judged as ever, and a second run says it again only by its exit.
        assert_eq!(run.last()["contests"]["ppwp"]["whole"]["reported"], STATIONS);
        let again = desk.run(&fake, &[]);
        assert_eq!((again.exit, again.findings("S5").len()), (19, 0));
        assert_eq!(again.counts(), run.counts());
    }
}

#[test]
fn a_state_without_anything_new_convicts() {
    let mut log = open();
    let last = log.seal();
    let text = String::from_utf8(log.entries[last].clone()).unwrap();
    let (size, next) = (format!("\"size\":{last}"), format!("\"size\":{}", last + 1));
    for lie in [text.clone(), text.replace(&size, &next)] {
        let lie = lie.into_bytes();
        let mut entries = log.entries.clone();
        entries.push(lie);
        let run = Desk::of(&entries).run(&Fake::serve(&entries), &[]);
        assert_eq!(run.exit, 19, "{:?} {}", run.lines, run.errors);
        assert_eq!(run.conviction()["id"], "S5");
    }
}

#[test]
fn a_log_that_seals_no_more_is_reported_once() {
    let log = Wide::new();
    let sealed = log.entries.len() as u64;
    // Mandates are the cheapest entries, and need nothing but new keys.
    let entries = [log.entries.clone(), log.mandates(STATE_GAP_MAX + 3)].concat();
    let calm = (sealed + STATE_GAP_MAX) as usize;
    let (desk, fake) = (Desk::of(&entries), Fake::serve(&entries[..calm]));
    let run = desk.run(&fake, &[]);
    assert_eq!(run.exit, 0, "{:?} {}", run.lines, run.errors);
    fake.show(&entries);
    let run = desk.run(&fake, &[]);
    assert_eq!(run.exit, 19, "{:?} {}", run.lines, run.errors);
    assert_eq!((&run.conviction()["id"], &run.conviction()["index"]), (&json!("S5"), &json!(calm)));
}
