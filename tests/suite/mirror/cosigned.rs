//! A mirror's line says that everything under the head is durable and served.

use jejak::mirror::RoundError;
use jejak_proofs::{
    merkle::leaf_hash,
    note::{CosigningKey, KeyKind, Policy, UnverifiedCheckpoint, VerifierKey},
};

use super::place::{Place, assert_serves, look, served};
use crate::program::jejak;

fn keys() -> Vec<CosigningKey> {
    [("mirror.example/m", KeyKind::CosignatureV1), ("mirror.example/pq", KeyKind::MlDsa44)]
        .map(|(name, kind)| CosigningKey::from_seed(name, kind, [7; 32]).unwrap())
        .into()
}

/// The policy of the log with a quorum of all these.
fn policy(place: &Place, witnesses: &[VerifierKey]) -> Policy {
    let log = place.election.key.verifier();
    let genesis = leaf_hash(&place.election.entries[0]);
    let text = Policy::compose(&[log], None, &genesis).unwrap();
    let mut text = text.replace("quorum none\n", "");
    for (number, key) in witnesses.iter().enumerate() {
        text.push_str(&format!("witness m{number} {key}\n"));
    }
    let names: Vec<String> = (0..witnesses.len()).map(|number| format!("m{number}")).collect();
    text.push_str(&format!("group mirrors all {}\nquorum mirrors\n", names.join(" ")));
    Policy::parse(&text).unwrap()
}

fn shown(mirror: &std::sync::Arc<jejak::mirror::Mirror>) -> UnverifiedCheckpoint {
    UnverifiedCheckpoint::parse(&served(mirror, "checkpoint").body).unwrap()
}

// SPEC [Y11]
#[test]
fn the_line_verifies_and_comes_only_after_everything_is_there() {
    let mut place = Place::new(700, 300);
    let vkeys: Vec<VerifierKey> = keys().iter().map(CosigningKey::verifier).collect();
    let quorum = policy(&place, &vkeys);
    // The mirror's own lines count for the quorum of its policy.
    place.election.policy = quorum.clone();
    let mirror = place.mirror_with(keys());
    look(&mirror).unwrap();
    let checkpoint = quorum.verify(shown(&mirror)).unwrap();
    let cosignatures = quorum.cosignatures(&checkpoint).unwrap();
    let now = jejak::clock::now_ms() / 1_000;
    assert_eq!(cosignatures.len(), 2);
    assert!(cosignatures.iter().all(|one| now - one.time < 60), "the times are of now");
    let first = shown(&mirror);
    look(&mirror).unwrap();
    assert_eq!(shown(&mirror), first, "one line for what the log shows");

    // A head whose files are not all there gets no line.
    place.show(700);
    place.log.remove("tile/entries/001");
    look(&mirror).unwrap_err();
    assert_eq!(shown(&mirror), first);
    assert_serves_but_the_head(&mirror, &place);
    place.show(700);
    look(&mirror).unwrap();
    let checkpoint = quorum.verify(shown(&mirror)).unwrap();
    assert_eq!(checkpoint.head().size, 700);
    // A restart shows what was shown, and goes on.
    drop(mirror);
    let mirror = place.mirror_with(keys());
    assert_eq!(shown(&mirror).note(), checkpoint.note());
    look(&mirror).unwrap();
    quorum.verify(shown(&mirror)).unwrap();
}

/// What the mirror serves is that of 300 entries, with lines of its own on the head.
fn assert_serves_but_the_head(mirror: &std::sync::Arc<jejak::mirror::Mirror>, place: &Place) {
    for (path, bytes) in super::place::files(&place.election, 300) {
        if path != "checkpoint" {
            assert_eq!(served(mirror, &path).body, bytes, "{path}");
        }
    }
}

// SPEC [Y3]
#[test]
fn without_the_quorum_of_the_policy_nothing_is_taken() {
    let mut place = Place::new(700, 300);
    place.pull().unwrap();
    place.show(700);
    let other = CosigningKey::from_seed("w.example/w", KeyKind::CosignatureV1, [8; 32]).unwrap();
    let bare = place.election.policy.clone();
    place.election.policy = policy(&place, &[other.verifier()]);
    let mirror = place.mirror_with(keys());
    assert!(matches!(look(&mirror), Err(RoundError::Quorum(_))));
    assert_serves(&mirror, &place.election, 300);
    assert_eq!(place.copied(), super::place::files(&place.election, 300), "no file got a name");
    drop(mirror);
    place.election.policy = bare;
    place.pull().unwrap();
}

#[test]
fn keys_are_read_as_those_of_witnesses() {
    let place = Place::new(300, 300);
    let new = ["key", "new", "m.key", "--name", "mirror.example/m", "--kind", "cosignature"];
    let made = jejak(place.dir.path(), &new).exit(0);
    let vkey: VerifierKey = made.stdout.trim().parse().unwrap();
    let pull = ["mirror", "pull", "m", "-p", "policy", "--once", "--from", &place.log.url];
    jejak(place.dir.path(), &[&pull[..], &["--key", "m.key"]].concat()).exit(0);
    let note = std::fs::read(place.copy().join("checkpoint")).unwrap();
    policy(&place, &[vkey]).verify(UnverifiedCheckpoint::parse(&note).unwrap()).unwrap();
    jejak(place.dir.path(), &[&pull[..], &["--key", "policy"]].concat()).exit(78);
}
