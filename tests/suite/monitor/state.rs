//! A state that is damaged, lost or of another log is an alarm and a stop, never a fresh start.

use std::fs;

use jejak_proofs::{merkle::leaf_hash, note::Policy};

use super::{
    Run,
    election::{Clerk, ORIGIN, key},
    fake::{Desk, Fake, copy_dir},
    honest::honest,
};

/// A desk whose monitor followed the first 300 entries, and the log with all.
fn followed() -> (Desk, Fake) {
    let log = honest(&Clerk::new());
    let (desk, fake) = (Desk::new(), Fake::serve(&log[..300]));
    assert_eq!(desk.run(&fake, &[]).exit, 0);
    fake.show(&log);
    (desk, fake)
}

fn alarmed(run: &Run, what: &str) {
    assert_eq!(run.exit, 70, "{what}: {:?} {}", run.lines, run.errors);
    assert!(run.errors.contains("state "), "{what}: {}", run.errors);
    // Refused before anything was asked or said.
    assert!(run.lines.is_empty(), "{what}: {:?}", run.lines);
}

#[test]
fn every_part_is_missed() {
    let (desk, fake) = followed();
    fake.answers().asked.clear();
    for part in ["db", "leaves"] {
        let desk = desk.copy();
        let path = desk.state().join(part);
        match path.is_dir() {
            true => fs::remove_dir_all(&path).unwrap(),
            false => fs::remove_file(&path).unwrap(),
        }
        alarmed(&desk.run(&fake, &[]), part);
        alarmed(&desk.run(&fake, &[]), part);
    }
    let desk = desk.copy();
    fs::remove_file(desk.state().join("db/db")).unwrap();
    alarmed(&desk.run(&fake, &[]), "db/db");
    assert!(fake.answers().asked.is_empty());
}

#[test]
fn every_change_is_seen() {
    let (desk, fake) = followed();
    let changed = |part: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let desk = desk.copy();
        let path = desk.state().join(part);
        let mut bytes = fs::read(&path).unwrap();
        change(&mut bytes);
        fs::write(&path, bytes).unwrap();
        desk.run(&fake, &[])
    };
    for at in [0, 31, 32 * 150 + 7, 32 * 300 - 1] {
        alarmed(&changed("leaves", &|bytes| bytes[at] ^= 1), "leaves");
    }
    alarmed(&changed("leaves", &|bytes| bytes.truncate(32 * 299)), "leaves cut");
    alarmed(&changed("checkpoint", &|bytes| bytes.fill(0)), "checkpoint of NUL");
    alarmed(&changed("checkpoint", &Vec::clear), "checkpoint empty");
    // More leaf hashes than the head has were on their way when a crash came.
    assert_eq!(changed("leaves", &|bytes| bytes.extend([7; 99])).exit, 0);
}

#[test]
fn a_database_that_fell_back_is_seen_by_the_head_beside_it() {
    let log = honest(&Clerk::new());
    let (desk, fake) = (Desk::new(), Fake::serve(&log[..100]));
    assert_eq!(desk.run(&fake, &[]).exit, 0);
    let old = desk.copy();
    fake.show(&log[..300]);
    assert_eq!(desk.run(&fake, &[]).exit, 0);
    fs::remove_dir_all(desk.state().join("db")).unwrap();
    copy_dir(&old.state().join("db"), &desk.state().join("db"));
    // The log rolls back to what the old database knows: without the head beside it, all is well.
    fake.show(&log[..100]);
    let run = desk.run(&fake, &[]);
    assert_eq!(run.exit, 70, "{:?} {}", run.lines, run.errors);
}

#[test]
fn every_flipped_bit_of_the_database_is_harmless_or_an_alarm() {
    let (desk, fake) = followed();
    let honest = desk.copy().run(&fake, &[]);
    let bytes = fs::read(desk.state().join("db/db")).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let mut alarms = 0;
    for step in 0..24 {
        let copy = desk.copy();
        let mut bytes = bytes.clone();
        bytes[used * step / 24 + 5] ^= 0x10;
        fs::write(copy.state().join("db/db"), bytes).unwrap();
        let run = copy.run(&fake, &[]);
        match run.exit {
            70 => alarms += 1,
            // sled went back to an older state of its own, or did not need the byte.
            0 => assert_eq!(run.counts(), honest.counts(), "step {step}"),
            exit => panic!("step {step}: {exit} {}", run.errors),
        }
    }
    assert!(alarms > 0, "no flip was ever noticed");
}

#[test]
fn a_state_belongs_to_one_log() {
    let (desk, fake) = followed();
    let genesis = Clerk::new().genesis.unwrap();
    let policies = [
        Policy::compose(&[key(ORIGIN).verifier()], None, &leaf_hash(b"other")).unwrap(),
        Policy::compose(&[key("log.example/other").verifier()], None, &genesis).unwrap(),
    ];
    for policy in policies {
        let other = Desk::with(&policy);
        let run = super::run(&fake.url, &other.policy, &desk.state(), &[]);
        assert_eq!(run.exit, 78, "{}", run.errors);
    }
    assert_eq!(desk.run(&fake, &[]).exit, 0);
}

#[test]
fn one_monitor_for_one_directory() {
    let (desk, fake) = followed();
    let _held = jejak::state::State::open(&desk.state()).unwrap();
    let run = desk.run(&fake, &[]);
    assert_eq!(run.exit, 75);
    assert!(run.errors.contains("another process"), "{}", run.errors);
}
