//! Damaged directories, served for reading: what verifies is served, and nothing else.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileExt as _,
};

use jejak::{
    log::{Log, OpenError, Options, ReadError},
    server::limits::Limits,
    store::BLOCK_LEN,
};

use crate::{
    directory::{Directory, OPTIONS, check, fill},
    election::{election, entry},
    fixture::Fixture,
    program::{Serving, jejak},
};

const SIZE: u64 = 700;

/// What a killed process leaves of a log of 700 entries, and nothing that only a writer needs.
async fn image() -> Directory {
    let directory = Directory::new();
    let log = directory.open().unwrap();
    fill(&log, election(), 650).await;
    fill(&log, election(), SIZE).await;
    let image = directory.crash();
    log.close().unwrap();
    image
}

fn entries() -> Vec<Vec<u8>> {
    (0..SIZE).map(entry).collect()
}

fn reading(directory: &Directory) -> Log {
    let before = directory.files();
    let log = directory.open_with(&Options { read_only: true, ..OPTIONS }).unwrap();
    assert!(directory.files() == before, "it was changed");
    assert!(!log.status().accepting);
    log
}

fn flip(directory: &Directory, name: &str, at: usize) {
    let path = directory.log().join(name);
    let mut bytes = fs::read(&path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn remove(directory: &Directory, name: &str) {
    let path = directory.log().join(name);
    if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
}

/// Flips a byte in the last record of the journal, or in the first.
fn flip_record(directory: &Directory, last: bool) {
    let segments = fs::read_dir(directory.log().join("journal")).unwrap();
    let mut places = Vec::new();
    for path in segments.map(|segment| segment.unwrap().path()) {
        let bytes = fs::read(&path).unwrap();
        let blocks = bytes.chunks(BLOCK_LEN as usize).zip((0..).step_by(BLOCK_LEN as usize));
        let records = blocks.filter(|(block, _)| block.starts_with(b"\x89jejakR1"));
        places.extend(records.map(|(block, at)| (path.clone(), at + 150, !block[150])));
    }
    places.sort();
    let place = if last { places.last() } else { places.first() };
    let (path, at, byte) = place.unwrap();
    OpenOptions::new().write(true).open(path).unwrap().write_all_at(&[*byte], *at).unwrap();
}

#[tokio::test]
async fn what_can_be_made_again_is() {
    let image = image().await;
    check(&reading(&image), &entries());
    for what in ["derived", "journal-first", "tile/0/001", "tile/entries/000", "keys"] {
        let directory = image.crash();
        match what {
            "journal-first" => flip_record(&directory, false),
            "derived" => fs::create_dir_all(directory.log().join("derived")).unwrap(),
            "keys" => assert!(!directory.path().join("keys/log").exists()),
            name => remove(&directory, name),
        }
        let log = reading(&directory);
        assert_eq!(log.published().head.size, SIZE, "{what}");
        let receipt = log.receipt(SIZE - 1).unwrap().unwrap();
        crate::oracle::receipt(&receipt, &entry(SIZE - 1), &election().policy);
        assert_eq!(log.entry(SIZE - 1).unwrap().unwrap(), entry(SIZE - 1), "{what}");
    }
}

#[tokio::test]
async fn a_damaged_tile_takes_nothing_else_with_it() {
    let image = image().await;
    flip(&image, "tile/0/001", 3 * 32);
    let log = reading(&image);
    let error = log.entry(256 + 3).unwrap_err();
    assert!(matches!(&error, ReadError::Damaged(name) if name == "tile/0/001"), "{error}");
    assert_eq!(log.entry(5).unwrap().unwrap(), entry(5));
    assert!(log.receipt(SIZE - 1).unwrap().is_some());
    assert!(matches!(log.index_of(&crate::oracle::leaf(&entry(5))), Err(ReadError::Lost(_))));
    let fixture = Fixture::serve(image, log, Limits::default());
    for path in ["tile/0/001", "tile/0/001.p/9", "tile/entries/001", "entry/259"] {
        fixture.get(&format!("/test/{path}")).await.refused(500, "internal", path);
    }
    for path in ["proof/inclusion/700/300", "proof/consistency/260/700", "proof/batch/700/1,259"] {
        fixture.get(&format!("/test/{path}")).await.refused(500, "internal", path);
    }
    for path in ["tile/0/000", "tile/entries/000", "proof/inclusion/700/3", "receipt/699"] {
        assert_eq!(fixture.get(&format!("/test/{path}")).await.status, 200, "{path}");
    }
    let leaf = crate::oracle::leaf(&entry(5));
    fixture.get(&format!("/test/leaf/{leaf}")).await.refused(503, "unavailable", "leaf");
    let reply = fixture.post("/test/entries", "text/plain", entry(701)).await;
    reply.refused(503, "unavailable", "a submission");
}

#[tokio::test]
async fn without_its_right_edge_a_log_serves_full_tiles() {
    let image = image().await;
    for what in ["journal", "last record"] {
        let directory = image.crash();
        match what {
            "journal" => remove(&directory, "journal"),
            _ => flip_record(&directory, true),
        }
        let log = reading(&directory);
        let fixture = Fixture::serve(directory, log, Limits::default());
        assert_eq!(fixture.get("/test/checkpoint").await.status, 200);
        for path in ["tile/0/000", "tile/0/001", "tile/entries/001", "entry/511"] {
            assert_eq!(fixture.get(&format!("/test/{path}")).await.status, 200, "{what} {path}");
        }
        for path in ["tile/0/002.p/188", "tile/entries/002.p/2", "entry/600", "receipt/1"] {
            let reply = fixture.get(&format!("/test/{path}")).await;
            reply.refused(503, "unavailable", path);
        }
        for path in ["tile/0/003", "tile/0/002.p/189", "entry/700"] {
            fixture.get(&format!("/test/{path}")).await.refused(404, "not_found", path);
        }
        // Two files that agree are served, one alone is not.
        flip(&fixture.directory, "tile/0/000", 9);
        fixture.get("/test/tile/0/000").await.refused(500, "internal", what);
        assert!(fixture.get("/test/log.json").await.json()["manifest"].is_null());
    }
}

#[tokio::test]
async fn without_a_checkpoint_that_verifies_nothing_is_served() {
    let image = image().await;
    for bytes in [None, Some(&b""[..]), Some(b"log.example/test\n")] {
        let directory = image.crash();
        match bytes {
            None => remove(&directory, "checkpoint"),
            Some(bytes) => fs::write(directory.log().join("checkpoint"), bytes).unwrap(),
        }
        let error = directory.open_with(&Options { read_only: true, ..OPTIONS }).unwrap_err();
        assert!(matches!(error, OpenError::Read(_) | OpenError::Checkpoint(_)), "{error}");
    }
}

#[test]
fn the_program_serves_a_damaged_directory_without_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fs::copy(crate::program::root().join("examples/units.csv"), dir.join("units.csv")).unwrap();
    let init = ["init", "log", "--origin", "log.example/2024", "--units", "units.csv"];
    jejak(dir, &[&init[..], &["--contest", "ppwp=01,02"]].concat()).exit(0);
    fs::remove_dir_all(dir.join("log/keys")).unwrap();
    let segment = dir.join("log/log/journal/00000000000000000000");
    let file = OpenOptions::new().write(true).open(segment).unwrap();
    file.write_all_at(&[0xff], 0).unwrap();
    Serving::with(dir, &["serve", "log", "--read-only", "--listen", "127.0.0.1:0"]);
}
