//! A mirror of an honest log serves what the log serves, byte for byte.

use jejak_proofs::merkle::push_entry;

use super::place::{Place, asked, assert_serves, files, id, look, served};

/// Sizes at which tiles and bundles begin, end and become full.
const SIZES: [u64; 9] = [1, 2, 255, 256, 257, 511, 512, 513, 1_300];

// SPEC [Y1] [Y2]
#[test]
fn what_is_served_is_byte_equal_at_every_size_however_it_came_there() {
    // Grown from size to size, also over restarts.
    let place = Place::new(1_300, 1);
    let mut mirror = place.mirror();
    for (step, size) in SIZES.into_iter().enumerate() {
        if step % 3 == 2 {
            drop(mirror);
            mirror = place.mirror();
        }
        place.show(size);
        let standing = look(&mirror).unwrap();
        let root = place.election.tree(size).root();
        assert_eq!(standing.head.map(|head| (head.size, head.root)), Some((size, root)));
        assert_serves(&mirror, &place.election, size);
        // The directory is a static copy: nothing else is in it, and nothing is missing.
        assert_eq!(place.copied(), files(&place.election, size), "size {size}");
        assert!(place.check().findings.is_empty(), "size {size}");
    }
    // And at once.
    for size in SIZES {
        let place = Place::new(size, size);
        let mirror = place.mirror();
        look(&mirror).unwrap();
        assert_serves(&mirror, &place.election, size);
        assert_eq!(place.copied(), files(&place.election, size), "size {size}");
    }
}

#[test]
fn a_tree_of_three_levels_is_copied_too() {
    let place = Place::new(65_793, 65_536);
    let mirror = place.mirror();
    look(&mirror).unwrap();
    assert_eq!(place.copied(), files(&place.election, 65_536));
    place.show(65_793);
    look(&mirror).unwrap();
    assert_eq!(place.copied(), files(&place.election, 65_793));
    let paths = ["tile/2/000.p/1", "tile/1/000", "tile/1/001.p/1", "tile/0/256", "tile/0/257.p/1"];
    for path in paths {
        assert_eq!(served(&mirror, path).body, files(&place.election, 65_793)[path], "{path}");
    }
    assert!(place.check().findings.is_empty());
}

// SPEC [Y6]
#[test]
fn every_width_is_served_and_no_other() {
    let place = Place::new(700, 700);
    let mirror = place.mirror();
    assert_eq!(served(&mirror, "checkpoint").status, 404, "nothing was copied yet");
    look(&mirror).unwrap();
    let leaves = &files(&place.election, 700);
    let full = [&leaves["tile/0/001"][..], &leaves["tile/0/002.p/188"]];
    for (index, bytes) in [("001", full[0]), ("002", full[1])] {
        for width in 1..=bytes.len() / 32 {
            if width == 256 {
                continue;
            }
            let tile = served(&mirror, &format!("tile/0/{index}.p/{width}"));
            assert_eq!(tile.body, bytes[..32 * width], "{index} {width}");
            let first = index.parse::<usize>().unwrap() * 256;
            let mut bundle = Vec::new();
            for entry in &place.election.entries[first..first + width] {
                push_entry(&mut bundle, entry).unwrap();
            }
            let reply = served(&mirror, &format!("tile/entries/{index}.p/{width}"));
            assert_eq!(reply.body, bundle, "{index} {width}");
        }
    }
    for path in [
        "tile/0/002.p/189",
        "tile/0/002",
        "tile/0/003.p/1",
        "tile/1/000",
        "tile/1/000.p/3",
        "tile/1/001.p/1",
        "tile/8/000.p/1",
        "tile/63/x018/x446/x744/x073/x709/x551/615",
        "tile/entries/002.p/189",
        "tile/entries/003",
        "tile/entries/x018/x446/x744/x073/x709/x551/615",
        "checkpoint/latest",
        &format!("register/{}", id()),
        "entry/0",
    ] {
        served(&mirror, path).refused(404, "not_found", path);
    }
    asked(&mirror, &format!("/{}/checkpoint", "0".repeat(64))).refused(404, "not_found", "a log");
    for path in ["tile/0/1", "tile/0/001.p/0", "tile/0/001.p/256", "tile/00/001", "tile/a/001"] {
        served(&mirror, path).refused(400, "malformed", path);
    }
    served(&mirror, "register/ABC").refused(400, "malformed", "a hash");
    served(&mirror, "checkpoint?").refused(400, "malformed", "a query");
}

// SPEC [Y9]
#[test]
fn types_caching_and_headers_are_those_of_the_log() {
    let place = Place::new(300, 300);
    let mirror = place.mirror();
    look(&mirror).unwrap();
    let year = "public, max-age=31536000, immutable";
    let bytes = "application/octet-stream";
    let register = files(&place.election, 300).into_keys().find(|p| p.starts_with("register/"));
    for (path, kind, caching, size) in [
        ("checkpoint", "text/plain; charset=utf-8", "max-age=1", Some("300")),
        ("tile/0/000", bytes, year, None),
        ("tile/entries/001.p/44", bytes, year, None),
        (&register.unwrap(), bytes, year, None),
    ] {
        let reply = served(&mirror, path);
        assert_eq!(reply.status, 200, "{path}");
        assert_eq!(reply.header("content-type"), Some(kind), "{path}");
        assert_eq!(reply.header("cache-control"), Some(caching), "{path}");
        assert_eq!(reply.header("jejak-size"), size, "{path}");
        assert_eq!(reply.header("access-control-allow-origin"), Some("*"), "{path}");
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{path}");
    }
    let logs = asked(&mirror, "/").json();
    assert_eq!(logs["logs"][0]["id"], id().to_string());
    assert_eq!(logs["logs"][0]["origin"], crate::audit_log::ORIGIN);
}

#[test]
fn only_what_is_new_is_asked_for() {
    let place = Place::new(2_000, 1_500);
    let mirror = place.mirror();
    look(&mirror).unwrap();
    place.log.answers().asked.clear();
    look(&mirror).unwrap();
    assert_eq!(place.log.answers().asked, ["checkpoint"], "nothing is new");
    place.show(1_510);
    look(&mirror).unwrap();
    let asked = std::mem::take(&mut place.log.answers().asked);
    assert!(asked.len() < 12, "{asked:?}");
    let bundles = asked.iter().filter(|path| path.starts_with("tile/entries/")).count();
    assert_eq!(bundles, 1, "{asked:?}");
    // A restart asks whether the source is there, reads the copy, and asks for nothing of it.
    drop(mirror);
    let standing = place.pull().unwrap();
    assert_eq!(standing.written, 0);
    assert_eq!(place.log.answers().asked, ["checkpoint"; 2]);
}
