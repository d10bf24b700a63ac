//! Thousands of random bodies: written, read back, written again by another writer.

use jejak_proofs::merkle::leaf_hash;
use jejak_proofs::note::SigningKey;
use jejak_proofs::tally::*;

use super::{rng::Rng, world::*};

fn text(rng: &mut Rng, alphabet: &str) -> String {
    let letters: Vec<char> = alphabet.chars().collect();
    (0..1 + rng.below(ID_LEN_MAX as u64)).map(|_| *rng.pick(&letters)).collect()
}

fn any_id(rng: &mut Rng) -> Id {
    id(&text(rng, "ABYZabyz019:.-"))
}

fn any_code(rng: &mut Rng) -> UnitCode {
    code(&text(rng, "ABYZ019.-"))
}

fn any_word(rng: &mut Rng) -> Word {
    word(&text(rng, "abyz019_-"))
}

fn any_key(rng: &mut Rng) -> KeyRef {
    let name = format!("{}/{}", any_id(rng), any_code(rng));
    let bytes = (rng.next() as u32).to_be_bytes();
    KeyRef::new(&name, jejak_proofs::note::KeyId::new(bytes))
}

fn maybe<T>(rng: &mut Rng, value: impl FnOnce(&mut Rng) -> T) -> Option<T> {
    let present = !rng.one_in(3);
    present.then(|| value(rng))
}

fn count(rng: &mut Rng) -> Count {
    maybe(rng, |rng| match rng.below(4) {
        0 => 0,
        1 => u32::MAX,
        2 => rng.next() as u32,
        _ => rng.below(300) as u32,
    })
}

fn list<T>(rng: &mut Rng, mut item: impl FnMut(&mut Rng) -> T) -> Vec<T> {
    (0..rng.below(4)).map(|_| item(rng)).collect()
}

fn sexes(rng: &mut Rng) -> Sexes {
    Sexes { l: count(rng), p: count(rng) }
}

fn any_tally(rng: &mut Rng, by: KeyRef) -> Tally {
    let reasons = [
        Reason::Clerical,
        Reason::Court,
        Reason::OcrCorrection,
        Reason::Psu,
        Reason::Recount,
        Reason::Renvoi,
        Reason::Withdrawn,
    ];
    let media = [Media::Jpeg, Media::Pdf, Media::Png, Media::Webp];
    let minute = format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}Z",
        rng.below(10_000),
        1 + rng.below(12),
        1 + rng.below(28),
        rng.below(24),
        rng.below(60)
    );
    Tally {
        ballots: maybe(rng, |rng| Ballots {
            received: count(rng),
            returned: count(rng),
            unused: count(rng),
            used: count(rng),
        }),
        basis: any_word(rng),
        by,
        children: maybe(rng, |rng| Children { count: rng.next() as u32, root: rng.hash() }),
        contest: any_id(rng),
        decision: maybe(rng, Rng::hash),
        docs: list(rng, |rng| Doc {
            bytes: rng.next() as u32,
            media: *rng.pick(&media),
            page: rng.next() as u32,
            sha256: rng.hash(),
            sha256_public: maybe(rng, Rng::hash),
        }),
        election: any_id(rng),
        form: any_word(rng),
        genesis: rng.hash(),
        invalid: count(rng),
        issued_at: minute.parse().unwrap(),
        log: text(rng, "abyz019./- ~'<&").into(),
        prev: maybe(rng, Rng::hash),
        reason: maybe(rng, |rng| *rng.pick(&reasons)),
        registered: maybe(rng, sexes),
        round: any_word(rng),
        seq: rng.next() as u32,
        total: count(rng),
        unit: any_code(rng),
        valid: count(rng),
        voters: maybe(rng, |rng| Voters { dpk: sexes(rng), dpt: sexes(rng), dptb: sexes(rng) }),
        votes: list(rng, |rng| (any_id(rng), count(rng))).into_iter().collect(),
    }
}

fn any_manifest(rng: &mut Rng) -> Manifest {
    let reasons = [
        ManifestReason::Court,
        ManifestReason::Keys,
        ManifestReason::Registers,
        ManifestReason::Rules,
    ];
    let role = |rng: &mut Rng| Role {
        forms: list(rng, any_word),
        id: any_id(rng),
        may_grant: list(rng, any_id),
        may_open: list(rng, any_word),
        may_revise: list(rng, any_word),
        official: rng.one_in(2),
    };
    let file = |rng: &mut Rng| FileRef { bytes: rng.next(), sha256: rng.hash() };
    Manifest {
        bases: list(rng, any_word),
        decision: maybe(rng, Rng::hash),
        election: any_id(rng),
        exempt_kinds: list(rng, any_word),
        genesis: maybe(rng, Rng::hash),
        levels: list(rng, any_word),
        log: text(rng, "abyz019./-").into(),
        log_keys: list(rng, |rng| LogKey {
            from: rng.next(),
            until: maybe(rng, Rng::next),
            vkey: text(rng, "abyz019+/=").into(),
        }),
        previous: maybe(rng, Rng::hash),
        reason: maybe(rng, |rng| *rng.pick(&reasons)),
        refusal_key: rng.one_in(2).then(|| text(rng, "abyz019+/=").into()),
        registers: Registers { contests: file(rng), units: file(rng) },
        roles: list(rng, role),
        root_keys: list(rng, |rng| text(rng, "abyz019+/=").into()),
        rounds: list(rng, any_word),
        station_kinds: list(rng, any_word),
        station_max: rng.next() as u32,
        threshold: rng.next() as u32,
        version: rng.next() as u32,
    }
}

fn any_body(rng: &mut Rng, author: &SigningKey) -> Body {
    let by = key_ref(author);
    let (election, genesis) = (any_id(rng), rng.hash());
    let log = text(rng, "abyz019./-").into();
    match rng.below(10) {
        0 => Body::Manifest(Box::new(any_manifest(rng))),
        1 => {
            let keys = list(rng, |rng| MandatedKey {
                contests: maybe(rng, |rng| list(rng, any_id)),
                role: any_id(rng),
                units: list(rng, any_code),
                vkey: text(rng, "abyz019+/=").into(),
            });
            Body::Mandate(Mandate { by, election, genesis, keys, log })
        }
        2 => {
            use RevocationReason::{Compromised, Ended, Lost, Replaced};
            let reason = *rng.pick(&[Compromised, Ended, Lost, Replaced]);
            let (key, subtree) = (any_key(rng), rng.one_in(2));
            Body::Revocation(Revocation { by, election, genesis, key, log, reason, subtree })
        }
        3 => {
            use FreezeReason::{Completed, Compromised, Replaced};
            let reason = *rng.pick(&[Completed, Compromised, Replaced]);
            let decision = rng.hash();
            Body::Freeze(Freeze { by, decision, election, genesis, log, reason })
        }
        4 | 5 => {
            use AttestationVerdict::{Agrees, Disagrees, NotPresent, Unreadable};
            let verdict = *rng.pick(&[Agrees, Disagrees, NotPresent, Unreadable]);
            let (contest, leaf, unit) = (any_id(rng), rng.hash(), any_code(rng));
            let body = Attestation { by, contest, election, genesis, leaf, log, unit, verdict };
            Body::Attestation(body)
        }
        _ => Body::Tally(Box::new(any_tally(rng, by))),
    }
}

#[test]
fn what_is_written_is_read_and_nothing_else() {
    let mut rng = Rng::new(0x6e6);
    let authors: Vec<SigningKey> = [KPU, KPPS, "a:.-b/A.-9", "root/A"].map(key).to_vec();
    for _ in 0..6_000 {
        let author = rng.pick(&authors).clone();
        let body = any_body(&mut rng, &author);
        let bytes = body.sign(&[&author]).into_bytes();
        let entry = Entry::parse(&bytes).unwrap_or_else(|e| panic!("{e}: {}", body.text()));
        assert_eq!((entry.body(), entry.bytes()), (&body, &bytes[..]));
        assert_eq!((entry.text(), entry.leaf()), (&*body.text(), leaf_hash(&bytes)));
        // A writer that knows no types, whose objects are sorted maps.
        let json = entry.text().lines().nth(1).unwrap();
        let value: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(value.to_string(), json);
        let kind = format!("jejak/{}/v1\n", body.kind());
        assert!(entry.text().starts_with(&kind) && body.text().ends_with("}\n"));
        assert_eq!(Body::from_canonical(body.kind(), json), Ok(body));
    }
}
