//! What a policy makes of a checkpoint: log signature, cosignatures, quorum.

use jejak_proofs::note::{
    Checkpoint, CheckpointError, CheckpointFault, KeyKind, Policy, SigningKey,
};
use jejak_proofs::note::{UnverifiedCheckpoint, compose};

use super::{CHECKPOINT, LOG_VKEY, WITNESS_LINE, WITNESS_TIME, WITNESS_VKEY};
use super::{base64, checkpoint, head, log_key, witness};

/// The log, six witnesses X1 to X6, and further lines.
fn policy(more: &str) -> Policy {
    let witnesses: String =
        (1..=6).map(|n| format!("witness X{n} {}\n", witness(n).verifier())).collect();
    Policy::parse(&format!("log {LOG_VKEY}\n{witnesses}{more}")).unwrap()
}

/// The checkpoint with cosignatures of these witnesses at these times.
fn cosigned(base: &Checkpoint, by: &[(u8, u64)]) -> UnverifiedCheckpoint {
    let lines: Vec<String> =
        by.iter().map(|&(n, time)| witness(n).cosign(base, time).unwrap()).collect();
    base.with_lines(&lines).unwrap().into()
}

#[test]
fn the_known_cosignature_makes_a_quorum() {
    let text = format!("log {LOG_VKEY}\nwitness W {WITNESS_VKEY}\nquorum W\n");
    let policy = Policy::parse(&text).unwrap();
    let bare = UnverifiedCheckpoint::parse(CHECKPOINT.as_bytes()).unwrap();
    assert_eq!(policy.verify(bare.clone()), Err(CheckpointError::Quorum));
    assert!(policy.verify_log(bare).is_ok());
    let both = format!("{CHECKPOINT}{WITNESS_LINE}");
    let both = UnverifiedCheckpoint::parse(both.as_bytes()).unwrap();
    let verified = policy.verify(both).unwrap();
    assert_eq!(policy.vouched_time(&verified), Ok(Some(WITNESS_TIME)));
    let found = policy.cosignatures(&verified).unwrap();
    let found: Vec<_> = found.iter().map(|c| (c.witness.name.as_str(), c.time)).collect();
    assert_eq!(found, [("W", WITNESS_TIME)]);
}

/// Every subset of six witnesses against the same rules written out by hand, and the vouched time
/// against trying all times.
#[test]
fn every_subset_of_witnesses() {
    type Rule = fn(&dyn Fn(u8) -> bool) -> bool;
    fn at_least(k: usize, of: &[bool]) -> bool {
        of.iter().filter(|&&has| has).count() >= k
    }
    let table: [(&str, Rule); 7] = [
        ("quorum none\n", |_| true),
        ("quorum X4\n", |has| has(4)),
        ("group g any X1 X2 X3\nquorum g\n", |has| has(1) || has(2) || has(3)),
        ("group g all X1 X2 X3\nquorum g\n", |has| has(1) && has(2) && has(3)),
        ("group g 2 X6 X2 X4\nquorum g\n", |has| at_least(2, &[has(2), has(4), has(6)])),
        ("group x 2 X1 X2 X3\ngroup y any X4 X5\ngroup xy all x y\nquorum xy\n", |has| {
            at_least(2, &[has(1), has(2), has(3)]) && (has(4) || has(5))
        }),
        (
            "group a all X1 X2\ngroup b all X3 X4\ngroup c 2 a X5 b\ngroup d any c\nquorum c\n",
            |has| at_least(2, &[has(1) && has(2), has(5), has(3) && has(4)]),
        ),
    ];
    let base = checkpoint(7);
    let time = |n: u8| 1000 + u64::from(n * 5 % 7);
    for (text, rule) in table {
        let policy = policy(text);
        for set in 0..64_u8 {
            let has = |n: u8| set >> (n - 1) & 1 == 1;
            let by: Vec<(u8, u64)> = (1..=6).filter(|&n| has(n)).map(|n| (n, time(n))).collect();
            let read = cosigned(&base, &by);
            let want = if rule(&has) { Ok(()) } else { Err(CheckpointError::Quorum) };
            assert_eq!(policy.verify(read.clone()).map(|_| ()), want, "{text} {set:b}");

            let verified = policy.verify_log(read).unwrap();
            let names: Vec<u8> = policy
                .cosignatures(&verified)
                .unwrap()
                .iter()
                .map(|c| c.witness.name[1..].parse().unwrap())
                .collect();
            assert_eq!(names, by.iter().map(|&(n, _)| n).collect::<Vec<u8>>());
            let newest = (0..2000).rev().find(|&t| rule(&|n| has(n) && time(n) >= t));
            let newest = newest.filter(|_| policy.needs_witnesses());
            assert_eq!(policy.vouched_time(&verified).ok().flatten(), newest, "{text} {set:b}");
        }
    }
}

// SPEC [Q5]
#[test]
fn a_failing_cosignature_of_a_listed_witness_refuses() {
    let policy = policy("group g any X1 X2\nquorum g\n");
    let base = checkpoint(7);
    // By X2 over another checkpoint.
    let forged = witness(2).cosign(&checkpoint(8), 5).unwrap();
    let good = witness(1).cosign(&base, 5).unwrap();
    let error = CheckpointError::Cosignature { key: witness(2).verifier().id() };
    for lines in [vec![forged.clone()], vec![good.clone(), forged.clone()], vec![forged, good]] {
        let read = base.with_lines(&lines).unwrap();
        assert_eq!(policy.verify(read.clone().into()), Err(error));
        assert_eq!(policy.cosignatures(&read), Err(error));
        // Who asks for the log's signature alone does not look at witnesses.
        assert_eq!(policy.verify_log(read.clone().into()), Ok(read));
    }
    // One that no group needs refuses too: it is known.
    let forged = witness(6).cosign(&checkpoint(8), 5).unwrap();
    let read = base.with_lines(&[witness(1).cosign(&base, 5).unwrap(), forged]).unwrap();
    let error = CheckpointError::Cosignature { key: witness(6).verifier().id() };
    assert_eq!(policy.verify(read.into()), Err(error));
}

#[test]
fn lines_by_others_are_ignored() {
    let policy = policy("quorum X1\n");
    let base = checkpoint(7);
    let stranger = witness(9).cosign(&checkpoint(8), 5).unwrap();
    let pq = format!("\u{2014} pq.example {}\n", base64(&[6; 2432]));
    let lines = [stranger, pq, witness(1).cosign(&base, 5).unwrap()];
    let read = base.with_lines(&lines).unwrap();
    assert_eq!(policy.verify(read.clone().into()), Ok(read.clone()));
    assert_eq!(policy.cosignatures(&read).unwrap().len(), 1);
    let read = base.with_lines(&lines[..2]).unwrap();
    assert_eq!(policy.verify(read.into()), Err(CheckpointError::Quorum));
}

#[test]
fn the_newest_of_several_cosignatures_counts() {
    let policy = policy("quorum X1\n");
    let read = cosigned(&checkpoint(7), &[(1, 10), (1, 30), (1, 20)]);
    let verified = policy.verify(read).unwrap();
    assert_eq!(policy.vouched_time(&verified), Ok(Some(30)));
    assert_eq!(policy.cosignatures(&verified).unwrap().len(), 1);
    // And the same witness never counts twice.
    let policy = self::policy("group g 2 X1 X2\nquorum g\n");
    let read = cosigned(&checkpoint(7), &[(1, 10), (1, 30)]);
    assert_eq!(policy.verify(read), Err(CheckpointError::Quorum));
}

/// The three exit codes of the command line rest on these.
#[test]
fn log_signature_before_quorum() {
    let policy = policy("quorum X1\n");
    let base = checkpoint(7);
    let fault = |note: String| {
        let read = UnverifiedCheckpoint::parse(note.as_bytes()).unwrap();
        policy.verify(read).unwrap_err().fault()
    };
    let cosignature = witness(1).cosign(&base, 5).unwrap();
    assert_eq!(fault(base.note().into()), CheckpointFault::Quorum);
    // Cosigned by the quorum, but not by the log.
    let text = base.text();
    assert_eq!(fault(compose(text, &[&cosignature])), CheckpointFault::LogSignature);
    let other = log_key().sign_line("another text\n");
    assert_eq!(fault(compose(text, &[other, cosignature])), CheckpointFault::LogSignature);
    // Another log, with a key of its own.
    let key = SigningKey::from_seed("other", KeyKind::Ed25519, [8; 32]).unwrap();
    let other = Checkpoint::sign(head(7), &key).unwrap();
    assert_eq!(fault(other.note().into()), CheckpointFault::LogSignature);
    let read = other.clone().into();
    assert_eq!(policy.verify(read), Err(CheckpointError::OtherOrigin));
    // A listed origin with a key that is not listed.
    let key = SigningKey::from_seed("example.com/tally", KeyKind::Ed25519, [8; 32]).unwrap();
    let read = Checkpoint::sign(head(7), &key).unwrap().into();
    assert_eq!(policy.verify(read), Err(CheckpointError::Unsigned));
    // Two logs in one policy: the key of one does not sign for the other.
    let text = format!("log {LOG_VKEY}\nlog {}\nquorum none\n", {
        SigningKey::from_seed("other", KeyKind::Ed25519, [8; 32]).unwrap().verifier()
    });
    let two = Policy::parse(&text).unwrap();
    assert!(two.verify(other.clone().into()).is_ok());
    assert!(two.verify(base.clone().into()).is_ok());
    let crossed = compose(base.text(), &[other.note().lines().last().unwrap().to_string() + "\n"]);
    let crossed = UnverifiedCheckpoint::parse(crossed.as_bytes()).unwrap();
    assert_eq!(two.verify(crossed), Err(CheckpointError::Unsigned));
}
