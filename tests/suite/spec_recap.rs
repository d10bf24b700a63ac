//! The recap: that of the worked example, as SPEC.md shows it, and the rules that make it.

use std::fmt::Write as _;

use jejak_proofs::{
    merkle::{Hash, TreeHead, leaf_hash, sha256},
    tally::{
        Attestation, AttestationVerdict, Body, Contest, ContestRecap, Manifest, Reason, Record,
        RecordHead, Status, Tally, Unit, to_canonical,
    },
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    oracle,
    spec_example::{Example, STATION},
    spec_world::{
        OBSERVER, OFFICER, ROOTS, World, code, contest, contests, id, key, mandated, manifest,
        named, spell, tally, unit, words,
    },
};

/// What stands before each counter in the worked example.
const COUNTERS: [&str; 11] = [
    "votes of 01",
    "votes of 02",
    "valid",
    "invalid",
    "total",
    "registered",
    "stations",
    "reported",
    "corrected",
    "disputed",
    "unreadable",
];

impl Example {
    fn contest(&self) -> &ContestRecap {
        &self.sealed.recap().contests()[0]
    }

    /// The record of station 31.001, byte for byte.
    fn record_block(&self) -> String {
        let recap = self.contest();
        let Record { entries, head, status, trail } = recap.record(recap.find(STATION).unwrap());
        let head = head.unwrap();
        format!(
            "status       {:02x}\nentries      {entries:08x}\nhead index   {:016x}\n\
             head leaf    {}\ntrail        {trail}\n",
            status as u8, head.index, head.leaf
        )
    }

    /// Its counters, which are those of both regions above too.
    fn counters_block(&self) -> String {
        let recap = self.contest();
        let counters = recap.counters(recap.find(STATION).unwrap());
        for region in ["31", "ID"] {
            assert_eq!(recap.counters(recap.find(region).unwrap()), counters);
        }
        let mut text = format!("k            {:04x}\n", counters.len());
        for (name, counter) in COUNTERS.iter().zip(counters) {
            writeln!(text, "{name:12} {counter:016x}").unwrap();
        }
        text
    }

    fn hashes_block(&self) -> String {
        let recap = self.contest();
        let hash = |unit: &str| recap.hash(recap.find(unit).unwrap());
        let rows: [(&str, Hash); 5] = [
            ("station 31.001", hash(STATION)),
            ("region 31", hash("31")),
            ("region ID", hash("ID")),
            ("contest ppwp", recap.contest_hash(&self.leaves[0])),
            ("recap root", self.sealed.state.recap),
        ];
        rows.iter().map(|(name, hash)| format!("{name:15} {hash}\n")).collect()
    }

    /// The code blocks of the section "The example's recap".
    pub fn recap_blocks(&self) -> Vec<String> {
        vec![self.record_block(), self.counters_block(), self.hashes_block()]
    }

    /// What `GET unit/ppwp/<unit>` answers.
    fn unit_answer(&self, unit: &str) -> Value {
        let recap = self.contest();
        let (units, place) = (recap.units(), recap.find(unit).unwrap());
        let slot = recap.shape().slot(place);
        let station = recap.shape().is_station(place);
        json!({
            "below": (!station).then(|| recap.below(place)),
            "contest": "ppwp",
            "counters": recap.counters(place),
            "kind": units.kind(slot),
            "name": units.name(slot),
            "options": ["01", "02"],
            "parent": recap.shape().parent(place).map(|parent| recap.code(parent)),
            "record": recap.record(place),
            "size": 4,
            "unit": unit,
        })
    }

    /// What `GET unit/ppwp/<unit>/history` answers.
    fn history_answer(&self, unit: &str) -> Value {
        let recap = self.contest();
        let indexes = recap.entries(recap.find(unit).unwrap());
        json!({"contest": "ppwp", "indexes": indexes, "size": 4, "unit": unit})
    }

    /// What `GET recap/ppwp/<unit>` answers.
    fn recap_answer(&self, unit: &str) -> Value {
        let recap = self.contest();
        let place = recap.find(unit).unwrap();
        let child = |child| {
            let slot = recap.shape().slot(child);
            json!({
                "counters": recap.counters(child),
                "kind": recap.units().kind(slot),
                "name": recap.units().name(slot),
                "status": recap.record(child).status,
                "unit": recap.code(child),
            })
        };
        json!({
            "children": recap.shape().children(place).map(child).collect::<Vec<_>>(),
            "contest": "ppwp",
            "counters": recap.counters(place),
            "options": ["01", "02"],
            "size": 4,
            "unit": unit,
        })
    }

    /// The answers about a unit, by path.
    pub fn answers(&self, unit: &str) -> [(String, Value); 3] {
        [
            (format!("unit/ppwp/{unit}"), self.unit_answer(unit)),
            (format!("unit/ppwp/{unit}/history"), self.history_answer(unit)),
            (format!("recap/ppwp/{unit}"), self.recap_answer(unit)),
        ]
    }

    /// The code blocks of the section "Units and recaps".
    pub fn answer_blocks(&self) -> Vec<String> {
        let shown =
            [self.unit_answer(STATION), self.history_answer(STATION), self.recap_answer("ID")];
        shown.iter().map(|answer| to_canonical(answer) + "\n").collect()
    }
}

/// The stations of a province, another province with one, and one without.
pub fn wide_units() -> Vec<Unit> {
    let mut units = vec![unit("ID", "", "nation"), unit("31", "ID", "province")];
    units.extend(["31.1", "31.2", "31.3", "31.4", "31.5"].map(|code| unit(code, "31", "tps")));
    units.push(unit("31.K", "31", "box"));
    units.extend([unit("32", "ID", "province"), unit("32.1", "32", "tps")]);
    units.push(unit("33", "ID", "province"));
    units
}

fn wide_with(contests: &[Contest]) -> World {
    let registers = spell(&wide_units(), contests);
    let mut world = World::empty();
    world.provide(&registers);
    let manifest = Manifest { registers: named(&registers), ..manifest() };
    world.take(&Body::Manifest(Box::new(manifest)), &ROOTS);
    let keys =
        vec![mandated(&key(OFFICER), &["31"], None), mandated(&key(OBSERVER), &["ID"], None)];
    world.take(&world.mandate(ROOTS[0], keys), &ROOTS);
    world
}

/// A log with those units, the officer of province 31 and the observer.
pub fn wide() -> World {
    wide_with(&contests())
}

/// The contest with every sum up to date.
fn settled<'a>(world: &'a mut World, contest: &str) -> &'a ContestRecap {
    world.ledger.next_state();
    world.ledger.recap().unwrap().find(contest).unwrap().1
}

fn record(world: &mut World, unit: &str) -> Record {
    let recap = settled(world, "ppwp");
    recap.record(recap.find(unit).unwrap())
}

fn counters(world: &mut World, unit: &str) -> Vec<u64> {
    let recap = settled(world, "ppwp");
    recap.counters(recap.find(unit).unwrap())
}

fn h(parts: &[&[u8]]) -> Vec<u8> {
    Sha256::digest(parts.concat()).to_vec()
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat()
}

fn row(counters: &[u64]) -> Vec<u8> {
    let mut bytes = (counters.len() as u16).to_be_bytes().to_vec();
    counters.iter().for_each(|counter| bytes.extend(counter.to_be_bytes()));
    bytes
}

/// Hash and counters over a row of children, as RFC 6962 splits it.
fn over(children: &[(Vec<u8>, Vec<u64>)]) -> (Vec<u8>, Vec<u64>) {
    if let [child] = children {
        return child.clone();
    }
    let (left, right) = children.split_at(children.len().next_power_of_two() / 2);
    let (left, right) = (over(left), over(right));
    let sums = left.1.iter().zip(&right.1).map(|(a, b)| a + b).collect();
    (h(&[&[0x11], &left.0, &row(&left.1), &right.0, &row(&right.1)]), sums)
}

// SPEC [U1]
#[test]
fn the_bytes_of_the_example_are_those_of_the_table() {
    let example = Example::new();
    let two = 2_u64.to_be_bytes();
    let leaf = example.leaves[2];
    let trail = h(&[&[0x14], &[0; 32], &two, leaf.as_bytes()]);
    let record = [&[3, 0, 0, 0, 1][..], &two, leaf.as_bytes(), &trail].concat();
    let counters = row(&[97, 84, 182, 3, 185, 251, 1, 1, 0, 0, 0]);
    let station = h(&[&[0x10], &text("ppwp"), &text("31.001"), &record, &counters]);
    let one = [0, 0, 0, 1];
    let region = |unit: &str, child: &[u8]| {
        h(&[&[0x12], &text("ppwp"), &text(unit), &[0; 77], &one, &counters, child])
    };
    let top = region("ID", &region("31", &station));
    let options = [&[0, 2][..], &text("01"), &text("02")].concat();
    let manifest = example.leaves[0];
    let contest = h(&[&[0x13], &text("ppwp"), &options, manifest.as_bytes(), &counters, &top]);
    assert_eq!(h(&[&[0], &contest]), example.sealed.state.recap.as_bytes());
}

// SPEC [U2]
#[test]
fn stations_in_scope_and_what_is_above_them_take_part() {
    let mut world = wide_with(&[
        contest("dpd:31", &["a", "b"], "31"),
        contest("dpd:33", &["a"], "33"),
        Contest { scope: vec![code("31.2"), code("32")], ..contest("dpr", &["a"], "32") },
        contest("ppwp", &["01", "02"], "ID"),
    ]);
    let province = ["ID", "31", "31.1", "31.2", "31.3", "31.4", "31.5", "31.K"];
    for (contest, want) in [
        ("dpd:31", province.to_vec()),
        ("dpd:33", vec!["ID"]),
        ("dpr", vec!["ID", "31", "31.2", "32", "32.1"]),
        ("ppwp", [&province[..], &["32", "32.1"]].concat()),
    ] {
        let recap = settled(&mut world, contest);
        let places = 0..recap.shape().count() as u32;
        let found: Vec<&str> = places.map(|place| recap.code(place)).collect();
        assert_eq!(found, want, "{contest}");
    }
    let nowhere = tally(world.opening(OBSERVER, "33"));
    assert_eq!(world.code(&nowhere, &[OBSERVER]), "invalid_unit");
    // Nothing was reported, and it can be proved.
    world.seal();
    let silent = world.recap_proof("ppwp", "31.4");
    assert!(silent.contains(r#"{"entries":0,"head":null,"status":"none","#));
}

// SPEC [U3] [U9]
#[test]
fn children_stand_in_a_tree_with_their_sums() {
    let mut world =
        wide_with(&[contest("dpd:33", &["a"], "33"), contest("ppwp", &["01", "02"], "ID")]);
    for (number, unit) in ["31.1", "31.2", "31.5", "31.K"].into_iter().enumerate() {
        let votes = [(id("01"), Some(u32::MAX)), (id("02"), Some(number as u32))].into();
        let tally_of = Tally { votes, ..world.opening(OFFICER, unit) };
        world.take(&tally(tally_of), &[OFFICER]);
        let recap = settled(&mut world, "ppwp");
        for region in ["31", "32", "ID"] {
            let place = recap.find(region).unwrap();
            let children = recap.shape().children(place);
            let children: Vec<_> = children
                .map(|child| (recap.hash(child).as_bytes().to_vec(), recap.counters(child)))
                .collect();
            let (root, sums) = over(&children);
            let below = recap.below(place);
            assert_eq!(
                (below.count as usize, below.root.as_bytes()),
                (children.len(), &root[..].try_into().unwrap())
            );
            assert_eq!(recap.counters(place), sums, "{region}");
        }
    }
    let sums = [4 * u64::from(u32::MAX), 6, 120, 4, 124, 7 * 210, 7, 4, 0, 0, 0];
    assert_eq!(counters(&mut world, "ID"), sums);
    let empty = settled(&mut world, "dpd:33");
    let below = empty.below(0);
    assert_eq!((below.count, below.root), (0, TreeHead::EMPTY.root));
    assert_eq!(empty.counters(0), [0; 10]);
}

// SPEC [U4]
#[test]
fn contests_stand_in_the_tree_of_rfc_6962() {
    for count in 1..=5 {
        let contests: Vec<Contest> =
            (0..count).map(|n| contest(&format!("c{n}"), &["a"], "31")).collect();
        let mut world = wide_with(&contests);
        let state = world.ledger.next_state().unwrap();
        let manifest = world.leaves[0];
        let recap = world.ledger.recap().unwrap();
        let leaves: Vec<Hash> = recap
            .contests()
            .iter()
            .map(|contest| leaf_hash(contest.contest_hash(&manifest).as_bytes()))
            .collect();
        assert_eq!((state.contests, state.manifest), (count, manifest));
        assert_eq!(state.recap, oracle::root(&leaves), "{count}");
    }
}

/// What an observer says of a tally.
fn attest(world: &mut World, unit: &str, leaf: Hash, verdict: AttestationVerdict) {
    let attestation = Attestation { verdict, ..world.attestation(OBSERVER, unit, leaf) };
    world.take(&Body::Attestation(attestation), &[OBSERVER]);
}

// SPEC [U5]
#[test]
fn the_trail_takes_in_every_entry_about_the_unit() {
    let mut world = wide();
    let mut about = vec![];
    let mut note = |world: &World| about.push((world.ledger.size() - 1, world.last()));
    world.take(&tally(world.opening(OBSERVER, "31.1")), &[OBSERVER]);
    note(&world);
    world.take(&tally(world.opening(OFFICER, "31.2")), &[OFFICER]);
    world.seal();
    world.take(&tally(world.opening(OFFICER, "31.1")), &[OFFICER]);
    note(&world);
    let head = world.last();
    let votes = [(id("a"), Some(1)), (id("b"), Some(2))].into();
    let dpd = Tally { contest: id("dpd:31"), votes, ..world.opening(OFFICER, "31.1") };
    world.take(&tally(dpd), &[OFFICER]);
    attest(&mut world, "31.1", head, AttestationVerdict::Disagrees);
    note(&world);
    world.take(&tally(world.revision(OFFICER, "31.1", 1, head)), &[OFFICER]);
    note(&world);
    let again = Tally { round: words(&["psu"])[0].clone(), ..world.opening(OFFICER, "31.1") };
    world.take(&tally(again), &[OFFICER]);
    note(&world);
    let mut trail = vec![0; 32];
    for (index, leaf) in &about {
        trail = h(&[&[0x14], &trail, &index.to_be_bytes(), leaf.as_bytes()]);
    }
    let found = record(&mut world, "31.1");
    assert_eq!((found.entries, found.trail.as_bytes().to_vec()), (5, trail));
    let recap = settled(&mut world, "ppwp");
    let indexes: Vec<u64> = about.iter().map(|(index, _)| *index).collect();
    assert_eq!(recap.entries(recap.find("31.1").unwrap()), indexes);
}

/// The revision that takes back what the key said in this round.
fn withdraw(world: &mut World, author: &str, round: &str, head: Hash) {
    let withdrawal = Tally {
        invalid: None,
        reason: Some(Reason::Withdrawn),
        round: words(&[round])[0].clone(),
        total: None,
        valid: None,
        votes: [(id("01"), None), (id("02"), None)].into(),
        ..world.revision(author, "31.1", 1, head)
    };
    world.take(&tally(withdrawal), &[author]);
}

fn in_round(of: Tally, round: &str) -> Tally {
    Tally { round: words(&[round])[0].clone(), ..of }
}

// SPEC [U6]
#[test]
fn the_last_round_with_a_value_counts() {
    let mut world = wide();
    let mut heads = vec![];
    // In the log the later round comes first: the order of the manifest decides.
    for round in ["psu", "regular"] {
        let opening = in_round(world.opening(OFFICER, "31.1"), round);
        world.take(&tally(opening), &[OFFICER]);
        heads.push(RecordHead { index: world.ledger.size() - 1, leaf: world.last() });
    }
    assert_eq!(record(&mut world, "31.1").head, Some(heads[0]));
    // An observer is of no account, nor is a difference in another round.
    let other = in_round(Tally { valid: Some(1), ..world.opening(OBSERVER, "31.1") }, "regular");
    world.take(&tally(other), &[OBSERVER]);
    assert_eq!(record(&mut world, "31.1").status, Status::Single);
    withdraw(&mut world, OFFICER, "psu", heads[0].leaf);
    let found = record(&mut world, "31.1");
    assert_eq!((found.head, found.status), (Some(heads[1]), Status::Disputed));
    withdraw(&mut world, OFFICER, "regular", heads[1].leaf);
    let found = record(&mut world, "31.1");
    assert_eq!((found.head, found.status, found.entries), (None, Status::None, 5));
    assert_eq!(counters(&mut world, "31.1"), [0, 0, 0, 0, 0, 210, 1, 0, 0, 0, 0]);
    // What was taken back can be said again.
    let prev = world.last();
    let back = Tally { seq: 2, prev: Some(prev), ..world.revision(OFFICER, "31.1", 2, prev) };
    world.take(&tally(back), &[OFFICER]);
    assert_eq!(record(&mut world, "31.1").status, Status::Disputed);
}

// SPEC [U7]
#[test]
fn the_status_is_the_first_that_fits() {
    type Change<'a> = &'a dyn Fn(&mut Tally);
    let vote = |tally: &mut Tally, count| *tally.votes.get_mut("01").unwrap() = count;
    let rows: [(Status, Change<'_>, Change<'_>); 9] = [
        (Status::Single, &|_| {}, &|_| {}),
        (Status::Disputed, &|_| {}, &|t| vote(t, Some(11))),
        (Status::Disputed, &|_| {}, &|t| t.valid = Some(31)),
        (Status::Disputed, &|_| {}, &|t| t.invalid = Some(0)),
        (Status::Single, &|_| {}, &|t| t.total = Some(32)),
        (Status::Single, &|_| {}, &|t| vote(t, None)),
        (Status::Single, &|t| vote(t, None), &|t| vote(t, Some(11))),
        (Status::Single, &|t| t.valid = None, &|t| t.total = None),
        (Status::Single, &|_| {}, &|t| *t = in_round(Tally { valid: None, ..t.clone() }, "psu")),
    ];
    for (number, (want, ours, theirs)) in rows.into_iter().enumerate() {
        let mut world = wide();
        let (mut official, mut other) =
            (world.opening(OFFICER, "31.1"), world.opening(OBSERVER, "31.1"));
        ours(&mut official);
        theirs(&mut other);
        world.take(&tally(other), &[OBSERVER]);
        assert_eq!(record(&mut world, "31.1").status, Status::None, "row {number}");
        let theirs = world.last();
        world.take(&tally(official.clone()), &[OFFICER]);
        assert_eq!(record(&mut world, "31.1").status, want, "row {number}");
        // A revision is corrected, unless it is disputed.
        let ours = world.last();
        attest(&mut world, "31.1", ours, AttestationVerdict::Disagrees);
        assert_eq!(record(&mut world, "31.1").status, want, "row {number}");
        let (seq, prev) = (1, Some(ours));
        let decision = Some(sha256(b"decision"));
        let reason = Some(Reason::Clerical);
        let revised = Tally { seq, prev, decision, reason, ..official };
        world.take(&tally(revised), &[OFFICER]);
        let want = if want == Status::Single { Status::Corrected } else { want };
        assert_eq!(record(&mut world, "31.1").status, want, "row {number}");
        let round = if number == 8 { "psu" } else { "regular" };
        withdraw(&mut world, OBSERVER, round, theirs);
        assert_eq!(record(&mut world, "31.1").status, Status::Corrected, "row {number}");
    }
}

// SPEC [U8]
#[test]
fn counters_of_a_station() {
    let mut world = wide();
    assert_eq!(counters(&mut world, "31.1"), [0, 0, 0, 0, 0, 210, 1, 0, 0, 0, 0]);
    let votes = [(id("01"), None), (id("02"), Some(20))].into();
    let opening = Tally { votes, total: None, ..world.opening(OFFICER, "31.1") };
    world.take(&tally(opening), &[OFFICER]);
    assert_eq!(counters(&mut world, "31.1"), [0, 20, 30, 1, 0, 210, 1, 1, 0, 0, 2]);
    let head = world.last();
    world.take(&tally(world.revision(OFFICER, "31.1", 1, head)), &[OFFICER]);
    assert_eq!(counters(&mut world, "31.1"), [10, 20, 30, 1, 31, 210, 1, 1, 1, 0, 0]);
    let other = Tally { invalid: Some(2), ..world.opening(OBSERVER, "31.1") };
    world.take(&tally(other), &[OBSERVER]);
    assert_eq!(counters(&mut world, "31.1"), [10, 20, 30, 1, 31, 210, 1, 1, 0, 1, 0]);
}

// SPEC [U10]
#[test]
fn a_declared_recap_is_recorded_and_enters_no_sum() {
    let mut world = wide();
    let before = [counters(&mut world, "31"), counters(&mut world, "ID")];
    world.take(&tally(world.opening(OFFICER, "31")), &[OFFICER]);
    let head = RecordHead { index: world.ledger.size() - 1, leaf: world.last() };
    let found = record(&mut world, "31");
    assert_eq!((found.entries, found.head, found.status), (1, Some(head), Status::Single));
    assert_eq!([counters(&mut world, "31"), counters(&mut world, "ID")], before);
    let other = Tally { valid: Some(1), ..world.opening(OBSERVER, "31") };
    world.take(&tally(other), &[OBSERVER]);
    assert_eq!(record(&mut world, "31").status, Status::Disputed);
    assert_eq!(counters(&mut world, "31")[9], 0);
}

/// A manifest with these units instead.
fn replace_units(world: &mut World, units: &[Unit]) {
    let registers = spell(units, &contests());
    world.provide(&registers);
    let next = Manifest { registers: named(&registers), ..world.successor() };
    world.take(&Body::Manifest(Box::new(next)), &ROOTS);
}

// SPEC [U11]
#[test]
fn a_unit_that_goes_takes_its_record_along() {
    let mut world = wide();
    world.take(&tally(world.opening(OFFICER, "31.1")), &[OFFICER]);
    let head = world.last();
    attest(&mut world, "31.1", head, AttestationVerdict::Agrees);
    let (kept, sums) = (record(&mut world, "31.1"), counters(&mut world, "ID"));
    let first = world.seal();
    let mut fewer = wide_units();
    fewer.retain(|unit| unit.code.as_str() != "31.1");
    replace_units(&mut world, &fewer);
    assert_eq!(counters(&mut world, "ID"), [0, 0, 0, 0, 0, 1_260, 6, 0, 0, 0, 0]);
    assert_eq!(settled(&mut world, "ppwp").find("31.1"), None);
    let second = world.seal();
    assert_eq!(second.manifest, world.leaves[world.leaves.len() - 2]);
    assert_ne!((first.manifest, first.recap), (second.manifest, second.recap));
    // Back below another province, with more voters.
    let mut moved = fewer;
    let mut unit = unit("31.1", "32", "tps");
    unit.registered.l = Some(200);
    moved.insert(moved.len() - 2, unit);
    replace_units(&mut world, &moved);
    assert_eq!(record(&mut world, "31.1"), kept);
    assert_eq!(counters(&mut world, "32"), [10, 20, 30, 1, 31, 520, 2, 1, 0, 0, 0]);
    let more: Vec<u64> =
        sums.iter().enumerate().map(|(at, n)| n + 100 * u64::from(at == 5)).collect();
    assert_eq!(counters(&mut world, "ID"), more);
    // The rounds are those in force: one that now stands after the other takes precedence.
    let again = in_round(world.opening(OBSERVER, "31.1"), "psu");
    world.take(&tally(again), &[OBSERVER]);
    assert_eq!(record(&mut world, "31.1").entries, 3);
}
