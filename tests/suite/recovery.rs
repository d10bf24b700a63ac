//! Start-up, which is the only recovery: what a crash leaves, and what no crash can leave.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use bytes::Bytes;
use jejak::{
    log::{OpenError, Options, ReadError},
    store::{BLOCK_LEN, Journal, JournalOptions, LOCK_WAIT_MAX, Record, Replay, StoreError},
};
use jejak_proofs::{
    merkle::{Hash, TreeHead},
    note::{Checkpoint, Policy, SigningKey},
};

use crate::{
    directory::{Directory, JOURNAL, OPTIONS, check, check_some, fill},
    election::{election, entry, key},
    oracle,
};

/// Where the batches of [`crashed`] end.
const SIZES: [u64; 8] = [1, 3, 50, 250, 300, 599, 600, 601];

/// What a killed process leaves that had made [`SIZES`]: the directory, and the checkpoint of
/// each size. Its journal has every record.
async fn crashed() -> (Directory, Vec<String>) {
    let directory = Directory::new();
    let options =
        Options { journal: JournalOptions { segment_len: 4 << 20, ..JOURNAL }, ..OPTIONS };
    let log = directory.open_with(&options).unwrap();
    let mut notes = vec![log.published().note.to_string()];
    for ends in SIZES.windows(2) {
        let batch = (ends[0]..ends[1]).map(|number| Bytes::from(entry(number))).collect();
        let logged = log.submit_batch(batch).await.unwrap();
        assert!(logged.results.iter().all(Result::is_ok));
        notes.push(log.published().note.to_string());
    }
    let image = directory.crash();
    log.close().unwrap();
    (image, notes)
}

fn entries(size: u64) -> Vec<Vec<u8>> {
    (0..size).map(entry).collect()
}

/// The log starts with `size` entries, every receipt verifies, and it goes on, also after a clean
/// stop and a further crash.
async fn recovers(directory: &Directory, size: u64, what: &str) {
    let log = directory.open().unwrap_or_else(|error| panic!("{what}: {error}"));
    let mut all = entries(size);
    check(&log, &all);
    assert_eq!(log.submit(entry(5_000).into()).await.unwrap().index, size, "{what}");
    all.push(entry(5_000));
    let image = directory.crash();
    log.close().unwrap();
    for directory in [directory, &image] {
        let log = directory.open().unwrap_or_else(|error| panic!("{what}, again: {error}"));
        check_some(&log, &all, 50);
        assert!(!log.submit(entry(5_000).into()).await.unwrap().new, "{what}");
        log.close().unwrap();
    }
}

/// The log does not start, and nothing was changed.
fn refused(directory: &Directory, what: &str) -> OpenError {
    let before = directory.files();
    for read_only in [false, true] {
        match directory.open_with(&Options { read_only, ..OPTIONS }) {
            Ok(log) => {
                log.close().unwrap();
                assert!(read_only, "{what}: it was opened");
            }
            Err(error) if !read_only => {
                assert!(directory.files() == before, "{what}: it was changed");
                return error;
            }
            Err(_) => {}
        }
    }
    unreachable!("opened for writing first")
}

fn put(directory: &Directory, name: &str, bytes: &[u8]) {
    let path = directory.log().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn remove(directory: &Directory, name: &str) {
    fs::remove_file(directory.log().join(name)).unwrap();
}

fn signed(size: u64, root: Hash, key: &SigningKey) -> String {
    Checkpoint::sign(TreeHead { size, root }, key).unwrap().note().to_owned()
}

const TILES: [&str; 4] = ["tile/0/000", "tile/0/001", "tile/entries/000", "tile/entries/001"];

#[tokio::test]
async fn a_crash_between_commit_and_files_loses_nothing() {
    let (image, notes) = crashed().await;
    recovers(&image.crash(), 601, "as it was").await;
    for (note, size) in notes.iter().zip(SIZES) {
        // The process ended after the commit, before tiles or checkpoint, since this checkpoint.
        let directory = image.crash();
        put(&directory, "checkpoint", note.as_bytes());
        for tile in TILES {
            remove(&directory, tile);
        }
        recovers(&directory, 601, &format!("checkpoint of {size}, no tiles")).await;
    }
    for tile in TILES {
        for bytes in [None, Some(&[][..]), Some(&[0; 8192]), Some(b"half"), Some(&[0; 300_000])] {
            let directory = image.crash();
            match bytes {
                None => remove(&directory, tile),
                Some(bytes) => put(&directory, tile, bytes),
            }
            recovers(&directory, 601, &format!("{tile}: {:?}", bytes.map(<[u8]>::len))).await;
        }
    }
}

#[tokio::test]
async fn a_checkpoint_file_may_be_lost_in_a_power_cut() {
    let (image, _) = crashed().await;
    for len in [0, 1, 200, 4096] {
        let directory = image.crash();
        put(&directory, "checkpoint", &vec![0; len]);
        recovers(&directory, 601, &format!("{len} zeros")).await;
    }
    let directory = image.crash();
    put(&directory, "tmp/17", b"no name yet");
    put(&directory, "derived/ledger.tmp", b"half a snapshot");
    recovers(&directory, 601, "leftovers").await;
    assert!(!directory.log().join("tmp/17").exists());
}

fn is_missing(error: &OpenError, name: &str) -> bool {
    matches!(error, OpenError::Read(ReadError::Missing(file)) if file == name)
}

#[tokio::test]
async fn a_missing_checkpoint_file_is_damage_and_no_first_start() {
    let (image, _) = crashed().await;
    let directory = image.crash();
    remove(&directory, "checkpoint");
    let error = refused(&directory, "no checkpoint");
    assert!(is_missing(&error, "checkpoint"), "{error}");
    // The last record was published, and looks torn now: nobody is left to say so.
    let (path, begins) = records(&directory);
    write_at(&path, &[0x55], begins.last().unwrap() + 150);
    let error = refused(&directory, "no checkpoint, a torn record");
    assert!(is_missing(&error, "checkpoint"), "{error}");
}

#[tokio::test]
async fn a_snapshot_of_the_ledger_knows_how_far_the_log_went() {
    let directory = Directory::new();
    let log = directory.open().unwrap();
    fill(&log, election(), 30).await;
    log.close().unwrap();
    let (path, begins) = records(&directory);
    let end = fs::metadata(&path).unwrap().len();
    let last = *begins.last().unwrap();
    put(&directory, "checkpoint", &[0; 300]);
    recovers(&directory.crash(), 30, "the snapshot stands for the end").await;

    write_at(&path, &[0x55], last + 150);
    let error = refused(&directory, "a torn record that was published");
    assert!(matches!(error, OpenError::Store(StoreError::Damaged { .. })), "{error}");
    write_at(&path, &vec![0; (end - last) as usize], last);
    let error = refused(&directory, "an old journal");
    assert!(matches!(error, OpenError::Store(StoreError::Rollback { known: 30, .. })), "{error}");
    // So is the journal of a shorter log beside it.
    let other = Directory::new();
    put(&other, "derived/ledger", &other_snapshot(20).await);
    let error = refused(&other, "the snapshot of a longer log");
    assert!(matches!(error, OpenError::Store(StoreError::Rollback { size: 1, .. })), "{error}");
    // A damaged snapshot knows nothing.
    let snapshot = directory.log().join("derived/ledger");
    let mut bytes = fs::read(&snapshot).unwrap();
    bytes[60] ^= 1;
    fs::write(&snapshot, bytes).unwrap();
    directory.open().unwrap().close().unwrap();
}

/// The last segment, and where in it each record begins.
fn records(directory: &Directory) -> (PathBuf, Vec<u64>) {
    let segments = fs::read_dir(directory.log().join("journal")).unwrap();
    let path = segments.map(|segment| segment.unwrap().path()).max().unwrap();
    let bytes = fs::read(&path).unwrap();
    let blocks = bytes.chunks(BLOCK_LEN as usize).zip((0..).step_by(BLOCK_LEN as usize));
    let begins = blocks.filter(|(block, _)| block.starts_with(b"\x89jejakR1"));
    (path, begins.map(|(_, at)| at).collect())
}

fn write_at(path: &Path, bytes: &[u8], at: u64) {
    OpenOptions::new().write(true).open(path).unwrap().write_all_at(bytes, at).unwrap();
}

/// Like [`crashed`], but as if the last batch had been torn while it was written.
async fn torn() -> (Directory, Vec<String>) {
    let (image, notes) = crashed().await;
    put(&image, "checkpoint", notes[6].as_bytes());
    (image, notes)
}

#[tokio::test]
async fn a_torn_record_is_dropped_where_nobody_knows_of_it() {
    let (image, notes) = torn().await;
    let (path, begins) = records(&image);
    let name = path.strip_prefix(image.path()).unwrap();
    let last = *begins.last().unwrap();
    let whole = fs::read(&path).unwrap();
    let len = &whole[last as usize + 8..][..8];
    let len = u64::from_be_bytes(len.try_into().unwrap()) as usize;
    for kept in [0, 1, 8, 104, len / 2, len - 1] {
        let directory = image.crash();
        write_at(&directory.path().join(name), &vec![0; 8192 - kept], last + kept as u64);
        recovers(&directory, 600, &format!("{kept} bytes of the record")).await;
    }
    let directory = image.crash();
    write_at(&directory.path().join(name), &[whole[last as usize + 150] ^ 1], last + 150);
    recovers(&directory, 600, "a flipped bit").await;

    // The same is damage once the head was made public, and so is a gap before a whole record.
    let directory = image.crash();
    write_at(&directory.path().join(name), &[whole[last as usize + 150] ^ 1], last + 150);
    put(&directory, "checkpoint", notes[7].as_bytes());
    let error = refused(&directory, "published");
    assert!(matches!(error, OpenError::Store(StoreError::Damaged { .. })), "{error}");
    for begin in &begins[..begins.len() - 1] {
        let directory = image.crash();
        let at = begin + 150;
        write_at(&directory.path().join(name), &[whole[at as usize] ^ 1], at);
        let error = refused(&directory, "in the middle");
        assert!(matches!(error, OpenError::Store(StoreError::Damaged { .. })), "{error}");
    }
}

#[tokio::test]
async fn a_journal_behind_what_was_published_is_a_rollback() {
    let (image, notes) = crashed().await;
    let old = image.crash();
    let (path, begins) = records(&old);
    let end = fs::metadata(&path).unwrap().len();
    // A restored disk: the last three records (300 to 601) never happened.
    let cut = begins[begins.len() - 3];
    write_at(&path, &vec![0; (end - cut) as usize], cut);
    put(&old, "checkpoint", notes[4].as_bytes());
    // The tiles know.
    let error = refused(&old, "tiles ahead");
    let rollback = |error: &OpenError| match error {
        OpenError::Store(StoreError::Rollback { size, known, .. }) => Some((*size, *known)),
        _ => None,
    };
    assert_eq!(rollback(&error), Some((300, 512)), "{error}");
    for tile in ["tile/0/001", "tile/entries/001"] {
        remove(&old, tile);
    }
    // The checkpoint knows.
    for (size, note) in SIZES.iter().zip(&notes).skip(5) {
        put(&old, "checkpoint", note.as_bytes());
        let error = refused(&old, "checkpoint ahead");
        assert_eq!(rollback(&error), Some((300, *size)), "{error}");
        // For reading, what is left of it verifies under the newest head.
        let log = old.open_with(&Options { read_only: true, ..OPTIONS }).unwrap();
        assert_eq!(log.published().head.size, *size);
        assert_eq!(log.entry(17).unwrap().unwrap(), entry(17));
    }
    put(&old, "checkpoint", notes[4].as_bytes());
    recovers(&old, 300, "nobody knows").await;
}

#[tokio::test]
async fn another_tree_of_a_published_size_is_a_fork() {
    let (image, _) = crashed().await;
    let leaves: Vec<Hash> = entries(601).iter().map(|entry| oracle::leaf(entry)).collect();
    for size in SIZES {
        let directory = image.crash();
        let forged = signed(size, oracle::leaf(b"other"), &election().log_key);
        put(&directory, "checkpoint", forged.as_bytes());
        let error = refused(&directory, "another root");
        assert!(matches!(error, OpenError::Fork { size: at } if at == size), "{error}");
    }
    // A true tree that no batch ended with was never signed by the owner of this journal.
    for size in [2, 251, 512, 598] {
        let directory = image.crash();
        let root = oracle::root(&leaves[..size as usize]);
        put(&directory, "checkpoint", signed(size, root, &election().log_key).as_bytes());
        let error = refused(&directory, "within a record");
        assert!(matches!(error, OpenError::Fork { size: at } if at == size), "{error}");
    }
}

#[tokio::test]
async fn a_checkpoint_file_that_is_no_checkpoint_of_ours_is_damage() {
    let (image, notes) = crashed().await;
    let root = oracle::root(&entries(601).iter().map(|e| oracle::leaf(e)).collect::<Vec<_>>());
    let stranger = key(election().log_key.name(), "stranger");
    let other = key("log.example/other", "log");
    let cut = &notes[7][..notes[7].len() - 3];
    let flipped = notes[7].replacen('\n', "\n0", 1);
    for bytes in [&signed(601, root, &stranger), &signed(601, root, &other), cut, &flipped, "x"] {
        let directory = image.crash();
        put(&directory, "checkpoint", bytes.as_bytes());
        let error = refused(&directory, bytes);
        assert!(matches!(error, OpenError::Checkpoint(_)), "{error}");
    }
}

#[tokio::test]
async fn a_policy_that_pins_something_else_stops_the_start() {
    let (image, _) = crashed().await;
    let stranger = key(election().log_key.name(), "stranger").verifier();
    let ours = election().log_key.verifier();
    let other = oracle::leaf(b"other");
    let pins = |key, genesis: &Hash| Policy::compose(&[key], None, genesis).unwrap();
    type Expected = fn(&OpenError) -> bool;
    let cases: [(String, Expected); 4] = [
        (pins(stranger, &election().genesis), |error| matches!(error, OpenError::LogKey(_))),
        (pins(ours, &other), |error| matches!(error, OpenError::Genesis)),
        ("log nothing\n".to_owned(), |error| matches!(error, OpenError::Policy { .. })),
        (election().policy.split_once('\n').unwrap().1.to_owned(), |error| {
            matches!(error, OpenError::LogKey(_))
        }),
    ];
    for (policy, expected) in cases {
        let directory = image.crash();
        remove(&directory, "checkpoint");
        fs::write(directory.path().join("policy"), &policy).unwrap();
        let error = refused(&directory, &policy);
        assert!(expected(&error), "{policy}: {error}");
    }
    fs::remove_file(image.path().join("policy")).unwrap();
    assert!(matches!(refused(&image, "no policy"), OpenError::Io { .. }));
}

#[tokio::test]
async fn a_snapshot_is_never_the_truth() {
    let directory = Directory::new();
    let log = directory.open().unwrap();
    fill(&log, election(), 200).await;
    let chain = election().chain(200, 3);
    for revision in &chain[..3] {
        log.submit(revision.clone().into()).await.unwrap();
    }
    log.close().unwrap();
    let snapshot = fs::read(directory.log().join("derived/ledger")).unwrap();
    let mut cases = vec![None, Some(vec![]), Some(snapshot[..snapshot.len() / 2].to_vec())];
    cases.extend((0..snapshot.len()).step_by(snapshot.len() / 20).map(|at| {
        let mut flipped = snapshot.clone();
        flipped[at] ^= 1;
        Some(flipped)
    }));
    // Of a log that went another way.
    cases.push(Some(other_snapshot(100).await));
    let mut all = entries(200);
    all.extend_from_slice(&chain[..3]);
    for (case, snapshot) in cases.into_iter().enumerate() {
        let directory = directory.crash();
        match snapshot {
            None => remove(&directory, "derived/ledger"),
            Some(bytes) => put(&directory, "derived/ledger", &bytes),
        }
        let log = directory.open().unwrap();
        check(&log, &all);
        let rejected = |error| match error {
            jejak::log::SubmitError::Rejected(rejection) => rejection,
            other => panic!("{case}: {other}"),
        };
        let conflict = rejected(log.submit(election().rival(200).into()).await.unwrap_err());
        let head = conflict.head.unwrap();
        assert_eq!((head.index, head.seq, head.leaf), (202, 2, oracle::leaf(&chain[2])), "{case}");
        assert_eq!(log.submit(chain[3].clone().into()).await.unwrap().index, 203, "{case}");
        assert!(log.submit(entry(400).into()).await.unwrap().new, "{case}");
        log.close().unwrap();
    }
}

#[tokio::test]
async fn a_register_that_is_gone_or_damaged_is_named() {
    let (image, _) = crashed().await;
    for register in fs::read_dir(image.log().join("register")).unwrap() {
        let name = format!("register/{}", register.unwrap().file_name().into_string().unwrap());
        let directory = image.crash();
        remove(&directory, &name);
        let error = directory.open().unwrap_err();
        assert!(is_missing(&error, &name), "{error}");
        put(&directory, &name, b"of another hash");
        let error = directory.open().unwrap_err();
        let damaged = matches!(&error, OpenError::Store(StoreError::Damaged { path, .. })
            if path.ends_with(&name));
        assert!(damaged, "{error}");
    }
}

/// The snapshot of another log of the same election, five entries longer than `size`.
async fn other_snapshot(size: u64) -> Vec<u8> {
    let other = Directory::new();
    let log = other.open().unwrap();
    fill(&log, election(), size).await;
    for revision in election().chain(400, 4) {
        log.submit(revision.into()).await.unwrap();
    }
    log.close().unwrap();
    fs::read(other.log().join("derived/ledger")).unwrap()
}

/// A log whose journal was trimmed: it begins above entry 512.
async fn trimmed() -> (Directory, Vec<Vec<u8>>) {
    let directory = Directory::new();
    let log = directory.open().unwrap();
    fill(&log, election(), 700).await;
    let started = Instant::now();
    let mut size = 700;
    let begin = |directory: &Directory| {
        Replay::open(&directory.log().join("journal")).unwrap().start().size
    };
    while begin(&directory) < 512 {
        assert!(started.elapsed() < Duration::from_secs(20), "it is never trimmed");
        log.submit(entry(size).into()).await.unwrap();
        size += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let image = directory.crash();
    log.close().unwrap();
    (image, entries(size))
}

#[tokio::test]
async fn a_trimmed_journal_stands_on_durable_files() {
    let (image, all) = trimmed().await;
    recovers(&image.crash(), all.len() as u64, "trimmed").await;
    let leaves: Vec<Hash> = all.iter().map(|entry| oracle::leaf(entry)).collect();
    let begin = Replay::open(&image.log().join("journal")).unwrap().start().size as usize;
    let at = |size: usize, root| signed(size as u64, root, &election().log_key);
    // A checkpoint from before the journal begins is compared with the tiles.
    for size in [0, 1, 3, 255, 256, 300, 512, begin] {
        let directory = image.crash();
        let old = at(size, oracle::root(&leaves[..size]));
        put(&directory, "checkpoint", old.as_bytes());
        let read_only = directory.open_with(&Options { read_only: true, ..OPTIONS });
        if size > 0 {
            check(&read_only.unwrap(), &all[..size]);
        }
        recovers(&directory, all.len() as u64, &format!("checkpoint of {size}")).await;
        if size > 0 {
            let directory = image.crash();
            put(&directory, "checkpoint", at(size, oracle::leaf(b"other")).as_bytes());
            let error = refused(&directory, "fork");
            assert!(matches!(error, OpenError::Fork { .. }), "{size}: {error}");
        }
    }
    // What the journal no longer holds cannot be made again.
    for tile in ["tile/0/000", "tile/0/001"] {
        let directory = image.crash();
        remove(&directory, tile);
        let error = refused(&directory, tile);
        let missing = matches!(&error, OpenError::Read(ReadError::Missing(name)) if name == tile);
        assert!(missing, "{error}");
        let directory = image.crash();
        let mut bytes = fs::read(directory.log().join(tile)).unwrap();
        bytes[100] ^= 1;
        put(&directory, tile, &bytes);
        let error = refused(&directory, tile);
        assert!(matches!(error, OpenError::Read(ReadError::Damaged(_))), "{error}");
    }
    let directory = image.crash();
    let other = oracle::leaf(b"other");
    let policy = Policy::compose(&[election().log_key.verifier()], None, &other).unwrap();
    fs::write(directory.path().join("policy"), policy).unwrap();
    assert!(matches!(refused(&directory, "genesis"), OpenError::Genesis));
}

#[tokio::test]
async fn read_only_serves_what_was_published_and_touches_nothing() {
    let (image, notes) = crashed().await;
    let options = Options { read_only: true, ..OPTIONS };
    // Also beside the process that writes.
    let writer = image.crash();
    let writing = writer.open().unwrap();
    check(&writer.open_with(&options).unwrap(), &entries(601));
    writing.close().unwrap();
    for (size, note) in SIZES.into_iter().zip(&notes) {
        let directory = image.crash();
        put(&directory, "checkpoint", note.as_bytes());
        let before = directory.files();
        let log = directory.open_with(&options).unwrap();
        check(&log, &entries(size));
        assert_eq!(*log.published().note, **note, "the checkpoint that was signed then");
        assert!(!log.status().accepting);
        assert!(log.submit(entry(5_000).into()).await.is_err());
        log.close().unwrap();
        assert!(directory.files() == before);
    }
    remove(&image, "checkpoint");
    let error = image.open_with(&options).unwrap_err();
    assert!(matches!(error, OpenError::Read(ReadError::Missing(_))), "it signs nothing: {error}");
}

#[tokio::test]
async fn one_directory_has_one_writer() {
    let directory = Directory::new();
    let log = directory.open().unwrap();
    let started = Instant::now();
    let error = directory.open().unwrap_err();
    let own = std::process::id();
    let locked = matches!(error, OpenError::Store(StoreError::Locked { pid: Some(pid), .. })
        if pid == own);
    assert!(locked, "{error}");
    assert!(started.elapsed() < LOCK_WAIT_MAX + Duration::from_secs(2));
    fill(&log, election(), 10).await;
    log.close().unwrap();
    recovers(&directory, 10, "after the first one has gone").await;
}

/// A journal written by hand: entry 0, then a record with this head and entry.
fn forged(entry: &[u8], root: Hash) -> Directory {
    let directory = Directory::new();
    let path = directory.log().join("journal");
    let mut journal = Journal::open::<StoreError>(&path, 1, JOURNAL, |_| Ok(())).unwrap();
    let record = Record {
        first: 1,
        time_ms: journal.time_ms(),
        head: TreeHead { size: 2, root },
        entries: vec![Bytes::copy_from_slice(entry)],
    };
    journal.reserve(entry.len() as u64 + 2).unwrap();
    journal.append(&record).unwrap();
    directory
}

#[test]
fn a_journal_that_contradicts_itself_or_the_rules_stops_the_start() {
    let directory = forged(&entry(1), oracle::leaf(b"wrong"));
    let error = refused(&directory, "wrong root");
    assert!(matches!(error, OpenError::Root { first: 1 }), "{error}");
    for bad in [b"not an entry".to_vec(), entry(5), election().freeze()[1..].to_vec()] {
        let leaves = [oracle::leaf(&entry(0)), oracle::leaf(&bad)];
        let directory = forged(&bad, oracle::root(&leaves));
        let error = directory.open().unwrap_err();
        assert!(matches!(error, OpenError::OwnEntry { index: 1 }), "{error}");
    }
    let leaves = [oracle::leaf(&entry(0)), oracle::leaf(&entry(1))];
    let directory = forged(&entry(1), oracle::root(&leaves));
    let log = directory.open().unwrap();
    check(&log, &entries(2));
    log.close().unwrap();
}
