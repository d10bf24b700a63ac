//! Recap proofs of every unit of the small election, and every forgery of them.

use jejak_proofs::merkle::{Hash, InclusionError, NodeId, Plan, TreeHead, leaf_hash, node_hash};
use jejak_proofs::note::{Checkpoint, CheckpointFault, Policy, Receipt, ReceiptError};
use jejak_proofs::tally::*;
use serde_json::{Value, json};

use super::recap::computed;
use super::recap_model::ComputedRecap;
use super::world::*;

/// The hash of a node over its leaves.
fn node(leaves: &[Hash], node: &NodeId) -> Hash {
    let width = 1 << node.level;
    let below = &leaves[node.index as usize * width..][..width];
    match below {
        [leaf] => *leaf,
        _ => {
            let child = |index| NodeId { level: node.level - 1, index };
            let (left, right) = (child(2 * node.index), child(2 * node.index + 1));
            node_hash(&self::node(leaves, &left), &self::node(leaves, &right))
        }
    }
}

fn run_plan(leaves: &[Hash], plan: &Plan) -> Vec<Hash> {
    let hashes: Vec<Hash> = plan.nodes().iter().map(|id| node(leaves, id)).collect();
    plan.combine(&hashes).unwrap()
}

/// The receipt of one of these entries under a checkpoint of them all.
fn receipt(entries: &[Vec<u8>], index: u64) -> Receipt {
    let leaves: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
    let size = leaves.len() as u64;
    let head = TreeHead { size, root: run_plan(&leaves, &Plan::root(size))[0] };
    let checkpoint = Checkpoint::sign(head, &key(ORIGIN)).unwrap().into();
    let proof = run_plan(&leaves, &Plan::inclusion(size, index).unwrap());
    Receipt { index, proof, checkpoint, extra: None }
}

fn policy() -> Policy {
    Policy::parse(&format!("log {}\nquorum none\n", vkey(&key(ORIGIN)))).unwrap()
}

/// An election in which every status occurs, at stations and above.
pub fn lived_in() -> World {
    let mut world = World::new();
    let first = world.tally(&key(KPPS), "ppwp", STATION);
    let leaf = world.accept(&tally(&first), &[key(KPPS)]);
    world.accept(&world.attestation(&key(SAKSI), "ppwp", STATION, leaf), &[key(SAKSI)]);
    world.accept(&tally(&revision(&first, leaf)), &[key(KPPS)]);
    for (author, contest, unit, invalid) in [
        (KPPS_TWO, "ppwp", STATION_TWO, Some(2)),
        (OBSERVER, "ppwp", STATION_TWO, Some(3)),
        (KPPS, "dpr:3101", STATION, None),
        (PPK, "ppwp", "310101", Some(2)),
        (OBSERVER, "ppwp", "310101", Some(9)),
        (KPU, "ppwp", "31", Some(2)),
    ] {
        let body = Tally { invalid, ..world.tally(&key(author), contest, unit) };
        world.accept(&tally(&body), &[key(author)]);
    }
    world.seal();
    world
}

pub fn prove(world: &World, contest: &str, unit: &str) -> RecapProof {
    let sealed = world.ledger.sealed().unwrap();
    let unsealed = sealed.prove(contest, unit).unwrap();
    unsealed.with(receipt(&world.entries, sealed.state.size))
}

fn units_of(world: &World, contest: &str) -> Vec<String> {
    let (_, recap) = world.ledger.recap().unwrap().find(contest).unwrap();
    (0..recap.shape().count() as Place).map(|place| recap.code(place).to_string()).collect()
}

/// A proof file in its three parts, the first as untyped JSON.
#[derive(Clone)]
struct File {
    path: Value,
    state: String,
    receipt: String,
}

impl File {
    fn of(proof: &RecapProof) -> Self {
        let text = proof.to_text();
        let mut parts = text.strip_prefix("jejak/recap-proof/v1\n").unwrap().splitn(3, "\n\n");
        let mut part = || parts.next().unwrap().to_string();
        let path = serde_json::from_str(&part()).unwrap();
        Self { path, state: part(), receipt: part() }
    }

    fn text(&self) -> String {
        format!("jejak/recap-proof/v1\n{}\n\n{}\n\n{}", self.path, self.state, self.receipt)
    }

    fn judge(&self) -> Result<ProvenRecap, RecapProofError> {
        RecapProof::parse(self.text().as_bytes()).and_then(|proof| proof.verify(&policy()))
    }

    /// Why it is refused with something else in one place.
    fn with(&self, pointer: &str, value: Value) -> RecapProofError {
        let mut other = self.clone();
        *other.path.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = value;
        other.judge().map(|proven| proven.units).unwrap_err()
    }

    fn level_unit(&self, level: &str) -> UnitCode {
        code(self.path["levels"][level.parse::<usize>().unwrap()]["unit"].as_str().unwrap())
    }

    fn levels(&self) -> &Vec<Value> {
        self.path["levels"].as_array().unwrap()
    }
}

const WRONG_ROOT: RecapProofError = RecapProofError::Root(InclusionError::WrongRoot);

/// What is proven of each unit on the way is what the model computes.
fn assert_proven(proven: &ProvenRecap, contest: &str, unit: &str, model: &ComputedRecap) {
    assert_eq!(proven.checkpoint.head().size, proven.state.size + 1);
    assert_eq!(*proven.state.recap.as_bytes(), model.root);
    let expected = model.contests.iter().find(|computed| computed.id == contest).unwrap();
    assert_eq!(proven.contest.as_str(), contest);
    assert_eq!(proven.options, ids(&expected.options.iter().map(|id| &**id).collect::<Vec<_>>()));
    let codes: Vec<&str> = proven.units.iter().map(|unit| unit.unit.as_str()).collect();
    assert_eq!((codes[0], codes[codes.len() - 1]), (unit, "ID"));
    for (child, parent) in codes.iter().zip(&codes[1..]) {
        let below = expected.units[*parent].below.as_ref().unwrap();
        assert!(below.0.iter().any(|code| code == child), "{parent} is above {child}");
    }
    for proven in &proven.units {
        let expected = &expected.units[proven.unit.as_str()];
        assert_eq!(proven.counters, expected.counters);
        let below = expected.below.as_ref().map(|(codes, root)| (codes.len() as u32, *root));
        assert_eq!(proven.below.map(|below| (below.count, *below.root.as_bytes())), below);
        let record = proven.record;
        assert_eq!(record.status as u8, expected.status);
        assert_eq!(record.entries as usize, expected.entries.len());
        assert_eq!(*record.trail.as_bytes(), expected.trail);
        let head = record.head.map(|head| (head.index, *head.leaf.as_bytes()));
        assert_eq!(head, expected.head);
    }
}

#[test]
fn every_unit_of_every_contest_is_proven() {
    let world = lived_in();
    let model = computed(&world.ledger, &world.entries[..world.entries.len() - 1]);
    let mut count = 0;
    for contest in ["dpd", "dpr:3101", "ppwp"] {
        for unit in units_of(&world, contest) {
            let proof = prove(&world, contest, &unit);
            let text = proof.to_text();
            let read = RecapProof::parse(text.as_bytes()).unwrap();
            assert_eq!((&read, read.to_text()), (&proof, text.clone()));
            assert_eq!(File::of(&proof).text(), text, "keys in bytewise order");
            assert_proven(&read.verify(&policy()).unwrap(), contest, &unit, &model);
            count += 1;
        }
    }
    assert_eq!(count, 30 + 15 + 30);
    let sealed = world.ledger.sealed().unwrap();
    for (contest, unit) in [("dpd", "X"), ("dpr:3101", "32"), ("dpr:3102", "ID"), ("", "")] {
        assert!(sealed.prove(contest, unit).is_none());
    }
}

/// A value that differs in the smallest way, for every number, hash, name and null of a proof.
fn others(pointer: &str, value: &Value) -> Vec<Value> {
    let text = value.as_str().unwrap_or_default();
    match value {
        Value::Number(number) => vec![json!(number.as_u64().unwrap() + 1)],
        Value::Null if pointer.ends_with("/head") => {
            vec![json!({"index": 0, "leaf": "0".repeat(64)})]
        }
        Value::Null => vec![json!({"count": 0, "root": TreeHead::EMPTY.root})],
        Value::Object(_) => vec![Value::Null],
        _ if pointer.ends_with("/status") => {
            let all = ["corrected", "disputed", "none", "single"];
            all.into_iter().filter(|status| *status != text).map(Value::from).collect()
        }
        _ if text.len() == 64 => {
            let digit = if text.starts_with('0') { "1" } else { "0" };
            vec![Value::from(format!("{digit}{}", &text[1..]))]
        }
        _ => vec![json!("X")],
    }
}

/// Every place of a proof that holds a number, a text, or something that may be null.
fn places(value: &Value, at: &str, out: &mut Vec<(String, Value)>) {
    let nullable = at.ends_with("/head") || at.ends_with("/below");
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(name, value)| places(value, &format!("{at}/{name}"), out));
        }
        Value::Array(items) => {
            let items = items.iter().enumerate();
            items.for_each(|(n, value)| places(value, &format!("{at}/{n}"), out));
        }
        _ => {}
    }
    if nullable || !(value.is_object() || value.is_array()) {
        out.push((at.to_string(), value.clone()));
    }
}

/// Siblings of child `position` of `count`, as RFC 6962, Section 2.1.1, counts them.
fn path_len(position: u64, count: u64) -> usize {
    if count < 2 {
        return 0;
    }
    let mut k = 1;
    while 2 * k < count {
        k *= 2;
    }
    1 + if position < k { path_len(position, k) } else { path_len(position - k, count - k) }
}

/// The error that a change of one place must have.
fn expected(file: &File, pointer: &str, value: &Value) -> RecapProofError {
    let parts: Vec<&str> = pointer.split('/').skip(1).collect();
    let unit = || match parts[0] {
        "levels" => file.level_unit(parts[1]),
        _ => code(file.path["unit"]["unit"].as_str().unwrap()),
    };
    let record = RecapProofError::Record { unit: unit() };
    let station = file.path["unit"]["below"].is_null();
    let status = file.path["unit"]["record"]["status"].as_str().unwrap();
    match parts[..] {
        ["contest_index"] => match value.as_u64().unwrap() {
            1 => WRONG_ROOT,
            2 => RecapProofError::Root(InclusionError::WrongLength { got: 2, want: 1 }),
            _ => RecapProofError::Root(InclusionError::IndexOutOfRange { index: 3, size: 3 }),
        },
        ["levels", level, "children" | "position"] => {
            let mut level = file.path["levels"][level.parse::<usize>().unwrap()].clone();
            level[parts[2]] = value.clone();
            let [position, children] = ["position", "children"].map(|f| level[f].as_u64().unwrap());
            let siblings = level["siblings"].as_array().unwrap().len();
            match position < children && path_len(position, children) == siblings {
                true => WRONG_ROOT,
                false => RecapProofError::Path { unit: unit() },
            }
        }
        [.., "record", "head"] => record,
        // A status is none exactly without a head; a station's counters say which one it is.
        ["levels", level, "record", "status"] => {
            let old = &file.path["levels"][level.parse::<usize>().unwrap()]["record"]["status"];
            if (old == "none") == (value == "none") { WRONG_ROOT } else { record }
        }
        ["unit", "record", "status"] if !station && (status == "none") == (value == "none") => {
            WRONG_ROOT
        }
        ["unit", "record", "status"] => record,
        ["unit", "below"] if !station => record,
        ["unit", "counters", place] if station => {
            let fixed = file.path["options"].as_array().unwrap().len();
            let fixed = place.parse::<usize>().unwrap() as i64 - fixed as i64;
            let free = [counter::VALID, counter::INVALID, counter::TOTAL, counter::UNREADABLE];
            let free = fixed < 0 || free.contains(&(fixed as usize));
            let registered = fixed == counter::REGISTERED as i64;
            if registered || free && status != "none" { WRONG_ROOT } else { record }
        }
        _ => WRONG_ROOT,
    }
}

#[test]
fn a_change_in_any_one_place_is_refused() {
    let world = lived_in();
    let mut count = 0;
    for (contest, units) in [
        ("ppwp", &["ID", "31", "310101", STATION, STATION_TWO, "310102.003", "320101.K1"][..]),
        ("dpr:3101", &["ID", "3101", "310101.001", "310102.K1"]),
        ("dpd", &["3201", STATION]),
    ] {
        for unit in units {
            let file = File::of(&prove(&world, contest, unit));
            let mut all = Vec::new();
            places(&file.path, "", &mut all);
            for (pointer, value) in all {
                for other in others(&pointer, &value) {
                    let expected = expected(&file, &pointer, &other);
                    let got = file.with(&pointer, other.clone());
                    assert_eq!(got, expected, "{contest} {unit} {pointer} {value} {other}");
                    count += 1;
                }
            }
        }
    }
    assert!(count > 1_100, "{count} changes only");
}

#[test]
fn no_other_position_or_number_of_children_fits() {
    let world = lived_in();
    for unit in ["310101.001", "310101.002", "310101.004", "310101.K1", "3101", "32"] {
        let file = File::of(&prove(&world, "ppwp", unit));
        let level = &file.levels()[0];
        let [is_position, is_children] =
            ["position", "children"].map(|f| level[f].as_u64().unwrap());
        let siblings = level["siblings"].as_array().unwrap().len();
        let far = [u64::from(u32::MAX) - 1, u64::from(u32::MAX)];
        for children in (0..12).chain(far) {
            for position in (0..12).chain(far) {
                let mut other = file.clone();
                other.path["levels"][0]["children"] = json!(children);
                other.path["levels"][0]["position"] = json!(position);
                let fits = position < children && path_len(position, children) == siblings;
                let result = other.judge().map(|_| ());
                let path = RecapProofError::Path { unit: file.level_unit("0") };
                match (position, children) == (is_position, is_children) {
                    true => assert_eq!(result, Ok(())),
                    false if fits => assert_eq!(result, Err(WRONG_ROOT)),
                    false => assert_eq!(result, Err(path), "{position} of {children}"),
                }
            }
        }
    }
}

/// Levels and siblings: dropped, doubled, swapped, taken from elsewhere.
#[test]
fn a_path_of_other_levels_or_siblings_is_refused() {
    let world = lived_in();
    let good = File::of(&prove(&world, "ppwp", STATION));
    let elsewhere = File::of(&prove(&world, "ppwp", "320101.001"));
    let levels = good.levels().clone();
    assert_eq!(levels.len(), 4);
    let mut forged = vec![Vec::new(), levels.iter().rev().cloned().collect()];
    for n in 0..levels.len() {
        let mut dropped = levels.clone();
        dropped.remove(n);
        let mut doubled = levels.clone();
        doubled.insert(n, levels[n].clone());
        let mut swapped = levels.clone();
        swapped.swap(n, (n + 1) % levels.len());
        let mut foreign = levels.clone();
        foreign[n] = elsewhere.levels()[n].clone();
        forged.extend([dropped, doubled, swapped]);
        forged.extend((foreign[n] != levels[n]).then_some(foreign));
    }
    for levels in forged {
        assert_eq!(good.with("/levels", Value::from(levels)), WRONG_ROOT);
    }
    for (n, level) in levels.iter().enumerate() {
        let siblings = level["siblings"].as_array().unwrap();
        let at = format!("/levels/{n}/siblings");
        let path = RecapProofError::Path { unit: good.level_unit(&n.to_string()) };
        for place in 0..siblings.len() {
            let mut dropped = siblings.clone();
            dropped.remove(place);
            let mut doubled = siblings.clone();
            doubled.insert(place, siblings[place].clone());
            assert_eq!(good.with(&at, Value::from(dropped)), path);
            assert_eq!(good.with(&at, Value::from(doubled)), path);
            let mut swapped = siblings.clone();
            swapped.swap(place, (place + 1) % siblings.len());
            if swapped != *siblings {
                assert_eq!(good.with(&at, Value::from(swapped)), WRONG_ROOT);
            }
        }
    }
}

#[test]
fn the_record_of_another_unit_is_refused() {
    let world = lived_in();
    for contest in ["ppwp", "dpr:3101"] {
        let units = units_of(&world, contest);
        let files: Vec<File> =
            units.iter().map(|unit| File::of(&prove(&world, contest, unit))).collect();
        for (n, file) in files.iter().enumerate() {
            for (_, other) in files.iter().enumerate().filter(|(m, _)| *m != n) {
                assert_eq!(file.with("/unit", other.path["unit"].clone()), WRONG_ROOT);
            }
        }
    }
    // The same unit in another contest has another width, or another hash.
    let file = File::of(&prove(&world, "dpd", STATION));
    let other = File::of(&prove(&world, "dpr:3101", STATION));
    assert_eq!(file.with("/unit", other.path["unit"].clone()), WRONG_ROOT);
    let other = File::of(&prove(&world, "ppwp", STATION));
    assert_eq!(file.with("/unit", other.path["unit"].clone()), RecapProofError::Width);
}

#[test]
fn rows_of_another_width_and_other_options_are_refused() {
    let world = lived_in();
    let good = File::of(&prove(&world, "ppwp", STATION));
    let mut rows = vec!["/unit/counters".to_string()];
    for (n, level) in good.levels().iter().enumerate() {
        let siblings = 0..level["siblings"].as_array().unwrap().len();
        rows.extend(siblings.map(|m| format!("/levels/{n}/siblings/{m}/counters")));
    }
    let mut narrow = good.clone();
    for at in &rows {
        let row = good.path.pointer(at).unwrap().as_array().unwrap().clone();
        assert_eq!(good.with(at, Value::from(row[1..].to_vec())), RecapProofError::Width);
        let longer = Value::from([&row[..], &[json!(0)]].concat());
        assert_eq!(good.with(at, longer), RecapProofError::Width);
        assert_eq!(good.with(at, json!([])), RecapProofError::Width);
        *narrow.path.pointer_mut(at).unwrap() = Value::from(row[1..].to_vec());
    }
    for options in [json!([]), json!(["01", "02"]), json!(["01", "02", "03", "04"])] {
        assert_eq!(good.with("/options", options), RecapProofError::Width);
    }
    for options in [["02", "01", "03"], ["01", "03", "02"], ["01", "01", "03"]] {
        assert_eq!(good.with("/options", json!(options)), WRONG_ROOT);
    }
    // All of it without the first option.
    assert_eq!(narrow.with("/options", json!(["02", "03"])), WRONG_ROOT);
}

#[test]
fn a_sum_that_overflows_is_refused() {
    let world = lived_in();
    let good = File::of(&prove(&world, "ppwp", STATION));
    for (n, level) in good.levels().iter().enumerate() {
        let overflow = RecapProofError::Overflow { unit: good.level_unit(&n.to_string()) };
        for m in 0..level["siblings"].as_array().unwrap().len() {
            for place in [0, 2, 6, 7] {
                let at = format!("/levels/{n}/siblings/{m}/counters/{place}");
                assert_eq!(good.with(&at, json!(u64::MAX)), overflow, "{at}");
            }
        }
    }
    // The largest sum that fits is only wrong.
    let proven = good.judge().unwrap();
    let (nation, province) = (proven.units[4].clone(), proven.units[3].clone());
    assert_eq!((nation.unit.as_str(), province.unit.as_str()), ("ID", "31"));
    let most = u64::MAX - province.counters[0];
    assert_eq!(good.with("/levels/3/siblings/0/counters/0", json!(most)), WRONG_ROOT);
    let overflow = RecapProofError::Overflow { unit: code("ID") };
    assert_eq!(good.with("/levels/3/siblings/0/counters/0", json!(most + 1)), overflow);
}

#[test]
fn a_contest_stands_at_its_place_among_all() {
    let world = lived_in();
    let files = ["dpd", "dpr:3101", "ppwp"].map(|contest| File::of(&prove(&world, contest, "ID")));
    let path = |got, want| RecapProofError::Root(InclusionError::WrongLength { got, want });
    for (n, file) in files.iter().enumerate() {
        assert_eq!(file.path["contest_index"], json!(n));
        let hashes = file.path["contest_hashes"].as_array().unwrap();
        let want = hashes.len();
        assert_eq!(want, [2, 2, 1][n]);
        assert_eq!(file.with("/contest_hashes", json!([])), path(0, want));
        let more = Value::from([&hashes[..], &hashes[..1]].concat());
        assert_eq!(file.with("/contest_hashes", more), path(want + 1, want));
        let other = files[(n + 1) % 3].path["contest"].clone();
        assert_eq!(file.with("/contest", other), WRONG_ROOT);
        for index in [3, u64::MAX] {
            let out = InclusionError::IndexOutOfRange { index, size: 3 };
            assert_eq!(file.with("/contest_index", json!(index)), RecapProofError::Root(out));
        }
    }
    assert_eq!(files[0].with("/contest_index", json!(2)), path(2, 1));
}

/// The error of a proof whose receipt and state are of these entries.
fn judge_entries(world: &World, entries: &[Vec<u8>], at: usize) -> Option<RecapProofError> {
    let sealed = world.ledger.sealed().unwrap();
    let mut file = File::of(&prove(world, "ppwp", STATION));
    assert_eq!(sealed.state.size as usize, world.entries.len() - 1);
    file.state = String::from_utf8(entries[at].clone()).unwrap().trim_end().to_string();
    file.receipt = receipt(entries, at as u64).to_string();
    file.judge().err()
}

#[test]
fn a_state_covers_all_before_it_and_ends_its_tree() {
    let mut world = lived_in();
    let state = world.ledger.sealed().unwrap().state.clone();
    let at = world.entries.len() - 1;
    assert_eq!(judge_entries(&world, &world.entries, at), None);
    // A log that signs states of another size, which no ledger takes.
    let text = |state: State| Body::State(state).text().into_bytes();
    for size in [0, 1, state.size - 1, state.size + 1, u64::MAX] {
        let mut entries = world.entries.clone();
        entries[at] = text(State { size, ..state.clone() });
        assert_eq!(judge_entries(&world, &entries, at), Some(RecapProofError::StateSize));
    }
    // The same state once more, further on.
    let mut entries = world.entries.clone();
    entries.push(entries[at].clone());
    assert_eq!(judge_entries(&world, &entries, at), Some(RecapProofError::NotLast));
    assert_eq!(judge_entries(&world, &entries, at + 1), Some(RecapProofError::StateSize));
    // Another recap, manifest, or number of contests.
    let wrong = [
        (State { recap: hash(1), ..state.clone() }, WRONG_ROOT),
        (State { manifest: hash(1), ..state.clone() }, WRONG_ROOT),
        (State { contests: 4, ..state.clone() }, {
            RecapProofError::Root(InclusionError::WrongLength { got: 1, want: 2 })
        }),
        (State { contests: 2, ..state.clone() }, {
            RecapProofError::Root(InclusionError::IndexOutOfRange { index: 2, size: 2 })
        }),
        (State { contests: 0, ..state.clone() }, {
            RecapProofError::Root(InclusionError::IndexOutOfRange { index: 2, size: 0 })
        }),
    ];
    for (state, error) in wrong {
        let mut entries = world.entries.clone();
        entries[at] = text(state);
        assert_eq!(judge_entries(&world, &entries, at), Some(error));
    }
    // The proof of the state before, under the newest checkpoint.
    let old = File::of(&prove(&world, "ppwp", STATION));
    let body = world.tally(&key(OBSERVER_TWO), "ppwp", STATION);
    world.accept(&tally(&body), &[key(OBSERVER_TWO)]);
    let mut late = old.clone();
    late.receipt = receipt(&world.entries, at as u64).to_string();
    assert_eq!(late.judge().map(|_| ()), Err(RecapProofError::NotLast));
    world.seal();
    late.receipt = receipt(&world.entries, at as u64).to_string();
    assert_eq!(late.judge().map(|_| ()), Err(RecapProofError::NotLast));
    // The old path under the new state.
    let new = File::of(&prove(&world, "ppwp", STATION));
    let mixed = File { path: old.path, ..new };
    assert_eq!(mixed.judge().map(|_| ()), Err(WRONG_ROOT));
}

#[test]
fn the_receipt_is_of_this_state_in_a_signed_tree() {
    let world = lived_in();
    let good = File::of(&prove(&world, "ppwp", STATION));
    let inclusion = |error| RecapProofError::Receipt(ReceiptError::Inclusion(error));
    let at = world.entries.len() - 1;
    for other in 0..at {
        let mut file = good.clone();
        file.receipt = receipt(&world.entries, other as u64).to_string();
        let error = file.judge().map(|_| ()).unwrap_err();
        assert_eq!(error, inclusion(InclusionError::WrongRoot), "receipt of {other}");
    }
    // Another state under the receipt of this one.
    let size = format!("\"size\":{at}");
    for other in [at - 1, at + 1] {
        let mut file = good.clone();
        file.state = good.state.replace(&size, &format!("\"size\":{other}"));
        assert_ne!(file.state, good.state);
        assert_eq!(file.judge().map(|_| ()), Err(inclusion(InclusionError::WrongRoot)));
    }
    // A checkpoint that somebody else signed.
    let proof = RecapProof::parse(good.text().as_bytes()).unwrap();
    let stranger = vkey(&key("log.example/other"));
    let policy = Policy::parse(&format!("log {stranger}\nquorum none\n")).unwrap();
    match proof.verify(&policy).map(|proven| proven.units).unwrap_err() {
        RecapProofError::Receipt(ReceiptError::Checkpoint(error)) => {
            assert_eq!(error.fault(), CheckpointFault::LogSignature);
        }
        other => panic!("{other:?}"),
    }
}
