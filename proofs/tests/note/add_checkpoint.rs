//! Requests to a witness: form, round trips, mutations.

use jejak_proofs::merkle::{Hash, sha256};
use jejak_proofs::note::{ADD_CHECKPOINT_PROOF_LEN_MAX, AddCheckpoint, AddCheckpointError};
use jejak_proofs::note::{CheckpointError, NoteError, NumberError, UnverifiedCheckpoint};

use super::{CHECKPOINT, WITNESS_LINE, checkpoint};

const HASH: &str = "bWt2UodlmLLAZro08EeWsBkoXSCZHlm/ueen5swtT5g=";

fn error(body: &str) -> AddCheckpointError {
    AddCheckpoint::parse(body.as_bytes()).expect_err(body)
}

#[test]
fn a_request_is_read_as_it_was_written() {
    let note = format!("{CHECKPOINT}{WITNESS_LINE}");
    let body = format!("old 2\n{HASH}\n{HASH}\n\n{note}");
    let request = AddCheckpoint::parse(body.as_bytes()).unwrap();
    assert_eq!(request.old, 2);
    assert_eq!(request.proof, [Hash::from_base64(HASH).unwrap(); 2]);
    assert_eq!(request.checkpoint, UnverifiedCheckpoint::parse(note.as_bytes()).unwrap());
    assert_eq!(request.to_string(), body);
    assert_eq!(
        AddCheckpoint::split(body.as_bytes()).unwrap(),
        (format!("old 2\n{HASH}\n{HASH}").as_bytes(), note.as_bytes())
    );
}

#[test]
fn every_length_of_proof_up_to_63_comes_back() {
    for count in 0..=ADD_CHECKPOINT_PROOF_LEN_MAX {
        let proof: Vec<Hash> = (0..count).map(|n| sha256(&[n as u8])).collect();
        let old = (1 << count).min(i64::MAX as u64);
        let request = AddCheckpoint { old, proof, checkpoint: checkpoint(count as u64 + 1).into() };
        assert_eq!(AddCheckpoint::parse(request.to_string().as_bytes()), Ok(request));
    }
    let lines = format!("{HASH}\n").repeat(ADD_CHECKPOINT_PROOF_LEN_MAX + 1);
    assert_eq!(error(&format!("old 2\n{lines}\n{CHECKPOINT}")), AddCheckpointError::TooManyHashes);
}

#[test]
fn any_other_spelling_is_refused() {
    use AddCheckpointError as E;
    let hash = |line| E::Hash { line };
    for (head, want) in [
        ("", E::NoOld),
        ("2", E::NoOld),
        ("old", E::NoOld),
        ("Old 2", E::NoOld),
        ("size 2", E::NoOld),
        (" old 2", E::NoOld),
        ("old  2", E::Old(NumberError::Spelling)),
        ("old ", E::Old(NumberError::Spelling)),
        ("old +2", E::Old(NumberError::Spelling)),
        ("old -2", E::Old(NumberError::Spelling)),
        ("old 02", E::Old(NumberError::Spelling)),
        ("old 00", E::Old(NumberError::Spelling)),
        ("old 2 ", E::Old(NumberError::Spelling)),
        ("old 2\r", E::Old(NumberError::Spelling)),
        ("old 0x2", E::Old(NumberError::Spelling)),
        ("old 9223372036854775808", E::Old(NumberError::TooLarge)),
        ("old 18446744073709551616", E::Old(NumberError::TooLarge)),
        ("old 2\nAAAA", hash(2)),
        (&format!("old 2\n{HASH} "), hash(2)),
        (&format!("old 2\n{HASH}\n{HASH}\r"), hash(3)),
        (&format!("old 2\n{HASH}\n{}", HASH.trim_end_matches('=')), hash(3)),
        (&format!("old 2\n{}", HASH.replace("g=", "h=")), hash(2)),
    ] {
        assert_eq!(error(&format!("{head}\n\n{CHECKPOINT}")), want, "{head:?}");
    }
    // The empty line of the checkpoint is not that of the request.
    assert_eq!(error(&format!("old 2\n{CHECKPOINT}")), hash(2));
    assert_eq!(error("old 2\n"), E::NoCheckpoint);
    assert_eq!(error(""), E::NoCheckpoint);
    let note = |error| E::Checkpoint(CheckpointError::Note(error));
    assert_eq!(error("old 2\n\n"), note(NoteError::NoSignatures));
    assert_eq!(
        error(&format!("old 2\n\n\n{CHECKPOINT}")),
        E::Checkpoint(CheckpointError::EmptyLine)
    );
    let empty = CHECKPOINT.replacen("\n3\n", "\n0\n", 1);
    assert_eq!(error(&format!("old 0\n\n{empty}")), E::Checkpoint(CheckpointError::EmptyRoot));
    assert_eq!(error(&format!("old 0\n\n{CHECKPOINT}\n")), note(NoteError::NoSignatures));
    let bytes = [b"old \xff\n\n", CHECKPOINT.as_bytes()].concat();
    assert_eq!(AddCheckpoint::parse(&bytes), Err(E::Old(NumberError::Spelling)));
}

/// What is accepted is spelled in the one way, whatever was done to the bytes.
#[test]
fn mutated_requests_are_refused_or_come_back_as_they_are() {
    const SEED: u64 = 4;
    const ROUNDS: usize = 200_000;
    println!("seed {SEED}");
    let mut state = SEED;
    let mut below = |bound: usize| {
        // The generator of Knuth's MMIX; its high bits are good enough to choose places.
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % bound
    };
    let whole = format!("old 2\n{HASH}\n{HASH}\n\n{CHECKPOINT}{WITNESS_LINE}").into_bytes();
    let pieces: [&[u8]; 8] =
        [b"\n", b"\n\n", b"old ", b"0", b"\xe2\x80\x94 ", b"=", b" ", HASH.as_bytes()];
    let mut accepted = 0;
    for _ in 0..ROUNDS {
        let mut bytes = whole.clone();
        for _ in 0..=below(3) {
            if bytes.is_empty() {
                break;
            }
            let at = below(bytes.len());
            match below(4) {
                0 => bytes[at] ^= 1 << below(8),
                1 => drop(bytes.drain(at..(at + 1 + below(4)).min(bytes.len()))),
                2 => bytes.truncate(at.max(1)),
                _ => drop(bytes.splice(at..at, pieces[below(8)].iter().copied())),
            }
        }
        if let Ok(request) = AddCheckpoint::parse(&bytes) {
            accepted += 1;
            assert_eq!(request.to_string().into_bytes(), bytes);
        }
    }
    // Changed digits and letters of base64 are other requests, not other spellings.
    assert!((1_000..ROUNDS).contains(&accepted), "{accepted}");
}
