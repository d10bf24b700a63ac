//! Rules of SPEC.md on attestations and states.

use jejak_proofs::{
    merkle::{Hash, sha256},
    tally::{Attestation, AttestationVerdict, Body, Entry, Refusal, State, Tally},
};

use super::spec_world::{
    OBSERVER, OFFICER, ROOTS, World, by, code, id, key, mandated, other_key, tally,
};

fn attest(attestation: Attestation) -> Body {
    Body::Attestation(attestation)
}

/// A world with a tally about station 31.1 and one about 32.1, and their leaf hashes.
fn reported() -> (World, [Hash; 2]) {
    let mut world = World::new();
    world.take(&tally(world.opening(OFFICER, "31.1")), &[OFFICER]);
    let one = world.last();
    world.take(&tally(world.opening(OBSERVER, "32.1")), &[OBSERVER]);
    let two = world.last();
    (world, [one, two])
}

// SPEC [E30] [E31] [E32]
#[test]
fn an_attestation_is_about_a_logged_tally() {
    let (mut world, [one, two]) = reported();
    let good = world.attestation(OBSERVER, "31.1", one);
    for (want, wrong) in [
        ("invalid_contest", Attestation { contest: id("dpr"), unit: code("99"), ..good.clone() }),
        ("invalid_unit", Attestation { unit: code("99"), leaf: two, ..good.clone() }),
        ("invalid_unit", Attestation { contest: id("dpd:31"), unit: code("32.1"), ..good.clone() }),
        ("invalid_leaf", Attestation { leaf: two, ..good.clone() }),
        ("invalid_leaf", Attestation { leaf: world.leaves[1], ..good.clone() }),
        ("invalid_leaf", Attestation { leaf: sha256(b""), ..good.clone() }),
        ("invalid_leaf", Attestation { contest: id("dpd:31"), ..good.clone() }),
        ("invalid_log", Attestation { log: "log.example/other".into(), ..good.clone() }),
        ("ok", good.clone()),
        ("ok", Attestation { unit: code("32.1"), leaf: two, ..good }),
    ] {
        assert_eq!(world.code(&attest(wrong), &[OBSERVER]), want);
    }
    // Of an older head too, and of another key's chain.
    world.take(&tally(world.revision(OFFICER, "31.1", 1, one)), &[OFFICER]);
    let second = key("observer/31.1");
    world.take(&world.mandate(ROOTS[0], vec![mandated(&second, &["31.1"], None)]), &ROOTS);
    let older = attest(world.attestation("observer/31.1", "31.1", one));
    assert_eq!(world.code(&older, &["observer/31.1"]), "ok");
    let attested = attest(world.attestation(OBSERVER, "31.1", world.last()));
    assert_eq!(world.code(&attested, &[OBSERVER]), "invalid_leaf", "it is no tally");
}

// SPEC [E33]
#[test]
fn who_attests_is_mandated_and_not_official() {
    let (mut world, [one, two]) = reported();
    let narrow = key("observer/31.K");
    let keys = vec![mandated(&narrow, &["31.K"], None)];
    world.take(&world.mandate(ROOTS[0], keys), &ROOTS);
    let contest = key("observer/31");
    let keys = vec![mandated(&contest, &["31"], Some(&["dpd:31"]))];
    world.take(&world.mandate(ROOTS[0], keys), &ROOTS);
    for (author, signers) in [
        (OFFICER, &[OFFICER][..]),
        (ROOTS[0], &ROOTS),
        ("observer/31.K", &["observer/31.K"]),
        ("observer/31", &["observer/31"]),
        (OBSERVER, &[OBSERVER, "observer/31.K"]),
        (OBSERVER, &[OBSERVER, ROOTS[0]]),
    ] {
        let body = attest(world.attestation(author, "31.1", one));
        assert_eq!(world.code(&body, signers), "out_of_scope", "{signers:?}");
    }
    // A co-signer may be official.
    let body = attest(world.attestation(OBSERVER, "31.1", one));
    assert_eq!(world.code(&body, &[OBSERVER, OFFICER]), "ok");
    // The leaf is looked for before the scope, the scope before the double.
    let unknown = attest(world.attestation(OFFICER, "31.1", two));
    assert_eq!(world.code(&unknown, &[OFFICER]), "invalid_leaf");
    let again = attest(world.attestation(OBSERVER, "31.1", one));
    assert_eq!(world.code(&again, &[OBSERVER, "observer/31.K"]), "out_of_scope");
}

// SPEC [E34]
#[test]
fn an_author_attests_to_a_tally_once() {
    let (mut world, [one, two]) = reported();
    let good = world.attestation(OBSERVER, "31.1", one);
    assert_eq!(world.code(&attest(good.clone()), &[OBSERVER]), "ok");
    for verdict in [
        AttestationVerdict::Agrees,
        AttestationVerdict::Disagrees,
        AttestationVerdict::NotPresent,
        AttestationVerdict::Unreadable,
    ] {
        let again = attest(Attestation { verdict, ..good.clone() });
        assert_eq!(world.code(&again, &[OBSERVER]), "duplicate");
    }
    let cosigned = attest(good.clone());
    assert_eq!(world.code(&cosigned, &[OBSERVER, OFFICER]), "duplicate");
    // Another tally, and another author.
    let other = Attestation { leaf: two, unit: code("32.1"), ..good.clone() };
    assert_eq!(world.code(&attest(other), &[OBSERVER]), "ok");
    let second = other_key(OBSERVER);
    world.take(&world.mandate(ROOTS[0], vec![mandated(&second, &["ID"], None)]), &ROOTS);
    let other = attest(Attestation { by: by(&second), ..good });
    world.offer_signed(&other.sign(&[&second])).unwrap();
}

// SPEC [E35]
#[test]
fn a_state_is_two_lines() {
    let (mut world, _) = reported();
    let state = world.ledger.next_state().unwrap();
    let body = Body::State(state);
    let text = body.text();
    let signed = body.sign(&[&key(OFFICER)]);
    for wrong in [
        format!("{text}\n"),
        signed,
        text.trim_end().to_owned(),
        text.replacen("{\"contests\"", "{ \"contests\"", 1),
        text.replacen("}\n", ",\"unit\":\"31\"}\n", 1),
        text.replacen("\"size\":4", "\"size\":04", 1),
        text.replacen("\"size\":4", "\"size\":null", 1),
        text.replacen("\"size\":4", &format!("\"size\":{}", "4".repeat(400)), 1),
    ] {
        assert_eq!(Entry::parse(wrong.as_bytes()).unwrap_err().code(), "malformed", "{wrong}");
    }
    // Length is judged before the rest, so the longest that is read still is no state.
    let padded = |len: usize| format!("{text}{}", "x".repeat(len - text.len()));
    let says = |len| Entry::parse(padded(len).as_bytes()).unwrap_err();
    assert_ne!(says(512), says(513));
    assert_eq!(says(513).code(), "malformed");
    assert_eq!(world.offer_signed(&text).map(|_| ()), Ok(()));
    assert_eq!(text.lines().count(), 2);
}

// SPEC [E36]
#[test]
fn a_state_follows_from_the_entries_before_it() {
    let (mut world, _) = reported();
    let due = world.ledger.next_state().unwrap();
    assert_eq!((due.size, due.contests, due.manifest), (4, 2, world.leaves[0]));
    for wrong in [
        State { contests: 1, ..due.clone() },
        State { manifest: world.leaves[1], ..due.clone() },
        State { recap: due.manifest, ..due.clone() },
        State { size: 3, ..due.clone() },
        State { size: 5, ..due.clone() },
    ] {
        let refusal = world.offer_signed(&Body::State(wrong).text()).unwrap_err();
        assert_eq!((&refusal, refusal.code()), (&Refusal::State, "out_of_scope"));
    }
    assert_eq!(world.seal(), due);
    // Each of them commits to what came since.
    world.take(&tally(world.opening(OFFICER, "31.K")), &[OFFICER]);
    let next = world.seal();
    assert_eq!(next.size, 6);
    assert_ne!(next.recap, due.recap);
    // An entry that is not about a unit changes nothing but the size.
    world.take(&world.revocation(OFFICER, OFFICER, false), &[OFFICER]);
    assert_eq!(world.seal(), State { size: 8, ..next });
}

// SPEC [E37]
#[test]
fn a_state_follows_something_new() {
    let mut empty = World::empty();
    assert_eq!(empty.ledger.next_state(), None);
    let (mut world, _) = reported();
    let state = world.seal();
    assert_eq!(
        empty.offer_signed(&Body::State(State { size: 0, ..state.clone() }).text()).unwrap_err(),
        Refusal::State
    );
    assert_eq!(world.ledger.next_state(), None);
    for size in [4, 5, 6] {
        let again = Body::State(State { size, ..state.clone() }).text();
        assert_eq!(world.offer_signed(&again).unwrap_err(), Refusal::State);
    }
}

// SPEC [F2]
#[test]
fn one_state_follows_a_freeze() {
    let (mut world, _) = reported();
    world.take(&world.freeze(), &ROOTS);
    let state = world.seal();
    assert_eq!(state.size, 5);
    assert_eq!(world.ledger.next_state(), None);
    let late = Body::State(State { size: 6, ..state }).text();
    assert_eq!(world.offer_signed(&late).unwrap_err(), Refusal::State);
    assert_eq!(world.code(&tally(world.opening(OFFICER, "31.K")), &[OFFICER]), "log_frozen");
}

// SPEC [D7]
#[test]
fn a_replay_finds_the_same_states() {
    let (mut world, [one, _]) = reported();
    world.seal();
    world.take(&tally(world.revision(OFFICER, "31.1", 1, one)), &[OFFICER]);
    world.take(&attest(world.attestation(OBSERVER, "31.1", one)), &[OBSERVER]);
    let other = Tally { valid: Some(1), ..world.opening(OBSERVER, "31.1") };
    world.take(&tally(other), &[OBSERVER]);
    world.seal();
    let mut replay = World::empty();
    for entry in &world.entries {
        replay.offer_signed(entry).unwrap();
    }
    let sealed = |world: &World| world.ledger.sealed().unwrap().state.clone();
    assert_eq!(sealed(&replay), sealed(&world));
}
