//! The twelve vectors of "Taming the Many EdDSAs" (Chalkias, Garillot, Nikolaenko 2020), on which
//! implementations of Ed25519 disagree. None passes here: the keys of ten are refused, and the
//! signatures of the other two, with S above the order of the group.

use alloc::string::String;

use ed25519_dalek::{Signature, VerifyingKey};

use super::Weakness::{self, MixedOrder, NonCanonical, SmallOrder};
use super::{KeyError, KeyKind, SignatureError, VerifierKey};

struct Vector {
    message: &'static str,
    public: &'static str,
    r: &'static str,
    s: &'static str,
    weakness: Option<Weakness>,
}

const VECTORS: [Vector; 12] = [
    Vector {
        message: "8c93255d71dcab10e8f379c26200f3c7bd5f09d9bc3068d3ef4edeb4853022b6",
        public: "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        r: "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        s: "0000000000000000000000000000000000000000000000000000000000000000",
        weakness: Some(SmallOrder),
    },
    Vector {
        message: "9bd9f44f4dcc75bd531b56b2cd280b0bb38fc1cd6d1230e14861d861de092e79",
        public: "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        r: "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
        s: "a5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04",
        weakness: Some(SmallOrder),
    },
    Vector {
        message: "aebf3f2601a0c8c5d39cc7d8911642f740b78168218da8471772b35f9d35b9ab",
        public: "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
        r: "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        s: "8c4bd45aecaca5b24fb97bc10ac27ac8751a7dfe1baff8b953ec9f5833ca260e",
        weakness: Some(MixedOrder),
    },
    Vector {
        message: "9bd9f44f4dcc75bd531b56b2cd280b0bb38fc1cd6d1230e14861d861de092e79",
        public: "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
        r: "9046a64750444938de19f227bb80485e92b83fdb4b6506c160484c016cc1852f",
        s: "87909e14428a7a1d62e9f22f3d3ad7802db02eb2e688b6c52fcd6648a98bd009",
        weakness: Some(MixedOrder),
    },
    Vector {
        message: "e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec4011eaccd55b53f56c",
        public: "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
        r: "160a1cb0dc9c0258cd0a7d23e94d8fa878bcb1925f2c64246b2dee1796bed512",
        s: "5ec6bc982a269b723e0668e540911a9a6a58921d6925e434ab10aa7940551a09",
        weakness: Some(MixedOrder),
    },
    Vector {
        message: "e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec4011eaccd55b53f56c",
        public: "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
        r: "21122a84e0b5fca4052f5b1235c80a537878b38f3142356b2c2384ebad4668b7",
        s: "e40bc836dac0f71076f9abe3a53f9c03c1ceeeddb658d0030494ace586687405",
        weakness: Some(MixedOrder),
    },
    Vector {
        message: "85e241a07d148b41e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec40",
        public: "442aad9f089ad9e14647b1ef9099a1ff4798d78589e66f28eca69c11f582a623",
        r: "e96f66be976d82e60150baecff9906684aebb1ef181f67a7189ac78ea23b6c0e",
        s: "547f7690a0e2ddcd04d87dbc3490dc19b3b3052f7ff0538cb68afb369ba3a514",
        weakness: None,
    },
    Vector {
        message: "85e241a07d148b41e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec40",
        public: "442aad9f089ad9e14647b1ef9099a1ff4798d78589e66f28eca69c11f582a623",
        r: "8ce5b96c8f26d0ab6c47958c9e68b937104cd36e13c33566acd2fe8d38aa1942",
        s: "7e71f98a473474f2f13f06f97c20d58cc3f54b8bd0d272f42b695dd7e89a8c22",
        weakness: None,
    },
    Vector {
        message: "9bedc267423725d473888631ebf45988bad3db83851ee85c85e241a07d148b41",
        public: "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
        r: "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        s: "03be9678ac102edcd92b0210bb34d7428d12ffc5df5f37e359941266a4e35f0f",
        weakness: Some(MixedOrder),
    },
    Vector {
        message: "9bedc267423725d473888631ebf45988bad3db83851ee85c85e241a07d148b41",
        public: "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
        r: "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        s: "ca8c5b64cd208982aa38d4936621a4775aa233aa0505711d8fdcfdaa943d4908",
        weakness: Some(MixedOrder),
    },
    Vector {
        message: "e96b7021eb39c1a163b6da4e3093dcd3f21387da4cc4572be588fafae23c155b",
        public: "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        r: "a9d55260f765261eb9b84e106f665e00b867287a761990d7135963ee0a7d59dc",
        s: "a5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04",
        weakness: Some(NonCanonical),
    },
    Vector {
        message: "39a591f5321bbe07fd5a23dc2f39d025d74526615746727ceefd6e82ae65c06f",
        public: "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        r: "a9d55260f765261eb9b84e106f665e00b867287a761990d7135963ee0a7d59dc",
        s: "a5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04",
        weakness: Some(NonCanonical),
    },
];

impl Vector {
    fn public(&self) -> [u8; 32] {
        hex::decode(self.public).unwrap().try_into().unwrap()
    }

    fn signature(&self) -> [u8; 64] {
        let text: String = [self.r, self.s].concat();
        hex::decode(text).unwrap().try_into().unwrap()
    }
}

#[test]
fn no_vector_passes() {
    for (n, vector) in VECTORS.iter().enumerate() {
        let key = VerifierKey::new("a", KeyKind::Ed25519, &vector.public());
        if let Some(weakness) = vector.weakness {
            assert_eq!(key, Err(KeyError::Weak(weakness)), "vector {n}");
        } else {
            let message = hex::decode(vector.message).unwrap();
            let verified = key.unwrap().verify_bytes(&message, &vector.signature());
            assert_eq!(verified, Err(SignatureError::Invalid), "vector {n}");
        }
    }
}

/// Why keys of mixed order are refused: `verify_strict` alone takes vector 3, which verifiers that
/// multiply by the cofactor may judge otherwise, and the lax `verify` takes five.
#[test]
fn what_the_library_alone_accepts() {
    use ed25519_dalek::Verifier as _;
    let accepted = |strict: bool| {
        let passes = |vector: &Vector| {
            let key = VerifyingKey::from_bytes(&vector.public()).unwrap();
            let signature = Signature::from_bytes(&vector.signature());
            let message = hex::decode(vector.message).unwrap();
            match strict {
                true => key.verify_strict(&message, &signature).is_ok(),
                false => key.verify(&message, &signature).is_ok(),
            }
        };
        (0..VECTORS.len()).filter(|&n| passes(&VECTORS[n])).collect::<alloc::vec::Vec<_>>()
    };
    assert_eq!(accepted(true), [3]);
    assert_eq!(accepted(false), [0, 1, 2, 3, 11]);
}
