//! What a witness answers, as a pure function of what it knows of a log, the request, and the time
//! (C2SP tlog-witness, "add-checkpoint").

use jejak_proofs::{
    evidence::Evidence,
    merkle::{ConsistencyError, TreeHead},
    note::{AddCheckpoint, Checkpoint, CheckpointError, SignedNote, VerifierKey},
};

/// Bytes of the signed text of a checkpoint that are taken: extension lines are not recommended,
/// and what is cosigned is kept, for thousands of logs.
pub const TEXT_LEN_MAX: usize = 4_096;

/// What a witness knows of a log.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The origin.
    pub origin: &'a str,
    /// The keys that sign for it.
    pub keys: &'a [VerifierKey],
    /// What was cosigned last, and when, in POSIX seconds.
    pub last: Option<(&'a Checkpoint, u64)>,
}

/// Why a request is refused. Each has one status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// 403: no line by a key of the log.
    #[error("no key of the log signed the checkpoint")]
    Unsigned,
    /// 403: a line with the name and id of a key of the log that is not by it.
    #[error("a signature of the log does not verify")]
    BadSignature,
    /// 400: the old size is above the checkpoint's.
    #[error("the old size is above that of the checkpoint")]
    OldAboveSize,
    /// 400: more text than is kept.
    #[error("the text of the checkpoint is over {TEXT_LEN_MAX} bytes")]
    TextTooLong,
    /// 409: the old size is not the one that was cosigned last.
    #[error("the size that was cosigned last is {size}")]
    Conflict {
        /// The size that was; 0 if none.
        size: u64,
    },
    /// 422: the proof does not lead from the tree that was cosigned last to this one.
    #[error("{0}")]
    Inconsistent(ConsistencyError),
    /// 422: size 0 with another root than that of the empty tree.
    #[error("size 0 without the root of the empty tree")]
    EmptyRoot,
    /// 503: a clock that says nothing.
    #[error("the clock of the witness is not set")]
    Clock,
}

/// What a log-signed request that was refused is worth keeping as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It convicts the log by itself.
    Evidence(Evidence),
    /// It convicts nobody offline, but somebody should look.
    Report(Suspicion),
}

/// What a report is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspicion {
    /// A head that is smaller than the one cosigned last.
    Rollback,
    /// A head that does not follow from the one cosigned last by the proof that came with it.
    Inconsistent,
    /// A head whose entries do not lead to it, or break the rules (a recount witness only).
    Recount,
}

impl Suspicion {
    /// Its name in files and metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Rollback => "rollback",
            Self::Inconsistent => "inconsistent",
            Self::Recount => "recount",
        }
    }
}

/// What to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Cosign this checkpoint at this time, after both are durable.
    Cosign {
        /// With the log's own lines and no others.
        checkpoint: Checkpoint,
        /// POSIX seconds; never 0, never before the last one.
        time: u64,
    },
    /// The very checkpoint was cosigned in this very second: the same line again.
    Again,
    /// Refuse, and keep what is worth it.
    Refuse(Refusal, Option<Box<Kept>>),
}

/// The checkpoint of a request with the lines of the log's keys, each key once, and no others:
/// lines that the witness cannot verify are not its to hand on.
///
/// # Errors
/// [`Refusal::Unsigned`] or [`Refusal::BadSignature`].
pub fn verify(known: &Known<'_>, request: &AddCheckpoint) -> Result<Checkpoint, Refusal> {
    let whole = request.checkpoint.clone().verify(known.origin, known.keys).map_err(signature)?;
    let note = SignedNote::parse(whole.note().as_bytes()).map_err(|_| Refusal::Unsigned)?;
    let of = |key: &VerifierKey| note.lines().iter().find(|line| line.is_by(key));
    let lines: Vec<String> =
        known.keys.iter().filter_map(of).map(|line| format!("{}\n", line.text())).collect();
    let bare = jejak_proofs::note::compose(whole.text(), &lines);
    jejak_proofs::note::UnverifiedCheckpoint::parse(bare.as_bytes())
        .and_then(|bare| bare.verify(known.origin, known.keys))
        .map_err(signature)
}

fn signature(error: CheckpointError) -> Refusal {
    match error {
        CheckpointError::LogSignature { .. } => Refusal::BadSignature,
        _ => Refusal::Unsigned,
    }
}

/// What a note that is no checkpoint only for the root of its empty tree is refused with: who
/// signed comes before what is wrong.
pub fn refuse_empty_root(known: &Known<'_>, note: &[u8]) -> Refusal {
    let keys: Vec<&VerifierKey> = known.keys.iter().collect();
    match SignedNote::parse(note).map(|note| note.verify(&keys)) {
        Ok(Ok(_)) => Refusal::EmptyRoot,
        Ok(Err(jejak_proofs::note::NoteError::BadSignature { .. })) => Refusal::BadSignature,
        _ => Refusal::Unsigned,
    }
}

/// Judges a request whose checkpoint the log signed ([`verify`]).
///
/// In the order of the specification: old size against size (400), against the size cosigned last
/// (409), then the proof (422). A head of the size cosigned last with another root convicts the log
/// whatever old size came with it.
pub fn judge(known: &Known<'_>, request: &AddCheckpoint, signed: Checkpoint, now: u64) -> Outcome {
    let head = signed.head();
    let last = known.last.map_or(TreeHead::EMPTY, |(checkpoint, _)| checkpoint.head());
    if signed.text().len() > TEXT_LEN_MAX {
        return Outcome::Refuse(Refusal::TextTooLong, None);
    }
    let refusal = if request.old > head.size {
        Some(Refusal::OldAboveSize)
    } else if request.old != last.size {
        Some(Refusal::Conflict { size: last.size })
    } else {
        head.verify_consistency(&last, &request.proof).err().map(Refusal::Inconsistent)
    };
    if let Some(refusal) = refusal {
        let kept = known.last.and_then(|(last, _)| worth(last, &signed, request, refusal));
        return Outcome::Refuse(refusal, kept.map(Box::new));
    }
    if now == 0 {
        return Outcome::Refuse(Refusal::Clock, None);
    }
    match known.last {
        Some((before, time)) if time >= now && before.note() == signed.note() => Outcome::Again,
        // A clock that went back does not take the cosignatures with it.
        before => Outcome::Cosign {
            checkpoint: signed,
            time: before.map_or(now, |(_, time)| time.max(now)),
        },
    }
}

/// What a refused head is worth, beside the one that was cosigned last.
fn worth(
    last: &Checkpoint,
    signed: &Checkpoint,
    request: &AddCheckpoint,
    refusal: Refusal,
) -> Option<Kept> {
    let (old, new) = (last.head(), signed.head());
    if new.size == old.size {
        return (new.root != old.root).then(|| Kept::Evidence(Evidence::two_roots(last, signed)));
    }
    if new.size < old.size {
        return Some(Kept::Report(Suspicion::Rollback));
    }
    match refusal {
        // Such a proof begins with the last complete subtree of the old tree, as evidence does.
        Refusal::Inconsistent(ConsistencyError::WrongOldRoot) => {
            let hashes = request.proof.clone();
            Some(Kept::Evidence(Evidence::inconsistent(last, signed, hashes)))
        }
        Refusal::Inconsistent(_) => Some(Kept::Report(Suspicion::Inconsistent)),
        _ => None,
    }
}
