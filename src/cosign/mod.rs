//! Asks the witnesses of a log's policy to cosign its sealed heads (C2SP tlog-witness).
//!
//! All are asked at once, in *rounds*: one sealed head a round, and the next round begins when this
//! head has its quorum or everyone who was asked has answered. So slow witnesses whose word is
//! needed are always asked about the same head, and a slow one that is not needed misses a round.
//! An answer that comes after the quorum is kept too, for monitors.
//!
//! Each witness has a thread of its own with one connection that is kept alive (`ask`). This is
//! the one place that names both the log and the client.

mod ask;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jejak_proofs::merkle::TreeHead;
use tokio::{
    sync::{mpsc, watch},
    task::{JoinHandle, spawn_blocking},
    time::{Instant, sleep_until},
};

use self::ask::{Answer, Fault, Witness};
use crate::{
    clock,
    log::{Fatal, Log, SealedView},
};

/// How soon a head that has no quorum is shown again to those who have not cosigned it.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The asking for one log. It ends when this is stopped or dropped.
#[derive(Debug)]
pub struct Cosigner {
    stop: watch::Sender<()>,
    rounds: JoinHandle<()>,
}

/// Begins to ask the witnesses of the log's policy that have a URL, if it has a quorum. Must be
/// called within a runtime.
///
/// # Errors
/// Fails on a URL that is none, with the name of the witness.
pub fn start(log: &Log) -> Result<Cosigner, BadUrl> {
    let (answers, receiver) = mpsc::unbounded_channel();
    let needed = log.policy().needs_witnesses();
    let lines = log.policy().witnesses().filter(|line| needed && line.url.is_some());
    let witnesses = lines.map(|line| Witness::start(line.clone(), log, answers.clone()));
    let witnesses: Vec<Witness> = witnesses.collect::<Result<_, _>>()?;
    let (stop, stopped) = watch::channel(());
    let rounds = Rounds {
        log: log.clone(),
        heads: log.to_cosign(),
        busy: vec![false; witnesses.len()],
        witnesses,
        answers: receiver,
        round: None,
        last: None,
        objection: false,
    };
    Ok(Cosigner { stop, rounds: tokio::spawn(rounds.run(stopped)) })
}

/// The URL of a witness in the policy is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the policy's URL of witness {0} is not an http or https URL without query")]
pub struct BadUrl(pub String);

impl Cosigner {
    /// Stops asking. What was cosigned is kept when this returns, and no file is written any more.
    pub async fn stop(self) {
        drop(self.stop);
        let _ = self.rounds.await;
    }
}

/// What is being cosigned.
struct Round {
    view: Arc<SealedView>,
    /// Cosignature lines by the name of the witness.
    lines: BTreeMap<String, Vec<String>>,
    quorum: bool,
    /// When those who did not cosign are asked again.
    again: Instant,
}

struct Rounds {
    log: Log,
    heads: watch::Receiver<Option<Arc<SealedView>>>,
    witnesses: Vec<Witness>,
    /// Which of them has not answered yet.
    busy: Vec<bool>,
    answers: mpsc::UnboundedReceiver<Answer>,
    round: Option<Round>,
    /// The one before, whose last answers may still come.
    last: Option<Round>,
    /// Whether a witness has claimed a head that this log does not have.
    objection: bool,
}

impl Rounds {
    async fn run(mut self, mut stopped: watch::Receiver<()>) {
        self.heads.mark_changed();
        loop {
            let decided = self.is_decided();
            let again = self.round.as_ref().filter(|round| decided && !round.quorum);
            let again = again.map(|round| round.again);
            tokio::select! {
                // The sender is gone.
                _ = stopped.changed() => return,
                Some(answer) = self.answers.recv() => self.answered(answer).await,
                changed = self.heads.changed(), if decided => match changed {
                    Ok(()) => self.begin(),
                    Err(_) => return,
                },
                () = at(again) => self.ask_again(),
            }
        }
    }

    /// Whether the next round may begin: a quorum has cosigned, or nobody is left to wait for. At a
    /// start everybody is waited for, since one may know of a newer head.
    fn is_decided(&self) -> bool {
        let quorum = self.round.as_ref().is_some_and(|round| round.quorum);
        !self.busy.contains(&true) || (quorum && !self.log.is_held())
    }

    /// Shows the newest head to everybody who is not busy with an older one.
    fn begin(&mut self) {
        let Some(view) = self.heads.borrow_and_update().clone() else { return };
        let again = Instant::now() + RETRY_AFTER;
        let next = Round { view, lines: BTreeMap::new(), quorum: false, again };
        self.last = self.round.replace(next);
        self.ask();
    }

    fn ask_again(&mut self) {
        if let Some(round) = &mut self.round {
            round.again = Instant::now() + RETRY_AFTER;
        }
        self.ask();
    }

    fn ask(&mut self) {
        let Some(round) = &self.round else { return };
        for (witness, busy) in self.witnesses.iter().zip(&mut self.busy) {
            if !*busy && !round.lines.contains_key(witness.name()) {
                *busy = witness.ask(round.view.clone());
            }
        }
    }

    async fn answered(&mut self, answer: Answer) {
        let Answer { witness, view, cosigned } = answer;
        let place = self.witnesses.iter().position(|known| known.name() == witness);
        if let Some(place) = place {
            self.busy[place] = false;
        }
        match cosigned {
            Ok(lines) => self.cosigned(&witness, &view, lines).await,
            Err(fault) => self.failed(&witness, fault),
        }
        if self.log.is_held() && self.is_decided() && !self.objection {
            let quorum = self.round.as_ref().is_some_and(|round| round.quorum);
            if quorum {
                tracing::info!(log = self.log.origin(), "no witness knows of a newer head");
                self.log.release();
            }
        }
    }

    async fn cosigned(&mut self, witness: &str, view: &SealedView, lines: Vec<String>) {
        let (size, time) = (view.head.size, clock::now_ms() / 1_000);
        self.log.note_witness(witness, |standing| {
            standing.size = standing.size.max(size);
            standing.time = time;
            standing.cosigned += 1;
            standing.fault.clear();
        });
        // A cosignature is over the head, whichever lines stood below it.
        let rounds = [&mut self.round, &mut self.last].into_iter().flatten();
        let Some(round) = rounds.into_iter().find(|round| round.view.head == view.head) else {
            return;
        };
        round.lines.insert(witness.to_owned(), lines);
        let all: Vec<String> = round.lines.values().flatten().cloned().collect();
        let (log, view) = (self.log.clone(), round.view.clone());
        // On a thread that may wait for the disk, and not given up half way.
        let done = spawn_blocking(move || log.cosigned(&view, &all)).await;
        round.quorum = matches!(done, Ok(Ok(true)));
    }

    fn failed(&mut self, witness: &str, fault: Fault) {
        let log = self.log.origin();
        self.log.note_witness(witness, |standing| {
            standing.failed += 1;
            standing.fault = fault.to_string();
        });
        let claimed = match fault {
            Fault::Proven(TreeHead { size, .. }) | Fault::Beyond { size, .. } => Some(size),
            Fault::Inconsistent => self.round.as_ref().map(|round| round.view.head.size),
            _ => None,
        };
        let Some(size) = claimed else {
            tracing::warn!(log, witness, %fault, "not cosigned");
            return;
        };
        tracing::error!(log, witness, %fault, "a witness holds another history");
        // Before the first entry is taken a claim is enough: the operator can find out. Later, no
        // witness ends a log by its word alone.
        if self.log.is_held() || matches!(fault, Fault::Proven(_)) {
            self.objection = true;
            self.log.stop(Fatal::Fork { witness: witness.to_owned(), size });
        }
    }
}

/// Waits until `time`, for ever without one.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
