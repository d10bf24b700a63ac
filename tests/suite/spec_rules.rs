//! Rules of SPEC.md on admission, chains, mandates, manifests and the freeze.

use jejak_proofs::{
    merkle::{Hash, sha256},
    note::{KeyKind, SigningKey},
    tally::{
        Body, ChainOwner, Contest, Ledger, Mandate, Manifest, ManifestReason, Outcome, Refusal,
        Tally,
    },
};

use super::spec_world::{
    OBSERVER, OFFICER, ORIGIN, ROOTS, World, by, contest, contests, id, key, mandated, manifest,
    named, other_key, spell, tally, unit, units, vkey, words,
};

fn boxed(manifest: Manifest) -> Body {
    Body::Manifest(Box::new(manifest))
}

/// A world in which the officer has opened the chain of station 31.1.
fn opened() -> (World, Hash) {
    let mut world = World::new();
    world.take(&tally(world.opening(OFFICER, "31.1")), &[OFFICER]);
    let head = world.last();
    (world, head)
}

// SPEC [D1]
#[test]
fn of_two_faults_the_first_in_order_is_named() {
    let (mut world, _) = opened();
    world.take(&world.revocation(ROOTS[0], OBSERVER, false), &ROOTS);
    let other = |t: Tally| Tally { log: "log.example/other".into(), ..t };
    let no_contest = |t: Tally| Tally { contest: id("dpr"), ..t };
    let good = world.opening(OFFICER, "31.1");
    let rows = [
        ("unknown_key", tally(other(good.clone())), "stranger/31.1"),
        ("invalid_log", tally(other(world.opening(OBSERVER, "31.1"))), OBSERVER),
        ("key_revoked", tally(no_contest(world.opening(OBSERVER, "31.1"))), OBSERVER),
        ("invalid_contest", tally(no_contest(world.opening(OFFICER, "99"))), OFFICER),
        (
            "invalid_unit",
            tally(Tally { round: words(&["court"])[0].clone(), ..world.opening(OFFICER, "99") }),
            OFFICER,
        ),
        (
            "invalid_votes",
            tally(Tally { votes: [].into(), ..world.opening(OFFICER, "32.1") }),
            OFFICER,
        ),
        (
            "out_of_scope",
            tally(Tally { form: words(&["d-xyz"])[0].clone(), ..good.clone() }),
            OFFICER,
        ),
        ("conflict", tally(Tally { valid: None, ..good.clone() }), OFFICER),
    ];
    for (want, body, signer) in &rows {
        let signers = match *want {
            "unknown_key" => vec![OFFICER, signer],
            _ => vec![*signer],
        };
        assert_eq!(world.code(body, &signers), *want);
    }
    world.take(&world.freeze(), &ROOTS);
    assert_eq!(world.code(&rows[1].1, &[OBSERVER]), "log_frozen");
    assert_eq!(world.code(&rows[0].1, &[OFFICER, "stranger/31.1"]), "unknown_key");
}

// SPEC [D3]
#[test]
fn sums_are_flagged_and_never_refused() {
    let mut world = World::new();
    let wrong = Tally { valid: Some(u32::MAX), total: Some(0), ..world.opening(OFFICER, "31.1") };
    let Outcome { flags, .. } = world.take(&tally(wrong), &[OFFICER]);
    assert_eq!(flags.to_string(), "A1,A2,A7");
}

// SPEC [D5]
#[test]
fn a_key_counts_from_the_next_index_on() {
    let mut world = World::new();
    let new = key("official/31.1");
    let body = tally(world.opening("official/31.1", "31.1"));
    assert_eq!(world.code(&body, &["official/31.1"]), "unknown_key");
    let mandate = world.mandate(OFFICER, vec![mandated(&new, &["31.1"], None)]);
    let Outcome { keys, .. } = world.take(&mandate, &[OFFICER]);
    assert_eq!(keys[0].index(), world.ledger.size() - 1);
    assert_eq!(world.code(&body, &["official/31.1"]), "ok");
}

// SPEC [D7]
#[test]
fn a_replay_of_the_bytes_finds_the_same() {
    let (mut world, head) = opened();
    world.take(&tally(world.revision(OFFICER, "31.1", 1, head)), &[OFFICER]);
    world.take(&world.revocation(OFFICER, OFFICER, false), &[OFFICER]);
    world.take(&world.freeze(), &ROOTS);
    let mut replay = World::empty();
    for entry in &world.entries {
        replay.offer_signed(entry).unwrap();
    }
    assert!(format!("{:?}", replay.ledger) == format!("{:?}", world.ledger));
}

// SPEC [H1]
#[test]
fn official_roles_share_a_chain_and_every_other_key_has_its_own() {
    let (mut world, head) = opened();
    let second = key("official/31.1");
    world.take(&world.mandate(OFFICER, vec![mandated(&second, &["31.1"], None)]), &[OFFICER]);
    let two = other_key(OBSERVER);
    world.take(&world.mandate(ROOTS[0], vec![mandated(&two, &["ID"], None)]), &ROOTS);
    // Another form and basis: still the one official chain.
    let other_form = Tally {
        form: words(&["d-hasil"])[0].clone(),
        basis: words(&["renvoi"])[0].clone(),
        ..world.opening("official/31.1", "31.1")
    };
    let conflict = world.offer(&tally(other_form), &["official/31.1"]).unwrap_err();
    assert!(matches!(conflict, Refusal::Conflict { head: Some(found) } if found.leaf == head));
    world.take(&tally(world.revision("official/31.1", "31.1", 1, head)), &["official/31.1"]);
    // Two observers, another round, another contest, another unit: chains of their own.
    world.take(&tally(world.opening(OBSERVER, "31.1")), &[OBSERVER]);
    let opening = Tally { by: by(&two), ..world.opening(OBSERVER, "31.1") };
    let entry = tally(opening).sign(&[&two]);
    world.offer_signed(&entry).unwrap();
    let again = Tally { round: words(&["psu"])[0].clone(), ..world.opening(OFFICER, "31.1") };
    world.take(&tally(again), &[OFFICER]);
    let votes = [(id("a"), Some(1)), (id("b"), Some(2))].into();
    let dpd = Tally { contest: id("dpd:31"), votes, ..world.opening(OFFICER, "31.1") };
    world.take(&tally(dpd), &[OFFICER]);
    world.take(&tally(world.opening(OFFICER, "31.K")), &[OFFICER]);
}

// SPEC [H2]
#[test]
fn a_revision_names_its_head() {
    let mut world = World::new();
    let early = tally(world.revision(OFFICER, "31.1", 1, sha256(b"")));
    assert_eq!(world.offer(&early, &[OFFICER]).unwrap_err(), Refusal::Conflict { head: None });
    world.take(&tally(world.opening(OFFICER, "31.1")), &[OFFICER]);
    let (first, index) = (world.last(), world.ledger.size() - 1);
    for (seq, prev) in [(2, first), (1, world.genesis()), (3, first)] {
        let wrong = tally(world.revision(OFFICER, "31.1", seq, prev));
        let Err(Refusal::Conflict { head: Some(head) }) = world.offer(&wrong, &[OFFICER]) else {
            panic!("seq {seq}")
        };
        assert_eq!((head.index, head.leaf, head.seq), (index, first, 0));
    }
    world.take(&tally(world.revision(OFFICER, "31.1", 1, first)), &[OFFICER]);
    let head = world.ledger.head("ppwp", "31.1", "regular", ChainOwner::Official).unwrap();
    assert_eq!((head.leaf, head.seq), (world.last(), 1));
}

// SPEC [H4]
#[test]
fn scope_is_unit_contest_level_and_form() {
    let (mut world, head) = opened();
    let narrow = key("official/31.K");
    let dpd_only = mandated(&narrow, &["31.K"], Some(&["dpd:31"]));
    world.take(&world.mandate(ROOTS[0], vec![dpd_only]), &ROOTS);
    let form = Tally { form: words(&["c-salinan"])[0].clone(), ..world.opening(OFFICER, "31.K") };
    let rows = [
        (tally(world.opening(OFFICER, "32.1")), vec![OFFICER]),
        (tally(world.opening("official/31.K", "31.K")), vec!["official/31.K"]),
        (tally(form), vec![OFFICER]),
        // The nation is no level that the role may open.
        (tally(world.opening(OBSERVER, "ID")), vec![OBSERVER]),
        // A co-signer out of scope, and root keys, which mandate and never count.
        (tally(world.opening(OFFICER, "31.K")), vec![OFFICER, "official/31.K"]),
        (tally(world.revision(OFFICER, "31.1", 1, head)), vec![OFFICER, ROOTS[0]]),
        (tally(world.opening(ROOTS[0], "31.1")), vec![ROOTS[0]]),
    ];
    for (number, (body, signers)) in rows.iter().enumerate() {
        assert_eq!(world.code(body, signers), "out_of_scope", "row {number}");
    }
    // The role may open a province and not revise it.
    world.take(&tally(world.opening(OFFICER, "31")), &[OFFICER]);
    let revision = tally(world.revision(OFFICER, "31", 1, world.last()));
    assert_eq!(world.code(&revision, &[OFFICER]), "out_of_scope");
    assert_eq!(world.code(&tally(world.opening(OFFICER, "31.K")), &[OFFICER, OBSERVER]), "ok");
}

// SPEC [M2]
#[test]
fn what_roots_author_needs_the_threshold_and_nobody_else() {
    let mut world = World::new();
    let mandate = world.mandate(ROOTS[0], vec![mandated(&key("official/32"), &["32"], None)]);
    let revocation = world.revocation(ROOTS[0], OBSERVER, false);
    let freeze = world.freeze();
    for body in [&mandate, &revocation, &freeze] {
        assert_eq!(world.code(body, &[ROOTS[0]]), "out_of_scope");
        assert_eq!(world.code(body, &[ROOTS[0], ROOTS[1], OFFICER]), "out_of_scope");
        assert_eq!(world.code(body, &[ROOTS[0], OFFICER]), "out_of_scope");
        assert_eq!(world.code(body, &ROOTS), "ok");
    }
}

// SPEC [M3]
#[test]
fn a_grant_stays_within_the_power_of_every_signer() {
    let mut world = World::new();
    let narrow = mandated(&key("official/31.K"), &["31.K"], Some(&["dpd:31"]));
    world.take(&world.mandate(OFFICER, vec![narrow]), &[OFFICER]);
    let new = |role: &str| key(&format!("{role}/31.1"));
    let official = |units: &[&str], contests| mandated(&new("official"), units, contests);
    let rows = [
        ("invalid_role", OFFICER, mandated(&new("nobody"), &["31.1"], None)),
        ("invalid_unit", OFFICER, official(&["31.1", "99"], None)),
        ("invalid_contest", OFFICER, official(&["31.1"], Some(&["dpr"]))),
        ("out_of_scope", OFFICER, mandated(&new("observer"), &["31.1"], None)),
        ("out_of_scope", OFFICER, official(&["31.1", "32"], None)),
        ("out_of_scope", "official/31.K", mandated(&other_key("official/31.K"), &["31.K"], None)),
        ("out_of_scope", OBSERVER, mandated(&new("observer"), &["31.1"], None)),
        ("ok", OFFICER, official(&["31.1"], None)),
    ];
    for (want, author, granted) in rows {
        let body = world.mandate(author, vec![granted]);
        assert_eq!(world.code(&body, &[author]), want);
    }
    // A co-signer of a mandate answers for it too.
    let body = world.mandate(OFFICER, vec![mandated(&other_key("official/31.1"), &["31.1"], None)]);
    assert_eq!(world.code(&body, &[OFFICER, "official/31.K"]), "out_of_scope");
}

// SPEC [M4]
#[test]
fn delegation_is_at_most_eight_deep() {
    let mut world = World::new();
    // The officer is one grant below the root.
    let mut author = key(OFFICER);
    for depth in 2..=9_u8 {
        let next = SigningKey::from_seed(OFFICER, KeyKind::Ed25519, [depth; 32]).unwrap();
        let body = Body::Mandate(Mandate {
            by: by(&author),
            election: id("rules"),
            genesis: world.genesis(),
            keys: vec![mandated(&next, &["31"], None)],
            log: ORIGIN.into(),
        });
        let taken = world.offer_signed(&body.sign(&[&author])).map(|_| ());
        let want = if depth <= 8 { Ok(()) } else { Err(Refusal::OutOfScope) };
        assert_eq!(taken, want, "{depth} grants");
        author = next;
    }
}

// SPEC [M5]
#[test]
fn a_public_key_is_mandated_once() {
    let mut world = World::new();
    let seed = *sha256(OFFICER.as_bytes()).as_bytes();
    let renamed = SigningKey::from_seed("official/31.1", KeyKind::Ed25519, seed).unwrap();
    let root_seed = *sha256(ROOTS[0].as_bytes()).as_bytes();
    let root = SigningKey::from_seed("official/31.1", KeyKind::Ed25519, root_seed).unwrap();
    let fresh = mandated(&key("official/31.1"), &["31.1"], None);
    for keys in [
        vec![mandated(&key(OFFICER), &["31"], None)],
        vec![mandated(&renamed, &["31.1"], None)],
        vec![mandated(&root, &["31.1"], None)],
        vec![fresh.clone(), fresh.clone()],
    ] {
        let body = world.mandate(ROOTS[0], keys);
        assert_eq!(world.code(&body, &ROOTS), "duplicate");
    }
    let body = world.mandate(ROOTS[0], vec![fresh]);
    assert_eq!(world.code(&body, &ROOTS), "ok");
    // Nor after it was revoked.
    world.take(&world.revocation(ROOTS[0], "official/31.1", false), &ROOTS);
    assert_eq!(world.code(&body, &ROOTS), "duplicate");
}

// SPEC [M6] [S6]
#[test]
fn mandates_outlast_a_manifest_and_are_judged_by_the_one_in_force() {
    let mut world = World::new();
    // Station 32.1 moves to province 31, and 31.K goes.
    let mut moved = units();
    moved.retain(|unit| !["31.K", "32.1"].contains(&unit.code.as_str()));
    moved.push(unit("32.1", "31", "tps"));
    let registers = spell(&moved, &contests());
    world.provide(&registers);
    assert_eq!(world.code(&tally(world.opening(OFFICER, "32.1")), &[OFFICER]), "out_of_scope");
    world.take(&tally(world.opening(OFFICER, "31.K")), &[OFFICER]);
    let in_31_k = world.last();
    let next = Manifest { registers: named(&registers), ..world.successor() };
    world.take(&boxed(next), &ROOTS);
    assert_eq!(world.code(&tally(world.opening(OFFICER, "32.1")), &[OFFICER]), "ok");
    let gone = tally(world.revision(OFFICER, "31.K", 1, in_31_k));
    assert_eq!(world.code(&gone, &[OFFICER]), "invalid_unit");
    // It comes back with its chain; a box is revised by nobody, so a new opening conflicts.
    let before = named(&spell(&units(), &contests()));
    world.take(&boxed(Manifest { registers: before, ..world.successor() }), &ROOTS);
    assert_eq!(world.code(&tally(world.opening(OFFICER, "31.K")), &[OFFICER]), "conflict");
}

// SPEC [M7] [M8] [M9]
#[test]
fn who_revokes_whom_and_what_falls() {
    let mut world = World::new();
    let (child, grandchild) = (key("official/31.1"), key("official/31.K"));
    let child_key = mandated(&child, &["31.1", "31.K"], None);
    world.take(&world.mandate(OFFICER, vec![child_key]), &[OFFICER]);
    let granted = mandated(&grandchild, &["31.K"], None);
    world.take(&world.mandate(child.name(), vec![granted]), &[child.name()]);
    let up = world.revocation(child.name(), OFFICER, false);
    assert_eq!(world.code(&up, &[child.name()]), "out_of_scope");
    let aside = world.revocation(OBSERVER, OFFICER, false);
    assert_eq!(world.code(&aside, &[OBSERVER]), "out_of_scope");
    for unknown in ["official/99", ROOTS[1]] {
        let body = world.revocation(ROOTS[0], unknown, false);
        assert_eq!(world.code(&body, &ROOTS), "invalid_key");
    }
    // By itself, alone: what it granted goes on.
    let mut alone = world.clone();
    alone.take(&alone.revocation(child.name(), child.name(), false), &[child.name()]);
    let by_child = tally(alone.opening(child.name(), "31.1"));
    assert_eq!(alone.code(&by_child, &[child.name()]), "key_revoked");
    let by_grandchild = tally(alone.opening(grandchild.name(), "31.K"));
    assert_eq!(alone.clone().code(&by_grandchild, &[grandchild.name()]), "ok");
    assert_eq!(
        alone.code(&alone.revocation(OFFICER, child.name(), false), &[OFFICER]),
        "duplicate"
    );
    // What fell alone may still take down what it granted.
    alone.take(&alone.revocation(OFFICER, child.name(), true), &[OFFICER]);
    assert_eq!(alone.code(&by_grandchild, &[grandchild.name()]), "key_revoked");
    // By two levels above it, with everything below.
    world.take(&world.revocation(ROOTS[0], OFFICER, true), &ROOTS);
    assert_eq!(world.code(&by_child, &[child.name()]), "key_revoked");
    assert_eq!(world.code(&by_grandchild, &[grandchild.name()]), "key_revoked");
    for fallen in [OFFICER, child.name(), grandchild.name()] {
        let again = world.revocation(ROOTS[0], fallen, true);
        assert_eq!(world.code(&again, &ROOTS), "duplicate");
    }
}

// SPEC [M10]
#[test]
fn what_was_said_in_force_stays() {
    let (mut world, head) = opened();
    let next = key("official/31.1");
    world.take(&world.mandate(OFFICER, vec![mandated(&next, &["31.1"], None)]), &[OFFICER]);
    world.take(&world.revocation(ROOTS[0], OFFICER, false), &ROOTS);
    let found = world.ledger.head("ppwp", "31.1", "regular", ChainOwner::Official).unwrap();
    assert_eq!(found.leaf, head);
    world.take(&tally(world.revision(next.name(), "31.1", 1, head)), &[next.name()]);
}

// SPEC [S1]
#[test]
fn a_manifest_names_the_one_it_replaces() {
    let mut world = World::new();
    let good = world.successor();
    for (want, wrong) in [
        ("invalid_previous", Manifest { previous: None, ..good.clone() }),
        ("invalid_previous", Manifest { previous: Some(world.last()), ..good.clone() }),
        ("invalid_version", Manifest { version: 1, ..good.clone() }),
        ("invalid_version", Manifest { version: 3, ..good.clone() }),
        ("invalid_reason", Manifest { reason: None, ..good.clone() }),
        ("invalid_decision", Manifest { decision: None, ..good.clone() }),
        ("ok", good.clone()),
        ("invalid_previous", good),
    ] {
        assert_eq!(world.code(&boxed(wrong), &ROOTS), want);
    }
    for (want, wrong) in [
        ("invalid_reason", Manifest { reason: Some(ManifestReason::Keys), ..manifest() }),
        ("invalid_decision", Manifest { decision: Some(sha256(b"")), ..manifest() }),
    ] {
        assert_eq!(World::empty().code(&boxed(wrong), &ROOTS), want);
    }
}

/// The successor whose root keys are these, one of which must sign.
fn with_roots(world: &World, names: &[&str]) -> Body {
    let root_keys = names.iter().map(|name| vkey(&key(name))).collect();
    boxed(Manifest { root_keys, threshold: 1, ..world.successor() })
}

// SPEC [S2] [S3]
#[test]
fn root_keys_rotate() {
    let founding = boxed(manifest());
    assert_eq!(World::empty().code(&founding, &[ROOTS[0]]), "out_of_scope");
    let mut world = World::new();
    let rotation = with_roots(&world, &[ROOTS[1], "root/C"]);
    // By the old threshold, and by the root that is added; by no one else.
    assert_eq!(world.code(&rotation, &ROOTS), "out_of_scope");
    assert_eq!(world.code(&rotation, &[ROOTS[1], "root/C"]), "out_of_scope");
    let all = [ROOTS[0], ROOTS[1], "root/C"];
    assert_eq!(world.code(&rotation, &[&all[..], &[OFFICER]].concat()), "out_of_scope");
    assert_eq!(world.code(&rotation, &all), "ok");
    // The one that went speaks no more and never again; the new ones do, alone.
    let mandate =
        |world: &World, by| world.mandate(by, vec![mandated(&key("official/32"), &["32"], None)]);
    assert_eq!(world.code(&mandate(&world, ROOTS[0]), &[ROOTS[0]]), "key_revoked");
    let back = with_roots(&world, &[ROOTS[0], ROOTS[1]]);
    assert_eq!(world.code(&back, &[ROOTS[0], ROOTS[1]]), "duplicate");
    let seed = *sha256(OFFICER.as_bytes()).as_bytes();
    let officer = SigningKey::from_seed("root/D", KeyKind::Ed25519, seed).unwrap();
    let root_keys = vec![vkey(&key(ROOTS[1])), vkey(&officer)];
    let promoted = boxed(Manifest { root_keys, threshold: 1, ..world.successor() });
    let entry = promoted.sign(&[&key(ROOTS[1]), &officer]);
    assert_eq!(world.offer_signed(&entry).unwrap_err(), Refusal::Duplicate);
    assert_eq!(world.code(&mandate(&world, "root/C"), &["root/C"]), "ok");
}

// SPEC [S4]
#[test]
fn both_registers_are_at_the_server() {
    let mut empty = World::empty();
    empty.ledger = Ledger::new(ORIGIN);
    assert_eq!(empty.code(&boxed(manifest()), &ROOTS), "invalid_registers");
    let mut world = World::new();
    let mut more = units();
    more.push(unit("33", "ID", "province"));
    let registers = spell(&more, &contests());
    let next = boxed(Manifest { registers: named(&registers), ..world.successor() });
    assert_eq!(world.code(&next, &ROOTS), "invalid_registers");
    world.provide(&registers);
    assert_eq!(world.code(&next, &ROOTS), "ok");
}

// SPEC [S5]
#[test]
fn what_tallies_rest_on_stays() {
    let (mut world, _) = opened();
    let change = |world: &mut World, contests: &[Contest]| {
        let registers = spell(&units(), contests);
        world.provide(&registers);
        boxed(Manifest { registers: named(&registers), ..world.successor() })
    };
    let dpd = contest("dpd:31", &["a", "b"], "31");
    for ppwp in [
        vec![contest("ppwp", &["02", "01"], "ID"), dpd.clone()],
        vec![contest("ppwp", &["01", "02", "03"], "ID"), dpd.clone()],
        vec![dpd],
    ] {
        let body = change(&mut world, &ppwp);
        assert_eq!(world.code(&body, &ROOTS), "invalid_registers");
    }
    let rounds = |world: &World, rounds| boxed(Manifest { rounds, ..world.successor() });
    let without = rounds(&world, words(&["psu"]));
    assert_eq!(world.code(&without, &ROOTS), "invalid_rounds");
    let with_more = rounds(&world, words(&["regular", "court"]));
    assert_eq!(world.code(&with_more, &ROOTS), "ok");
    // Two rounds in use keep their order; between and around them others may stand.
    let mut both = world.clone();
    let psu = words(&["regular", "psu"]);
    both.take(&rounds(&both, psu), &ROOTS);
    let again = Tally { round: words(&["psu"])[0].clone(), ..both.opening(OFFICER, "31.1") };
    both.take(&tally(again), &[OFFICER]);
    let turned = rounds(&both, words(&["psu", "regular"]));
    assert_eq!(both.code(&turned, &ROOTS), "invalid_rounds");
    let wider = rounds(&both, words(&["pss", "regular", "psl", "psu"]));
    assert_eq!(both.code(&wider, &ROOTS), "ok");
    // No tally rests on the other contest: it may change, and its scope and that of the first.
    let new = [contest("dpd:31", &["z"], "ID"), contest("ppwp", &["01", "02"], "31")];
    let body = change(&mut world, &new);
    assert_eq!(world.code(&body, &ROOTS), "ok");
}

// SPEC [F1]
#[test]
fn nothing_follows_a_freeze() {
    let (mut world, head) = opened();
    world.take(&world.freeze(), &ROOTS);
    assert!(world.ledger.frozen());
    for (body, signers) in [
        (tally(world.revision(OFFICER, "31.1", 1, head)), &[OFFICER][..]),
        (world.freeze(), &ROOTS),
        (world.revocation(ROOTS[0], OBSERVER, false), &ROOTS),
        (boxed(world.successor()), &ROOTS),
        (world.mandate(ROOTS[0], vec![mandated(&key("official/32"), &["32"], None)]), &ROOTS),
    ] {
        assert_eq!(world.code(&body, signers), "log_frozen", "{}", body.kind());
    }
}
