//! Policy files: grammar, limits, and the genesis comment.

use jejak_proofs::merkle::sha256;
use jejak_proofs::note::compose;
use jejak_proofs::note::{CosigningKey, KeyError, KeyIdError, KeyKind, Policy, PolicyError};
use jejak_proofs::note::{NoteError, PolicyErrorKind as Kind, SignedNote, SigningKey, VerifierKey};

use super::{LOG_VKEY, WITNESS_VKEY, log_key, vkey_of, witness};

const GENESIS: &str = "5df6e0e2761359d30a8275058e299fcc0381534545f55cf43e41983f5d4c9456";

/// A log key of its own for each `n`, all with different names.
fn log(n: usize) -> String {
    let seed = *sha256(&n.to_be_bytes()).as_bytes();
    let key = SigningKey::from_seed(&format!("log{n}.example"), KeyKind::Ed25519, seed);
    format!("log {}\n", key.unwrap().verifier())
}

/// A witness line with the name `W<n>`.
fn w(n: usize) -> String {
    let seed = *sha256(&(1000 + n).to_be_bytes()).as_bytes();
    let name = format!("witness{n}.example");
    let key = CosigningKey::from_seed(&name, KeyKind::CosignatureV1, seed).unwrap();
    format!("witness W{n} {}\n", key.verifier())
}

fn error(line: usize, kind: Kind) -> Result<Policy, PolicyError> {
    Err(PolicyError { line, kind })
}

#[test]
fn a_whole_policy() {
    let (w1, w2, w3) = (w(1), w(2), w(3));
    let text = format!(
        "# jejak-genesis example.com/tally {GENESIS}\n\
         log {LOG_VKEY} https://log.example/tally\n\
         \n \t \n  # a comment with + and \u{e9}\n#\n#jejak-genesis is another word here\n\
         \t{}{w2}{w3}\tgroup\tmost \t 2 W1  W2 W3 \n\
         quorum most\n",
        w1.replace('\n', "  https://witness.example/\t\n"),
    );
    let policy = Policy::parse(&text).unwrap();
    let origin = "example.com/tally";
    assert_eq!(policy.single_origin(), Ok(origin));
    assert_eq!(policy.log_keys(origin), [log_key().verifier()]);
    assert_eq!(policy.log_keys("example.com"), []);
    assert_eq!(policy.url(origin), Some("https://log.example/tally"));
    assert_eq!(policy.url("example.com"), None);
    assert_eq!(policy.genesis(origin).unwrap().to_string(), GENESIS);
    assert_eq!(policy.require_genesis(origin).unwrap().to_string(), GENESIS);
    assert_eq!(policy.genesis("example.com"), None);
    let missing = PolicyError { line: 0, kind: Kind::NoGenesis };
    assert_eq!(policy.require_genesis("example.com"), Err(missing));
    assert!(policy.needs_witnesses());
    let names: Vec<&str> = policy.witnesses().map(|line| line.name.as_str()).collect();
    assert_eq!(names, ["W1", "W2", "W3"]);
    let urls: Vec<_> = policy.witnesses().map(|line| line.url.as_deref()).collect();
    assert_eq!(urls, [Some("https://witness.example/"), None, None]);
    assert_eq!(policy.logs().count(), 1);
    assert_eq!(
        missing.to_string(),
        "policy: no comment # jejak-genesis <origin> <hex> for this origin"
    );
}

#[test]
fn the_smallest_policy() {
    let policy = Policy::parse("quorum none\n").unwrap();
    assert!(!policy.needs_witnesses());
    assert_eq!(policy.single_origin(), Err(PolicyError { line: 0, kind: Kind::NoLog }));
    assert_eq!(Policy::parse(&format!("{}quorum W1\n", w(1))).unwrap().witnesses().count(), 1);
}

// SPEC [Q4]
#[test]
fn one_log_with_several_keys() {
    let second = SigningKey::from_seed("example.com/tally", KeyKind::Ed25519, [7; 32]).unwrap();
    let second = second.verifier();
    let text = format!("log {LOG_VKEY}\nlog {second} https://two.example\nquorum none\n");
    let policy = Policy::parse(&text).unwrap();
    assert_eq!(policy.single_origin(), Ok("example.com/tally"));
    assert_eq!(policy.log_keys("example.com/tally"), [log_key().verifier(), second]);
    assert_eq!(policy.url("example.com/tally"), Some("https://two.example"));

    let policy = Policy::parse(&format!("log {LOG_VKEY}\n{}quorum none\n", log(1))).unwrap();
    assert_eq!(policy.single_origin(), Err(PolicyError { line: 0, kind: Kind::SeveralLogs }));
    assert_eq!(policy.log_keys("example.com/tally"), [log_key().verifier()]);
}

/// Each text is refused with this error on this line.
fn refused(table: Vec<(String, usize, Kind)>) {
    for (text, line, kind) in table {
        assert_eq!(Policy::parse(&text), error(line, kind), "{text}");
    }
}

#[test]
fn malformed_keys() {
    let twin = vkey_of("twin", 1, log_key().verifier().public_bytes());
    let twin4 = vkey_of("twin", 4, witness(1).verifier().public_bytes());
    let self_witness = vkey_of("example.com/tally", 4, log_key().verifier().public_bytes());
    let unknown = vkey_of("example.com/tally", 7, &[7; 1312]);
    let short = vkey_of("example.com/tally", 6, &[7; 1311]);
    let reserved = vkey_of("jejak/tally/v1", 1, log_key().verifier().public_bytes());
    let wrong = |kind| Kind::Key(KeyError::WrongKind { kind });
    refused(vec![
        ("log vkey\n".into(), 1, Kind::Key(KeyError::Form)),
        ("log a+1+AA==\n".into(), 1, Kind::Key(KeyError::Id(KeyIdError))),
        (format!("log {unknown}\n"), 1, Kind::Key(KeyError::Unsupported { kind: 7 })),
        (format!("witness W {short}\n"), 1, Kind::Key(KeyError::Length { got: 1312, want: 1313 })),
        (format!("log {WITNESS_VKEY}\n"), 1, wrong(KeyKind::CosignatureV1)),
        (format!("witness W {LOG_VKEY}\n"), 1, wrong(KeyKind::Ed25519)),
        (format!("log {reserved}\n"), 1, Kind::Origin),
        (format!("log {LOG_VKEY}\nlog {LOG_VKEY}\n"), 2, Kind::DuplicateKey),
        (format!("log {LOG_VKEY}\nlog {twin}\n"), 2, Kind::DuplicateKey),
        (format!("witness A {WITNESS_VKEY}\nwitness B {WITNESS_VKEY}\n"), 2, Kind::DuplicateKey),
        (format!("witness A {WITNESS_VKEY}\nwitness B {twin4}\n"), 2, Kind::DuplicateKey),
        (format!("log {LOG_VKEY}\nwitness A {self_witness}\n"), 2, Kind::DuplicateKey),
        (format!("witness A {self_witness}\nlog {LOG_VKEY}\n"), 2, Kind::DuplicateKey),
    ]);
}

#[test]
fn malformed_lines() {
    let two = w(1) + &w(2);
    let genesis = format!("# jejak-genesis a {GENESIS}\n");
    refused(vec![
        ("".into(), 0, Kind::NoQuorum),
        ("# only a comment\n".into(), 0, Kind::NoQuorum),
        (format!("log {LOG_VKEY}\n"), 0, Kind::NoQuorum),
        ("quorum none".into(), 1, Kind::NoFinalNewline),
        ("quorum none\n#".into(), 2, Kind::NoFinalNewline),
        ("quorum none\r\n".into(), 1, Kind::ControlCharacter),
        ("#\n# \u{1}\nquorum none\n".into(), 2, Kind::ControlCharacter),
        ("# \u{7f}\nquorum none\n".into(), 1, Kind::ControlCharacter),
        ("\u{b}\nquorum none\n".into(), 1, Kind::ControlCharacter),
        ("quorum\u{c}none\n".into(), 1, Kind::ControlCharacter),
        ("Quorum none\n".into(), 1, Kind::Keyword),
        ("quorum\u{a0}none\n".into(), 1, Kind::Keyword),
        ("none\n".into(), 1, Kind::Keyword),
        ("quorum\n".into(), 1, Kind::Words),
        ("quorum none none\n".into(), 1, Kind::Words),
        ("quorum none # inline\n".into(), 1, Kind::Words),
        ("log\n".into(), 1, Kind::Words),
        (format!("log {LOG_VKEY} a b\n"), 1, Kind::Words),
        (format!("witness {WITNESS_VKEY}\n"), 1, Kind::Words),
        ("witness\n".into(), 1, Kind::Words),
        (format!("witness W {WITNESS_VKEY} a b\n"), 1, Kind::Words),
        (format!("{two}group\n"), 3, Kind::Words),
        (format!("{two}group g all\n"), 3, Kind::Words),
        ("# jejak-genesis\n".into(), 1, Kind::Genesis),
        ("# jejak-genesis a\n".into(), 1, Kind::Genesis),
        (format!("# jejak-genesis {GENESIS}\n"), 1, Kind::Genesis),
        (format!("# jejak-genesis a {GENESIS} b\n"), 1, Kind::Genesis),
        (format!("# jejak-genesis a {}\n", GENESIS.to_uppercase()), 1, Kind::Genesis),
        (format!("# jejak-genesis a {}\n", &GENESIS[1..]), 1, Kind::Genesis),
        (format!("{genesis}{genesis}"), 2, Kind::SecondGenesis),
    ]);
}

// SPEC [Q13]
#[test]
fn comments_that_name_who_recounts() {
    let two = w(1) + &w(2);
    let policy = Policy::parse(&format!("{two}# jejak-recount W2\nquorum W1\n")).unwrap();
    let recounts: Vec<bool> = policy.witnesses().map(|line| line.recounts).collect();
    assert_eq!(recounts, [false, true]);
    let both = Policy::parse(&format!("{two}# jejak-recount W2 W1\nquorum W1\n")).unwrap();
    assert!(both.witnesses().all(|line| line.recounts));
    let keys = [VerifierKey::parse(LOG_VKEY).unwrap()];
    let lines: Vec<_> = policy.witnesses().cloned().collect();
    let text = Policy::compose_witnessed(&keys, None, &GENESIS.parse().unwrap(), &lines, 1);
    let read = Policy::parse(&text.unwrap()).unwrap();
    assert_eq!(read.witnesses().map(|line| line.recounts).collect::<Vec<_>>(), recounts);
    refused(vec![
        (format!("{two}# jejak-recount\nquorum W1\n"), 3, Kind::Recount),
        (format!("{two}# jejak-recount W3\nquorum W1\n"), 3, Kind::Recount),
        (format!("# jejak-recount W1\n{two}quorum W1\n"), 1, Kind::Recount),
        (format!("{two}group g all W1\n# jejak-recount g\nquorum g\n"), 4, Kind::Recount),
    ]);
}

#[test]
fn malformed_groups_and_quorums() {
    let two = w(1) + &w(2);
    let none = w(1).replace("W1", "none");
    refused(vec![
        (format!("{}{}", w(1), w(2).replace("W2", "W1")), 2, Kind::DuplicateName),
        (format!("{two}group W1 all W2\n"), 3, Kind::DuplicateName),
        (format!("{two}group g all W1\ngroup g all W2\n"), 4, Kind::DuplicateName),
        (format!("{}group g all W1\n{}", w(1), w(2).replace("W2", "g")), 3, Kind::DuplicateName),
        (none, 1, Kind::ReservedName),
        (format!("{two}group none all W1\n"), 3, Kind::ReservedName),
        (format!("{two}group g any W1 none\n"), 3, Kind::ReservedName),
        (format!("{two}group g any W1 W3\n"), 3, Kind::UnknownName),
        (format!("{two}group g any g\n"), 3, Kind::UnknownName),
        (format!("group g any W1\n{two}"), 1, Kind::UnknownName),
        (format!("quorum W1\n{two}"), 1, Kind::UnknownName),
        (format!("{two}quorum w1\n"), 3, Kind::UnknownName),
        (format!("{two}quorum witness1.example\n"), 3, Kind::UnknownName),
        (format!("{two}group g any W1 W1\n"), 3, Kind::MemberTwice),
        (format!("{two}group g any W1\ngroup h any W1 W2\n"), 4, Kind::MemberTwice),
        (format!("{two}group g any W1\ngroup h any g\ngroup i any g\n"), 5, Kind::MemberTwice),
        (format!("{two}group g 0 W1 W2\n"), 3, Kind::Threshold),
        (format!("{two}group g 3 W1 W2\n"), 3, Kind::Threshold),
        (format!("{two}group g 01 W1 W2\n"), 3, Kind::Threshold),
        (format!("{two}group g +1 W1 W2\n"), 3, Kind::Threshold),
        (format!("{two}group g -1 W1 W2\n"), 3, Kind::Threshold),
        (format!("{two}group g ALL W1 W2\n"), 3, Kind::Threshold),
        (format!("{two}group g 18446744073709551617 W1 W2\n"), 3, Kind::Threshold),
        ("quorum none\nquorum none\n".into(), 2, Kind::SecondQuorum),
        (format!("{}quorum W1\nquorum none\n", w(1)), 3, Kind::SecondQuorum),
    ]);
    let said = PolicyError { line: 3, kind: Kind::Threshold }.to_string();
    assert_eq!(
        said,
        "policy, line 3: expected all, any, or a number from 1 to the number of members"
    );
}

/// Two keys of one name whose ids are equal, found among 114,673: a note cannot tell them apart.
#[test]
fn keys_with_the_same_name_and_id() {
    let key = |n: u32| {
        let mut seed = [0; 32];
        seed[..4].copy_from_slice(&n.to_be_bytes());
        SigningKey::from_seed("a", KeyKind::Ed25519, seed).unwrap()
    };
    let (one, other) = (key(69_101).verifier(), key(114_672).verifier());
    assert_eq!(one.id(), other.id());
    assert_ne!(one, other);
    refused(vec![(format!("log {one}\nlog {other}\nquorum none\n"), 2, Kind::DuplicateKey)]);

    // Who knows only one of them refuses a note that the other signed.
    let note = compose("text\n", &[key(69_101).sign_line("text\n")]);
    let note = SignedNote::parse(note.as_bytes()).unwrap();
    assert_eq!(note.verify(&[&one]), Ok(vec![&one]));
    let error = Err(NoteError::BadSignature { key: one.id() });
    assert_eq!(note.verify(&[&other]), error);
    assert_eq!(note.verify(&[&one, &other]), error);
}

/// Octets from 0x80 up are opaque: names that are not UTF-8 are told apart by their bytes.
#[test]
fn octets_that_are_not_utf8() {
    let line = |name: &[u8], line: String| {
        let (_, rest) = line.split_at("witness Wx".len());
        [b"witness ", name, rest.as_bytes()].concat()
    };
    let (a, b) = (line(b"\xff", w(1)), line(b"\xfe", w(2)));
    let text =
        [b"# \xe9\x80\xc0\n", &a[..], &b[..], b"group \xfd 2 \xff \xfe\nquorum \xfd\n"].concat();
    let policy = Policy::parse_bytes(&text).unwrap();
    let names: Vec<&str> = policy.witnesses().map(|line| line.name.as_str()).collect();
    assert_eq!(names, ["\u{fffd}", "\u{fffd}"]);
    let text = [&a[..], b"quorum \xfe\n"].concat();
    assert_eq!(Policy::parse_bytes(&text), error(2, Kind::UnknownName));

    let bad = |bytes: &[u8]| Policy::parse_bytes(&[bytes, b"\n"].concat());
    assert_eq!(bad(b"log \xff"), error(1, Kind::Key(KeyError::Form)));
    let url = [format!("log {LOG_VKEY} ").as_bytes(), b"\xff"].concat();
    assert_eq!(bad(&url), error(1, Kind::Url));
    assert_eq!(bad(b"# jejak-genesis a \xff"), error(1, Kind::Genesis));
}

#[test]
fn limits() {
    let logs = |n| (0..n).map(log).collect::<String>() + "quorum none\n";
    assert_eq!(Policy::parse(&logs(32)).unwrap().logs().count(), 32);
    assert_eq!(Policy::parse(&logs(33)), error(33, Kind::TooManyLogs));
    let witnesses = |n| (0..n).map(w).collect::<String>() + "quorum none\n";
    assert_eq!(Policy::parse(&witnesses(32)).unwrap().witnesses().count(), 32);
    assert_eq!(Policy::parse(&witnesses(33)), error(33, Kind::TooManyWitnesses));
    // A chain of groups, each with the one before as its only member.
    let groups = |n: usize| {
        let chain = (1..n).map(|i| format!("group g{i} all g{}\n", i - 1)).collect::<String>();
        format!("{}group g0 all W1\n{chain}quorum g{}\n", w(1), n - 1)
    };
    assert!(Policy::parse(&groups(32)).is_ok());
    assert_eq!(Policy::parse(&groups(33)), error(34, Kind::TooManyGroups));
    let comments = |n: usize| {
        (0..n).map(|i| format!("# jejak-genesis {i} {GENESIS}\n")).collect::<String>()
            + "quorum none\n"
    };
    assert!(Policy::parse(&comments(32)).is_ok());
    assert_eq!(Policy::parse(&comments(33)), error(33, Kind::TooManyLogs));
    let long = format!("#{}\nquorum none\n", "x".repeat(1024 * 1024 - 14));
    assert!(Policy::parse(&long).is_ok());
    assert_eq!(Policy::parse(&format!("\n{long}")), error(0, Kind::TooLong));
}

#[test]
fn composed_policies_read_back() {
    let genesis = GENESIS.parse().unwrap();
    let keys = [log_key().verifier()];
    let url = "https://log.example/tally";
    let text = Policy::compose(&keys, Some(url), &genesis).unwrap();
    let want =
        format!("# jejak-genesis example.com/tally {GENESIS}\nlog {LOG_VKEY} {url}\nquorum none\n");
    assert_eq!(text, want);
    let text = Policy::compose(&keys, None, &genesis).unwrap();
    assert_eq!(text, want.replace(&format!(" {url}"), ""));
    let policy = Policy::parse(&text).unwrap();
    assert_eq!(policy.require_genesis("example.com/tally"), Ok(genesis));
    assert!(!policy.needs_witnesses());

    let fails = |keys: &[_], url| Policy::compose(keys, url, &genesis).unwrap_err();
    assert_eq!(fails(&[], None), PolicyError { line: 0, kind: Kind::NoLog });
    assert_eq!(fails(&keys, Some("a b")), PolicyError { line: 2, kind: Kind::Words });
    let inject = Some("a\nquorum none");
    assert_eq!(fails(&keys, inject), PolicyError { line: 4, kind: Kind::SecondQuorum });
    let other = SigningKey::from_seed("other", KeyKind::Ed25519, [5; 32]).unwrap().verifier();
    let several = PolicyError { line: 0, kind: Kind::SeveralLogs };
    assert_eq!(fails(&[keys[0].clone(), other], None), several);
    let twice = PolicyError { line: 3, kind: Kind::DuplicateKey };
    assert_eq!(fails(&[keys[0].clone(), keys[0].clone()], None), twice);
}
