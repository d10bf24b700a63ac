//! Mandates: who may grant what, how deep, and from when on it counts.

use jejak_proofs::note::SigningKey;
use jejak_proofs::tally::*;

use super::world::*;

fn two_roots() -> [SigningKey; 2] {
    [key(ROOTS[0]), key(ROOTS[1])]
}

#[test]
fn the_root_grants_with_its_threshold_alone() {
    let mut world = World::new();
    let mandate = world.mandate(&key(ROOTS[0]), &[grant(&key("kpps/310102.001"))]);
    let out = Refusal::OutOfScope;
    assert_eq!(world.refuse(&mandate, &[key(ROOTS[0])]), out);
    // A mandated key adds no weight to a root key, and takes its own away from two.
    assert_eq!(world.refuse(&mandate, &[key(ROOTS[0]), key(KPU)]), out);
    assert_eq!(world.refuse(&mandate, &[key(ROOTS[0]), key(ROOTS[1]), key(KPU)]), out);
    world.accept(&mandate, &[key(ROOTS[0]), key(ROOTS[2])]);
}

#[test]
fn a_mandated_key_counts_from_the_next_entry_on() {
    let mut world = World::new();
    let officer = key("kpps/310102.001");
    let mandate = world.mandate(&key(ROOTS[0]), &[grant(&officer)]);
    let outcome = world.say(&mandate, &two_roots()).unwrap();
    let [granted] = &outcome.keys[..] else { panic!("{} keys", outcome.keys.len()) };
    assert_eq!((granted.index(), granted.key_ref()), (2, key_ref(&officer)));
    assert_eq!((granted.role(), granted.units()), (&id("kpps"), &codes(&["310102.001"])[..]));
    assert_eq!((granted.contests(), granted.is_root()), (None, false));
    assert!(world.ledger.in_force(granted));
    assert_eq!(world.ledger.keys().find(&key_ref(&officer)).unwrap().number(), granted.number());
    world.accept(&tally(&world.tally(&officer, "ppwp", "310102.001")), &[officer]);
}

/// Seen from inside: a mandate cannot be signed by the key that it brings.
#[test]
fn a_mandate_does_not_vouch_for_itself() {
    let mut world = World::new();
    let upstart = key_n(KPU, 1);
    let mandate = world.mandate(&upstart, &[grant(&upstart)]);
    assert_eq!(world.refuse(&mandate, &[upstart]), Refusal::UnknownKey);
}

#[test]
fn grants_stay_within_role_units_and_contests() {
    let world = World::new();
    let out = |author: &str, granted: MandatedKey| {
        let mut world = world.clone();
        let mandate = world.mandate(&key(author), &[granted]);
        assert_eq!(world.refuse(&mandate, &[key(author)]), Refusal::OutOfScope);
    };
    let fresh = |name: &str| grant(&key_n(name, 7));
    // Roles that the granter's may not grant.
    out(PPK, fresh("ppk/310101"));
    out(PPK, fresh("saksi/310101"));
    out(KPPS, fresh(KPPS));
    out(OBSERVER, fresh("observer/31"));
    out(SAKSI, fresh("kpps/310101.001"));
    // Units outside: elsewhere, above, and a list of which one is outside.
    out(PPK, fresh("kpps/310102.001"));
    out(PPK, fresh("kpps/3101"));
    out(PPK, fresh("kpps/ID"));
    let partly = codes(&["310101.001", "310102.001"]);
    out(PPK, MandatedKey { units: partly, ..fresh(KPPS) });
    // Contests: one more, and all for a key that has one.
    let saksi = fresh("saksi/310101.001");
    out(SAKSI, MandatedKey { contests: Some(ids(&["dpd", "ppwp"])), ..saksi.clone() });
    out(SAKSI, MandatedKey { contests: Some(ids(&["dpd"])), ..saksi.clone() });
    out(SAKSI, MandatedKey { contests: None, ..saksi.clone() });
    // And what is within.
    let within = |author: &str, granted: MandatedKey| {
        let mut world = world.clone();
        let mandate = world.mandate(&key(author), &[granted]);
        world.accept(&mandate, &[key(author)]);
    };
    within(SAKSI, saksi);
    within(PPK, fresh(KPPS));
    within(PPK, MandatedKey { contests: Some(ids(&["dpd", "ppwp"])), ..fresh(KPPS) });
    within(PPK, fresh("kpps/310101"));
    within(KPU, fresh(KPU));
}

/// What a mandate grants, every signer of it must be able to grant alone.
#[test]
fn co_signers_of_a_mandate_must_be_able_to_grant_it() {
    let world = World::new();
    let mandate = world.mandate(&key(PPK), &[grant(&key_n(KPPS, 7))]);
    for co_signer in [KPPS, SAKSI, OBSERVER, PPK_ELSEWHERE, ROOTS[0]] {
        let refusal = world.clone().refuse(&mandate, &[key(PPK), key(co_signer)]);
        assert_eq!(refusal, Refusal::OutOfScope, "{co_signer}");
    }
    world.clone().accept(&mandate, &[key(PPK), key(KPU)]);
}

#[test]
fn one_bad_key_refuses_the_whole_mandate() {
    let mut world = World::new();
    let good = grant(&key("kpps/310101.003"));
    let bad = grant(&key("kpps/310102.001"));
    let mandate = world.mandate(&key(PPK), &[good.clone(), bad]);
    assert_eq!(world.refuse(&mandate, &[key(PPK)]), Refusal::OutOfScope);
    let stranger = key("kpps/310101.003");
    let body = world.tally(&stranger, "ppwp", "310101.003");
    assert_eq!(world.refuse(&tally(&body), std::slice::from_ref(&stranger)), Refusal::UnknownKey);
    let mandate = world.mandate(&key(PPK), &[good]);
    world.accept(&mandate, &[key(PPK)]);
    world.accept(&tally(&body), &[stranger]);
}

#[test]
fn delegation_is_eight_grants_deep() {
    let mut world = World::founded();
    let mut granter = key_n(KPU, 1);
    let mandate = world.mandate(&key(ROOTS[0]), &[grant(&granter)]);
    world.accept(&mandate, &two_roots());
    for depth in 2..=u32::from(DELEGATION_DEPTH_MAX) {
        let next = key_n(KPU, depth);
        let mandate = world.mandate(&granter, &[grant(&next)]);
        world.accept(&mandate, &[granter]);
        granter = next;
    }
    let mandate = world.mandate(&granter, &[grant(&key_n(KPU, 9))]);
    assert_eq!(world.refuse(&mandate, &[granter.clone()]), Refusal::OutOfScope);
    // The deepest key speaks all the same, and may be co-signer of nothing that grants.
    world.accept(&tally(&world.tally(&granter, "ppwp", "ID")), &[granter.clone()]);
    let mandate = world.mandate(&key_n(KPU, 7), &[grant(&key_n(KPU, 9))]);
    let refusal = world.refuse(&mandate, &[key_n(KPU, 7), granter]);
    assert_eq!(refusal, Refusal::OutOfScope);
    world.accept(&mandate, &[key_n(KPU, 7)]);
    assert_eq!(DELEGATION_DEPTH_MAX, 8);
}

#[test]
fn the_largest_mandate_is_taken() {
    let mut world = World::new();
    let keys: Vec<_> = (1..=MANDATE_KEYS_MAX as u32).map(|n| grant(&key_n(KPPS, n))).collect();
    let before = world.ledger.keys().len();
    let body = world.mandate(&key(PPK), &keys);
    world.accept(&body, &[key(PPK)]);
    assert_eq!(world.ledger.keys().len(), before + MANDATE_KEYS_MAX);
    let numbers: std::collections::BTreeSet<_> =
        world.ledger.keys().iter().map(|key| key.number()).collect();
    assert_eq!(numbers.last(), Some(&(before as u32 + MANDATE_KEYS_MAX as u32 - 1)));
    assert_eq!(numbers.len(), before + MANDATE_KEYS_MAX);
}

/// Parsing the keys of a mandate is dear: it is done only for one whose lines verify.
#[test]
fn signatures_are_checked_before_the_keys_that_a_mandate_brings() {
    let mut world = World::new();
    let broken = MandatedKey { vkey: "no key".into(), ..grant(&key_n(KPPS, 7)) };
    let body = world.mandate(&key(PPK), std::slice::from_ref(&broken));
    let text = body.text();
    let other = key(PPK).sign_line("another text\n");
    let bad = jejak_proofs::note::compose(&text, &[other]);
    assert_eq!(world.submit(bad.as_bytes()).unwrap_err(), Refusal::BadSignature);
    let stranger = key_n(PPK, 1);
    let body = world.mandate(&stranger, &[broken]);
    assert_eq!(world.refuse(&body, &[stranger]), Refusal::UnknownKey);
}
