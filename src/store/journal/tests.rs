use std::{collections::BTreeMap, fs};

use bytes::Bytes;
use jejak_proofs::merkle::{Hash, sha256};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::*;
use crate::store::{Action, Torn};

mod damage;
mod model;

const BLOCK: usize = 4096;

/// Small segments, and no reserve, so that tests do not depend on the disk they run on.
fn small(blocks: u64) -> JournalOptions {
    JournalOptions { segment_len: blocks * BLOCK_LEN, free_min: 0 }
}

/// The record that commits entries of these lengths after `first`. Its root is of no tree: the
/// journal does not look at roots.
fn record(first: u64, lens: &[usize]) -> Record {
    let size = first + lens.len() as u64;
    let entry = |(n, &len): (usize, &usize)| Bytes::from(vec![b'a' + n as u8 % 26; len]);
    Record {
        first,
        time_ms: 1_700_000_000_000 + size,
        head: TreeHead { size, root: sha256(&size.to_be_bytes()) },
        entries: lens.iter().enumerate().map(entry).collect(),
    }
}

fn framed_len(record: &Record) -> u64 {
    record.entries.iter().map(|entry| 2 + entry.len() as u64).sum()
}

fn commit(journal: &mut Journal, record: &Record) {
    journal.reserve(framed_len(record)).unwrap();
    journal.append(record).unwrap();
}

/// A journal in a directory of its own, with these batches.
fn journal_of(options: JournalOptions, batches: &[&[usize]]) -> (TempDir, PathBuf, Vec<Record>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let mut journal = Journal::create(&path, options).unwrap();
    let mut records = Vec::new();
    for lens in batches {
        records.push(record(journal.head().size, lens));
        commit(&mut journal, records.last().unwrap());
    }
    (dir, path, records)
}

fn open(dir: &Path, known: u64) -> Result<(Journal, Vec<Record>), StoreError> {
    let mut records = Vec::new();
    let journal = Journal::open(dir, known, small(5), |record| {
        records.push(record);
        Ok::<_, StoreError>(())
    })?;
    Ok((journal, records))
}

/// The records, and the torn one, as a reader sees them who changes nothing.
fn replay(dir: &Path) -> Result<(Vec<Record>, Option<Torn>), StoreError> {
    let mut replay = Replay::open(dir)?;
    let mut records = Vec::new();
    while let Some(record) = replay.next_record()? {
        records.push(record);
    }
    Ok((records, replay.torn().cloned()))
}

fn snapshot(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let read = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.unwrap();
        (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
    };
    fs::read_dir(dir).unwrap().map(read).collect()
}

fn restore(dir: &Path, files: &BTreeMap<String, Vec<u8>>) {
    fs::remove_dir_all(dir).unwrap();
    fs::create_dir(dir).unwrap();
    for (name, bytes) in files {
        fs::write(dir.join(name), bytes).unwrap();
    }
}

fn names(dir: &Path) -> Vec<u64> {
    snapshot(dir).keys().map(|name| name.parse().unwrap()).collect()
}

/// The table in record.rs, written down a second time.
#[test]
fn bytes_are_as_documented() {
    let (_dir, path, _) = journal_of(small(5), &[&[3, 0], &[4000, 200]]);
    let root = |size: u64| Sha256::digest(size.to_be_bytes()).to_vec();
    let seal = |mut bytes: Vec<u8>| {
        let digest = Sha256::digest(&bytes);
        bytes.extend_from_slice(&digest);
        bytes
    };
    let pad = |mut bytes: Vec<u8>| {
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        bytes
    };
    let empty_root = Sha256::digest([]).to_vec();
    let header = seal(
        [
            b"\x89jejakS1".to_vec(),
            (5 * BLOCK as u64).to_be_bytes().to_vec(),
            vec![0; 16],
            empty_root,
            vec![0; 32],
        ]
        .concat(),
    );
    let record = |first: u64, size: u64, before: &[u8], entries: Vec<u8>| {
        let len = (104 + entries.len() + 32) as u64;
        let numbers = [first, 1_700_000_000_000 + size, size].map(u64::to_be_bytes).concat();
        seal(
            [
                b"\x89jejakR1".to_vec(),
                len.to_be_bytes().to_vec(),
                before.to_vec(),
                numbers,
                root(size),
                entries,
            ]
            .concat(),
        )
    };
    let one = record(0, 2, &[0; 32], b"\0\x03aaa\0\0".to_vec());
    let entries = [&b"\x0f\xa0"[..], &[b'a'; 4000], b"\0\xc8", &[b'b'; 200]].concat();
    let two = record(2, 4, &one[one.len() - 32..], entries);
    // Digests of both records, computed by a script in another language.
    let hex = |bytes: &[u8]| Hash::new(*bytes.last_chunk().unwrap()).to_string();
    assert_eq!(hex(&one), "a3c073b1d91e0039bc5a40f0d495439f51fe79b542ff6edf46695860fbed935b");
    assert_eq!(hex(&two), "7cd7d1d461e929d9406ed25fa7d584fb4ddbc9cc35cbdceee49d8c8fa8ab4b3e");

    let want = [pad(header), pad(one), pad(two), vec![0; BLOCK]].concat();
    let files = snapshot(&path);
    assert_eq!(files.keys().collect::<Vec<_>>(), ["00000000000000000000"]);
    assert!(files["00000000000000000000"] == want);
}

#[test]
fn opens_with_all_records_and_continues_the_chain() {
    let batches: [&[usize]; 4] = [&[10], &[4000, 1000], &[5000, 1, 2], &[7]];
    let (_dir, path, mut records) = journal_of(small(5), &batches);
    assert_eq!(names(&path), [0, 3]);
    for more in 0..4 {
        let (mut journal, found) = open(&path, records.last().unwrap().head.size).unwrap();
        assert_eq!(found, records);
        assert_eq!(journal.head(), records.last().unwrap().head);
        assert_eq!(journal.time_ms(), records.last().unwrap().time_ms);
        assert_eq!(journal.first(), 0);
        records.push(record(journal.head().size, &[1500 * more; 3]));
        commit(&mut journal, records.last().unwrap());
    }
    assert_eq!(replay(&path).unwrap(), (records, None));
}

#[test]
fn a_segment_larger_than_usual_for_a_batch_that_needs_it() {
    let (_dir, path, records) = journal_of(small(2), &[&[65_535, 65_535], &[1], &[1], &[9000]]);
    let mut journal = Journal::create(&path.with_extension("two"), small(2)).unwrap();
    journal.reserve(70_000).unwrap();
    assert_eq!(journal.trim(0).unwrap(), 0, "the one that was replaced is not there to remove");
    // The first segment was empty and too small, so a larger one took its place and name.
    assert_eq!(names(&path), [0, 2, 3, 4]);
    let lens: Vec<usize> = snapshot(&path).values().map(|bytes| bytes.len() / BLOCK).collect();
    assert_eq!(lens, [1 + 33, 2, 2, 1 + 3]);
    assert_eq!(open(&path, 5).unwrap().1, records);
}

#[test]
fn a_full_segment_is_filled_to_the_last_byte() {
    let whole_block = BLOCK - 104 - 32 - 2;
    let (_dir, path, records) = journal_of(small(3), &[&[whole_block], &[whole_block], &[1]]);
    assert_eq!(names(&path), [0, 2]);
    let (mut journal, found) = open(&path, 3).unwrap();
    assert_eq!(found, records);
    // One byte more than a block, where one block is left.
    let next = record(3, &[whole_block + 1]);
    assert!(matches!(journal.append(&next), Err(StoreError::NotNext(NotNext::NotReserved))));
    commit(&mut journal, &next);
    assert_eq!(names(&path), [0, 2, 3]);
}

#[test]
fn refuses_what_is_not_the_next_record_and_writes_nothing() {
    let (_dir, path, records) = journal_of(small(5), &[&[1, 1]]);
    let (mut journal, _) = open(&path, 0).unwrap();
    let good = record(2, &[5, 6]);
    let before = snapshot(&path);
    journal.reserve(framed_len(&good)).unwrap();
    let with = |change: &dyn Fn(&mut Record)| {
        let mut bad = good.clone();
        change(&mut bad);
        bad
    };
    for (bad, want) in [
        (records[0].clone(), NotNext::First),
        (record(3, &[5]), NotNext::First),
        (with(&|r| r.head.size = 5), NotNext::Size),
        (with(&|r| r.head.size = 3), NotNext::Size),
        (record(2, &[]), NotNext::Size),
        (with(&|r| r.time_ms = records[0].time_ms - 1), NotNext::Time),
        (with(&|r| r.entries[1] = Bytes::from(vec![0; 65_536])), NotNext::Entry),
        (with(&|r| r.entries[1] = Bytes::from(vec![0; 65_535])), NotNext::NotReserved),
    ] {
        let result = journal.append(&bad);
        assert!(matches!(result, Err(StoreError::NotNext(got)) if got == want), "{result:?}");
    }
    assert!(snapshot(&path) == before);
    let mut same_time = good.clone();
    same_time.time_ms = records[0].time_ms;
    journal.append(&same_time).unwrap();
    assert_eq!(replay(&path).unwrap().0, [records[0].clone(), same_time]);
}

#[test]
fn a_batch_too_long_for_a_record_is_an_answer() {
    let (_dir, path, _) = journal_of(small(2), &[]);
    let (mut journal, _) = open(&path, 0).unwrap();
    let most = RECORD_LEN_MAX - 136;
    for framed_len in [most + 1, u64::MAX] {
        let error = journal.reserve(framed_len).unwrap_err();
        assert!(matches!(error, StoreError::TooLong { max, .. } if max == 16 << 20), "{error}");
    }
    journal.reserve(most).unwrap();
    let entries = |last: usize| {
        let mut lens = vec![65_535; 255];
        lens.push(last);
        record(0, &lens)
    };
    let last = most as usize - 255 * 65_537 - 2;
    let error = journal.append(&entries(last + 1)).unwrap_err();
    assert!(matches!(error, StoreError::TooLong { .. }), "{error}");
    journal.append(&entries(last)).unwrap();
    assert_eq!(replay(&path).unwrap().0, [entries(last)]);
}

#[test]
fn the_reserve_of_the_disk_is_an_answer_too() {
    let (_dir, path, _) = journal_of(small(2), &[&[1]]);
    let full = JournalOptions { free_min: u64::MAX / 2, ..small(2) };
    let before = snapshot(&path);
    let mut journal = Journal::open(&path, 0, full, |_| Ok::<_, StoreError>(())).unwrap();
    for framed_len in [3, 5000] {
        let error = journal.reserve(framed_len).unwrap_err();
        let StoreError::NoSpace { free, needed, .. } = error else { panic!("{error}") };
        assert!(free > 0 && needed >= u64::MAX / 2, "{free} {needed}");
        let checked = journal.check_room(framed_len).unwrap_err();
        assert!(matches!(checked, StoreError::NoSpace { needed: same, .. } if same == needed));
    }
    assert!(snapshot(&path) == before);
    journal.options = small(2);
    journal.check_room(5000).unwrap();
    assert!(snapshot(&path) == before, "looking takes nothing");
    commit(&mut journal, &record(1, &[5000]));
    let dir = path.parent().unwrap().join("other");
    assert!(matches!(Journal::create(&dir, full), Err(StoreError::NoSpace { .. })));
    assert!(!dir.exists());
}

#[test]
fn the_reserve_comes_on_top_of_a_new_segment() {
    let (_dir, path, _) = journal_of(small(2), &[&[1]]);
    let (mut journal, _) = open(&path, 0).unwrap();
    journal.options = JournalOptions { segment_len: 1 << 60, free_min: 5 };
    // Should it start to write after all, it must not fill the disk.
    std::os::unix::fs::symlink("/dev/full", path.join("new.tmp")).unwrap();
    let error = journal.reserve(3).unwrap_err();
    assert!(matches!(error, StoreError::NoSpace { needed, .. } if needed == 5 + (1 << 60)));
    assert!(matches!(journal.check_room(3), Err(StoreError::NoSpace { .. })));
    let too_long = journal.check_room(RECORD_LEN_MAX).unwrap_err();
    assert!(matches!(too_long, StoreError::TooLong { .. }), "{too_long}");
}

/// A full disk in the middle of a new segment: /dev/full fails every write with ENOSPC.
#[test]
fn a_full_disk_is_an_answer_and_leaves_nothing_behind() {
    let (_dir, path, records) = journal_of(small(2), &[&[1]]);
    let (mut journal, _) = open(&path, 0).unwrap();
    let before = snapshot(&path);
    std::os::unix::fs::symlink("/dev/full", path.join("new.tmp")).unwrap();
    let error = journal.reserve(5000).unwrap_err();
    assert!(matches!(error, StoreError::NoSpace { .. }), "{error}");
    assert!(snapshot(&path) == before);
    // The disk has room again.
    let next = record(1, &[5000]);
    commit(&mut journal, &next);
    assert_eq!(replay(&path).unwrap().0, [records[0].clone(), next]);
}

#[test]
fn refuses_everything_after_an_error_with_an_unknown_outcome() {
    let refuses = |journal: &mut Journal| {
        assert!(matches!(journal.reserve(1), Err(StoreError::PreviousIo)));
        assert!(matches!(journal.append(&record(1, &[1])), Err(StoreError::PreviousIo)));
        assert!(matches!(journal.trim(0), Err(StoreError::PreviousIo)));
    };
    let (_dir, path, records) = journal_of(small(3), &[&[1]]);
    let (mut journal, _) = open(&path, 0).unwrap();
    // A file that cannot be written to.
    journal.file = DiskFile::open(&path.join(segment_name(0))).unwrap().unwrap();
    journal.reserve(3).unwrap();
    let error = journal.append(&record(1, &[1])).unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
    assert_eq!(journal.head(), records[0].head, "what is not known is not said");
    refuses(&mut journal);

    // A file that takes every write and cannot be synced: without the sync it is no commit.
    let (mut journal, found) = open(&path, 0).unwrap();
    assert_eq!(found, records);
    journal.file = DiskFile::open_for_writing(Path::new("/dev/null")).unwrap();
    let error = journal.append(&record(1, &[1])).unwrap_err();
    assert!(matches!(error, StoreError::Io { action: Action::Sync, .. }), "{error}");
    assert_eq!(journal.head(), records[0].head);
    refuses(&mut journal);

    let (mut journal, found) = open(&path, 0).unwrap();
    assert_eq!(found, records);
    fs::create_dir(path.join("new.tmp")).unwrap();
    assert!(matches!(journal.reserve(9000), Err(StoreError::Io { .. })));
    refuses(&mut journal);
}

#[test]
fn create_makes_one_journal_and_open_none() {
    let (_dir, path, _) = journal_of(small(3), &[]);
    let error = Journal::create(&path, small(3)).unwrap_err();
    assert!(matches!(error, StoreError::JournalExists(_)), "{error}");
    for empty in [path.join("missing"), path.parent().unwrap().to_owned()] {
        let error = open(&empty, 0).unwrap_err();
        assert!(matches!(error, StoreError::JournalMissing(_)), "{error}");
    }
    assert_eq!(open(&path, 0).unwrap().1, []);
}

#[test]
fn the_error_of_a_visitor_stops_the_opening() {
    #[derive(Debug)]
    struct Stop;
    impl From<StoreError> for Stop {
        fn from(error: StoreError) -> Self {
            panic!("{error}")
        }
    }
    let (_dir, path, _) = journal_of(small(5), &[&[1], &[1]]);
    let mut seen = 0;
    Journal::open(&path, 0, small(5), |_| {
        seen += 1;
        Err(Stop)
    })
    .unwrap_err();
    assert_eq!(seen, 1);
}

#[test]
fn trim_removes_only_whole_segments_below_the_last_full_bundle() {
    // Segments that begin at 0, 100, 200, ... 700, of 100 entries each; the last ends at 800.
    let batch: &[usize] = &[1; 100];
    let (_dir, path, records) = journal_of(small(2), &[batch; 8]);
    let (mut journal, _) = open(&path, 800).unwrap();
    for (durable, first) in
        [(0, 0), (255, 0), (256, 200), (511, 200), (512, 500), (767, 500), (u64::MAX, 700)]
    {
        let removed = journal.trim(durable).unwrap();
        assert_eq!(journal.first(), first, "durable {durable}");
        assert_eq!(names(&path), (first / 100..8).map(|n| n * 100).collect::<Vec<_>>());
        assert_eq!(journal.trim(durable).unwrap(), 0);
        assert!(removed > 0 || first == 0 || durable % 256 == 255);
        let mut replay = Replay::open(&path).unwrap();
        assert_eq!(replay.start().size, first);
        let before = records.iter().rev().find(|record| record.head.size == first);
        assert_eq!(replay.start().root, before.map_or(TreeHead::EMPTY.root, |r| r.head.root));
        assert_eq!(replay.next_record().unwrap().unwrap(), records[first as usize / 100]);
    }
    assert_eq!(open(&path, 800).unwrap().1, records[7..]);
}

/// The last record stands at a place that the last segment does not have.
#[test]
fn an_empty_segment_after_a_longer_one() {
    let (_dir, path, records) = journal_of(small(2), &[&[65_535]]);
    let (mut journal, _) = open(&path, 1).unwrap();
    journal.options = small(2);
    journal.reserve(5000).unwrap();
    assert_eq!(names(&path), [0, 1]);
    assert_eq!(open(&path, 1).unwrap().1, records);
}

#[test]
fn a_journal_trimmed_to_an_empty_segment_knows_its_head() {
    let (_dir, path, records) = journal_of(small(2), &[&[1; 256]]);
    let (mut journal, _) = open(&path, 256).unwrap();
    journal.reserve(5000).unwrap();
    assert_eq!(journal.trim(256).unwrap(), 1);
    let (journal, found) = open(&path, 256).unwrap();
    assert_eq!(found, []);
    assert_eq!(journal.head(), records[0].head);
    assert_eq!(journal.time_ms(), records[0].time_ms);
    assert_eq!(journal.first(), 256);
}
