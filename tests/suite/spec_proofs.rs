//! Rules of SPEC.md on recap proofs: what a verifier refuses, and with which error.

use jejak_proofs::{
    note::{Policy, ReceiptError},
    tally::{Body, ProvenRecap, RECAP_PROOF_LEN_MAX, RecapProof, RecapProofError, State},
};
use serde_json::{Value, json};

use super::{
    spec_example::{Example, STATION},
    spec_recap::wide,
    spec_world::{OBSERVER, OFFICER, World, tally},
};

fn verify(file: &str, policy: &str) -> Result<ProvenRecap, RecapProofError> {
    RecapProof::parse(file.as_bytes())?.verify(&Policy::parse(policy).unwrap())
}

/// The parts of a recap proof: path, state, receipt.
fn parts(file: &str) -> [&str; 3] {
    let (_, rest) = file.split_once('\n').unwrap();
    rest.splitn(3, "\n\n").collect::<Vec<_>>().try_into().unwrap()
}

/// The file with its path changed.
fn changed(file: &str, change: &dyn Fn(&mut Value)) -> String {
    let [path, state, receipt] = parts(file);
    let mut path: Value = serde_json::from_str(path).unwrap();
    change(&mut path);
    format!("jejak/recap-proof/v1\n{path}\n\n{state}\n\n{receipt}")
}

/// A world in which station 31.3 and the province 31 have a tally, sealed.
fn sealed() -> World {
    let mut world = wide();
    world.take(&tally(world.opening(OFFICER, "31.3")), &[OFFICER]);
    world.take(&tally(world.opening(OFFICER, "31")), &[OFFICER]);
    world.take(&tally(world.opening(OBSERVER, "31.1")), &[OBSERVER]);
    world.seal();
    world
}

#[test]
fn the_example_verifies_and_so_does_every_unit() {
    let example = Example::new();
    let proven = verify(&example.recap_proof(STATION), &example.policy).unwrap();
    assert_eq!(proven.state, example.sealed.state);
    let codes: Vec<&str> = proven.units.iter().map(|unit| unit.unit.as_str()).collect();
    assert_eq!(codes, [STATION, "31", "ID"]);
    assert_eq!(proven.units[2].counters, [97, 84, 182, 3, 185, 251, 1, 1, 0, 0, 0]);
    let world = sealed();
    let recap = world.ledger.recap().unwrap();
    let mut proofs = 0;
    for contest in recap.contests() {
        for place in 0..contest.shape().count() as u32 {
            let (id, unit) = (contest.contest().id.as_str(), contest.code(place));
            let file = world.recap_proof(id, unit);
            assert_eq!(RecapProof::parse(file.as_bytes()).unwrap().to_text(), file);
            let proven = verify(&file, &world.policy()).unwrap();
            assert_eq!(proven.units[0].counters, contest.counters(place));
            assert_eq!(proven.units.last().unwrap().counters, contest.counters(0));
            proofs += 1;
        }
    }
    assert_eq!(proofs, 18, "ten units in ppwp, eight in dpd:31");
}

// SPEC [K1]
#[test]
fn a_recap_proof_has_one_spelling() {
    let example = Example::new();
    let (file, policy) = (example.recap_proof(STATION), example.policy);
    assert!(verify(&file, &policy).is_ok());
    let long = format!("{file}{}", "\n".repeat(RECAP_PROOF_LEN_MAX));
    for wrong in [
        file.replacen("v1", "v2", 1),
        file.replacen("{\"contest\"", "{ \"contest\"", 1),
        file.replacen("\"position\":0", "\"position\":00", 1),
        file.replacen("\"position\":0", "\"place\":0", 1),
        file.replacen("\"single\"", "\"Single\"", 1),
        file.replacen("jejak/state/v1", "jejak/tally/v1", 1),
        file.replacen("\"size\":3}\n", "\"size\":3} \n", 1),
        file.replacen("\n\n", "\n", 1),
        file[..file.len() / 2].to_owned(),
        String::new(),
        long,
    ] {
        assert!(matches!(verify(&wrong, &policy), Err(RecapProofError::Form(_))), "{wrong}");
    }
    let receipt = file.replacen("index 3", "index 03", 1);
    let refused = verify(&receipt, &policy).unwrap_err();
    assert!(matches!(refused, RecapProofError::Receipt(ReceiptError::Index(_))), "{refused:?}");
}

/// A file whose every later step is wrong too is refused for the first.
// SPEC [K2]
#[test]
fn of_two_faults_the_first_step_is_named() {
    let world = sealed();
    let (file, policy) = (world.recap_proof("ppwp", "31.3"), world.policy());
    let kind = |file: &str| verify(file, &policy).unwrap_err();
    // From the last step to the first, each fault on top of those before.
    let file = changed(&file, &|path| path["contest_index"] = json!(0));
    assert!(matches!(kind(&file), RecapProofError::Root(_)));
    let file = changed(&file, &|path| path["levels"][1]["record"]["status"] = json!("single"));
    assert_eq!(kind(&file), RecapProofError::Record { unit: "ID".parse().unwrap() });
    let file = changed(&file, &|path| path["levels"][0]["position"] = json!(9));
    assert_eq!(kind(&file), RecapProofError::Path { unit: "31".parse().unwrap() });
    let file = changed(&file, &|path| path["unit"]["counters"][6] = json!(2));
    assert_eq!(kind(&file), RecapProofError::Record { unit: "31.3".parse().unwrap() });
    let file = changed(&file, &|path| path["options"] = json!(["01"]));
    assert_eq!(kind(&file), RecapProofError::Width);
    let size = format!("\"size\":{}", world.leaves.len() - 1);
    let inclusion = kind(&file.replace(&size, "\"size\":1"));
    assert!(matches!(inclusion, RecapProofError::Receipt(ReceiptError::Inclusion(_))));
    let signature = kind(&file.replace(&size, "\"size\":1").replacen("rules\n", "rules\n1", 1));
    assert!(matches!(signature, RecapProofError::Receipt(ReceiptError::Checkpoint(_))));
    let form = file.replacen("\"levels\"", "\"level\"", 1);
    assert!(matches!(kind(&form), RecapProofError::Form(_)));
}

// SPEC [K3]
#[test]
fn a_record_has_a_head_or_the_status_none() {
    let world = sealed();
    let policy = world.policy();
    let head = json!({"index": 1, "leaf": world.leaves[1]});
    let record = |unit: &str| Err(RecapProofError::Record { unit: unit.parse().unwrap() });
    let judge = |unit: &str, change: &dyn Fn(&mut Value)| {
        verify(&changed(&world.recap_proof("ppwp", unit), change), &policy).map(|_| ())
    };
    assert_eq!(judge("31.3", &|path| path["unit"]["record"]["head"] = Value::Null), record("31.3"));
    assert_eq!(
        judge("31.1", &|path| path["unit"]["record"]["head"] = head.clone()),
        record("31.1")
    );
    assert_eq!(
        judge("ID", &|path| path["unit"]["record"]["status"] = json!("single")),
        record("ID")
    );
    let of_level = &|path: &mut Value| path["levels"][1]["record"]["head"] = head.clone();
    assert_eq!(judge("31.3", of_level), record("ID"));
    let of_level = &|path: &mut Value| path["levels"][0]["record"]["head"] = Value::Null;
    assert_eq!(judge("31.3", of_level), record("31"));
}

// SPEC [K4]
#[test]
fn counters_of_a_station_fit_its_status() {
    let world = sealed();
    let policy = world.policy();
    let judge = |unit: &str, place: usize, value: u64| {
        let file = world.recap_proof("ppwp", unit);
        verify(&changed(&file, &|path| path["unit"]["counters"][place] = json!(value)), &policy)
            .map(|_| ())
            .unwrap_err()
    };
    let contradicts = |unit: &str| RecapProofError::Record { unit: unit.parse().unwrap() };
    // 31.3 has a first tally: stations, reported, corrected, disputed.
    for (place, value) in [(6, 0), (6, 2), (7, 0), (8, 1), (9, 1)] {
        assert_eq!(judge("31.3", place, value), contradicts("31.3"), "{place}");
    }
    // 31.1 has none that is official: no number either.
    for place in [0, 1, 2, 3, 4, 7, 8, 9, 10] {
        assert_eq!(judge("31.1", place, 1), contradicts("31.1"), "{place}");
    }
    // What the status does not bind, the root does.
    for (unit, place) in [("31.3", 0), ("31.3", 10), ("31.1", 5), ("31", 6)] {
        assert!(matches!(judge(unit, place, 7), RecapProofError::Root(_)), "{unit} {place}");
    }
}

// SPEC [K5]
#[test]
fn siblings_are_as_many_as_the_place_allows() {
    let world = sealed();
    let policy = world.policy();
    let file = world.recap_proof("ppwp", "31.3");
    let judge = |change: &dyn Fn(&mut Value)| verify(&changed(&file, change), &policy).unwrap_err();
    let path_of = |unit: &str| RecapProofError::Path { unit: unit.parse().unwrap() };
    let province =
        |path: &mut Value, field: &str, value: u64| path["levels"][0][field] = json!(value);
    // Six children, of which 31.3 is the third: three siblings.
    assert_eq!(judge(&|path| province(path, "position", 6)), path_of("31"));
    assert_eq!(judge(&|path| province(path, "children", 2)), path_of("31"));
    assert_eq!(judge(&|path| province(path, "children", 0)), path_of("31"));
    assert_eq!(judge(&|path| province(path, "children", 9)), path_of("31"));
    assert_eq!(judge(&|path| province(path, "position", 4)), path_of("31"));
    let siblings = |path: &mut Value, change: fn(&mut Vec<Value>)| {
        change(path["levels"][0]["siblings"].as_array_mut().unwrap());
    };
    assert_eq!(judge(&|path| siblings(path, |list| drop(list.pop()))), path_of("31"));
    assert_eq!(judge(&|path| siblings(path, |list| list.push(list[0].clone()))), path_of("31"));
    // As many siblings fit eight children and the fourth place, but the root does not.
    assert!(matches!(judge(&|path| province(path, "children", 8)), RecapProofError::Root(_)));
    assert!(matches!(judge(&|path| province(path, "position", 3)), RecapProofError::Root(_)));
}

// SPEC [K6]
#[test]
fn every_sum_is_computed_and_none_overflows() {
    let world = sealed();
    let policy = world.policy();
    let file = world.recap_proof("ppwp", "31.3");
    let judge = |change: &dyn Fn(&mut Value)| verify(&changed(&file, change), &policy).unwrap_err();
    let sibling = |path: &mut Value, value: Value| {
        path["levels"][0]["siblings"][1]["counters"][0] = value;
    };
    let overflow = RecapProofError::Overflow { unit: "31".parse().unwrap() };
    assert_eq!(judge(&|path| sibling(path, json!(u64::MAX - 9))), overflow);
    assert!(matches!(judge(&|path| sibling(path, json!(u64::MAX - 10))), RecapProofError::Root(_)));
    assert!(matches!(judge(&|path| sibling(path, json!(1))), RecapProofError::Root(_)));
    // Another unit's record, another name, options in another order.
    let other: Value = serde_json::from_str(parts(&world.recap_proof("ppwp", "31.1"))[0]).unwrap();
    let unit = |path: &mut Value| path["unit"]["record"] = other["unit"]["record"].clone();
    assert!(matches!(judge(&unit), RecapProofError::Record { .. }));
    let unit = |path: &mut Value| path["unit"] = other["unit"].clone();
    assert!(matches!(judge(&unit), RecapProofError::Root(_)));
    let swap = |path: &mut Value| path["options"] = json!(["02", "01"]);
    assert!(matches!(judge(&swap), RecapProofError::Root(_)));
    let short = |path: &mut Value| drop(path["unit"]["counters"].as_array_mut().unwrap().pop());
    assert_eq!(judge(&short), RecapProofError::Width);
}

// SPEC [K7]
#[test]
fn the_state_is_the_last_entry_and_covers_all_before() {
    let mut world = sealed();
    let sealed = world.ledger.sealed().unwrap().clone();
    let old = world.recap_proof("ppwp", "31.3");
    // The state of before, under a checkpoint that has an entry more.
    world.take(&tally(world.opening(OFFICER, "31.4")), &[OFFICER]);
    let mut receipt = world.receipt_of_last();
    receipt.index -= 1;
    receipt.proof = super::oracle::path(&world.leaves, receipt.index as usize);
    let late = sealed.prove("ppwp", "31.3").unwrap().with(receipt).to_text();
    assert_eq!(verify(&late, &world.policy()).unwrap_err(), RecapProofError::NotLast);
    // A log that signs a state in another place than it says.
    let moved = State { size: sealed.state.size + 1, ..sealed.state.clone() };
    let bytes = Body::State(moved).text();
    let place = sealed.state.size as usize;
    let mut lying = World { leaves: world.leaves[..place].to_vec(), ..world.clone() };
    lying.leaves.push(jejak_proofs::merkle::leaf_hash(bytes.as_bytes()));
    let [path, ..] = parts(&old);
    let receipt = lying.receipt_of_last();
    let lie = format!("jejak/recap-proof/v1\n{path}\n\n{bytes}\n{receipt}");
    assert_eq!(verify(&lie, &world.policy()).unwrap_err(), RecapProofError::StateSize);
}
