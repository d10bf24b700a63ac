//! Killed at any moment, a mirror goes on from what is there, and what it shows is there.

use std::{thread, time::Duration};

use jejak_proofs::note::UnverifiedCheckpoint;

use super::place::{Place, files};
use crate::{audit_log::Numbers, program::Serving};

/// The size of the head that the copy shows on disk; everything under it must be there.
fn shown(place: &Place) -> u64 {
    let Ok(note) = std::fs::read(place.copy().join("checkpoint")) else { return 0 };
    let head = UnverifiedCheckpoint::parse(&note).and_then(|r| place.election.policy.verify(r));
    let report = place.check();
    // Tiles beyond the head are there if a pull was cut off; nothing may be wrong below it.
    let wrong: Vec<_> =
        report.findings.iter().filter(|finding| finding.damage.code() != "beyond").collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    head.expect("the checkpoint is whole").head().size
}

// SPEC [Y2]
#[test]
fn killed_in_the_middle_of_pulls_it_goes_on_and_shows_only_what_is_there() {
    let seed = 20_240_214;
    println!("seed {seed}");
    let mut numbers = Numbers(seed);
    let place = Place::new(20_000, 6_000);
    let pull = ["mirror", "pull", "m", "-p", "policy", "--from", &place.log.url, "--every", "1ms"];
    let (mut size, mut last, mut cut) = (6_000, 0, 0);
    // How long a pull takes depends on the machine: the kills look for its middle.
    let mut wait = 60_000_u64;
    for round in 0..12 {
        let pulling = Serving::in_background(place.dir.path(), &pull);
        thread::sleep(Duration::from_micros(wait / 2 + numbers.below(wait as usize) as u64));
        pulling.kill();
        if !place.copy().exists() {
            continue;
        }
        let now = shown(&place);
        assert!(now >= last && now <= size, "round {round}: {last}, then {now} of {size}");
        cut += u32::from(now < size);
        wait = if now < size { wait * 5 / 4 } else { wait * 2 / 3 };
        last = now;
        size += 1_000 + numbers.below(200) as u64;
        place.show(size);
    }
    assert!(cut > 0, "no pull was cut off");
    let standing = place.pull().unwrap();
    assert_eq!(standing.head.map(|head| head.size), Some(size));
    // Of the partial files of other heads nothing is left after a start.
    drop(place.mirror());
    assert_eq!(place.copied(), files(&place.election, size));
}
