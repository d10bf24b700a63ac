//! Every flipped byte, every truncation, every missing piece. What a crash cannot have done is
//! damage, and then nothing is changed on disk.

use std::os::unix::fs::FileExt;

use super::{model::Seed, *};

/// Two segments of five blocks. The first: header, a record of one block, one of two, a block of
/// zeros. The second: header, a record of two blocks, one of one block, a block of zeros.
const BATCHES: [&[usize]; 4] = [&[10], &[4000, 1000], &[5000, 1, 2], &[7, 80]];
const SIZES: [u64; 4] = [1, 3, 6, 8];
const SEGMENT: usize = 5 * BLOCK;
/// Of the bytes that leave a torn record, one in so many is also repaired: repair syncs.
const REPAIR_EVERY: usize = 97;

struct Fixture {
    _dir: TempDir,
    path: PathBuf,
    records: Vec<Record>,
    files: BTreeMap<String, Vec<u8>>,
}

impl Fixture {
    fn of(options: JournalOptions, batches: &[&[usize]]) -> Self {
        let (dir, path, records) = journal_of(options, batches);
        let files = snapshot(&path);
        Self { _dir: dir, path, records, files }
    }

    fn new() -> Self {
        let fixture = Self::of(small(5), &BATCHES);
        let sizes: Vec<u64> = fixture.records.iter().map(|record| record.head.size).collect();
        assert_eq!((names(&fixture.path), sizes), (vec![0, 3], SIZES.to_vec()));
        fixture
    }

    fn segment(&self, number: usize) -> PathBuf {
        self.path.join(self.files.keys().nth(number).unwrap())
    }

    fn writable(&self, number: usize) -> fs::File {
        fs::OpenOptions::new().write(true).open(self.segment(number)).unwrap()
    }

    fn restore(&self) {
        restore(&self.path, &self.files);
    }

    /// Opens for writing, expects damage in that segment, and that nothing changed on disk.
    fn damage(&self, number: usize, known: u64) -> (u64, Damage) {
        let before = snapshot(&self.path);
        let error = open(&self.path, known).unwrap_err();
        assert!(snapshot(&self.path) == before, "changed on disk");
        match error {
            StoreError::Damaged { path, offset, damage } => {
                assert_eq!(path, self.segment(number));
                (offset, damage)
            }
            other => panic!("{other}"),
        }
    }

    /// A reader sees so many records, and a torn one at `offset` of the second segment.
    fn torn(&self, kept: usize, offset: usize) {
        let (found, torn) = replay(&self.path).unwrap();
        assert!(found == self.records[..kept]);
        let torn = torn.expect("torn");
        assert_eq!((torn.path, torn.offset), (self.segment(1), offset as u64));
    }

    /// A writer zeroes the torn record, nothing else, and goes on.
    fn repair(&self, kept: usize, offset: usize) {
        let before = fs::read(self.segment(1)).unwrap();
        let (mut journal, found) = open(&self.path, SIZES[kept - 1]).unwrap();
        assert!(found == self.records[..kept]);
        let now = fs::read(self.segment(1)).unwrap();
        assert!(now[offset..].iter().all(|&byte| byte == 0), "zeroed");
        assert!(now[..offset] == before[..offset], "and no more");
        let next = record(journal.head().size, &[3]);
        commit(&mut journal, &next);
        let (again, torn) = replay(&self.path).unwrap();
        assert!(again[..kept] == self.records[..kept] && again[kept] == next);
        assert_eq!((again.len(), torn), (kept + 1, None));
        self.restore();
    }
}

/// What one wrong byte of the fixture must be taken for.
enum Verdict {
    Damaged(u64, Damage),
    /// The number of records that are kept, and where the torn one begins.
    Torn(usize, usize),
}

fn verdict(segment: usize, at: usize) -> Verdict {
    use Verdict::{Damaged, Torn};
    if at < BLOCK {
        return Damaged(0, Damage::SegmentHeader);
    }
    let records = match segment {
        0 => [(BLOCK, 136 + 12), (2 * BLOCK, 136 + 5004)],
        _ => [(BLOCK, 136 + 5009), (3 * BLOCK, 136 + 91)],
    };
    for (n, (start, len)) in records.into_iter().enumerate() {
        if at < start + len {
            let last = segment == 1 && n == 1;
            return if last { Torn(3, start) } else { Damaged(start as u64, Damage::Record) };
        }
        if at < (start + len).next_multiple_of(BLOCK) {
            return Damaged(at as u64, Damage::NotZero);
        }
    }
    // The last block of each segment is zeros.
    match segment {
        0 => Damaged(4 * BLOCK as u64, Damage::Record),
        _ => Torn(4, 4 * BLOCK),
    }
}

#[test]
fn every_flipped_byte_is_found_and_judged() {
    let fixture = Fixture::new();
    for (number, original) in fixture.files.values().enumerate() {
        for at in 0..SEGMENT {
            let file = fixture.writable(number);
            file.write_all_at(&[original[at] ^ 1 << (at % 8)], at as u64).unwrap();
            match verdict(number, at) {
                Verdict::Damaged(offset, damage) => {
                    assert_eq!(fixture.damage(number, 0), (offset, damage), "{number} {at}");
                }
                Verdict::Torn(kept, offset) => {
                    fixture.torn(kept, offset);
                    if kept == 3 {
                        // Somebody knows that there was a record: then it is damage.
                        let (size, known) = (6, 7 + at as u64 % 2);
                        let want = (offset as u64, Damage::Published { size, known });
                        assert_eq!(fixture.damage(number, known), want);
                    }
                    if at % REPAIR_EVERY == 0 {
                        fixture.repair(kept, offset);
                    }
                }
            }
            fixture.writable(number).write_all_at(&original[at..=at], at as u64).unwrap();
        }
    }
    assert!(snapshot(&fixture.path) == fixture.files);
    assert_eq!(replay(&fixture.path).unwrap(), (fixture.records, None));
}

/// The length of a segment is fixed before anything is committed to it, so no crash cuts it.
#[test]
fn every_other_length_is_damage() {
    let fixture = Fixture::new();
    for number in 0..2 {
        let file = fixture.writable(number);
        for len in [SEGMENT + 1, SEGMENT + BLOCK].into_iter().chain((0..SEGMENT).rev()) {
            file.set_len(len as u64).unwrap();
            let want = if len < BLOCK { BLOCK } else { SEGMENT } as u64;
            let damage = Damage::Length { got: len as u64, want };
            let offset = len.min(SEGMENT) as u64;
            assert_eq!(fixture.damage(number, 0), (offset, damage), "{number}: {len} bytes");
        }
        fixture.restore();
    }
}

/// A power cut while the last record is written: any of its sectors may be missing, or half.
#[test]
fn a_torn_record_is_dropped_whatever_is_missing() {
    let fixture = Fixture::of(small(8), &[&[10], &[3000; 4]]);
    let (start, len) = (2 * BLOCK, 136 + 4 * 3002);
    let cut = |missing: &dyn Fn(usize) -> bool| {
        let mut files = fixture.files.clone();
        let bytes = files.values_mut().next().unwrap();
        for at in (start..start + len).filter(|&at| missing(at)) {
            bytes[at] = 0;
        }
        restore(&fixture.path, &files);
        let changed = files != fixture.files;
        let kept = if changed { 1 } else { 2 };
        assert_eq!(replay(&fixture.path).unwrap().0, fixture.records[..kept]);
        if changed {
            let (mut journal, _) = open(&fixture.path, 1).unwrap();
            commit(&mut journal, &fixture.records[1]);
            assert!(snapshot(&fixture.path) == fixture.files, "the same bytes again");
        }
    };
    for blocks in 0..16_usize {
        cut(&|at| blocks >> ((at - start) / BLOCK) & 1 == 1);
    }
    for n in 0..200 {
        println!("seed {n}");
        let mut seed = Seed(n);
        let lost: Vec<u64> = (0..40).map(|_| seed.below(3)).collect();
        // A sector is there, is not there, or only some first bytes of it are.
        let kept = seed.below(512) as usize;
        cut(&|at| match lost[(at - start) / 512] {
            0 => false,
            1 => true,
            _ => at % 512 >= kept,
        });
    }
}

#[test]
fn a_torn_record_with_nothing_left_of_its_beginning() {
    let fixture = Fixture::new();
    fixture.writable(1).write_all_at(b"late", 5 * BLOCK as u64 - 4).unwrap();
    fixture.torn(4, 4 * BLOCK);
    fixture.repair(4, 4 * BLOCK);
}

#[test]
fn an_invalid_record_before_another_is_damage_even_if_that_is_invalid_too() {
    let fixture = Fixture::new();
    let file = fixture.writable(1);
    for at in [BLOCK + 300, 3 * BLOCK + 150] {
        file.write_all_at(b"!", at as u64).unwrap();
    }
    assert_eq!(fixture.damage(1, 0), (BLOCK as u64, Damage::Record));
    // Its first block is gone, too.
    file.write_all_at(&[0; BLOCK], BLOCK as u64).unwrap();
    let content = fs::read(fixture.segment(1)).unwrap();
    let first = (2 * BLOCK..).find(|&at| content[at] != 0).unwrap();
    assert_eq!(fixture.damage(1, 0), (first as u64, Damage::NotZero));
}

#[test]
fn beyond_the_longest_possible_record_everything_is_zero() {
    let options = JournalOptions { segment_len: 20 << 20, free_min: 0 };
    let fixture = Fixture::of(options, &[&[1]]);
    let file = fixture.writable(0);
    let start = 2 * BLOCK_LEN;
    for at in [start, start + (16 << 20) - 1] {
        file.write_all_at(&[1], at).unwrap();
        let found = replay(&fixture.path).unwrap().1.unwrap();
        assert_eq!((found.offset, found.len), (start, (at + 1).next_multiple_of(4096) - start));
        open(&fixture.path, 1).unwrap();
        assert!(snapshot(&fixture.path) == fixture.files);
    }
    for at in [start + (16 << 20), (20 << 20) - 1] {
        let file = fixture.writable(0);
        file.write_all_at(&[1], at).unwrap();
        assert_eq!(fixture.damage(0, 1), (at, Damage::NotZero));
        // What looks torn does not excuse what lies beyond.
        file.write_all_at(&[1], start).unwrap();
        assert_eq!(fixture.damage(0, 1), (at, Damage::NotZero));
        fixture.restore();
    }
}

#[test]
fn missing_and_foreign_segments() {
    // Three segments of one record each: 0, 1, 2.
    let ours = Fixture::of(small(2), &[&[3862], &[3862], &[3862]]);
    fs::remove_file(ours.segment(1)).unwrap();
    assert_eq!(ours.damage(2, 0), (0, Damage::Gap { size: 1, first: 2 }));
    ours.restore();

    // Without the newest, the journal is sound but older than what was published.
    fs::remove_file(ours.segment(2)).unwrap();
    let before = snapshot(&ours.path);
    let error = open(&ours.path, 3).unwrap_err();
    assert!(matches!(error, StoreError::Rollback { size: 2, known: 3, .. }), "{error}");
    assert!(snapshot(&ours.path) == before);
    assert_eq!(open(&ours.path, 2).unwrap().1, ours.records[..2]);
    ours.restore();

    // Another journal's, of the same place and sizes, with another past.
    let theirs = Fixture::of(small(2), &[&[3000], &[3862], &[3862]]);
    fs::copy(theirs.segment(1), ours.segment(1)).unwrap();
    assert_eq!(ours.damage(1, 0), (0, Damage::Chain));
    ours.restore();

    // Another name.
    fs::rename(ours.segment(2), ours.path.join(segment_name(3))).unwrap();
    let error = open(&ours.path, 0).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { damage: Damage::SegmentHeader, .. }), "{error}");
    ours.restore();

    // Names that are not segments are none of the journal's business.
    for name in ["0000000000000000000", "+0000000000000000009", "99999999999999999999", "x"] {
        fs::write(ours.path.join(name), "?").unwrap();
    }
    assert_eq!(open(&ours.path, 3).unwrap().1, ours.records);
}

/// A journal of one segment that begins after `before`, with one record as it is given.
fn segment_with(before: Position, digest: Hash, record: &Record) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut bytes = SegmentHeader { len: 3 * BLOCK_LEN, before }.to_block();
    record.write(&Position { digest, ..before }, &mut bytes);
    bytes.resize(3 * BLOCK, 0);
    fs::write(dir.path().join(segment_name(before.head.size)), &bytes).unwrap();
    dir
}

#[test]
fn whole_records_that_do_not_follow_are_damage_and_never_torn() {
    let past = Position {
        head: TreeHead { size: 1, root: sha256(&1_u64.to_be_bytes()) },
        time_ms: 1_700_000_000_001,
        digest: Hash::new([9; 32]),
    };
    let next = record(1, &[5, 6]);
    let with = |change: &dyn Fn(&mut Record)| {
        let mut bad = next.clone();
        change(&mut bad);
        bad
    };
    for (n, (digest, bad)) in [
        (Hash::new([8; 32]), next.clone()),
        (past.digest, with(&|r| (r.first, r.head.size) = (2, 4))),
        (past.digest, with(&|r| r.head.size = 4)),
        (past.digest, with(&|r| r.time_ms = past.time_ms - 1)),
        (past.digest, record(1, &[])),
        (past.digest, with(&|r| (r.first, r.head.size) = (u64::MAX, 1))),
    ]
    .into_iter()
    .enumerate()
    {
        let dir = segment_with(past, digest, &bad);
        let error = open(dir.path(), 1).unwrap_err();
        assert!(
            matches!(error, StoreError::Damaged { offset: 4096, damage: Damage::Chain, .. }),
            "{n}: {error}"
        );
    }
    let dir = segment_with(past, past.digest, &next);
    assert_eq!(open(dir.path(), 3).unwrap().1, [next]);
    // The largest tree that there may be, and one more.
    let almost = Position { head: TreeHead { size: (1 << 63) - 2, ..past.head }, ..past };
    let last = Record { time_ms: past.time_ms, ..record(almost.head.size, &[1]) };
    let dir = segment_with(almost, past.digest, &last);
    assert_eq!(open(dir.path(), 3).unwrap().1, [last]);
    let over = Record { time_ms: past.time_ms, ..record(almost.head.size, &[1, 1]) };
    let dir = segment_with(almost, past.digest, &over);
    assert!(matches!(open(dir.path(), 3), Err(StoreError::Damaged { damage: Damage::Chain, .. })));
}

#[test]
fn a_first_segment_with_a_past_is_damage() {
    for before in [
        Position { time_ms: 1, ..Position::START },
        Position { digest: Hash::new([1; 32]), ..Position::START },
        Position { head: TreeHead { size: 0, root: Hash::new([0; 32]) }, ..Position::START },
    ] {
        let dir = segment_with(before, before.digest, &record(0, &[1]));
        let error = open(dir.path(), 0).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { damage: Damage::SegmentHeader, .. }));
    }
}

#[test]
fn a_leftover_of_a_crash_goes_only_when_the_journal_is_accepted() {
    let fixture = Fixture::new();
    let leftover = fixture.path.join("new.tmp");
    fs::write(&leftover, "half a segment").unwrap();
    replay(&fixture.path).unwrap();
    let error = open(&fixture.path, 9).unwrap_err();
    assert!(matches!(error, StoreError::Rollback { size: 8, known: 9, .. }), "{error}");
    assert!(leftover.exists());
    open(&fixture.path, 8).unwrap();
    assert!(snapshot(&fixture.path) == fixture.files);
}

#[test]
fn an_error_repeats_itself() {
    let fixture = Fixture::new();
    fs::write(fixture.segment(1), [0; SEGMENT]).unwrap();
    let mut replay = Replay::open(&fixture.path).unwrap();
    for _ in 0..2 {
        assert!(replay.next_record().unwrap().is_some());
    }
    for _ in 0..3 {
        assert!(matches!(replay.next_record(), Err(StoreError::Damaged { .. })));
    }
    assert!(matches!(Journal::resume(replay, 0, small(5)), Err(StoreError::Damaged { .. })));
}
