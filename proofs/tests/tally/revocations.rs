//! Revocations: who may revoke whom, what falls with a key, and that nothing returns.

use jejak_proofs::note::SigningKey;
use jejak_proofs::tally::*;

use super::world::*;

const MIDDLE: &str = "kpu/31";
const CHILD: &str = "ppk/310102";
const GRANDCHILD: &str = "kpps/310102.001";

/// kpu/ID granted kpu/31, that granted ppk/310102, that granted kpps/310102.001.
fn delegated() -> World {
    let mut world = World::new();
    for (granter, granted) in [(KPU, MIDDLE), (MIDDLE, CHILD), (CHILD, GRANDCHILD)] {
        let mandate = world.mandate(&key(granter), &[grant(&key(granted))]);
        world.accept(&mandate, &[key(granter)]);
    }
    world
}

fn two_roots() -> Vec<SigningKey> {
    vec![key(ROOTS[0]), key(ROOTS[1])]
}

/// Whether a tally by this key is still taken, at the station of the grandchild or the unit of its
/// own; `key_revoked` otherwise.
fn speaks(world: &World, name: &str) -> bool {
    let mut world = world.clone();
    let unit = name.split('/').nth(1).unwrap();
    let body = world.tally(&key(name), "dpd", unit);
    let result = world.say(&tally(&body), &[key(name)]);
    let found = world.ledger.keys().find(&key_ref(&key(name))).unwrap().clone();
    match result {
        Ok(_) => assert!(world.ledger.in_force(&found)),
        Err(refusal) => {
            assert_eq!(refusal, Refusal::KeyRevoked);
            assert!(!world.ledger.in_force(&found));
        }
    }
    world.ledger.in_force(&found)
}

fn who_speaks(world: &World) -> Vec<&'static str> {
    [KPU, MIDDLE, CHILD, GRANDCHILD].into_iter().filter(|name| speaks(world, name)).collect()
}

#[test]
fn a_key_is_revoked_by_itself_by_its_granters_and_by_the_root() {
    let world = delegated();
    let table: [(&str, &[&str]); 5] = [
        (CHILD, &[CHILD]),
        (MIDDLE, &[MIDDLE]),
        (KPU, &[KPU]),
        (MIDDLE, &[MIDDLE, CHILD]),
        (ROOTS[0], &[ROOTS[0], ROOTS[1]]),
    ];
    for (author, signers) in table {
        let mut world = world.clone();
        let body = world.revocation(&key(author), &key(CHILD), false);
        world.accept(&body, &signers.iter().map(|name| key(name)).collect::<Vec<_>>());
        assert_eq!(who_speaks(&world), [KPU, MIDDLE, GRANDCHILD], "{author}");
    }
    let refused: [(&str, &[&str]); 8] = [
        (GRANDCHILD, &[GRANDCHILD]),
        (PPK, &[PPK]),
        (PPK_ELSEWHERE, &[PPK_ELSEWHERE]),
        (OBSERVER, &[OBSERVER]),
        (ROOTS[0], &[ROOTS[0]]),
        (ROOTS[0], &[ROOTS[0], KPU]),
        (MIDDLE, &[MIDDLE, GRANDCHILD]),
        (MIDDLE, &[MIDDLE, ROOTS[0]]),
    ];
    for (author, signers) in refused {
        let mut world = world.clone();
        let body = world.revocation(&key(author), &key(CHILD), true);
        let signers: Vec<_> = signers.iter().map(|name| key(name)).collect();
        assert_eq!(world.refuse(&body, &signers), Refusal::OutOfScope, "{author}");
    }
}

#[test]
fn a_subtree_falls_with_its_key_and_only_then() {
    let mut world = delegated();
    let alone = world.revocation(&key(KPU), &key(MIDDLE), false);
    world.accept(&alone, &[key(KPU)]);
    assert_eq!(who_speaks(&world), [KPU, CHILD, GRANDCHILD]);
    // What a fallen key granted stays; itself it grants and revokes no more.
    let mandate = world.mandate(&key(MIDDLE), &[grant(&key_n(CHILD, 1))]);
    assert_eq!(world.refuse(&mandate, &[key(MIDDLE)]), Refusal::KeyRevoked);
    let revocation = world.revocation(&key(MIDDLE), &key(CHILD), false);
    assert_eq!(world.refuse(&revocation, &[key(MIDDLE)]), Refusal::KeyRevoked);
    assert_eq!(world.refuse(&alone, &[key(KPU)]), Refusal::Duplicate);
    // The same key with its subtree says something new, once.
    let whole = world.revocation(&key(ROOTS[0]), &key(MIDDLE), true);
    world.accept(&whole, &two_roots());
    assert_eq!(who_speaks(&world), [KPU]);
    assert_eq!(world.refuse(&whole, &two_roots()), Refusal::Duplicate);
    assert_eq!(world.refuse(&alone, &[key(KPU)]), Refusal::Duplicate);
    // What fell with it has fallen.
    for (name, subtree) in [(CHILD, false), (GRANDCHILD, true)] {
        let again = world.revocation(&key(ROOTS[0]), &key(name), subtree);
        assert_eq!(world.refuse(&again, &two_roots()), Refusal::Duplicate, "{name}");
    }
}

#[test]
fn one_may_give_up_oneself_with_all_that_one_granted() {
    let mut world = delegated();
    let body = world.revocation(&key(MIDDLE), &key(MIDDLE), true);
    world.accept(&body, &[key(MIDDLE)]);
    assert_eq!(who_speaks(&world), [KPU]);
    let body = world.revocation(&key(KPU), &key(KPU), false);
    world.accept(&body, &[key(KPU)]);
    assert!(who_speaks(&world).is_empty());
}

/// A key under the name of a sibling does not fall with the sibling.
#[test]
fn a_revocation_is_of_one_key_and_not_of_a_name() {
    let mut world = delegated();
    let twin = key_n(CHILD, 1);
    let mandate = world.mandate(&key(MIDDLE), &[grant(&twin)]);
    world.accept(&mandate, &[key(MIDDLE)]);
    let body = world.revocation(&key(MIDDLE), &twin, true);
    world.accept(&body, &[key(MIDDLE)]);
    assert_eq!(who_speaks(&world), [KPU, MIDDLE, CHILD, GRANDCHILD]);
    let tally_of_twin = tally(&world.tally(&twin, "dpd", "310102"));
    assert_eq!(world.refuse(&tally_of_twin, &[twin]), Refusal::KeyRevoked);
}

#[test]
fn a_revoked_key_never_returns() {
    let mut world = delegated();
    let body = world.revocation(&key(MIDDLE), &key(CHILD), false);
    world.accept(&body, &[key(MIDDLE)]);
    let renamed = super::refusals::renamed(&key(CHILD), "ppk/310201");
    let moved = MandatedKey { vkey: renamed.into(), ..grant(&key("ppk/310201")) };
    let other_scope = MandatedKey { contests: Some(ids(&["ppwp"])), ..grant(&key(CHILD)) };
    for granted in [grant(&key(CHILD)), moved, other_scope] {
        let mandate = world.mandate(&key(MIDDLE), &[granted]);
        assert_eq!(world.refuse(&mandate, &[key(MIDDLE)]), Refusal::Duplicate);
    }
    // Not as a root key either.
    let as_root = super::refusals::renamed(&key(CHILD), "root/D");
    let mut next = world.next_manifest();
    next.root_keys.push(as_root.into());
    assert_eq!(world.refuse(&manifest(&next), &ROOTS.map(key)), Refusal::Duplicate);
}

/// What a key said while it was in force stays said, and is revised by others.
#[test]
fn entries_of_a_revoked_key_stay_heads() {
    let mut world = World::new();
    let first = world.tally(&key(KPPS), "ppwp", STATION);
    let leaf = world.accept(&tally(&first), &[key(KPPS)]);
    let body = world.revocation(&key(PPK), &key(KPPS), false);
    assert_eq!(world.refuse(&body, &[key(PPK)]), Refusal::OutOfScope, "the root granted both");
    let body = world.revocation(&key(ROOTS[0]), &key(KPPS), false);
    world.accept(&body, &two_roots());
    assert_eq!(world.head("ppwp", STATION).map(|head| head.leaf), Some(leaf));
    let revised = revision(&first, leaf);
    assert_eq!(world.refuse(&tally(&revised), &[key(KPPS)]), Refusal::KeyRevoked);
    // Nor may the key stand among the co-signers.
    let by_district = Tally { by: key_ref(&key(PPK)), ..revised };
    let with_fallen = world.refuse(&tally(&by_district), &[key(PPK), key(KPPS)]);
    assert_eq!(with_fallen, Refusal::KeyRevoked);
    world.accept(&tally(&by_district), &[key(PPK)]);
}
