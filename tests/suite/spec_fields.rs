//! Rules of SPEC.md on single fields: what an origin, a log key, a page, a name must not be.

use jejak_proofs::{
    merkle::sha256,
    note::{CosigningKey, KeyKind, compose},
    tally::{Body, Children, Doc, Entry, KeyBook, Ledger, Manifest, Media, Tally, UnitRegister},
};

use super::spec_world::{
    OBSERVER, OFFICER, ORIGIN, ROOTS, World, code, contests, key, manifest, spell, tally, units,
    vkey,
};

fn boxed(manifest: Manifest) -> Body {
    Body::Manifest(Box::new(manifest))
}

// SPEC [E3]
#[test]
fn a_body_is_printable_ascii_without_escapes() {
    let text = tally(World::new().opening(OFFICER, "31.1")).text();
    let json = text.lines().nth(1).unwrap();
    assert!(Body::from_canonical("tally", json).is_ok());
    for odd in ["pp\u{e9}p", "pp\\u0077p", "pp\\/p", "pp\u{7f}p"] {
        assert!(Body::from_canonical("tally", &json.replace("ppwp", odd)).is_err(), "{odd:?}");
    }
}

// SPEC [E14]
#[test]
fn an_origin_is_kept_for_no_other_message() {
    for log in ["jejak/tally/v1", "jejak/", "cosignature/v1"] {
        let mut world = World::empty();
        world.ledger = Ledger::new(log);
        let mut reserved = Manifest { log: log.into(), ..manifest() };
        reserved.log_keys[0].vkey = vkey(&key(log));
        assert_eq!(world.code(&boxed(reserved), &ROOTS), "invalid_log");
    }
}

// SPEC [E19] [E22]
#[test]
fn children_are_of_regions_and_pages_begin_at_1() {
    let mut world = World::new();
    let children = Some(Children { count: 1, root: sha256(b"") });
    let at_a_station = Tally { children, ..world.opening(OFFICER, "31.1") };
    assert_eq!(world.code(&tally(at_a_station), &[OFFICER]), "invalid_children");
    let in_a_box = Tally { children, ..world.opening(OFFICER, "31.K") };
    assert_eq!(world.code(&tally(in_a_box), &[OFFICER]), "invalid_children");
    let at_a_region = Tally { children, unit: code("31"), ..world.opening(OFFICER, "31") };
    assert_eq!(world.code(&tally(at_a_region), &[OFFICER]), "ok");
    let page = |page| Doc {
        bytes: 0,
        media: Media::Png,
        page,
        sha256: sha256(b"page"),
        sha256_public: None,
    };
    for (want, number) in [("invalid_docs", 0), ("ok", 1)] {
        let with_page = Tally { docs: vec![page(number)], ..world.opening(OFFICER, "31.1") };
        assert_eq!(world.code(&tally(with_page), &[OFFICER]), want);
    }
}

// SPEC [E29]
#[test]
fn a_log_key_signs_checkpoints() {
    let witness = CosigningKey::from_seed(ORIGIN, KeyKind::CosignatureV1, [9; 32]).unwrap();
    let mut wrong = manifest();
    wrong.log_keys[0].vkey = witness.verifier().to_string().into();
    assert_eq!(World::empty().code(&boxed(wrong), &ROOTS), "invalid_log_keys");
    assert_eq!(World::empty().code(&boxed(manifest()), &ROOTS), "ok");
}

// SPEC [D1]
#[test]
fn keys_that_an_entry_brings_are_judged_after_its_lines() {
    let mut world = World::new();
    let mandate = world.mandate(ROOTS[0], vec![]);
    assert_eq!(world.code(&mandate, &[ROOTS[0], "stranger/31"]), "unknown_key");
    assert_eq!(world.code(&mandate, &ROOTS), "invalid_keys");
    // But the root keys of a manifest before: its lines may be theirs.
    let nobodys = Manifest { root_keys: vec![], ..world.successor() };
    assert_eq!(world.code(&boxed(nobodys), &["stranger/31"]), "invalid_root_keys");
}

// SPEC [R3]
#[test]
fn a_name_shows_what_it_is() {
    let good = spell(&units(), &contests())[0].clone();
    let named = |name: &str| UnitRegister::parse(good.replace("Unit 32", name).as_bytes()).is_ok();
    let digits = "\u{661}\u{662}\u{663}\u{664}\u{665}";
    for right in ["Unit 32", "\u{c9}cole", digits, "12345 and 12345"] {
        assert!(named(right), "{right:?}");
    }
    let six = format!("{digits}1");
    for wrong in ["A\u{202e}B", "A\u{200b}B", "A\u{feff}B", "A\u{ad}B", "A\u{2028}B", &six] {
        assert!(!named(wrong), "{wrong:?}");
    }
}

// SPEC [M1]
#[test]
fn an_unknown_line_refuses_the_entry() {
    let mut world = World::new();
    let body = tally(world.opening(OFFICER, "31.1"));
    let entry = body.sign(&[&key(OFFICER)]);
    let checked = Entry::parse(entry.as_bytes()).unwrap().check(&KeyBook::new());
    assert_eq!(checked.unwrap_err().code(), "unknown_key");
    let entry = body.sign(&[&key(OFFICER), &key("stranger/31.1")]);
    assert_eq!(world.offer_signed(&entry).unwrap_err().code(), "unknown_key");
    let text = body.text();
    let forged = compose(&text, &[key(OFFICER).sign_line("another text\n")]);
    assert_eq!(world.offer_signed(&forged).unwrap_err().code(), "bad_signature");
    world.take(&world.revocation(ROOTS[0], OBSERVER, false), &ROOTS);
    let entry = body.sign(&[&key(OFFICER), &key(OBSERVER)]);
    assert_eq!(world.offer_signed(&entry).unwrap_err().code(), "key_revoked");
    assert_eq!(world.code(&body, &[OFFICER]), "ok");
}
