//! The real program, killed and stopped under load. The judge is outside: a ledger of receipts
//! that the clients keep, and the tree of RFC 6962 over what the restarted log serves.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufRead as _, BufReader},
    os::unix::{fs::PermissionsExt as _, process::ExitStatusExt as _},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use jejak::client::{
    BatchStatus, Fetch, FetchError, FetchLimits, SubmitError, submit, submit_batch,
};
use jejak_proofs::{
    merkle::{Hash, TreeHead, entries as unframe},
    note::{Policy, UnverifiedCheckpoint},
};

use crate::{
    directory::{Directory, fill},
    election::{BASE, election},
    oracle,
};

const CYCLES: u32 = 8;
const WRITERS: u64 = 8;
/// Entries that each writer has to itself.
const EACH: u64 = 1_700;
const BODY_MAX: u64 = 32 << 20;

/// A receipt, as its client keeps it.
struct Kept {
    number: u64,
    index: u64,
    head: TreeHead,
}

/// `jejak serve`, on a port of its own.
struct Serving {
    child: Child,
    url: String,
    log: std::path::PathBuf,
}

impl Serving {
    fn start(directory: &Directory) -> Self {
        let log = directory.path().join("stderr");
        let mut child = Command::new(env!("CARGO_BIN_EXE_jejak"))
            .args(["serve", "--json", "--listen", "127.0.0.1:0"])
            .arg(directory.path())
            .env_remove("RUST_LOG")
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: serde_json::Value = serde_json::from_str(&line)
            .unwrap_or_else(|_| panic!("it does not start: {}", fs::read_to_string(&log).unwrap()));
        let url = said["url"].as_str().unwrap().to_owned();
        Self { child, url, log }
    }

    fn fetch(&self) -> Fetch {
        Fetch::new(&self.url, &FetchLimits::default()).unwrap()
    }

    fn get(&self, path: &str) -> Vec<u8> {
        self.fetch().get(path, BODY_MAX).unwrap_or_else(|error| panic!("{path}: {error:?}")).body
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        assert_eq!(self.child.wait().unwrap().signal(), Some(9), "it was still running");
    }

    /// Asks to stop, and returns how it ended and what it said.
    fn stop(mut self) -> (ExitStatus, Duration, String) {
        let started = Instant::now();
        let asked = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(asked.unwrap().success());
        while started.elapsed() < Duration::from_secs(20) {
            if let Some(status) = self.child.try_wait().unwrap() {
                let said = fs::read_to_string(&self.log).unwrap();
                return (status, started.elapsed(), said);
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("it does not stop");
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Both fail where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A directory with keys, as `jejak serve` wants it, of a log of [`BASE`] entries.
async fn directory() -> Directory {
    let directory = Directory::new();
    let keys = directory.path().join("keys");
    fs::create_dir(&keys).unwrap();
    let key = election().log_key.to_private_string();
    fs::write(keys.join("log"), format!("{}\n", *key)).unwrap();
    fs::set_permissions(keys.join("log"), fs::Permissions::from_mode(0o600)).unwrap();
    let log = directory.open().unwrap();
    fill(&log, election(), BASE).await;
    log.close().unwrap();
    directory
}

/// What one writer did until it was told to stop or the log went away.
#[derive(Default)]
struct Work {
    kept: Vec<Kept>,
    refused: u64,
    unreachable: u64,
    /// The first number that was not answered.
    next: u64,
}

/// Submits entries from `next` on, one at a time and in batches, each new one and now and then
/// an old one, until the log is gone or `stop` is set.
fn write(url: String, stop: Arc<AtomicBool>, mut next: u64, first: u64) -> Work {
    let policy = Policy::parse(&election().policy).unwrap();
    let fetch = Fetch::new(&url, &FetchLimits::default()).unwrap();
    let mut work = Work::default();
    while !stop.load(Ordering::Relaxed) && next < first + EACH {
        let count =
            if next.is_multiple_of(5) { (first + EACH - next).min(next % 37 + 1) } else { 1 };
        let mut numbers: Vec<u64> = (next..next + count).collect();
        if next.is_multiple_of(3) {
            numbers.insert(0, first + (next - first) / 2);
        }
        let result = match numbers[..] {
            [number] => one(&fetch, &policy, number),
            _ => many(&fetch, &policy, &numbers),
        };
        match result {
            Ok(kept) => {
                assert_eq!(kept.len(), numbers.len());
                work.kept.extend(kept);
                next += count;
            }
            Err(SubmitError::Fetch(FetchError::Unreachable { .. })) => {
                work.unreachable += 1;
                break;
            }
            Err(SubmitError::Fetch(error)) => {
                assert_eq!(error.refusal().map(|refusal| refusal.status), Some(503), "{error:?}");
                work.refused += 1;
            }
            Err(error) => panic!("a receipt that does not verify: {error}"),
        }
    }
    work.next = next;
    work
}

fn one(fetch: &Fetch, policy: &Policy, number: u64) -> Result<Vec<Kept>, SubmitError> {
    let logged = submit(fetch, policy, &election().entry(number), None, Duration::ZERO)?;
    Ok(vec![Kept { number, index: logged.receipt.index, head: logged.checkpoint.head() }])
}

fn many(fetch: &Fetch, policy: &Policy, numbers: &[u64]) -> Result<Vec<Kept>, SubmitError> {
    let entries: Vec<_> = numbers.iter().map(|number| election().entry(*number)).collect();
    let logged = submit_batch(fetch, policy, &entries, Duration::ZERO)?;
    let head = logged.checkpoint.head();
    let kept = logged.results.into_iter().zip(numbers).map(|(result, number)| {
        let item = result.unwrap_or_else(|refusal| panic!("{number}: {refusal:?}"));
        assert!(matches!(item.status, BatchStatus::New | BatchStatus::Known));
        Kept { number: *number, index: item.index, head }
    });
    Ok(kept.collect())
}

fn write_all(serving: &Serving, next: &[u64]) -> (Arc<AtomicBool>, Vec<JoinHandle<Work>>) {
    let stop = Arc::new(AtomicBool::new(false));
    let start = |(&next, writer): (&u64, u64)| {
        let (url, stop) = (serving.url.clone(), stop.clone());
        thread::spawn(move || write(url, stop, next, BASE + writer * EACH))
    };
    let writers = next.iter().zip(0..).map(start).collect();
    (stop, writers)
}

/// Checks every receipt ever issued against what the log serves now.
fn check_ledger(serving: &Serving, ledger: &[Kept]) -> u64 {
    let policy = Policy::parse(&election().policy).unwrap();
    let note = UnverifiedCheckpoint::parse(&serving.get("checkpoint/latest")).unwrap();
    let newest = policy.verify(note).unwrap().head();
    let mut entries = Vec::new();
    for bundle in 0..newest.size.div_ceil(256) {
        let width = (newest.size - bundle * 256).min(256);
        let partial = if width < 256 { format!(".p/{width}") } else { String::new() };
        let bytes = serving.get(&format!("tile/entries/{bundle:03}{partial}"));
        entries.extend(unframe(&bytes).unwrap().into_iter().map(<[u8]>::to_vec));
    }
    let leaves: Vec<Hash> = entries.iter().map(|entry| oracle::leaf(entry)).collect();
    assert_eq!(oracle::head(&leaves), newest, "the entries are not those of the checkpoint");
    let heads: BTreeMap<u64, Hash> =
        ledger.iter().map(|kept| (kept.head.size, kept.head.root)).collect();
    let roots = oracle::roots(&leaves, heads.keys().copied());
    for Kept { number, index, head } in ledger {
        assert!(head.size <= newest.size, "a head of {} was rolled back", head.size);
        assert_eq!(roots[&head.size], head.root, "a fork at {}", head.size);
        assert_eq!(entries[*index as usize], election().entry(*number), "entry {number} is lost");
    }
    for (&size, &root) in &heads {
        let path = format!("proof/consistency/{size}/{}", newest.size);
        let answer: serde_json::Value = serde_json::from_slice(&serving.get(&path)).unwrap();
        let hashes = answer["hashes"].as_array().unwrap().iter();
        let proof: Vec<Hash> =
            hashes.map(|hash| Hash::from_base64(hash.as_str().unwrap()).unwrap()).collect();
        newest.verify_consistency(&TreeHead { size, root }, &proof).unwrap();
    }
    let mut places: Vec<_> = leaves.iter().collect();
    places.sort_unstable();
    places.dedup();
    assert_eq!(places.len(), entries.len(), "an entry stands twice");
    newest.size
}

/// Numbers from a seed (xorshift64).
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

#[tokio::test]
async fn no_receipt_is_lost_over_kill_9() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = std::env::var("JEJAK_SEED").map_or(now | 1, |seed| seed.parse().unwrap());
    println!("JEJAK_SEED={seed}");
    let mut state = seed;
    let directory = directory().await;
    let mut next: Vec<u64> = (0..WRITERS).map(|writer| BASE + writer * EACH).collect();
    let mut ledger = Vec::new();
    let mut answered = 0;
    for cycle in 0..CYCLES {
        let serving = Serving::start(&directory);
        let size = check_ledger(&serving, &ledger);
        let (_, writers) = write_all(&serving, &next);
        thread::sleep(Duration::from_millis(20 + random(&mut state) % 381));
        serving.kill();
        for (writer, next) in writers.into_iter().zip(&mut next) {
            let work = writer.join().unwrap();
            *next = work.next;
            ledger.extend(work.kept);
        }
        println!("cycle {cycle}: {size} entries, {} receipts", ledger.len());
        answered += usize::from(ledger.len() > answered);
    }
    let serving = Serving::start(&directory);
    let size = check_ledger(&serving, &ledger);
    println!("{size} entries, {} receipts", ledger.len());
    assert!(answered > 0, "nothing was ever answered: the test has shown nothing");
    // What was cut off before its answer is simply sent again.
    let policy = Policy::parse(&election().policy).unwrap();
    for number in next {
        let kept = one(&serving.fetch(), &policy, number).unwrap();
        ledger.extend(kept);
    }
    check_ledger(&serving, &ledger);
    let (status, _, _) = serving.stop();
    assert!(status.success());
}

const REBUILDS: &str = "replaying the whole log";

#[tokio::test]
async fn a_stop_under_load_answers_or_refuses_everything() {
    let directory = directory().await;
    fs::remove_file(directory.log().join("derived/ledger")).unwrap();
    let mut next: Vec<u64> = (0..WRITERS).map(|writer| BASE + writer * EACH).collect();
    let mut ledger = Vec::new();
    for cycle in 0..3 {
        let serving = Serving::start(&directory);
        check_ledger(&serving, &ledger);
        let (stop, writers) = write_all(&serving, &next);
        thread::sleep(Duration::from_millis(300));
        let (status, took, said) = serving.stop();
        stop.store(true, Ordering::Relaxed);
        assert_eq!(status.code(), Some(0), "{said}");
        assert!(took < Duration::from_secs(5), "{took:?}");
        assert_eq!(said.contains(REBUILDS), cycle == 0, "the snapshot of the last stop: {said}");
        for (writer, next) in writers.into_iter().zip(&mut next) {
            let work = writer.join().unwrap();
            assert!(work.unreachable <= 1 && !work.kept.is_empty());
            *next = work.next;
            ledger.extend(work.kept);
        }
    }
    let serving = Serving::start(&directory);
    check_ledger(&serving, &ledger);
    serving.kill();
    let serving = Serving::start(&directory);
    check_ledger(&serving, &ledger);
    let (status, _, said) = serving.stop();
    assert!(status.success() && !said.contains(REBUILDS), "{said}");
}

#[tokio::test]
async fn a_second_process_leaves_the_directory_to_the_first() {
    let directory = directory().await;
    let serving = Serving::start(&directory);
    let second = Command::new(env!("CARGO_BIN_EXE_jejak"))
        .args(["serve", "--listen", "127.0.0.1:0"])
        .arg(directory.path())
        .output()
        .unwrap();
    let said = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(75), "{said}");
    assert!(said.contains(&format!("in use by process {}", serving.child.id())), "{said}");
    let policy = Policy::parse(&election().policy).unwrap();
    one(&serving.fetch(), &policy, BASE).unwrap();
    assert!(serving.stop().0.success());
}
