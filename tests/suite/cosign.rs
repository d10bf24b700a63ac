//! The log's side of witnesses: asking, publishing what a quorum cosigned, and stopping where a
//! witness holds another history. The witnesses here do as they are told, and may lie.

use std::{
    fs,
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::Router;
use jejak::{
    audit::{self, Source},
    cosign::{self, Cosigner},
    log::{Fatal, Log, LogKeys, OpenError, Options},
    server::{Server, limits::Limits, router},
    store::StoreError,
};
use jejak_proofs::{
    merkle::{Hash, TreeHead, leaf_hash},
    note::{
        Checkpoint, CheckpointError, CosigningKey, KeyKind, Policy, Receipt, UnverifiedCheckpoint,
    },
    tally::LogKey,
};
use tokio::time::sleep;

use crate::{
    directory::{Directory, OPTIONS},
    election::{NAME, ORIGIN, election, entry, flagged},
    fake_witness::{Mode, three},
    fixture::{Reply, ask, get, post},
};

/// A log that seals soon.
const SOON: Options = Options { seal_after: Some(Duration::from_millis(20)), ..OPTIONS };

/// A served log and whoever asks its witnesses.
struct Served {
    log: Log,
    router: Router,
    directory: Directory,
    policy: Policy,
    cosigner: Cosigner,
}

impl Served {
    fn open(directory: Directory, policy: &str, options: &Options) -> Self {
        fs::write(directory.path().join("policy"), policy).unwrap();
        let log = directory.open_with(options).unwrap();
        let cosigner = cosign::start(&log).unwrap();
        let server = Server::new(vec![log.clone()], Limits::default()).unwrap();
        let policy = Policy::parse(policy).unwrap();
        Self { router: router(&server), log, directory, policy, cosigner }
    }

    /// A log that takes entries, because its witnesses know of no newer head.
    async fn released(policy: &str) -> Self {
        let served = Self::open(Directory::new(), policy, &SOON);
        until(|| !served.log.is_held()).await;
        served
    }

    async fn submit(&self, entry: Vec<u8>) -> u64 {
        self.log.submit(entry.into()).await.unwrap().index
    }

    async fn get(&self, path: &str) -> Reply {
        ask(&self.router, get(path)).await
    }

    async fn post(&self, entry: Vec<u8>, prefer: &str) -> Reply {
        let mut request = post(&format!("/{NAME}/entries"), "text/plain", entry.into());
        request.headers_mut().insert("prefer", prefer.parse().unwrap());
        ask(&self.router, request).await
    }

    /// What `checkpoint` serves.
    async fn checkpoint(&self) -> UnverifiedCheckpoint {
        let reply = self.get(&format!("/{NAME}/checkpoint")).await;
        assert_eq!(reply.status, 200);
        UnverifiedCheckpoint::parse(&reply.body).unwrap()
    }

    /// The head that `checkpoint` serves under the policy's quorum.
    async fn witnessed(&self) -> Result<TreeHead, CheckpointError> {
        self.policy.verify(self.checkpoint().await).map(|checkpoint| checkpoint.head())
    }

    /// Waits for the log to stop, and says why.
    async fn stopped(&self) -> Arc<Fatal> {
        tokio::time::timeout(Duration::from_secs(10), self.log.failed()).await.expect("it stops")
    }

    /// The directory after a clean stop.
    async fn stop(self) -> Directory {
        self.cosigner.stop().await;
        let _ = self.log.close();
        self.directory.crash()
    }
}

async fn until(mut done: impl FnMut() -> bool) {
    until_async(|| std::future::ready(done())).await;
}

async fn until_async<F: Future<Output = bool>>(mut done: impl FnMut() -> F) {
    let started = Instant::now();
    while !done().await {
        assert!(started.elapsed() < Duration::from_secs(20), "not in twenty seconds");
        sleep(Duration::from_millis(5)).await;
    }
}

// SPEC [O1] [O2] [O3]
#[tokio::test(flavor = "multi_thread")]
async fn what_a_quorum_has_cosigned_is_what_is_served() {
    let (fakes, policy) = three(&election().policy).await;
    let served = Served::released(&policy).await;
    served.submit(entry(1)).await;
    let index = served.submit(entry(2)).await;
    served.log.witnessed(index).await;

    let head = served.witnessed().await.unwrap();
    assert!(head.size > index);
    assert_eq!(served.log.root(head.size).unwrap(), Some(head.root));
    // Whoever was not needed is asked all the same, and its cosignature is kept for monitors.
    until_async(|| async {
        let checkpoint = served.policy.verify(served.checkpoint().await).unwrap();
        served.policy.cosignatures(&checkpoint).unwrap().len() == 3
    })
    .await;
    // What is served is on disk, and a receipt is under it.
    let on_disk = fs::read(served.directory.log().join("witnessed")).unwrap();
    assert_eq!(on_disk, served.checkpoint().await.note().as_bytes());
    let receipt = served.get(&format!("/{NAME}/receipt/{index}")).await;
    let receipt = Receipt::parse(&receipt.body).unwrap();
    receipt.verify(&entry(2), &served.policy).unwrap();

    let ready = served.get("/readyz").await;
    let says = format!("witnessed {} ", head.size);
    assert!(ready.text().contains(&says), "{}", ready.text());
    // Nothing but trees that end in a state was shown.
    for size in fakes[0].held.lock().unwrap().shown.iter() {
        let last = served.log.entry(size - 1).unwrap().unwrap();
        assert!(last.starts_with(b"jejak/state/v1\n"), "{size}");
    }
    let standing = served.log.status().witnesses;
    assert_eq!(standing.len(), 3);
    for ((name, standing), fake) in standing.iter().zip(&fakes) {
        assert_eq!((name.as_str(), standing.size), (fake.name, fake.size()));
        assert_eq!(standing.fault, "");
    }
    served.stop().await;
}

// SPEC [O8]
#[tokio::test(flavor = "multi_thread")]
async fn without_witnesses_entries_are_published_and_later_witnessed() {
    let (fakes, policy) = three(&election().policy).await;
    let served = Served::released(&policy).await;
    let before = served.submit(entry(1)).await;
    served.log.witnessed(before).await;
    fakes.iter().for_each(|fake| fake.set(Mode::Status(503)));

    let witnessed = served.witnessed().await.unwrap();
    let index = served.submit(entry(2)).await;
    until(|| served.log.status().sealed > index).await;
    sleep(Duration::from_millis(200)).await;
    // Published, and what is served is what was witnessed last.
    assert_eq!(served.witnessed().await.unwrap(), witnessed);
    let receipt = served.get(&format!("/{NAME}/receipt/{index}")).await;
    let receipt = Receipt::parse(&receipt.body).unwrap();
    receipt.verify_published(&entry(2), &served.policy).unwrap();
    assert!(receipt.verify(&entry(2), &served.policy).is_err(), "no quorum stands behind it");
    let ready = served.get("/readyz").await;
    assert_eq!(ready.status, 200, "{}", ready.text());
    let says = format!("published {} ", served.log.published().head.size);
    assert!(ready.text().contains(&says), "{}", ready.text());
    assert!(ready.text().contains(&format!("witnessed {} ", witnessed.size)), "{}", ready.text());
    assert!(served.log.status().witnesses.iter().all(|(_, standing)| standing.failed > 0));

    // One is not enough; with two it is witnessed again, and nothing was restarted.
    fakes[0].set(Mode::Honest);
    sleep(Duration::from_millis(200)).await;
    assert_eq!(served.witnessed().await.unwrap(), witnessed);
    fakes[2].set(Mode::Honest);
    served.log.witnessed(index).await;
    assert!(served.witnessed().await.unwrap().size > index);
    served.stop().await;
}

// SPEC [O1] [O6] [O11] [W20]
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_waits_for_its_witnesses_serves_and_takes_nothing() {
    let (fakes, policy) = three(&election().policy).await;
    fakes.iter().for_each(|fake| fake.set(Mode::Status(500)));
    fakes[0].set(Mode::Honest);
    let served = Served::open(Directory::new(), &policy, &SOON);
    until(|| fakes[1].held.lock().unwrap().asked > 0 && fakes[0].size() > 0).await;
    sleep(Duration::from_millis(100)).await;
    assert!(served.log.is_held(), "one of three is no quorum");
    served.post(entry(1), "wait=1").await.refused(503, "unavailable", "held");
    assert_eq!(served.post(entry(0), "wait=1").await.status, 200, "it is logged");
    served.post(b"no entry".to_vec(), "wait=1").await.refused(400, "malformed", "held");
    let ready = served.get("/readyz").await;
    ready.refused(503, "unavailable", "held");
    assert!(ready.text().contains("witnesses"), "{}", ready.text());
    assert_eq!(served.checkpoint().await.claimed_head().size, 2, "reads go on");
    assert_eq!(served.witnessed().await, Err(CheckpointError::Quorum));

    fakes[1].set(Mode::Honest);
    until(|| !served.log.is_held()).await;
    assert_eq!(served.get("/readyz").await.status, 200);
    served.submit(entry(1)).await;
    served.stop().await;

    // Whoever starts it knows better.
    let options = Options { start_unwitnessed: true, ..SOON };
    fakes.iter().for_each(|fake| fake.set(Mode::Status(500)));
    let served = Served::open(Directory::new(), &policy, &options);
    served.submit(entry(1)).await;
    assert!(served.get("/readyz").await.text().contains("not witnessed"));
    served.stop().await;
}

// SPEC [O4] [O11]
#[tokio::test(flavor = "multi_thread")]
async fn a_log_does_not_start_behind_what_a_witness_holds() {
    for objection in [Mode::Claims(1_000), Mode::Status(422)] {
        let (fakes, policy) = three(&election().policy).await;
        fakes[2].set(objection.clone());
        let served = Served::open(Directory::new(), &policy, &SOON);
        let fatal = served.stopped().await;
        let Fatal::Fork { witness, .. } = &*fatal else { panic!("{fatal}") };
        assert_eq!(witness, "w3", "{objection:?}: it names who knows");
        assert!(served.log.is_held());
        served.stop().await;
    }
}

// SPEC [O11] [O10]
#[tokio::test(flavor = "multi_thread")]
async fn a_restored_directory_and_a_copy_that_runs_beside_are_refused() {
    let (fakes, policy) = three(&election().policy).await;
    let served = Served::released(&policy).await;
    let index = served.submit(entry(1)).await;
    served.log.witnessed(index).await;
    let old = served.directory.crash();
    let index = served.submit(entry(2)).await;
    served.log.witnessed(index).await;
    // Quorum or not, whoever holds the newer head says so.
    until(|| fakes.iter().all(|fake| fake.size() > index)).await;

    let copy = Served::open(old, &policy, &SOON);
    let Fatal::Fork { size, .. } = &*copy.stopped().await else { panic!("another cause") };
    assert!(*size > index);
    copy.stop().await;

    // A copy of the newest directory begins as the log itself would, and then they part.
    let twin = Served::open(served.directory.crash(), &policy, &SOON);
    until(|| !twin.log.is_held()).await;
    let index = served.submit(flagged(7)).await;
    served.log.witnessed(index).await;
    until(|| fakes.iter().all(|fake| fake.size() > index)).await;
    twin.submit(entry(8)).await;
    let fatal = twin.stopped().await;
    assert!(matches!(&*fatal, Fatal::Fork { .. }), "{fatal}");
    served.submit(entry(9)).await;
    twin.stop().await;
    served.stop().await;
}

// SPEC [O4] [O5] [O7] [O10]
#[tokio::test(flavor = "multi_thread")]
async fn no_witness_ends_a_running_log_by_its_word_alone() {
    let (fakes, policy) = three(&election().policy).await;
    let served = Served::released(&policy).await;
    served.submit(entry(1)).await;
    let mut number = 10;
    for (objection, fault) in [
        (Mode::Claims(1_000_000), "holds a tree of 1000000 entries"),
        (Mode::Status(422), "does not extend"),
        (Mode::OtherKey, "no cosignature"),
        (Mode::Claims(0), "not say twice"),
    ] {
        fakes[1].set(objection.clone());
        number += 1;
        let index = served.submit(flagged(number)).await;
        served.log.witnessed(index).await;
        let standing = || served.log.status().witnesses[1].1.clone();
        until(|| standing().fault.contains(fault)).await;
        assert!(served.log.status().accepting, "{objection:?}");
        fakes[1].set(Mode::Honest);
    }

    // A head under the log's own signature is no mere word.
    let other = TreeHead { size: 3, root: leaf_hash(b"another history") };
    let forged = Checkpoint::sign(other, &election().log_key).unwrap();
    fakes[1].held.lock().unwrap().note = Some(forged.note().to_owned());
    fakes[1].set(Mode::Status(422));
    served.submit(flagged(99)).await;
    let Fatal::Fork { witness, size } = &*served.stopped().await else { panic!("another cause") };
    assert_eq!((witness.as_str(), *size), ("w2", 3));
    assert!(!served.log.status().accepting);
    // Nothing is signed after that, not even what a clean stop would.
    let before = fs::read(served.directory.log().join("checkpoint")).unwrap();
    let directory = served.stop().await;
    assert_eq!(fs::read(directory.log().join("checkpoint")).unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_witness_that_is_not_needed_delays_nobody() {
    let (fakes, policy) = three(&election().policy).await;
    let served = Served::released(&policy).await;
    fakes[0].set(Mode::Slow(Duration::from_secs(2)));
    let started = Instant::now();
    for number in 1..6 {
        let index = served.submit(entry(number)).await;
        served.log.witnessed(index).await;
    }
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert!(fakes[0].held.lock().unwrap().asked <= 2, "it is not asked again while it thinks");

    // Where it is needed, everybody is asked about the head that it is busy with.
    fakes[1].set(Mode::Status(503));
    fakes[0].set(Mode::Slow(Duration::from_millis(300)));
    let index = served.submit(entry(7)).await;
    served.log.witnessed(index).await;
    served.stop().await;
}

// SPEC [O2] [W21]
#[tokio::test(flavor = "multi_thread")]
async fn what_was_witnessed_outlives_a_restart() {
    let (fakes, policy) = three(&election().policy).await;
    let served = Served::released(&policy).await;
    let index = served.submit(entry(1)).await;
    served.log.witnessed(index).await;
    let witnessed = served.witnessed().await.unwrap();
    fakes.iter().for_each(|fake| fake.set(Mode::Status(503)));
    let index = served.submit(entry(2)).await;
    until(|| served.log.status().sealed > index).await;
    let directory = served.stop().await;

    let served = Served::open(directory, &policy, &SOON);
    assert!(served.log.is_held());
    assert_eq!(served.witnessed().await.unwrap(), witnessed, "it does not go back or on");
    // The recap that is here is that of the newest sealed tree, and says so.
    let recap = served.get(&format!("/{NAME}/recap/ppwp/0")).await;
    assert_eq!(recap.status, 200, "{:?}", recap.body);
    let size: u64 = recap.header("jejak-size").unwrap().parse().unwrap();
    assert!(size > index);
    fakes.iter().for_each(|fake| fake.set(Mode::Honest));
    served.log.witnessed(index).await;
    let directory = served.stop().await;

    // Read only, what was witnessed is served too; without a quorum in the policy it is nothing.
    let witnessed = fs::read(directory.log().join("witnessed")).unwrap();
    let reader = Log::open_read_only(directory.path()).unwrap();
    assert_eq!(reader.served().note.as_bytes(), witnessed);
    fs::write(directory.path().join("policy"), &election().policy).unwrap();
    let log = directory.open_with(&SOON).unwrap();
    assert_ne!(log.served().note.as_bytes(), witnessed);
    log.close().unwrap();
}

/// What `jejak fsck` finds: each file with the code of its damage.
fn faults(directory: &Directory, policy: &str) -> Vec<String> {
    let source = Source::directory(directory.path()).unwrap();
    let report = audit::check(&source, &Policy::parse(policy).unwrap(), &|_, _| {}).unwrap();
    report.findings.iter().map(|found| format!("{} {}", found.file, found.damage.code())).collect()
}

// SPEC [O9]
#[tokio::test(flavor = "multi_thread")]
async fn a_witnessed_head_that_is_not_the_logs_keeps_it_from_starting() {
    let (_fakes, policy) = three(&election().policy).await;
    let served = Served::released(&policy).await;
    let index = served.submit(entry(1)).await;
    served.log.witnessed(index).await;
    let directory = served.stop().await;
    let size = Log::open_read_only(directory.path()).unwrap().published().head.size;
    assert_eq!(faults(&directory, &policy), [""; 0], "a sound log is clean");
    let sign = |size, root: Hash| {
        let head = TreeHead { size, root };
        Checkpoint::sign(head, &election().log_key).unwrap().note().to_owned()
    };
    let cases = [
        (sign(2, leaf_hash(b"x")), "fork"),
        (sign(size + 5, leaf_hash(b"x")), "rollback"),
        ("x".to_owned(), "damage"),
        (String::new(), "damage"),
        (sign(2, leaf_hash(b"x")).replace(ORIGIN, "log.example/other"), "damage"),
    ];
    for (witnessed, what) in cases {
        let directory = directory.crash();
        fs::write(directory.log().join("witnessed"), &witnessed).unwrap();
        let before = directory.files();
        let error = directory.open_with(&SOON).unwrap_err();
        let is = match &error {
            OpenError::Fork { size: 2 } => "fork",
            OpenError::Store(StoreError::Rollback { .. }) => "rollback",
            OpenError::Witnessed(_) => "damage",
            other => panic!("{other}"),
        };
        assert_eq!(is, what, "{error}");
        assert!(before == directory.files(), "{what}: the directory is as it was");
        let code = match what {
            "fork" => "tree",
            "rollback" => "behind",
            _ => "checkpoint",
        };
        assert_eq!(faults(&directory, &policy), [format!("log/witnessed {code}")]);
    }
}

// SPEC [O12] [O13]
#[tokio::test(flavor = "multi_thread")]
async fn sealed_heads_carry_a_line_that_says_when() {
    let election = election();
    let key = CosigningKey::from_seed(ORIGIN, KeyKind::MlDsa44, [7; 32]).unwrap();
    let verifiers = [election.log_key.verifier(), key.verifier()];
    let text = Policy::compose(&verifiers, None, &election.genesis).unwrap();
    let policy = Policy::parse(&text).unwrap();
    let directory = Directory::new();
    let keys = || LogKeys {
        note: vec![Arc::new(election.log_key.clone())],
        timestamped: vec![key.clone()],
        refusals: vec![],
    };
    let open = |directory: &Directory| {
        let options = Options { endorse_every: Duration::from_millis(100), ..SOON };
        Log::open(directory.path(), keys(), &options)
    };
    let error = open(&directory).unwrap_err();
    assert!(matches!(error, OpenError::LogKey(_)), "the policy does not list it: {error}");

    fs::write(directory.path().join("policy"), &text).unwrap();
    let log = open(&directory).unwrap();
    let dated = |note: &UnverifiedCheckpoint| {
        let checkpoint = policy.verify(note.clone()).unwrap();
        checkpoint.clone().as_unverified().clone().verify(ORIGIN, [&verifiers[0]]).unwrap();
        policy.vouched_time(&checkpoint).unwrap()
    };
    // The manifest in force does not name the key.
    log.submit(entry(1).into()).await.unwrap();
    until(|| log.status().sealed > 3).await;
    assert_eq!(dated(&log.served().checkpoint), None);
    let log_keys =
        verifiers.iter().map(|key| LogKey { from: 0, until: None, vkey: key.to_string().into() });
    let mut log_keys: Vec<LogKey> = log_keys.collect();
    log_keys.sort_by(|a, b| a.vkey.cmp(&b.vkey));
    let index = log.submit(election.rekeyed(log_keys).into()).await.unwrap().index;
    until(|| log.served().head.size > index).await;

    let first = dated(&log.served().checkpoint).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert!(first.abs_diff(now.as_secs()) <= 2, "{first}");
    assert!(log.status().vouched_age_ms.unwrap() < 3_000);
    // Nothing comes, and it is signed anew; what answers submitters stays short.
    until(|| dated(&log.served().checkpoint).unwrap() > first).await;
    assert_eq!(dated(&log.published().checkpoint), None);
    log.close().unwrap();

    // So it is at a start, at once.
    let log = open(&directory).unwrap();
    assert!(dated(&log.served().checkpoint).is_some());
    log.close().unwrap();
}

// SPEC [W24]
#[tokio::test(flavor = "multi_thread")]
async fn a_submitter_can_wait_for_the_witnesses() {
    let (fakes, policy) = three(&election().policy).await;
    let served = Served::released(&policy).await;
    served.submit(entry(1)).await;

    let reply = served.post(entry(2), "witnessed, wait=10").await;
    assert_eq!(reply.status, 201, "{:?}", reply.body);
    assert_eq!(reply.header("preference-applied"), Some("witnessed"));
    let receipt = Receipt::parse(&reply.body).unwrap();
    receipt.verify(&entry(2), &served.policy).unwrap();
    // Known bytes again: witnessed at once.
    let reply = served.post(entry(2), "witnessed").await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("preference-applied"), Some("witnessed"));
    // Who does not ask for it is not kept waiting.
    let reply = served.post(entry(4), "return=minimal").await;
    assert_eq!((reply.status.as_u16(), reply.header("preference-applied")), (201, None));

    fakes.iter().for_each(|fake| fake.set(Mode::Status(503)));
    let started = Instant::now();
    let reply = served.post(entry(3), "witnessed, wait=1").await;
    assert_eq!(reply.status, 202, "{:?}", reply.body);
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert_eq!(reply.header("preference-applied"), None);
    assert!(reply.header("location").unwrap().starts_with(&format!("/{NAME}/entry/")));
    let receipt = Receipt::parse(&reply.body).unwrap();
    receipt.verify_published(&entry(3), &served.policy).unwrap();
    served.stop().await;

    // A log whose policy asks for no witness has nothing to wait for.
    let directory = Directory::new();
    let log = directory.open_with(&SOON).unwrap();
    log.submit(entry(1).into()).await.unwrap();
    let server = Server::new(vec![log.clone()], Limits::default()).unwrap();
    let mut request = post(&format!("/{NAME}/entries"), "text/plain", entry(2).into());
    request.headers_mut().insert("prefer", "witnessed, wait=5".parse().unwrap());
    let reply = ask(&router(&server), request).await;
    assert_eq!((reply.status.as_u16(), reply.header("preference-applied")), (201, None));
    log.close().unwrap();
}
