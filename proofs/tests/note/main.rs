//! Signed notes and everything built on them, against known answers and tables of what is refused.

mod add_checkpoint;
mod checkpoint;
mod cosignature;
mod evidence;
mod key;
mod ml_dsa;
mod policy;
mod policy_pq;
mod policy_quorum;
mod private_key;
mod receipt;
mod signed_note;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jejak_proofs::merkle::{Hash, TreeHead, sha256};
use jejak_proofs::note::{Checkpoint, CosigningKey, KeyKind, SigningKey};

/// Made by a program of its own from RFC 8032 and the C2SP texts, for seeds of thirty-two 0x01 (the
/// log) and 0x02 (the witness), and a tree of the entries "zero", "one" and "two".
const LOG_VKEY: &str = "example.com/tally+5f701849+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c";
const LOG_PRIVATE: &str = "PRIVATE+KEY+example.com/tally+5f701849+\
    AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB";
const WITNESS_VKEY: &str = "witness.example/w1+df1c0a35+\
    BIE5dw6ofRdfVqNUZsNMfszLjYqRtO43ol32D1uPybOU";
const WITNESS_PRIVATE: &str = "PRIVATE+KEY+witness.example/w1+df1c0a35+\
    BAICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIC";
const CHECKPOINT: &str = "example.com/tally\n3\nA9jN2rnQIZbqXtL42/AQnTXSHwcp5YXyeuKU7VUuwys=\n\n\
    \u{2014} example.com/tally X3AYSSzBUc9jXmDJYmwccwGOdTshYPm1FXMCQIhTwsk7plpqcSzZqTCU2s8uF4v75J06\
    Ug1Irc1K2eLB/iNeG4j4BA4=\n";
const WITNESS_LINE: &str = "\u{2014} witness.example/w1 3xwKNQAAAABmhR4A+B4mhiHsuXFHb8kpwrXABC/r0t\
    ARufVSgx7IIclXYCQmSXDKBQCGoU5MgWFxkjlu8wMCOpQUyn1ZpfsiUogjBw==\n";
const WITNESS_TIME: u64 = 1_720_000_000;

/// The example of C2SP signed-note.
const FOO_VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const FOO_NOTE: &str = "This is an example message.\n\n\
    \u{2014} example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3m\
    FXmRKuwHjG1Yu72IneyaQM=\n";

fn log_key() -> SigningKey {
    SigningKey::from_seed("example.com/tally", KeyKind::Ed25519, [1; 32]).unwrap()
}

/// Witness `n` of the tests; 1 has the literals above.
fn witness(n: u8) -> CosigningKey {
    let name = format!("witness.example/w{n}");
    CosigningKey::from_seed(&name, KeyKind::CosignatureV1, [n + 1; 32]).unwrap()
}

fn head(size: u64) -> TreeHead {
    TreeHead { size, root: sha256(&size.to_be_bytes()) }
}

fn checkpoint(size: u64) -> Checkpoint {
    Checkpoint::sign(head(size), &log_key()).unwrap()
}

fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// A vkey for any bytes, with the key id that they should have.
fn vkey_of(name: &str, kind: u8, public: &[u8]) -> String {
    let material = [&[kind], public].concat();
    let id = sha256(&[name.as_bytes(), b"\n", &material].concat()).to_string();
    format!("{name}+{}+{}", &id[..8], base64(&material))
}

fn unhex(text: &str) -> [u8; 32] {
    *text.parse::<Hash>().unwrap().as_bytes()
}

/// The text with its `n`th line (from 0) replaced.
fn with_line(text: &str, n: usize, line: &str) -> String {
    let mut lines: Vec<&str> = text.split('\n').collect();
    lines[n] = line;
    lines.join("\n")
}
