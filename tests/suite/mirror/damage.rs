//! Damage of a copy is never served, is found, and is pulled again.

use std::fs;

use super::place::{Place, assert_serves, files, look, served};
use crate::program::jejak;

// SPEC [Y1] [Y7]
#[test]
fn what_is_damaged_is_not_served_and_is_pulled_again() {
    let place = Place::new(1_300, 1_300);
    let mirror = place.mirror();
    look(&mirror).unwrap();
    let all = files(&place.election, 1_300);
    for (path, bytes) in all.iter().filter(|(path, _)| *path != "checkpoint") {
        // The right edge is in memory.
        let in_memory = path.starts_with("tile/") && path.contains(".p/") && !path.contains("entr");
        for (place_of_bit, gone) in [(bytes.len() / 2, false), (0, true)] {
            let file = place.copy().join(path);
            match gone {
                true => fs::remove_file(&file).unwrap(),
                false => {
                    let mut damaged = bytes.clone();
                    damaged[place_of_bit] ^= 4;
                    fs::write(&file, damaged).unwrap();
                }
            }
            let reply = served(&mirror, path);
            match (in_memory, gone && path.starts_with("register/")) {
                (true, _) => assert_eq!(reply.body, *bytes, "{path}"),
                (false, true) => reply.refused(404, "not_found", path),
                (false, false) => reply.refused(500, "internal", path),
            }
            if reply.status == 500 {
                // It was noticed: the next look mends it.
                assert_eq!(look(&mirror).unwrap().head.map(|head| head.size), Some(1_300));
                assert_eq!(fs::read(&file).unwrap(), *bytes, "{path}");
            } else {
                fs::write(&file, bytes).unwrap();
            }
        }
    }
    assert_serves(&mirror, &place.election, 1_300);
    assert_eq!(place.copied(), all);
}

// SPEC [Y7]
#[test]
fn a_start_looks_through_the_copy() {
    let place = Place::new(1_300, 1_300);
    place.pull().unwrap();
    let all = files(&place.election, 1_300);
    let pull = ["mirror", "pull", "m", "-p", "policy", "--once", "--from", &place.log.url];
    for (path, bytes) in all.iter().filter(|(path, _)| *path != "checkpoint") {
        let file = place.copy().join(path);
        let mut damaged = bytes.clone();
        damaged[bytes.len() / 3] ^= 0x20;
        fs::write(&file, damaged).unwrap();
        let standing = place.pull().unwrap();
        assert_eq!(standing.written, 1, "{path}");
        assert_eq!(fs::read(&file).unwrap(), *bytes, "{path}");
    }
    // All of it at once, and what is left of a process that was killed.
    for path in all.keys().filter(|path| *path != "checkpoint") {
        fs::remove_file(place.copy().join(path)).unwrap();
    }
    fs::write(place.copy().join("tile/0/000.tmp"), b"half").unwrap();
    jejak(place.dir.path(), &pull).exit(0);
    assert_eq!(place.copied(), all);
    // A source that does not have it either changes nothing, and the rest is served.
    let file = place.copy().join("tile/entries/001");
    fs::remove_file(&file).unwrap();
    place.log.remove("tile/entries/001");
    let ended = jejak(place.dir.path(), &pull).exit(1);
    assert!(ended.stderr.contains("tile/entries/001"), "{}", ended.stderr);
    let mirror = place.mirror();
    served(&mirror, "tile/entries/001").refused(500, "internal", "the lost bundle");
    assert_eq!(served(&mirror, "tile/entries/002").status, 200);
}

// SPEC [Y7]
#[test]
fn what_is_new_is_pulled_also_where_what_is_old_cannot_be_mended() {
    let place = Place::new(1_300, 700);
    place.pull().unwrap();
    fs::write(place.copy().join("tile/entries/000"), b"rubbish").unwrap();
    let mirror = place.mirror();
    place.show(1_300);
    place.log.remove("tile/entries/000");
    let error = look(&mirror).unwrap_err().to_string();
    assert!(error.contains("tile/entries/000"), "{error}");
    for (path, bytes) in files(&place.election, 1_300) {
        match path.as_str() {
            "tile/entries/000" => served(&mirror, &path).refused(500, "internal", "damaged"),
            _ => assert_eq!(served(&mirror, &path).body, bytes, "{path}"),
        }
    }
    place.show(1_300);
    look(&mirror).unwrap();
    assert_eq!(place.copied(), files(&place.election, 1_300));
}

// SPEC [Y3]
#[test]
fn a_head_that_is_gone_is_not_forgotten_either() {
    let place = Place::new(400, 300);
    place.pull().unwrap();
    let file = place.copy().join("checkpoint");
    let record = place.mirror_dir().join("heads").join(super::place::id().to_string());
    let pull = ["mirror", "pull", "m", "-p", "policy", "--once"];
    for size in [300, 400] {
        place.show(size);
        jejak(place.dir.path(), &pull).exit(0);
        let note = fs::read(&file).unwrap();
        assert_eq!(fs::read(&record).unwrap(), note);
        fs::remove_file(&file).unwrap();
        let ended = jejak(place.dir.path(), &pull).exit(70);
        assert!(ended.stderr.contains("copy m/heads/"), "{}", ended.stderr);
        assert!(!file.exists());
        fs::copy(&record, &file).unwrap();
        jejak(place.dir.path(), &pull).exit(0);
    }
    // A copy that is older than its record, or than records, is taken as it is.
    fs::remove_file(&record).unwrap();
    jejak(place.dir.path(), &pull).exit(0);
    assert_eq!(fs::read(&record).unwrap(), fs::read(&file).unwrap());
}

#[test]
fn a_head_that_is_damaged_is_not_forgotten_in_silence() {
    let place = Place::new(300, 300);
    place.pull().unwrap();
    let file = place.copy().join("checkpoint");
    let note = fs::read(&file).unwrap();
    let pull = ["mirror", "pull", "m", "-p", "policy", "--once", "--from", &place.log.url];
    for damage in [&b""[..], &note[..note.len() - 9], b"junk"] {
        fs::write(&file, damage).unwrap();
        let ended = jejak(place.dir.path(), &pull).exit(70);
        assert!(ended.stderr.contains("checkpoint"), "{}", ended.stderr);
        assert_eq!(fs::read(&file).unwrap(), damage);
    }
    fs::write(&file, &note).unwrap();
    jejak(place.dir.path(), &pull).exit(0);
}
