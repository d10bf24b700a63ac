//! Policies with ML-DSA-44 keys: who signs, who dates, what `--require-pq` asks for; and the
//! windows of keys.

use jejak_proofs::evidence::{Evidence, EvidenceError};
use jejak_proofs::note::{
    Checkpoint, CheckpointError, CheckpointFault, CosigningKey, KeyKind, NumberError, Policy,
    SignatureLine, SigningKey, UnverifiedCheckpoint, VerifierKey, Window, WindowsError,
    WindowsErrorKind as Kind, compose,
};

use super::{LOG_VKEY, WITNESS_VKEY, checkpoint, log_key, ml_dsa::log_pq_key, witness};

const ORIGIN: &str = "example.com/tally";

fn pq_witness() -> CosigningKey {
    CosigningKey::from_seed("witness.example/pq", KeyKind::MlDsa44, [9; 32]).unwrap()
}

/// A policy with these log lines, no witness.
fn policy_of(keys: &[VerifierKey]) -> Policy {
    let lines: String = keys.iter().map(|key| format!("log {key}\n")).collect();
    Policy::parse(&format!("{lines}quorum none\n")).unwrap()
}

fn both() -> Policy {
    policy_of(&[log_key().verifier(), log_pq_key().verifier()])
}

fn ed_line(checkpoint: &Checkpoint) -> String {
    log_key().sign_line(checkpoint.text())
}

fn pq_line(checkpoint: &Checkpoint, time: u64) -> String {
    log_pq_key().cosign(checkpoint, time).unwrap()
}

fn read(checkpoint: &Checkpoint, lines: &[String]) -> UnverifiedCheckpoint {
    UnverifiedCheckpoint::parse(compose(checkpoint.text(), lines).as_bytes()).unwrap()
}

// SPEC [Q4] [Q8]
#[test]
fn either_line_or_both() {
    let of = checkpoint(3);
    let (ed, pq) = (ed_line(&of), pq_line(&of, 9));
    let (ed_only, pq_only) =
        (policy_of(&[log_key().verifier()]), policy_of(&[log_pq_key().verifier()]));
    let missing = |kind| Err(CheckpointError::RequirePq { kind });
    let (no_pq, no_ed) = (missing(KeyKind::MlDsa44), missing(KeyKind::Ed25519));
    let unsigned = Err(CheckpointError::Unsigned);
    let table = [
        // policy, lines, without, with require_pq
        (&both(), vec![&ed], Ok(()), no_pq),
        (&both(), vec![&pq], Ok(()), no_ed),
        (&both(), vec![&ed, &pq], Ok(()), Ok(())),
        (&ed_only, vec![&ed], Ok(()), no_pq),
        (&ed_only, vec![&ed, &pq], Ok(()), no_pq),
        (&ed_only, vec![&pq], unsigned, unsigned),
        (&pq_only, vec![&pq], Ok(()), Ok(())),
        (&pq_only, vec![&ed, &pq], Ok(()), Ok(())),
        (&pq_only, vec![&ed], unsigned, unsigned),
    ];
    for (policy, lines, lax, strict) in table {
        let lines: Vec<String> = lines.into_iter().cloned().collect();
        let verify = |policy: &Policy| policy.verify(read(&of, &lines)).map(|_| ());
        assert_eq!(verify(policy), lax, "{lines:?}");
        assert_eq!(verify(&policy.clone().require_pq()), strict, "{lines:?}");
    }
    // A bad line is named before a missing one.
    let other = log_key().sign_line("another text\n");
    let bad = CheckpointError::LogSignature { key: log_key().verifier().id() };
    let verified = both().require_pq().verify(read(&of, &[other]));
    assert_eq!(verified.err(), Some(bad));
    assert_eq!(no_pq.unwrap_err().fault(), CheckpointFault::LogSignature);
    assert!(no_pq.unwrap_err().to_string().contains("--require-pq"));
}

/// A witness of either kind counts for the quorum, and dates the checkpoint.
#[test]
fn witnesses_of_both_kinds() {
    let pq = pq_witness().verifier();
    let text = format!("log {LOG_VKEY}\nwitness A {WITNESS_VKEY}\nwitness B {pq}\n");
    let policy = Policy::parse(&format!("{text}group both all A B\nquorum both\n")).unwrap();
    let of = checkpoint(3);
    let (a, b) = (witness(1).cosign(&of, 7).unwrap(), pq_witness().cosign(&of, 5).unwrap());
    let verify = |lines: &[&String]| {
        policy.verify(of.with_lines(lines).unwrap().into()).map(|checkpoint| {
            let times = policy.cosignatures(&checkpoint).unwrap();
            let times: Vec<_> = times.iter().map(|c| (c.witness.name.clone(), c.time)).collect();
            (times, policy.vouched_time(&checkpoint).unwrap())
        })
    };
    let seen = vec![("A".to_owned(), 7), ("B".to_owned(), 5)];
    assert_eq!(verify(&[&a, &b]), Ok((seen, Some(5))));
    assert_eq!(verify(&[&a]), Err(CheckpointError::Quorum));
    assert_eq!(verify(&[&b]), Err(CheckpointError::Quorum));
    let other = pq_witness().cosign(&checkpoint(4), 5).unwrap();
    let bad = CheckpointError::Cosignature { key: pq.id() };
    assert_eq!(verify(&[&a, &b, &other]), Err(bad));
}

// SPEC [Q9]
#[test]
fn without_a_quorum_the_log_dates() {
    let of = checkpoint(3);
    let time = |policy: &Policy, lines: &[String]| {
        let checkpoint = policy.verify(read(&of, lines)).unwrap();
        policy.vouched_time(&checkpoint)
    };
    let (ed, pq) = (ed_line(&of), pq_line(&of, 9));
    let ed_only = policy_of(&[log_key().verifier()]);
    assert_eq!(time(&ed_only, &[ed.clone(), pq.clone()]), Ok(None));
    assert_eq!(time(&both(), std::slice::from_ref(&ed)), Ok(None));
    assert_eq!(time(&both(), &[ed.clone(), pq.clone()]), Ok(Some(9)));
    assert_eq!(time(&both(), &[ed.clone(), pq_line(&of, 12), pq.clone()]), Ok(Some(12)));
    assert_eq!(time(&both(), &[ed.clone(), super::ml_dsa::at_zero(&of)]), Ok(None));
    assert_eq!((both().dates(ORIGIN), ed_only.dates(ORIGIN)), (true, false));

    // Where a quorum is asked for the log's own time does not count.
    let pq_key = log_pq_key().verifier();
    let text = format!("log {LOG_VKEY}\nlog {pq_key}\nwitness A {WITNESS_VKEY}\nquorum A\n");
    let policy = Policy::parse(&text).unwrap();
    let cosigned = witness(1).cosign(&of, 5).unwrap();
    assert_eq!(time(&policy, &[ed, pq, cosigned]), Ok(Some(5)));
    assert!(policy.dates("another"), "a quorum dates every log of the policy");

    // A line that was added behind the verified ones is verified before its time counts.
    let added = of.with_lines(&[pq_line(&checkpoint(4), 9)]).unwrap();
    let bad = CheckpointError::LogSignature { key: pq_key.id() };
    assert_eq!(both().vouched_time(&added), Err(bad));
}

/// The same public key is one key, under whatever name, and in whichever line.
// SPEC [Q7]
#[test]
fn one_ml_dsa_key_twice() {
    let key = log_pq_key().verifier();
    let twin = VerifierKey::new("twin", KeyKind::MlDsa44, key.public_bytes()).unwrap();
    for text in [
        format!("log {key}\nlog {key}\n"),
        format!("log {key}\nlog {twin}\n"),
        format!("log {key}\nwitness W {key}\n"),
        format!("log {key}\nwitness W {twin}\n"),
        format!("witness V {twin}\nwitness W {key}\n"),
    ] {
        let error = Policy::parse(&format!("{text}quorum none\n")).unwrap_err();
        assert_eq!(error.line, 2, "{text}");
        assert_eq!(error.kind, jejak_proofs::note::PolicyErrorKind::DuplicateKey, "{text}");
    }
}

// SPEC [Q10]
#[test]
fn windows_by_size() {
    let (old, new) = (log_key(), SigningKey::from_seed(ORIGIN, KeyKind::Ed25519, [7; 32]).unwrap());
    let id = |key: &SigningKey| key.verifier().id();
    let text = format!(
        "# rotation\n\n{ORIGIN}+{} from 0 until 10\n{ORIGIN}+{}\tfrom 8\n",
        id(&old),
        id(&new)
    );
    let policy = policy_of(&[old.verifier(), new.verifier()]);
    let policy = policy.with_windows(text.as_bytes()).unwrap();
    let windows: Vec<Window> = policy.logs().map(|line| line.window).collect();
    assert_eq!(windows, [Window { from: 0, until: Some(10) }, Window { from: 8, until: None }]);
    let head = |size, keys: &[&SigningKey]| {
        let of = checkpoint(size);
        let lines: Vec<String> = keys.iter().map(|key| key.sign_line(of.text())).collect();
        policy.verify(read(&of, &lines)).map(|_| ())
    };
    let unsigned = Err(CheckpointError::Unsigned);
    for (size, by_old, by_new) in [
        (1, Ok(()), unsigned),
        (7, Ok(()), unsigned),
        (8, Ok(()), Ok(())),
        (9, Ok(()), Ok(())),
        (10, unsigned, Ok(())),
        (11, unsigned, Ok(())),
    ] {
        assert_eq!(head(size, &[&old]), by_old, "{size}");
        assert_eq!(head(size, &[&new]), by_new, "{size}");
        assert_eq!(head(size, &[&old, &new]), Ok(()), "{size}");
        let keys: Vec<_> = policy.log_keys_at(ORIGIN, size).collect();
        assert_eq!(keys.len(), usize::from(by_old.is_ok()) + usize::from(by_new.is_ok()));
    }
    // Outside its window a line is that of a stranger: a bad one does not refuse either.
    let of = checkpoint(11);
    let lines = [old.sign_line("another text\n"), new.sign_line(of.text())];
    assert!(policy.verify(read(&of, &lines)).is_ok());
    // Under --require-pq too a key counts in its window only.
    assert_eq!(policy.log_keys(ORIGIN).len(), 2);
}

/// A key that was given up cannot be used to convict the log afterwards.
// SPEC [Q10]
#[test]
fn windows_and_evidence() {
    let other = jejak_proofs::merkle::TreeHead { root: super::head(99).root, size: 11 };
    let forged = Checkpoint::sign(other, &log_key()).unwrap();
    let evidence = Evidence::two_roots(&checkpoint(11), &forged);
    let policy = policy_of(&[log_key().verifier()]);
    assert!(evidence.verify_under(&policy).is_ok());
    let text = format!("{ORIGIN}+{} from 0 until 11\n", log_key().verifier().id());
    let policy = policy.with_windows(text.as_bytes()).unwrap();
    let error = evidence.verify_under(&policy).unwrap_err();
    assert!(matches!(error, EvidenceError::Checkpoint { error: CheckpointError::Unsigned, .. }));
}

// SPEC [Q10]
#[test]
fn windows_of_witnesses_and_of_the_log_time() {
    let (pq_key, name) = (log_pq_key().verifier(), "witness.example/w1");
    let text = format!("log {LOG_VKEY}\nlog {pq_key}\nwitness A {WITNESS_VKEY}\n");
    let id = |line: &str| SignatureLine::parse(line.trim_end()).unwrap().key_id();
    let of = checkpoint(5);
    let cosigned = witness(1).cosign(&of, 5).unwrap();
    let full = of.with_lines(&[pq_line(&of, 9), cosigned.clone()]).unwrap();
    let with = |quorum: &str, windows: &str| {
        let policy = Policy::parse(&format!("{text}quorum {quorum}\n")).unwrap();
        policy.with_windows(windows.as_bytes()).unwrap()
    };
    let until = |size| format!("{name}+{} from 0 until {size}\n", id(&cosigned));
    let vouched = |policy: &Policy| {
        policy.verify(full.clone().into()).and_then(|checkpoint| policy.vouched_time(&checkpoint))
    };
    assert_eq!(vouched(&with("A", &until(6))), Ok(Some(5)));
    assert_eq!(vouched(&with("A", &until(5))), Err(CheckpointError::Quorum));
    let until = |size| format!("{ORIGIN}+{} from 0 until {size}\n", pq_key.id());
    assert_eq!(vouched(&with("none", &until(6))), Ok(Some(9)));
    assert_eq!(vouched(&with("none", &until(5))), Ok(None));
    let strict = with("none", &until(5)).require_pq();
    let error = CheckpointError::RequirePq { kind: KeyKind::MlDsa44 };
    assert_eq!(vouched(&strict), Err(error));
    assert_eq!(vouched(&with("none", &until(6)).require_pq()), Ok(Some(9)));
}

// SPEC [Q11]
#[test]
fn malformed_windows() {
    let key = format!("{ORIGIN}+{}", log_key().verifier().id());
    let max = u64::MAX;
    let table = [
        (format!("{key} from 0"), 1, Kind::NoFinalNewline),
        (format!("{key}\n"), 1, Kind::Form),
        (format!("{key} from\n"), 1, Kind::Form),
        (format!("{key} until 5\n"), 1, Kind::Form),
        (format!("{key} from 0 until\n"), 1, Kind::Form),
        (format!("{key} from 0 until 5 6\n"), 1, Kind::Form),
        (format!("{key} From 0\n"), 1, Kind::Form),
        (format!("{ORIGIN} from 0\n"), 1, Kind::Form),
        (format!("{ORIGIN}+5F701849 from 0\n"), 1, Kind::Form),
        (format!("{LOG_VKEY} from 0\n"), 1, Kind::Form),
        (format!("\n{key} from 00\n"), 2, Kind::Size(NumberError::Spelling)),
        (format!("{key} from -1\n"), 1, Kind::Size(NumberError::Spelling)),
        (format!("{key} from 0 until {max}0\n"), 1, Kind::Size(NumberError::TooLarge)),
        (format!("{key} from 5 until 5\n"), 1, Kind::Empty),
        (format!("{key} from 5 until 4\n"), 1, Kind::Empty),
        (format!("{ORIGIN}+00000000 from 0\n"), 1, Kind::UnknownKey),
        (format!("example.com+{} from 0\n", log_key().verifier().id()), 1, Kind::UnknownKey),
        (format!("{key} from 0\n#\n{key} from 5\n"), 3, Kind::SecondWindow),
        ("#".repeat(1024 * 1024 + 1), 0, Kind::TooLong),
    ];
    let policy = policy_of(&[log_key().verifier()]);
    for (text, line, kind) in table {
        let refused = policy.clone().with_windows(text.as_bytes());
        assert_eq!(refused, Err(WindowsError { line, kind }), "{text:.80}");
    }
    assert_eq!(policy.clone().with_windows(b""), Ok(policy.clone()));
    assert_eq!(policy.clone().with_windows(b"# \xff\n \t\n"), Ok(policy.clone()));
    let whole = format!("{key} from 0 until {max}\n");
    assert!(policy.with_windows(whole.as_bytes()).is_ok());
}
