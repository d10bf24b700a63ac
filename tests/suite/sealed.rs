//! Sealing: states by the clock, before a stop and on a freeze, and what is served under them.

use std::{collections::BTreeSet, time::Duration};

use axum::Router;
use bytes::Bytes;
use jejak::{
    log::{Log, Options},
    server::{Server, limits::Limits, router},
};
use jejak_proofs::{
    merkle::{Hash, leaf_hash},
    note::{Policy, UnverifiedCheckpoint},
    tally::{Body, Entry, ProvenRecap, RecapProof, State, Status, trail_hash},
};
use serde_json::Value;
use tokio::time::sleep;

use crate::{
    directory::{Directory, OPTIONS},
    election::{Election, NAME, election, entry, flagged},
    fixture::{Reply, ask, get, post},
    oracle,
};

/// A log that seals only where it must.
const RARELY: Options = Options { seal_after: Some(Duration::from_secs(3600)), ..OPTIONS };
/// A log that seals soon.
const SOON: Options = Options { seal_after: Some(Duration::from_millis(30)), ..OPTIONS };

struct Served {
    log: Log,
    router: Router,
    directory: Directory,
}

impl Served {
    fn open(directory: Directory, options: &Options) -> Self {
        let log = directory.open_with(options).unwrap();
        let server = Server::new(vec![log.clone()], Limits::default()).unwrap();
        Self { router: router(&server), log, directory }
    }

    /// A sealed log of entry 0, its state, and the keys' mandate.
    async fn new(options: &Options) -> Self {
        let served = Self::open(Directory::new(), options);
        assert_eq!(served.sizes(), (2, 2), "sealed before its first answer");
        served.submit(&entry(1)).await;
        served
    }

    /// Sizes of the sealed tree and of the newest.
    fn sizes(&self) -> (u64, u64) {
        (self.log.served().head.size, self.log.published().head.size)
    }

    async fn submit(&self, entry: &[u8]) -> u64 {
        self.log.submit(entry.to_vec().into()).await.unwrap().index
    }

    /// The index of a tally once a state covers it.
    async fn sealed(&self, entry: &[u8]) -> u64 {
        let index = self.submit(entry).await;
        for _ in 0..500 {
            if self.sizes().0 > index {
                return index;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("not sealed in five seconds");
    }

    async fn get(&self, path: &str) -> Reply {
        ask(&self.router, get(&format!("/{NAME}/{path}"))).await
    }

    async fn json(&self, path: &str) -> Value {
        let reply = self.get(path).await;
        assert_eq!(reply.status, 200, "{path}: {:?}", reply.body);
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        let json = reply.json();
        assert_eq!(reply.header("jejak-size"), Some(&*json["size"].to_string()), "{path}");
        json
    }

    /// The proof of a unit, verified under the checkpoint that it is served with.
    async fn proven(&self, unit: &str) -> ProvenRecap {
        let reply = self.get(&format!("recap-proof/ppwp/{unit}")).await;
        assert_eq!(reply.status, 200, "{:?}", reply.body);
        let policy = Policy::parse(&election().policy).unwrap();
        let proof = RecapProof::parse(&reply.body).unwrap();
        assert_eq!(proof.to_text().as_bytes(), &reply.body);
        let proven = proof.verify(&policy).unwrap();
        let size = proven.checkpoint.head().size;
        assert_eq!(reply.header("jejak-size"), Some(&*size.to_string()));
        proven
    }

    fn entries(&self) -> Vec<Vec<u8>> {
        let size = self.log.published().head.size;
        (0..size).map(|index| self.log.entry(index).unwrap().unwrap().to_vec()).collect()
    }

    fn restart(self, options: &Options) -> Self {
        let after = self.directory.crash();
        self.log.clone().close().unwrap();
        Self::open(after, options)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.log.clone().close();
    }
}

fn state(entry: &[u8]) -> Option<State> {
    match Entry::parse(entry).unwrap().body() {
        Body::State(state) => Some(state.clone()),
        _ => None,
    }
}

fn unit_of(entry: &[u8]) -> String {
    match Entry::parse(entry).unwrap().body() {
        Body::Tally(tally) => tally.unit.to_string(),
        other => panic!("{other:?}"),
    }
}

fn size_of(note: &Reply) -> u64 {
    let checkpoint = UnverifiedCheckpoint::parse(&note.body).unwrap();
    let policy = Policy::parse(&election().policy).unwrap();
    policy.verify_log(checkpoint).unwrap().head().size
}

/// Every state covers everything before it, and none follows another. Gives their indexes.
fn check_states(entries: &[Vec<u8>]) -> Vec<usize> {
    let states: Vec<usize> =
        (0..entries.len()).filter(|index| state(&entries[*index]).is_some()).collect();
    for index in &states {
        assert_eq!(state(&entries[*index]).unwrap().size, *index as u64);
        assert!(state(&entries[*index - 1]).is_none(), "two in a row at {index}");
    }
    states
}

// SPEC [C9] [C10]
#[tokio::test]
async fn a_state_comes_when_an_entry_has_waited_and_none_without_one() {
    let served = Served::new(&SOON).await;
    served.sealed(&entry(3)).await;
    let size = served.sizes();
    sleep(Duration::from_millis(200)).await;
    assert_eq!(served.sizes(), size, "nothing new, no state");
    assert_eq!(size.0, size.1);
    served.sealed(&entry(4)).await;
    let states = check_states(&served.entries());
    assert!(states.len() >= 3 && states[0] == 1, "{states:?}");
}

// SPEC [C9]
#[tokio::test]
async fn an_entry_after_a_quiet_time_waits_as_long_as_any() {
    let options = Options { seal_after: Some(Duration::from_millis(400)), ..OPTIONS };
    let served = Served::new(&options).await;
    served.sealed(&entry(3)).await;
    sleep(Duration::from_millis(500)).await;
    let logged = served.log.submit(entry(4).into()).await.unwrap();
    // The tree of its own batch ends in it, not in a state.
    let head = oracle::receipt(&logged.receipt, &entry(4), &election().policy).1;
    assert_eq!(head.size, logged.index + 1);
}

// SPEC [C10]
#[tokio::test]
async fn many_entries_are_sealed_before_their_time() {
    let served = Served::new(&RARELY).await;
    served.submit(&entry(3)).await;
    let mut last = leaf_hash(&entry(3));
    let mut seq = 0;
    while served.sizes().0 == 2 {
        let batch: Vec<Bytes> = (0..1_000)
            .map(|_| {
                seq += 1;
                let revision = election().revision(3, seq, last);
                last = leaf_hash(&revision);
                revision.into()
            })
            .collect();
        let logged = served.log.submit_batch(batch).await.unwrap();
        assert!(logged.results.iter().all(Result::is_ok));
        assert!(seq < 60_000, "{seq} entries and no state");
    }
    assert!((49_000..=51_000).contains(&seq), "sealed after {seq} entries");
}

// SPEC [W21]
#[tokio::test]
async fn checkpoint_is_the_sealed_tree_and_latest_the_newest() {
    let served = Served::new(&RARELY).await;
    served.submit(&entry(3)).await;
    assert_eq!(served.sizes(), (2, 4));
    assert_eq!(size_of(&served.get("checkpoint").await), 2);
    assert_eq!(size_of(&served.get("checkpoint/latest").await), 4);
    // Receipts are under the sealed tree where that has the entry.
    for (index, size) in [(0, 2), (1, 2), (2, 4), (3, 4)] {
        let receipt = served.get(&format!("receipt/{index}")).await;
        let bytes = served.log.entry(index).unwrap().unwrap();
        let (at, head) = oracle::receipt(receipt.text(), &bytes, &election().policy);
        assert_eq!((at, head.size), (index, size));
        assert_eq!(receipt.header("jejak-size"), Some(&*size.to_string()));
    }
}

// SPEC [C9] [C11]
#[tokio::test]
async fn a_clean_stop_seals_and_a_crash_goes_on_exactly() {
    let served = Served::new(&RARELY).await;
    served.submit(&entry(3)).await;
    let unit = unit_of(&entry(3));
    let before = served.proven(&unit).await;

    let served = served.restart(&RARELY);
    assert_eq!(served.sizes(), (2, 4), "the crash lost nothing and made up nothing");
    let again = served.proven(&unit).await;
    assert_eq!((again.state, again.units), (before.state, before.units));
    assert_eq!(again.checkpoint.note(), before.checkpoint.note(), "the same bytes again");

    served.log.clone().close().unwrap();
    let served = Served::open(served.directory.crash(), &RARELY);
    assert_eq!(served.sizes(), (5, 5), "sealed before it stopped");
    assert_eq!(check_states(&served.entries()), [1, 4]);
    assert_eq!(served.proven(&unit).await.units[0].record.status, Status::Single);
    served.log.clone().close().unwrap();
    assert_eq!(served.sizes(), (5, 5), "nothing new, nothing sealed");
}

#[tokio::test]
async fn what_is_served_under_a_sealed_tree_stays_while_entries_come() {
    let served = Served::new(&RARELY).await;
    let unit = unit_of(&entry(3));
    let absent = served.proven(&unit).await;
    assert_eq!(absent.units[0].record.status, Status::None);
    let record = served.json(&format!("unit/ppwp/{unit}")).await;
    served.submit(&entry(3)).await;
    let later = served.proven(&unit).await;
    assert_eq!(later.units, absent.units);
    assert_eq!(served.json(&format!("unit/ppwp/{unit}")).await, record);
    assert!(
        served.json(&format!("unit/ppwp/{unit}/history")).await["indexes"] == Value::from([0; 0])
    );
}

// SPEC [W21] [W22]
#[tokio::test]
async fn routes_say_what_the_proof_proves() {
    let served = Served::new(&SOON).await;
    served.sealed(&entry(3)).await;
    let index = served.sealed(&flagged(4)).await;
    let unit = unit_of(&flagged(4));
    let proven = served.proven(&unit).await;

    let record = served.json(&format!("unit/ppwp/{unit}")).await;
    let first = &proven.units[0];
    assert_eq!(record["counters"], serde_json::json!(first.counters));
    assert_eq!(record["record"], serde_json::to_value(first.record).unwrap());
    assert_eq!(record["options"], serde_json::json!(["01", "02"]));
    assert_eq!(record["parent"], proven.units[1].unit.as_str());
    assert_eq!(record["below"], Value::Null);
    assert_eq!(record["record"]["head"]["index"], index);

    // The trail is that of exactly the entries that the history names.
    let history = served.json(&format!("unit/ppwp/{unit}/history")).await;
    let indexes: Vec<u64> = serde_json::from_value(history["indexes"].clone()).unwrap();
    let zeros = Hash::new([0; 32]);
    let trail = indexes.iter().fold(zeros, |trail, index| {
        trail_hash(&trail, *index, &leaf_hash(&served.log.entry(*index).unwrap().unwrap()))
    });
    assert_eq!(trail, first.record.trail);

    // Sums of a region are those of its children, up to the top.
    let top = proven.units.last().unwrap();
    let recap = served.json(&format!("recap/ppwp/{}", top.unit)).await;
    assert_eq!(recap["counters"], serde_json::json!(top.counters));
    let children = recap["children"].as_array().unwrap();
    for (place, sum) in top.counters.iter().enumerate() {
        let parts = children.iter().map(|child| child["counters"][place].as_u64().unwrap());
        assert_eq!(parts.sum::<u64>(), *sum);
    }
    assert_eq!(served.proven(top.unit.as_str()).await.units.len(), 1);
}

#[tokio::test]
async fn every_unit_has_a_proof_that_verifies() {
    let served = Served::new(&SOON).await;
    for number in 3..8 {
        served.submit(&entry(number)).await;
    }
    served.sealed(&entry(8)).await;
    let codes = election().units.lines().skip(1).map(|line| line.split(',').next().unwrap());
    let mut reported = 0;
    for code in codes {
        let proven = served.proven(code).await;
        assert_eq!(proven.units.last().unwrap().unit.as_str(), "0");
        reported += u64::from(proven.units[0].record.status != Status::None);
    }
    assert_eq!(reported, 6);
}

// SPEC [W23]
#[tokio::test]
async fn names_that_are_not_there_and_names_that_cannot_be() {
    let served = Served::new(&RARELY).await;
    for route in ["unit/ppwp/9", "unit/dpr/0", "unit/ppwp/9/history", "recap/dpr/0", "recap/ppwp/9"]
    {
        served.get(route).await.refused(404, "not_found", route);
    }
    served.get("recap-proof/ppwp/9").await.refused(404, "not_found", "no such unit");
    for route in ["unit/ppwp/a", "unit/p_p/0", "recap/ppwp/a", "recap-proof/ppwp/a"] {
        served.get(route).await.refused(400, "malformed", route);
    }
}

// SPEC [E38]
#[tokio::test]
async fn a_state_is_the_logs_own() {
    let served = Served::new(&RARELY).await;
    let logged = served.log.entry(1).unwrap().unwrap();
    let next = State { size: 3, ..state(&logged).unwrap() };
    let next = Body::State(next).text();
    let path = format!("/{NAME}/entries");
    let reply = ask(&served.router, post(&path, "text/plain", next.into())).await;
    reply.refused(403, "out_of_scope", "a state from a submitter");
    // Bytes that are logged are answered whatever they are.
    let known = ask(&served.router, post(&path, "text/plain", logged.into())).await;
    assert_eq!(known.status, 200);
}

// SPEC [C9]
#[tokio::test]
async fn a_freeze_is_sealed_at_once_and_nothing_follows() {
    let served = Served::new(&RARELY).await;
    served.submit(&entry(3)).await;
    let index = served.submit(&election().freeze()).await;
    assert_eq!(served.sizes(), (index + 2, index + 2));
    assert_eq!(check_states(&served.entries()).last(), Some(&(index as usize + 1)));
    let refused = served.log.submit(entry(4).into()).await.unwrap_err();
    assert!(format!("{refused}").contains("log_frozen"), "{refused}");
    served.log.clone().close().unwrap();
    assert_eq!(served.sizes(), (index + 2, index + 2));
}

#[tokio::test]
async fn a_snapshot_whose_recap_was_never_logged_is_left() {
    // Two logs of one election that differ in one form, with each other's snapshot.
    let mut dirs = Vec::new();
    for bytes in [entry(3), Election::new(election().log_key.name()).rival(3)] {
        let served = Served::new(&RARELY).await;
        served.submit(&bytes).await;
        served.log.clone().close().unwrap();
        dirs.push(served.directory.crash());
    }
    let snapshot = |directory: &Directory| directory.log().join("derived/ledger");
    std::fs::copy(snapshot(&dirs[1]), snapshot(&dirs[0])).unwrap();
    let served = Served::open(dirs.swap_remove(0), &RARELY);
    let proven = served.proven(&unit_of(&entry(3))).await;
    let head = proven.units[0].record.head.unwrap();
    assert_eq!(head.leaf, leaf_hash(&entry(3)));
}

#[tokio::test]
async fn load_makes_no_more_states_than_time_allows() {
    let served = Served::new(&SOON).await;
    let started = std::time::Instant::now();
    let tasks: Vec<_> = (3..60)
        .map(|number| {
            let log = served.log.clone();
            tokio::spawn(async move { log.submit(entry(number).into()).await.unwrap().index })
        })
        .collect();
    let mut indexes = BTreeSet::new();
    for task in tasks {
        indexes.insert(task.await.unwrap());
    }
    assert_eq!(indexes.len(), 57, "every entry once");
    let states = check_states(&served.entries()).len() as u128;
    let bound = 3 + started.elapsed().as_millis() / 30;
    assert!(states <= bound, "{states} states, at most {bound}");
}
