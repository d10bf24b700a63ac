//! The judgement as a function: sizes, times, and what is worth keeping.

use jejak::witness::judge::{Kept, Known, Outcome, Refusal, Suspicion, judge, verify};
use jejak_proofs::{
    merkle::{ConsistencyError, Hash, TreeHead},
    note::{AddCheckpoint, Checkpoint, VerifierKey},
};

use super::history::{History, ORIGIN};

/// Sizes that are tried: past one power of two.
const MAX: usize = 18;

struct Desk {
    log: History,
    keys: [VerifierKey; 1],
}

impl Desk {
    fn new() -> Self {
        let log = History::new(ORIGIN, MAX);
        let keys = [log.vkey()];
        Self { log, keys }
    }

    fn judge(&self, last: Option<(&Checkpoint, u64)>, body: &str, now: u64) -> Outcome {
        let known = Known { origin: ORIGIN, keys: &self.keys, last };
        let request = AddCheckpoint::parse(body.as_bytes()).unwrap();
        let signed = verify(&known, &request).unwrap();
        judge(&known, &request, signed, now)
    }
}

// SPEC [J4] [J5] [J6]
#[test]
fn every_step_between_small_trees() {
    let desk = Desk::new();
    let empty = |size: usize| (size > 0).then(|| (desk.log.checkpoint(size), 100));
    for known in 0..MAX {
        let last = empty(known);
        let last = last.as_ref().map(|(checkpoint, time)| (checkpoint, *time));
        for old in 0..MAX {
            for new in 0..MAX {
                let proof = if old <= new { desk.log.proof(old, new) } else { vec![] };
                let checkpoint = desk.log.checkpoint(new).into();
                let request = AddCheckpoint { old: old as u64, proof, checkpoint };
                let got = desk.judge(last, &request.to_string(), 101);
                let refusal = match got {
                    Outcome::Refuse(refusal, _) => Some(refusal),
                    Outcome::Cosign { checkpoint, time } => {
                        assert_eq!((checkpoint, time), (desk.log.checkpoint(new), 101));
                        None
                    }
                    Outcome::Again => panic!("nothing was cosigned at 101"),
                };
                let want = match () {
                    () if old > new => Some(Refusal::OldAboveSize),
                    () if old != known => Some(Refusal::Conflict { size: known as u64 }),
                    () => None,
                };
                assert_eq!(refusal, want, "{known}: {old} to {new}");
            }
        }
    }
}

// SPEC [J6] [J12]
#[test]
fn every_fork_of_small_trees_is_refused_and_kept() {
    let desk = Desk::new();
    let mut convicted = 0;
    for at in 0..MAX {
        let fork = desk.log.forked(at, "fork");
        for old in at + 1..MAX {
            let last = desk.log.checkpoint(old);
            for new in old..MAX {
                let got = desk.judge(Some((&last, 100)), &fork.request(old, new), 101);
                let Outcome::Refuse(Refusal::Inconsistent(error), Some(kept)) = got else {
                    panic!("{at}: {old} to {new}: {got:?}");
                };
                // A proof that begins with the old root itself shows no other.
                match *kept {
                    Kept::Evidence(evidence) => {
                        let conviction = evidence.verify(&desk.keys).unwrap();
                        assert_eq!(conviction.origin(), ORIGIN);
                        convicted += 1;
                    }
                    kept => {
                        assert_eq!(kept, Kept::Report(Suspicion::Inconsistent));
                        assert!(old.is_power_of_two(), "{at}: {old} to {new}");
                    }
                }
                let wrong = if old == new {
                    ConsistencyError::Forked
                } else if old.is_power_of_two() {
                    ConsistencyError::WrongNewRoot
                } else {
                    ConsistencyError::WrongOldRoot
                };
                assert_eq!(error, wrong, "{at}: {old} to {new}");
            }
        }
    }
    assert!(convicted > 500, "{convicted}");
}

// SPEC [J12]
#[test]
fn what_convicts_is_kept_whatever_else_is_wrong() {
    let desk = Desk::new();
    let (last, fork) = (desk.log.checkpoint(8), desk.log.forked(3, "fork"));
    let kept = |body: &str| match desk.judge(Some((&last, 100)), body, 101) {
        Outcome::Refuse(refusal, kept) => (refusal, kept.map(|kept| *kept)),
        other => panic!("{other:?}"),
    };
    let (refusal, evidence) = kept(&fork.request(0, 8));
    assert_eq!(refusal, Refusal::Conflict { size: 8 });
    assert!(matches!(evidence, Some(Kept::Evidence(_))), "{evidence:?}");
    let (_, report) = kept(&desk.log.request(0, 5));
    assert_eq!(report, Some(Kept::Report(Suspicion::Rollback)));
    // An honest log that does not know what the witness knows.
    assert_eq!(kept(&desk.log.request(0, 11)).1, None);
    assert_eq!(kept(&desk.log.request(5, 8)).1, None);
    let zero = TreeHead { size: 8, root: Hash::new([0; 32]) };
    assert_ne!(zero, last.head());
}

// SPEC [J9] [J10]
#[test]
fn times_are_never_0_and_never_go_back() {
    let desk = Desk::new();
    let last = desk.log.checkpoint(8);
    let time =
        |body: &str, before: Option<(&Checkpoint, u64)>, now| match desk.judge(before, body, now) {
            Outcome::Cosign { time, .. } => Some(time),
            Outcome::Again => None,
            other => panic!("{other:?}"),
        };
    let (same, next) = (desk.log.request(8, 8), desk.log.request(8, 9));
    assert_eq!(time(&same, Some((&last, 100)), 101), Some(101), "a fresh time");
    assert_eq!(time(&same, Some((&last, 100)), 100), None, "the same line again");
    assert_eq!(time(&same, Some((&last, 100)), 50), None, "a clock that went back");
    assert_eq!(time(&next, Some((&last, 100)), 50), Some(100));
    assert_eq!(time(&next, Some((&last, 100)), 200), Some(200));
    assert_eq!(time(&desk.log.request(0, 4), None, 7), Some(7));
    let got = desk.judge(Some((&last, 100)), &next, 0);
    assert_eq!(got, Outcome::Refuse(Refusal::Clock, None));
}
