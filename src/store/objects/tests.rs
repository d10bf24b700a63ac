use std::fs;

use tempfile::TempDir;

use super::*;
use crate::store::Action;

const LEAVES: ObjectId = ObjectId::Tile { level: 0, index: 0 };
const BUNDLE: ObjectId = ObjectId::Bundle { index: 1_234_067 };

fn open() -> (TempDir, Objects) {
    let dir = tempfile::tempdir().unwrap();
    let objects = Objects::open(dir.path());
    (dir, objects)
}

/// Every path below a directory, sorted.
fn listing(dir: &Path) -> Vec<String> {
    let mut paths = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(at) = open.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            paths.push(path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned());
            if path.is_dir() {
                open.push(path);
            }
        }
    }
    paths.sort();
    paths
}

fn damage(result: Result<Option<Vec<u8>>, StoreError>) -> (u64, Damage) {
    match result {
        Err(StoreError::Damaged { offset, damage, .. }) => (offset, damage),
        other => panic!("{other:?}"),
    }
}

#[test]
fn names_are_those_of_tlog_tiles() {
    assert_eq!(LEAVES.path(), "tile/0/000");
    assert_eq!(ObjectId::Tile { level: 2, index: 1067 }.path(), "tile/2/x001/067");
    assert_eq!(BUNDLE.path(), "tile/entries/x001/x234/067");
}

#[test]
fn reads_what_was_published_and_nothing_else() {
    let (dir, objects) = open();
    let tile: Vec<u8> = (0..8192_u32).map(|n| n as u8).collect();
    objects.publish(256, [(LEAVES, &tile), (BUNDLE, &b"entries".to_vec())]).unwrap();
    assert_eq!(objects.read(LEAVES).unwrap().unwrap(), tile);
    assert_eq!(objects.read(BUNDLE).unwrap().unwrap(), b"entries");
    assert_eq!(fs::read(dir.path().join("tile/0/000")).unwrap(), tile);
    assert_eq!(objects.read_range(LEAVES, 8160, 32).unwrap().unwrap(), &tile[8160..]);
    assert_eq!(objects.read_range(BUNDLE, 3, 4).unwrap().unwrap(), b"ries");
    assert_eq!(objects.read_range(BUNDLE, 7, 0).unwrap().unwrap(), b"");
    for missing in [ObjectId::Bundle { index: 0 }, ObjectId::Tile { level: 1, index: 0 }] {
        assert_eq!(objects.read(missing).unwrap(), None);
        assert_eq!(objects.read_range(missing, 0, 1).unwrap(), None);
    }
    assert_eq!(fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
}

#[test]
fn what_cannot_be_read_is_an_error_with_its_path_and_not_missing() {
    let (dir, objects) = open();
    let path = dir.path().join("tile/0/000");
    fs::create_dir_all(&path).unwrap();
    for result in [objects.read(LEAVES), objects.read_range(LEAVES, 0, 32)] {
        let error = result.unwrap_err();
        assert!(error.to_string().contains("tile/0/000"), "{error}");
    }
    fs::remove_dir(&path).unwrap();
    fs::remove_dir(dir.path().join("tile/0")).unwrap();
    fs::write(dir.path().join("tile/0"), "a file where a directory belongs").unwrap();
    let error = objects.read(LEAVES).unwrap_err();
    assert!(matches!(error, StoreError::Io { action: Action::Read, .. }), "{error:?}");
    assert!(objects.known_size().is_err());
}

#[test]
fn lengths_are_checked() {
    let (dir, objects) = open();
    let path = dir.path().join("tile/0/000");
    for (got, offset) in [(0, 0), (8191, 8191), (8193, 8192)] {
        objects.publish(256, [(LEAVES, vec![7; got as usize])]).unwrap();
        let want = (offset, Damage::Length { got, want: 8192 });
        assert_eq!(damage(objects.read(LEAVES)), want);
        assert_eq!(damage(objects.read_range(LEAVES, 0, 32)), want);
        assert_eq!(fs::metadata(&path).unwrap().len(), got);
    }
    objects.publish(0, [(BUNDLE, "entries")]).unwrap();
    let short = Damage::Length { got: 7, want: 8 };
    assert_eq!(damage(objects.read_range(BUNDLE, 0, 8)), (7, short));
    let absurd = damage(objects.read_range(BUNDLE, u64::MAX, 8));
    assert_eq!(absurd, (7, Damage::Length { got: 7, want: u64::MAX }));
}

#[test]
fn sync_says_how_much_is_durable() {
    let (_dir, objects) = open();
    assert_eq!(objects.sync().unwrap(), 0);
    objects.publish(256, [(LEAVES, vec![0; 8192])]).unwrap();
    objects.publish(300, std::iter::empty::<(ObjectId, Vec<u8>)>()).unwrap();
    assert_eq!(objects.sync().unwrap(), 300);
    // Start-up publishes old objects again: what is durable stays so.
    objects.publish(256, [(LEAVES, vec![0; 8192])]).unwrap();
    assert_eq!(objects.sync().unwrap(), 300);
    objects.put_checkpoint(b"note").unwrap();
    assert_eq!(objects.sync().unwrap(), 300);
    objects.publish(600, [(LEAVES, vec![0; 8192])]).unwrap();
    objects.publish(512, [(LEAVES, vec![0; 8192])]).unwrap();
    assert_eq!(objects.sync().unwrap(), 600);
}

/// The lists that a sync works through are all that stands between a rename and a power cut.
#[test]
fn sync_covers_every_file_and_every_directory_above_it() {
    let (dir, objects) = open();
    // The directories exist, but nobody knows whether their names are durable.
    fs::create_dir_all(dir.path().join("tile/entries/x001")).unwrap();
    objects.publish(1, [(BUNDLE, "entries")]).unwrap();
    let under = |names: &[&str]| names.iter().map(|name| dir.path().join(name)).collect::<Vec<_>>();
    {
        let pending = objects.pending();
        assert_eq!(pending.files, under(&["tile/entries/x001/x234/067"]));
        let mut dirs =
            under(&["tile", "tile/entries", "tile/entries/x001", "tile/entries/x001/x234"]);
        dirs.insert(0, dir.path().to_owned());
        assert_eq!(pending.dirs.iter().cloned().collect::<Vec<_>>(), dirs);
    }
    objects.sync().unwrap();
    let index = 1_234_068;
    objects.publish(2, [(ObjectId::Bundle { index }, "more")]).unwrap();
    objects.put_checkpoint(b"note").unwrap();
    let pending = objects.pending();
    assert_eq!(pending.files, under(&["tile/entries/x001/x234/068", "checkpoint"]));
    let dirs: Vec<_> = pending.dirs.iter().cloned().collect();
    assert_eq!(dirs, [dir.path().to_owned(), dir.path().join("tile/entries/x001/x234")]);
}

#[test]
fn sync_refuses_for_ever_after_it_failed() {
    let (dir, objects) = open();
    objects.publish(256, [(LEAVES, vec![0; 8192])]).unwrap();
    fs::remove_file(dir.path().join("tile/0/000")).unwrap();
    assert!(matches!(objects.sync(), Err(StoreError::Io { .. })));
    objects.publish(256, [(LEAVES, vec![0; 8192])]).unwrap();
    assert!(matches!(objects.sync(), Err(StoreError::PreviousIo)));
}

#[test]
fn sync_refuses_after_a_publication_failed() {
    let (dir, objects) = open();
    fs::write(dir.path().join("tile"), "in the way").unwrap();
    objects.publish(256, [(LEAVES, vec![0; 8192])]).unwrap_err();
    fs::remove_file(dir.path().join("tile")).unwrap();
    objects.publish(512, [(ObjectId::Tile { level: 0, index: 1 }, vec![0; 8192])]).unwrap();
    assert!(matches!(objects.sync(), Err(StoreError::PreviousIo)));
}

#[test]
fn opening_touches_nothing_and_leftovers_go_when_asked() {
    let (dir, objects) = open();
    assert_eq!(listing(dir.path()), [""; 0]);
    assert_eq!(objects.remove_leftovers().unwrap(), 0);
    assert_eq!(listing(dir.path()), [""; 0]);

    objects.publish(256, [(LEAVES, vec![0; 8192])]).unwrap();
    objects.put_checkpoint(b"note").unwrap();
    let own = format!("{}.0", process::id());
    for leftover in [&own, "17.0", "half a tile"] {
        fs::write(dir.path().join("tmp").join(leftover), "half").unwrap();
    }
    let after_crash = Objects::open(dir.path());
    let before = listing(dir.path());
    assert_eq!(after_crash.known_size().unwrap(), 256);
    assert_eq!(after_crash.checkpoint().unwrap().unwrap(), b"note");
    assert_eq!(listing(dir.path()), before);
    // A temporary name that a crash left is no obstacle either.
    after_crash.put_checkpoint(b"newer").unwrap();
    assert_eq!(after_crash.remove_leftovers().unwrap(), 2);
    assert_eq!(
        listing(dir.path()),
        ["checkpoint", "tile", "tile/0", "tile/0/000", "tmp"],
        "named files stay"
    );
    assert_eq!(after_crash.checkpoint().unwrap().unwrap(), b"newer");
}

#[test]
fn registers_are_kept_by_hash_and_checked() {
    let (dir, objects) = open();
    assert_eq!(objects.register(&sha256(b"units")).unwrap(), None);
    let hash = objects.put_register(b"units").unwrap();
    assert_eq!(objects.put_register(b"units").unwrap(), hash);
    // SHA-256 of "units", from coreutils' sha256sum.
    let name = "c981a30c0e7b420b0ba50ce7d1d4174a511fdf20567b852ab02c774cb9a3591e";
    assert_eq!(hash.to_string(), name);
    assert_eq!(objects.register(&hash).unwrap().unwrap(), b"units");
    let path = dir.path().join("register").join(name);
    assert_eq!(fs::read(&path).unwrap(), b"units");
    fs::write(path, b"unitz").unwrap();
    assert_eq!(damage(objects.register(&hash)), (0, Damage::Hash));
}

#[test]
fn known_size_is_that_of_the_last_full_tile_or_bundle() {
    let (dir, objects) = open();
    assert_eq!(objects.known_size().unwrap(), 0);
    for (path, want) in [
        ("tile/1/x005/000", 0),
        ("tile/0/002", 3),
        ("tile/0/000.p/17", 3),
        ("tile/0/999.tmp", 3),
        ("tile/0/9999", 3),
        ("tile/0/+99", 3),
        ("tile/entries/001", 3),
        ("tile/entries/999", 1000),
        ("tile/0/x001/000", 1001),
        ("tile/0/x001/x234/067", 1_234_068),
        ("tile/entries/x009/999", 1_234_068),
    ] {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "").unwrap();
        assert_eq!(objects.known_size().unwrap(), 256 * want, "{}", path.display());
    }
    let deep = "tile/0/x999/x999/x999/x999/x999/x999/x999/999";
    fs::create_dir_all(dir.path().join(deep)).unwrap();
    assert_eq!(objects.known_size().unwrap(), 256 * 1_234_068, "no such index");
}
