//! Known answers for everything that is hashed into the recap tree, computed with another language
//! from SPEC.md; and trees of random registers and scopes.

use jejak_proofs::merkle::Hash;
use jejak_proofs::tally::*;

use super::{rng::Rng, world::*};

fn is(hash: Hash, hex: &str) {
    assert_eq!(hash.to_string(), hex);
}

#[test]
fn known_answers() {
    let zeros = hash(0);
    let first = trail_hash(&zeros, 7, &hash(0xaa));
    is(first, "a71f440b0ed1a9132eeb4bc1f27fe90d2c3010f344d976e6a62af1cbebcaf385");
    let trail = trail_hash(&first, 9, &hash(0xbb));
    is(trail, "89b96df3a66257a46b8824b7d459d279d27c4783d350de83bd5321f8dfe07d84");
    let head = Some(RecordHead { index: 9, leaf: hash(0xbb) });
    let record = Record { entries: 2, head, status: Status::Corrected, trail };
    let told = [10, 20, 30, 2, 32, 210, 1, 1, 1, 0, 0];
    let one = station_hash("ppwp", "310101.001", &record, &told);
    is(one, "1308a02c4fc6dd366f282a691b3994a48158c23d77784d856359a21c154b66cd");
    let absent = [0, 0, 0, 0, 0, 180, 1, 0, 0, 0, 0];
    let two = station_hash("ppwp", "310101.002", &Record::EMPTY, &absent);
    is(two, "06d20fc3a86b9b5ebf0246d85d64fb73efe93e9f82d1d872f517c018f64dbac3");
    let root = inner_hash((&one, &told), (&two, &absent));
    is(root, "af54a38006b12d8c49dd2d84e05873565658a14e168dd03e5f94990ab1bcecc5");
    let sums = [10, 20, 30, 2, 32, 390, 2, 1, 1, 0, 0];
    let below = Below { count: 2, root };
    let region = region_hash("ppwp", "310101", &Record::EMPTY, &below, &sums);
    is(region, "f4412c6ff6f2a48315290e6d9f438c886ab39bbac332f544da44d61c6833fe8c");
    let contest = contest_hash("ppwp", &ids(&["01", "02"]), &hash(0xcc), &sums, &region);
    is(contest, "0c6cef1c59db1cd1c3fd80d5b46e8ea606296977d669363ab253ae53cc66d720");
    let all = [Status::None, Status::Disputed, Status::Corrected, Status::Single];
    assert_eq!(all.map(|status| status as u8), [0, 1, 2, 3]);
}

/// A random register: units are `region` or `tps`, and a region may have nothing below it.
fn random_units(rng: &mut Rng) -> Vec<Unit> {
    let mut all = vec![unit("A", "", "region")];
    for n in 0..rng.below(40) {
        let regions: Vec<&Unit> = all.iter().filter(|unit| !unit.name.is_empty()).collect();
        let parent = rng.pick(&regions).code.to_string();
        let kind = if rng.one_in(2) { "tps" } else { "region" };
        all.push(unit(&format!("{parent}.{}", n % 10 + 10 * rng.below(5)), &parent, kind));
    }
    all.sort_by(|a, b| a.code.cmp(&b.code));
    all.dedup_by(|a, b| a.code == b.code);
    all
}

/// The units of random scopes, nested ones and single stations among them, as one finds them by
/// asking each unit in the order of the register.
#[test]
fn the_units_of_random_scopes_in_random_registers() {
    let mut rng = Rng::new(0x5c09e);
    for _ in 0..3_000 {
        let units = random_units(&mut rng);
        let register = unit_register(&units);
        let mut scope: Vec<&str> =
            (0..1 + rng.below(4)).map(|_| rng.pick(&units).code.as_str()).collect();
        scope.sort_unstable();
        scope.dedup();
        let contest = contest("x", &["1"], &scope);
        let is_station = |slot| register.kind(slot).as_str() == "tps";
        let shape = Shape::new(&contest, &register, is_station).unwrap();
        let within = |code: &str, top: &str| {
            code == top || code.strip_prefix(top).is_some_and(|rest| rest.starts_with('.'))
        };
        let counted = |slot: &Slot| {
            is_station(*slot) && scope.iter().any(|top| within(register.code(*slot), top))
        };
        let slots = 0..register.len() as Slot;
        let stations: Vec<Slot> = slots.clone().filter(counted).collect();
        let above = |slot: &Slot| {
            let below = |station: &Slot| within(register.code(*station), register.code(*slot));
            register.parent(*slot).is_none() || stations.iter().any(below)
        };
        let expected: Vec<Slot> = slots.clone().filter(above).collect();
        let places = 0..shape.count() as Place;
        let found: Vec<Slot> = places.clone().map(|place| shape.slot(place)).collect();
        assert_eq!(found, expected, "{scope:?}");
        for slot in slots {
            let place = expected.iter().position(|known| *known == slot);
            assert_eq!(shape.place(slot), place.map(|place| place as Place));
        }
        let mut rows = [0, 0];
        for place in places.clone() {
            let slot = shape.slot(place);
            let station = stations.contains(&slot);
            assert_eq!(shape.is_station(place), station);
            assert_eq!(shape.row(place), rows[usize::from(station)]);
            rows[usize::from(station)] += 1;
            let parent = register.parent(slot).and_then(|parent| shape.place(parent));
            assert_eq!(shape.parent(place), parent);
            let children: Vec<Place> =
                places.clone().filter(|child| shape.parent(*child) == Some(place)).collect();
            assert_eq!(shape.children(place).collect::<Vec<_>>(), children);
        }
        assert_eq!(rows, [shape.regions(), shape.stations()]);
    }
}

#[test]
fn a_scope_that_names_no_unit_has_no_tree() {
    let register = unit_register(&units());
    for scope in [&["310103"][..], &["31", "X"]] {
        assert!(Shape::new(&contest("x", &["1"], scope), &register, |_| true).is_none());
    }
}
