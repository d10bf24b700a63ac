//! Signed refusals: one that the entries contradict convicts, one that is true never does.
//! (`histories` signs what random honest logs refuse.)

use jejak_proofs::evidence::{
    Conviction, Evidence, EvidenceError, Lie, RefusalBody, RefusalError, SignedRefusal,
};
use jejak_proofs::merkle::{Hash, leaf_hash};
use jejak_proofs::note::SigningKey;
use jejak_proofs::tally::*;

use super::breaches::{Crooked, tree};
use super::world::*;

/// The refusal of these bytes by a log that had taken the first `size` of these entries.
fn refuse(entries: &[Vec<u8>], size: usize, bytes: &[u8], refusal: &Refusal) -> RefusalBody {
    let leaves: Vec<Hash> = entries[..size].iter().map(|entry| leaf_hash(entry)).collect();
    let head = match refusal {
        Refusal::Conflict { head } => head.map(Into::into),
        _ => None,
    };
    RefusalBody {
        code: refusal.code().parse().unwrap(),
        election: id("id-2024"),
        genesis: leaves[0],
        head,
        leaf: leaf_hash(bytes),
        log: ORIGIN.into(),
        root: tree(&leaves),
        size: size as u64,
        time: 1_707_900_000,
    }
}

fn evidence(
    log: &Crooked,
    entries: &[usize],
    refusal: SignedRefusal,
    refused: Option<&[u8]>,
) -> Evidence {
    let (proven, refused) = (log.proven(entries), refused.map(<[u8]>::to_vec));
    Evidence::FalseRefusal { proven, refusal: Box::new(refusal), refused }
}

/// Whatever is put together out of what an honest log took and refused convicts it of nothing.
pub fn assert_no_lie(taken: &[Vec<u8>], refused: &[(Vec<u8>, Refusal, usize)]) {
    let log = Crooked { entries: taken.to_vec() };
    let brings = |bytes: &Vec<u8>| {
        let entry = Entry::parse(bytes).unwrap();
        matches!(entry.body(), Body::Mandate(_) | Body::Manifest(_))
    };
    let mut givers = vec![0];
    givers.extend((1..taken.len()).filter(|index| brings(&taken[*index])));
    givers.truncate(17);
    for (bytes, refusal, size) in refused {
        let signed = || refuse(taken, *size, bytes, refusal).sign(&key(REFUSAL_KEY));
        let mut files = vec![evidence(&log, &[0], signed(), None)];
        files.push(evidence(&log, &[0], signed(), Some(bytes)));
        files.push(evidence(&log, &givers, signed(), Some(bytes)));
        files.extend((0..taken.len()).map(|index| evidence(&log, &[0, index], signed(), None)));
        for file in files {
            let verdict = log.judge(&file);
            assert!(verdict.is_err(), "{} convicts: {verdict:?}", refusal.code());
        }
    }
    // Judged at the very size of a signed head.
    if let Some((bytes, refusal, size)) = refused.last().filter(|(.., size)| *size > 0) {
        let then = Crooked { entries: taken[..*size].to_vec() };
        let signed = refuse(taken, *size, bytes, refusal).sign(&key(REFUSAL_KEY));
        assert!(then.judge(&evidence(&then, &[0], signed, None)).is_err());
    }
}

/// A refusal by this log, changed, and what is held against it.
struct Case<'a> {
    log: &'a Crooked,
    size: usize,
    bytes: Vec<u8>,
    refusal: Refusal,
}

impl Case<'_> {
    fn body(&self) -> RefusalBody {
        refuse(&self.log.entries, self.size, &self.bytes, &self.refusal)
    }

    fn judge(
        &self,
        body: RefusalBody,
        entries: &[usize],
        refused: bool,
    ) -> Result<Conviction, EvidenceError> {
        let refused = refused.then_some(&self.bytes[..]);
        self.log.judge(&evidence(self.log, entries, body.sign(&key(REFUSAL_KEY)), refused))
    }

    /// These entries, with the refused bytes or without, show this lie.
    fn lies(&self, entries: &[usize], refused: bool, lie: Lie) {
        let verdict = self.judge(self.body(), entries, refused);
        match &verdict {
            Ok(Conviction::FalseRefusal { lie: found, code, .. }) => {
                assert_eq!((*found, code.as_str()), (lie, self.refusal.code()));
            }
            other => panic!("{:?}: {other:?}", self.refusal),
        }
        let signed = self.body().sign(&key(REFUSAL_KEY));
        let refused = refused.then_some(&self.bytes[..]);
        self.log.fragile(&evidence(self.log, entries, signed, refused));
    }

    fn innocent(&self, entries: &[usize], refused: bool) {
        let verdict = self.judge(self.body(), entries, refused);
        assert_eq!(verdict, Err(EvidenceError::NoBreach), "{:?}", self.refusal);
    }
}

/// Manifest, mandate, a tally and its revision, then a state.
fn world() -> (World, Tally, [Hash; 2]) {
    let mut world = World::new();
    let first = world.tally(&key(KPPS), "ppwp", STATION);
    let leaf = world.accept(&tally(&first), &[key(KPPS)]);
    let next = world.accept(&tally(&revision(&first, leaf)), &[key(KPPS)]);
    world.seal();
    (world, first, [leaf, next])
}

#[test]
fn bytes_that_are_logged_were_not_to_be_refused() {
    let (world, ..) = world();
    let log = &Crooked::of(&world, &[]);
    for refusal in [Refusal::OutOfScope, Refusal::Duplicate, Refusal::KeyRevoked] {
        let bytes = world.entries[2].clone();
        let case = |size| Case { log, size, bytes: bytes.clone(), refusal: refusal.clone() };
        case(3).lies(&[0, 2], false, Lie::Logged);
        // Logged after it was refused, as a tally may be whose mandate came between.
        case(2).innocent(&[0, 2], false);
        case(4).innocent(&[0, 3], false);
    }
}

#[test]
fn a_head_that_was_none_and_a_tally_that_extends() {
    let (world, first, [leaf, next]) = world();
    let log = &Crooked::of(&world, &[]);
    let head = |index, leaf, seq| Refusal::Conflict { head: Some(ChainHead { index, leaf, seq }) };
    let by_kpps = |body: &Tally| signed(&tally(body), &[key(KPPS)]);
    let third = by_kpps(&Tally { seq: 2, ..revision(&first, next) });
    let case = |refusal, bytes: &[u8]| Case { log, size: 5, bytes: bytes.to_vec(), refusal };
    case(head(3, next, 1), &third).lies(&[0], true, Lie::Extends);
    // It named a head that had been replaced, another one, one that is not there yet.
    case(head(2, leaf, 0), &third).lies(&[0, 3], false, Lie::Head);
    case(head(2, next, 1), &third).lies(&[0, 2], false, Lie::Head);
    case(head(5, next, 1), &third).lies(&[0], false, Lie::Head);
    // What stands there is no tally, has another place in its chain, or is of another chain.
    let mandate = leaf_hash(&world.entries[1]);
    case(head(1, mandate, 1), &third).lies(&[0, 1], false, Lie::Head);
    case(head(3, next, 5), &third).lies(&[0, 3], false, Lie::Head);
    let round = Tally { round: "recount".parse().unwrap(), ..revision(&first, leaf) };
    case(head(3, next, 1), &by_kpps(&round)).lies(&[0, 3], true, Lie::Head);
    case(head(3, next, 1), &by_kpps(&revision(&first, leaf))).innocent(&[0, 3], true);
    let again = by_kpps(&first);
    case(Refusal::Conflict { head: None }, &again).lies(&[0], true, Lie::Extends);
    case(head(3, next, 1), &again).innocent(&[0], true);
    case(head(3, next, 1), &again).innocent(&[0, 3], false);
}

#[test]
fn keys_and_signatures_that_were_in_order() {
    let (world, first, _) = world();
    let log = &Crooked::of(&world, &[]);
    let other = Tally { unit: code(STATION_TWO), ..world.tally(&key(KPPS_TWO), "ppwp", STATION) };
    let bytes = signed(&tally(&other), &[key(KPPS_TWO), key(KPPS)]);
    let case = |refusal, size, bytes: &[u8]| Case { log, size, bytes: bytes.to_vec(), refusal };
    case(Refusal::UnknownKey, 4, &bytes).lies(&[0, 1], true, Lie::Known);
    case(Refusal::BadSignature, 4, &bytes).lies(&[0, 1], true, Lie::Valid);
    // Judged before the mandate, or by entries that do not bring all keys.
    case(Refusal::UnknownKey, 1, &bytes).innocent(&[0, 1], true);
    case(Refusal::UnknownKey, 4, &bytes).innocent(&[0, 2], true);
    // A line that fails was refused rightly.
    let false_line = key(KPPS).sign_line("another text\n");
    let forged = jejak_proofs::note::compose(&tally(&first).text(), &[false_line]).into_bytes();
    case(Refusal::BadSignature, 4, &forged).innocent(&[0, 1], true);
    let stranger = signed(&tally(&first), &[key(KPPS), key_n(OBSERVER, 8)]);
    case(Refusal::UnknownKey, 4, &stranger).innocent(&[0, 1], true);
}

#[test]
fn a_log_that_went_on_after_its_end_and_trees_it_did_not_sign() {
    let (mut world, first, _) = world();
    world.accept(&world.freeze(&key(ROOTS[0])), &[key(ROOTS[0]), key(ROOTS[1])]);
    world.seal();
    let bytes = signed(&tally(&Tally { total: Some(1), ..first }), &[key(KPPS)]);
    let log = &Crooked::of(&world, &[&bytes]);
    let case = |size| Case { log, size, bytes: bytes.clone(), refusal: Refusal::Frozen };
    // The freeze is entry 5, its state 6, and 7 should not be.
    case(6).lies(&[0, 7], false, Lie::WentOn);
    case(7).lies(&[0, 7], false, Lie::WentOn);
    case(6).innocent(&[0, 6], false);
    case(6).innocent(&[0, 5], false);
    case(8).innocent(&[0, 6], false);
    let body = RefusalBody { root: hash(1), ..case(8).body() };
    let verdict = case(8).judge(body.clone(), &[0], false);
    assert!(matches!(verdict, Ok(Conviction::FalseRefusal { lie: Lie::Root, .. })), "{verdict:?}");
    case(8).innocent(&[0], false);
    // Of another size nothing shows.
    let body = RefusalBody { size: 7, ..body };
    assert_eq!(case(8).judge(body, &[0], false), Err(EvidenceError::NoBreach));
}

#[test]
fn fields_that_were_right() {
    let (world, first, [leaf, _]) = world();
    let log = &Crooked::of(&world, &[]);
    let by_kpps = |body: &Tally| signed(&tally(body), &[key(KPPS)]);
    let good = by_kpps(&Tally { total: Some(1), ..first.clone() });
    let next = by_kpps(&revision(&first, leaf));
    let bad = by_kpps(&Tally { seq: 4, ..first.clone() });
    let elsewhere = by_kpps(&Tally {
        log: "log.example/x".into(),
        election: id("other"),
        genesis: hash(3),
        ..first
    });
    for (field, lie) in [
        (Field::Log, Lie::Place),
        (Field::Election, Lie::Place),
        (Field::Genesis, Lie::Place),
        (Field::Prev, Lie::Field),
        (Field::Reason, Lie::Field),
        (Field::Decision, Lie::Field),
        (Field::Docs, Lie::Field),
    ] {
        let case = |bytes: &[u8]| {
            let (bytes, refusal) = (bytes.to_vec(), Refusal::Invalid(field));
            Case { log, size: 4, bytes, refusal }
        };
        case(&good).lies(&[0], true, lie);
        case(&next).lies(&[0], true, lie);
        let wrong = if lie == Lie::Place { &elsewhere } else { &bad };
        case(wrong).innocent(&[0], true);
    }
    // What takes a register is nobody's to say offline.
    for field in [Field::Unit, Field::Round, Field::Votes, Field::Basis] {
        let refusal = Refusal::Invalid(field);
        Case { log, size: 4, bytes: good.clone(), refusal }.innocent(&[0], true);
    }
}

// SPEC [V9]: with all tests of this file.
#[test]
fn only_the_key_that_the_manifest_names_speaks_for_the_log() {
    let (world, ..) = world();
    let log = &Crooked::of(&world, &[]);
    let bytes = world.entries[2].clone();
    let case = Case { log, size: 3, bytes, refusal: Refusal::OutOfScope };
    let by = |body: RefusalBody, key: &SigningKey, entries: &[usize]| {
        log.judge(&evidence(log, entries, body.sign(key), None))
    };
    let refused = |error| Err(EvidenceError::Refusal(error));
    let ours = key(REFUSAL_KEY);
    assert!(by(case.body(), &ours, &[0, 2]).is_ok());
    for other in [key_n(REFUSAL_KEY, 1), key(ORIGIN), key(KPPS)] {
        assert_eq!(by(case.body(), &other, &[0, 2]), refused(RefusalError::Signature));
    }
    assert_eq!(by(case.body(), &ours, &[2, 2]), refused(RefusalError::NoKey));
    assert_eq!(by(case.body(), &ours, &[]), Err(EvidenceError::Entries));
    assert_eq!(by(case.body(), &ours, &[0, 2, 3]), Err(EvidenceError::Entries));
    let elsewhere = RefusalBody { log: "log.example/x".into(), ..case.body() };
    assert_eq!(by(elsewhere, &ours, &[0, 2]), refused(RefusalError::OtherLog));
    let elsewhere = RefusalBody { genesis: hash(4), ..case.body() };
    assert_eq!(by(elsewhere, &ours, &[0, 2]), refused(RefusalError::OtherLog));
    let elsewhere = RefusalBody { election: id("other"), ..case.body() };
    assert_eq!(by(elsewhere, &ours, &[0, 2]), refused(RefusalError::OtherLog));
    let early = RefusalBody { size: 0, ..case.body() };
    assert_eq!(by(early, &ours, &[0, 2]), refused(RefusalError::TooEarly));
    let other = evidence(log, &[0], case.body().sign(&ours), Some(&world.entries[3]));
    assert_eq!(log.judge(&other), refused(RefusalError::OtherEntry));
}

// SPEC [Z2]
#[test]
fn a_refusal_has_one_spelling() {
    let (world, ..) = world();
    let log = Crooked::of(&world, &[]);
    let bytes = world.entries[2].clone();
    let case = Case { log: &log, size: 3, bytes, refusal: Refusal::Duplicate };
    let good = case.body().sign(&key(REFUSAL_KEY)).to_string();
    let read = SignedRefusal::parse(good.as_bytes()).unwrap();
    assert_eq!((read.body(), read.to_string()), (&case.body(), good.clone()));
    assert_eq!(read.verify(&key(REFUSAL_KEY).verifier()), Ok(()));
    let line = good.lines().last().unwrap();
    for bad in [
        good.replacen('{', "{ ", 1),
        good.replace("/v1", "/v2"),
        good.replace("\"head\":null,", ""),
        good.replace(
            "\"head\":null",
            &format!("\"head\":{{\"index\":1,\"leaf\":\"{}\",\"seq\":0}}", hash(1)),
        ),
        good.replace("\"duplicate\"", "\"Dup licate\""),
        // Canonical JSON, but nothing for a terminal.
        good.replace(&format!("\"log\":\"{ORIGIN}\""), "\"log\":\"a\\u001b[2J\""),
        good.replace(&format!("\"log\":\"{ORIGIN}\""), "\"log\":\"\u{e9}\""),
        format!("{good}{line}\n"),
        good.trim_end().to_owned(),
        format!("{}{}", "x".repeat(5_000), good),
    ] {
        assert_eq!(SignedRefusal::parse(bad.as_bytes()), Err(RefusalError::Malformed), "{bad}");
    }
}

// SPEC [Z1]
#[test]
fn the_manifest_names_a_key_of_its_own() {
    let named = |vkey: Box<str>| {
        let first = Manifest { refusal_key: Some(vkey), ..founding_manifest() };
        let mut world = World::empty();
        world.say(&manifest(&first), &ROOTS.map(key)).map(|_| ())
    };
    assert_eq!(named(vkey(&key_n(REFUSAL_KEY, 5))), Ok(()));
    let refused = Err(Refusal::Invalid(Field::RefusalKey));
    let same_key = |name: &str, of: &str| {
        let public = key(of).verifier();
        let kind = jejak_proofs::note::KeyKind::Ed25519;
        let key = jejak_proofs::note::VerifierKey::new(name, kind, public.public_bytes());
        key.unwrap().to_string().into()
    };
    for vkey in [
        "none".into(),
        vkey(&key(ORIGIN)),
        vkey(&key("log.example/other/refusal")),
        same_key(REFUSAL_KEY, ORIGIN),
        same_key(REFUSAL_KEY, ROOTS[1]),
    ] {
        assert_eq!(named(vkey), refused);
    }
}
