//! Evidence out of entries: what a crooked log holds convicts it, whatever is made of what an
//! honest one holds convicts nobody. (`histories` judges ten thousand honest logs.)

use jejak_proofs::evidence::{Conviction, Evidence, EvidenceError, Proven, ProvenEntry};
use jejak_proofs::merkle::{Hash, TreeHead, leaf_hash, node_hash};
use jejak_proofs::note::{Checkpoint, Policy, SigningKey, compose};
use jejak_proofs::tally::*;

use super::world::*;

/// RFC 6962, Section 2.1, read aloud: the root, and the path of one leaf.
pub fn tree(leaves: &[Hash]) -> Hash {
    match leaves {
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node_hash(&tree(left), &tree(right))
        }
    }
}

fn path(leaves: &[Hash], index: usize) -> Vec<Hash> {
    if leaves.len() == 1 {
        return vec![];
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    let (mut path, other) = match index < left.len() {
        true => (path(left, index), tree(right)),
        false => (path(right, index - left.len()), tree(left)),
    };
    path.push(other);
    path
}

/// A log with these entries, right or wrong.
pub struct Crooked {
    pub entries: Vec<Vec<u8>>,
}

impl Crooked {
    pub fn of(world: &World, more: &[&[u8]]) -> Self {
        let more = more.iter().map(|bytes| bytes.to_vec());
        Self { entries: world.entries.iter().cloned().chain(more).collect() }
    }

    pub fn proven(&self, indexes: &[usize]) -> Proven {
        let leaves: Vec<Hash> = self.entries.iter().map(|entry| leaf_hash(entry)).collect();
        let head = TreeHead { size: leaves.len() as u64, root: tree(&leaves) };
        let checkpoint = Checkpoint::sign(head, &key(ORIGIN)).unwrap();
        let entry = |&index: &usize| ProvenEntry {
            bytes: self.entries[index].clone(),
            hashes: path(&leaves, index),
            index: index as u64,
        };
        Proven {
            checkpoint: Box::new(checkpoint.as_unverified().clone()),
            entries: indexes.iter().map(entry).collect(),
        }
    }

    fn policy(&self) -> Policy {
        let vkey = key(ORIGIN).verifier();
        let text = Policy::compose(&[vkey], None, &leaf_hash(&self.entries[0])).unwrap();
        Policy::parse(&text).unwrap()
    }

    /// Through the file and back.
    pub fn judge(&self, evidence: &Evidence) -> Result<Conviction, EvidenceError> {
        let file = evidence.to_string();
        let read = Evidence::parse(file.as_bytes()).unwrap();
        assert_eq!(&read, evidence);
        read.verify_under(&self.policy())
    }

    fn bad(&self, indexes: &[usize]) -> Result<Conviction, EvidenceError> {
        self.judge(&Evidence::BadEntry(self.proven(indexes)))
    }

    fn broken(&self, indexes: &[usize]) -> Result<Conviction, EvidenceError> {
        self.judge(&Evidence::BrokenChain(self.proven(indexes)))
    }

    /// The last entry convicts by itself, with this code, and no bit of the file can be another.
    fn bad_last(&self, code: &str) {
        let last = self.entries.len() - 1;
        let conviction = self.bad(&[last]).unwrap();
        let Conviction::BadEntry { index, leaf, breach: Breach::Refused(refusal), .. } =
            &conviction
        else {
            panic!("{conviction}")
        };
        assert_eq!((*index, *leaf), (last as u64, leaf_hash(&self.entries[last])));
        assert_eq!(refusal.code(), code, "{conviction}");
        self.fragile(&Evidence::BadEntry(self.proven(&[last])));
    }

    /// These entries break this rule together, the others with the last of them do not.
    fn pair(&self, indexes: &[usize], rule: &str) {
        let conviction = self.broken(indexes).unwrap();
        assert_eq!(conviction.rule(), rule, "{conviction}");
        assert!(matches!(conviction, Conviction::BrokenChain { .. }), "{conviction}");
        self.fragile(&Evidence::BrokenChain(self.proven(indexes)));
    }

    /// Some flipped bits of the file, and it cut anywhere: nobody is convicted.
    pub fn fragile(&self, evidence: &Evidence) {
        let (policy, file) = (self.policy(), evidence.to_string().into_bytes());
        let judge = |bytes: &[u8]| Evidence::parse(bytes).and_then(|e| e.verify_under(&policy));
        assert!(judge(&file).is_ok());
        for at in (0..file.len()).step_by(7) {
            let mut changed = file.clone();
            changed[at] ^= 1 << (at % 8);
            let verdict = judge(&changed);
            assert!(verdict.is_err(), "byte {at}: {verdict:?}");
            assert!(judge(&file[..at]).is_err());
        }
    }
}

fn last_of(world: &World) -> usize {
    world.entries.len()
}

/// The tally of the first station's officers, as its author would send it.
fn opening(world: &World) -> Tally {
    world.tally(&key(KPPS), "ppwp", STATION)
}

#[test]
fn what_is_no_entry_convicts() {
    let world = World::new();
    let good = signed(&tally(&opening(&world)), &[key(KPPS)]);
    let text = String::from_utf8(good.clone()).unwrap();
    let long = [&good[..], &vec![b'a'; 70_000]].concat();
    for (bytes, code) in [
        (&b"Dear log, a name and 3173011005110001"[..], "malformed"),
        (b"", "malformed"),
        (b"\xff\xfe", "malformed"),
        (text.replace("form_signed", "Mrs. Someone").as_bytes(), "malformed"),
        (text.replace("\"seq\":0", "\"seq\": 0").as_bytes(), "malformed"),
        (&long, "too_large"),
    ] {
        Crooked::of(&world, &[bytes]).bad_last(code);
    }
}

#[test]
fn an_entry_that_no_log_may_take_convicts() {
    let world = World::new();
    let at_station = |change: &dyn Fn(&mut Tally)| {
        let mut changed = opening(&world);
        change(&mut changed);
        signed(&tally(&changed), &[key(KPPS)])
    };
    let doc =
        |page| Doc { bytes: 1, media: Media::Png, page, sha256: hash(1), sha256_public: None };
    let by_root = Tally { by: key_ref(&key(ROOTS[0])), ..opening(&world) };
    let twice = world.mandate(&key(ROOTS[0]), &[grant(&key_n(KPPS, 9)), grant(&key_n(KPPS, 9))]);
    let none = world.mandate(&key(ROOTS[0]), &[]);
    let named = MandatedKey { role: id("ppk"), ..grant(&key_n(KPPS, 9)) };
    let named = world.mandate(&key(ROOTS[0]), &[named]);
    let later = world.next_manifest();
    let roots = ROOTS.map(key);
    let table: Vec<(Vec<u8>, &str)> = vec![
        (at_station(&|t| t.log = "log.example/other".into()), "invalid_log"),
        (at_station(&|t| t.genesis = hash(3)), "invalid_genesis"),
        (at_station(&|t| t.seq = 1), "invalid_prev"),
        (at_station(&|t| t.prev = Some(hash(1))), "invalid_prev"),
        (at_station(&|t| t.reason = Some(Reason::Court)), "invalid_reason"),
        (at_station(&|t| t.decision = Some(hash(1))), "invalid_decision"),
        (at_station(&|t| t.docs = vec![doc(0)]), "invalid_docs"),
        (at_station(&|t| t.docs = vec![doc(2), doc(1)]), "invalid_docs"),
        (signed(&tally(&by_root), &[key(ROOTS[0])]), "out_of_scope"),
        (signed(&twice, &roots[..2]), "duplicate"),
        (signed(&none, &roots[..2]), "invalid_keys"),
        (signed(&named, &roots[..2]), "invalid_name"),
        (world.entries[0].clone(), "invalid_genesis"),
        (signed(&manifest(&Manifest { version: 1, ..later.clone() }), &roots), "invalid_version"),
        (signed(&manifest(&Manifest { reason: None, ..later.clone() }), &roots), "invalid_reason"),
        (
            signed(&manifest(&Manifest { threshold: 4, ..later.clone() }), &roots),
            "invalid_threshold",
        ),
        (forged(&manifest(&later), &roots), "bad_signature"),
    ];
    for (bytes, code) in &table {
        Crooked::of(&world, &[bytes]).bad_last(code);
    }
    // A state names its own index.
    let mut sealed = World::new();
    let state = sealed.seal();
    let state = Body::State(state).text().into_bytes();
    Crooked::of(&sealed, &[&state]).bad_last("out_of_scope");
}

/// The lines that these keys made for another text.
fn forged(body: &Body, keys: &[SigningKey]) -> Vec<u8> {
    let lines = |text: &str| keys.iter().map(|key| key.sign_line(text)).collect::<Vec<_>>();
    compose(&body.text(), &lines("another text\n")).into_bytes()
}

#[test]
fn entry_0_convicts_by_itself() {
    let world = World::founded();
    let first = founding_manifest();
    let roots = ROOTS.map(key);
    for (bytes, code) in [
        (signed(&manifest(&Manifest { version: 2, ..first.clone() }), &roots), "invalid_version"),
        (signed(&manifest(&first), &roots[..2]), "out_of_scope"),
        (forged(&manifest(&first), &roots), "bad_signature"),
        (
            signed(&manifest(&Manifest { genesis: Some(hash(1)), ..first.clone() }), &roots),
            "invalid_genesis",
        ),
        (signed(&tally(&opening(&world)), &[key(KPPS)]), "invalid_genesis"),
    ] {
        Crooked { entries: vec![bytes] }.bad_last(code);
    }
    let honest = Crooked { entries: vec![world.entries[0].clone()] };
    assert_eq!(honest.bad(&[0]), Err(EvidenceError::NoBreach));
    // Another entry 0 than the pinned one, however right it is by itself.
    let other = Manifest { station_max: 301, ..first };
    let other = Crooked { entries: vec![signed(&manifest(&other), &roots)] };
    let evidence = Evidence::BadEntry(other.proven(&[0]));
    assert_eq!(evidence.verify(&[key(ORIGIN).verifier()]), Err(EvidenceError::NoBreach));
    assert!(evidence.verify_under(&honest.policy()).is_ok());
}

#[test]
fn a_line_that_fails_convicts_with_the_mandate_of_its_key() {
    let world = World::new();
    let mandate = 1;
    let bad = forged(&tally(&opening(&world)), &[key(KPPS)]);
    let good = signed(&tally(&opening(&world)), &[key(KPPS)]);
    let last = last_of(&world);
    let crooked = Crooked::of(&world, &[&bad]);
    let conviction = crooked.bad(&[last, mandate]).unwrap();
    assert!(conviction.to_string().contains("bad_signature"), "{conviction}");
    crooked.fragile(&Evidence::BadEntry(crooked.proven(&[last, mandate])));
    // Not by itself, not with an entry that does not name the key, and not the other way round.
    for indexes in [&[last][..], &[last, 0], &[mandate, last]] {
        assert_eq!(crooked.bad(indexes), Err(EvidenceError::NoBreach), "{indexes:?}");
    }
    let honest = Crooked::of(&world, &[&good]);
    assert_eq!(honest.bad(&[last, mandate]), Err(EvidenceError::NoBreach));
    assert_eq!(honest.bad(&[]), Err(EvidenceError::Entries));
    assert_eq!(honest.bad(&[last, mandate, 0]), Err(EvidenceError::Entries));
}

#[test]
fn two_entries_that_no_log_holds_both_convict() {
    let mut world = World::new();
    let observer = key(OBSERVER);
    let first = opening(&world);
    let leaf = world.accept(&tally(&first), &[key(KPPS)]);
    let next = revision(&first, leaf);
    let next_leaf = world.accept(&tally(&next), &[key(KPPS)]);
    let said = world.attestation(&observer, "ppwp", STATION, leaf);
    world.accept(&said, std::slice::from_ref(&observer));
    let fallen = key(KPPS_TWO);
    let revoked = world.revocation(&key(ROOTS[0]), &fallen, false);
    world.accept(&revoked, &[key(ROOTS[0]), key(ROOTS[1])]);
    world.seal();
    let (mandate, opened, revised, attested, revocation, end) = (1, 2, 3, 4, 5, 7);
    assert_eq!(last_of(&world), end);
    let by = |body: &Body, key: &SigningKey| signed(body, std::slice::from_ref(key));
    let kpps = |change: &dyn Fn(&mut Tally), of: &Tally| {
        let mut changed = of.clone();
        change(&mut changed);
        by(&tally(&changed), &key(KPPS))
    };
    let other_unit = |leaf| world.attestation(&key(OBSERVER_TWO), "ppwp", STATION_TWO, leaf);
    let saksi = world.tally(&key(SAKSI), "dpd", STATION);
    let disagree = |body: &Body| {
        let Body::Attestation(body) = body else { panic!() };
        Body::Attestation(Attestation { verdict: AttestationVerdict::Agrees, ..body.clone() })
    };
    let roots = [key(ROOTS[0]), key(ROOTS[1])];
    let again = world.mandate(&key(ROOTS[0]), &[grant(&key(SAKSI))]);
    let root_again = MandatedKey { units: codes(&["A"]), ..grant(&key(ROOTS[0])) };
    let subtree = world.revocation(&key(ROOTS[1]), &fallen, false);
    let speaks = world.tally(&fallen, "ppwp", STATION_TWO);
    let stale = Manifest { previous: Some(leaf), ..world.next_manifest() };
    let elsewhere = Tally { election: id("id-2029"), ..world.tally(&key(PPK), "ppwp", "310101") };
    let table: Vec<(usize, Vec<u8>, &str)> = vec![
        (opened, world.entries[opened].clone(), "D2"),
        (revised, kpps(&|t| t.total = Some(1), &next), "H2"),
        (opened, kpps(&|t| t.seq = 2, &next), "H2"),
        (opened, kpps(&|t| t.round = word("psu"), &next), "H2"),
        (revised, kpps(&|t| t.contest = id("dpd"), &revision(&next, next_leaf)), "H2"),
        (attested, kpps(&|t| t.prev = Some(leaf_hash(&world.entries[attested])), &next), "H2"),
        (attested, by(&disagree(&said), &observer), "E34"),
        (opened, by(&other_unit(leaf), &key(OBSERVER_TWO)), "E31"),
        (mandate, by(&other_unit(leaf_hash(&world.entries[1])), &key(OBSERVER_TWO)), "E31"),
        (mandate, signed(&again, &roots), "M5"),
        (0, signed(&world.mandate(&key(ROOTS[0]), &[root_again]), &roots), "M5"),
        (mandate, by(&tally(&saksi), &key(SAKSI)), "H4"),
        (revocation, by(&tally(&speaks), &fallen), "M8"),
        (revocation, signed(&subtree, &roots), "M9"),
        (opened, signed(&manifest(&stale), &ROOTS.map(key)), "S1"),
        (0, by(&tally(&elsewhere), &key(PPK)), "E11"),
    ];
    for (other, bytes, rule) in &table {
        let crooked = Crooked::of(&world, &[bytes]);
        crooked.pair(&[*other, end], rule);
        assert_eq!(crooked.broken(&[end, *other]), Err(EvidenceError::Entries));
        // Two honest entries of the same log say nothing.
        assert_eq!(crooked.broken(&[0, mandate]), Err(EvidenceError::NoBreach));
    }
    // States in a row, and speaking before a mandate.
    let state = world.ledger.sealed().unwrap().state.clone();
    let state = Body::State(State { size: state.size + 1, ..state }).text().into_bytes();
    Crooked::of(&world, &[&state]).pair(&[end - 1, end], "E37");
    let late = key_n(OBSERVER, 7);
    let early = by(&world.attestation(&late, "ppwp", STATION, leaf), &late);
    let granted = signed(&world.mandate(&key(ROOTS[0]), &[grant(&late)]), &roots);
    Crooked::of(&world, &[&early, &granted]).pair(&[end, end + 1], "D5");
}

#[test]
fn what_follows_a_freeze_convicts() {
    let mut world = World::new();
    world.accept(&world.freeze(&key(ROOTS[0])), &[key(ROOTS[0]), key(ROOTS[1])]);
    let freeze = last_of(&world) - 1;
    world.seal();
    let honest = Crooked::of(&world, &[]);
    assert_eq!(honest.broken(&[freeze, freeze + 1]), Err(EvidenceError::NoBreach));
    let after = signed(&tally(&opening(&world)), &[key(KPPS)]);
    Crooked::of(&world, &[&after]).pair(&[freeze, freeze + 2], "F2");
    let state = world.ledger.sealed().unwrap().state.clone();
    let state = Body::State(State { size: state.size + 1, ..state }).text().into_bytes();
    Crooked::of(&world, &[&state]).pair(&[freeze, freeze + 2], "F2");
}

/// An official role that a manifest makes another one has a chain of its own from then on, so one
/// key may open twice; with one manifest throughout it may not.
#[test]
fn one_place_in_a_chain_needs_one_manifest() {
    let mut world = World::new();
    world.accept(&tally(&opening(&world)), &[key(KPPS)]);
    let before = world.clone();
    let opened = last_of(&world) - 1;
    let mut next = world.next_manifest();
    next.roles[2].official = false;
    world.accept(&manifest(&next), &ROOTS.map(key));
    let second = Tally { total: Some(1), ..opening(&world) };
    world.accept(&tally(&second), &[key(KPPS)]);
    world.seal();
    let honest = Crooked::of(&world, &[]);
    let (other, state) = (opened + 2, opened + 3);
    assert_eq!(honest.broken(&[opened, other]), Err(EvidenceError::NoBreach));
    for manifest in [0, opened + 1] {
        let verdict = honest.broken(&[opened, other, manifest, state]);
        assert_eq!(verdict, Err(EvidenceError::NoBreach), "{manifest}");
    }
    // The same two without a manifest between them, or by two officials.
    let colleague = Tally { by: key_ref(&key(PPK)), ..second.clone() };
    for second in [signed(&tally(&second), &[key(KPPS)]), signed(&tally(&colleague), &[key(PPK)])] {
        let mut state = before.clone().seal();
        state.size = (opened + 2) as u64;
        let state = Body::State(state).text().into_bytes();
        let crooked = Crooked::of(&before, &[&second, &state]);
        let four = [opened, opened + 1, 0, opened + 2];
        crooked.pair(&four, "H2");
        for wrong in [[opened, opened + 1, 1, opened + 2], [opened, opened + 1, opened + 2, 0]] {
            assert_eq!(crooked.broken(&wrong), Err(EvidenceError::NoBreach), "{wrong:?}");
        }
        assert_eq!(crooked.broken(&four[..3]), Err(EvidenceError::Entries));
        assert_eq!(crooked.broken(&four[..2]), Err(EvidenceError::NoBreach));
    }
}

#[test]
fn proofs_are_held_to_the_signed_root() {
    let world = World::new();
    let crooked = Crooked::of(&world, &[b"no entry"]);
    let good = crooked.proven(&[2]);
    let judge = |proven: Proven| crooked.judge(&Evidence::BadEntry(proven)).unwrap_err();
    let inclusion = |error| matches!(error, EvidenceError::Inclusion { entry: 0, .. });
    let changed = |change: &dyn Fn(&mut ProvenEntry)| {
        let mut proven = good.clone();
        change(&mut proven.entries[0]);
        proven
    };
    assert!(inclusion(judge(changed(&|entry| entry.index = 1))));
    assert!(inclusion(judge(changed(&|entry| entry.index = 3))));
    assert!(inclusion(judge(changed(&|entry| entry.hashes.clear()))));
    assert!(inclusion(judge(changed(&|entry| entry.hashes.push(hash(0))))));
    assert!(inclusion(judge(changed(&|entry| entry.bytes.push(b'.')))));
    // An inner node is no entry, though its children hash to a node of the tree.
    let leaves: Vec<Hash> = crooked.entries.iter().map(|entry| leaf_hash(entry)).collect();
    let node = [&[1][..], leaves[0].as_bytes(), leaves[1].as_bytes()].concat();
    let mut proven = crooked.proven(&[2]);
    proven.entries[0] = ProvenEntry { bytes: node, hashes: vec![leaves[2]], index: 0 };
    assert!(inclusion(judge(proven)));
    // Another log's key.
    let evidence = Evidence::BadEntry(good);
    assert!(evidence.verify(&[key_n(ORIGIN, 1).verifier()]).is_err());
    assert!(evidence.verify(&[key(ORIGIN).verifier()]).is_ok());
}
