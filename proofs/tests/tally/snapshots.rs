//! A ledger that was put down and taken up again, and snapshots that do not belong together.

use jejak_proofs::tally::*;
use serde_json::{Value, json};

use super::world::*;

fn restore(world: &World, snapshot: Value) -> Result<Ledger, SnapshotError> {
    let manifest = Entry::parse(&world.entries[0]).unwrap();
    restore_with(world, snapshot, &manifest)
}

fn restore_with(world: &World, snapshot: Value, manifest: &Entry) -> Result<Ledger, SnapshotError> {
    let election = world.ledger.election().unwrap();
    let snapshot: Snapshot = serde_json::from_value(snapshot).unwrap();
    Ledger::restore(snapshot, manifest, election.units.clone(), election.contests.clone())
}

/// A ledger with keys, a revocation, heads of both kinds, and a unit that was removed.
fn lived_in() -> (World, Entry) {
    let mut world = World::new();
    world.accept(&tally(&world.tally(&key(KPPS), "ppwp", STATION)), &[key(KPPS)]);
    world.accept(&tally(&world.tally(&key(KPPS_TWO), "dpd", STATION_TWO)), &[key(KPPS_TWO)]);
    world.accept(&tally(&world.tally(&key(OBSERVER), "ppwp", STATION)), &[key(OBSERVER)]);
    let body = world.revocation(&key(KPPS), &key(KPPS), true);
    world.accept(&body, &[key(KPPS)]);
    let mut fewer = units();
    fewer.retain(|unit| unit.code.as_str() != STATION_TWO);
    let next = world.manifest_with(&fewer, &contests());
    world.accept(&manifest(&next), &ROOTS.map(key));
    let entry = Entry::parse(world.entries.last().unwrap()).unwrap();
    (world, entry)
}

#[test]
fn a_restored_ledger_is_the_same() {
    let (world, manifest) = lived_in();
    let snapshot = world.ledger.snapshot();
    assert_eq!((snapshot.size(), snapshot.origin()), (world.ledger.size(), ORIGIN));
    assert_eq!(snapshot.manifest_index(), Some(world.ledger.size() - 1));
    let text = world.state();
    // What is written without a copy says the same.
    let view = serde_json::to_string(&world.ledger.snapshot_view()).unwrap();
    let viewed = restore_with(&world, serde_json::from_str(&view).unwrap(), &manifest).unwrap();
    assert_eq!(serde_json::to_string(&viewed.snapshot()).unwrap(), text);
    let ledger = restore_with(&world, serde_json::from_str(&text).unwrap(), &manifest).unwrap();
    let mut again = World { ledger, entries: world.entries.clone() };
    assert_eq!(again.state(), text);
    // The unit comes back with its chain, also after the restart.
    let next = again.manifest_with(&units(), &contests());
    again.accept(&super::world::manifest(&next), &ROOTS.map(key));
    assert_eq!(again.head("dpd", STATION_TWO).map(|head| head.seq), Some(0));
    let body = again.tally(&key(KPPS), "dpd", STATION);
    assert_eq!(again.refuse(&tally(&body), &[key(KPPS)]), Refusal::KeyRevoked);
    let head = again.head("ppwp", STATION);
    let body = again.tally(&key(PPK), "ppwp", STATION);
    let wrong = revision(&body, hash(1));
    assert_eq!(again.refuse(&tally(&wrong), &[key(PPK)]), Refusal::Conflict { head });
    let freeze = again.freeze(&key(ROOTS[0]));
    again.accept(&freeze, &ROOTS.map(key));
    let entry = Entry::parse(&again.entries[again.entries.len() - 2]).unwrap();
    let text = again.state();
    assert!(restore_with(&again, serde_json::from_str(&text).unwrap(), &entry).unwrap().frozen());
}

#[test]
fn parts_that_do_not_belong_together_are_refused() {
    let (world, manifest) = lived_in();
    let snapshot: Value = serde_json::from_str(&world.state()).unwrap();
    let refused = |snapshot: &Value, entry: &Entry| {
        restore_with(&world, snapshot.clone(), entry).map(|ledger| ledger.size()).unwrap_err()
    };
    assert_eq!(
        refused(&snapshot, &Entry::parse(&world.entries[0]).unwrap()),
        SnapshotError::Manifest
    );
    assert_eq!(
        refused(&snapshot, &Entry::parse(&world.entries[2]).unwrap()),
        SnapshotError::Manifest
    );
    let mut none = snapshot.clone();
    none["manifest"] = Value::Null;
    assert_eq!(refused(&none, &manifest), SnapshotError::Manifest);
    let empty = serde_json::to_value(World::empty().ledger.snapshot()).unwrap();
    assert_eq!(refused(&empty, &manifest), SnapshotError::Manifest);
    let old_units = unit_register(&units());
    let contests = world.ledger.election().unwrap().contests.clone();
    let taken = Ledger::restore(world.ledger.snapshot(), &manifest, old_units, contests);
    assert_eq!(taken.map(|ledger| ledger.size()).unwrap_err(), SnapshotError::Manifest);
}

/// Numbers that point nowhere are found when the snapshot is loaded, not when they are used.
#[test]
fn a_snapshot_that_contradicts_itself_is_refused() {
    let mut world = World::new();
    world.accept(&tally(&world.tally(&key(KPPS), "ppwp", STATION)), &[key(KPPS)]);
    world.accept(&tally(&world.tally(&key(OBSERVER), "ppwp", STATION)), &[key(OBSERVER)]);
    let body = world.revocation(&key(KPPS_TWO), &key(KPPS_TWO), true);
    world.accept(&body, &[key(KPPS_TWO)]);
    let mandate = world.mandate(&key(PPK), &[grant(&key_n(KPPS, 1))]);
    world.accept(&mandate, &[key(PPK)]);
    let leaf = world.head("ppwp", STATION).unwrap().leaf;
    let attestation = world.attestation(&key(OBSERVER), "ppwp", STATION, leaf);
    world.accept(&attestation, &[key(OBSERVER)]);
    let good: Value = serde_json::from_str(&world.state()).unwrap();
    assert!(restore(&world, good.clone()).is_ok());
    let keys = good["keys"].as_array().unwrap().len();
    let changes: [(&str, Value); 34] = [
        ("/keys/0/vkey", json!("no key")),
        ("/keys/1/vkey", good["keys"][0]["vkey"].clone()),
        ("/keys/11/granter", json!(11)),
        ("/keys/11/granter", json!(99)),
        ("/roots/0", json!(keys)),
        ("/roots/0", json!(4)),
        ("/roots", json!([])),
        ("/revoked/0/0", json!(keys)),
        ("/chains/0/chain/owner", json!({"Key": keys})),
        ("/chains/0/chain/unit", json!(30)),
        ("/chains/0/chain/contest", json!(3)),
        ("/chains/0/chain/round", json!(3)),
        ("/units/of_slot/3", json!(4)),
        ("/units/of_slot/3", json!(30)),
        ("/units/of_slot", json!([0])),
        ("/units/removed", json!({"X": 3})),
        ("/units/removed", json!({"310101": 30})),
        ("/names/contests", json!({"dpd": 0, "dpr:3101": 1})),
        ("/names/contests", json!({"dpd": 0, "dpr:3101": 1, "ppwp": 1})),
        ("/names/rounds", json!({"regular": 0, "psu": 1, "court": 3})),
        ("/genesis", Value::Null),
        ("/chains/0/counts", json!([])),
        ("/chains/0/counts", json!([1, 2, 3, 4, 5])),
        ("/chains/0/index", json!(99)),
        ("/chains/0/seq", json!(1)),
        ("/chains/0/replaced", json!([vec![0; 32]])),
        ("/attested/0/1", json!(1)),
        ("/attested/0/2", json!(keys)),
        ("/attested/0/0/contest", json!(0)),
        ("/trails/0/contest", json!(3)),
        ("/trails/0/unit", json!(30)),
        ("/trails/0/indexes", json!([2, 2, 3])),
        ("/trails/0/indexes/2", json!(99)),
        ("/covered", json!(99)),
    ];
    for (pointer, value) in changes {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = value.clone();
        let refused = restore(&world, bad).map(|ledger| ledger.size());
        assert_eq!(refused.unwrap_err(), SnapshotError::Contents, "{pointer} {value}");
    }
}
