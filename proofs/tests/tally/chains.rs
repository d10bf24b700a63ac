//! Chains: one official for (contest, unit, round), one of its own for every other key.

use jejak_proofs::tally::*;

use super::world::*;

fn conflict(world: &World, contest: &str, unit: &str) -> Refusal {
    Refusal::Conflict { head: world.head(contest, unit) }
}

#[test]
fn a_chain_is_opened_once_and_revised_from_its_head() {
    let mut world = World::new();
    let officer = [key(KPPS)];
    let first = world.tally(&officer[0], "ppwp", STATION);
    let outcome = world.say(&tally(&first), &officer).unwrap();
    assert_eq!((outcome.replaced, outcome.flags.is_empty()), (None, true));
    let head = world.head("ppwp", STATION).unwrap();
    assert_eq!((head.index, head.seq), (2, 0));
    // Another opening, a revision of something else, and gaps.
    let other = Tally { invalid: Some(9), total: Some(39), ..first.clone() };
    let second = revision(&other, head.leaf);
    let wrong = [
        other.clone(),
        revision(&other, hash(1)),
        Tally { seq: 2, ..second.clone() },
        Tally { seq: u32::MAX, ..second.clone() },
    ];
    for body in wrong {
        let refusal = world.refuse(&tally(&body), &officer);
        assert_eq!(refusal, conflict(&world, "ppwp", STATION), "seq {}", body.seq);
    }
    let outcome = world.say(&tally(&second), &officer).unwrap();
    assert_eq!(outcome.replaced, Some(head));
    let newer = world.head("ppwp", STATION).unwrap();
    assert_eq!((newer.index, newer.seq), (3, 1));
    // The old head has a successor; the same seq again, and the right seq on the old head.
    for body in [Tally { total: None, ..second.clone() }, Tally { seq: 2, ..second.clone() }] {
        assert_eq!(world.refuse(&tally(&body), &officer), Refusal::Conflict { head: Some(newer) });
    }
    world.accept(&tally(&revision(&second, newer.leaf)), &officer);
}

#[test]
fn prev_of_another_chain_is_a_conflict() {
    let mut world = World::new();
    let officers = [key(KPPS)];
    let here = world.tally(&officers[0], "ppwp", STATION);
    let leaf = world.accept(&tally(&here), &officers);
    let elsewhere = world.tally(&key(KPPS_TWO), "ppwp", STATION_TWO);
    let leaf_elsewhere = world.accept(&tally(&elsewhere), &[key(KPPS_TWO)]);
    let dpd = world.tally(&officers[0], "dpd", STATION);
    let leaf_dpd = world.accept(&tally(&dpd), &officers);
    for wrong in [leaf_elsewhere, leaf_dpd] {
        let refusal = world.refuse(&tally(&revision(&here, wrong)), &officers);
        assert_eq!(refusal, conflict(&world, "ppwp", STATION));
    }
    // A chain that is not open has no head to name.
    let psu = Tally { round: word("psu"), ..revision(&here, leaf) };
    assert_eq!(world.refuse(&tally(&psu), &officers), Refusal::Conflict { head: None });
}

#[test]
fn contests_units_and_rounds_have_chains_of_their_own() {
    let mut world = World::new();
    let officer = [key(KPPS)];
    for round in ["court", "regular", "psu"] {
        for contest in ["ppwp", "dpr:3101", "dpd"] {
            let body = world.tally(&officer[0], contest, STATION);
            let leaf = world.accept(&tally(&Tally { round: word(round), ..body }), &officer);
            let head = world.ledger.head(contest, STATION, round, ChainOwner::Official).unwrap();
            assert_eq!((head.leaf, head.seq), (leaf, 0));
        }
    }
    assert_eq!(world.head("ppwp", STATION_TWO), None);
    assert_eq!(world.ledger.head("x", STATION, "regular", ChainOwner::Official), None);
    assert_eq!(world.ledger.head("ppwp", "X", "regular", ChainOwner::Official), None);
    assert_eq!(world.ledger.head("ppwp", STATION, "x", ChainOwner::Official), None);
    assert_eq!(World::empty().head("ppwp", STATION), None);
}

#[test]
fn the_form_does_not_split_a_chain() {
    let mut world = World::new();
    let officer = [key(KPPS)];
    let first = world.tally(&officer[0], "ppwp", STATION);
    let leaf = world.accept(&tally(&first), &officer);
    let copy = Tally { form: word("c-salinan"), basis: word("machine_reading"), ..first };
    assert_eq!(world.refuse(&tally(&copy), &officer), conflict(&world, "ppwp", STATION));
    world.accept(&tally(&revision(&copy, leaf)), &officer);
}

/// The station opens, the district revises, the station revises again: one chain.
#[test]
fn official_roles_share_one_chain() {
    let mut world = World::new();
    let opened = world.tally(&key(KPPS), "ppwp", STATION);
    let leaf = world.accept(&tally(&opened), &[key(KPPS)]);
    let by_district = Tally { by: key_ref(&key(PPK)), ..revision(&opened, leaf) };
    let leaf = world.accept(&tally(&by_district), &[key(PPK)]);
    let again = Tally { by: key_ref(&key(KPPS)), ..revision(&by_district, leaf) };
    let leaf = world.accept(&tally(&again), &[key(KPPS)]);
    let head = world.head("ppwp", STATION).unwrap();
    assert_eq!((head.leaf, head.seq), (leaf, 2));
    // Another district may not, nor the nation, whose role revises no stations.
    for author in [PPK_ELSEWHERE, KPU] {
        let body = Tally { by: key_ref(&key(author)), ..revision(&again, leaf) };
        assert_eq!(world.refuse(&tally(&body), &[key(author)]), Refusal::OutOfScope, "{author}");
    }
}

/// The district opens its own recap only, and may revise what it may not open.
#[test]
fn opening_and_revising_go_by_level() {
    let mut world = World::new();
    let body = world.tally(&key(PPK), "ppwp", STATION);
    assert_eq!(world.refuse(&tally(&body), &[key(PPK)]), Refusal::OutOfScope);
    let recap = world.tally(&key(PPK), "ppwp", "310101");
    let leaf = world.accept(&tally(&recap), &[key(PPK)]);
    world.accept(&tally(&revision(&recap, leaf)), &[key(PPK)]);
    // The nation may revise a district's recap and not open it.
    let other = world.tally(&key(KPU), "ppwp", "320101");
    assert_eq!(world.refuse(&tally(&other), &[key(KPU)]), Refusal::OutOfScope);
    let opened = world.tally(&key(PPK_ELSEWHERE), "ppwp", "320101");
    let leaf = world.accept(&tally(&opened), &[key(PPK_ELSEWHERE)]);
    let revised = Tally { by: key_ref(&key(KPU)), ..revision(&opened, leaf) };
    world.accept(&tally(&revised), &[key(KPU)]);
    // A party witness opens and never revises.
    let seen = world.tally(&key(SAKSI), "ppwp", STATION);
    let leaf = world.accept(&tally(&seen), &[key(SAKSI)]);
    let refusal = world.refuse(&tally(&revision(&seen, leaf)), &[key(SAKSI)]);
    assert_eq!(refusal, Refusal::OutOfScope);
    for form in ["c-hasil", "d-hasil"] {
        let seen = world.tally(&key(SAKSI), "ppwp", STATION_TWO);
        let body = Tally { form: word(form), ..seen };
        assert_eq!(world.refuse(&tally(&body), &[key(SAKSI)]), Refusal::OutOfScope, "{form}");
    }
}

#[test]
fn a_counter_tally_overwrites_nothing() {
    let mut world = World::new();
    let official = world.tally(&key(KPPS), "ppwp", STATION);
    let leaf = world.accept(&tally(&official), &[key(KPPS)]);
    let mut heads = Vec::new();
    for name in [OBSERVER, OBSERVER_TWO, SAKSI] {
        let seen = Tally { valid: Some(1), ..world.tally(&key(name), "ppwp", STATION) };
        heads.push((name, world.accept(&tally(&seen), &[key(name)])));
        let again = world.refuse(&tally(&seen), &[key(name), key(KPU)]);
        assert!(matches!(again, Refusal::Conflict { head: Some(_) }), "{name}");
    }
    assert_eq!(world.head("ppwp", STATION).unwrap().leaf, leaf);
    for (name, leaf) in &heads {
        let number = world.ledger.keys().find(&key_ref(&key(name))).unwrap().number();
        let head = world.ledger.head("ppwp", STATION, "regular", ChainOwner::Key(number)).unwrap();
        assert_eq!(head.leaf, *leaf);
    }
    // No observer revises another's chain, nor the official one.
    for wrong in [heads[1].1, leaf] {
        let body = revision(&world.tally(&key(OBSERVER), "ppwp", STATION), wrong);
        let refusal = world.refuse(&tally(&body), &[key(OBSERVER)]);
        assert!(
            matches!(refusal, Refusal::Conflict { head: Some(head) } if head.leaf == heads[0].1)
        );
    }
    let body = revision(&world.tally(&key(OBSERVER), "ppwp", STATION), heads[0].1);
    world.accept(&tally(&body), &[key(OBSERVER)]);
}

#[test]
fn a_withdrawal_has_no_numbers_and_its_chain_goes_on() {
    let mut world = World::new();
    let officer = [key(KPPS)];
    let mut first = world.tally(&officer[0], "ppwp", STATION);
    let sexes = Sexes { l: None, p: None };
    let ballots = Ballots { received: None, returned: None, unused: None, used: None };
    first.ballots = Some(ballots);
    let leaf = world.accept(&tally(&first), &officer);
    first.ballots = None;
    let blank = withdrawal(&first, leaf);
    let numbered = [
        Tally { valid: Some(0), ..blank.clone() },
        Tally { invalid: Some(0), ..blank.clone() },
        Tally { total: Some(0), ..blank.clone() },
        Tally {
            votes: [("01", Some(0)), ("02", None), ("03", None)].map(|(o, n)| (id(o), n)).into(),
            ..blank.clone()
        },
        Tally { ballots: Some(ballots), ..blank.clone() },
        Tally { registered: Some(sexes), ..blank.clone() },
        Tally { voters: Some(Voters { dpk: sexes, dpt: sexes, dptb: sexes }), ..blank.clone() },
    ];
    for body in numbered {
        let refusal = world.refuse(&tally(&body), &officer);
        assert_eq!(refusal, Refusal::Invalid(Field::Reason));
    }
    // Nothing is withdrawn that was not said; null numbers for another reason are no withdrawal.
    let nothing = Tally { prev: None, decision: None, seq: 0, ..blank.clone() };
    assert_eq!(world.refuse(&tally(&nothing), &officer), Refusal::Invalid(Field::Reason));
    assert!(blank.withdrawn());
    let leaf = world.accept(&tally(&blank), &officer);
    assert_eq!(world.refuse(&tally(&first), &officer), conflict(&world, "ppwp", STATION));
    let unreadable = Tally { reason: Some(Reason::OcrCorrection), ..withdrawal(&blank, leaf) };
    assert!(!unreadable.withdrawn());
    let leaf = world.accept(&tally(&unreadable), &officer);
    let restored = Tally { seq: 3, ..revision(&first, leaf) };
    world.accept(&tally(&restored), &officer);
}

#[test]
fn a_contest_is_held_in_its_scope_and_summed_above_it() {
    let mut world = World::new();
    // dpr:3101 covers regency 3101: stations in it, and every region that holds it or lies in it.
    let mut take = |author: &str, unit: &str| {
        let body = world.tally(&key(author), "dpr:3101", unit);
        world.say(&tally(&body), &[key(author)]).map(|_| ())
    };
    assert_eq!(take(KPPS, STATION), Ok(()));
    assert_eq!(take(PPK, "310101"), Ok(()));
    for inside in ["3101", "31", "ID"] {
        assert_eq!(take(KPU, inside), Ok(()), "{inside}");
    }
    let outside = Err(Refusal::Invalid(Field::Unit));
    assert_eq!(take(PPK_ELSEWHERE, "320101"), outside);
    for unit in ["3102", "32", "3201"] {
        assert_eq!(take(KPU, unit), outside, "{unit}");
    }
    assert_eq!(take(OBSERVER, "310201.001"), outside);
    assert_eq!(take(OBSERVER, "310102.K1"), Ok(()));
}

/// Flags come back with the index they were judged at, and never refuse.
#[test]
fn wrong_sums_are_taken_and_flagged() {
    let mut world = World::new();
    let wrong = Tally { valid: Some(31), ..world.tally(&key(KPPS), "ppwp", STATION) };
    let outcome = world.say(&tally(&wrong), &[key(KPPS)]).unwrap();
    assert_eq!(outcome.flags.to_string(), "A1,A2,A11");
    // The register has 210 voters at every station: 214.2 ballots, rounded up.
    let body = world.tally(&key(KPPS_TWO), "ppwp", STATION_TWO);
    let full = |total| Tally { total: Some(total), valid: None, ..body.clone() };
    let outcome = world.clone().say(&tally(&full(215)), &[key(KPPS_TWO)]).unwrap();
    assert_eq!(outcome.flags.to_string(), "");
    let outcome = world.say(&tally(&full(216)), &[key(KPPS_TWO)]).unwrap();
    assert_eq!(outcome.flags.to_string(), "A6");
    // No limit at an exempt kind, nor at a region, but the one of any box at the former.
    let boxed = |unit: &str, total| Tally {
        total: Some(total),
        valid: None,
        invalid: None,
        ..world.tally(&key(OBSERVER), "ppwp", unit)
    };
    for (unit, total, flags) in
        [("310101.K1", 999, ""), ("310102.K1", 1000, "A7"), ("310101", 100_000, "")]
    {
        let outcome = world.clone().say(&tally(&boxed(unit, total)), &[key(OBSERVER)]).unwrap();
        assert_eq!(outcome.flags.to_string(), flags, "{unit}");
    }
}
