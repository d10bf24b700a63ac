//! The recap of every kind of history that a unit can have, against `recap_model` and against
//! numbers written down here.

use jejak_proofs::merkle::Hash;
use jejak_proofs::note::SigningKey;
use jejak_proofs::tally::*;

use super::recap_model::{Computed, ComputedRecap, RecapModel};
use super::{rng::Rng, world::*};

/// The recap of everything that a ledger took, computed from the bytes alone.
pub fn computed(ledger: &Ledger, entries: &[Vec<u8>]) -> ComputedRecap {
    let mut model = RecapModel::default();
    entries.iter().for_each(|entry| model.push(entry));
    compute(ledger, &model)
}

/// What `model` computes under the registers that the ledger has now.
pub fn compute(ledger: &Ledger, model: &RecapModel) -> ComputedRecap {
    let election = ledger.election().unwrap();
    let text = |bytes| std::str::from_utf8(bytes).unwrap();
    model.compute(text(election.units.bytes()), text(election.contests.bytes()))
}

/// Every record, counter and hash of a settled recap is the computed one.
pub fn assert_same(recap: &Recap, expected: &ComputedRecap) {
    assert_eq!(recap.contests().len(), expected.contests.len());
    assert_eq!(*recap.manifest().as_bytes(), expected.manifest);
    for (place, (ours, expected)) in recap.contests().iter().zip(&expected.contests).enumerate() {
        let id = ours.contest().id.as_str();
        assert_eq!((id, ours.contest().options.len()), (&*expected.id, expected.options.len()));
        assert_eq!(recap.find(id).map(|(found, _)| found), Some(place));
        assert_eq!(*ours.contest_hash(&recap.manifest()).as_bytes(), expected.hash, "{id}");
        let shape = ours.shape();
        assert_eq!(shape.count(), expected.units.len(), "{id}");
        assert_eq!(shape.count(), shape.stations() + shape.regions());
        for place in 0..shape.count() as Place {
            let code = ours.code(place);
            assert_eq!(unit_of(ours, place), expected.units[code], "{id} {code}");
            assert_eq!(ours.find(code), Some(place));
        }
    }
}

/// What the crate says of a unit, in the words of the model.
fn unit_of(recap: &ContestRecap, place: Place) -> Computed {
    let (record, shape) = (recap.record(place), recap.shape());
    let codes: Vec<String> =
        shape.children(place).map(|child| recap.code(child).to_string()).collect();
    let below = (!shape.is_station(place)).then(|| recap.below(place));
    assert_eq!(below.map_or(0, |below| below.count as usize), codes.len());
    assert!(shape.children(place).all(|child| shape.parent(child) == Some(place)));
    let children = recap.children(place);
    let same = |(child, place): (&_, Place)| -> bool {
        let (hash, counters): &(Hash, Vec<u64>) = child;
        *hash == recap.hash(place) && *counters == recap.counters(place)
    };
    let children: Vec<_> = children.into_iter().map(|child| (child.hash, child.counters)).collect();
    assert!(children.iter().zip(shape.children(place)).all(same));
    let entries = recap.entries(place);
    assert_eq!(entries.len(), record.entries as usize);
    Computed {
        status: record.status as u8,
        head: record.head.map(|head| (head.index, *head.leaf.as_bytes())),
        entries,
        trail: *record.trail.as_bytes(),
        counters: recap.counters(place),
        hash: *recap.hash(place).as_bytes(),
        below: below.map(|below| (codes, *below.root.as_bytes())),
    }
}

/// Seals, and compares everything with the model.
fn check(world: &mut World) {
    let expected = computed(&world.ledger, &world.entries);
    let state = world.seal();
    assert_eq!(state.size, expected.size);
    assert_eq!(*state.recap.as_bytes(), expected.root);
    assert_eq!(state.contests as usize, expected.contests.len());
    assert_eq!(*state.manifest.as_bytes(), expected.manifest);
    let sealed = world.ledger.sealed().unwrap();
    assert_eq!(sealed.state, state);
    assert_same(sealed.recap(), &expected);
}

/// Status and counters of a unit, from the option that comes first; and the entries about it.
fn unit_says(world: &World, contest: &str, unit: &str) -> (Status, Vec<u64>, u32) {
    let (_, recap) = world.ledger.recap().unwrap().find(contest).unwrap();
    let place = recap.find(unit).unwrap();
    let record = recap.record(place);
    (record.status, recap.counters(place), record.entries)
}

/// A station with these votes; the other numbers of the form follow.
fn with_votes(of: &Tally, votes: [Count; 3], valid: Count) -> Tally {
    let votes = of.votes.keys().cloned().zip(votes).collect();
    Tally { total: valid.map(|valid| valid + 2), valid, votes, ..of.clone() }
}

fn observed(world: &World, votes: [Count; 3]) -> Tally {
    let valid = votes.iter().map(|vote| vote.unwrap_or(0)).sum();
    with_votes(&world.tally(&key(OBSERVER), "ppwp", STATION), votes, Some(valid))
}

const TEN: [Count; 3] = [Some(10); 3];

#[test]
fn absence_is_recorded_of_every_unit() {
    let mut world = World::founded();
    check(&mut world);
    for (contest, unit, stations) in [
        ("ppwp", "ID", 20),
        ("ppwp", "31", 15),
        ("ppwp", STATION, 1),
        ("dpr:3101", "ID", 10),
        ("dpr:3101", "310102", 5),
        ("dpd", "320101", 5),
    ] {
        let (status, counters, entries) = unit_says(&world, contest, unit);
        let options = counters.len() - FIXED_COUNTERS;
        assert_eq!((status, entries), (Status::None, 0));
        assert!(counters[..options + counter::REGISTERED].iter().all(|counter| *counter == 0));
        let registered = 210 * stations;
        assert_eq!(counters[options + counter::REGISTERED..], [registered, stations, 0, 0, 0, 0]);
    }
    // A contest of one regency leaves out what has none of its stations.
    let (_, narrow) = world.ledger.recap().unwrap().find("dpr:3101").unwrap();
    for outside in ["32", "3102", "3201", "320101.001", "310201.K1", "X"] {
        assert_eq!(narrow.find(outside), None);
    }
}

#[test]
fn single_then_corrected_then_withdrawn() {
    let mut world = World::new();
    check(&mut world);
    let first = world.tally(&key(KPPS), "ppwp", STATION);
    let leaf = world.accept(&tally(&first), &[key(KPPS)]);
    check(&mut world);
    let row = |reported, corrected| vec![10, 10, 10, 30, 2, 32, 210, 1, reported, corrected, 0, 0];
    assert_eq!(unit_says(&world, "ppwp", STATION), (Status::Single, row(1, 0), 1));
    let second = revision(&first, leaf);
    let leaf = world.accept(&tally(&second), &[key(KPPS)]);
    check(&mut world);
    assert_eq!(unit_says(&world, "ppwp", STATION), (Status::Corrected, row(1, 1), 2));
    let nation = unit_says(&world, "ppwp", "ID").1;
    assert_eq!(nation, [10, 10, 10, 30, 2, 32, 4200, 20, 1, 1, 0, 0]);
    let third = withdrawal(&second, leaf);
    let leaf = world.accept(&tally(&third), &[key(KPPS)]);
    check(&mut world);
    let empty = vec![0, 0, 0, 0, 0, 0, 210, 1, 0, 0, 0, 0];
    assert_eq!(unit_says(&world, "ppwp", STATION), (Status::None, empty.clone(), 3));
    // A chain goes on after a withdrawal.
    let fourth = Tally { seq: 3, prev: Some(leaf), ..second };
    world.accept(&tally(&fourth), &[key(KPPS)]);
    check(&mut world);
    assert_eq!(unit_says(&world, "ppwp", STATION), (Status::Corrected, row(1, 1), 4));
    assert_eq!(unit_says(&world, "dpd", STATION).1.len(), 11);
    assert_eq!(unit_says(&world, "ppwp", STATION_TWO), (Status::None, empty, 0));
}

#[test]
fn disputed_while_a_counter_tally_differs_in_a_result() {
    let with = |invalid, total, votes: [Count; 3], valid| {
        move |world: &World| {
            let body = with_votes(&world.tally(&key(OBSERVER), "ppwp", STATION), votes, valid);
            Tally { invalid, total, ..body }
        }
    };
    let (single, disputed) = (Status::Single, Status::Disputed);
    let rows = [
        (with(Some(2), Some(32), TEN, Some(30)), single),
        (with(Some(2), Some(99), TEN, Some(30)), single),
        (with(None, None, [None; 3], None), single),
        (with(Some(3), Some(32), TEN, Some(30)), disputed),
        (with(Some(2), Some(32), TEN, Some(31)), disputed),
        (with(None, None, [Some(9), None, None], None), disputed),
        (with(None, None, [None, None, Some(11)], None), disputed),
    ];
    for (place, (counter_tally, expected)) in rows.into_iter().enumerate() {
        let mut world = World::new();
        // The observer may speak first.
        let early = place % 2 == 0;
        let theirs = counter_tally(&world);
        if early {
            world.accept(&tally(&theirs), &[key(OBSERVER)]);
            check(&mut world);
            assert_eq!(unit_says(&world, "ppwp", STATION).0, Status::None);
        }
        world.accept(&tally(&world.tally(&key(KPPS), "ppwp", STATION)), &[key(KPPS)]);
        if !early {
            world.accept(&tally(&theirs), &[key(OBSERVER)]);
        }
        check(&mut world);
        let (status, counters, entries) = unit_says(&world, "ppwp", STATION);
        assert_eq!((status, entries), (expected, 2), "row {place}");
        let is_disputed = u64::from(expected == disputed);
        assert_eq!(counters, [10, 10, 10, 30, 2, 32, 210, 1, 1, 0, is_disputed, 0]);
    }
}

#[test]
fn a_dispute_ends_when_either_side_gives_way() {
    let mut world = World::new();
    let ours = world.tally(&key(KPPS), "ppwp", STATION);
    let official = world.accept(&tally(&ours), &[key(KPPS)]);
    let theirs = observed(&world, [Some(10), Some(10), Some(11)]);
    let leaf = world.accept(&tally(&theirs), &[key(OBSERVER)]);
    check(&mut world);
    assert_eq!(unit_says(&world, "ppwp", STATION).0, Status::Disputed);
    let mut withdrawn = world.clone();
    withdrawn.accept(&tally(&withdrawal(&theirs, leaf)), &[key(OBSERVER)]);
    check(&mut withdrawn);
    assert_eq!(unit_says(&withdrawn, "ppwp", STATION).0, Status::Single);
    // Both disputed and a revision: disputed. Then the officers agree with the observer.
    let second = revision(&ours, official);
    let official = world.accept(&tally(&second), &[key(KPPS)]);
    check(&mut world);
    assert_eq!(unit_says(&world, "ppwp", STATION).0, Status::Disputed);
    let agreed = with_votes(&second, [Some(10), Some(10), Some(11)], Some(31));
    let third = Tally { prev: Some(official), seq: 2, ..agreed };
    world.accept(&tally(&third), &[key(KPPS)]);
    check(&mut world);
    assert_eq!(unit_says(&world, "ppwp", STATION).0, Status::Corrected);
}

#[test]
fn a_later_round_replaces_an_earlier_one_while_it_has_a_value() {
    let mut world = World::new();
    let regular = world.tally(&key(KPPS), "ppwp", STATION);
    let official = world.accept(&tally(&regular), &[key(KPPS)]);
    let theirs = observed(&world, [Some(1), Some(2), Some(3)]);
    world.accept(&tally(&theirs), &[key(OBSERVER)]);
    check(&mut world);
    assert_eq!(unit_says(&world, "ppwp", STATION).0, Status::Disputed);
    let court = Tally { round: word("court"), ..with_votes(&regular, [Some(7); 3], Some(21)) };
    let leaf = world.accept(&tally(&court), &[key(KPPS)]);
    check(&mut world);
    // The dispute was about another round.
    let (status, counters, _) = unit_says(&world, "ppwp", STATION);
    assert_eq!((status, &counters[..6]), (Status::Single, &[7, 7, 7, 21, 2, 23][..]));
    // `court` is last in the manifest: a re-vote that comes later changes nothing.
    let psu = Tally { round: word("psu"), ..with_votes(&regular, [Some(8); 3], Some(24)) };
    world.accept(&tally(&psu), &[key(KPPS)]);
    world.accept(&tally(&revision(&regular, official)), &[key(KPPS)]);
    check(&mut world);
    assert_eq!(unit_says(&world, "ppwp", STATION), (Status::Single, counters, 5));
    world.accept(&tally(&withdrawal(&court, leaf)), &[key(KPPS)]);
    check(&mut world);
    assert_eq!(unit_says(&world, "ppwp", STATION).1[..4], [8, 8, 8, 24]);
    let theirs = Tally { round: word("psu"), ..theirs };
    world.accept(&tally(&theirs), &[key(OBSERVER)]);
    check(&mut world);
    assert_eq!(unit_says(&world, "ppwp", STATION).0, Status::Disputed);
}

#[test]
fn rounds_count_in_the_order_of_the_manifest_in_force() {
    let mut world = World::new();
    let psu = Tally { round: word("psu"), ..world.tally(&key(KPPS), "ppwp", STATION) };
    world.accept(&tally(&psu), &[key(KPPS)]);
    // `pss` is new and stands before `psu`, which had a number before it.
    let mut next = world.next_manifest();
    next.rounds = words(&["regular", "pss", "psu", "court"]);
    world.accept(&manifest(&next), &ROOTS.map(key));
    let pss = Tally { round: word("pss"), ..with_votes(&psu, [Some(1); 3], Some(3)) };
    world.accept(&tally(&pss), &[key(KPPS)]);
    check(&mut world);
    assert_eq!(unit_says(&world, "ppwp", STATION).1[0], 10);
    let regular = Tally { round: word("regular"), ..pss };
    world.accept(&tally(&regular), &[key(KPPS)]);
    check(&mut world);
    assert_eq!(unit_says(&world, "ppwp", STATION).1[0], 10);
}

#[test]
fn unreadable_numbers_count_as_zero_and_are_counted() {
    let mut world = World::new();
    let body = world.tally(&key(KPPS), "ppwp", STATION);
    let body = Tally { total: None, ..with_votes(&body, [Some(4), None, Some(6)], None) };
    let leaf = world.accept(&tally(&body), &[key(KPPS)]);
    check(&mut world);
    let row = vec![4, 0, 6, 0, 2, 0, 210, 1, 1, 0, 0, 3];
    assert_eq!(unit_says(&world, "ppwp", STATION), (Status::Single, row, 1));
    world.accept(&tally(&world.tally(&key(KPPS_TWO), "ppwp", STATION_TWO)), &[key(KPPS_TWO)]);
    check(&mut world);
    let district = vec![14, 10, 16, 30, 4, 32, 1050, 5, 2, 0, 0, 3];
    assert_eq!(unit_says(&world, "ppwp", "310101"), (Status::None, district, 0));
    let largest = with_votes(&revision(&body, leaf), [Some(u32::MAX); 3], Some(u32::MAX - 2));
    world.accept(&tally(&largest), &[key(KPPS)]);
    check(&mut world);
    let max = u64::from(u32::MAX);
    assert_eq!(unit_says(&world, "ppwp", "ID").1[..6], {
        [max + 10, max + 10, max + 10, max + 28, 4, max + 32]
    });
}

/// Declared recaps are recorded at their region and never added to a sum.
#[test]
fn declared_recaps_have_records_and_no_part_in_the_sums() {
    let mut world = World::new();
    let declared = world.tally(&key(PPK), "ppwp", "310101");
    let leaf = world.accept(&tally(&declared), &[key(PPK)]);
    check(&mut world);
    let zeros = vec![0, 0, 0, 0, 0, 0, 1050, 5, 0, 0, 0, 0];
    assert_eq!(unit_says(&world, "ppwp", "310101"), (Status::Single, zeros.clone(), 1));
    let theirs = world.tally(&key(OBSERVER), "ppwp", "310101");
    let theirs = with_votes(&theirs, [Some(1), Some(1), None], None);
    world.accept(&tally(&theirs), &[key(OBSERVER)]);
    check(&mut world);
    // The counter of disputes counts stations.
    assert_eq!(unit_says(&world, "ppwp", "310101"), (Status::Disputed, zeros.clone(), 2));
    world.accept(&tally(&with_votes(&revision(&declared, leaf), TEN, None)), &[key(PPK)]);
    world.accept(&tally(&world.tally(&key(KPU), "ppwp", "ID")), &[key(KPU)]);
    world.accept(&tally(&world.tally(&key(KPU), "dpr:3101", "ID")), &[key(KPU)]);
    check(&mut world);
    assert_eq!(unit_says(&world, "ppwp", "310101"), (Status::Disputed, zeros, 3));
    assert_eq!(unit_says(&world, "ppwp", "ID").0, Status::Single);
    assert_eq!(unit_says(&world, "ppwp", "ID").1[..6], [0; 6]);
}

#[test]
fn a_contest_with_a_scope_counts_the_stations_of_its_scope() {
    let mut world = World::new();
    world.accept(&tally(&world.tally(&key(KPPS), "dpr:3101", STATION)), &[key(KPPS)]);
    world.accept(&tally(&world.tally(&key(KPPS), "dpd", STATION)), &[key(KPPS)]);
    check(&mut world);
    let top = unit_says(&world, "dpr:3101", "ID").1;
    assert_eq!(top, [10, 10, 20, 2, 22, 2100, 10, 1, 0, 0, 0]);
    assert_eq!(unit_says(&world, "dpd", "ID").1[5..7], [4200, 20]);
}

#[test]
fn attestations_lengthen_the_trail_and_change_no_number() {
    let mut world = World::new();
    let leaf = world.accept(&tally(&world.tally(&key(KPPS), "ppwp", STATION)), &[key(KPPS)]);
    check(&mut world);
    let before = unit_says(&world, "ppwp", STATION);
    for author in [OBSERVER, OBSERVER_TWO, SAKSI] {
        world.accept(&world.attestation(&key(author), "ppwp", STATION, leaf), &[key(author)]);
        check(&mut world);
    }
    let after = unit_says(&world, "ppwp", STATION);
    assert_eq!((after.0, after.1, after.2), (before.0, before.1, before.2 + 3));
    let (_, recap) = world.ledger.recap().unwrap().find("ppwp").unwrap();
    let place = recap.find(STATION).unwrap();
    assert_eq!(recap.entries(place), [2, 4, 6, 8]);
    assert_eq!(recap.record(place).head.unwrap().index, 2);
}

/// A removed unit leaves the sums, keeps chain and trail, and comes back with both.
#[test]
fn a_unit_that_is_removed_and_comes_back() {
    let mut world = World::new();
    let body = world.tally(&key(KPPS_TWO), "ppwp", STATION_TWO);
    let leaf = world.accept(&tally(&body), &[key(KPPS_TWO)]);
    world.accept(&tally(&world.tally(&key(KPPS), "ppwp", STATION)), &[key(KPPS)]);
    let saksi = world.attestation(&key(SAKSI), "ppwp", STATION_TWO, leaf);
    world.accept(&saksi, &[key(SAKSI)]);
    check(&mut world);
    let before = unit_says(&world, "ppwp", STATION_TWO);
    assert_eq!(before.2, 2);
    let mut fewer = units();
    fewer.retain(|unit| unit.code.as_str() != STATION_TWO);
    for away in 0..2 {
        // Away under two manifests: it waits outside of every tree.
        let next = world.manifest_with(&fewer, &contests());
        world.accept(&manifest(&next), &ROOTS.map(key));
        check(&mut world);
        assert_eq!(unit_says(&world, "ppwp", "ID").1[6..9], [3990, 19, 1], "{away}");
        assert_eq!(unit_says(&world, "ppwp", STATION).2, 1);
    }
    let again = world.tally(&key(OBSERVER), "ppwp", STATION_TWO);
    let refusal = world.refuse(&tally(&again), &[key(OBSERVER)]);
    assert_eq!(refusal, Refusal::Invalid(Field::Unit));
    let next = world.manifest_with(&units(), &contests());
    world.accept(&manifest(&next), &ROOTS.map(key));
    check(&mut world);
    assert_eq!(unit_says(&world, "ppwp", STATION_TWO), before);
    world.accept(&tally(&revision(&body, leaf)), &[key(KPPS_TWO)]);
    check(&mut world);
    assert_eq!(unit_says(&world, "ppwp", STATION_TWO).2, 3);
    assert_eq!(unit_says(&world, "ppwp", "ID").1[6..10], [4200, 20, 2, 1]);
}

/// Other registered voters, another name, a new unit: the register in force is what counts.
#[test]
fn a_register_changes_under_the_same_units() {
    let mut world = World::new();
    world.accept(&tally(&world.tally(&key(KPPS), "ppwp", STATION)), &[key(KPPS)]);
    let mut other = units();
    other.push(unit("310101.000", "310101", "tps"));
    for unit in &mut other {
        if unit.code.as_str() == STATION {
            unit.registered = Sexes { l: None, p: Some(7) };
        }
    }
    let next = world.manifest_with(&other, &contests());
    world.accept(&manifest(&next), &ROOTS.map(key));
    check(&mut world);
    assert_eq!(unit_says(&world, "ppwp", STATION).1[6], 7);
    assert_eq!(unit_says(&world, "ppwp", "310101").1[6..9], [5 * 210 + 7, 6, 1]);
}

#[test]
fn contests_are_added_before_between_and_after_the_others() {
    let mut world = World::new();
    let leaf = world.accept(&tally(&world.tally(&key(KPPS), "ppwp", STATION)), &[key(KPPS)]);
    world.accept(&tally(&world.tally(&key(KPPS), "dpr:3101", STATION)), &[key(KPPS)]);
    check(&mut world);
    let before = unit_says(&world, "ppwp", "ID");
    let mut more = contests();
    more.push(contest("a", &["x"], &["310101.001", "32"]));
    more.push(contest("dprd", &["1", "2", "3", "4", "5"], &["31", "3101", "310101.001"]));
    more.push(contest("z", &["y"], &["3102", "ID"]));
    let next = world.manifest_with(&units(), &more);
    world.accept(&manifest(&next), &ROOTS.map(key));
    check(&mut world);
    assert_eq!(unit_says(&world, "ppwp", "ID"), before);
    let stations = |contest, unit| unit_says(&world, contest, unit).1[counter::STATIONS + 1];
    assert_eq!([stations("a", "ID"), stations("a", "31"), stations("z", "ID")], [6, 1, 20]);
    for name in ["a", "z", "dprd"] {
        world.accept(&tally(&world.tally(&key(KPPS), name, STATION)), &[key(KPPS)]);
        check(&mut world);
    }
    world.accept(&world.attestation(&key(OBSERVER), "ppwp", STATION, leaf), &[key(OBSERVER)]);
    check(&mut world);
}

/// A scope that shrinks takes units out of one contest only; they come back with their trail.
#[test]
fn a_scope_shrinks_and_grows_again() {
    let mut world = World::new();
    world.accept(&tally(&world.tally(&key(KPPS), "dpr:3101", STATION)), &[key(KPPS)]);
    world.accept(&tally(&world.tally(&key(PPK), "dpr:3101", "310101")), &[key(PPK)]);
    world.accept(&tally(&world.tally(&key(KPPS), "dpd", STATION)), &[key(KPPS)]);
    check(&mut world);
    let before = ["310101", STATION, "ID"].map(|unit| unit_says(&world, "dpr:3101", unit));
    let mut other = contests();
    other[1].scope = codes(&["310102"]);
    let next = world.manifest_with(&units(), &other);
    world.accept(&manifest(&next), &ROOTS.map(key));
    check(&mut world);
    assert_eq!(unit_says(&world, "dpr:3101", "ID").1[6..8], [5, 0]);
    assert_eq!(unit_says(&world, "dpd", STATION).2, 1);
    let next = world.manifest_with(&units(), &contests());
    world.accept(&manifest(&next), &ROOTS.map(key));
    check(&mut world);
    assert_eq!(["310101", STATION, "ID"].map(|unit| unit_says(&world, "dpr:3101", unit)), before);
}

/// No station at all: the top alone, over the root of the empty tree.
#[test]
fn a_contest_without_stations_is_its_top() {
    let mut world = World::new();
    let mut more = units();
    more.push(unit("3103", "31", "regency"));
    let mut races = contests();
    races.push(contest("dpr:3103", &["P1"], &["3103"]));
    let next = world.manifest_with(&more, &races);
    world.accept(&manifest(&next), &ROOTS.map(key));
    world.accept(&tally(&world.tally(&key(KPU), "dpr:3103", "ID")), &[key(KPU)]);
    check(&mut world);
    assert_eq!(unit_says(&world, "dpr:3103", "ID"), (Status::Single, vec![0; 10], 1));
    let body = world.tally(&key(KPU), "dpr:3103", "3103");
    assert_eq!(world.refuse(&tally(&body), &[key(KPU)]), Refusal::Invalid(Field::Unit));
}

/// Tallies that are apart: no two of one chain.
fn apart(world: &World) -> Vec<(Body, SigningKey)> {
    let mut all = Vec::new();
    for (author, contests, unit) in [
        (KPPS, &["ppwp", "dpd", "dpr:3101"][..], STATION),
        (KPPS_TWO, &["ppwp", "dpr:3101"], STATION_TWO),
        (PPK, &["ppwp"], "310101"),
        (PPK_ELSEWHERE, &["dpd"], "320101"),
        (OBSERVER, &["ppwp"], "310102.K1"),
        (KPU, &["ppwp", "dpd"], "31"),
    ] {
        for contest in contests {
            let body = world.tally(&key(author), contest, unit);
            all.push((tally(&body), key(author)));
        }
    }
    all
}

/// What does not depend on the order in which tallies of different units came: each unit's status,
/// number of entries, leaf of the head, and counters, so all sums. What does: indexes, and so
/// trails, hashes and the root, which bind the place of every entry in the log.
#[test]
fn any_order_of_tallies_of_different_units_gives_the_same_numbers() {
    let told = |recap: &ComputedRecap| {
        let unit = |(code, unit): (&String, &Computed)| {
            let head = unit.head.map(|(_, leaf)| leaf);
            (code.clone(), unit.status, unit.entries.len(), head, unit.counters.clone())
        };
        let units = |contest: &super::recap_model::ComputedContest| {
            contest.units.iter().map(unit).collect::<Vec<_>>()
        };
        recap.contests.iter().map(units).collect::<Vec<_>>()
    };
    let mut rng = Rng::new(0x0e11);
    let world = World::new();
    let bodies = apart(&world);
    let mut first = None;
    let mut roots = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let mut world = world.clone();
        let mut order: Vec<usize> = (0..bodies.len()).collect();
        (1..order.len()).for_each(|n| order.swap(n, rng.below(n as u64 + 1) as usize));
        for place in &order {
            let (body, author) = &bodies[*place];
            world.accept(body, std::slice::from_ref(author));
        }
        let expected = computed(&world.ledger, &world.entries);
        check(&mut world);
        assert!(roots.insert(expected.root), "the root binds the order");
        let told = told(&expected);
        assert_eq!(*first.get_or_insert(told.clone()), told);
    }
}

/// When states are asked for changes nothing; nor does what was sealed change later.
#[test]
fn hashes_do_not_depend_on_when_they_were_brought_up_to_date() {
    let (mut often, mut once) = (World::new(), World::new());
    let mut kept = Vec::new();
    for (body, author) in apart(&World::new()) {
        for world in [&mut often, &mut once] {
            world.accept(&body, std::slice::from_ref(&author));
        }
        let state = often.ledger.next_state().unwrap();
        assert_eq!(often.ledger.next_state(), Some(state.clone()), "asked again");
        let mut fork = often.clone();
        fork.seal();
        let sealed = fork.ledger.sealed().unwrap().clone();
        kept.push((sealed, computed(&often.ledger, &often.entries)));
        // Both go on from here: the fork with something else than the other.
        let body = fork.tally(&key(OBSERVER_TWO), "ppwp", "31.X").clone();
        let body = Tally { unit: code("310201.003"), ..body };
        fork.accept(&tally(&body), &[key(OBSERVER_TWO)]);
        check(&mut fork);
    }
    assert_eq!(often.ledger.next_state(), once.ledger.next_state());
    check(&mut once);
    for (sealed, expected) in kept {
        assert_eq!(*sealed.state.recap.as_bytes(), expected.root);
        assert_same(sealed.recap(), &expected);
        let (_, live) = sealed.recap().find("ppwp").unwrap();
        let mut again = live.clone();
        again.settle();
        assert_eq!(again.hash(0), live.hash(0));
    }
}

/// What a restart finds is what was there: live recap, newest state, entries of every unit.
#[test]
fn a_restored_ledger_has_the_same_recap() {
    let mut world = World::new();
    for (body, author) in apart(&world) {
        world.accept(&body, &[author]);
        for seal in [false, true] {
            if seal {
                check(&mut world);
            }
            let election = world.ledger.election().unwrap();
            let (units, contests) = (election.units.clone(), election.contests.clone());
            let founding = Entry::parse(&world.entries[0]).unwrap();
            let snapshot = world.ledger.snapshot();
            let mut again = Ledger::restore(snapshot, &founding, units, contests).unwrap();
            assert_eq!(again.unsealed(), world.ledger.unsealed());
            let sealed = |ledger: &Ledger| ledger.sealed().map(|sealed| sealed.state.clone());
            assert_eq!(sealed(&again), sealed(&world.ledger).filter(|_| seal));
            assert_eq!(again.next_state(), world.ledger.next_state());
            let expected = computed(&world.ledger, &world.entries);
            again.next_state();
            assert_same(again.recap().unwrap(), &expected);
        }
    }
}
