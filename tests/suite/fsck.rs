//! Whatever is damaged is found, and exactly that is named.

use std::{
    fs,
    path::{Path, PathBuf},
};

use jejak::audit::{self, Damage, Finding, Report, Severity, Source};
use jejak_proofs::{merkle::TreeHead, note::Checkpoint};
use tempfile::TempDir;

use crate::audit_log::{Election, Numbers, SEGMENTS, Shape, TRIMMED, WHOLE_JOURNAL};

const SEED: u64 = 20_240_214;
const SIZE: u64 = 1_500;

/// A log on disk.
struct Log {
    election: Election,
    dir: TempDir,
}

impl Log {
    fn new(size: u64, shape: Shape) -> Self {
        let (election, dir) = (Election::new(size), tempfile::tempdir().unwrap());
        election.write(dir.path(), shape);
        Self { election, dir }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    fn check(&self) -> Report {
        let source = Source::directory(self.dir.path()).unwrap();
        audit::check(&source, &self.election.policy, &|_, _| {}).unwrap()
    }

    /// Every file whose damage must be found.
    fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        walk(self.dir.path(), "", &mut files);
        files.retain(|file| file != "policy" && file != "log/lock");
        files.sort();
        files
    }
}

fn walk(dir: &Path, prefix: &str, files: &mut Vec<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        match entry.file_type().unwrap().is_dir() {
            true => walk(&entry.path(), &format!("{name}/"), files),
            false => files.push(name),
        }
    }
}

/// Exactly these files are reported, and the exit code would say so.
#[track_caller]
fn assert_names(report: &Report, want: &[&str], what: &str) {
    let mut named: Vec<&str> = report.findings.iter().map(|f| f.file.as_str()).collect();
    named.dedup();
    let said: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    let said = said.join("\n");
    let mut want = want.to_vec();
    want.sort_unstable();
    want.dedup();
    assert_eq!(named, want, "{what}: {said}");
    let derived = |file: &&str| file.starts_with("log/derived/");
    assert_eq!(report.is_clean(), want.iter().all(derived), "{what}: {said}");
    for finding in &report.findings {
        let harmless = finding.severity == Severity::Info;
        assert_eq!(harmless, derived(&finding.file.as_str()), "{what}: {finding}");
    }
}

/// The entry of a bundle that the byte at `offset` belongs to.
fn entry_at(file: &str, bytes: &[u8], offset: usize) -> Option<u64> {
    let number: u64 = file.strip_prefix("log/tile/entries/")?.parse().ok()?;
    let (mut at, mut index) = (0, number * 256);
    loop {
        let len = usize::from(u16::from_be_bytes(bytes[at..at + 2].try_into().unwrap()));
        if offset < at + 2 + len {
            // A length that is wrong makes everything after it unreadable.
            return (offset >= at + 2).then_some(index);
        }
        (at, index) = (at + 2 + len, index + 1);
    }
}

#[test]
fn sound_logs_of_every_edge_size_are_clean() {
    for size in [1, 2, 255, 256, 257, 511, 512, 513] {
        for shape in [WHOLE_JOURNAL, SEGMENTS, TRIMMED] {
            let log = Log::new(size, shape);
            let report = log.check();
            assert_names(&report, &[], &format!("size {size}"));
            assert_eq!(report.size, size);
            assert_eq!(report.checkpoint.unwrap().head().size, size);
        }
    }
}

#[test]
fn an_empty_log_is_clean() {
    let log = Log::new(1, WHOLE_JOURNAL);
    fs::remove_dir_all(log.path("log")).unwrap();
    let empty = Checkpoint::sign(TreeHead::EMPTY, &log.election.key).unwrap();
    fs::create_dir_all(log.path("log/journal")).unwrap();
    fs::write(log.path("log/checkpoint"), empty.note()).unwrap();
    let options = jejak::store::JournalOptions { segment_len: 65_536, free_min: 0 };
    jejak::store::Journal::create(&log.path("log/journal"), options).unwrap();
    assert_names(&log.check(), &[], "size 0");
    fs::remove_file(log.path("log/checkpoint")).unwrap();
    assert_names(&log.check(), &["log/checkpoint"], "size 0 without its checkpoint");
}

#[test]
fn a_log_of_two_levels_names_each_kind_of_file() {
    let log = Log::new(65_537, TRIMMED);
    assert_names(&log.check(), &[], "size 65,537");
    for (file, offset) in [
        ("log/tile/1/000", 8_191),
        ("log/tile/0/000", 0),
        ("log/tile/0/255", 4_000),
        ("log/tile/entries/255", 4_000),
        ("log/tile/entries/017", 100),
    ] {
        let bytes = fs::read(log.path(file)).unwrap();
        let mut damaged = bytes.clone();
        damaged[offset] ^= 0x10;
        fs::write(log.path(file), damaged).unwrap();
        assert_names(&log.check(), &[file], file);
        fs::write(log.path(file), bytes).unwrap();
    }
    // Parent and child at once: the child is judged by what is below it.
    let files = ["log/tile/1/000", "log/tile/0/007", "log/tile/entries/009"];
    for file in files {
        let mut bytes = fs::read(log.path(file)).unwrap();
        bytes[7 * 32] ^= 1;
        fs::write(log.path(file), bytes).unwrap();
    }
    assert_names(&log.check(), &files, "parent and child");
}

fn flip_bits(shape: Shape, count: usize, seed: u64) {
    println!("seed {seed}");
    let log = Log::new(SIZE, shape);
    let files = log.files();
    let mut numbers = Numbers(seed);
    for round in 0..count {
        let file = &files[numbers.below(files.len())];
        let bytes = fs::read(log.path(file)).unwrap();
        let (offset, bit) = (numbers.below(bytes.len()), numbers.below(8));
        let mut damaged = bytes.clone();
        damaged[offset] ^= 1 << bit;
        fs::write(log.path(file), damaged).unwrap();
        let what = format!("round {round}, bit {bit} of byte {offset} of {file}");
        let report = log.check();
        assert_names(&report, &[file], &what);
        if let Some(entry) = entry_at(file, &bytes, offset) {
            assert_eq!(report.findings[0].entries, [entry], "{what}");
        }
        fs::write(log.path(file), bytes).unwrap();
    }
    assert_names(&log.check(), &[], "everything put back");
}

#[test]
fn a_damaged_last_record_is_damage_at_a_place_and_no_old_journal() {
    let log = Log::new(300, WHOLE_JOURNAL);
    let path = log.path("log/journal/00000000000000000000");
    let mut bytes = fs::read(&path).unwrap();
    let blocks = bytes.chunks(4096).zip((0..).step_by(4096));
    let last = blocks.filter(|(block, _)| block.starts_with(b"\x89jejakR1")).last();
    let offset: usize = last.unwrap().1;
    bytes[offset + 150] ^= 1;
    fs::write(&path, bytes).unwrap();
    let report = log.check();
    assert_names(&report, &["log/journal/00000000000000000000"], "the last record");
    let at = |finding: &Finding| match finding.damage {
        Damage::Journal { offset, .. } => Some(offset),
        _ => None,
    };
    let found: Vec<_> = report.findings.iter().filter_map(at).collect();
    assert_eq!(found, [offset as u64], "{:?}", report.findings);
}

#[test]
fn each_of_300_flipped_bits_is_found_in_its_file() {
    flip_bits(WHOLE_JOURNAL, 100, SEED);
    flip_bits(SEGMENTS, 100, SEED + 1);
    flip_bits(TRIMMED, 100, SEED + 2);
}

#[test]
fn each_of_60_truncations_is_found_in_its_file() {
    println!("seed {SEED}");
    for (shape, count) in [(WHOLE_JOURNAL, 20), (SEGMENTS, 20), (TRIMMED, 20)] {
        let log = Log::new(SIZE, shape);
        let files = log.files();
        let mut numbers = Numbers(SEED);
        for round in 0..count {
            let file = &files[numbers.below(files.len())];
            let bytes = fs::read(log.path(file)).unwrap();
            let mut len = numbers.below(bytes.len());
            if file.starts_with("log/tile/entries/") && round % 2 == 0 {
                // At the end of an entry: everything that is left reads well.
                let (mut at, entries) = (0, numbers.below(256));
                for _ in 0..entries {
                    at +=
                        2 + usize::from(u16::from_be_bytes(bytes[at..at + 2].try_into().unwrap()));
                }
                len = at;
            }
            fs::write(log.path(file), &bytes[..len]).unwrap();
            assert_names(&log.check(), &[file], &format!("round {round}, {file} cut to {len}"));
            fs::write(log.path(file), bytes).unwrap();
        }
    }
}

#[test]
fn each_of_60_missing_files_is_named() {
    println!("seed {SEED}");
    for (shape, count) in [(WHOLE_JOURNAL, 20), (SEGMENTS, 20), (TRIMMED, 20)] {
        let log = Log::new(SIZE, shape);
        let files = log.files();
        // The first segments may have been trimmed, so nobody misses them; derived state may be
        // gone at any time.
        let first = files.iter().find(|file| file.starts_with("log/journal/")).unwrap();
        let only = files.iter().filter(|file| file.starts_with("log/journal/")).count() == 1;
        let mut numbers = Numbers(SEED);
        let mut done = 0;
        while done < count {
            let file = &files[numbers.below(files.len())];
            if file.starts_with("log/derived/") || (file == first && !only) {
                continue;
            }
            let bytes = fs::read(log.path(file)).unwrap();
            fs::remove_file(log.path(file)).unwrap();
            let report = log.check();
            let want = if only && file == first { "log/journal" } else { file.as_str() };
            assert_names(&report, &[want], &format!("{file} missing"));
            fs::write(log.path(file), bytes).unwrap();
            done += 1;
        }
    }
}

#[test]
fn many_damaged_files_at_once_are_all_listed() {
    println!("seed {SEED}");
    let mut numbers = Numbers(SEED);
    for round in 0..40 {
        let log = Log::new(SIZE, if round % 2 == 0 { TRIMMED } else { WHOLE_JOURNAL });
        let mut files = log.files();
        // Without its end a journal no longer knows the right edge: it has a test of its own.
        files.retain(|file| !file.starts_with("log/journal/") && !file.starts_with("log/derived"));
        let mut chosen: Vec<String> = Vec::new();
        for _ in 0..2 + numbers.below(6) {
            let file = files.swap_remove(numbers.below(files.len()));
            // Two files hold the hashes of 256 entries. Without the journal one of them must be left.
            let number = file.rsplit('/').next().unwrap().to_owned();
            files.retain(|other| round % 2 == 1 || !other.ends_with(&format!("/{number}")));
            let mut bytes = fs::read(log.path(&file)).unwrap();
            match numbers.below(4) {
                0 => fs::remove_file(log.path(&file)).unwrap(),
                1 => {
                    bytes.truncate(numbers.below(bytes.len()));
                    fs::write(log.path(&file), bytes).unwrap();
                }
                _ => {
                    let offset = numbers.below(bytes.len());
                    bytes[offset] ^= 1 << numbers.below(8);
                    fs::write(log.path(&file), bytes).unwrap();
                }
            }
            chosen.push(file);
        }
        let chosen: Vec<&str> = chosen.iter().map(String::as_str).collect();
        assert_names(&log.check(), &chosen, &format!("round {round}"));
    }
}

#[test]
fn swapped_files_are_both_named() {
    for shape in [WHOLE_JOURNAL, TRIMMED] {
        let log = Log::new(SIZE, shape);
        for (a, b) in [
            ("log/tile/0/001", "log/tile/0/003"),
            ("log/tile/entries/000", "log/tile/entries/004"),
            ("log/tile/0/002", "log/tile/entries/002"),
        ] {
            let swap = || {
                fs::rename(log.path(a), log.path("log/aside")).unwrap();
                fs::rename(log.path(b), log.path(a)).unwrap();
                fs::rename(log.path("log/aside"), log.path(b)).unwrap();
            };
            swap();
            assert_names(&log.check(), &[a, b], &format!("{a} and {b} swapped"));
            swap();
        }
    }
}

#[test]
fn files_that_no_log_has_are_named_and_leftovers_are_not() {
    let log = Log::new(600, WHOLE_JOURNAL);
    let bytes = fs::read(log.path("log/tile/0/000")).unwrap();
    let strange = [
        "log/tile/0/002",
        "log/tile/0/000.p/17",
        "log/tile/entries/0",
        "log/tile/9/000",
        "log/journal/notes",
        "log/derived/index",
        "log/core",
        "log/register/README",
    ];
    for file in strange {
        fs::create_dir_all(log.path(file).parent().unwrap()).unwrap();
        fs::write(log.path(file), &bytes).unwrap();
    }
    for leftover in ["log/tmp/17", "log/journal/new.tmp", "log/derived/ledger.tmp"] {
        fs::create_dir_all(log.path(leftover).parent().unwrap()).unwrap();
        fs::write(log.path(leftover), b"").unwrap();
    }
    let report = log.check();
    let mut named: Vec<&str> = report.findings.iter().map(|f| f.file.as_str()).collect();
    named.sort_unstable();
    let mut want = strange;
    want.sort_unstable();
    assert_eq!(named, want);
    assert!(!report.is_clean());
}

#[test]
fn a_register_that_no_manifest_names_is_only_noted() {
    let log = Log::new(10, WHOLE_JOURNAL);
    let early = log.election.units.iter().chain(b"ID2,ID,tps,,1,1\n").copied().collect::<Vec<u8>>();
    let hash = jejak_proofs::merkle::sha256(&early);
    fs::write(log.path(&format!("log/register/{hash}")), early).unwrap();
    let report = log.check();
    assert!(report.is_clean());
    assert_eq!(report.findings[0].damage, Damage::Unnamed);
}

#[test]
fn a_journal_without_its_end_is_named_and_the_rest_is_judged() {
    let log = Log::new(SIZE, TRIMMED);
    let segments: Vec<String> =
        log.files().into_iter().filter(|file| file.starts_with("log/journal/")).collect();
    let last = segments.last().unwrap();
    fs::remove_file(log.path(last)).unwrap();
    let mut bytes = fs::read(log.path("log/tile/0/003")).unwrap();
    bytes.truncate(8_000);
    fs::write(log.path("log/tile/0/003"), bytes).unwrap();
    let want = if segments.len() == 1 { "log/journal" } else { last };
    assert_names(&log.check(), &[want, "log/tile/0/003"], "no end");
}

#[test]
fn a_log_that_grew_past_its_checkpoint_is_clean() {
    // A process that was killed: records are committed, the checkpoint file is an older one.
    for shape in [WHOLE_JOURNAL, TRIMMED] {
        let log = Log::new(1_100, shape);
        fs::write(log.path("log/checkpoint"), log.election.checkpoint(700).note()).unwrap();
        let report = log.check();
        assert_names(&report, &[], "older checkpoint");
        assert_eq!(report.size, 1_100);
        fs::remove_file(log.path("log/tile/0/003")).unwrap();
        if shape.trim {
            assert_names(&log.check(), &["log/tile/0/003"], "trimmed, so it was durable");
            continue;
        }
        // Files beyond the checkpoint may not be written yet, or not synced.
        assert_names(&log.check(), &[], "not written yet");
        fs::write(log.path("log/tile/entries/003"), b"").unwrap();
        let report = log.check();
        assert!(report.is_clean());
        assert_eq!(report.findings[0].file, "log/tile/entries/003");
    }
}

#[test]
fn a_checkpoint_of_another_history_is_named() {
    let log = Log::new(600, WHOLE_JOURNAL);
    let lie = TreeHead { size: 600, root: jejak_proofs::merkle::sha256(b"another") };
    let forged = Checkpoint::sign(lie, &log.election.key).unwrap();
    fs::write(log.path("log/checkpoint"), forged.note()).unwrap();
    let report = log.check();
    assert_names(&report, &["log/checkpoint"], "signed by the log, and not its tree");
    assert!(matches!(report.findings[0].damage, Damage::NotTheTree { .. }));
}

#[test]
fn logged_bytes_that_are_no_entries_are_named_by_index() {
    let mut election = Election::new(300);
    election.entries[17] = bytes::Bytes::from_static(b"hello");
    election.entries[280] = bytes::Bytes::from_static(b"");
    let dir = tempfile::tempdir().unwrap();
    election.write(dir.path(), WHOLE_JOURNAL);
    let source = Source::directory(dir.path()).unwrap();
    let report = audit::check(&source, &election.policy, &|_, _| {}).unwrap();
    let found: Vec<(&str, &[u64])> =
        report.findings.iter().map(|f| (f.file.as_str(), &f.entries[..])).collect();
    let journal = "log/journal/00000000000000000000";
    assert_eq!(found, [(journal, &[280][..]), ("log/tile/entries/000", &[17])]);
}

#[test]
fn findings_read_well() {
    let report = {
        let log = Log::new(600, WHOLE_JOURNAL);
        let mut bytes = fs::read(log.path("log/tile/entries/001")).unwrap();
        bytes[5] ^= 1;
        fs::write(log.path("log/tile/entries/001"), bytes).unwrap();
        log.check()
    };
    let finding: &Finding = &report.findings[0];
    assert_eq!(
        finding.to_string(),
        "log/tile/entries/001 (entry 256): damaged: not what the tree commits to"
    );
    assert_eq!(
        serde_json::to_value(finding).unwrap(),
        serde_json::json!({
            "file": "log/tile/entries/001",
            "entries": [[256, 256]],
            "damage": "content",
            "detail": "damaged: not what the tree commits to",
            "severity": "damage",
        })
    );
}
