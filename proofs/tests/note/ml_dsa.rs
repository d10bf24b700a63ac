//! ML-DSA-44 (type 0x06): keys, cosignatures, a log's own line.

use jejak_proofs::{
    merkle::{TreeHead, sha256},
    note::{COSIGNATURE_TIME_MAX, Checkpoint, CheckpointError, CosigningKey, KeyError, KeyKind},
    note::{ML_DSA_NAME_LEN_MAX, NOTE_LEN_MAX, NOTE_SIGNATURES_MAX, SignatureError},
    note::{SignatureLine, SigningKey, UnverifiedCheckpoint, VerifierKey, compose},
};

use super::{CHECKPOINT, LOG_VKEY, WITNESS_TIME, base64, checkpoint, head, log_key, vkey_of};

/// Made by a program of its own (Python, `dilithium-py`) from FIPS 204 and the C2SP text, for seeds
/// of thirty-two 0x03 (the log) and 0x02 (the witness): SHA-256 of the vkeys, and of the lines that
/// sign [`CHECKPOINT`] at [`WITNESS_TIME`] and at 9.
const KNOWN: [(&str, u8, &str, [&str; 3]); 2] = [
    (
        "example.com/tally",
        3,
        "ce5bb2b1",
        [
            "b4a8297e9f2ed3160c2d04ae121cfcd5db7e60e5ce5448eec182b745c2dcb35d",
            "b5eb8b0c1034df8cc3bc85cb6e55edceb0dc5b44631cf58890f2fea9390e5891",
            "0aa68831aecac51adcbda60a9dfdf2f4e4f504fbe3ecbaf613c0bdcf8c0c65ce",
        ],
    ),
    (
        "witness.example/w1",
        2,
        "aff69a9d",
        [
            "b7baaa025a9863a47c607ad7307760800d91ad63ebe35f6a62b60290165b5180",
            "4fa502aa092c1970be7dd2620bbb004049a16da4e3aa0aa9ac9010a0038d453c",
            "76c53070952c682a0ab39b3d9aca844e9b65c46111688f6c6e71c286a30c8420",
        ],
    ),
];
const LOG_PQ_PRIVATE: &str = "PRIVATE+KEY+example.com/tally+ce5bb2b1+\
    BgMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMD";

fn pq_key(name: &str, seed: u8) -> CosigningKey {
    CosigningKey::from_seed(name, KeyKind::MlDsa44, [seed; 32]).unwrap()
}

/// The ML-DSA-44 key of the log of the tests.
pub fn log_pq_key() -> CosigningKey {
    pq_key("example.com/tally", 3)
}

fn known() -> Checkpoint {
    let read = UnverifiedCheckpoint::parse(CHECKPOINT.as_bytes()).unwrap();
    read.verify("example.com/tally", &[log_key().verifier()]).unwrap()
}

fn bytes(line: &str) -> Vec<u8> {
    SignatureLine::parse(line.trim_end()).unwrap().signature().to_vec()
}

fn read(text: &str, lines: &[String]) -> UnverifiedCheckpoint {
    UnverifiedCheckpoint::parse(compose(text, lines).as_bytes()).unwrap()
}

// SPEC [C12]
#[test]
fn known_answers() {
    for (name, seed, id, [vkey, line, at_nine]) in KNOWN {
        let key = pq_key(name, seed);
        let verifier = key.verifier();
        let text = verifier.to_string();
        assert_eq!((verifier.id().to_string().as_str(), verifier.kind()), (id, KeyKind::MlDsa44));
        assert_eq!(sha256(text.as_bytes()).to_string(), vkey);
        assert_eq!(VerifierKey::parse(&text), Ok(verifier.clone()));
        assert_eq!(verifier.public_bytes().len(), 1312);
        for (time, hash) in [(WITNESS_TIME, line), (9, at_nine)] {
            let line = key.cosign(&known(), time).unwrap();
            assert_eq!(sha256(line.as_bytes()).to_string(), hash, "{name} at {time}");
            let verified = verifier.verify_cosignature(known().text(), &bytes(&line));
            assert_eq!(verified, Ok(time));
        }
    }
}

#[test]
fn private_keys() {
    assert_eq!(log_pq_key().to_private_string().as_str(), LOG_PQ_PRIVATE);
    assert_eq!(CosigningKey::parse(LOG_PQ_PRIVATE).unwrap().verifier(), log_pq_key().verifier());
    let error = Some(KeyError::WrongKind { kind: KeyKind::MlDsa44 });
    assert_eq!(SigningKey::parse(LOG_PQ_PRIVATE).err(), error);
    assert_eq!(SigningKey::from_seed("a", KeyKind::MlDsa44, [1; 32]).err(), error);
    let shown = format!("{:?}", log_pq_key());
    assert_eq!(shown, format!("CosigningKey({})", log_pq_key().verifier()));
}

// SPEC [N3]
#[test]
fn lengths_of_keys() {
    for len in [0, 32, 1311, 1313, 2420] {
        let error = KeyError::Length { got: 1 + len, want: 1313 };
        assert_eq!(VerifierKey::parse(&vkey_of("a", 6, &vec![7; len])), Err(error));
        assert_eq!(VerifierKey::new("a", KeyKind::MlDsa44, &vec![7; len]), Err(error));
    }
    let of_four = KeyError::Length { got: 1313, want: 33 };
    assert_eq!(VerifierKey::parse(&vkey_of("a", 4, &[7; 1312])), Err(of_four));
    let key = VerifierKey::parse(&vkey_of("a", 6, &[7; 1312])).unwrap();
    assert_eq!((key.public_bytes(), key.ed25519_bytes()), ([7; 1312].as_slice(), None));
    let other = vkey_of("a", 6, &[7; 1312]).replace("BgcHBwc", "BgcHBwe");
    assert!(matches!(VerifierKey::parse(&other), Err(KeyError::IdMismatch { .. })));
}

// SPEC [C13]
#[test]
fn long_names_and_origins() {
    let (fits, long) = ("n".repeat(ML_DSA_NAME_LEN_MAX), "n".repeat(ML_DSA_NAME_LEN_MAX + 1));
    let key = pq_key(&fits, 1);
    let line = key.cosign(&known(), 1).unwrap();
    assert_eq!(key.verifier().verify_cosignature(known().text(), &bytes(&line)), Ok(1));
    let seed = CosigningKey::from_seed(&long, KeyKind::MlDsa44, [1; 32]);
    assert_eq!(seed.err(), Some(KeyError::LongName));
    assert_eq!(VerifierKey::parse(&vkey_of(&long, 6, &[7; 1312])), Err(KeyError::LongName));
    assert!(CosigningKey::from_seed(&long, KeyKind::CosignatureV1, [1; 32]).is_ok());

    for (origin, expected) in [(&fits, Ok(1)), (&long, Err(SignatureError::Text))] {
        let log = SigningKey::from_seed(origin, KeyKind::Ed25519, [1; 32]).unwrap();
        let checkpoint = Checkpoint::sign(head(3), &log).unwrap();
        let line = log_pq_key().cosign(&checkpoint, 1);
        assert_eq!(line.as_ref().map(|_| 1).map_err(|error| *error), expected);
        let signature = line.map_or(vec![1; 2428], |line| bytes(&line));
        let verified = log_pq_key().verifier().verify_cosignature(checkpoint.text(), &signature);
        assert_eq!(verified, expected);
    }
}

/// Whatever the message holds, in turn, and every part of the signature.
// SPEC [C12]
#[test]
fn mutations() {
    let (name, origin) = ("witness.example/w1", "example.com/tally");
    let key = pq_key(name, 2);
    let verifier = key.verifier();
    let signature = bytes(&key.cosign(&known(), 9).unwrap());
    let verify =
        |key: &VerifierKey, text: &str, signature: &[u8]| key.verify_cosignature(text, signature);
    let text = known().text().to_owned();
    assert_eq!(verify(&verifier, &text, &signature), Ok(9));

    let renamed = VerifierKey::new("witness.example/w2", KeyKind::MlDsa44, verifier.public_bytes());
    let invalid = Err(SignatureError::Invalid);
    assert_eq!(verify(&renamed.unwrap(), &text, &signature), invalid, "name");
    assert_eq!(verify(&log_pq_key().verifier(), &text, &signature), invalid, "key");
    let root = "A9jN2rnQIZbqXtL42/AQnTXSHwcp5YXyeuKU7VUuwys=";
    for (what, other) in [
        ("origin", text.replace(origin, "example.com/tallz")),
        ("shorter origin", text.replace(origin, "example.com/tall")),
        ("size", text.replace("\n3\n", "\n4\n")),
        ("root", text.replace(root, "A9jN2rnQIZbqXtL42/AQnTXSHwcp5YXyeuKU7VUuwy0=")),
    ] {
        assert_ne!(other, text, "{what}");
        assert_eq!(verify(&verifier, &other, &signature), invalid, "{what}");
    }
    for bit in 0..8 * signature.len() {
        // Every bit of the time and of what is short; a sample of the vector z between them.
        if (96 + 64 * 8..8 * 2300).contains(&bit) && bit % 61 != 0 {
            continue;
        }
        let mut forged = signature.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        let error = if bit == 7 { Err(SignatureError::Time) } else { invalid };
        assert_eq!(verify(&verifier, &text, &forged), error, "bit {bit}");
    }
    for text in ["", "\n", "text\n", "a\n1\n", "jejak/tally/v1\n{}\n", "a\n01\nb\n", "a\n\n1\nb\n"]
    {
        assert_eq!(verify(&verifier, text, &signature), Err(SignatureError::Text), "{text:?}");
    }
    let long = [signature.as_slice(), &[0]].concat();
    for got in [0, 7, 8, 72, 2420, 2427, 2429] {
        let error = SignatureError::Length { got, want: 2428 };
        assert_eq!(verify(&verifier, &text, &long[..got]), Err(error));
        assert_eq!(verifier.verify(&text, &long[..got]), Err(error));
    }
}

// SPEC [C6]
#[test]
fn times() {
    let key = log_pq_key();
    for time in [1, 9, WITNESS_TIME, COSIGNATURE_TIME_MAX] {
        let line = key.cosign(&known(), time).unwrap();
        let verified = key.verifier().verify_cosignature(known().text(), &bytes(&line));
        assert_eq!(verified, Ok(time));
    }
    for time in [0, COSIGNATURE_TIME_MAX + 1, u64::MAX] {
        assert_eq!(key.cosign(&known(), time), Err(SignatureError::Time));
        let mut forged = bytes(&key.cosign(&known(), 9).unwrap());
        forged[..8].copy_from_slice(&time.to_be_bytes());
        let verified = key.verifier().verify_cosignature(known().text(), &forged);
        assert_eq!(verified, Err(SignatureError::Time));
    }
}

/// Any one key of the log suffices; a line of a listed key that fails refuses.
// SPEC [C1] [N7]
#[test]
fn a_log_signs_in_either_form() {
    let origin = "example.com/tally";
    let (ed, pq) = (log_key().verifier(), log_pq_key().verifier());
    let lines = |checkpoint: &Checkpoint| {
        [log_key().sign_line(checkpoint.text()), log_pq_key().cosign(checkpoint, 9).unwrap()]
    };
    let [ed_line, pq_line] = lines(&known());
    let [ed_other, pq_other] = lines(&checkpoint(3));
    let unsigned = Err(CheckpointError::Unsigned);
    let bad = |key: &VerifierKey| Err(CheckpointError::LogSignature { key: key.id() });
    let table = [
        (vec![&ed_line], Ok(()), unsigned, Ok(())),
        (vec![&pq_line], unsigned, Ok(()), Ok(())),
        (vec![&ed_line, &pq_line], Ok(()), Ok(()), Ok(())),
        (vec![&pq_line, &ed_line], Ok(()), Ok(()), Ok(())),
        (vec![&ed_line, &pq_other], Ok(()), bad(&pq), bad(&pq)),
        (vec![&ed_other, &pq_line], bad(&ed), Ok(()), bad(&ed)),
        (vec![&pq_line, &pq_other], unsigned, bad(&pq), bad(&pq)),
    ];
    for (lines, with_ed, with_pq, with_both) in table {
        let lines: Vec<String> = lines.into_iter().cloned().collect();
        let verify = |keys: &[&VerifierKey]| {
            read(known().text(), &lines).verify(origin, keys.iter().copied()).map(|_| ())
        };
        assert_eq!(verify(&[&ed]), with_ed);
        assert_eq!(verify(&[&pq]), with_pq);
        assert_eq!(verify(&[&ed, &pq]), with_both);
    }
    let named_otherwise = pq_key("example.com/other", 3).verifier();
    let line = [pq_line];
    let verified = read(known().text(), &line).verify(origin, &[named_otherwise]);
    assert_eq!(verified.err(), Some(CheckpointError::Unsigned));
}

/// An extension line is covered by Ed25519 and not by ML-DSA-44: it means nothing.
// SPEC [C4] [C14]
#[test]
fn extension_lines_are_not_covered() {
    let pq_line = log_pq_key().cosign(&known(), 9).unwrap();
    let extended = format!("{}extension\n", known().text());
    let ed_line = log_key().sign_line(&extended);
    let pq = log_pq_key().verifier();
    assert_eq!(pq.verify_cosignature(&extended, &bytes(&pq_line)), Ok(9));
    let checkpoint = read(&extended, &[ed_line.clone(), pq_line.clone()]);
    let verified = checkpoint.verify(known().origin(), &[log_key().verifier(), pq.clone()]);
    assert_eq!(verified.unwrap().head(), known().head());
    // Signed again, over the extended text, the line is the same.
    let extended = Checkpoint::with_lines(&known(), &[pq_line.clone()]).unwrap();
    assert_eq!(log_pq_key().cosign(&extended, 9).unwrap(), pq_line);
    // The Ed25519 line, over another extension, refuses the note.
    let other = read(&format!("{}other\n", known().text()), &[ed_line, pq_line]);
    let error = CheckpointError::LogSignature { key: log_key().verifier().id() };
    let keys = [VerifierKey::parse(LOG_VKEY).unwrap(), pq];
    assert_eq!(other.verify(known().origin(), &keys), Err(error));
}

/// Some logs put the time 0 on their own line; from a cosigner it says nothing.
#[test]
fn a_log_may_state_no_time() {
    let (key, line) = (log_pq_key().verifier(), at_zero(&known()));
    assert_eq!(key.verify(known().text(), &bytes(&line)), Ok(()));
    let verified = key.verify_cosignature(known().text(), &bytes(&line));
    assert_eq!(verified, Err(SignatureError::Time));
    let checkpoint = read(known().text(), &[line]);
    assert_eq!(checkpoint.verify(known().origin(), &[key]).map(|_| ()), Ok(()));
}

/// The line of [`log_pq_key`] with the time 0, put together without our code.
pub fn at_zero(checkpoint: &Checkpoint) -> String {
    let key = ml_dsa::SigningKey::<ml_dsa::MlDsa44>::from_seed(&[3; 32].into());
    let (origin, TreeHead { size, root }) = (checkpoint.origin(), checkpoint.head());
    let length = [origin.len() as u8];
    let (size, zero) = (size.to_be_bytes(), 0u64.to_be_bytes());
    let name = [length.as_slice(), origin.as_bytes()].concat();
    let parts = [b"subtree/v1\n\0", name.as_slice(), &zero, &name, &zero, &size, root.as_bytes()];
    let signature = ml_dsa::signature::Signer::sign(&key, &parts.concat()).encode();
    let id = log_pq_key().verifier().id();
    let bytes = [id.as_bytes().as_slice(), &zero, signature.as_slice()].concat();
    format!("\u{2014} {origin} {}\n", base64(&bytes))
}

/// As many lines of the longest name as a policy can have log and witness keys.
// SPEC [N8]
#[test]
fn many_lines_fit() {
    let name = "n".repeat(ML_DSA_NAME_LEN_MAX);
    let line = pq_key(&name, 1).cosign(&known(), 9).unwrap();
    assert!(line.len() < 5000, "{}", line.len());
    for lines in [16, 32, NOTE_SIGNATURES_MAX - 1] {
        let full = known().with_lines(&vec![&line; lines]).unwrap();
        assert!(full.note().len() < NOTE_LEN_MAX, "{lines}");
        let keys = [log_key().verifier()];
        let read = UnverifiedCheckpoint::parse(full.note().as_bytes()).unwrap();
        assert!(read.verify(known().origin(), &keys).is_ok());
    }
    assert!(known().with_lines(&vec![&line; NOTE_SIGNATURES_MAX]).is_err());
}
