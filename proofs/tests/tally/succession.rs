//! One manifest after another: roots, registers, rules, and what tallies rest on.

use jejak_proofs::note::SigningKey;
use jejak_proofs::tally::*;

use super::world::*;

fn invalid(field: Field) -> Refusal {
    Refusal::Invalid(field)
}

fn keys(names: &[&str]) -> Vec<SigningKey> {
    names.iter().map(|name| key(name)).collect()
}

fn with_roots(world: &World, names: &[&str], threshold: u32) -> Body {
    let mut next = world.next_manifest();
    next.root_keys = names.iter().map(|name| vkey(&key(name))).collect();
    (next.threshold, next.reason) = (threshold, Some(ManifestReason::Keys));
    manifest(&next)
}

#[test]
fn a_manifest_is_signed_by_the_threshold_that_it_replaces() {
    let world = World::new();
    let next = manifest(&world.next_manifest());
    for signers in [&["root/A"][..], &["root/C"], &["root/A", KPU], &["root/A", "root/B", KPU]] {
        assert_eq!(world.clone().refuse(&next, &keys(signers)), Refusal::OutOfScope, "{signers:?}");
    }
    let refusal = world.clone().refuse(&next, &keys(&["root/A", "root/D"]));
    assert_eq!(refusal, Refusal::UnknownKey);
    for signers in [&["root/A", "root/B"][..], &["root/B", "root/C"], &ROOTS] {
        let mut world = world.clone();
        let leaf = world.accept(&next, &keys(signers));
        let election = world.ledger.election().unwrap();
        assert_eq!((election.leaf, election.index, election.manifest.version), (leaf, 2, 2));
    }
}

#[test]
fn entry_0_is_signed_by_every_root_key() {
    let body = manifest(&founding_manifest());
    for signers in [&["root/A", "root/B"][..], &["root/C"]] {
        assert_eq!(World::empty().refuse(&body, &keys(signers)), Refusal::OutOfScope);
    }
    let refusal = World::empty().refuse(&body, &keys(&["root/A", "root/B", "root/C", KPU]));
    assert_eq!(refusal, Refusal::UnknownKey);
    let mut world = World::empty();
    let outcome = world.say(&body, &keys(&ROOTS)).unwrap();
    assert_eq!(outcome.keys.len(), 3);
    assert!(outcome.keys.iter().all(|key| key.is_root() && world.ledger.in_force(key)));
    assert_eq!(world.ledger.keys().len(), 3);
    assert!(!world.ledger.keys().is_empty());
}

/// Every key that is added signs, those that go need not; what went never returns.
#[test]
fn root_keys_rotate() {
    let mut world = World::new();
    let next = with_roots(&world, &["root/B", "root/C", "root/D"], 2);
    for signers in [&["root/A", "root/B"][..], &["root/C", "root/D"], &["root/D"]] {
        let refusal = world.clone().refuse(&next, &keys(signers));
        assert_eq!(refusal, Refusal::OutOfScope, "{signers:?}");
    }
    // The key that goes may be one of the threshold that lets it go.
    let outcome = world.say(&next, &keys(&["root/A", "root/B", "root/D"])).unwrap();
    assert_eq!(outcome.keys.len(), 1);
    let mandate = world.mandate(&key("root/B"), &[grant(&key("kpps/310102.001"))]);
    assert_eq!(world.refuse(&mandate, &keys(&["root/B", "root/A"])), Refusal::KeyRevoked);
    world.accept(&mandate, &keys(&["root/B", "root/D"]));
    let back = with_roots(&world, &["root/A", "root/B", "root/C"], 2);
    assert_eq!(world.refuse(&back, &keys(&ROOTS)), Refusal::Duplicate);
    let renamed = super::refusals::same_key_as_root_a("root/E");
    let mut next = world.next_manifest();
    next.root_keys.push(renamed.into());
    assert_eq!(world.refuse(&manifest(&next), &keys(&["root/B", "root/C"])), Refusal::Duplicate);
    // What the retired root mandated stays in force.
    world.accept(&tally(&world.tally(&key(KPPS), "ppwp", STATION)), &[key(KPPS)]);
}

#[test]
fn all_root_keys_may_change_at_once() {
    let mut world = World::new();
    let next = with_roots(&world, &["root/X", "root/Y"], 1);
    world.accept(&next, &keys(&["root/A", "root/B", "root/X", "root/Y"]));
    let freeze = world.freeze(&key("root/A"));
    assert_eq!(world.refuse(&freeze, &keys(&["root/A", "root/B"])), Refusal::KeyRevoked);
    world.accept(&world.freeze(&key("root/Y")), &keys(&["root/Y"]));
}

#[test]
fn a_new_threshold_holds_from_the_next_entry_on() {
    let mut world = World::new();
    let mut next = world.next_manifest();
    next.threshold = 3;
    world.accept(&manifest(&next), &keys(&["root/A", "root/B"]));
    next = world.next_manifest();
    next.threshold = 1;
    assert_eq!(world.refuse(&manifest(&next), &keys(&["root/A", "root/B"])), Refusal::OutOfScope);
    world.accept(&manifest(&next), &keys(&ROOTS));
    world.accept(&manifest(&world.next_manifest()), &keys(&["root/C"]));
    assert_eq!(world.ledger.election().unwrap().manifest.version, 4);
}

/// Units 310101.002 without its tallies' place, and back again: the chain was kept.
#[test]
fn a_removed_unit_keeps_its_chain_and_takes_nothing() {
    let mut world = World::new();
    let officer = [key(KPPS_TWO)];
    let first = world.tally(&officer[0], "ppwp", STATION_TWO);
    let leaf = world.accept(&tally(&first), &officer);
    let neighbour = world.accept(&tally(&world.tally(&key(KPPS), "ppwp", STATION)), &[key(KPPS)]);
    let mut fewer = units();
    fewer.retain(|unit| unit.code.as_str() != STATION_TWO);
    // Another unit in the gap must not inherit the chain.
    fewer.push(unit("310101.0015", "310101", "tps"));
    let next = world.manifest_with(&fewer, &contests());
    world.accept(&manifest(&next), &keys(&ROOTS));
    let revised = revision(&first, leaf);
    assert_eq!(world.refuse(&tally(&revised), &officer), invalid(Field::Unit));
    assert_eq!(world.head("ppwp", STATION_TWO), None);
    assert_eq!(world.head("ppwp", "310101.0015"), None);
    assert_eq!(world.head("ppwp", STATION).unwrap().leaf, neighbour);
    // A second change of the register while it is away.
    let mut moved = fewer.clone();
    moved.push(unit("310101.000", "310101", "tps"));
    let next = world.manifest_with(&moved, &contests());
    world.accept(&manifest(&next), &keys(&ROOTS));
    let mut back = moved.clone();
    back.push(unit(STATION_TWO, "310101", "tps"));
    let next = world.manifest_with(&back, &contests());
    world.accept(&manifest(&next), &keys(&ROOTS));
    assert_eq!(world.head("ppwp", STATION_TWO).unwrap().leaf, leaf);
    assert_eq!(world.head("ppwp", "310101.000"), None);
    let head = world.head("ppwp", STATION_TWO);
    assert_eq!(world.refuse(&tally(&first), &officer), Refusal::Conflict { head });
    world.accept(&tally(&revised), &officer);
}

/// Scope is judged by the manifest in force: who covers the new place covers the unit.
#[test]
fn a_moved_unit_keeps_its_chain_and_changes_hands() {
    let mut world = World::new();
    let first = world.tally(&key(KPPS), "ppwp", STATION);
    let leaf = world.accept(&tally(&first), &[key(KPPS)]);
    let mut moved = units();
    let station = moved.iter_mut().find(|unit| unit.code.as_str() == STATION).unwrap();
    station.parent = Some(code("320101"));
    let next = world.manifest_with(&moved, &contests());
    world.accept(&manifest(&next), &keys(&ROOTS));
    assert_eq!(world.head("ppwp", STATION).unwrap().leaf, leaf);
    let by = |name: &str| Tally { by: key_ref(&key(name)), ..revision(&first, leaf) };
    assert_eq!(world.refuse(&tally(&by(PPK)), &[key(PPK)]), Refusal::OutOfScope);
    world.accept(&tally(&by(PPK_ELSEWHERE)), &[key(PPK_ELSEWHERE)]);
    // It left the regency that the regional contest is held in.
    let regional = world.clone().next_manifest();
    assert_eq!(regional.version, 3);
    let body = Tally { contest: id("dpr:3101"), ..by(KPPS) };
    assert_eq!(world.refuse(&tally(&body), &[key(KPPS)]), invalid(Field::Unit));
}

/// A key whose only unit is gone covers nothing, and covers it again later.
#[test]
fn a_scope_without_units_covers_nothing() {
    let mut world = World::new();
    let mut fewer = units();
    fewer.retain(|unit| !unit.code.as_str().starts_with("310101"));
    let next = world.manifest_with(&fewer, &contests());
    world.accept(&manifest(&next), &keys(&ROOTS));
    let body = world.tally(&key(PPK), "ppwp", "310102");
    assert_eq!(world.refuse(&tally(&body), &[key(PPK)]), Refusal::OutOfScope);
    let mandate = world.mandate(&key(PPK), &[grant(&key("kpps/310102.001"))]);
    assert_eq!(world.refuse(&mandate, &[key(PPK)]), Refusal::OutOfScope);
}

#[test]
fn added_units_and_contests_count_from_the_next_entry_on() {
    let mut world = World::new();
    let overseas = [unit("99", "ID", "province"), unit("99.001", "99", "tps")];
    let more = [units(), overseas.to_vec()].concat();
    let more_contests = [contests(), vec![contest("dpr:99", &["1"], &["99"])]].concat();
    let body = |world: &World| Tally {
        votes: [(id("1"), Some(1))].into(),
        ..world.tally(&key(KPU), "dpr:99", "99")
    };
    assert_eq!(world.refuse(&tally(&body(&world)), &[key(KPU)]), invalid(Field::Contest));
    let next = world.manifest_with(&more, &more_contests);
    world.accept(&manifest(&next), &keys(&ROOTS));
    world.accept(&tally(&body(&world)), &[key(KPU)]);
}

#[test]
fn contests_with_a_tally_keep_their_options_in_order() {
    let mut world = World::new();
    let used = world.tally(&key(OBSERVER), "ppwp", STATION);
    world.accept(&tally(&used), &[key(OBSERVER)]);
    let with = |change: fn(&mut Vec<Contest>)| {
        let mut changed = contests();
        change(&mut changed);
        changed
    };
    // Nobody spoke about dpd and dpr:3101 yet: they may change and go.
    let free: [fn(&mut Vec<Contest>); 4] = [
        |list| list[0].options = ids(&["b", "c"]),
        |list| list[1].scope = codes(&["3102"]),
        |list| list.truncate(3),
        |list| drop(list.drain(..2)),
    ];
    for change in free {
        let mut world = world.clone();
        let next = world.manifest_with(&units(), &with(change));
        world.accept(&manifest(&next), &keys(&ROOTS));
    }
    let fixed: [fn(&mut Vec<Contest>); 5] = [
        |list| list[2].options.swap(0, 1),
        |list| list[2].options.push(id("04")),
        |list| drop(list[2].options.pop()),
        |list| list[2].id = id("ppwp-2"),
        |list| drop(list.pop()),
    ];
    for change in fixed {
        let next = world.manifest_with(&units(), &with(change));
        assert_eq!(world.refuse(&manifest(&next), &keys(&ROOTS)), invalid(Field::Registers));
    }
    // The scope is not fixed: who left it speaks no more.
    let next = world.manifest_with(&units(), &with(|list| list[2].scope = codes(&["32"])));
    world.accept(&manifest(&next), &keys(&ROOTS));
    assert_eq!(world.refuse(&tally(&used), &[key(OBSERVER)]), invalid(Field::Unit));
}

/// A contest that went without a tally and came back is the same contest.
#[test]
fn an_unused_contest_may_go_and_come_back_changed() {
    let mut world = World::new();
    let next = world.manifest_with(&units(), &contests()[1..]);
    world.accept(&manifest(&next), &keys(&ROOTS));
    let body = world.tally(&key(KPPS), "ppwp", STATION);
    let leaf = world.accept(&tally(&body), &[key(KPPS)]);
    let mut changed = contests();
    changed[0].options = ids(&["x"]);
    changed.insert(0, contest("a", &["1"], &["32"]));
    let next = world.manifest_with(&units(), &changed);
    world.accept(&manifest(&next), &keys(&ROOTS));
    assert_eq!(world.head("ppwp", STATION).unwrap().leaf, leaf);
    assert_eq!(world.head("dpd", STATION), None);
    world.accept(&tally(&world.tally(&key(KPPS), "dpd", STATION)), &[key(KPPS)]);
}

#[test]
fn used_rounds_stay_in_their_order() {
    let mut world = World::new();
    for round in ["psu", "regular"] {
        let body = world.tally(&key(KPPS), "ppwp", STATION);
        world.accept(&tally(&Tally { round: word(round), ..body }), &[key(KPPS)]);
    }
    let next = |rounds: &[&str]| {
        let body = Manifest { rounds: words(rounds), ..world.next_manifest() };
        world.clone().say(&manifest(&body), &keys(&ROOTS)).map(|_| ())
    };
    for taken in [&["regular", "psu"][..], &["pss", "regular", "recount", "psu", "court"]] {
        assert_eq!(next(taken), Ok(()), "{taken:?}");
    }
    // Gone, or with a precedence that turns results over.
    for refused in [&["regular"][..], &["psu", "court"], &["psu", "regular", "court"]] {
        assert_eq!(next(refused), Err(invalid(Field::Rounds)), "{refused:?}");
    }
}

#[test]
fn rules_change_from_the_next_entry_on() {
    let mut world = World::new();
    let mut next = world.next_manifest();
    let kpps = next.roles.iter_mut().find(|role| role.id.as_str() == "kpps").unwrap();
    kpps.may_open = words(&["ksk"]);
    next.roles.retain(|role| role.id.as_str() != "observer");
    next.roles.iter_mut().for_each(|role| role.may_grant.retain(|id| id.as_str() != "observer"));
    next.bases.push(word("renvoi"));
    world.accept(&manifest(&next), &keys(&ROOTS));
    for author in [KPPS, OBSERVER] {
        let body = world.tally(&key(author), "ppwp", STATION);
        assert_eq!(world.refuse(&tally(&body), &[key(author)]), Refusal::OutOfScope, "{author}");
    }
    let body = world.tally(&key(PPK), "ppwp", "310101");
    world.accept(&tally(&Tally { basis: word("renvoi"), ..body }), &[key(PPK)]);
    // Keys of a role that is gone stay mandated, and speak when it is back.
    let next = Manifest { roles: founding_manifest().roles, ..world.next_manifest() };
    world.accept(&manifest(&next), &keys(&ROOTS));
    world.accept(&tally(&world.tally(&key(OBSERVER), "ppwp", STATION)), &[key(OBSERVER)]);
}

#[test]
fn registers_must_be_provided_and_fit_the_levels() {
    let mut world = World::new();
    let mut more = units();
    more.push(unit("33", "ID", "province"));
    let (unknown, contests_known) = (unit_register(&more), contest_register(&contests()));
    let mut next = world.next_manifest();
    next.registers = registers(&unknown, &contests_known);
    assert_eq!(world.refuse(&manifest(&next), &keys(&ROOTS)), invalid(Field::Registers));
    world.ledger.provide_units(unknown);
    world.accept(&manifest(&next), &keys(&ROOTS));

    let refuse = |world: &World, units: &[Unit], contests: &[Contest]| {
        let mut world = world.clone();
        let next = world.manifest_with(units, contests);
        assert_eq!(world.refuse(&manifest(&next), &keys(&ROOTS)), invalid(Field::Registers));
    };
    let change = |change: &dyn Fn(&mut Unit)| {
        let mut changed = units();
        change(changed.iter_mut().find(|unit| unit.code.as_str() == STATION).unwrap());
        changed
    };
    refuse(&world, &change(&|unit| unit.kind = word("post")), &contests());
    refuse(&world, &change(&|unit| unit.kind = word("district")), &contests());
    refuse(&world, &change(&|unit| unit.kind = word("nation")), &contests());
    refuse(&world, &change(&|unit| unit.name = "Balai Desa".into()), &contests());
    // A station with a child, a region with voters, and a child on its parent's level.
    refuse(&world, &[units(), vec![unit("X", STATION, "ksk")]].concat(), &contests());
    let mut voters = units();
    voters[1].registered.l = Some(1);
    refuse(&world, &voters, &contests());
    voters[1].registered = Sexes { l: None, p: Some(1) };
    refuse(&world, &voters, &contests());
    let skipped = [units(), vec![unit("3", "31", "province")]].concat();
    refuse(&world, &skipped, &contests());
    let elsewhere = [contests(), vec![contest("x", &["1"], &["33", "34"])]].concat();
    refuse(&world, &units(), &elsewhere);
    // Levels may be left out on the way down, and stations may lack figures.
    let mut fine = [units(), vec![unit("39.1", "ID", "tps")]].concat();
    fine.iter_mut().for_each(|unit| unit.registered = Sexes { l: None, p: None });
    let next = world.manifest_with(&fine, &contests());
    world.accept(&manifest(&next), &keys(&ROOTS));
    // Levels that the register does not fit.
    let mut next = world.next_manifest();
    next.levels.swap(0, 1);
    assert_eq!(world.refuse(&manifest(&next), &keys(&ROOTS)), invalid(Field::Registers));
}

#[test]
fn nothing_follows_a_freeze() {
    let mut world = World::new();
    let body = world.freeze(&key("root/A"));
    for signers in [&["root/A"][..], &["root/A", KPU], &["root/A", "root/B", KPU]] {
        assert_eq!(world.refuse(&body, &keys(signers)), Refusal::OutOfScope);
    }
    let by_officer = world.freeze(&key(KPU));
    assert_eq!(world.refuse(&by_officer, &keys(&[KPU])), Refusal::OutOfScope);
    assert!(!world.ledger.frozen());
    let known = world.entries[0].clone();
    world.accept(&body, &keys(&["root/A", "root/C"]));
    assert!(world.ledger.frozen());
    let officer = key(KPPS);
    let after = [
        (tally(&world.tally(&officer, "ppwp", STATION)), keys(&[KPPS])),
        (world.mandate(&key("root/A"), &[grant(&key("kpps/310102.001"))]), keys(&ROOTS)),
        (world.revocation(&officer, &officer, false), keys(&[KPPS])),
        (manifest(&world.next_manifest()), keys(&ROOTS)),
        (world.freeze(&key("root/B")), keys(&["root/B", "root/C"])),
    ];
    for (body, signers) in after {
        assert_eq!(world.refuse(&body, &signers), Refusal::Frozen);
    }
    // Known bytes are looked up before the ledger is asked; asked, it refuses them too.
    assert_eq!(world.submit(&known).unwrap_err(), Refusal::Frozen);
}
