//! Whatever a source says, the mirror serves what it served before.

use std::fs;

use bytes::Bytes;
use jejak::{audit::PullError, mirror::RoundError};
use jejak_proofs::{
    evidence::Evidence,
    merkle::{TreeHead, sha256},
    note::{Checkpoint, KeyKind, SigningKey},
};

use super::place::{Place, assert_serves, files, look, served};
use crate::{audit_log::ORIGIN, program::jejak};

fn error(result: Result<jejak::mirror::Standing, RoundError>) -> PullError {
    match result.unwrap_err() {
        RoundError::Pull { error, .. } => error,
        other => panic!("{other}"),
    }
}

/// What a source can do to a file.
const LIES: [fn(&mut Vec<u8>); 4] = [
    |bytes| bytes[0] ^= 1,
    |bytes| *bytes.last_mut().unwrap() ^= 0x80,
    |bytes| bytes.truncate(bytes.len() - 1),
    |bytes| bytes.push(7),
];

// SPEC [Y1] [Y3] [Y4]
#[test]
fn a_lie_at_any_place_changes_nothing() {
    let place = Place::new(1_300, 300);
    let before = files(&place.election, 1_300);
    let old = files(&place.election, 300);
    let new: Vec<&String> = before.keys().filter(|path| !old.contains_key(*path)).collect();
    assert!(new.len() > 10, "{new:?}");
    for path in new {
        for number in 0..=LIES.len() {
            place.show(300);
            let mirror = place.mirror();
            look(&mirror).unwrap();
            place.show(1_300);
            match LIES.get(number) {
                Some(lie) => place.log.change(path, lie),
                None => place.log.remove(path),
            }
            let error = error(look(&mirror));
            assert!(matches!(error, PullError::Withheld { .. }), "{path}: {error}");
            assert_serves(&mirror, &place.election, 300);
            // Nothing that is there is a lie, and what was fetched is not fetched again.
            for (path, bytes) in place.copied() {
                if path != "checkpoint" && before.contains_key(&path) {
                    assert_eq!(bytes, before[&path], "{path}");
                }
            }
            place.show(1_300);
            look(&mirror).unwrap();
            assert_serves(&mirror, &place.election, 1_300);
            drop(mirror);
            fs::remove_dir_all(place.mirror_dir()).unwrap();
        }
    }
}

#[test]
fn a_first_pull_that_was_lied_to_serves_nothing() {
    for size in [1, 257] {
        let place = Place::new(size, size);
        for path in files(&place.election, size).into_keys().filter(|path| path != "checkpoint") {
            let mirror = place.mirror();
            place.log.change(&path, LIES[0]);
            let error = error(look(&mirror));
            assert!(matches!(error, PullError::Withheld { .. } | PullError::Genesis(_)), "{error}");
            assert_eq!(served(&mirror, "checkpoint").status, 404, "{path}");
            assert_eq!(served(&mirror, "tile/0/000.p/1").status, 404, "{path}");
            place.show(size);
            look(&mirror).unwrap();
            assert_serves(&mirror, &place.election, size);
            drop(mirror);
            fs::remove_dir_all(place.mirror_dir()).unwrap();
        }
    }
}

/// A checkpoint that the log signed over this head.
fn signed(place: &Place, size: u64, root: jejak_proofs::merkle::Hash) -> Vec<u8> {
    Checkpoint::sign(TreeHead { size, root }, &place.election.key).unwrap().note().into()
}

fn show_head(place: &Place, note: Vec<u8>) {
    place.log.answers().files.insert("checkpoint".to_owned(), note);
}

// SPEC [Y3]
#[test]
fn heads_that_are_not_the_logs_change_nothing() {
    let place = Place::new(700, 300);
    let mirror = place.mirror();
    look(&mirror).unwrap();
    place.show(700);
    let head = TreeHead { size: 700, root: place.election.tree(700).root() };
    let other = SigningKey::from_seed(ORIGIN, KeyKind::Ed25519, [9; 32]).unwrap();
    show_head(&place, Checkpoint::sign(head, &other).unwrap().note().into());
    assert!(matches!(error(look(&mirror)), PullError::Signature(_)));
    let mut note = signed(&place, 700, head.root);
    let last = note.len() - 10;
    note[last] ^= 1;
    show_head(&place, note);
    assert!(matches!(error(look(&mirror)), PullError::Signature(_) | PullError::NotTheLog(_)));
    let other = SigningKey::from_seed("log.example/other", KeyKind::Ed25519, [3; 32]).unwrap();
    show_head(&place, Checkpoint::sign(head, &other).unwrap().note().into());
    assert!(matches!(error(look(&mirror)), PullError::NotTheLog(_)));
    for junk in [b"".to_vec(), b"<html>".to_vec(), vec![b'a'; 300_000]] {
        show_head(&place, junk);
        assert!(matches!(error(look(&mirror)), PullError::NotTheLog(_)));
    }
    place.log.remove("checkpoint");
    assert!(matches!(error(look(&mirror)), PullError::NotTheLog(_)));
    // Signed, but the files lead to another root.
    show_head(&place, signed(&place, 700, sha256(b"another")));
    assert!(matches!(error(look(&mirror)), PullError::Withheld { .. }));
    assert_serves(&mirror, &place.election, 300);
}

/// A log may sign whatever size it likes; only what it serves can be copied.
#[test]
fn a_head_of_more_entries_than_there_can_be_ends_at_the_first_file_that_is_missing() {
    // RFC 6962: the root of a full tree whose leaves are all one hash.
    let mut root = sha256(b"a leaf");
    for _ in 0..40 {
        root = sha256(&[&[1][..], root.as_bytes(), root.as_bytes()].concat());
    }
    for begins in [true, false] {
        let place = Place::new(300, 300);
        let mirror = place.mirror();
        if !begins {
            look(&mirror).unwrap();
        }
        show_head(&place, signed(&place, 1 << 40, root));
        let edge = root.as_bytes().to_vec();
        place.log.answers().files.insert("tile/5/000.p/1".to_owned(), edge);
        let error = error(look(&mirror));
        assert!(matches!(error, PullError::Withheld { .. }), "{error}");
        assert!(place.log.answers().asked.len() < 100);
    }
    // What reads the entries of a log under such a head ends so too.
    let place = Place::new(300, 300);
    show_head(&place, signed(&place, 1 << 40, root));
    let monitor = ["monitor", "-p", "policy", "--url", &place.log.url, "--once", "--state", "seen"];
    let ended = jejak(place.dir.path(), &monitor);
    assert!((1..100).contains(&ended.status), "{} {}", ended.status, ended.stderr);
}

// SPEC [Y5]
#[test]
fn a_head_that_contradicts_the_copy_is_kept_and_changes_nothing() {
    let place = Place::new(700, 500);
    let mirror = place.mirror();
    look(&mirror).unwrap();
    let mut other = crate::audit_log::Election::new(700);
    other.entries[300] = Bytes::from_static(b"a count that was changed");
    // The same size, a larger one, and a smaller one, of another history.
    for (size, name) in
        [(500, "two-roots-500"), (700, "inconsistent-700"), (400, "inconsistent-500")]
    {
        place.log.answers().files = files(&other, size);
        let error = look(&mirror).unwrap_err();
        let RoundError::Pull { error: PullError::Fork(_), kept: Some(kept) } = error else {
            panic!("{size}: {error}");
        };
        assert!(kept.contains(name), "{kept}");
        let evidence = fs::read(place.mirror_dir().join(&kept)).unwrap();
        let evidence = Evidence::parse(&evidence).unwrap();
        evidence.verify_under(&place.election.policy).unwrap();
        assert_serves(&mirror, &place.election, 500);
    }
    // A smaller one of the same history is only old: it convicts nobody offline.
    place.show(400);
    let error = look(&mirror).unwrap_err();
    let RoundError::Pull { error: PullError::Rollback { size: 500, .. }, kept: Some(kept) } = error
    else {
        panic!("{error}");
    };
    assert!(kept.starts_with("reports/"), "{kept}");
    assert_serves(&mirror, &place.election, 500);
    assert_eq!(place.copied(), files(&place.election, 500), "no file of the other history");
    // It is named, and the program ends with 16; an honest log is followed again.
    drop(mirror);
    let pull = ["mirror", "pull", "m", "-p", "policy", "--once", "--from", &place.log.url];
    let ended = jejak(place.dir.path(), &pull).exit(16);
    assert!(ended.stderr.contains("ROLLBACK"), "{}", ended.stderr);
    place.log.answers().files = files(&other, 700);
    let ended = jejak(place.dir.path(), &pull).exit(16);
    assert!(ended.stderr.contains("FORK") && ended.stderr.contains("kept as evidence/"));
    place.show(700);
    jejak(place.dir.path(), &pull).exit(0);
    assert_eq!(place.copied(), files(&place.election, 700));
}

// SPEC [Y5]
#[test]
fn another_mirror_that_has_less_is_only_behind() {
    let place = Place::new(700, 500);
    place.pull().unwrap();
    let other = crate::monitor::fake::Fake::of(files(&place.election, 400));
    let pull = ["mirror", "pull", "m", "-p", "policy", "--once", "--from", &other.url];
    let ended = jejak(place.dir.path(), &pull).exit(75);
    assert!(ended.stderr.contains("is behind: it has 400 entries"), "{}", ended.stderr);
    assert!(!place.mirror_dir().join("reports").exists());
    // Another history is one wherever it is shown.
    let mut fork = crate::audit_log::Election::new(700);
    fork.entries[300] = Bytes::from_static(b"a count that was changed");
    other.answers().files = files(&fork, 400);
    jejak(place.dir.path(), &pull).exit(16);
    other.answers().files = files(&place.election, 700);
    jejak(place.dir.path(), &pull).exit(0);
    assert_eq!(place.copied(), files(&place.election, 700));
}

#[test]
fn a_fork_is_named_also_where_its_evidence_cannot_be_kept() {
    let place = Place::new(500, 500);
    let mirror = place.mirror();
    look(&mirror).unwrap();
    let mut fork = crate::audit_log::Election::new(500);
    fork.entries[300] = Bytes::from_static(b"a count that was changed");
    place.log.answers().files = files(&fork, 500);
    fs::write(place.mirror_dir().join("evidence"), b"").unwrap();
    let error = look(&mirror).unwrap_err();
    let forked = matches!(error, RoundError::Pull { error: PullError::Fork(_), kept: None });
    assert!(forked, "{error}");
}

#[test]
fn a_mirror_that_cannot_write_ends() {
    let place = Place::new(300, 300);
    fs::create_dir_all(place.copy()).unwrap();
    fs::write(place.copy().join("tile"), b"where a directory must be").unwrap();
    let pull = ["mirror", "pull", "m", "-p", "policy", "--every", "1s"];
    let ended = jejak(place.dir.path(), &pull).exit(70);
    assert!(ended.stderr.contains("could not be written"), "{}", ended.stderr);
}

#[test]
fn no_more_than_sixteen_files_of_a_kind_are_kept() {
    let place = Place::new(100, 100);
    let mirror = place.mirror();
    look(&mirror).unwrap();
    for size in 50..80 {
        place.show(size);
        look(&mirror).unwrap_err();
    }
    let reports = place.mirror_dir().join("reports").join(super::place::id().to_string());
    assert_eq!(fs::read_dir(reports).unwrap().count(), 16);
}

// SPEC [Y3]
#[test]
fn a_tree_that_begins_with_another_entry_is_not_taken() {
    let place = Place::new(300, 300);
    let mut other = crate::audit_log::Election::new(300);
    other.entries[0] = Bytes::from_static(b"jejak/manifest/v1\n{}\n");
    place.log.answers().files = files(&other, 300);
    let mirror = place.mirror();
    assert!(matches!(error(look(&mirror)), PullError::Genesis(_)));
    assert_eq!(served(&mirror, "checkpoint").status, 404);
}
