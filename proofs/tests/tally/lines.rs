//! Signature lines: who stands where, and what every one of them must be.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jejak_proofs::merkle::TreeHead;
use jejak_proofs::note::{Checkpoint, CosigningKey, KeyKind, SigningKey, compose};
use jejak_proofs::tally::*;

use super::world::*;

/// A note with these lines in this order, whatever the rules say.
fn note(text: &str, keys: &[&SigningKey]) -> Vec<u8> {
    let lines: Vec<_> = keys.iter().map(|key| key.sign_line(text)).collect();
    compose(text, &lines).into_bytes()
}

fn assert_malformed(bytes: &[u8]) {
    let refusal = Entry::parse(bytes).map(|entry| entry.text().to_string()).unwrap_err();
    assert_eq!(refusal.code(), "malformed", "{}", String::from_utf8_lossy(bytes));
}

fn station_tally(world: &World) -> Body {
    tally(&world.tally(&key(KPPS), "ppwp", STATION))
}

#[test]
fn the_author_comes_first_and_the_others_ascend() {
    let mut world = World::new();
    let text = station_tally(&world).text();
    // kpps < ppk < saksi
    let (kpps, ppk, saksi) = (key(KPPS), key(PPK), key(SAKSI));
    assert_malformed(&note(&text, &[&ppk, &kpps]));
    assert_malformed(&note(&text, &[&ppk]));
    assert_malformed(&note(&text, &[&kpps, &saksi, &ppk]));
    assert_malformed(&note(&text, &[&kpps, &kpps]));
    assert_malformed(&note(&text, &[&kpps, &ppk, &ppk]));
    assert_malformed(&note(&text, &[&kpps, &ppk, &kpps]));
    let good = note(&text, &[&kpps, &ppk, &saksi]);
    let entry = Entry::parse(&good).unwrap();
    let names: Vec<&str> = entry.signers().map(KeyRef::name).collect();
    assert_eq!(names, [KPPS, PPK, SAKSI]);
    assert_eq!(entry.body().sign(&[&saksi, &ppk, &kpps]).into_bytes(), good);
    world.submit(&good).unwrap();
}

/// Two keys of one name stand by their ids; an author may stand after co-signers in that order.
#[test]
fn co_signers_of_one_name_ascend_by_key_id() {
    let mut world = World::new();
    let mut twins = [key_n(SAKSI, 1), key_n(SAKSI, 2)];
    twins.sort_by_key(|key| key.verifier().id());
    let mandate = world.mandate(&key(ROOTS[0]), &[grant(&twins[0]), grant(&twins[1])]);
    world.accept(&mandate, &[key(ROOTS[0]), key(ROOTS[1])]);
    let author = key(PPK);
    let revised = world.tally(&key(KPPS), "ppwp", STATION);
    let leaf = world.accept(&tally(&revised), &[key(KPPS)]);
    let body = Tally { by: key_ref(&author), ..revision(&revised, leaf) };
    let text = tally(&body).text();
    assert_malformed(&note(&text, &[&author, &twins[1], &twins[0]]));
    assert_malformed(&note(&text, &[&author, &twins[0], &twins[1], &key(KPPS)]));
    world.submit(&note(&text, &[&author, &key(KPPS), &twins[0], &twins[1]])).unwrap();
}

#[test]
fn keys_sign_one_after_the_other_in_any_order() {
    let world = World::new();
    let (kpps, ppk, saksi) = (key(KPPS), key(PPK), key(SAKSI));
    let body = station_tally(&world);
    let whole = note(&body.text(), &[&kpps, &ppk, &saksi]);
    let one = Entry::parse(body.sign(&[&kpps]).as_bytes()).unwrap();
    for (second, third) in [(&saksi, &ppk), (&ppk, &saksi)] {
        let two = Entry::parse(one.countersign(&[second]).unwrap().as_bytes()).unwrap();
        assert_eq!(two.countersign(&[third]).unwrap().into_bytes(), whole);
    }
    assert_eq!(one.countersign(&[&saksi, &ppk]).unwrap().into_bytes(), whole);
    // Who has signed changes nothing; who signs twice at once, or is misused, is refused.
    let whole = Entry::parse(&whole).unwrap();
    assert_eq!(whole.countersign(&[&ppk, &kpps]).unwrap().as_bytes(), whole.bytes());
    let text = body.text();
    let lines = [kpps.sign_line(&text), relabel(&saksi.sign_line(&text), &ppk)];
    let misused = Entry::parse(compose(&text, &lines).as_bytes()).unwrap();
    assert_malformed(misused.countersign(&[&ppk]).unwrap().as_bytes());
}

#[test]
fn manifests_have_no_author_and_their_lines_ascend() {
    let text = manifest(&founding_manifest()).text();
    let [a, b, c] = ROOTS.map(key);
    for lines in [[&b, &a, &c], [&a, &c, &b], [&a, &b, &b], [&a, &a, &b]] {
        assert_malformed(&note(&text, &lines));
    }
    World::empty().submit(&note(&text, &[&a, &b, &c])).unwrap();
}

#[test]
fn sixteen_lines_are_read_and_no_more() {
    let mut world = World::new();
    let granted: Vec<_> = (0..16).map(|n| key_n(SAKSI, n + 1)).collect();
    let mandate = world.mandate(&key(ROOTS[0]), &granted.iter().map(grant).collect::<Vec<_>>());
    world.accept(&mandate, &[key(ROOTS[0]), key(ROOTS[1])]);
    let body = station_tally(&world);
    let with = |n: usize| {
        let keys: Vec<_> = [key(KPPS)].into_iter().chain(granted[..n].iter().cloned()).collect();
        signed(&body, &keys)
    };
    assert_malformed(&with(16));
    assert_eq!(SIGNATURES_MAX, 16);
    world.submit(&with(15)).unwrap();
}

#[test]
fn every_line_must_be_of_a_known_key_and_verify() {
    let mut world = World::new();
    let text = station_tally(&world).text();
    let (kpps, ppk, stranger) = (key(KPPS), key(PPK), key_n(SAKSI, 9));
    let refused = |world: &mut World, bytes: &[u8]| world.submit(bytes).unwrap_err();
    assert_eq!(refused(&mut world, &note(&text, &[&kpps, &stranger])), Refusal::UnknownKey);
    // A line of the author's and of the co-signer's, each over another text.
    let other = station_tally(&world).text().replace("\"invalid\":2", "\"invalid\":3");
    let (of_kpps, of_ppk) = (kpps.sign_line(&text), ppk.sign_line(&text));
    let bad_author = compose(&text, &[kpps.sign_line(&other), of_ppk]);
    assert_eq!(refused(&mut world, bad_author.as_bytes()), Refusal::BadSignature);
    let bad_co_signer = compose(&text, &[of_kpps, ppk.sign_line(&other)]);
    assert_eq!(refused(&mut world, bad_co_signer.as_bytes()), Refusal::BadSignature);
    // The signature of one key under the name and id of another.
    let swapped = relabel(&ppk.sign_line(&text), &kpps);
    assert_eq!(refused(&mut world, compose(&text, &[swapped]).as_bytes()), Refusal::BadSignature);
    world.submit(&note(&text, &[&kpps, &ppk])).unwrap();
}

/// The signature of `line` under the name and key id of `key`.
fn relabel(line: &str, key: &SigningKey) -> String {
    let mut bytes = signature_bytes(line);
    bytes[..4].copy_from_slice(key.verifier().id().as_bytes());
    spell_line(key.name(), &bytes)
}

fn signature_bytes(line: &str) -> Vec<u8> {
    STANDARD.decode(line.trim_end().rsplit(' ').next().unwrap()).unwrap()
}

fn spell_line(name: &str, bytes: &[u8]) -> String {
    format!("\u{2014} {name} {}\n", STANDARD.encode(bytes))
}

#[test]
fn a_signature_has_one_spelling() {
    let mut world = World::new();
    let text = station_tally(&world).text();
    let line = key(KPPS).sign_line(&text);
    // S + L, in little endian: the same signature for a verifier that does not look.
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut bytes = signature_bytes(&line);
    let mut carry = 0;
    for (byte, order) in bytes[36..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        (*byte, carry) = (sum as u8, sum >> 8);
    }
    assert_eq!(carry, 0);
    let malleated = compose(&text, &[spell_line(KPPS, &bytes)]);
    assert_eq!(world.submit(malleated.as_bytes()).unwrap_err(), Refusal::BadSignature);
    // Padding away, an unused bit set, a signature too long or too short, a cosignature.
    let unpadded = line.trim_end().trim_end_matches('=').to_string() + "\n";
    assert_malformed(compose(&text, &[unpadded]).as_bytes());
    let mut characters: Vec<char> = line.chars().collect();
    let last = characters.iter().rposition(|c| !"=\n".contains(*c)).unwrap();
    characters[last] = char::from(characters[last] as u8 + 1);
    let with_bit: String = characters.into_iter().collect();
    assert_malformed(compose(&text, &[with_bit]).as_bytes());
    let bytes = signature_bytes(&line);
    for other in [&bytes[..67], &[&bytes[..], &[0]].concat(), &[&[0; 8][..], &bytes].concat()] {
        assert_malformed(compose(&text, &[spell_line(KPPS, other)]).as_bytes());
    }
    world.submit(compose(&text, &[line]).as_bytes()).unwrap();
}

/// Any flipped bit of an entry is refused, whatever it hits.
#[test]
fn no_flipped_bit_gets_through() {
    let world = World::new();
    let good = signed(&station_tally(&world), &[key(KPPS), key(PPK)]);
    for place in 0..good.len() {
        let mut bytes = good.clone();
        bytes[place] ^= 1 << (place % 8);
        let entry = Entry::parse(&bytes);
        let refusal = entry.and_then(|entry| entry.check(world.ledger.keys())).unwrap_err();
        let codes = ["malformed", "bad_signature", "unknown_key"];
        assert!(codes.contains(&refusal.code()), "byte {place}: {}", refusal.code());
    }
}

/// The statement is in the log: with other lines it is another leaf, and enters no second time.
#[test]
fn a_known_statement_with_other_lines_is_refused() {
    let mut world = World::new();
    let (kpps, ppk, roots) = (key(KPPS), key(PPK), ROOTS.map(key));
    let body = station_tally(&world);
    let leaf = world.accept(&body, &[kpps.clone(), ppk.clone()]);
    let head = ChainHead { index: 2, leaf, seq: 0 };
    for keys in [vec![kpps.clone()], vec![kpps.clone(), ppk.clone(), key(SAKSI)]] {
        let dropped_or_added = Entry::parse(&signed(&body, &keys)).unwrap();
        assert_ne!(dropped_or_added.leaf(), leaf);
        assert_eq!(world.refuse(&body, &keys), Refusal::Conflict { head: Some(head) });
    }
    let mandate = world.mandate(&roots[0], &[grant(&key("kpps/310102.001"))]);
    world.accept(&mandate, &roots[..2]);
    assert_eq!(world.refuse(&mandate, &roots), Refusal::Duplicate);
    let revocation = world.revocation(&roots[0], &key(KPPS_TWO), true);
    world.accept(&revocation, &roots[..2]);
    assert_eq!(world.refuse(&revocation, &roots), Refusal::Duplicate);
    let next = manifest(&world.next_manifest());
    world.accept(&next, &roots[..2]);
    assert_eq!(world.refuse(&next, &roots), Refusal::Invalid(Field::Previous));
    let freeze = world.freeze(&roots[0]);
    world.accept(&freeze, &roots[..2]);
    assert_eq!(world.refuse(&freeze, &roots), Refusal::Frozen);
}

#[test]
fn a_root_key_is_no_officer() {
    let mut world = World::new();
    let roots = ROOTS.map(key);
    let mut body = world.tally(&key(KPPS), "ppwp", STATION);
    let co_signed = signed(&tally(&body), &[key(KPPS), roots[0].clone()]);
    assert_eq!(world.submit(&co_signed).unwrap_err(), Refusal::OutOfScope);
    body.by = key_ref(&roots[0]);
    assert_eq!(world.refuse(&tally(&body), &roots), Refusal::OutOfScope);
    assert_eq!(world.refuse(&tally(&body), &roots[..1]), Refusal::OutOfScope);
}

#[test]
fn no_other_message_of_a_key_is_an_entry() {
    let world = World::new();
    let head = TreeHead { size: 1, root: hash(1) };
    let checkpoint = Checkpoint::sign(head, &key(ORIGIN)).unwrap();
    assert_malformed(checkpoint.note().as_bytes());
    // Signed by an officer, whose key name is the origin.
    let checkpoint = Checkpoint::sign(head, &key(KPPS)).unwrap();
    assert_malformed(checkpoint.note().as_bytes());
    // A tally's text above a witness's line, and a checkpoint's lines below a tally.
    let text = station_tally(&world).text();
    let witness = CosigningKey::from_seed(KPPS, KeyKind::CosignatureV1, [5; 32]).unwrap();
    let line = spell_line(KPPS, &[witness.verifier().id().as_bytes(), &[0; 72][..]].concat());
    assert_malformed(compose(&text, &[line]).as_bytes());
    let body = world.tally(&key(KPPS), "ppwp", STATION);
    let as_checkpoint = format!("{ORIGIN}\n1\n{}\n", hash(1).to_base64());
    let bytes = compose(&as_checkpoint, &[key(KPPS).sign_line(&tally(&body).text())]);
    assert_malformed(bytes.as_bytes());
}

/// A key speaks for its role, units and contests: as author and as co-signer alike.
#[test]
fn a_line_out_of_scope_refuses_the_entry() {
    let mut world = World::new();
    let out = Refusal::OutOfScope;
    let table = [
        // The officers of another station, another district, and a contest not theirs.
        (KPPS_TWO, "ppwp", STATION),
        (PPK_ELSEWHERE, "ppwp", "310101"),
        (SAKSI, "dpd", STATION),
        (SAKSI, "ppwp", "310102.001"),
        (OBSERVER_TWO, "ppwp", "320101.001"),
        // Levels that the role may not open.
        (PPK, "ppwp", STATION),
        (KPU, "ppwp", STATION),
        (KPU, "ppwp", "310101"),
        (SAKSI, "ppwp", "310101"),
        (OBSERVER, "ppwp", "3101"),
    ];
    for (author, contest, unit) in table {
        let body = world.tally(&key(author), contest, unit);
        assert_eq!(world.refuse(&tally(&body), &[key(author)]), out, "{author} {contest} {unit}");
    }
    let body = world.tally(&key(KPPS), "dpd", STATION);
    for co_signer in [KPPS_TWO, PPK_ELSEWHERE, SAKSI] {
        assert_eq!(world.refuse(&tally(&body), &[key(KPPS), key(co_signer)]), out, "{co_signer}");
    }
    for co_signer in [PPK, KPU, OBSERVER, OBSERVER_TWO] {
        let mut world = world.clone();
        world.accept(&tally(&body), &[key(KPPS), key(co_signer)]);
    }
}

/// Names and key ids select a key, and prove nothing.
#[test]
fn one_public_key_has_one_name_and_one_name_may_have_many_keys() {
    let mut world = World::new();
    let (first, second) = (key(KPPS), key_n(KPPS, 1));
    assert_ne!(key_ref(&first), key_ref(&second));
    let mandate = world.mandate(&key(PPK), &[grant(&second)]);
    world.accept(&mandate, &[key(PPK)]);
    let body = world.tally(&second, "ppwp", STATION);
    // Signed by the first under the second's name and id.
    let text = tally(&body).text();
    let relabelled = compose(&text, &[relabel(&first.sign_line(&text), &second)]);
    assert_eq!(world.submit(relabelled.as_bytes()).unwrap_err(), Refusal::BadSignature);
    world.accept(&tally(&body), &[second]);
    for name in ["kpps/310101.003", "ppk/310101", "observer/310101"] {
        let renamed = super::refusals::renamed(&first, name);
        let granted = MandatedKey { vkey: renamed.into(), ..grant(&key(name)) };
        let mandate = world.mandate(&key(ROOTS[0]), &[granted]);
        let roots = [key(ROOTS[0]), key(ROOTS[1])];
        assert_eq!(world.refuse(&mandate, &roots), Refusal::Duplicate, "{name}");
    }
}
