//! The log itself: what it admits, in which order, and what its answers rest on.

use std::{
    collections::BTreeSet,
    fs::{self, OpenOptions},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::{
        Arc,
        mpsc::{RecvTimeoutError, channel},
    },
    thread,
    time::Duration,
};

use bytes::Bytes;
use jejak::log::{
    BATCH_BYTES_MAX, BATCH_ENTRIES_MAX, BatchItem, CreateError, Log, LogKeys, OpenError, Rejection,
    SubmitError, judge_genesis,
};
use jejak_proofs::{
    merkle::{Hash, sha256},
    note::{Policy, SigningKey},
    tally::{ChainHead, Field, LogKey, Refusal},
};

use rustix::fs::{CWD, Mode, OFlags, mkfifoat};
use tokio::time::sleep;

use crate::{
    directory::{Directory, OPTIONS, check, fill},
    election::{Election, ORIGIN, election, entry, key},
    fixture::Fixture,
    oracle,
};

async fn log_of(size: u64) -> (Directory, Log) {
    let directory = Directory::new();
    let log = directory.open().unwrap();
    fill(&log, election(), size).await;
    (directory, log)
}

type Item = Result<BatchItem, Rejection>;

async fn batch(log: &Log, entries: &[Vec<u8>]) -> Vec<Item> {
    let entries = entries.iter().cloned().map(Bytes::from).collect();
    log.submit_batch(entries).await.unwrap().results
}

/// `n7` for new at 7, `k7` for known at 7, or the code.
fn short(item: &Item) -> String {
    match item {
        Ok(item) => format!("{}{}", if item.new { 'n' } else { 'k' }, item.index),
        Err(rejection) => rejection.code.to_owned(),
    }
}

async fn outcomes(log: &Log, entries: &[Vec<u8>]) -> String {
    batch(log, entries).await.iter().map(short).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn every_receipt_is_for_its_entry_under_the_tree_of_the_rfc() {
    let (_directory, log) = log_of(3).await;
    let mut leaves: Vec<Hash> = (0..3).map(|n| oracle::leaf(&entry(n))).collect();
    for number in 3..40 {
        let logged = log.submit(entry(number).into()).await.unwrap();
        leaves.push(oracle::leaf(&entry(number)));
        assert_eq!((logged.index, logged.new), (number, true));
        assert_eq!(logged.leaf, leaves[number as usize]);
        let (index, head) = oracle::receipt(&logged.receipt, &entry(number), &election().policy);
        assert_eq!((index, head), (number, oracle::head(&leaves)));
    }
    let logged = log.submit(entry(5).into()).await.unwrap();
    assert_eq!((logged.index, logged.new), (5, false));
    let (index, head) = oracle::receipt(&logged.receipt, &entry(5), &election().policy);
    assert_eq!((index, head), (5, oracle::head(&leaves)), "a fresh receipt");
    log.close().unwrap();
}

#[tokio::test]
async fn same_bytes_are_known_whatever_became_of_them() {
    let (directory, log) = log_of(8).await;
    let chain = election().chain(8, 2);
    let twice = [entry(9), entry(9), chain[0].clone(), entry(9), chain[0].clone()];
    assert_eq!(outcomes(&log, &twice).await, "n8 k8 n9 k8 k9");
    // Revised, revoked, restarted without and with a snapshot, frozen: always the same index.
    assert_eq!(outcomes(&log, &chain[1..]).await, "n10 n11");
    assert_eq!(outcomes(&log, &chain).await, "k9 k10 k11");
    assert_eq!(outcomes(&log, &[election().revoke_official()]).await, "n12");
    assert_eq!(outcomes(&log, &[chain[0].clone(), entry(10)]).await, "k9 key_revoked");
    let crashed = directory.crash();
    log.close().unwrap();
    for directory in [crashed, directory.crash()] {
        let log = directory.open().unwrap();
        assert_eq!(outcomes(&log, &chain).await, "k9 k10 k11");
        assert_eq!(outcomes(&log, &[entry(10), entry(1), entry(0)]).await, "key_revoked k1 k0");
        let observed = [election().freeze(), entry(999)];
        assert_eq!(outcomes(&log, &observed).await, "n13 log_frozen");
        assert_eq!(outcomes(&log, &[chain[0].clone(), observed[0].clone()]).await, "k9 k13");
        log.close().unwrap();
        let again = directory.open().unwrap();
        assert_eq!(outcomes(&again, &[observed[1].clone(), entry(5)]).await, "log_frozen k5");
        again.close().unwrap();
    }
}

#[tokio::test]
async fn same_text_under_other_lines_is_a_duplicate() {
    let (_directory, log) = log_of(260).await;
    let (fresh, stored) = (election().cosigned(300), election().cosigned(3));
    // The head is in a bundle file, in memory, or earlier in the batch.
    assert_eq!(outcomes(&log, &[stored, election().cosigned(258)]).await, "duplicate duplicate");
    assert_eq!(outcomes(&log, &[entry(300), fresh.clone()]).await, "n260 duplicate");
    assert_eq!(outcomes(&log, &[fresh, entry(300)]).await, "duplicate k260");
    // Other words are a conflict, also where the head is in this batch.
    assert_eq!(outcomes(&log, &[entry(301), election().rival(301)]).await, "n261 conflict");
    log.close().unwrap();
}

#[tokio::test]
async fn a_batch_may_hold_a_chain_and_the_first_of_two_rivals_wins() {
    let (_directory, log) = log_of(4).await;
    let chain = election().chain(10, 4);
    assert_eq!(outcomes(&log, &chain).await, "n4 n5 n6 n7 n8");
    let (rival, entry) = (election().rival(11), entry(11));
    let results = batch(&log, &[rival.clone(), entry.clone(), rival.clone()]).await;
    assert_eq!(results.iter().map(short).collect::<Vec<_>>(), ["n9", "conflict", "k9"]);
    let head = ChainHead { index: 9, leaf: oracle::leaf(&rival), seq: 0 };
    assert_eq!(results[1].as_ref().unwrap_err().head.as_deref(), Some(&head));
    // Two revisions of one head.
    let one = election().revision(10, 5, oracle::leaf(&chain[4]));
    let late = election().revision(10, 5, oracle::leaf(&chain[3]));
    assert_eq!(outcomes(&log, &[late, one]).await, "conflict n10");
    // A refusal in the middle changes nothing for the rest.
    let gap = election().chain(12, 3);
    let holes = [gap[0].clone(), gap[2].clone(), gap[1].clone(), gap[2].clone()];
    assert_eq!(outcomes(&log, &holes).await, "n11 conflict n12 n13");
    log.close().unwrap();
}

#[tokio::test]
async fn a_key_counts_from_the_batch_after_its_mandate_and_not_after_its_revocation() {
    let (_directory, log) = log_of(4).await;
    let new = key("observer/0", "new");
    let speaks = election().observed(&new);
    let both = [election().mandate(&[&new]), speaks.clone()];
    assert_eq!(outcomes(&log, &both).await, "n4 unknown_key");
    assert_eq!(outcomes(&log, std::slice::from_ref(&speaks)).await, "n5");
    let revoked = [entry(20), election().revoke_official(), entry(21), entry(20)];
    assert_eq!(outcomes(&log, &revoked).await, "n6 n7 key_revoked k6");
    log.close().unwrap();
}

#[tokio::test]
async fn whoever_comes_at_once_gets_one_place() {
    let (_directory, log) = log_of(3).await;
    let tasks: Vec<_> = (0..160)
        .map(|n| {
            let (log, entry) = (log.clone(), entry(3 + n / 4));
            tokio::spawn(async move { (n / 4, log.submit(entry.into()).await.unwrap()) })
        })
        .collect();
    let mut places = BTreeSet::new();
    let mut new = 0;
    for task in tasks {
        let (number, logged) = task.await.unwrap();
        new += u64::from(logged.new);
        let text = entry(3 + number);
        let (index, _) = oracle::receipt(&logged.receipt, &text, &election().policy);
        assert_eq!(index, logged.index);
        places.insert((number, index));
    }
    assert_eq!((new, places.len()), (40, 40), "each entry has one index");
    let indexes: BTreeSet<u64> = places.into_iter().map(|(_, index)| index).collect();
    assert_eq!(indexes, (3..43).collect(), "and each index one entry");
    let status = log.status();
    assert_eq!((status.size, status.batched, status.queue), (43, 42, 0));
    log.close().unwrap();
}

#[tokio::test]
async fn a_batch_over_a_limit_is_refused_whole() {
    let (_directory, log) = log_of(3).await;
    let many = vec![Bytes::from_static(b"x"); BATCH_ENTRIES_MAX + 1];
    let long = vec![Bytes::from(vec![b'x'; 65_533]); BATCH_BYTES_MAX / 65_535 + 1];
    for batch in [many, long] {
        let error = log.submit_batch(batch.clone()).await.unwrap_err();
        assert!(matches!(error, SubmitError::Rejected(Rejection { code: "too_large", .. })));
        assert!(log.submit_batch(batch[1..].to_vec()).await.is_ok());
    }
    log.close().unwrap();
}

#[tokio::test]
async fn a_manifest_takes_its_registers_from_the_directory() {
    let (directory, log) = log_of(4).await;
    let (manifest, units) = election().successor();
    let missing = Refusal::Invalid(Field::Registers).code();
    assert_eq!(outcomes(&log, std::slice::from_ref(&manifest)).await, missing);
    let register = directory.log().join("register").join(sha256(units.as_bytes()).to_string());
    fs::write(&register, &units[1..]).unwrap();
    assert_eq!(outcomes(&log, std::slice::from_ref(&manifest)).await, missing, "damaged");
    fs::write(&register, &units).unwrap();
    let village = election().tally_at("3");
    let both = [village.clone(), manifest.clone(), village.clone()];
    assert_eq!(outcomes(&log, &both).await, "invalid_unit n4 n5");
    assert_eq!(log.describe()["manifest"]["index"], 4);
    assert_eq!(log.describe()["manifest"]["version"], 2);
    let crashed = directory.crash();
    log.close().unwrap();
    let entries = [entry(0), entry(1), entry(2), entry(3), manifest, village];
    for directory in [crashed, directory.crash()] {
        let log = directory.open().unwrap();
        assert_eq!(log.describe()["manifest"]["version"], 2);
        check(&log, &entries);
        assert_eq!(outcomes(&log, &[entry(9)]).await, "n6");
        log.close().unwrap();
    }
}

#[tokio::test]
async fn a_fault_after_the_commit_ends_the_log_and_loses_nothing() {
    let (directory, log) = log_of(4).await;
    // The next file cannot be written: there is a file where its directory should be.
    let tmp = directory.log().join("tmp");
    fs::remove_dir_all(&tmp).unwrap();
    fs::write(&tmp, "").unwrap();
    let error = log.submit(entry(9).into()).await.unwrap_err();
    assert_eq!(error, SubmitError::Unavailable, "no receipt without a checkpoint that is there");
    log.failed().await;
    assert!(!log.status().accepting);
    assert_eq!(log.submit(entry(10).into()).await.unwrap_err(), SubmitError::Closing);
    assert_eq!(log.published().head.size, 4, "nobody was shown a tree without a checkpoint file");
    assert_eq!(log.entry(3).unwrap().unwrap(), entry(3), "reads go on");
    assert!(log.close().is_err());
    fs::remove_file(&tmp).unwrap();
    let again = directory.open().unwrap();
    check(&again, &[entry(0), entry(1), entry(2), entry(3), entry(9)]);
    assert_eq!(outcomes(&again, &[entry(9), entry(10)]).await, "k4 n5");
    again.close().unwrap();
}

#[tokio::test]
async fn a_fault_before_the_commit_ends_the_log_and_commits_nothing() {
    let (directory, log) = log_of(4).await;
    let (journal, away) = (directory.log().join("journal"), directory.log().join("away"));
    fs::rename(&journal, &away).unwrap();
    assert_eq!(log.submit(entry(9).into()).await.unwrap_err(), SubmitError::Unavailable);
    log.failed().await;
    assert!(log.close().is_err());
    fs::rename(&away, &journal).unwrap();
    let again = directory.open().unwrap();
    check(&again, &[entry(0), entry(1), entry(2), entry(3)]);
    assert_eq!(outcomes(&again, &[entry(9)]).await, "n4");
    again.close().unwrap();
}

#[tokio::test]
async fn a_duplicate_is_not_answered_from_damaged_files() {
    let (directory, log) = log_of(300).await;
    let bundle = directory.log().join("tile/entries/000");
    let good = fs::read(&bundle).unwrap();
    let mut bad = good.clone();
    let len = bad.len();
    // In the last entry of the bundle, 255.
    bad[len - 20] ^= 1;
    fs::write(&bundle, &bad).unwrap();
    assert_eq!(log.submit(entry(255).into()).await.unwrap_err(), SubmitError::Unavailable);
    assert_eq!(outcomes(&log, &[entry(254)]).await, "k254");
    fs::write(&bundle, &good).unwrap();
    assert_eq!(outcomes(&log, &[entry(255)]).await, "k255");

    // A tile that lies gives no receipt that its reader would refuse.
    let tile = directory.log().join("tile/0/000");
    let good = fs::read(&tile).unwrap();
    let mut bad = good.clone();
    bad[7 * 32] ^= 1;
    fs::write(&tile, &bad).unwrap();
    assert!(log.receipt(6).is_err() && log.receipt(7).is_err());
    assert!(log.entry(7).is_err(), "its leaf hash is not the one in the tile");
    let untouched = log.receipt(299).unwrap().unwrap();
    assert_eq!(oracle::receipt(&untouched, &entry(299), &election().policy).0, 299);
    assert_eq!(log.submit(entry(6).into()).await.unwrap_err(), SubmitError::Unavailable);
    fs::write(&tile, &good).unwrap();
    log.receipt(6).unwrap().unwrap();
    log.close().unwrap();
}

fn log_key(key: &SigningKey, from: u64, until: Option<u64>) -> LogKey {
    LogKey { from, until, vkey: key.verifier().to_string().into() }
}

// SPEC [C7]
#[tokio::test]
async fn a_key_signs_no_tree_outside_its_window() {
    let (directory, log) = log_of(4).await;
    let (old, new) = (&election().log_key, &key(ORIGIN, "next"));
    // A manifest that ends the key with itself is never taken; one that nobody signed is refused.
    let early = election().rekeyed(vec![log_key(old, 0, Some(5)), log_key(new, 5, None)]);
    let forged = [&early[..early.len() - 10], b"AAAAAAAA=\n"].concat();
    assert_eq!(outcomes(&log, &[forged]).await, "bad_signature");
    assert!(log.status().accepting);
    assert_eq!(outcomes(&log, &[early]).await, "unavailable");
    assert!(!log.status().accepting);
    // Whatever it says about sizes above 7, the key ends with 6.
    let handover = election().rekeyed(vec![log_key(old, 0, Some(7)), log_key(new, 7, None)]);
    assert_eq!(outcomes(&log, std::slice::from_ref(&handover)).await, "n4");
    assert!(log.status().accepting);
    let batch = [entry(4), entry(5), entry(4), b"no entry".to_vec(), entry(6)];
    assert_eq!(outcomes(&log, &batch).await, "n5 unavailable k5 malformed unavailable");
    assert!(!log.status().accepting);
    assert_eq!(log.published().head.size, 6);
    log.close().unwrap();

    // The new key goes on from the checkpoint that the old one signed, and signs none of its own.
    let policy = Policy::compose(&[old.verifier(), new.verifier()], None, &election().genesis);
    let policy = policy.unwrap();
    fs::write(directory.path().join("policy"), &policy).unwrap();
    let crashed = directory.crash();
    // As a power cut may leave it.
    fs::write(crashed.log().join("checkpoint"), "").unwrap();
    let log = Log::open(directory.path(), new.clone(), &OPTIONS).unwrap();
    let signed_by = |log: &Log, key: &SigningKey| {
        log.served().checkpoint.clone().verify(ORIGIN, [&key.verifier()]).is_ok()
    };
    assert_eq!((signed_by(&log, old), signed_by(&log, new)), (true, false));
    let logged = log.submit(entry(5).into()).await.unwrap();
    assert_eq!((signed_by(&log, old), signed_by(&log, new)), (false, true));
    assert_eq!(oracle::receipt(&logged.receipt, &entry(5), &policy).0, 6);
    log.close().unwrap();
    let error = directory.open().unwrap_err();
    assert!(matches!(error, OpenError::KeyWindow { size: 7, .. }), "{error}");

    // Without that checkpoint the old key has to make it once more.
    let error = Log::open(crashed.path(), new.clone(), &OPTIONS).unwrap_err();
    assert!(matches!(error, OpenError::KeyWindow { size: 6, .. }), "{error}");
    assert_eq!(fs::read(crashed.log().join("checkpoint")).unwrap(), b"", "nothing was signed");
    crashed.open().unwrap().close().unwrap();
    Log::open(crashed.path(), new.clone(), &OPTIONS).unwrap().close().unwrap();
}

// SPEC [Z1]
#[tokio::test]
async fn the_root_keys_alone_name_no_key_for_refusals() {
    let (directory, log) = log_of(4).await;
    let theirs = key(&format!("{ORIGIN}/refusal"), "refusal");
    let manifest = election().naming(&theirs);
    let sent = std::slice::from_ref(&manifest);
    let forged = [&manifest[..manifest.len() - 10], b"AAAAAAAA=\n"].concat();
    assert_eq!(outcomes(&log, &[forged]).await, "bad_signature");
    assert_eq!(outcomes(&log, sent).await, "unavailable");
    // Whatever else comes is taken.
    assert!(log.status().accepting);
    assert_eq!(outcomes(&log, &[entry(4)]).await, "n4");
    log.close().unwrap();
    let keys = LogKeys {
        note: vec![Arc::new(election().log_key.clone())],
        timestamped: vec![],
        refusals: vec![theirs],
    };
    let log = Log::open(directory.path(), keys, &OPTIONS).unwrap();
    assert_eq!(outcomes(&log, sent).await, "n5");
    log.close().unwrap();
}

// SPEC [C7] [C15]
#[tokio::test]
async fn while_windows_overlap_both_keys_sign() {
    let (directory, log) = log_of(4).await;
    log.close().unwrap();
    let (old, new) = (&election().log_key, &key(ORIGIN, "next"));
    let policy = Policy::compose(&[old.verifier(), new.verifier()], None, &election().genesis);
    fs::write(directory.path().join("policy"), policy.unwrap()).unwrap();
    let keys = || LogKeys {
        note: vec![Arc::new(old.clone()), Arc::new(new.clone())],
        timestamped: vec![],
        refusals: vec![],
    };
    let log = Log::open(directory.path(), keys(), &OPTIONS).unwrap();
    let signed_by = |log: &Log| {
        let by = |key: &SigningKey| {
            log.published().checkpoint.clone().verify(ORIGIN, [&key.verifier()]).is_ok()
        };
        (log.published().head.size, by(old), by(new))
    };
    // The manifest in force names the old key alone.
    assert_eq!(signed_by(&log), (4, true, false));
    let overlap = election().rekeyed(vec![log_key(old, 0, Some(7)), log_key(new, 6, None)]);
    let mut seen = Vec::new();
    for entry in [overlap, entry(4), entry(5), entry(6)] {
        assert!(log.submit(entry.into()).await.unwrap().new);
        seen.push(signed_by(&log));
    }
    // A window ends before its `until`.
    assert_eq!(seen, [(5, true, false), (6, true, true), (7, false, true), (8, false, true)]);
    let vkeys = log.describe()["vkeys"].as_array().unwrap().len();
    assert_eq!(vkeys, 2);
    log.close().unwrap();
    // The same bytes after a start.
    let note = fs::read(directory.log().join("checkpoint")).unwrap();
    let log = Log::open(directory.path(), keys(), &OPTIONS).unwrap();
    assert_eq!(log.published().note.as_bytes(), note);
    log.close().unwrap();
}

// SPEC [C7]
#[test]
fn a_log_begins_with_a_key_that_may_sign_one_entry() {
    let Election { log_key: key, units, contests, .. } = election();
    let judge = |window: LogKey| {
        let manifest = election().founded_with(vec![window]);
        judge_genesis(key, &manifest, units.as_bytes(), contests.as_bytes())
    };
    judge(log_key(key, 1, Some(2))).unwrap();
    for (from, until) in [(2, None), (0, Some(1))] {
        assert!(matches!(judge(log_key(key, from, until)), Err(CreateError::LogKey)));
    }
}

/// A tile that hangs when it is opened, until the returned path is opened for writing.
fn hang(tile: &Path) {
    fs::rename(tile, tile.with_extension("held")).unwrap();
    mkfifoat(CWD, tile, Mode::RUSR | Mode::WUSR).unwrap();
}

/// Opens a pipe that somebody may be waiting on; whoever waits goes on.
fn let_go(pipe: &Path) -> bool {
    let waits = OFlags::NONBLOCK.bits().cast_signed();
    OpenOptions::new().write(true).custom_flags(waits).open(pipe).is_ok()
}

#[tokio::test]
async fn an_answer_that_waits_for_a_disk_holds_up_nobody_else() {
    // One thread for all requests. The proof of a known entry needs a tile that is a file.
    let fixture = Fixture::new(520).await;
    let stall = fixture.stall().await;
    let log = fixture.log.clone();
    let alone = tokio::spawn(async move { log.submit(entry(300).into()).await });
    let log = fixture.log.clone();
    let both = vec![entry(301).into(), entry(302).into()];
    let batch = tokio::spawn(async move { log.submit_batch(both).await });
    while fixture.log.status().queue < 3 {
        sleep(Duration::from_millis(1)).await;
    }
    let tile = fixture.directory.log().join("tile/0/001");
    hang(&tile);
    // If this thread waits for the disk it can only be freed from another one.
    let (done, waiting) = channel();
    let watchdog = thread::spawn({
        let tile = tile.clone();
        move || {
            let mut late = 0;
            while waiting.recv_timeout(Duration::from_secs(10)) == Err(RecvTimeoutError::Timeout) {
                late += usize::from(let_go(&tile));
            }
            late
        }
    });
    stall.release_after(Duration::ZERO).join().unwrap();
    while !(alone.is_finished() && batch.is_finished()) {
        sleep(Duration::from_millis(5)).await;
        let_go(&tile);
    }
    // A pipe is no tile: the entries are logged, and their proofs cannot be made now.
    assert_eq!(alone.await.unwrap().unwrap_err(), SubmitError::Unavailable);
    assert_eq!(batch.await.unwrap().unwrap_err(), SubmitError::Unavailable);
    fs::rename(tile.with_extension("held"), &tile).unwrap();
    assert!(!fixture.log.submit(entry(300).into()).await.unwrap().new);
    done.send(()).unwrap();
    assert_eq!(watchdog.join().unwrap(), 0, "the requests waited for each other");
}
