//! Rules of SPEC.md on signatures and policies, with the bytes of the worked example.

use jejak_proofs::note::{Policy, PolicyErrorKind, SignedNote};

use super::spec_example::Example;

/// The order of Ed25519's group, little-endian (RFC 8032, Section 5.1).
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

// SPEC [N6]
#[test]
fn a_signature_plus_the_order_of_the_group_is_another_and_refused() {
    let example = Example::new();
    let note = SignedNote::parse(example.checkpoint.note().as_bytes()).unwrap();
    let key = example.log_key.verifier();
    let mut signature = note.lines()[0].signature().to_vec();
    assert!(key.verify(note.text(), &signature).is_ok());
    let mut carry = 0;
    for (byte, order) in signature[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = sum as u8;
        carry = sum >> 8;
    }
    assert_eq!(carry, 0, "the sum is below 2^256");
    assert!(key.verify(note.text(), &signature).is_err());
    // And a point R of small order, which a lax verifier takes for S = 0 and a weak key.
    let mut small = signature.clone();
    small[..32].fill(0);
    small[0] = 1;
    assert!(key.verify(note.text(), &small).is_err());
}

// SPEC [Q2] [Q6] [Q7]
#[test]
fn what_a_policy_must_not_say() {
    let policy = Example::new().policy;
    let (genesis, rest) = policy.split_once('\n').unwrap();
    let (log, quorum) = rest.split_once('\n').unwrap();
    let kind = |text: String| Policy::parse(&text).unwrap_err().kind;
    assert_eq!(kind(format!("{genesis}\n{policy}")), PolicyErrorKind::SecondGenesis);
    let hex = genesis.rsplit(' ').next().unwrap();
    for wrong in [
        "# jejak-genesis".to_owned(),
        format!("# jejak-genesis {hex}"),
        format!("{genesis} more"),
        genesis[..genesis.len() - 1].to_owned(),
        genesis.replace(hex, &hex.to_uppercase()),
    ] {
        assert_eq!(kind(format!("{wrong}\n{rest}")), PolicyErrorKind::Genesis, "{wrong}");
    }
    assert_eq!(kind(policy.trim_end().to_owned()), PolicyErrorKind::NoFinalNewline);
    assert_eq!(kind(format!("{log}\n{log}\n{quorum}")), PolicyErrorKind::DuplicateKey);
}
