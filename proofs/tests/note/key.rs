//! Verifier keys: one spelling, no weak keys, no malleable signatures.

use ed25519_dalek::Verifier as _;
use jejak_proofs::note::{KeyError, KeyId, KeyIdError, KeyKind, SignatureError, SignedNote};
use jejak_proofs::note::{VerifierKey, Weakness, valid_name};

use super::{FOO_NOTE, FOO_VKEY, LOG_VKEY, WITNESS_VKEY, unhex, vkey_of};

const FOO_PUBLIC: &str = "e932791ae6e7a840a46164c904786426d5e7821dd8b29a00d61cae72afdd4da4";

/// All encodings of the eight points of small order that decompress: eight canonical ones, then
/// six that are not.
const SMALL_ORDER: [(&str, Weakness); 14] = {
    use Weakness::{NonCanonical, SmallOrder};
    [
        ("0100000000000000000000000000000000000000000000000000000000000000", SmallOrder),
        ("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", SmallOrder),
        ("0000000000000000000000000000000000000000000000000000000000000000", SmallOrder),
        ("0000000000000000000000000000000000000000000000000000000000000080", SmallOrder),
        ("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", SmallOrder),
        ("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85", SmallOrder),
        ("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", SmallOrder),
        ("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa", SmallOrder),
        ("0100000000000000000000000000000000000000000000000000000000000080", NonCanonical),
        ("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", NonCanonical),
        ("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", NonCanonical),
        ("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", NonCanonical),
        ("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", NonCanonical),
        ("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", NonCanonical),
    ]
};

/// The public key of the C2SP example plus each point of small order but the identity.
const MIXED_ORDER: [&str; 7] = [
    "e7fdfe92d3400f91c49732fc7099611a954e7cc195b821a0b9f67fd9a3ee8ffb",
    "2aeb38f0451cc8f8323076d5782cf926cdca99b1c33c008192d6422df3d115ec",
    "a52b23fbadbf2541bc281a767dfd9a77da9d6b8ff30c9defb1de7cdb6e63ab3d",
    "04cd86e5191857bf5b9e9b36fb879bd92a187de2274d65ff29e3518d5022b25b",
    "0602016d2cbff06e3b68cd038f669ee56ab1833e6a47de5f460980265c117004",
    "c314c70fbae33707cdcf892a87d306d93235664e3cc3ff7e6d29bdd20c2eea13",
    "48d4dc045240dabe43d7e58982026588256294700cf362104e218324919c54c2",
];

#[test]
fn vkeys_keep_their_spelling() {
    for (vkey, name, id, kind) in [
        (FOO_VKEY, "example.com/foo", "530d903a", KeyKind::Ed25519),
        (LOG_VKEY, "example.com/tally", "5f701849", KeyKind::Ed25519),
        (WITNESS_VKEY, "witness.example/w1", "df1c0a35", KeyKind::CosignatureV1),
    ] {
        let key = VerifierKey::parse(vkey).unwrap();
        assert_eq!(key.to_string(), vkey);
        assert_eq!((key.name(), key.id().to_string().as_str(), key.kind()), (name, id, kind));
        assert_eq!(VerifierKey::new(name, kind, key.public_bytes()), Ok(key.clone()));
        assert_eq!(vkey.parse(), Ok(key));
    }
    let foo = VerifierKey::parse(FOO_VKEY).unwrap();
    assert_eq!(foo.public_bytes(), unhex(FOO_PUBLIC));
}

// SPEC [N3] [N4]
#[test]
fn malformed_vkeys() {
    let id = KeyError::Id(KeyIdError);
    let computed: KeyId = "530d903a".parse().unwrap();
    let public = unhex(FOO_PUBLIC);
    let (other, ecdsa) = (vkey_of("a", 0x07, &[7; 1312]), vkey_of("a", 0x02, &public));
    let (short, long) = (vkey_of("a", 1, &public[1..]), vkey_of("a", 1, &[1; 33]));
    let table: &[(&str, KeyError)] = &[
        ("", KeyError::Form),
        ("example.com/foo", KeyError::Form),
        ("example.com/foo+530d903a", KeyError::Form),
        ("+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", KeyError::Name),
        ("a b+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", KeyError::Name),
        ("example.com/foo+530D903A+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", id),
        ("example.com/foo+530d903+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", id),
        ("example.com/foo+0530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", id),
        ("example.com/foo++530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", id),
        (
            "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k=",
            KeyError::Base64,
        ),
        (
            "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k\n",
            KeyError::Base64,
        ),
        ("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U-k", KeyError::Base64),
        ("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2", KeyError::Base64),
        ("example.com/foo+530d903a+AQ", KeyError::Base64),
        ("example.com/foo+530d903a+AR==", KeyError::Base64),
        ("example.com/foo+530d903a+", KeyError::Length { got: 0, want: 33 }),
        ("example.com/foo+530d903a+AQ==", KeyError::Length { got: 1, want: 33 }),
        (&short, KeyError::Length { got: 32, want: 33 }),
        (&long, KeyError::Length { got: 34, want: 33 }),
        (
            "example.com/foo+530d903b+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            KeyError::IdMismatch { computed },
        ),
        (&other, KeyError::Unsupported { kind: 0x07 }),
        (&ecdsa, KeyError::Unsupported { kind: 0x02 }),
    ];
    for (vkey, error) in table {
        assert_eq!(VerifierKey::parse(vkey), Err(*error), "{vkey}");
    }
    let said = KeyError::Unsupported { kind: 0x07 }.to_string();
    assert!(said.contains("0x07 is not supported by this version"), "{said}");
}

// SPEC [N3]
#[test]
fn the_key_id_covers_name_kind_and_key() {
    let key = VerifierKey::parse(FOO_VKEY).unwrap();
    for (name, kind, public) in [
        ("example.com/fop", 1, unhex(FOO_PUBLIC)),
        ("example.com/foo", 4, unhex(FOO_PUBLIC)),
        ("example.com/foo", 1, *VerifierKey::parse(LOG_VKEY).unwrap().ed25519_bytes().unwrap()),
    ] {
        let good = vkey_of(name, kind, &public);
        let id = &good[name.len() + 1..name.len() + 9];
        let bad = good.replace(id, "530d903a");
        let computed = id.parse().unwrap();
        assert_eq!(VerifierKey::parse(&bad), Err(KeyError::IdMismatch { computed }));
        let parsed = VerifierKey::parse(&good).unwrap();
        assert_eq!(parsed.id(), computed);
        assert_ne!(parsed, key);
    }
}

#[test]
fn key_ids_have_one_spelling() {
    let id: KeyId = "00a1b2c3".parse().unwrap();
    assert_eq!(id.as_bytes(), &[0x00, 0xa1, 0xb2, 0xc3]);
    assert_eq!(id, KeyId::new([0x00, 0xa1, 0xb2, 0xc3]));
    assert_eq!((id.to_string(), format!("{id:?}")), ("00a1b2c3".into(), "00a1b2c3".into()));
    for text in ["", "00a1b2c", "00a1b2c34", "00A1B2C3", "00a1b2cg", "+0a1b2c3", " 0a1b2c3"] {
        assert_eq!(text.parse::<KeyId>(), Err(KeyIdError), "{text}");
    }
}

// SPEC [N2]
#[test]
fn names() {
    for name in ["a", "example.com/log", "kpps/3173011005115", "\u{e9}\u{4e2d}", "a-b_c:d", "<>"] {
        assert!(valid_name(name), "{name}");
    }
    let spaces = "\t\n\u{b}\u{c}\r \u{85}\u{a0}\u{1680}\u{2000}\u{2009}\u{2028}\u{2029}\u{202f}\
        \u{205f}\u{3000}";
    for c in spaces.chars().chain(['+', '\0', '\u{1}', '\u{1f}']) {
        assert!(!valid_name(&format!("a{c}b")), "{c:?}");
        assert!(!valid_name(&c.to_string()), "{c:?}");
        let vkey = vkey_of(&format!("a{c}b"), 1, &unhex(FOO_PUBLIC));
        assert!(VerifierKey::parse(&vkey).is_err(), "{c:?}");
        let new = VerifierKey::new(&format!("a{c}b"), KeyKind::Ed25519, &unhex(FOO_PUBLIC));
        assert_eq!(new, Err(KeyError::Name), "{c:?}");
    }
    assert!(!valid_name(""));
}

// SPEC [N5]
#[test]
fn keys_of_small_order() {
    for (public, weakness) in SMALL_ORDER {
        for (byte, kind) in [(1, KeyKind::Ed25519), (4, KeyKind::CosignatureV1)] {
            let error = Err(KeyError::Weak(weakness));
            assert_eq!(VerifierKey::parse(&vkey_of("a", byte, &unhex(public))), error, "{public}");
            assert_eq!(VerifierKey::new("a", kind, &unhex(public)), error, "{public}");
        }
    }
}

// SPEC [N5]
#[test]
fn keys_of_mixed_order() {
    for public in MIXED_ORDER {
        let error = Err(KeyError::Weak(Weakness::MixedOrder));
        assert_eq!(VerifierKey::parse(&vkey_of("a", 1, &unhex(public))), error, "{public}");
    }
}

/// Every y from the prime to 2^255 - 1 that is on the curve, with both signs.
// SPEC [N5]
#[test]
fn keys_that_are_not_canonical() {
    for y in [3_u8, 4, 5, 6, 9, 10, 14, 15, 16, 18] {
        for last in [0x7f, 0xff] {
            let mut public = [0xff; 32];
            (public[0], public[31]) = (0xed + y, last);
            let error = Err(KeyError::Weak(Weakness::NonCanonical));
            assert_eq!(VerifierKey::parse(&vkey_of("a", 1, &public)), error, "{y}");
        }
    }
}

#[test]
fn keys_that_are_no_points() {
    for y in [2_u8, 7, 8] {
        let mut public = [0; 32];
        public[0] = y;
        assert_eq!(VerifierKey::parse(&vkey_of("a", 1, &public)), Err(KeyError::NotAPoint), "{y}");
    }
}

fn foo_signature() -> (VerifierKey, &'static str, Vec<u8>) {
    let note = SignedNote::parse(FOO_NOTE.as_bytes()).unwrap();
    let signature = note.lines()[0].signature().to_vec();
    (VerifierKey::parse(FOO_VKEY).unwrap(), note.text(), signature)
}

#[test]
fn every_flipped_bit_of_a_signature_is_refused() {
    let (key, text, signature) = foo_signature();
    assert_eq!(key.verify(text, &signature), Ok(()));
    for bit in 0..8 * signature.len() {
        let mut forged = signature.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(key.verify(text, &forged), Err(SignatureError::Invalid), "bit {bit}");
    }
    assert_eq!(key.verify("This is an example message.", &signature), Err(SignatureError::Invalid));
}

/// S, then S plus 1, 2 and 15 times the order of the group, for which the equation holds too.
#[test]
fn malleable_signatures() {
    let (key, text, signature) = foo_signature();
    let invalid = Err(SignatureError::Invalid);
    for (s, want) in [
        ("80aed9b60d444583595ec6233811f79855e644abb01e31b562eef62277b26903", Ok(())),
        ("6d82cf1328a757db2ffbbdc6160bd6ad55e644abb01e31b562eef62277b26913", invalid),
        ("5a56c570420a6a330698b569f504b5c255e644abb01e31b562eef62277b26923", invalid),
        ("63194129991259ace88e48b043b507d256e644abb01e31b562eef62277b269f3", invalid),
    ] {
        let signature = [&signature[..32], &unhex(s)].concat();
        assert_eq!(key.verify(text, &signature), want, "{s}");
    }
}

/// A signature that only who has the private key can make, with the identity as R: the equation
/// holds, and some verifiers take it.
#[test]
fn r_of_small_order() {
    let r = unhex("0100000000000000000000000000000000000000000000000000000000000000");
    let s = unhex("3777571940ee7be9f8ff4e09e1fb6f0740d2ca4e806a6ab4c0d6f35bddf19c0f");
    let signature = [r, s].concat();
    let key = VerifierKey::parse(LOG_VKEY).unwrap();
    assert_eq!(key.verify("text\n", &signature), Err(SignatureError::Invalid));

    let lax = ed25519_dalek::VerifyingKey::from_bytes(key.ed25519_bytes().unwrap()).unwrap();
    let signature = ed25519_dalek::Signature::from_slice(&signature).unwrap();
    assert!(lax.verify(b"text\n", &signature).is_ok());
}

#[test]
fn signatures_have_one_length() {
    let (key, text, signature) = foo_signature();
    for got in [0, 1, 32, 63] {
        let error = SignatureError::Length { got, want: 64 };
        assert_eq!(key.verify(text, &signature[..got]), Err(error));
    }
    let long = [signature.as_slice(), &[0; 8]].concat();
    for got in [65, 72] {
        let error = SignatureError::Length { got, want: 64 };
        assert_eq!(key.verify(text, &long[..got]), Err(error));
    }
    let error = SignatureError::WrongKind { kind: KeyKind::Ed25519 };
    assert_eq!(key.verify_cosignature(text, &long), Err(error));
}
