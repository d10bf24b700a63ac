//! The monitor: follows one log, verifies everything, and keeps what convicts.
//!
//! It trusts a policy and nothing else. A *head* is followed when the log and a quorum signed it
//! and it extends the one before, leaf hash by leaf hash; an *entry* is audited when its bytes hash
//! to its leaf and the ledger, the same machine that the log admits with, has judged it. What is
//! found is stored with the progress, so nothing is forgotten and nothing is said twice.
//!
//! The monitor takes and gives bytes: a [`Source`] is read, a [`State`] remembers.

mod affairs;
mod audit;
mod current;
mod documents;
mod elsewhere;
mod fields;
mod finding;
mod follow;
mod html;
mod memory;
mod personal;
mod report;
mod revision;
mod summary;
mod wait;

use std::sync::atomic::{AtomicBool, Ordering};

use jejak_proofs::{
    merkle::{Hash, TreeHead},
    note::{CheckpointError, Policy, PolicyError},
};

use self::{audit::Auditor, current::Affairs, memory::Memory};
use crate::{
    client::source::{Source, SourceError},
    state::{State, StateError},
};

pub use self::{
    affairs::{Published, survey},
    elsewhere::{Heard, Patience, Place, Sight},
    finding::{FieldNumbers, Finding, Proof, Revision, Rule, Side, Verdict, severity_word},
    memory::{MemoryError, bundle_of},
    report::Summary,
    summary::{COUNTED, ContestSummary, RegionSummary, RuleCounts},
    wait::until_sealed,
};

/// Why a monitor cannot begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The policy does not pin one log and its genesis.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// What it remembers cannot be used.
    #[error(transparent)]
    Memory(#[from] MemoryError),
}

/// What stands where the log's checkpoint should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotALog {
    /// Nothing.
    #[error("it has no checkpoint")]
    NoCheckpoint,
    /// More than a checkpoint can be.
    #[error("its checkpoint is longer than one can be")]
    TooLong,
    /// Something else.
    #[error("its checkpoint cannot be read: {0}")]
    Unreadable(CheckpointError),
    /// A checkpoint of another log: the URL or the policy is wrong.
    #[error("its checkpoint is that of another log")]
    OtherLog,
}

/// Why a poll did not reach an audited head.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PollError {
    /// The log cannot be reached: try again, accuse no one.
    #[error("the log cannot be reached: {0}")]
    Unreachable(SourceError),
    /// What answers has no checkpoint of the log, or something else in its place: accuse no one.
    #[error("what answers there is not the log of the policy: {0}")]
    NotALog(NotALog),
    /// The checkpoint is the log's, but the witnesses that the policy demands did not cosign it.
    #[error("{0}")]
    Quorum(CheckpointError),
    /// A finding, which is stored, after which nothing further can be judged.
    #[error("{0}")]
    Found(Box<Finding>),
    /// Stopped before the newest head was followed; the state is that of before.
    #[error("stopped")]
    Stopped,
    /// The state could not be written or read; end the process.
    #[error("state: {0}")]
    State(#[from] StateError),
}

/// Where a poll ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The newest head that was followed.
    pub head: TreeHead,
    /// Entries audited; less than the head's size only if the poll was stopped.
    pub audited: u64,
    /// The newest time, in POSIX seconds, that a quorum of witnesses vouches for, or without one
    /// the log.
    pub vouched: Option<u64>,
}

/// How a poll is watched and stopped.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    /// Once true, the poll ends after what it is doing now, with its state saved.
    pub stop: &'a AtomicBool,
    /// Called with the number of entries audited, and of all.
    pub progress: &'a dyn Fn(u64, u64),
    /// Called with each new finding, after it is stored, and with each finding about the state of
    /// affairs that did not hold at the head before.
    pub found: &'a dyn Fn(&Finding),
}

impl Watch<'_> {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// A follower of one log.
pub struct Monitor<'a, S> {
    source: &'a S,
    policy: &'a Policy,
    origin: &'a str,
    genesis: Hash,
    memory: Memory,
    auditor: Option<Auditor>,
    /// Findings of this run, also those that were stored before.
    run: Summary,
    /// The last finding about what was served, so that polling does not repeat it.
    last: Option<Finding>,
    /// What was said in this run of a log that is silent or serves less than it signed.
    complaints: Vec<Finding>,
    /// Heads at other places that were found to be beginnings of the followed one.
    fitting: Vec<TreeHead>,
    /// What holds at the head that was audited last.
    affairs: Option<Affairs>,
    /// What held when it was said last, by a part of a hash.
    known: Vec<[u8; 16]>,
    published: Option<Published>,
}

impl<'a, S: Source> Monitor<'a, S> {
    /// A monitor of the one log of `policy`, which goes on where `state` left off.
    ///
    /// # Errors
    /// Fails if the policy does not pin one log and its genesis, or if the state is damaged or of
    /// another log: then somebody must look, for a monitor that forgets can be lied to.
    pub fn open(source: &'a S, policy: &'a Policy, state: State) -> Result<Self, OpenError> {
        let origin = policy.single_origin()?;
        let genesis = policy.require_genesis(origin)?;
        let memory = Memory::open(state, policy, origin, genesis)?;
        let known = current::known(&memory).map_err(MemoryError::State)?;
        Ok(Self {
            source,
            policy,
            origin,
            genesis,
            memory,
            auditor: None,
            run: Summary::default(),
            last: None,
            complaints: Vec::new(),
            fitting: Vec::new(),
            affairs: None,
            known,
            published: None,
        })
    }

    /// Fetches the newest checkpoint, follows it, and audits every entry that is new.
    ///
    /// # Errors
    /// As [`PollError`] says. After [`PollError::State`] the monitor must not be used again.
    pub fn poll(&mut self, watch: &Watch<'_>) -> Result<Standing, PollError> {
        let vouched = self.follow(watch)?;
        self.audit(watch)?;
        self.assess(watch)?;
        if let Some(withheld) = self.source.withheld() {
            let detail = format!("a mirror serves what the log does not: {withheld}");
            self.note(Finding::of_log(Rule::Withheld, detail), watch)?;
        }
        let head = self.memory.frontier().head();
        Ok(Standing { head, audited: self.memory.audited(), vouched })
    }

    /// Saves what would otherwise have to be replayed.
    ///
    /// # Errors
    /// As the state says.
    pub fn close(&mut self) -> Result<(), StateError> {
        match &mut self.auditor {
            Some(auditor) => auditor.save(&self.memory),
            None => Ok(()),
        }
    }

    /// Stores a finding that the caller made, such as one about age, and tells the watch.
    ///
    /// # Errors
    /// As the state says.
    pub fn note(&mut self, finding: Finding, watch: &Watch<'_>) -> Result<(), StateError> {
        let repeated = self.last.as_ref() == Some(&finding);
        if repeated {
            return Ok(());
        }
        self.memory.progress(self.memory.audited(), std::slice::from_ref(&finding))?;
        self.run.add(finding.rule);
        (watch.found)(&finding);
        self.last = Some(finding);
        Ok(())
    }

    /// Counts of every finding ever stored, and of those that hold now.
    pub fn summary(&self) -> Summary {
        let mut summary = self.memory.summary().clone();
        summary.merge(&self.current());
        summary
    }

    /// Every finding ever stored, in the order in which they were made.
    pub fn findings(&self) -> impl Iterator<Item = Result<Finding, StateError>> {
        self.memory.findings()
    }

    /// Counts of what holds against the log now: what was found in this run, and what was found
    /// before and stays true whatever the log shows.
    pub fn standing_findings(&self) -> Summary {
        let mut summary = self.memory.summary().lasting();
        summary.merge(&self.run);
        summary.merge(&self.current());
        summary
    }

    /// Stores a finding after which the poll cannot go on.
    fn end(&mut self, finding: Finding, watch: &Watch<'_>) -> PollError {
        match self.note(finding.clone(), watch) {
            Ok(()) => PollError::Found(Box::new(finding)),
            Err(error) => PollError::State(error),
        }
    }
}
