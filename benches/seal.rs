//! What a sealed head a second costs the write path: `cargo bench --bench seal`.
//!
//! The same signed tallies, from stations all over a country of 823,236, go into a new log in
//! batches of 1,000, as fast as it takes them, with states and without, in turn. Checked, logged
//! and synced as a server does it, without HTTP. Printed: entries a second and processor time an
//! entry, medians, and what the states cost of both. On a machine that is busy with something else
//! only the latter says much.

mod country;

use std::{env, fmt, fs, path::Path, time::Instant};

use bytes::Bytes;
use country::{ORIGIN, STATIONS, contest, founding, key, units};
use jejak::log::{Log, Options, SEAL_AFTER, create};
use jejak_proofs::{
    merkle::{Hash, leaf_hash},
    note::{Policy, SigningKey},
    tally::{Body, ContestRegister, KeyRef, Mandate, MandatedKey},
};
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;
use tokio::{runtime::Runtime, task::JoinSet};

/// Options of the contest.
const OPTIONS: usize = 4;
/// Tallies of a run: enough for several seconds.
const TALLIES: u32 = 150_000;
/// Tallies of a batch.
const BATCH: usize = 1_000;
/// Batches under way at once, as many as the pool takes: while states are made, others are checked.
const IN_FLIGHT: usize = 16;
/// Runs with states, and as many without.
const RUNS: usize = 5;

/// What every log of the bench begins with, and what is sent to it.
struct Election {
    manifest: Vec<u8>,
    contests: ContestRegister,
    policy: String,
    mandate: Bytes,
    batches: Vec<Vec<Bytes>>,
}

fn main() {
    // `cargo test --benches` starts it too.
    if !env::args().any(|argument| argument == "--bench") {
        return;
    }
    let runtime = Runtime::new().expect("threads");
    let election = Election::new();
    let mut runs = [Vec::new(), Vec::new()];
    for number in 0..=RUNS {
        for (seal_after, runs) in [None, Some(SEAL_AFTER)].into_iter().zip(&mut runs) {
            let options = Options { seal_after, ..Options::default() };
            let run = runtime.block_on(election.log(&options));
            // The first of each warms the machine up.
            if number > 0 {
                println!("{run}");
                runs.push(run);
            }
        }
    }
    let [took, work] = [|run: &Run| run.took, |run: &Run| run.work]
        .map(|field| runs.each_ref().map(|runs| median(runs.iter().map(field).collect())));
    println!("median time:           states cost {:.1} %", cost(took));
    println!("median processor time: states cost {:.1} %", cost(work));
}

/// One log that took all tallies.
struct Run {
    took: f64,
    /// Seconds of all processors.
    work: f64,
    states: u64,
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = f64::from(TALLIES) / self.took;
        let work = self.work * 1e6 / f64::from(TALLIES);
        write!(f, "{rate:>8.0} entries/s {work:>7.1} us an entry {:>4} states", self.states)
    }
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// What comes on top, in percent.
fn cost([without, with]: [f64; 2]) -> f64 {
    (with / without - 1.0) * 100.0
}

/// Seconds that this process has had of all processors.
fn work() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

impl Election {
    fn new() -> Self {
        let text = ContestRegister::spell(&[contest(OPTIONS)]).expect("a contest");
        let contests = ContestRegister::parse(text.as_bytes()).expect("a register");
        let manifest = founding(&units(), &contests);
        let genesis = leaf_hash(&manifest);
        let policy = Policy::compose(&[key(ORIGIN).verifier()], None, &genesis).expect("a policy");
        let official = key("official/ID");
        let mandate = mandate(&official, genesis);
        let units = units();
        let slots = (0..units.len() as u32).filter(|slot| units.kind(*slot).as_str() == "tps");
        let stations: Vec<&str> = slots.map(|slot| units.code(slot)).collect();
        // All over the country, as they come in: neighbours would share what is hashed.
        let somewhere =
            |n: u32| stations[(u64::from(n) * 7_919_777 % u64::from(STATIONS)) as usize];
        let tallies: Vec<Bytes> =
            (0..TALLIES).map(|n| tally(&official, genesis, somewhere(n))).collect();
        let batches = tallies.chunks(BATCH).map(<[Bytes]>::to_vec).collect();
        Self { manifest, contests, policy, mandate, batches }
    }

    /// Logs all of it in a new log.
    async fn log(&self, options: &Options) -> Run {
        let dir = tempfile::tempdir().expect("a directory");
        let log = self.found(dir.path(), options);
        log.submit(self.mandate.clone()).await.expect("a mandate");
        let before = log.published().head.size;
        let (started, worked) = (Instant::now(), work());
        let mut under_way = JoinSet::new();
        for batch in &self.batches {
            if under_way.len() == IN_FLIGHT {
                under_way.join_next().await.expect("a batch").expect("no panic");
            }
            let (log, batch) = (log.clone(), batch.clone());
            under_way.spawn(async move {
                let logged = log.submit_batch(batch).await.expect("a batch that is taken");
                assert!(logged.results.iter().all(Result::is_ok));
            });
        }
        under_way.join_all().await;
        let (took, work) = (started.elapsed().as_secs_f64(), work() - worked);
        let states = log.published().head.size - before - u64::from(TALLIES);
        log.close().expect("a clean stop");
        Run { took, work, states }
    }

    fn found(&self, dir: &Path, options: &Options) -> Log {
        let (units, log_key) = (units(), key(ORIGIN));
        create(dir, &log_key, &self.manifest, units.bytes(), self.contests.bytes()).expect("a log");
        fs::write(dir.join("policy"), &self.policy).expect("a file");
        Log::open(dir, log_key, options).expect("a sound directory")
    }
}

/// What the root key says: this key may speak about the whole country.
fn mandate(official: &SigningKey, genesis: Hash) -> Bytes {
    let root = key("root/ID");
    let verifier = root.verifier();
    let new = MandatedKey {
        contests: None,
        role: "official".parse().expect("an id"),
        units: vec!["ID".parse().expect("a code")],
        vkey: official.verifier().to_string().into(),
    };
    let body = Mandate {
        by: KeyRef::new(verifier.name(), verifier.id()),
        election: "2024".parse().expect("an id"),
        genesis,
        keys: vec![new],
        log: ORIGIN.into(),
    };
    Body::Mandate(body).sign(&[&root]).into()
}

/// The first tally of a station.
fn tally(official: &SigningKey, genesis: Hash, unit: &str) -> Bytes {
    let verifier = official.verifier();
    let text = json!({
        "basis": "form_signed", "by": KeyRef::new(verifier.name(), verifier.id()),
        "children": null, "contest": "ppwp", "decision": null, "docs": [], "election": "2024",
        "form": "c-hasil", "genesis": genesis, "invalid": 3, "issued_at": "2024-02-14T09:30Z",
        "log": ORIGIN, "prev": null, "reason": null, "round": "regular", "seq": 0, "total": 153,
        "unit": unit, "valid": 150, "votes": {"01": 40, "02": 50, "03": 20, "04": 40},
    });
    Body::from_canonical("tally", &text.to_string()).expect("a form").sign(&[official]).into()
}
