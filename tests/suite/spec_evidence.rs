//! Rules of SPEC.md on evidence, against the log of the worked example.

use jejak_proofs::{
    evidence::{Evidence, EvidenceError},
    merkle::{Hash, TreeHead, leaf_hash, node_hash},
    note::{Checkpoint, KeyKind, SigningKey},
};

use super::spec_example::{Example, ORIGIN};

/// The example, and the head of a tree of three in which another tally stands second.
fn rewritten(example: &Example) -> (Vec<Hash>, Checkpoint) {
    let [zero, _, two, _] = example.leaves;
    let one = leaf_hash(b"another entry 1");
    let node = node_hash(&zero, &one);
    let head = TreeHead { size: 3, root: node_hash(&node, &two) };
    (vec![node, two], Checkpoint::sign(head, &example.log_key).unwrap())
}

/// The checkpoint of the example's first two entries.
fn of_two(example: &Example, key: &SigningKey) -> Checkpoint {
    let [zero, one, ..] = example.leaves;
    Checkpoint::sign(TreeHead { size: 2, root: node_hash(&zero, &one) }, key).unwrap()
}

// SPEC [V1] [V2]
#[test]
fn two_roots_of_one_size_convict() {
    let example = Example::new();
    let keys = [example.log_key.verifier()];
    let (_, other) = rewritten(&example);
    let evidence = Evidence::two_roots(&example.unsealed, &other);
    let read = Evidence::parse(evidence.to_string().as_bytes()).unwrap();
    assert_eq!(read.verify(&keys).unwrap().origin(), ORIGIN);
    let older = of_two(&example, &example.log_key);
    let sizes = Evidence::two_roots(&older, &other).verify(&keys);
    assert_eq!(sizes, Err(EvidenceError::Sizes));
    let same = Evidence::two_roots(&other, &other).verify(&keys);
    assert_eq!(same, Err(EvidenceError::NoContradiction));
    // Signed by another key, or by another log.
    for (name, seed) in [(ORIGIN, 9), ("log.example/2025", 1)] {
        let key = SigningKey::from_seed(name, KeyKind::Ed25519, [seed; 32]).unwrap();
        let stranger = Checkpoint::sign(other.head(), &key).unwrap();
        assert!(Evidence::two_roots(&example.unsealed, &stranger).verify(&keys).is_err());
    }
}

// SPEC [V3] [V4]
#[test]
fn a_tree_that_does_not_begin_with_the_older_one_convicts() {
    let example = Example::new();
    let keys = [example.log_key.verifier()];
    let older = of_two(&example, &example.log_key);
    let (hashes, newer) = rewritten(&example);
    let judge = |evidence: Evidence| {
        let file = evidence.to_string();
        Evidence::parse(file.as_bytes()).unwrap().verify(&keys).map(|_| ())
    };
    assert_eq!(judge(Evidence::inconsistent(&older, &newer, hashes.clone())), Ok(()));
    // The true history, with its own hashes or with those of the other.
    let [zero, one, two, _] = example.leaves;
    let own = vec![node_hash(&zero, &one), two];
    let innocent = Evidence::inconsistent(&older, &example.unsealed, own.clone());
    assert_eq!(judge(innocent), Err(EvidenceError::NoContradiction));
    for wrong in [own, vec![], hashes[..1].to_vec(), [&hashes[..], &hashes[..1]].concat()] {
        let verdict = judge(Evidence::inconsistent(&older, &newer, wrong.clone()));
        assert!(matches!(verdict, Err(EvidenceError::Proof(_))), "{wrong:?}: {verdict:?}");
        let verdict = judge(Evidence::inconsistent(&older, &example.unsealed, wrong));
        assert!(verdict.is_err());
    }
    let turned = Evidence::inconsistent(&newer, &older, hashes);
    assert_eq!(judge(turned), Err(EvidenceError::Sizes));
    let evidence = Evidence::two_roots(&example.unsealed, &newer).to_string();
    for wrong in [evidence.replace("two_roots", "two"), evidence.replacen('{', "{ ", 1)] {
        assert_eq!(Evidence::parse(wrong.as_bytes()), Err(EvidenceError::Malformed));
    }
}
