//! One row for every refusal there is, with its exact value. `World` checks of each that the
//! ledger is unchanged.

use jejak_proofs::note::{CosigningKey, KeyKind, VerifierKey};
use jejak_proofs::tally::*;

use super::world::*;

type Offer = fn(&mut World) -> Vec<u8>;

fn by_kpps(change: fn(&mut Tally)) -> impl Fn(&mut World) -> Vec<u8> {
    move |world| {
        let mut body = world.tally(&key(KPPS), "ppwp", STATION);
        change(&mut body);
        signed(&tally(&body), &[key(KPPS)])
    }
}

/// A tally of the station's officers that differs from a good one.
fn bad_tally(change: fn(&mut Tally), world: &mut World) -> Vec<u8> {
    by_kpps(change)(world)
}

/// A manifest that replaces the one in force, and differs from a good one.
fn bad_manifest(change: fn(&mut Manifest), world: &mut World) -> Vec<u8> {
    let mut body = world.next_manifest();
    change(&mut body);
    signed(&manifest(&body), &ROOTS.map(key))
}

/// A mandate of the root that names a key not mandated before.
fn bad_mandate(change: fn(&mut MandatedKey), world: &mut World) -> Vec<u8> {
    let mut granted = grant(&key("kpps/310102.001"));
    change(&mut granted);
    signed(&world.mandate(&key(ROOTS[0]), &[granted]), &[key(ROOTS[0]), key(ROOTS[1])])
}

macro_rules! offers {
    ($make:ident: $($refusal:expr => $change:expr;)*) => {
        vec![$(($refusal, (|world| $make($change, world)) as Offer)),*]
    };
}

fn invalid(field: Field) -> Refusal {
    Refusal::Invalid(field)
}

fn tally_rows() -> Vec<(Refusal, Offer)> {
    offers! { bad_tally:
        invalid(Field::Log) => |t| t.log = "log.example/other".into();
        invalid(Field::Election) => |t| t.election = id("id-2029");
        invalid(Field::Genesis) => |t| t.genesis = hash(1);
        invalid(Field::Contest) => |t| t.contest = id("dpr:3102");
        invalid(Field::Unit) => |t| t.unit = code("310101.009");
        invalid(Field::Round) => |t| t.round = word("recount");
        invalid(Field::Basis) => |t| t.basis = word("observer");
        invalid(Field::Votes) => |t| { t.votes.remove("03"); };
        invalid(Field::Votes) => |t| { t.votes.insert(id("04"), None); };
        invalid(Field::Votes) => |t| { t.votes.remove("03"); t.votes.insert(id("04"), None); };
        invalid(Field::Docs) => |t| t.docs = vec![doc(2, 1), doc(1, 1)];
        invalid(Field::Docs) => |t| t.docs = vec![doc(1, 1), doc(1, 1)];
        invalid(Field::Docs) => |t| t.docs = vec![doc(1, 2), doc(1, 1)];
        invalid(Field::Docs) => |t| t.docs = vec![doc(0, 1)];
        invalid(Field::Docs) => |t| t.docs = (1..=DOCS_MAX as u32 + 1).map(|n| doc(n, 1)).collect();
        invalid(Field::Children) => |t| t.children = Some(Children { count: 1, root: hash(1) });
        invalid(Field::Prev) => |t| t.prev = Some(hash(1));
        invalid(Field::Prev) => |t| { *t = revision(t, hash(1)); t.prev = None; };
        invalid(Field::Reason) => |t| t.reason = Some(Reason::Clerical);
        invalid(Field::Reason) => |t| { *t = revision(t, hash(1)); t.reason = None; };
        invalid(Field::Reason) => |t| {
            *t = revision(t, hash(1));
            t.reason = Some(Reason::Withdrawn);
        };
        invalid(Field::Decision) => |t| t.decision = Some(hash(1));
        invalid(Field::Decision) => |t| { *t = revision(t, hash(1)); t.decision = None; };
        Refusal::OutOfScope => |t| t.unit = code(STATION_TWO);
        Refusal::OutOfScope => |t| t.unit = code("310101");
        Refusal::OutOfScope => |t| t.form = word("d-hasil");
        Refusal::OutOfScope => |t| t.form = word("unknown");
        Refusal::Conflict { head: None } => |t| *t = revision(t, hash(1));
        Refusal::Conflict { head: None } => |t| { *t = revision(t, hash(1)); t.seq = u32::MAX; };
    }
}

pub fn doc(page: u32, file: u8) -> Doc {
    Doc { bytes: 1000, media: Media::Jpeg, page, sha256: hash(file), sha256_public: None }
}

fn manifest_rows() -> Vec<(Refusal, Offer)> {
    offers! { bad_manifest:
        invalid(Field::Previous) => |m| m.previous = Some(hash(1));
        invalid(Field::Previous) => |m| m.previous = None;
        invalid(Field::Genesis) => |m| m.genesis = None;
        invalid(Field::Genesis) => |m| m.genesis = Some(hash(1));
        invalid(Field::Log) => |m| m.log = "log.example/other".into();
        invalid(Field::Election) => |m| m.election = id("id-2029");
        invalid(Field::Version) => |m| m.version += 1;
        invalid(Field::Version) => |m| m.version -= 1;
        invalid(Field::Reason) => |m| m.reason = None;
        invalid(Field::Decision) => |m| m.decision = None;
        invalid(Field::Threshold) => |m| m.threshold = 0;
        invalid(Field::Threshold) => |m| m.threshold = 4;
        invalid(Field::Threshold) => |m| m.threshold = u32::MAX;
        invalid(Field::Levels) => |m| m.levels = vec![];
        invalid(Field::Levels) => |m| m.levels.push(word("tps"));
        invalid(Field::StationKinds) => |m| m.station_kinds = vec![];
        invalid(Field::StationKinds) => |m| m.station_kinds.push(word("tps"));
        invalid(Field::StationKinds) => |m| m.station_kinds.push(word("post"));
        invalid(Field::ExemptKinds) => |m| m.exempt_kinds.push(word("ksk"));
        invalid(Field::ExemptKinds) => |m| m.exempt_kinds.push(word("district"));
        invalid(Field::Rounds) => |m| m.rounds = vec![];
        invalid(Field::Rounds) => |m| m.rounds.push(word("psu"));
        invalid(Field::Bases) => |m| m.bases = vec![];
        invalid(Field::Bases) => |m| m.bases.push(word("form_signed"));
        invalid(Field::Bases) => |m| {
            m.bases = (0..=LIST_MAX).map(|n| word(&format!("b{n}"))).collect();
        };
        invalid(Field::Roles) => |m| m.roles.clear();
        invalid(Field::Roles) => |m| { let twice = m.roles[0].clone(); m.roles.push(twice); };
        invalid(Field::Roles) => |m| m.roles.push(Role { id: id("root"), ..m.roles[2].clone() });
        invalid(Field::Roles) => |m| m.roles[0].forms = words(&["c-hasil", "c-hasil"]);
        invalid(Field::Roles) => |m| m.roles[0].may_open.push(word("post"));
        invalid(Field::Roles) => |m| m.roles[0].may_open = words(&["tps", "tps"]);
        invalid(Field::Roles) => |m| m.roles[0].may_revise.push(word("post"));
        invalid(Field::Roles) => |m| m.roles[0].may_grant.push(id("unknown"));
        invalid(Field::Roles) => |m| m.roles[0].may_grant.push(id("root"));
        invalid(Field::Roles) => |m| m.roles[0].may_grant.push(id("ppk"));
        invalid(Field::LogKeys) => |m| m.log_keys.clear();
        invalid(Field::LogKeys) => |m| m.log_keys[0].vkey = vkey(&key("log.example/other"));
        invalid(Field::LogKeys) => |m| m.log_keys[0].vkey = "no key".into();
        invalid(Field::LogKeys) => |m| m.log_keys[0].vkey = cosigner().into();
        invalid(Field::LogKeys) => |m| m.log_keys = vec![m.log_keys[0].clone(); LIST_MAX + 1];
        invalid(Field::LogKeys) => |m| { m.log_keys[0].from = 5; m.log_keys[0].until = Some(5); };
        invalid(Field::RefusalKey) => |m| m.refusal_key = Some("no key".into());
        invalid(Field::RefusalKey) => |m| m.refusal_key = Some(vkey(&key(ORIGIN)));
        invalid(Field::RootKeys) => |m| m.root_keys.clear();
        invalid(Field::RootKeys) => |m| m.root_keys.swap(0, 1);
        invalid(Field::RootKeys) => |m| m.root_keys[1] = m.root_keys[0].clone();
        invalid(Field::RootKeys) => |m| m.root_keys[2] = vkey(&key("kpu/ID"));
        invalid(Field::RootKeys) => |m| m.root_keys[2] = vkey(&key("root/a-lower-case-unit"));
        invalid(Field::RootKeys) => |m| m.root_keys[2] = cosigner().into();
        invalid(Field::RootKeys) => |m| m.root_keys[2] = weak("root/C").into();
        invalid(Field::RootKeys) => |m| m.root_keys.push(same_key_as_root_a("root/D").into());
        invalid(Field::RootKeys) => |m| {
            m.root_keys = (10..27).map(|n| vkey(&key(&format!("root/{n}")))).collect();
        };
        invalid(Field::Registers) => |m| m.registers.units.sha256 = hash(1);
        invalid(Field::Registers) => |m| m.registers.contests.sha256 = hash(1);
        invalid(Field::Registers) => |m| m.registers.units.bytes += 1;
        invalid(Field::Registers) => |m| m.registers.contests.bytes += 1;
    }
}

/// A key of a witness, under the name of the log.
fn cosigner() -> String {
    let key = CosigningKey::from_seed(ORIGIN, KeyKind::CosignatureV1, [5; 32]).unwrap();
    key.verifier().to_string()
}

/// The vkey of the point of order two, right but for its weakness.
fn weak(name: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use sha2::Digest as _;
    let mut material = [0; 33];
    material[0] = 1;
    material[1..].copy_from_slice(&[0xff; 32]);
    (material[1], material[32]) = (0xec, 0x7f);
    let digest = sha2::Sha256::digest([name.as_bytes(), b"\n", &material].concat());
    format!("{name}+{}+{}", hex::encode(&digest[..4]), STANDARD.encode(material))
}

/// The first root's public key under another name.
pub fn same_key_as_root_a(name: &str) -> String {
    renamed(&key(ROOTS[0]), name)
}

pub fn renamed(key: &jejak_proofs::note::SigningKey, name: &str) -> String {
    let public = key.verifier();
    let renamed = VerifierKey::new(name, KeyKind::Ed25519, public.public_bytes());
    renamed.unwrap().to_string()
}

fn mandate_rows() -> Vec<(Refusal, Offer)> {
    let mut rows = offers! { bad_mandate:
        invalid(Field::Role) => |k| {
            k.role = id("judge");
            k.vkey = vkey(&key("judge/310102.001"));
        };
        invalid(Field::Role) => |k| {
            k.role = id("root");
            k.vkey = vkey(&key("root/310102.001"));
        };
        invalid(Field::Name) => |k| k.role = id("ppk");
        invalid(Field::Name) => |k| k.units = codes(&["310102.002"]);
        invalid(Field::Name) => |k| k.vkey = vkey(&key("kpps"));
        invalid(Field::Units) => |k| k.units = vec![];
        invalid(Field::Units) => |k| k.units = codes(&["310102.001", "310102.001"]);
        invalid(Field::Units) => |k| k.units = codes(&["310102.001", "310101.001"]);
        invalid(Field::Units) => |k| {
            k.units = (0..=SCOPE_MAX).map(|n| code(&format!("{n:03}"))).collect();
        };
        invalid(Field::Contests) => |k| k.contests = Some(vec![]);
        invalid(Field::Contests) => |k| k.contests = Some(ids(&["ppwp", "dpd"]));
        invalid(Field::Contests) => |k| k.contests = Some(ids(&["dpd", "dpd"]));
        invalid(Field::Contests) => |k| {
            k.contests = Some((0..=SCOPE_MAX).map(|n| id(&format!("{n:03}"))).collect());
        };
        invalid(Field::Contest) => |k| k.contests = Some(ids(&["dpd", "dpr:3102"]));
        invalid(Field::Unit) => |k| k.units.push(code("310102.009"));
        invalid(Field::Key) => |k| k.vkey = "kpps/310102.001+00000000+AAAA".into();
        invalid(Field::Key) => |k| k.vkey = format!("{} ", k.vkey).into();
        invalid(Field::Key) => |k| k.vkey = weak("kpps/310102.001").into();
        invalid(Field::Key) => |k| k.vkey = cosigner().into();
        Refusal::Duplicate => |k| *k = grant(&key(KPPS));
        Refusal::Duplicate => |k| k.vkey = renamed(&key(KPPS), "kpps/310102.001").into();
        Refusal::Duplicate => |k| k.vkey = same_key_as_root_a("kpps/310102.001").into();
    };
    rows.push((invalid(Field::Keys), |world| {
        signed(&world.mandate(&key(ROOTS[0]), &[]), &[key(ROOTS[0]), key(ROOTS[1])])
    }));
    rows.push((invalid(Field::Keys), |world| {
        let many = vec![grant(&key("kpps/310102.001")); MANDATE_KEYS_MAX + 1];
        signed(&world.mandate(&key(ROOTS[0]), &many), &[key(ROOTS[0]), key(ROOTS[1])])
    }));
    rows.push((Refusal::Duplicate, |world| {
        let twice = vec![grant(&key("kpps/310102.001")); 2];
        signed(&world.mandate(&key(ROOTS[0]), &twice), &[key(ROOTS[0]), key(ROOTS[1])])
    }));
    rows.push((Refusal::Duplicate, |world| {
        let (first, second) = (key("kpps/310102.001"), grant(&key("kpps/310102.002")));
        let second = MandatedKey { vkey: renamed(&first, "kpps/310102.002").into(), ..second };
        let keys = [grant(&first), second];
        signed(&world.mandate(&key(ROOTS[0]), &keys), &[key(ROOTS[0]), key(ROOTS[1])])
    }));
    rows
}

fn other_rows() -> Vec<(Refusal, Offer)> {
    vec![
        (Refusal::TooLarge, |_| vec![b'x'; 65_536]),
        (Refusal::BadSignature, |world| {
            let body = world.tally(&key(KPPS), "ppwp", STATION);
            let other = Tally { invalid: Some(3), ..body.clone() };
            let note = String::from_utf8(signed(&tally(&body), &[key(KPPS)])).unwrap();
            note.replace(&tally(&body).text(), &tally(&other).text()).into_bytes()
        }),
        (Refusal::UnknownKey, |world| {
            let stranger = key_n(KPPS, 1);
            signed(&tally(&world.tally(&stranger, "ppwp", STATION)), &[stranger])
        }),
        (invalid(Field::Key), |world| {
            let stranger = key_n(KPPS, 1);
            let body = world.revocation(&key(ROOTS[0]), &stranger, false);
            signed(&body, &[key(ROOTS[0]), key(ROOTS[1])])
        }),
        (invalid(Field::Key), |world| {
            let body = world.revocation(&key(ROOTS[0]), &key(ROOTS[1]), false);
            signed(&body, &[key(ROOTS[0]), key(ROOTS[1])])
        }),
        (Refusal::KeyRevoked, |world| {
            let body = world.revocation(&key(KPPS), &key(KPPS), false);
            world.accept(&body, &[key(KPPS)]);
            signed(&tally(&world.tally(&key(KPPS), "ppwp", STATION)), &[key(KPPS)])
        }),
        (Refusal::Frozen, |world| {
            world.accept(&world.freeze(&key(ROOTS[0])), &[key(ROOTS[0]), key(ROOTS[1])]);
            signed(&tally(&world.tally(&key(KPPS), "ppwp", STATION)), &[key(KPPS)])
        }),
    ]
}

fn attestation_rows() -> Vec<(Refusal, Offer)> {
    vec![
        (invalid(Field::Leaf), |world| {
            let body = world.attestation(&key(OBSERVER), "ppwp", STATION, hash(1));
            signed(&body, &[key(OBSERVER)])
        }),
        (invalid(Field::Leaf), |world| {
            let by = key(KPPS_TWO);
            let elsewhere = world.tally(&by, "ppwp", STATION_TWO);
            let leaf = world.accept(&tally(&elsewhere), &[by]);
            let body = world.attestation(&key(OBSERVER), "ppwp", STATION, leaf);
            signed(&body, &[key(OBSERVER)])
        }),
        (Refusal::OutOfScope, |world| {
            let by = key(KPPS);
            let leaf = world.accept(&tally(&world.tally(&by, "ppwp", STATION)), &[by]);
            // An official role speaks by tallies.
            signed(&world.attestation(&key(PPK), "ppwp", STATION, leaf), &[key(PPK)])
        }),
        (Refusal::OutOfScope, |world| {
            let by = key(KPPS);
            let leaf = world.accept(&tally(&world.tally(&by, "dpd", STATION)), &[by]);
            // The party witness speaks for `ppwp` only.
            signed(&world.attestation(&key(SAKSI), "dpd", STATION, leaf), &[key(SAKSI)])
        }),
        (Refusal::Duplicate, |world| {
            let by = key(KPPS);
            let leaf = world.accept(&tally(&world.tally(&by, "ppwp", STATION)), &[by]);
            let body = world.attestation(&key(OBSERVER), "ppwp", STATION, leaf);
            world.accept(&body, &[key(OBSERVER)]);
            signed(&body, &[key(OBSERVER), key(OBSERVER_TWO)])
        }),
        (Refusal::State, |_| {
            let (contests, manifest, recap) = (3, hash(1), hash(2));
            Body::State(State { contests, manifest, recap, size: 2 }).text().into_bytes()
        }),
    ]
}

fn rows() -> Vec<(Refusal, Offer)> {
    [tally_rows(), attestation_rows(), manifest_rows(), mandate_rows(), other_rows()].concat()
}

#[test]
fn every_row_is_refused_with_its_exact_code_and_changes_nothing() {
    let world = World::new();
    for (place, (refusal, offer)) in rows().into_iter().enumerate() {
        let mut world = world.clone();
        let bytes = offer(&mut world);
        let got = world.submit(&bytes).map(|_| String::from_utf8(bytes));
        assert_eq!(got.unwrap_err(), refusal, "row {place}");
    }
}

#[test]
fn every_row_differs_from_what_is_taken() {
    let mut world = World::new();
    world.accept(&tally(&world.tally(&key(KPPS), "ppwp", STATION)), &[key(KPPS)]);
    let mandate = world.mandate(&key(ROOTS[0]), &[grant(&key("kpps/310102.001"))]);
    world.accept(&mandate, &[key(ROOTS[0]), key(ROOTS[1])]);
    world.accept(&manifest(&world.next_manifest()), &ROOTS.map(key));
    let most = (1..=DOCS_MAX as u32).map(|page| doc(page, 1)).collect();
    let body = Tally { docs: most, ..world.tally(&key(KPPS), "dpd", STATION) };
    world.accept(&tally(&body), &[key(KPPS)]);
    let recap = Tally {
        children: Some(Children { count: 5, root: hash(1) }),
        docs: vec![doc(1, 1), doc(1, 2), doc(2, 1)],
        ..world.tally(&key(PPK), "ppwp", "310101")
    };
    world.accept(&tally(&recap), &[key(PPK)]);
}

#[test]
fn every_field_has_a_row() {
    let rows = rows();
    for field in Field::ALL {
        let found = rows.iter().any(|(refusal, _)| *refusal == Refusal::Invalid(*field));
        assert!(found, "no row is refused with {}", field.code());
        assert_eq!(field.code(), format!("invalid_{}", field.name()));
        assert_eq!(Refusal::Invalid(*field).code(), field.code());
        assert!(Refusal::Invalid(*field).to_string().starts_with(field.name()));
    }
}

#[test]
fn codes_are_those_of_the_specification() {
    let codes = [
        (Refusal::Malformed("x"), "malformed"),
        (Refusal::TooLarge, "too_large"),
        (Refusal::BadSignature, "bad_signature"),
        (Refusal::UnknownKey, "unknown_key"),
        (Refusal::KeyRevoked, "key_revoked"),
        (Refusal::OutOfScope, "out_of_scope"),
        (Refusal::Conflict { head: None }, "conflict"),
        (Refusal::Duplicate, "duplicate"),
        (Refusal::Frozen, "log_frozen"),
        (Refusal::State, "out_of_scope"),
        (Refusal::Invalid(Field::StationKinds), "invalid_station_kinds"),
    ];
    for (refusal, code) in codes {
        assert_eq!(refusal.code(), code);
    }
    let names: std::collections::BTreeSet<_> = Field::ALL.iter().map(|f| f.name()).collect();
    assert_eq!(names.len(), Field::ALL.len(), "a name stands for two fields");
}

/// 65,535 bytes are read; here a name that no key has fills them.
#[test]
fn an_entry_of_the_largest_size_is_judged_by_its_contents() {
    let mut world = World::new();
    let mut body = world.tally(&key(KPPS), "ppwp", STATION);
    body.log = "x".repeat(60_000).into();
    let missing = 65_535 - signed(&tally(&body), &[key(KPPS)]).len();
    body.log = "x".repeat(60_000 + missing).into();
    let bytes = signed(&tally(&body), &[key(KPPS)]);
    assert_eq!(bytes.len(), 65_535);
    assert_eq!(world.submit(&bytes).unwrap_err(), invalid(Field::Log));
    body.log = "x".repeat(60_001 + missing).into();
    let bytes = signed(&tally(&body), &[key(KPPS)]);
    assert_eq!(world.submit(&bytes).unwrap_err(), Refusal::TooLarge);
}

/// Before entry 0 there is nothing to speak about, and entry 0 refers to nothing.
#[test]
fn the_first_entry_is_a_manifest_without_a_past() {
    type Change = fn(&mut Manifest);
    let table: [(Field, Change); 8] = [
        (Field::Genesis, |m| m.genesis = Some(hash(1))),
        (Field::Previous, |m| m.previous = Some(hash(1))),
        (Field::Version, |m| m.version = 0),
        (Field::Version, |m| m.version = 2),
        (Field::Reason, |m| m.reason = Some(ManifestReason::Court)),
        (Field::Decision, |m| m.decision = Some(hash(1))),
        (Field::Log, |m| m.log = "log.example/other".into()),
        (Field::Registers, |m| m.registers.units.bytes = 0),
    ];
    for (field, change) in table {
        let mut body = founding_manifest();
        change(&mut body);
        let refusal = World::empty().refuse(&manifest(&body), &ROOTS.map(key));
        assert_eq!(refusal, invalid(field));
    }
    let mut world = World::empty();
    // Keys of a manifest that was never taken are unknown; taken for good, the place is wrong.
    let mandate = world.mandate(&key(ROOTS[0]), &[grant(&key(KPPS))]);
    assert_eq!(world.refuse(&mandate, &ROOTS.map(key)), Refusal::UnknownKey);
    for body in [mandate, world.freeze(&key(ROOTS[0]))] {
        let entry = Entry::parse(&signed(&body, &ROOTS.map(key))).unwrap();
        let refusal = world.ledger.apply(&entry.assume_checked().unwrap()).unwrap_err();
        assert_eq!(refusal, invalid(Field::Genesis));
    }
    world.accept(&manifest(&founding_manifest()), &ROOTS.map(key));
    // The same again is no second beginning.
    let again = world.refuse(&manifest(&founding_manifest()), &ROOTS.map(key));
    assert_eq!(again, invalid(Field::Genesis));
}

/// A log whose entry 0 is no manifest has no election, and gets none later.
#[test]
fn a_manifest_after_a_skipped_entry_founds_nothing() {
    let mut world = World::empty();
    world.ledger.skip();
    let bytes = signed(&manifest(&founding_manifest()), &ROOTS.map(key));
    let checked = Entry::parse(&bytes).unwrap().check(world.ledger.keys()).unwrap();
    assert_eq!(world.ledger.apply(&checked).unwrap_err(), invalid(Field::Genesis));
    assert_eq!((world.ledger.size(), world.ledger.genesis()), (1, None));
}

/// The first line keeps all messages of a key apart: an origin must not look like ours.
#[test]
fn an_origin_is_not_the_first_line_of_another_message() {
    for origin in ["jejak/tally/v1", "jejak/", "cosignature/v1"] {
        let mut world = World::empty();
        let mut ledger = Ledger::new(origin);
        ledger.provide_units(unit_register(&units()));
        ledger.provide_contests(contest_register(&contests()));
        world.ledger = ledger;
        let mut body = founding_manifest();
        body.log = origin.into();
        body.log_keys[0].vkey = vkey(&key(origin));
        assert_eq!(world.refuse(&manifest(&body), &ROOTS.map(key)), invalid(Field::Log));
    }
}
