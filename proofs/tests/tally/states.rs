//! State entries and attestations: what each refusal is called, and what is taken.

use jejak_proofs::note::compose;
use jejak_proofs::tally::*;

use super::world::*;

fn text(state: &State) -> String {
    Body::State(state.clone()).text()
}

/// The state that is due, without sealing it.
fn due(world: &mut World) -> State {
    world.ledger.next_state().unwrap()
}

#[test]
fn a_state_is_taken_without_signatures_when_it_is_due() {
    let mut world = World::new();
    assert_eq!((world.ledger.unsealed(), world.ledger.sealed().is_none()), (2, true));
    let state = due(&mut world);
    let election = world.ledger.election().unwrap();
    assert_eq!((state.contests, state.manifest, state.size), (3, election.leaf, 2));
    let bytes = text(&state);
    assert!(
        bytes.len() <= 512 && bytes.starts_with("jejak/state/v1\n{\"contests\":3,\"manifest\"")
    );
    let entry = Entry::parse(bytes.as_bytes()).unwrap();
    assert_eq!((entry.text(), entry.bytes()), (&*bytes, bytes.as_bytes()));
    assert_eq!((entry.signers().len(), entry.body().author()), (0, None));
    assert_eq!(entry.body().place(), None);
    world.submit(bytes.as_bytes()).unwrap();
    assert_eq!((world.ledger.unsealed(), world.ledger.next_state()), (0, None));
    assert_eq!(world.ledger.sealed().unwrap().state, state);
}

#[test]
fn a_state_of_one_entry_is_the_second_of_its_log() {
    let mut world = World::empty();
    assert_eq!(world.ledger.next_state(), None);
    let early = State { contests: 0, manifest: hash(0), recap: hash(0), size: 0 };
    assert_eq!(world.submit(text(&early).as_bytes()).unwrap_err(), Refusal::State);
    let mut world = World::founded();
    assert_eq!(world.seal().size, 1);
    assert_eq!(world.ledger.size(), 2);
}

#[test]
fn a_state_that_differs_from_the_one_due_is_out_of_scope() {
    let mut world = World::new();
    world.accept(&tally(&world.tally(&key(KPPS), "ppwp", STATION)), &[key(KPPS)]);
    let state = due(&mut world);
    for wrong in [
        State { recap: hash(1), ..state.clone() },
        State { manifest: hash(1), ..state.clone() },
        State { manifest: state.recap, recap: state.manifest, ..state.clone() },
        State { contests: 2, ..state.clone() },
        State { contests: 4, ..state.clone() },
        State { contests: u64::MAX, ..state.clone() },
        State { size: state.size - 1, ..state.clone() },
        State { size: state.size + 1, ..state.clone() },
        State { size: 0, ..state.clone() },
    ] {
        let refusal = world.submit(text(&wrong).as_bytes()).unwrap_err();
        assert_eq!((refusal.code(), refusal), ("out_of_scope", Refusal::State), "{wrong:?}");
    }
    world.submit(text(&state).as_bytes()).unwrap();
}

#[test]
fn two_states_in_a_row_are_refused() {
    let mut world = World::new();
    let state = world.seal();
    // The same again, and one that covers the state.
    for again in [state.clone(), State { size: state.size + 1, ..state.clone() }] {
        assert_eq!(world.submit(text(&again).as_bytes()).unwrap_err(), Refusal::State);
    }
    world.accept(&tally(&world.tally(&key(KPPS), "ppwp", STATION)), &[key(KPPS)]);
    assert_eq!(world.submit(text(&state).as_bytes()).unwrap_err(), Refusal::State);
    world.seal();
}

/// An entry that changes no number is covered too: the recap root may stay.
#[test]
fn a_state_after_a_mandate_has_the_same_root() {
    let mut world = World::new();
    let before = world.seal();
    let mandate = world.mandate(&key(PPK), &[grant(&key_n(KPPS, 1))]);
    world.accept(&mandate, &[key(PPK)]);
    let after = world.seal();
    assert_eq!((after.recap, after.size), (before.recap, before.size + 2));
    // The manifest in force is under the root of each contest.
    world.accept(&manifest(&world.next_manifest()), &ROOTS.map(key));
    let next = world.seal();
    assert_ne!((next.recap, next.manifest), (after.recap, after.manifest));
    assert_eq!(next.manifest, world.ledger.election().unwrap().leaf);
}

#[test]
fn one_state_may_follow_a_freeze() {
    let mut world = World::new();
    world.accept(&world.freeze(&key(ROOTS[0])), &[key(ROOTS[0]), key(ROOTS[1])]);
    let body = world.tally(&key(KPPS), "ppwp", STATION);
    assert_eq!(world.refuse(&tally(&body), &[key(KPPS)]), Refusal::Frozen);
    let state = due(&mut world);
    let wrong = State { recap: hash(1), ..state.clone() };
    assert_eq!(world.submit(text(&wrong).as_bytes()).unwrap_err(), Refusal::State);
    world.submit(text(&state).as_bytes()).unwrap();
    assert_eq!(world.ledger.next_state(), None);
    assert_eq!(world.submit(text(&state).as_bytes()).unwrap_err(), Refusal::State);
}

fn malformed(bytes: &[u8]) -> bool {
    matches!(Entry::parse(bytes), Err(Refusal::Malformed(_)))
}

#[test]
fn a_state_with_a_signature_line_or_an_empty_line_is_malformed() {
    let mut world = World::new();
    let text = text(&due(&mut world));
    for signer in [KPPS, ROOTS[0], ORIGIN] {
        let signed = compose(&text, &[key(signer).sign_line(&text)]);
        assert!(malformed(signed.as_bytes()), "{signed}");
    }
    for more in ["\n", "\n\n", "x", "\0", " \n", "\u{2014} x AAAAAA==\n"] {
        assert!(malformed(format!("{text}{more}").as_bytes()), "{more:?}");
    }
    for cut in 0..text.len() {
        assert!(malformed(&text.as_bytes()[..cut]), "the first {cut} bytes");
    }
    // Signatures do not make another kind of a state either.
    let body = world.tally(&key(KPPS), "ppwp", STATION);
    assert!(malformed(tally(&body).text().as_bytes()), "a tally without signatures");
}

#[test]
fn a_state_with_another_field_or_spelling_is_malformed() {
    let mut world = World::new();
    let text = text(&due(&mut world));
    for (old, new) in [
        ("{\"contests\"", "{\"a\":0,\"contests\""),
        ("{\"contests\"", "{\"by\":\"kpu/ID+00000000\",\"contests\""),
        ("}\n", ",\"total\":0}\n"),
        ("\"contests\":3,", ""),
        ("\"contests\":3,", "\"contests\":3,\"contests\":3,"),
        ("\"contests\":3", "\"contests\":03"),
        ("\"contests\":3", "\"contests\":3.0"),
        ("\"contests\":3", "\"contests\":\"3\""),
        ("\"contests\":3", "\"contests\":-3"),
        ("\"size\":2", "\"size\":18446744073709551616"),
        ("\"size\":2", "\"size\":null"),
        ("\"size\":2", "\"size\": 2"),
        ("\"size\"", "\"\\u0073ize\""),
        ("\"size\"", "\"Size\""),
        ("jejak/state/v1\n", "jejak/state/v1\n\n"),
        ("jejak/state/v1\n", "jejak/state/v1\r\n"),
        ("jejak/state/v1\n", "jejak/state/v2\n"),
        ("jejak/state/v1\n", "\njejak/state/v1\n"),
    ] {
        assert!(text.contains(old), "{old}");
        assert!(malformed(text.replacen(old, new, 1).as_bytes()), "{old} {new}");
    }
    let upper = text.split_at(text.find("\"recap\":\"").unwrap() + 9);
    let upper = format!("{}{}", upper.0, upper.1.to_uppercase().replace("SIZE", "size"));
    assert_eq!(upper.to_lowercase(), text);
    assert!(upper != text && malformed(upper.as_bytes()));
}

/// 512 bytes are read. No right state is as long, so the limit shows in what is said of it.
#[test]
fn a_state_of_513_bytes_is_malformed_for_its_length() {
    let of_len = |len: usize| {
        let start = "jejak/state/v1\n{\"contests\":3,\"x\":\"";
        let bytes = format!("{start}{}\"}}\n", "x".repeat(len - start.len() - 3));
        assert_eq!(bytes.len(), len);
        Entry::parse(bytes.as_bytes()).map(|entry| entry.leaf()).unwrap_err()
    };
    let too_long = Refusal::Malformed("a state is text of at most 512 bytes");
    assert_eq!(of_len(STATE_LEN_MAX + 1), too_long);
    assert_ne!(of_len(STATE_LEN_MAX), too_long);
    assert_eq!(of_len(65_535), too_long);
    assert_eq!(of_len(65_536), Refusal::TooLarge);
    let most = State { contests: u64::MAX, manifest: hash(1), recap: hash(2), size: u64::MAX };
    assert!(Entry::parse(text(&most).as_bytes()).is_ok());
    assert_eq!(Entry::parse(b"jejak/state/v1\n\xff\n").map(|_| ()).unwrap_err(), too_long);
}

/// A log with a tally of the station and its revision.
fn told() -> (World, [jejak_proofs::merkle::Hash; 2]) {
    let mut world = World::new();
    let first = world.tally(&key(KPPS), "ppwp", STATION);
    let leaf = world.accept(&tally(&first), &[key(KPPS)]);
    let revised = world.accept(&tally(&revision(&first, leaf)), &[key(KPPS)]);
    (world, [leaf, revised])
}

#[test]
fn an_attestation_is_about_any_logged_tally_of_its_unit_and_contest() {
    let (mut world, leaves) = told();
    let theirs = world.tally(&key(OBSERVER_TWO), "ppwp", STATION);
    let theirs = world.accept(&tally(&theirs), &[key(OBSERVER_TWO)]);
    // The head, an older revision, a counter-tally.
    for leaf in [leaves[1], leaves[0], theirs] {
        world.accept(&world.attestation(&key(OBSERVER), "ppwp", STATION, leaf), &[key(OBSERVER)]);
    }
    // About one's own, and with a co-signer.
    let own = world.attestation(&key(OBSERVER_TWO), "ppwp", STATION, theirs);
    world.accept(&own, &[key(OBSERVER_TWO)]);
    let both = world.attestation(&key(SAKSI), "ppwp", STATION, theirs);
    world.accept(&both, &[key(SAKSI), key(OBSERVER)]);
}

#[test]
fn an_attestation_about_something_else_is_refused() {
    let (mut world, [leaf, _]) = told();
    let other = world.tally(&key(KPPS_TWO), "ppwp", STATION_TWO);
    let other = world.accept(&tally(&other), &[key(KPPS_TWO)]);
    let attested = world.attestation(&key(OBSERVER), "ppwp", STATION, leaf);
    let attested = world.accept(&attested, &[key(OBSERVER)]);
    let mandate = leaf_of(&world.entries[1]);
    let mut refuse = |contest: &str, unit: &str, leaf| {
        let body = world.attestation(&key(OBSERVER), contest, unit, leaf);
        world.refuse(&body, &[key(OBSERVER)])
    };
    let invalid = Refusal::Invalid;
    for leaf in [other, attested, mandate, hash(0)] {
        assert_eq!(refuse("ppwp", STATION, leaf), invalid(Field::Leaf));
    }
    assert_eq!(refuse("dpd", STATION, leaf), invalid(Field::Leaf));
    assert_eq!(refuse("ppwp", STATION_TWO, leaf), invalid(Field::Leaf));
    assert_eq!(refuse("ppwp", "310101", leaf), invalid(Field::Leaf));
    assert_eq!(refuse("dpr:3102", STATION, leaf), invalid(Field::Contest));
    assert_eq!(refuse("ppwp", "310101.009", leaf), invalid(Field::Unit));
    assert_eq!(refuse("dpr:3101", "320101.001", leaf), invalid(Field::Unit));
}

fn leaf_of(entry: &[u8]) -> jejak_proofs::merkle::Hash {
    Entry::parse(entry).unwrap().leaf()
}

#[test]
fn one_author_attests_a_tally_once() {
    let (mut world, [leaf, revised]) = told();
    let body = world.attestation(&key(OBSERVER), "ppwp", STATION, leaf);
    world.accept(&body, &[key(OBSERVER)]);
    let Body::Attestation(said) = body.clone() else { unreachable!() };
    let otherwise = Attestation { verdict: AttestationVerdict::Agrees, ..said };
    // A second set of signatures, another verdict, both; also after a restart.
    let again = [
        (body.clone(), vec![key(OBSERVER), key(OBSERVER_TWO)]),
        (Body::Attestation(otherwise.clone()), vec![key(OBSERVER)]),
        (Body::Attestation(otherwise), vec![key(OBSERVER), key(SAKSI)]),
    ];
    for (body, keys) in &again {
        assert_eq!(world.refuse(body, keys), Refusal::Duplicate);
    }
    let election = world.ledger.election().unwrap();
    let (units, contests) = (election.units.clone(), election.contests.clone());
    let founding = Entry::parse(&world.entries[0]).unwrap();
    let ledger = Ledger::restore(world.ledger.snapshot(), &founding, units, contests).unwrap();
    let mut restored = World { ledger, entries: world.entries.clone() };
    for (body, keys) in &again {
        assert_eq!(restored.refuse(body, keys), Refusal::Duplicate);
    }
    // A co-signer has not spoken for itself; another revision is another tally.
    for mut world in [world, restored] {
        let more = world.attestation(&key(OBSERVER_TWO), "ppwp", STATION, leaf);
        world.accept(&more, &[key(OBSERVER_TWO)]);
        let more = world.attestation(&key(OBSERVER), "ppwp", STATION, revised);
        world.accept(&more, &[key(OBSERVER)]);
    }
}

#[test]
fn only_mandated_keys_of_roles_that_are_not_official_attest() {
    let (mut world, [leaf, _]) = told();
    for official in [KPPS, PPK, KPU, KPPS_TWO] {
        let body = world.attestation(&key(official), "ppwp", STATION, leaf);
        assert_eq!(world.refuse(&body, &[key(official)]), Refusal::OutOfScope);
    }
    let root = world.attestation(&key(ROOTS[0]), "ppwp", STATION, leaf);
    assert_eq!(world.refuse(&root, &ROOTS.map(key)), Refusal::OutOfScope);
    // A co-signer out of scope: another district.
    let body = world.attestation(&key(OBSERVER), "ppwp", STATION, leaf);
    let keys = [key(OBSERVER), key(PPK_ELSEWHERE)];
    assert_eq!(world.refuse(&body, &keys), Refusal::OutOfScope);
    // An official co-signer within it may agree.
    let stranger = key_n(OBSERVER, 1);
    let body = world.attestation(&stranger, "ppwp", STATION, leaf);
    assert_eq!(world.refuse(&body, &[stranger]), Refusal::UnknownKey);
    let revocation = world.revocation(&key(SAKSI), &key(SAKSI), false);
    world.accept(&revocation, &[key(SAKSI)]);
    let body = world.attestation(&key(SAKSI), "ppwp", STATION, leaf);
    assert_eq!(world.refuse(&body, &[key(SAKSI)]), Refusal::KeyRevoked);
    let body = world.attestation(&key(OBSERVER), "ppwp", STATION, leaf);
    world.accept(&body, &[key(OBSERVER), key(PPK)]);
}

/// The checks stand in one order: contest, unit, leaf, scope, duplicate.
#[test]
fn the_first_rule_that_an_attestation_breaks_names_it() {
    let (mut world, [leaf, _]) = told();
    let said = world.attestation(&key(SAKSI), "ppwp", STATION, leaf);
    world.accept(&said, &[key(SAKSI)]);
    // A party witness of `ppwp`, about another contest: everything is wrong, then one less.
    let mut refuse = |author: &str, contest: &str, unit: &str, leaf| {
        let body = world.attestation(&key(author), contest, unit, leaf);
        world.refuse(&body, &[key(author)])
    };
    let invalid = Refusal::Invalid;
    assert_eq!(refuse(KPPS, "x", "310101.009", hash(1)), invalid(Field::Contest));
    assert_eq!(refuse(KPPS, "dpd", "310101.009", hash(1)), invalid(Field::Unit));
    assert_eq!(refuse(KPPS, "dpd", STATION_TWO, hash(1)), invalid(Field::Leaf));
    assert_eq!(refuse(KPPS_TWO, "ppwp", STATION, leaf), Refusal::OutOfScope);
    assert_eq!(refuse(SAKSI, "ppwp", STATION, leaf), Refusal::Duplicate);
}

#[test]
fn what_an_attestation_says_is_one_of_four_words() {
    use AttestationVerdict::{Agrees, Disagrees, NotPresent, Unreadable};
    let (world, [leaf, _]) = told();
    let Body::Attestation(said) = world.attestation(&key(OBSERVER), "ppwp", STATION, leaf) else {
        unreachable!()
    };
    let words = ["agrees", "disagrees", "not_present", "unreadable"];
    for (verdict, word) in [Agrees, Disagrees, NotPresent, Unreadable].into_iter().zip(words) {
        let mut world = world.clone();
        let body = Body::Attestation(Attestation { verdict, ..said.clone() });
        assert!(body.text().ends_with(&format!("\"verdict\":\"{word}\"}}\n")));
        world.accept(&body, &[key(OBSERVER)]);
    }
    let text = Body::Attestation(said).text();
    for word in ["", "Agrees", "agree", "none", "not-present"] {
        let text = text.replace("\"disagrees\"", &format!("\"{word}\""));
        assert!(malformed(compose(&text, &[key(OBSERVER).sign_line(&text)]).as_bytes()));
    }
}
