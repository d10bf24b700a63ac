//! Private keys in the form of Go's sumdb/note.

use jejak_proofs::note::{CosigningKey, KeyError, KeyIdError, KeyKind, SignedNote, SigningKey};
use jejak_proofs::note::{VerifierKey, compose};

use super::{LOG_PRIVATE, LOG_VKEY, WITNESS_PRIVATE, WITNESS_VKEY, base64, log_key, witness};

/// From the documentation of golang.org/x/mod/sumdb/note.
const NEUMANN: &str =
    "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
const NEUMANN_VKEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";

#[test]
fn the_example_of_go() {
    let key = SigningKey::parse(NEUMANN).unwrap();
    let text = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n";
    let line = "\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZ\
        SNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    assert_eq!(key.sign_line(text), line);
    assert_eq!(key.verifier().to_string(), NEUMANN_VKEY);
    assert_eq!(key.name(), "PeterNeumann");
    assert_eq!(key.to_private_string().as_str(), NEUMANN);

    let note = compose(text, &[line]);
    let note = SignedNote::parse(note.as_bytes()).unwrap();
    let verifier = VerifierKey::parse(NEUMANN_VKEY).unwrap();
    assert_eq!(note.verify(&[&verifier]), Ok(vec![&verifier]));
}

#[test]
fn private_keys_keep_their_spelling() {
    assert_eq!(log_key().to_private_string().as_str(), LOG_PRIVATE);
    assert_eq!(log_key().verifier().to_string(), LOG_VKEY);
    assert_eq!(SigningKey::parse(LOG_PRIVATE).unwrap().verifier(), log_key().verifier());
    assert_eq!(witness(1).to_private_string().as_str(), WITNESS_PRIVATE);
    assert_eq!(witness(1).verifier().to_string(), WITNESS_VKEY);
    assert_eq!(CosigningKey::parse(WITNESS_PRIVATE).unwrap().verifier(), witness(1).verifier());
}

#[test]
fn each_kind_of_key_has_its_own_type() {
    let (note, cosigner) = (KeyKind::Ed25519, KeyKind::CosignatureV1);
    let error = |kind| Some(KeyError::WrongKind { kind });
    assert_eq!(SigningKey::parse(WITNESS_PRIVATE).err(), error(cosigner));
    assert_eq!(SigningKey::from_seed("a", cosigner, [1; 32]).err(), error(cosigner));
    assert_eq!(CosigningKey::parse(LOG_PRIVATE).err(), error(note));
    assert_eq!(CosigningKey::from_seed("a", note, [1; 32]).err(), error(note));
}

#[test]
fn malformed_private_keys() {
    let seed = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB";
    let of = |material: &[u8]| format!("PRIVATE+KEY+a+00000000+{}", base64(material));
    let length = |got| KeyError::Length { got, want: 33 };
    let id = log_key().verifier().id();
    let table: Vec<(String, KeyError)> = vec![
        ("".into(), KeyError::Form),
        (LOG_VKEY.into(), KeyError::Form),
        (LOG_PRIVATE.replace("PRIVATE", "private"), KeyError::Form),
        (LOG_PRIVATE.replace("PRIVATE+KEY+", "PRIVATE+"), KeyError::Form),
        ("PRIVATE+KEY+example.com/tally+5f701849".into(), KeyError::Form),
        (LOG_PRIVATE.replace("example.com/tally", ""), KeyError::Name),
        (LOG_PRIVATE.replace("example.com/tally", "a b"), KeyError::Name),
        (LOG_PRIVATE.replace("5f701849", "5F701849"), KeyError::Id(KeyIdError)),
        (format!("{LOG_PRIVATE}\n"), KeyError::Base64),
        (format!("{LOG_PRIVATE}="), KeyError::Base64),
        (LOG_PRIVATE.replace(seed, "AQ"), KeyError::Base64),
        (LOG_PRIVATE.replace(seed, "AR=="), KeyError::Base64),
        (LOG_PRIVATE.replace(seed, ""), length(0)),
        (of(&[1; 32]), length(32)),
        (of(&[1; 34]), length(34)),
        (of(&[1; 65]), length(65)),
        (of(&[1; 67]), KeyError::Base64),
        (of(&[7; 33]), KeyError::Unsupported { kind: 7 }),
        (of(&[0; 33]), KeyError::Unsupported { kind: 0 }),
        (LOG_PRIVATE.replace("5f701849", "5f70184a"), KeyError::IdMismatch { computed: id }),
    ];
    for (text, error) in table {
        assert_eq!(SigningKey::parse(&text).err(), Some(error), "{text}");
        assert_eq!(CosigningKey::parse(&text).err(), Some(error), "{text}");
    }
    for name in ["", "a+b", "a b", "a\nb"] {
        let error = Some(KeyError::Name);
        assert_eq!(SigningKey::from_seed(name, KeyKind::Ed25519, [1; 32]).err(), error);
        assert_eq!(CosigningKey::from_seed(name, KeyKind::CosignatureV1, [1; 32]).err(), error);
    }
}

#[test]
fn debug_shows_the_public_key_only() {
    assert_eq!(format!("{:?}", log_key()), format!("SigningKey({LOG_VKEY})"));
    assert_eq!(format!("{:?}", witness(1)), format!("CosigningKey({WITNESS_VKEY})"));
    assert_eq!(format!("{:?}", log_key().verifier()), format!("VerifierKey({LOG_VKEY})"));
}
