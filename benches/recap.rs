//! What the recap of a national contest costs: `cargo bench --bench recap`.
//!
//! 823,236 stations in 83,731 villages, 7,277 districts, 514 regencies and 38 provinces, all of
//! which have reported. Counters of a contest: its options and nine more.

mod country;

use std::sync::Arc;

use country::{ORIGIN, STATIONS, contest, founding, key, units};
use divan::{Bencher, black_box, counter::ItemsCount};
use jejak_proofs::{
    merkle::{Hash, TreeHead, leaf_hash, node_hash, sha256},
    note::{Checkpoint, Policy, Receipt},
    tally::{
        Body, ContestRecap, ContestRegister, Entry, Ledger, Place, RecapProof, RecordHead, Sealed,
        Shape, Status, Values,
    },
};

/// Options of the contests that are measured.
const OPTIONS: [usize; 2] = [4, 24];
/// Tallies of a batch.
const BATCH: u32 = 5_000;

fn main() {
    divan::main();
}

/// Numbers of a station, different for each.
fn numbers(options: usize, seed: u32) -> Vec<u32> {
    let mut numbers: Vec<u32> = (0..options as u32).map(|n| (seed >> (n % 8)) % 50).collect();
    let valid = numbers.iter().sum();
    numbers.extend([valid, seed % 5, valid + seed % 5]);
    numbers
}

/// Takes the first tally of a station, or another one.
fn report(recap: &mut ContestRecap, place: Place, index: u64) {
    let numbers = numbers(recap.contest().options.len(), index as u32);
    let head = RecordHead { index, leaf: sha256(&index.to_be_bytes()) };
    recap.note(place, index, &head.leaf);
    let values = Values::new(&numbers, &[0]);
    recap.set(place, Status::Single, Some((head, values)));
}

/// A recap that every station has reported to, and of which nothing is hashed yet.
fn reported(options: usize) -> ContestRecap {
    let (contest, units) = (contest(options), units());
    let is_station = |slot| units.kind(slot).as_str() == "tps";
    let shape = Shape::new(&contest, &units, is_station).expect("a scope that exists");
    assert_eq!(shape.stations(), STATIONS as usize);
    let mut recap = ContestRecap::new(&contest, Arc::new(shape), units);
    for place in stations(&recap) {
        report(&mut recap, place, u64::from(place));
    }
    recap
}

fn stations(recap: &ContestRecap) -> Vec<Place> {
    let shape = recap.shape();
    (0..shape.count() as Place).filter(|place| shape.is_station(*place)).collect()
}

/// A recap whose hashes are up to date, its stations, and how many updates it has seen since.
fn settled(options: usize) -> (ContestRecap, Vec<Place>, u32) {
    let mut recap = reported(options);
    recap.settle();
    let stations = stations(&recap);
    (recap, stations, 0)
}

/// The `n`th of stations all over the country.
fn somewhere(stations: &[Place], n: u32) -> Place {
    stations[(u64::from(n) * 7_919_777 % u64::from(STATIONS)) as usize]
}

#[divan::bench(args = OPTIONS, sample_count = 5, sample_size = 1)]
fn build_the_whole_tree(bencher: Bencher, options: usize) {
    bencher.with_inputs(|| reported(options)).bench_values(|mut recap| {
        recap.settle();
        recap
    });
}

#[divan::bench(args = OPTIONS)]
fn one_update(bencher: Bencher, options: usize) {
    let (mut recap, stations, mut n) = settled(options);
    bencher.bench_local(|| {
        n += 1;
        report(&mut recap, somewhere(&stations, n), u64::from(n));
        recap.settle();
        recap.hash(0)
    });
}

#[divan::bench(args = OPTIONS, sample_count = 20, sample_size = 1)]
fn a_batch_of_5000(bencher: Bencher, options: usize) {
    let (mut recap, stations, mut n) = settled(options);
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        for _ in 0..BATCH {
            n += 1;
            report(&mut recap, somewhere(&stations, n), u64::from(n));
        }
        recap.settle();
    });
}

/// As a log does it: the recap that was sealed before stays as it is for readers.
#[divan::bench(args = OPTIONS, sample_count = 20, sample_size = 1)]
fn a_batch_of_5000_beside_a_sealed_one(bencher: Bencher, options: usize) {
    let (mut recap, stations, mut n) = settled(options);
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        let sealed = recap.clone();
        for _ in 0..BATCH {
            n += 1;
            report(&mut recap, somewhere(&stations, n), u64::from(n));
        }
        recap.settle();
        assert_ne!(recap.hash(0), sealed.hash(0));
        sealed
    });
}

/// What a state costs beside its hashes: pages are shared, their list is copied.
#[divan::bench(args = OPTIONS, sample_count = 20)]
fn clone_to_seal(bencher: Bencher, options: usize) {
    let mut recap = reported(options);
    recap.settle();
    bencher.bench_local(|| recap.clone());
}

/// A log of two entries, manifest and state, and the receipt of the state.
fn sealed(options: usize) -> (Arc<Sealed>, Receipt) {
    let units = units();
    let text = ContestRegister::spell(&[contest(options)]).expect("a contest");
    let contests = Arc::new(ContestRegister::parse(text.as_bytes()).expect("a register"));
    let mut ledger = Ledger::new(ORIGIN);
    ledger.provide_units(units.clone());
    ledger.provide_contests(contests.clone());
    let mut leaves: Vec<Hash> = Vec::new();
    let mut take = |ledger: &mut Ledger, entry: &[u8]| {
        let checked = Entry::parse(entry).and_then(Entry::assume_checked).expect("an entry");
        ledger.apply(&checked).expect("an entry that is taken");
        leaves.push(leaf_hash(entry));
    };
    take(&mut ledger, &founding(&units, &contests));
    let state = ledger.next_state().expect("a manifest to cover");
    take(&mut ledger, Body::State(state).text().as_bytes());
    let head = TreeHead { size: 2, root: node_hash(&leaves[0], &leaves[1]) };
    let checkpoint = Checkpoint::sign(head, &key(ORIGIN)).expect("a head").into();
    let receipt = Receipt { index: 1, proof: vec![leaves[0]], checkpoint, extra: None };
    (ledger.sealed().expect("a state").clone(), receipt)
}

/// A station in the middle of the country.
fn middle(sealed: &Sealed) -> String {
    let recap = &sealed.recap().contests()[0];
    let stations = stations(recap);
    recap.code(stations[stations.len() / 2]).to_string()
}

#[divan::bench(args = OPTIONS)]
fn make_a_proof(bencher: Bencher, options: usize) {
    let (sealed, receipt) = sealed(options);
    let unit = middle(&sealed);
    bencher.bench(|| {
        let proof = sealed.prove("ppwp", black_box(&unit)).expect("a station");
        proof.with(receipt.clone()).to_text()
    });
}

#[divan::bench(args = OPTIONS)]
fn read_and_verify_a_proof(bencher: Bencher, options: usize) {
    let (sealed, receipt) = sealed(options);
    let text = sealed.prove("ppwp", &middle(&sealed)).expect("a station").with(receipt).to_text();
    let policy = format!("log {}\nquorum none\n", key(ORIGIN).verifier());
    let policy = Policy::parse(&policy).expect("a policy");
    bencher.bench(|| {
        let proof = RecapProof::parse(black_box(text.as_bytes())).expect("a proof");
        proof.verify(&policy).expect("a true one").units
    });
}
