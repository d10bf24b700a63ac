//! One witness: its connection, what it holds, and what its answers mean.

use std::{
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use jejak_proofs::{
    merkle::TreeHead,
    note::{AddCheckpoint, SignatureLine, WitnessLine},
};
use tokio::sync::mpsc::UnboundedSender;

use super::BadUrl;
use crate::{
    client::{Cosigned, Fetch, FetchError, FetchLimits, add_checkpoint, witnessed_checkpoint},
    log::{Log, ReadError, SealedView},
};

/// After these times a witness has not answered: a round does not wait for longer.
const LIMITS: FetchLimits = FetchLimits {
    connect_time_max: Duration::from_secs(2),
    send_stall_max: Duration::from_secs(2),
    answer_time_max: Duration::from_secs(5),
    body_time_max: Duration::from_secs(5),
};

/// How long a signed head may be known outside before this log knows it as published.
const PUBLISHING_MAX_MS: u32 = 500;

/// Why a witness did not cosign.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// No answer, or a refusal.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// An answer without a line by a key of this witness that verifies.
    #[error("the answer is no cosignature by the key of the policy")]
    NotItsLine,
    /// It says that it holds a tree of more entries than were ever published here. Nothing proves
    /// it, so it is never believed: nothing is signed because of it.
    #[error("it says that it holds a tree of {size} entries, and this log published {ours}")]
    Beyond {
        /// Entries that it names.
        size: u64,
        /// Entries of the largest tree that this log published.
        ours: u64,
    },
    /// It says that the head does not follow from the one that it holds.
    #[error("it says that the head does not extend the one that it holds")]
    Inconsistent,
    /// It serves a head that the log's key signed, and that is none of this log's trees.
    #[error("it holds a signed head of {} entries that is none of this log's", .0.size)]
    Proven(TreeHead),
    /// It holds a newer tree of this log, which somebody else has shown to it: the next sealed head
    /// extends that.
    #[error("it holds a newer tree of this log already")]
    Ahead,
    /// It names another tree each time.
    #[error("it does not say twice which tree it holds")]
    Moving,
    /// The log could not read its own tiles.
    #[error("no proof for it: {0}")]
    Read(#[from] ReadError),
}

/// What became of a head that was shown to a witness.
pub(super) struct Answer {
    pub witness: String,
    pub view: Arc<SealedView>,
    pub cosigned: Result<Vec<String>, Fault>,
}

/// A witness of the policy and the thread that speaks with it.
pub(super) struct Witness {
    name: String,
    asks: mpsc::Sender<Arc<SealedView>>,
}

impl Witness {
    /// Starts the thread. It ends when this is dropped; nobody waits for it.
    pub fn start(
        line: WitnessLine,
        log: &Log,
        answers: UnboundedSender<Answer>,
    ) -> Result<Self, BadUrl> {
        let name = line.name.clone();
        let url = line.url.clone().unwrap_or_default();
        let fetch = Fetch::new(&url, &LIMITS).map_err(|_| BadUrl(name.clone()))?;
        let (asks, shown) = mpsc::channel::<Arc<SealedView>>();
        let mut asking = Asking { held: first_guess(log), line, log: log.clone(), fetch };
        let speak = move || {
            for view in shown {
                let cosigned = asking.ask(&view);
                let witness = asking.line.name.clone();
                if answers.send(Answer { witness, view, cosigned }).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new()
            .name("witness".into())
            .spawn(speak)
            .expect("the system can start a thread");
        Ok(Self { name, asks })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Shows it a head. One answer will come, unless this is false.
    pub fn ask(&self, view: Arc<SealedView>) -> bool {
        self.asks.send(view).is_ok()
    }
}

/// What a witness most likely holds: the newest head that is known to be witnessed.
fn first_guess(log: &Log) -> u64 {
    let served = log.served();
    if served.vouched.is_some() { served.head.size } else { 0 }
}

struct Asking {
    line: WitnessLine,
    log: Log,
    fetch: Fetch,
    /// Entries of the tree that it holds, as far as is known.
    held: u64,
}

impl Asking {
    /// Shows the head, and again from what the witness says it holds.
    fn ask(&mut self, view: &SealedView) -> Result<Vec<String>, Fault> {
        for _ in 0..2 {
            let old = self.held.min(view.head.size);
            let proof = self.log.consistency(old, view.head.size)?.unwrap_or_default();
            let checkpoint = view.checkpoint.clone();
            match add_checkpoint(&self.fetch, &AddCheckpoint { old, proof, checkpoint }) {
                Ok(Cosigned::Lines(lines)) => {
                    self.held = view.head.size;
                    return self.own_lines(view, lines);
                }
                Ok(Cosigned::Holds(size)) if size <= view.head.size => self.held = size,
                Ok(Cosigned::Holds(size)) => {
                    let ours = self.log.published().head.size;
                    if size <= ours {
                        return Err(Fault::Ahead);
                    }
                    return Err(self.proven(view).unwrap_or(Fault::Beyond { size, ours }));
                }
                Err(FetchError::Refused(refusal)) if refusal.status == 422 => {
                    return Err(self.proven(view).unwrap_or(Fault::Inconsistent));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(Fault::Moving)
    }

    /// The lines by the key of the policy that verify. Others may be cosigners whom the policy
    /// does not know; a line that does not verify is none.
    fn own_lines(&self, view: &SealedView, lines: Vec<String>) -> Result<Vec<String>, Fault> {
        let text = view.checkpoint.text();
        let ours = |line: &String| {
            let bare = line.strip_suffix('\n').unwrap_or(line);
            SignatureLine::parse(bare).is_ok_and(|read| {
                read.is_by(&self.line.key)
                    && self.line.key.verify_cosignature(text, read.signature()).is_ok()
            })
        };
        let lines: Vec<String> = lines.into_iter().filter(ours).collect();
        if lines.is_empty() { Err(Fault::NotItsLine) } else { Ok(lines) }
    }

    /// A head that the witness serves, the log's key signed, and this log does not have: proof,
    /// whoever the witness is.
    fn proven(&self, view: &SealedView) -> Option<Fault> {
        let shown = witnessed_checkpoint(&self.fetch, view.checkpoint.origin()).ok()?;
        let shown = self.log.policy().verify_log(shown).ok()?;
        let head = shown.head();
        // The file `checkpoint` is replaced just before the tree is published in memory.
        for _ in 0..PUBLISHING_MAX_MS {
            if head.size <= self.log.published().head.size {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
        if self.log.root(head.size).ok()? == Some(head.root) {
            return None;
        }
        tracing::error!(
            log = self.log.origin(),
            witness = self.line.name,
            theirs = shown.note(),
            ours = view.checkpoint.note(),
            "two histories are signed with this log's key"
        );
        Some(Fault::Proven(head))
    }
}
