//! Timestamped Ed25519 cosignatures.

use jejak_proofs::note::{
    COSIGNATURE_TIME_MAX, SignatureError, SignatureLine, UnverifiedCheckpoint,
};
use jejak_proofs::note::{Checkpoint, VerifierKey};

use super::{CHECKPOINT, WITNESS_LINE, WITNESS_TIME, WITNESS_VKEY, checkpoint, log_key, witness};

fn known() -> Checkpoint {
    let read = UnverifiedCheckpoint::parse(CHECKPOINT.as_bytes()).unwrap();
    read.verify("example.com/tally", &[log_key().verifier()]).unwrap()
}

fn bytes(line: &str) -> Vec<u8> {
    SignatureLine::parse(line.trim_end()).unwrap().signature().to_vec()
}

#[test]
fn the_known_cosignature() {
    assert_eq!(witness(1).cosign(&known(), WITNESS_TIME).unwrap(), WITNESS_LINE);
    let at_nine = "\u{2014} witness.example/w1 3xwKNQAAAAAAAAAJ0m76z1Z1+tUQL2PWGk+6e1BcSzsQtcnW+NsY\
        mnNufdhjc4tJk4OpUSllUgAZW3YJ7+x40y/rBP+mrjdQwQT1Dw==\n";
    assert_eq!(witness(1).cosign(&known(), 9).unwrap(), at_nine);
    let key = VerifierKey::parse(WITNESS_VKEY).unwrap();
    let signature = bytes(WITNESS_LINE);
    assert_eq!(key.verify_cosignature(known().text(), &signature), Ok(WITNESS_TIME));
    assert_eq!(key.verify(known().text(), &signature), Ok(()));
}

#[test]
fn every_flipped_bit_is_refused() {
    let (key, signature) = (witness(1).verifier(), bytes(WITNESS_LINE));
    for bit in 0..8 * signature.len() {
        let mut forged = signature.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        // The first bit takes the time above its limit.
        let error = if bit == 7 { SignatureError::Time } else { SignatureError::Invalid };
        assert_eq!(key.verify_cosignature(known().text(), &forged), Err(error), "bit {bit}");
        assert_eq!(key.verify(known().text(), &forged), Err(error), "bit {bit}");
    }
    let error = Err(SignatureError::Invalid);
    assert_eq!(key.verify_cosignature(checkpoint(3).text(), &signature), error);
    assert_eq!(witness(2).verifier().verify_cosignature(known().text(), &signature), error);
}

// SPEC [C6]
#[test]
fn times() {
    let (key, checkpoint) = (witness(1), known());
    for time in [1, 9, 10, WITNESS_TIME, COSIGNATURE_TIME_MAX] {
        let line = key.cosign(&checkpoint, time).unwrap();
        let verified = key.verifier().verify_cosignature(checkpoint.text(), &bytes(&line));
        assert_eq!(verified, Ok(time));
        assert_eq!(bytes(&line)[..8], time.to_be_bytes());
    }
    for time in [0, COSIGNATURE_TIME_MAX + 1, u64::MAX] {
        assert_eq!(key.cosign(&checkpoint, time), Err(SignatureError::Time));
        let mut forged = bytes(WITNESS_LINE);
        forged[..8].copy_from_slice(&time.to_be_bytes());
        let verified = key.verifier().verify_cosignature(checkpoint.text(), &forged);
        assert_eq!(verified, Err(SignatureError::Time));
    }
}

#[test]
fn lengths() {
    let (key, signature) = (witness(1).verifier(), bytes(WITNESS_LINE));
    let long = [signature.as_slice(), &[0]].concat();
    for got in [0, 7, 8, 64, 71, 73] {
        let error = Err(SignatureError::Length { got, want: 72 });
        assert_eq!(key.verify_cosignature(known().text(), &long[..got]), error);
        assert_eq!(key.verify(known().text(), &long[..got]).err(), error.err());
    }
}
