//! `fsck --repair-from`: what is damaged is mended from elsewhere, and nothing else is touched.

use std::{
    fs,
    path::{Path, PathBuf},
};

use jejak::{
    audit::{self, Repaired, Source},
    client::{Fetch, FetchLimits},
    store::DirLock,
};
use tempfile::TempDir;

use super::place::{Files, files, walk};
use crate::{
    audit_log::{Election, SEGMENTS, Shape, TRIMMED, WHOLE_JOURNAL},
    monitor::fake::Fake,
    program::jejak,
};

const SIZE: u64 = 1_500;

/// A log on disk and a mirror of it.
struct Sick {
    election: Election,
    dir: TempDir,
    mirror: Fake,
    /// Every file, as it must be.
    sound: Files,
}

impl Sick {
    fn new(size: u64, shape: Shape) -> Self {
        let election = Election::new(size);
        let dir = tempfile::tempdir().unwrap();
        election.write(&dir.path().join("d"), shape);
        let mirror = Fake::of(files(&election, size));
        let mut sound = Files::new();
        walk(&dir.path().join("d"), "", &mut sound);
        sound.remove("log/lock");
        Self { election, dir, mirror, sound }
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("d")
    }

    fn path(&self, file: &str) -> PathBuf {
        self.log().join(file)
    }

    fn repair_from(&self, from: &Source) -> Repaired {
        let source = Source::directory(&self.log()).unwrap();
        audit::repair(&source, from, &self.election.policy, &|_, _| {}).unwrap()
    }

    fn repair(&self) -> Repaired {
        let fetch = Fetch::new(&self.mirror.url, &FetchLimits::default()).unwrap();
        self.repair_from(&Source::url(fetch))
    }

    /// The files that can be mended.
    fn mendable(&self) -> Vec<String> {
        let known =
            |file: &&String| file.starts_with("log/tile/") || file.starts_with("log/register/");
        self.sound.keys().filter(known).cloned().collect()
    }

    #[track_caller]
    fn assert_sound(&self) {
        let mut now = Files::new();
        walk(&self.log(), "", &mut now);
        now.remove("log/lock");
        assert!(now == self.sound, "every file is byte for byte what it was");
    }

    fn run(&self, from: &str) -> crate::program::Ended {
        jejak(self.dir.path(), &["fsck", "d", "--repair-from", from])
    }
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 8;
    fs::write(path, bytes).unwrap();
}

/// What a disk can do to a file.
const DAMAGE: [fn(&Path); 4] = [
    flip,
    |path| fs::remove_file(path).unwrap(),
    |path| fs::write(path, b"").unwrap(),
    |path| {
        let bytes = fs::read(path).unwrap();
        fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
    },
];

// SPEC [Y10]
#[test]
fn each_kind_of_damage_is_mended_byte_for_byte() {
    for shape in [WHOLE_JOURNAL, SEGMENTS, TRIMMED] {
        let sick = Sick::new(SIZE, shape);
        for file in sick.mendable() {
            for damage in DAMAGE {
                damage(&sick.path(&file));
                let repaired = sick.repair();
                assert_eq!(repaired.mended, [file.as_str()]);
                assert!(repaired.report.is_clean(), "{:?}", repaired.report.findings);
                sick.assert_sound();
            }
        }
        // All at once, and by the program.
        sick.mendable().iter().for_each(|file| flip(&sick.path(file)));
        let ended = sick.run(&sick.mirror.url).exit(0);
        assert_eq!(ended.stdout.matches("repaired ").count(), sick.mendable().len());
        sick.assert_sound();
        // Nothing is to be done, and nothing is.
        let repaired = sick.repair();
        assert!(repaired.mended.is_empty() && repaired.report.is_clean());
    }
}

#[test]
fn a_tree_of_two_levels_is_mended_from_the_top_down() {
    let sick = Sick::new(65_793, TRIMMED);
    let files = ["log/tile/1/000", "log/tile/0/007", "log/tile/entries/007", "log/tile/0/200"];
    files.iter().for_each(|file| flip(&sick.path(file)));
    let repaired = sick.repair();
    let mut want = files.to_vec();
    want.sort_unstable();
    assert_eq!(repaired.mended, want);
    assert!(repaired.report.is_clean());
    sick.assert_sound();
}

#[test]
fn another_directory_mends_too() {
    let sick = Sick::new(SIZE, TRIMMED);
    // A static copy, such as a mirror's, and the directory of a log.
    let copy = sick.dir.path().join("copy");
    for (path, bytes) in files(&sick.election, SIZE) {
        fs::create_dir_all(copy.join(&path).parent().unwrap()).unwrap();
        fs::write(copy.join(path), bytes).unwrap();
    }
    sick.election.write(&sick.dir.path().join("twin"), SEGMENTS);
    for from in ["copy", "twin"] {
        sick.mendable().iter().for_each(|file| flip(&sick.path(file)));
        sick.run(from).exit(0);
        sick.assert_sound();
    }
}

// SPEC [Y10]
#[test]
fn wrong_data_is_refused_and_what_nobody_has_is_named() {
    let sick = Sick::new(SIZE, TRIMMED);
    let lie: [fn(&mut Vec<u8>); 3] =
        [|bytes| bytes[40] ^= 1, |bytes| bytes.truncate(bytes.len() - 1), |bytes| bytes.clear()];
    let register = sick.mendable().into_iter().find(|file| file.starts_with("log/reg")).unwrap();
    for file in ["log/tile/entries/002", &register] {
        for lie in lie {
            sick.mirror.answers().files = files(&sick.election, SIZE);
            sick.mirror.change(&file[4..], lie);
            flip(&sick.path(file));
            flip(&sick.path("log/tile/0/003"));
            let damaged = fs::read(sick.path(file)).unwrap();
            let ended = sick.run(&sick.mirror.url).exit(1);
            assert!(ended.stdout.contains("repaired log/tile/0/003"), "{}", ended.stdout);
            assert!(ended.stdout.contains(file), "{}", ended.stdout);
            assert!(!ended.stdout.contains(&format!("repaired {file}")), "{}", ended.stdout);
            assert_eq!(fs::read(sick.path(file)).unwrap(), damaged, "left alone");
            fs::write(sick.path(file), &sick.sound[file]).unwrap();
        }
        // One that the mirror does not have.
        sick.mirror.answers().files = files(&sick.election, SIZE);
        sick.mirror.remove(&file[4..]);
        fs::remove_file(sick.path(file)).unwrap();
        let repaired = sick.repair();
        assert!(repaired.mended.is_empty());
        assert!(repaired.report.findings.iter().any(|finding| finding.file == file));
        assert!(!sick.path(file).exists());
        fs::write(sick.path(file), &sick.sound[file]).unwrap();
    }
    // A tile follows from its bundle, whatever the mirror says; with both gone it does not.
    sick.mirror.answers().files = files(&sick.election, SIZE);
    sick.mirror.change("tile/0/001", |bytes| bytes[0] ^= 1);
    flip(&sick.path("log/tile/0/001"));
    assert_eq!(sick.repair().mended, ["log/tile/0/001"]);
    flip(&sick.path("log/tile/0/001"));
    flip(&sick.path("log/tile/entries/001"));
    let repaired = sick.repair();
    assert!(repaired.mended.is_empty() && !repaired.report.is_clean());
}

#[test]
fn the_logs_own_files_are_left_alone() {
    let sick = Sick::new(SIZE, TRIMMED);
    let journal = sick.sound.keys().rfind(|file| file.starts_with("log/journal/")).unwrap();
    for file in [journal.as_str(), "log/checkpoint"] {
        let bytes = fs::read(sick.path(file)).unwrap();
        let mut damaged = bytes.clone();
        damaged[40] ^= 1;
        fs::write(sick.path(file), &damaged).unwrap();
        let ended = sick.run(&sick.mirror.url).exit(1);
        assert!(ended.stdout.contains(file), "{}", ended.stdout);
        assert_eq!(fs::read(sick.path(file)).unwrap(), damaged);
        fs::write(sick.path(file), bytes).unwrap();
    }
    sick.run(&sick.mirror.url).exit(0);
    sick.assert_sound();
}

/// The journal is the right edge. Where it is gone the mirror has the edge, and the signed root
/// says that it is the right one; the journal itself is not mended.
#[test]
fn a_lost_journal_does_not_keep_tiles_from_being_mended() {
    let sick = Sick::new(SIZE, TRIMMED);
    fs::rename(sick.path("log/journal"), sick.dir.path().join("aside")).unwrap();
    sick.mendable().iter().for_each(|file| flip(&sick.path(file)));
    // A wrong edge leads nowhere, and nothing is touched under it.
    sick.mirror.change("tile/1/000.p/5", |tile| tile[0] ^= 1);
    assert!(sick.repair().mended.iter().all(|file| file.starts_with("log/register/")));
    sick.mirror.answers().files = files(&sick.election, SIZE);
    let repaired = sick.repair();
    assert!(!repaired.report.is_clean(), "the journal is still gone");
    fs::rename(sick.dir.path().join("aside"), sick.path("log/journal")).unwrap();
    sick.assert_sound();
    // Without a signed head nothing is right.
    fs::remove_file(sick.path("log/checkpoint")).unwrap();
    flip(&sick.path("log/tile/0/001"));
    assert!(sick.repair().mended.is_empty());
}

#[test]
fn a_log_that_is_served_is_not_repaired() {
    let sick = Sick::new(300, TRIMMED);
    flip(&sick.path("log/tile/0/000"));
    let lock = DirLock::acquire(&sick.path("log")).unwrap();
    let ended = sick.run(&sick.mirror.url).exit(75);
    assert!(ended.stderr.contains("stop `jejak serve` first"), "{}", ended.stderr);
    // The same files by another name, and a copy of a mirror that is at work.
    let url = &sick.mirror.url;
    let mend = |place: &str| {
        jejak(sick.dir.path(), &["fsck", place, "-p", "d/policy", "--repair-from", url])
    };
    mend("d/log").exit(75);
    drop(lock);
    let copy = sick.dir.path().join("m/copy");
    for (path, bytes) in files(&sick.election, 300) {
        fs::create_dir_all(copy.join(&path).parent().unwrap()).unwrap();
        fs::write(copy.join(path), bytes).unwrap();
    }
    flip(&copy.join("tile/0/000"));
    let lock = DirLock::acquire(&sick.dir.path().join("m")).unwrap();
    let ended = mend("m/copy").exit(75);
    assert!(ended.stderr.contains("`jejak mirror`"), "{}", ended.stderr);
    drop(lock);
    let ended = mend("m/copy");
    assert!(ended.stdout.contains("repaired tile/0/000"), "{}", ended.stdout);
    sick.run(&sick.mirror.url).exit(0);
    // What a server shows is not ours to mend.
    let url = &sick.mirror.url;
    jejak(sick.dir.path(), &["fsck", url, "-p", "d/policy", "--repair-from", "d"]).exit(2);
    sick.run("nowhere").exit(78);
}
