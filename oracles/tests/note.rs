//! Signed notes, vkeys and private keys against crate `signed_note`, both ways.
//!
//! The two agree on everything that both call well-formed. Ours refuses more, and a test pins what:
//! spellings of vkeys, weak keys, and a second line of a known key that does not verify.

use jejak_proofs::merkle::sha256;
use jejak_proofs::note::{KeyError, KeyKind, NoteError, SignedNote, SigningKey, VerifierKey};
use jejak_proofs::note::{Weakness, compose, valid_name};
use signed_note::{Note, NoteError as TheirError, Signer as _, StandardSigner, StandardVerifier};
use signed_note::{Verifier as _, VerifierList, is_key_name_valid};

const ROUNDS: u64 = 1_000;

/// A generator that needs no crate: SHA-256 of a fixed seed and a counter.
struct Rng {
    round: u64,
    counter: u64,
}

impl Rng {
    fn bytes(&mut self) -> [u8; 32] {
        self.counter += 1;
        let seed = [&b"jejak note oracle 1"[..], &self.round.to_be_bytes()].concat();
        *sha256(&[seed, self.counter.to_be_bytes().to_vec()].concat()).as_bytes()
    }

    fn below(&mut self, n: usize) -> usize {
        let bytes = self.bytes();
        usize::from(u16::from_be_bytes([bytes[0], bytes[1]])) % n
    }

    fn string(&mut self, alphabet: &str, len: usize) -> String {
        let alphabet: Vec<char> = alphabet.chars().collect();
        (0..len).map(|_| alphabet[self.below(alphabet.len())]).collect()
    }

    fn name(&mut self) -> String {
        let len = 1 + self.below(20);
        self.string("abcxyz019./-_:\u{e9}\u{4e2d}\u{2014}", len)
    }

    fn text(&mut self) -> String {
        let len = self.below(120);
        self.string("ab c\n\n+\u{2014} \u{e9}\u{7f}=", len) + "\n"
    }
}

fn rounds() -> impl Iterator<Item = Rng> {
    (0..ROUNDS).map(|round| Rng { round, counter: 0 })
}

fn verifiers(keys: &[&VerifierKey]) -> VerifierList {
    let one = |key: &&VerifierKey| {
        let verifier = StandardVerifier::new(&key.to_string()).unwrap();
        Box::new(verifier) as Box<dyn signed_note::Verifier>
    };
    VerifierList::new(keys.iter().map(one).collect())
}

#[test]
fn keys_and_signatures() {
    for mut rng in rounds() {
        let (name, seed, text) = (rng.name(), rng.bytes(), rng.text());
        let ours = SigningKey::from_seed(&name, KeyKind::Ed25519, seed).unwrap();
        let theirs = StandardSigner::new(&ours.to_private_string()).unwrap();
        let key = ours.verifier();
        let verifier = StandardVerifier::new(&key.to_string()).unwrap();
        assert_eq!((verifier.name(), theirs.name()), (name.as_str(), name.as_str()));
        let id = u32::from_be_bytes(*key.id().as_bytes());
        assert_eq!((verifier.key_id(), theirs.key_id()), (id, id));

        // Ed25519 is deterministic: the whole notes agree, byte for byte.
        let note = compose(&text, &[ours.sign_line(&text)]);
        let mut made = Note::new(text.as_bytes(), &[]).unwrap();
        made.add_sigs(&[&theirs]).unwrap();
        assert_eq!(String::from_utf8(made.to_bytes()).unwrap(), note);
        let read = SignedNote::parse(note.as_bytes()).unwrap();
        assert_eq!((read.text(), read.verify(&[&key])), (text.as_str(), Ok(vec![&key])));
        assert!(Note::from_bytes(note.as_bytes()).unwrap().verify(&verifiers(&[&key])).is_ok());
        assert!(verifier.verify(text.as_bytes(), read.lines()[0].signature()));
    }
}

/// Several signers, of whom the reader knows some, and one line in three signs another text.
#[test]
fn verdicts() {
    let mut seen = [0; 3];
    for mut rng in rounds() {
        let text = rng.text();
        let count = 1 + rng.below(4);
        let signers: Vec<SigningKey> = (0..count)
            .map(|n| {
                let name = ["a", "b"][rng.below(2)];
                SigningKey::from_seed(name, KeyKind::Ed25519, [n as u8; 32]).unwrap()
            })
            .collect();
        let lines: Vec<String> = signers
            .iter()
            .map(|key| key.sign_line(if rng.below(3) == 0 { "another\n" } else { &text }))
            .collect();
        let known: Vec<VerifierKey> =
            signers.iter().filter(|_| rng.below(2) == 0).map(SigningKey::verifier).collect();
        let known: Vec<&VerifierKey> = known.iter().collect();

        let note = compose(&text, &lines);
        let ours = SignedNote::parse(note.as_bytes()).unwrap().verify(&known);
        let theirs = Note::from_bytes(note.as_bytes()).unwrap().verify(&verifiers(&known));
        match (ours, theirs) {
            (Ok(signed), Ok((good, _))) => {
                let good: Vec<u32> = good.iter().map(|line| line.id()).collect();
                let id = |key: &&VerifierKey| u32::from_be_bytes(*key.id().as_bytes());
                assert_eq!(signed.iter().map(id).collect::<Vec<u32>>(), good);
                seen[0] += 1;
            }
            (Err(NoteError::Unsigned), Err(TheirError::UnverifiedNote)) => seen[1] += 1,
            (Err(NoteError::BadSignature { .. }), Err(TheirError::InvalidSignature { .. })) => {
                seen[2] += 1;
            }
            (ours, theirs) => panic!("{ours:?} but {theirs:?}: {note}"),
        }
    }
    assert!(seen.iter().all(|&n| n > 100), "too few of a kind: {seen:?}");
}

/// One byte of a good note replaced, dropped or doubled: the same notes are well-formed, with the
/// same text and the same lines.
#[test]
fn damaged_notes() {
    let mut seen = [0; 2];
    for mut rng in rounds() {
        let text = rng.text();
        let key = |n| SigningKey::from_seed("a", KeyKind::Ed25519, [n; 32]).unwrap();
        let note = compose(&text, &[key(1).sign_line(&text), key(2).sign_line(&text)]);
        let mut bytes = note.into_bytes();
        let at = rng.below(bytes.len());
        match rng.below(4) {
            0 => bytes[at] = b"\n =+-\xe2A\0\r\t"[rng.below(10)],
            1 => bytes[at] ^= 1 << rng.below(8),
            2 => drop(bytes.remove(at)),
            _ => bytes.insert(at, bytes[at]),
        }
        let shown = bytes.escape_ascii();
        match (SignedNote::parse(&bytes), Note::from_bytes(&bytes)) {
            (Ok(ours), Ok(theirs)) => {
                assert_eq!(ours.text().as_bytes(), theirs.text(), "{shown}");
                // Both kept every line as it was.
                let lines: Vec<String> =
                    ours.lines().iter().map(|line| format!("{}\n", line.text())).collect();
                assert_eq!(compose(ours.text(), &lines).as_bytes(), bytes, "{shown}");
                assert_eq!(theirs.to_bytes(), bytes, "{shown}");
                seen[0] += 1;
            }
            (Err(_), Err(_)) => seen[1] += 1,
            (ours, theirs) => panic!("{ours:?} but {theirs:?}: {shown}"),
        }
    }
    assert!(seen.iter().all(|&n| n > 100), "too few of a kind: {seen:?}");
}

#[test]
fn names() {
    for c in (0..=char::MAX as u32).filter_map(char::from_u32) {
        let name = format!("a{c}b");
        // Control characters cannot stand in a note at all; theirs leaves them to the note.
        let theirs = is_key_name_valid(&name) && c >= ' ';
        assert_eq!(valid_name(&name), theirs, "{c:?}");
    }
    assert_eq!(valid_name(""), is_key_name_valid(""));
}

/// One character of a good vkey replaced: what theirs refuses, ours refuses.
#[test]
fn damaged_vkeys() {
    for mut rng in rounds() {
        let (name, seed) = (rng.name(), rng.bytes());
        let vkey = SigningKey::from_seed(&name, KeyKind::Ed25519, seed).unwrap().verifier();
        let mut chars: Vec<char> = vkey.to_string().chars().collect();
        let at = rng.below(chars.len());
        chars[at] = ['+', 'A', '=', '0', 'f', ' ', '\n', 'F'][rng.below(8)];
        let damaged: String = chars.into_iter().collect();
        let ours = VerifierKey::parse(&damaged);
        // An upper-case key id is the one spelling more that theirs takes.
        let upper = damaged != vkey.to_string()
            && damaged.to_lowercase() == vkey.to_string().to_lowercase();
        match StandardVerifier::new(&damaged) {
            Ok(theirs) if !upper => assert_eq!(ours.unwrap().name(), theirs.name(), "{damaged}"),
            Ok(_) => assert!(matches!(ours, Err(KeyError::Id(_))), "{damaged}"),
            Err(error) => assert!(ours.is_err(), "{damaged}: {error}"),
        }
    }
}

#[test]
fn what_theirs_accepts_and_ours_does_not() {
    // The identity, under which one signature fits every text.
    let mut public = [0; 33];
    (public[0], public[1]) = (1, 1);
    let id = signed_note::key_id("a", &public);
    let base64 = format!("AQEAAAAA{}", "A".repeat(36));
    let vkey = format!("a+{id:08x}+{base64}");
    let theirs = StandardVerifier::new(&vkey).unwrap();
    let mut signature = [0; 64];
    signature[0] = 1;
    assert!(theirs.verify(b"yes\n", &signature) && theirs.verify(b"no\n", &signature));
    assert_eq!(VerifierKey::parse(&vkey), Err(KeyError::Weak(Weakness::SmallOrder)));

    // A key id in upper case.
    let key = SigningKey::from_seed("a", KeyKind::Ed25519, [1; 32]).unwrap();
    let vkey = key.verifier().to_string();
    let id = key.verifier().id().to_string();
    let upper = vkey.replace(&id, &id.to_uppercase());
    assert_ne!(upper, vkey);
    assert!(StandardVerifier::new(&upper).is_ok());
    assert!(matches!(VerifierKey::parse(&upper), Err(KeyError::Id(_))));

    // A second line of a known key, which theirs does not look at.
    let lines = [key.sign_line("text\n"), key.sign_line("another\n")];
    let note = compose("text\n", &lines);
    let known = key.verifier();
    let theirs = Note::from_bytes(note.as_bytes()).unwrap();
    assert_eq!(theirs.verify(&verifiers(&[&known])).unwrap().0.len(), 1);
    let ours = SignedNote::parse(note.as_bytes()).unwrap();
    assert_eq!(ours.verify(&[&known]), Err(NoteError::BadSignature { key: known.id() }));
}
