//! Checkpoints: form, whose signature counts, and which of three faults an error is.

use jejak_proofs::merkle::{TREE_SIZE_MAX, TreeHead, sha256};
use jejak_proofs::note::{Checkpoint, CheckpointError, CheckpointFault, KeyKind, NoteError};
use jejak_proofs::note::{
    NumberError, SignatureLine, SigningKey, UnverifiedCheckpoint, VerifierKey, compose,
};

use super::{CHECKPOINT, LOG_VKEY, WITNESS_LINE, base64, checkpoint, head, log_key};
use super::{vkey_of, with_line, witness};

const ORIGIN: &str = "example.com/tally";
const ROOT: &str = "A9jN2rnQIZbqXtL42/AQnTXSHwcp5YXyeuKU7VUuwys=";
const EMPTY_ROOT: &str = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

fn parse(note: &str) -> Result<UnverifiedCheckpoint, CheckpointError> {
    UnverifiedCheckpoint::parse(note.as_bytes())
}

/// A note with this text, signed by a key of this name.
fn signed(name: &str, text: &str) -> String {
    let key = SigningKey::from_seed(name, KeyKind::Ed25519, [1; 32]).unwrap();
    compose(text, &[key.sign_line(text)])
}

// SPEC [C1]
#[test]
fn the_known_checkpoint() {
    let key = VerifierKey::parse(LOG_VKEY).unwrap();
    let read = parse(CHECKPOINT).unwrap();
    assert_eq!((read.origin(), read.note()), (ORIGIN, CHECKPOINT));
    assert_eq!((read.claimed_head().size, read.claimed_head().root.to_base64()), (3, ROOT.into()));
    let verified = read.clone().verify(ORIGIN, &[key]).unwrap();
    assert_eq!((verified.origin(), verified.note()), (ORIGIN, CHECKPOINT));
    assert_eq!(verified.text(), format!("{ORIGIN}\n3\n{ROOT}\n"));
    assert_eq!(verified.head(), read.claimed_head());
    assert_eq!(verified.as_unverified(), &read);
    assert_eq!(Checkpoint::sign(read.claimed_head(), &log_key()), Ok(verified.clone()));
    assert_eq!(UnverifiedCheckpoint::from(verified), read);
}

// SPEC [C2] [E14] [T4]
#[test]
fn malformed_checkpoints() {
    let text = |lines: &[&str]| format!("{}\n", lines.join("\n"));
    let size = |size: &str| text(&[ORIGIN, size, ROOT]);
    let root = |root: &str| text(&[ORIGIN, "3", root]);
    let spelling = CheckpointError::Size(NumberError::Spelling);
    let large = CheckpointError::Size(NumberError::TooLarge);
    let table: Vec<(String, CheckpointError)> = vec![
        (text(&[ORIGIN]), CheckpointError::Lines),
        (text(&[ORIGIN, "3"]), CheckpointError::Lines),
        ("\n".into(), CheckpointError::EmptyLine),
        (text(&["", "3", ROOT]), CheckpointError::EmptyLine),
        (text(&[ORIGIN, "", ROOT]), CheckpointError::EmptyLine),
        (text(&[ORIGIN, "3", ""]), CheckpointError::EmptyLine),
        (text(&[ORIGIN, "3", ROOT, ""]), CheckpointError::EmptyLine),
        (text(&[ORIGIN, "3", ROOT, "", "x"]), CheckpointError::EmptyLine),
        (text(&["jejak/tally/v1", "3", ROOT]), CheckpointError::Origin),
        (text(&["jejak/", "3", ROOT]), CheckpointError::Origin),
        (text(&["cosignature/v1", "3", ROOT]), CheckpointError::Origin),
        (size("+3"), spelling),
        (size("-3"), spelling),
        (size("03"), spelling),
        (size("00"), spelling),
        (size(" 3"), spelling),
        (size("3 "), spelling),
        (size("0x3"), spelling),
        (size("3.0"), spelling),
        (size("1e3"), spelling),
        (size("1_000"), spelling),
        (size("\u{663}"), spelling),
        (size("9223372036854775808"), large),
        (size("18446744073709551615"), large),
        (size("18446744073709551616"), large),
        (size("100000000000000000000000000000000"), large),
        (root(&ROOT[..43]), CheckpointError::Root),
        (root("A9jN2rnQIZbqXtL42/AQnTXSHwcp5YXyeuKU7VUuwyt="), CheckpointError::Root),
        (root("A9jN2rnQIZbqXtL42_AQnTXSHwcp5YXyeuKU7VUuwys="), CheckpointError::Root),
        (root(&base64(&[1; 31])), CheckpointError::Root),
        (root(&base64(&[1; 33])), CheckpointError::Root),
        (root(&format!("{ROOT} ")), CheckpointError::Root),
        (text(&[ORIGIN, "0", ROOT]), CheckpointError::EmptyRoot),
    ];
    for (text, error) in table {
        assert_eq!(parse(&signed("a", &text)), Err(error), "{text}");
        assert_eq!(error.fault(), CheckpointFault::Malformed);
    }
    assert_eq!(parse(""), Err(CheckpointError::Note(NoteError::NoSignatures)));
    assert_eq!(parse(&CHECKPOINT[..20]), Err(CheckpointError::Note(NoteError::NoSignatures)));
}

// SPEC [C4]
#[test]
fn unusual_checkpoints_that_are_right() {
    let max = TREE_SIZE_MAX.to_string();
    assert_eq!(max, "9223372036854775807");
    for (origin, size, root, more) in [
        (ORIGIN, "0", EMPTY_ROOT, ""),
        (ORIGIN, "1", EMPTY_ROOT, ""),
        (ORIGIN, max.as_str(), ROOT, ""),
        (ORIGIN, "3", ROOT, "an extension line\n"),
        (ORIGIN, "3", ROOT, "one\ntwo +\u{e9}\n\u{2014} a AAAAAAA=\n"),
        // C2SP only recommends what an origin looks like.
        ("Go SUM database tree", "3", ROOT, ""),
        ("a+b", "3", ROOT, ""),
        ("jejak", "3", ROOT, ""),
        ("cosignature/v1/log", "3", ROOT, ""),
    ] {
        let text = format!("{origin}\n{size}\n{root}\n{more}");
        let read = parse(&signed("a", &text)).unwrap();
        assert_eq!((read.origin(), read.text()), (origin, text.as_str()));
        let head = read.claimed_head();
        assert_eq!((head.size.to_string(), head.root.to_base64()), (size.into(), root.into()));
    }
}

// SPEC [C4]
#[test]
fn signatures_cover_extension_lines() {
    let note = signed(ORIGIN, &format!("{ORIGIN}\n3\n{ROOT}\nextension\n"));
    let key = [log_key().verifier()];
    assert!(parse(&note).unwrap().verify(ORIGIN, &key).is_ok());
    let error = CheckpointError::LogSignature { key: key[0].id() };
    for forged in [note.replace("extension\n", ""), note.replace("extension", "other")] {
        assert_eq!(parse(&forged).unwrap().verify(ORIGIN, &key), Err(error));
    }
}

// SPEC [C1] [C5]
#[test]
fn whose_signature_makes_a_checkpoint() {
    let key = log_key().verifier();
    let second = SigningKey::from_seed(ORIGIN, KeyKind::Ed25519, [9; 32]).unwrap();
    let keys = [key.clone(), second.verifier()];
    let good = checkpoint(3);
    let read = good.as_unverified();
    let unsigned = Err(CheckpointError::Unsigned);

    // Any one of the listed keys suffices.
    assert_eq!(read.clone().verify(ORIGIN, &keys), Ok(good.clone()));
    let other = Checkpoint::sign(head(3), &second).unwrap();
    assert_eq!(other.as_unverified().clone().verify(ORIGIN, &keys), Ok(other.clone()));
    assert_eq!(other.as_unverified().clone().verify(ORIGIN, &keys[..1]), unsigned);
    assert_eq!(read.clone().verify(ORIGIN, &[]), unsigned);
    // But a listed key whose signature fails refuses it, beside a good one too.
    let forged = second.sign_line("another text\n");
    let both = good.with_lines(&[forged]).unwrap();
    let error = Err(CheckpointError::LogSignature { key: second.verifier().id() });
    assert_eq!(both.as_unverified().clone().verify(ORIGIN, &keys), error);
    assert_eq!(both.as_unverified().clone().verify(ORIGIN, &keys[..1]), Ok(both.clone()));
    // The origin is asked for by the caller, never taken from the checkpoint.
    let error = Err(CheckpointError::OtherOrigin);
    assert_eq!(read.clone().verify("example.com/tall", &keys), error);
    assert_eq!(read.clone().verify("", &keys), error);

    // A key that bears another name than the origin does not sign for the log,
    let text = good.text();
    let stranger = SigningKey::from_seed("stranger", KeyKind::Ed25519, [3; 32]).unwrap();
    let note = compose(text, &[stranger.sign_line(text)]);
    assert_eq!(parse(&note).unwrap().verify(ORIGIN, &[stranger.verifier()]), unsigned);
    // nor does a cosigner's key, whatever its name.
    let cosigner = vkey_of(ORIGIN, 4, witness(1).verifier().public_bytes());
    let cosigner = VerifierKey::parse(&cosigner).unwrap();
    let line = witness(1).cosign(&good, 7).unwrap();
    let line = SignatureLine::parse(line.trim_end()).unwrap();
    let named = [cosigner.id().as_bytes(), line.signature()].concat();
    let note = compose(text, &[format!("\u{2014} {ORIGIN} {}\n", base64(&named))]);
    assert_eq!(parse(&note).unwrap().verify(ORIGIN, &[cosigner]), unsigned);
}

#[test]
fn every_changed_line_loses_the_signature() {
    let key = [log_key().verifier()];
    let error = Err(CheckpointError::LogSignature { key: key[0].id() });
    for (line, to) in [(1, "4"), (1, "33"), (2, EMPTY_ROOT)] {
        let forged = parse(&with_line(CHECKPOINT, line, to)).unwrap();
        assert_eq!(forged.verify(ORIGIN, &key), error);
    }
    let forged = parse(&with_line(CHECKPOINT, 0, "example.com/other")).unwrap();
    assert_eq!(forged.clone().verify(ORIGIN, &key), Err(CheckpointError::OtherOrigin));
    assert_eq!(forged.verify("example.com/other", &key), Err(CheckpointError::Unsigned));
}

#[test]
fn faults_have_their_classes() {
    let key = log_key().verifier().id();
    for error in [
        CheckpointError::OtherOrigin,
        CheckpointError::Unsigned,
        CheckpointError::LogSignature { key },
    ] {
        assert_eq!(error.fault(), CheckpointFault::LogSignature);
    }
    for error in [CheckpointError::Cosignature { key }, CheckpointError::Quorum] {
        assert_eq!(error.fault(), CheckpointFault::Quorum);
    }
}

// SPEC [E14]
#[test]
fn what_is_not_signed() {
    let sign = |head, name| {
        let key = SigningKey::from_seed(name, KeyKind::Ed25519, [1; 32]).unwrap();
        Checkpoint::sign(head, &key)
    };
    let reserved = Err(CheckpointError::Origin);
    assert_eq!(sign(head(1), "jejak/tally/v1"), reserved);
    assert_eq!(sign(head(1), "cosignature/v1"), reserved);
    let large = Err(CheckpointError::Size(NumberError::TooLarge));
    assert_eq!(sign(head(TREE_SIZE_MAX + 1), ORIGIN), large);
    assert!(sign(head(TREE_SIZE_MAX), ORIGIN).is_ok());
    let empty = Err(CheckpointError::EmptyRoot);
    assert_eq!(sign(TreeHead { size: 0, root: sha256(b"x") }, ORIGIN), empty);
    assert_eq!(sign(TreeHead::EMPTY, ORIGIN).unwrap().head(), TreeHead::EMPTY);
}

#[test]
fn added_lines() {
    let good = parse(CHECKPOINT).unwrap().verify(ORIGIN, &[log_key().verifier()]).unwrap();
    let added = good.with_lines(&[WITNESS_LINE]).unwrap();
    assert_eq!(added.note(), format!("{CHECKPOINT}{WITNESS_LINE}"));
    assert_eq!((added.text(), added.head()), (good.text(), good.head()));
    assert_eq!(good.with_lines::<&str>(&[]), Ok(good.clone()));

    let bare = WITNESS_LINE.trim_end();
    for line in [
        "".to_string(),
        "\n".into(),
        bare.into(),
        format!("{WITNESS_LINE}\n"),
        format!("{WITNESS_LINE}{WITNESS_LINE}"),
        // Would move the end of the text below lines that the log did not sign.
        format!("\n\n{WITNESS_LINE}"),
        format!("{bare}\n\n{WITNESS_LINE}"),
    ] {
        assert_eq!(good.with_lines(&[&line]), Err(CheckpointError::AddedLine), "{line}");
    }
    let error = CheckpointError::Note(NoteError::TooManySignatures { max: 64 });
    assert!(good.with_lines(&[WITNESS_LINE; 63]).is_ok());
    assert_eq!(good.with_lines(&[WITNESS_LINE; 64]), Err(error));
}
