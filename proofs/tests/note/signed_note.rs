//! Signed notes: form, limits, and whose signature counts.

use jejak_proofs::note::{KeyKind, LineError, NOTE_LEN_MAX, NOTE_SIGNATURES_MAX, NoteError};
use jejak_proofs::note::{SignatureLine, SignedNote, SigningKey, VerifierKey, compose};

use super::{FOO_NOTE, FOO_VKEY, base64, log_key, vkey_of, witness};

fn foo() -> VerifierKey {
    VerifierKey::parse(FOO_VKEY).unwrap()
}

#[test]
fn the_example_of_c2sp() {
    let note = SignedNote::parse(FOO_NOTE.as_bytes()).unwrap();
    assert_eq!(note.text(), "This is an example message.\n");
    let [line] = note.lines() else { panic!("one line") };
    assert_eq!((line.name(), line.key_id()), ("example.com/foo", foo().id()));
    assert_eq!(line.signature().len(), 64);
    let bare = FOO_NOTE.lines().last().unwrap();
    assert_eq!(line.text(), bare);
    assert_eq!(SignatureLine::parse(bare).as_ref(), Ok(line));
    assert_eq!(note.verify(&[&foo()]), Ok(vec![&foo()]));
    assert_eq!(compose(note.text(), &[format!("{bare}\n")]), FOO_NOTE);
}

// SPEC [N1]
#[test]
fn the_text_ends_at_the_last_empty_line() {
    let line = "\u{2014} a AAAAAAA=\n";
    for text in ["a\n", "\n", "\n\n", "a\n\nb\n", "a\n\n", "a\n\n\u{2014} b AAAAAAA=\n", "\u{e9}\n"]
    {
        let note = format!("{text}\n{line}{line}");
        let note = SignedNote::parse(note.as_bytes()).unwrap();
        assert_eq!((note.text(), note.lines().len()), (text, 2));
    }
}

// SPEC [N1]
#[test]
fn malformed_notes() {
    let table: &[(&[u8], NoteError)] = &[
        (b"", NoteError::NoSignatures),
        (b"text\n", NoteError::NoSignatures),
        (b"text\n\n", NoteError::NoSignatures),
        (b"\n\xe2\x80\x94 a AAAAAAA=\n", NoteError::NoSignatures),
        (b"text\n\xe2\x80\x94 a AAAAAAA=\n", NoteError::NoSignatures),
        (b"text\n\n\xe2\x80\x94 a AAAAAAA=\n\n", NoteError::NoSignatures),
        (b"text\n\n\xe2\x80\x94 a AAAAAAA=", NoteError::NoFinalNewline),
        (b"text\r\n\r\n\xe2\x80\x94 a AAAAAAA=\r\n", NoteError::ControlCharacter),
        (b"te\txt\n\n\xe2\x80\x94 a AAAAAAA=\n", NoteError::ControlCharacter),
        (b"te\0xt\n\n\xe2\x80\x94 a AAAAAAA=\n", NoteError::ControlCharacter),
        (b"te\x1fxt\n\n\xe2\x80\x94 a AAAAAAA=\n", NoteError::ControlCharacter),
        (b"te\xffxt\n\n\xe2\x80\x94 a AAAAAAA=\n", NoteError::NotUtf8),
        (b"te\xc0\x80xt\n\n\xe2\x80\x94 a AAAAAAA=\n", NoteError::NotUtf8),
        (b"te\xed\xa0\x80xt\n\n\xe2\x80\x94 a AAAAAAA=\n", NoteError::NotUtf8),
    ];
    for (note, error) in table {
        assert_eq!(SignedNote::parse(note), Err(*error), "{}", note.escape_ascii());
    }
    // U+007F is no control character "below U+0020".
    assert!(SignedNote::parse("te\u{7f}xt\n\n\u{2014} a AAAAAAA=\n".as_bytes()).is_ok());
}

// SPEC [N1] [N2] [N4]
#[test]
fn malformed_signature_lines() {
    let table = [
        ("", LineError::Form),
        ("- a AAAAAAA=", LineError::Form),
        ("-- a AAAAAAA=", LineError::Form),
        ("\u{2013} a AAAAAAA=", LineError::Form),
        ("\u{2014}a AAAAAAA=", LineError::Form),
        (" \u{2014} a AAAAAAA=", LineError::Form),
        ("\u{2014} a", LineError::Form),
        ("\u{2014}  a AAAAAAA=", LineError::Name),
        ("\u{2014}  AAAAAAA=", LineError::Name),
        ("\u{2014} a+b AAAAAAA=", LineError::Name),
        ("\u{2014} a\u{a0}b AAAAAAA=", LineError::Name),
        ("\u{2014} a\u{3000} AAAAAAA=", LineError::Name),
        ("\u{2014} a  AAAAAAA=", LineError::Base64),
        ("\u{2014} a AAAAAAA= ", LineError::Base64),
        ("\u{2014} a AAAAAAA= b", LineError::Base64),
        ("\u{2014} a AAAAAAA", LineError::Base64),
        ("\u{2014} a AAAAAAA==", LineError::Base64),
        ("\u{2014} a AAAAAAB=", LineError::Base64),
        ("\u{2014} a AAAAAB==", LineError::Base64),
        ("\u{2014} a AAAAAA-=", LineError::Base64),
        ("\u{2014} a AAAA AA=", LineError::Base64),
        ("\u{2014} a \u{e9}", LineError::Base64),
        ("\u{2014} a ", LineError::Short),
        ("\u{2014} a AAAA", LineError::Short),
        ("\u{2014} a AAAAAA==", LineError::Short),
    ];
    for (line, kind) in table {
        assert_eq!(SignatureLine::parse(line), Err(kind), "{line}");
        if !line.is_empty() {
            let good = "\u{2014} a AAAAAAA=\n";
            let note = format!("text\n\n{good}{line}\n{good}");
            let error = NoteError::Line { number: 2, kind };
            assert_eq!(SignedNote::parse(note.as_bytes()), Err(error), "{line}");
        }
    }
    assert_eq!(SignatureLine::parse("\u{2014} a AAAAAAA=\n"), Err(LineError::Base64));
}

#[test]
fn limits() {
    let (line, text) = ("\u{2014} a AAAAAAA=\n", "text\n\n");
    let many = |n| format!("{text}{}", line.repeat(n));
    assert_eq!(SignedNote::parse(many(NOTE_SIGNATURES_MAX).as_bytes()).unwrap().lines().len(), 64);
    let error = NoteError::TooManySignatures { max: NOTE_SIGNATURES_MAX };
    assert_eq!(SignedNote::parse(many(NOTE_SIGNATURES_MAX + 1).as_bytes()), Err(error));

    let (note, len) = (many(16), many(16).len());
    assert!(SignedNote::parse_with(note.as_bytes(), 16, len).is_ok());
    let error = NoteError::TooManySignatures { max: 15 };
    assert_eq!(SignedNote::parse_with(note.as_bytes(), 15, len), Err(error));
    let error = NoteError::TooLong { len, max: len - 1 };
    assert_eq!(SignedNote::parse_with(note.as_bytes(), 16, len - 1), Err(error));

    let long = format!("{}\n\n{line}", "x".repeat(NOTE_LEN_MAX - line.len() - 2));
    assert!(SignedNote::parse(long.as_bytes()).is_ok());
    let error = NoteError::TooLong { len: NOTE_LEN_MAX + 1, max: NOTE_LEN_MAX };
    assert_eq!(SignedNote::parse(format!("x{long}").as_bytes()), Err(error));
}

/// C2SP: at least 16 signatures, and post-quantum ones take nearly 5 kB each.
// SPEC [N8]
#[test]
fn unknown_large_signatures_fit_and_are_ignored() {
    let sized = |len: usize| format!("\u{2014} pq.example {}\n", base64(&vec![7; len]));
    for (count, len) in [(63, 4 + 8 + 2420), (15, 5 * 1024)] {
        let note = format!("{FOO_NOTE}{}", sized(len).repeat(count));
        let note = SignedNote::parse(note.as_bytes()).unwrap();
        assert_eq!(note.lines().len(), count + 1);
        assert_eq!(note.verify(&[&foo()]), Ok(vec![&foo()]));
    }
}

// SPEC [N7]
#[test]
fn whose_signatures_count() {
    let text = "text\n";
    let key = |name, seed| SigningKey::from_seed(name, KeyKind::Ed25519, [seed; 32]).unwrap();
    let (a, b, other) = (key("a", 1), key("b", 2), key("a", 3));
    let (va, vb, vo) = (a.verifier(), b.verifier(), other.verifier());
    let of = |lines: &[&str]| compose(text, lines);
    // A's name and id over a signature of another text.
    let forged = a.sign_line("another text\n");
    let bad = NoteError::BadSignature { key: va.id() };

    let check =
        |note: String, keys: &[&VerifierKey], want: Result<Vec<&VerifierKey>, NoteError>| {
            assert_eq!(SignedNote::parse(note.as_bytes()).unwrap().verify(keys), want, "{note}");
        };
    let (la, lb) = (a.sign_line(text), b.sign_line(text));
    check(of(&[&la]), &[&va], Ok(vec![&va]));
    check(of(&[&la]), &[], Err(NoteError::Unsigned));
    check(of(&[&la]), &[&vb], Err(NoteError::Unsigned));
    check(of(&[&la, &lb]), &[&va, &vb], Ok(vec![&va, &vb]));
    check(of(&[&lb, &la]), &[&va, &vb], Ok(vec![&va, &vb]));
    check(of(&[&lb, &la]), &[&vb, &va], Ok(vec![&vb, &va]));
    check(of(&[&la, &lb]), &[&vb], Ok(vec![&vb]));
    check(of(&[&la, &la]), &[&va], Ok(vec![&va]));
    // The same name with another id is unknown; so is the same id with another name.
    check(of(&[&la]), &[&vo], Err(NoteError::Unsigned));
    check(of(&[&la.replace(" a ", " c ")]), &[&va], Err(NoteError::Unsigned));
    // A known key whose signature fails rejects the note, whatever else verifies.
    check(of(&[&forged]), &[&va], Err(bad));
    check(of(&[&lb, &forged]), &[&va, &vb], Err(bad));
    check(of(&[&lb, &forged]), &[&vb, &va], Err(bad));
    check(of(&[&la, &forged]), &[&va], Err(bad));
    check(of(&[&forged, &la]), &[&va], Err(bad));
    check(of(&[&lb, &forged]), &[&vb], Ok(vec![&vb]));
    // A signature of 63 bytes by a known key is one that fails, not one that is unknown.
    let mut bytes = va.id().as_bytes().to_vec();
    bytes.extend([9; 63]);
    check(of(&[&lb, &format!("\u{2014} a {}\n", base64(&bytes))]), &[&va, &vb], Err(bad));
}

/// The same public key under another name or type has another id and is another key.
#[test]
fn one_public_key_two_names() {
    let key = log_key();
    let public = *key.verifier().ed25519_bytes().unwrap();
    let twin = VerifierKey::parse(&vkey_of("twin", 1, &public)).unwrap();
    let note = compose("text\n", &[key.sign_line("text\n")]);
    let note = SignedNote::parse(note.as_bytes()).unwrap();
    assert_eq!(note.verify(&[&twin]), Err(NoteError::Unsigned));
    assert_eq!(note.verify(&[&twin, &key.verifier()]), Ok(vec![&key.verifier()]));
    assert_eq!(note.verify(&[&witness(1).verifier()]), Err(NoteError::Unsigned));
}
