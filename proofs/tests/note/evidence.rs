//! Evidence over every pair of small trees: forks are convicted, honest logs never.
//!
//! Roots and proofs come from a recursion of RFC 6962 that shares no code with the verifier.

use jejak_proofs::evidence::{Conviction, EVIDENCE_LEN_MAX, Evidence, EvidenceError, EvidencePart};
use jejak_proofs::merkle::{ConsistencyError, Hash, Plan, TreeHead, leaf_hash, sha256};
use jejak_proofs::note::{Checkpoint, CheckpointError, KeyKind, SigningKey, VerifierKey};

use super::log_key;

const SIZE_MAX: usize = 18;

/// RFC 6962, Section 2.1, read aloud.
fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => sha256(b""),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            let node = [&[1][..], root(left).as_bytes(), root(right).as_bytes()].concat();
            sha256(&node)
        }
    }
}

/// `count` leaves of a history that leaves the common one at `fork`.
fn history(count: usize, fork: usize, name: &str) -> Vec<Hash> {
    let leaf = |i: usize| match i < fork {
        true => leaf_hash(format!("entry {i}").as_bytes()),
        false => leaf_hash(format!("entry {i} of {name}").as_bytes()),
    };
    (0..count).map(leaf).collect()
}

fn head(leaves: &[Hash]) -> TreeHead {
    TreeHead { size: leaves.len() as u64, root: root(leaves) }
}

fn signed(leaves: &[Hash]) -> Checkpoint {
    Checkpoint::sign(head(leaves), &log_key()).unwrap()
}

fn keys() -> [VerifierKey; 1] {
    [log_key().verifier()]
}

/// The hashes that evidence of kind `inconsistent` needs, out of the newer tree.
fn hashes(old: usize, new: &[Hash]) -> Vec<Hash> {
    let plan = Plan::prefix(old as u64, new.len() as u64).unwrap();
    let node = |node: &jejak_proofs::merkle::NodeId| {
        let start = (node.index as usize) << node.level;
        root(&new[start..start + (1 << node.level)])
    };
    plan.combine(&plan.nodes().iter().map(node).collect::<Vec<_>>()).unwrap()
}

/// Through the file and back.
fn judge(evidence: &Evidence) -> Result<Conviction, EvidenceError> {
    let file = evidence.to_string();
    let read = Evidence::parse(file.as_bytes()).unwrap();
    assert_eq!(&read, evidence);
    assert_eq!(read.to_string(), file);
    read.verify(&keys())
}

#[test]
fn every_fork_is_convicted_and_no_honest_pair() {
    for new in 1..=SIZE_MAX {
        for old in 1..=new {
            for fork in 0..=old {
                let ours = signed(&history(old, fork, "ours"));
                let leaves = history(new, fork, "theirs");
                let theirs = signed(&leaves);
                let evidence = match old == new {
                    true => Evidence::two_roots(&ours, &theirs),
                    false => Evidence::inconsistent(&ours, &theirs, hashes(old, &leaves)),
                };
                let verdict = judge(&evidence);
                let origin = String::from("example.com/tally");
                let (older, newer) = (ours.head(), theirs.head());
                let root_in_newer = root(&leaves[..old]);
                let want = match (fork == old, old == new) {
                    (true, _) => Err(EvidenceError::NoContradiction),
                    (false, true) => {
                        let roots = [older.root, newer.root];
                        Ok(Conviction::TwoRoots { origin, size: older.size, roots })
                    }
                    (false, false) => {
                        Ok(Conviction::Inconsistent { origin, older, newer, root_in_newer })
                    }
                };
                assert_eq!(verdict, want, "{old} and {new}, forked at {fork}");
            }
        }
    }
}

#[test]
fn an_honest_pair_stays_innocent_whatever_the_hashes() {
    for new in 2..=SIZE_MAX {
        let leaves = history(new, new, "");
        for old in 1..new {
            let (older, newer) = (signed(&leaves[..old]), signed(&leaves));
            let good = hashes(old, &leaves);
            let innocent = |hashes: Vec<Hash>| {
                let verdict = judge(&Evidence::inconsistent(&older, &newer, hashes)).unwrap_err();
                assert!(
                    matches!(verdict, EvidenceError::Proof(_)),
                    "{old} and {new} give {verdict:?}"
                );
                verdict
            };
            for at in 0..good.len() {
                let mut flipped = good.clone();
                let mut bytes = *flipped[at].as_bytes();
                bytes[7] ^= 0x10;
                flipped[at] = Hash::new(bytes);
                let wrong = EvidenceError::Proof(ConsistencyError::WrongNewRoot);
                assert_eq!(innocent(flipped), wrong);
                let mut dropped = good.clone();
                dropped.remove(at);
                innocent(dropped);
                let mut doubled = good.clone();
                doubled.insert(at, good[at]);
                let (got, want) = (good.len() + 1, good.len());
                let length = ConsistencyError::WrongLength { got, want };
                assert_eq!(innocent(doubled), EvidenceError::Proof(length));
            }
        }
    }
}

#[test]
fn the_sizes_must_be_those_of_the_kind() {
    let (ours, theirs) = (history(9, 3, "ours"), history(9, 3, "theirs"));
    let sizes = [(4, 5), (5, 4), (5, 5), (0, 5), (5, 0), (0, 0)];
    for (a, b) in sizes {
        let (first, second) = (signed(&ours[..a]), signed(&theirs[..b]));
        if a != b {
            let verdict = judge(&Evidence::two_roots(&first, &second));
            assert_eq!(verdict, Err(EvidenceError::Sizes), "{a}, {b}");
        }
        if a == 0 || a >= b {
            let evidence = Evidence::inconsistent(&first, &second, vec![root(&ours[..4])]);
            assert_eq!(judge(&evidence), Err(EvidenceError::Sizes), "{a}, {b}");
        }
    }
}

#[test]
fn only_signatures_of_the_one_log_count() {
    let (ours, theirs) = (history(5, 3, "ours"), history(5, 3, "theirs"));
    let other = |name: &str, seed| SigningKey::from_seed(name, KeyKind::Ed25519, [seed; 32]);
    let stranger = other("example.com/tally", 9).unwrap();
    let elsewhere = other("example.com/other", 1).unwrap();
    let evidence = Evidence::two_roots(&signed(&ours), &signed(&theirs));
    let unsigned = |part| Err(EvidenceError::Checkpoint { part, error: CheckpointError::Unsigned });
    assert_eq!(evidence.verify(&[]), unsigned(EvidencePart::First));
    assert_eq!(evidence.verify(&[elsewhere.verifier()]), unsigned(EvidencePart::First));
    let by = |key: &SigningKey, leaves: &[Hash]| Checkpoint::sign(head(leaves), key).unwrap();

    let framed = Evidence::two_roots(&signed(&ours), &by(&stranger, &theirs));
    assert_eq!(judge(&framed), unsigned(EvidencePart::Second));
    // Two keys of one origin are one log.
    let both = [log_key().verifier(), stranger.verifier()];
    assert!(framed.verify(&both).is_ok());

    let mixed = Evidence::two_roots(&signed(&ours), &by(&elsewhere, &theirs));
    let keys = [log_key().verifier(), elsewhere.verifier()];
    assert_eq!(mixed.verify(&keys), Err(EvidenceError::TwoOrigins));
}

#[test]
fn every_changed_byte_is_refused_or_convicts_of_the_same() {
    let leaves = history(7, 2, "theirs");
    let older = signed(&history(4, 2, "ours"));
    let files = [
        Evidence::two_roots(&older, &signed(&leaves[..4])),
        Evidence::inconsistent(&older, &signed(&leaves), hashes(4, &leaves)),
    ];
    for file in files {
        let bytes = file.to_string().into_bytes();
        let conviction = file.verify(&keys()).unwrap();
        for at in 0..bytes.len() {
            for change in [1, 2, 0x20, 0x80] {
                let mut changed = bytes.clone();
                changed[at] ^= change;
                let verdict = Evidence::parse(&changed).and_then(|file| file.verify(&keys()));
                assert!(verdict.is_err(), "byte {at} ^ {change}: {verdict:?}");
            }
            for cut in [&bytes[..at], &[&bytes[..at], b" ", &bytes[at..]].concat()[..]] {
                assert!(Evidence::parse(cut).and_then(|file| file.verify(&keys())).is_err());
            }
        }
        assert_eq!(Evidence::parse(&bytes).unwrap().verify(&keys()), Ok(conviction));
    }
}

#[test]
fn malformed_files() {
    let (ours, theirs) = (history(5, 3, "ours"), history(5, 3, "theirs"));
    let good = Evidence::two_roots(&signed(&ours), &signed(&theirs)).to_string();
    let (_, json) = good.split_once('\n').unwrap();
    let with_hashes = json.replace(r#"],"kind""#, r#"],"hashes":[],"kind""#);
    let bad = [
        String::new(),
        json.to_owned(),
        good.trim_end().to_owned(),
        format!("{good}\n"),
        good.replace("/v1", "/v2"),
        good.replace("two_roots", "inconsistent"),
        good.replace("two_roots", "three_roots"),
        format!("jejak/evidence/v1\n{with_hashes}"),
        good.replacen('{', "{ ", 1),
        good.replacen("\\n", "\\u000a", 1),
        good.replace(r#""kind""#, r#""sort""#),
    ];
    for file in bad {
        assert_eq!(Evidence::parse(file.as_bytes()), Err(EvidenceError::Malformed), "{file:?}");
    }
    assert_eq!(Evidence::parse(b"jejak/evidence/v1\n\xff\n"), Err(EvidenceError::Malformed));
    let long = vec![b'a'; EVIDENCE_LEN_MAX + 1];
    assert_eq!(Evidence::parse(&long), Err(EvidenceError::TooLong));
    let unreadable = good.replacen("example.com/tally", "jejak/tally", 1);
    let error = CheckpointError::Origin;
    let part = EvidencePart::First;
    assert_eq!(
        Evidence::parse(unreadable.as_bytes()),
        Err(EvidenceError::Checkpoint { part, error })
    );
}
