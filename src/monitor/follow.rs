//! Following a head: from the newest one known to the one that the log shows now.
//!
//! Every error says whom it accuses. Two signed heads that cannot both be true are evidence. A
//! tile, a bundle or an old head may come from something between us and the log: it is a report.

use jejak_proofs::{
    evidence::Evidence,
    merkle::{BundleId, Frontier, Hash, Plan, TILE_WIDTH, leaf_hash, parse_bundle, prefix_roots},
    note::{Checkpoint, CheckpointFault, NOTE_LEN_MAX, UnverifiedCheckpoint},
};

use super::{
    Monitor, NotALog, PollError, Watch,
    finding::{Finding, Rule},
};
use crate::{
    client::source::{self, Alone, ServeError, Source, SourceError},
    state::StateError,
};

/// Tiles of leaf hashes fetched at once: half a MiB.
const TILES_AT_ONCE: usize = 64;

/// Bundles fetched at once, for their leaf hashes or to be audited: at the utmost 268 MB, 3 MB of
/// entries as they come.
pub(super) const BUNDLES_AT_ONCE: usize = 16;

/// Why leaf hashes could not be read.
enum ReadError {
    Serve(ServeError),
    State(StateError),
    Stopped,
}

impl From<StateError> for ReadError {
    fn from(error: StateError) -> Self {
        Self::State(error)
    }
}

impl<S: Source> Monitor<'_, S> {
    /// Follows the log to the checkpoint that it shows now, and returns the time that a quorum
    /// vouches for.
    pub(super) fn follow(&mut self, watch: &Watch<'_>) -> Result<Option<u64>, PollError> {
        let (head, vouched, is_copy) = self.checkpoint(watch)?;
        let known = self.memory.followed().cloned();
        let size = self.memory.frontier().size();
        if let Some(known) = &known {
            if head.head().size < size {
                // A mirror may be behind: only another history would accuse the log.
                if is_copy && self.memory.head_at(head.head().size)? == head.head() {
                    return Ok(vouched);
                }
                return Err(self.rolled_back(known, &head, watch)?);
            }
            if head.head().size == size {
                return match head.head() == known.head() {
                    true => Ok(vouched),
                    false => {
                        let evidence = Evidence::two_roots(known, &head);
                        Err(self.convict(&evidence, &format!("two-roots-{size}"), watch)?)
                    }
                };
            }
        }
        self.extend(known.as_ref(), &head, watch)?;
        Ok(vouched)
    }

    /// The checkpoint that the log shows, signed by the log and by a quorum; where the log shows
    /// none, the largest that its mirrors show, and that it is theirs.
    fn checkpoint(
        &mut self,
        watch: &Watch<'_>,
    ) -> Result<(Checkpoint, Option<u64>, bool), PollError> {
        let error = match self.source.get("checkpoint", NOTE_LEN_MAX as u64) {
            Ok(Some(bytes)) => {
                let (head, vouched) = self.verified(&bytes, watch)?;
                return Ok((head, vouched, false));
            }
            Ok(None) => PollError::NotALog(NotALog::NoCheckpoint),
            Err(SourceError::TooLong { .. }) => PollError::NotALog(NotALog::TooLong),
            Err(error) => PollError::Unreachable(error),
        };
        let copies = self.source.mirrors().iter().filter_map(|mirror| {
            let bytes = Source::get(mirror, "checkpoint", NOTE_LEN_MAX as u64).ok()??;
            let head = UnverifiedCheckpoint::parse(&bytes).ok()?;
            let head = self.policy.verify_log(head).ok()?;
            let vouched = self.policy.vouched_time(&head).ok()?;
            (head.origin() == self.origin).then_some((head, vouched, true))
        });
        copies.max_by_key(|(head, ..)| head.head().size).ok_or(error)
    }

    /// A checkpoint of the log, signed by the log and by a quorum.
    fn verified(
        &mut self,
        bytes: &[u8],
        watch: &Watch<'_>,
    ) -> Result<(Checkpoint, Option<u64>), PollError> {
        let head = UnverifiedCheckpoint::parse(bytes)
            .map_err(|error| PollError::NotALog(NotALog::Unreadable(error)))?;
        // Of another log nothing was promised: whoever asks has the wrong URL or policy.
        if head.origin() != self.origin {
            return Err(PollError::NotALog(NotALog::OtherLog));
        }
        let verified = self.policy.verify_log(head).and_then(|head| {
            let vouched = self.policy.vouched_time(&head)?;
            Ok((head, vouched))
        });
        verified.map_err(|error| match error.fault() {
            CheckpointFault::Quorum => PollError::Quorum(error),
            _ => self.end(Finding::of_log(Rule::Signature, error), watch),
        })
    }

    /// A head smaller than one we have: if it is of another history our own leaf hashes prove it;
    /// if not it is only old, which nobody else can check.
    fn rolled_back(
        &mut self,
        known: &Checkpoint,
        head: &Checkpoint,
        watch: &Watch<'_>,
    ) -> Result<PollError, PollError> {
        let (old, new) = (head.head(), known.head());
        if let Some((evidence, name)) = self.older_contradiction(head, known)? {
            return self.convict(&evidence, &name, watch);
        }
        let name = format!("reports/rollback-{}-{}.checkpoint", new.size, old.size);
        let shown = self.memory.publish(name, head.note())?;
        let detail = format!(
            "{} entries were signed before, {} are shown now; kept as {shown}",
            new.size, old.size
        );
        Ok(self.end(Finding::of_log(Rule::Rollback, detail), watch))
    }

    /// Evidence out of our own leaf hashes, if a head smaller than the followed one is of another
    /// history; and a name for it.
    pub(super) fn older_contradiction(
        &self,
        older: &Checkpoint,
        known: &Checkpoint,
    ) -> Result<Option<(Evidence, String)>, StateError> {
        let (old, new) = (older.head(), known.head());
        if old.size == 0 || self.memory.head_at(old.size)? == old {
            return Ok(None);
        }
        let plan = Plan::prefix(old.size, new.size).expect("0 < old < new");
        let nodes = plan.nodes().iter().map(|node| self.memory.node(*node));
        let hashes = plan.combine(&nodes.collect::<Result<Vec<_>, _>>()?);
        let hashes = hashes.expect("one hash for each node");
        Ok(Some(inconsistent(older, known, hashes)))
    }

    /// Writes evidence, after checking it as others will.
    pub(super) fn convict(
        &mut self,
        evidence: &Evidence,
        name: &str,
        watch: &Watch<'_>,
    ) -> Result<PollError, PollError> {
        let verdict = evidence.verify_under(&self.policy.clone().accept_any_kind());
        // Two verified heads that differ, and hashes that led to the newer: only leaf hashes that
        // changed on our disk since they were checked can be in the way.
        let conviction = verdict.map_err(|_| StateError::damaged("leaves"))?;
        let file = format!("evidence/{name}.evidence");
        let file = self.memory.publish(file, &evidence.to_string())?;
        let finding = Finding::of_log(Rule::Fork, conviction);
        Ok(self.end(Finding { evidence: Some(file), ..finding }, watch))
    }

    /// From the known head to a larger one: the known leaf hashes and the new ones must lead to
    /// the new root. If they do not, finds out who is to blame.
    fn extend(
        &mut self,
        known: Option<&Checkpoint>,
        head: &Checkpoint,
        watch: &Watch<'_>,
    ) -> Result<(), PollError> {
        let size = head.head().size;
        // From the log alone, so that what is wrong is its doing.
        let from_tiles = self
            .read_leaves(size, watch, |source, places| source::leaf_tiles(&Alone(source), places));
        let tiles_fault = match self.reached(from_tiles, head, watch) {
            Ok(None) => return Ok(()),
            Ok(Some(fault)) => fault,
            Err(PollError::Unreachable(error)) => {
                return self.extend_without(known, head, error, watch);
            }
            Err(error) => return Err(error),
        };
        self.hold_against(known, head, watch)?;
        let from_bundles = self.read_leaves(size, watch, Self::leaves_of_bundles);
        let bundles_fault = match self.reached(from_bundles, head, watch) {
            Err(PollError::Unreachable(error)) => {
                return self.extend_without(known, head, error, watch);
            }
            fault => fault?,
        };
        match bundles_fault {
            None => {
                // The entries are all there: it is the tiles that are wrong.
                let detail = format!("the tiles under {size} entries: {tiles_fault}");
                self.note(Finding::of_log(Rule::Withheld, detail), watch)?;
                Ok(())
            }
            Some(fault) => {
                let rule = if fault.is_mismatch { Rule::Root } else { Rule::Withheld };
                if self.extend_by_copies(head, watch)? {
                    self.note(Finding::of_log(rule, fault), watch)?;
                    return Ok(());
                }
                self.memory.discard()?;
                Err(self.end(Finding::of_log(rule, fault), watch))
            }
        }
    }

    /// From the known head to a larger one while the log does not answer. A mirror that does not
    /// lead there accuses nobody.
    fn extend_without(
        &mut self,
        known: Option<&Checkpoint>,
        head: &Checkpoint,
        error: SourceError,
        watch: &Watch<'_>,
    ) -> Result<(), PollError> {
        if self.source.mirrors().is_empty() {
            return Err(PollError::Unreachable(error));
        }
        if self.extend_by_copies(head, watch)? {
            return Ok(());
        }
        self.memory.discard()?;
        self.hold_against(known, head, watch)?;
        Err(PollError::Unreachable(error))
    }

    /// Convicts the log if `head` is of another history than the known one.
    fn hold_against(
        &mut self,
        known: Option<&Checkpoint>,
        head: &Checkpoint,
        watch: &Watch<'_>,
    ) -> Result<(), PollError> {
        if let Some(known) = known.filter(|known| known.head().size > 0)
            && let Relation::Contradicts(evidence, name) =
                self.relation(self.source, known, head)?
        {
            return Err(self.convict(&evidence, &name, watch)?);
        }
        Ok(())
    }

    /// Follows `head` by the tiles of a mirror; false if no mirror leads to it.
    fn extend_by_copies(
        &mut self,
        head: &Checkpoint,
        watch: &Watch<'_>,
    ) -> Result<bool, PollError> {
        let source = self.source;
        for mirror in source.mirrors() {
            let size = head.head().size;
            let read =
                self.read_leaves(size, watch, |_, places| source::leaf_tiles(mirror, places));
            if let Err(ReadError::Serve(ServeError::Unreachable(_))) = read {
                continue;
            }
            if self.reached(read, head, watch)?.is_none() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Makes `head` the followed one if the leaf hashes read lead to it; else says what is wrong.
    fn reached(
        &mut self,
        read: Result<Frontier, ReadError>,
        head: &Checkpoint,
        watch: &Watch<'_>,
    ) -> Result<Option<Fault>, PollError> {
        let size = head.head().size;
        match read {
            Ok(frontier) if frontier.head() == head.head() => {
                let first = self.memory.leaves(0, 1)?;
                if first.first().is_some_and(|leaf| *leaf != self.genesis) {
                    self.memory.discard()?;
                    let detail = format!("the leaf hash of entry 0 is {}", first[0]);
                    return Err(self.end(Finding::of_log(Rule::Genesis, detail), watch));
                }
                self.memory.follow(head.clone(), frontier)?;
                Ok(None)
            }
            Ok(frontier) => {
                let got = frontier.head().root;
                let detail = format!("{size} entries lead to the root {got}");
                Ok(Some(Fault { is_mismatch: true, detail }))
            }
            Err(ReadError::Serve(ServeError::Unreachable(error))) => {
                self.memory.discard()?;
                Err(PollError::Unreachable(error))
            }
            Err(ReadError::Serve(error)) => {
                Ok(Some(Fault { is_mismatch: false, detail: error.to_string() }))
            }
            Err(ReadError::State(error)) => Err(error.into()),
            Err(ReadError::Stopped) => {
                self.memory.discard()?;
                Err(PollError::Stopped)
            }
        }
    }

    /// Appends the leaf hashes from the known head to `size`, and returns the tree over all.
    fn read_leaves(
        &mut self,
        size: u64,
        watch: &Watch<'_>,
        leaves_of: impl Fn(&S, &[BundleId]) -> Result<Vec<Vec<Hash>>, ServeError>,
    ) -> Result<Frontier, ReadError> {
        self.memory.discard()?;
        let mut frontier = self.memory.frontier().clone();
        // A tile of leaf hashes has the index and the width of the bundle of their entries.
        let mut places = BundleId::of_tree(frontier.size(), size).peekable();
        while places.peek().is_some() {
            if watch.stopped() {
                return Err(ReadError::Stopped);
            }
            let group: Vec<BundleId> = places.by_ref().take(TILES_AT_ONCE).collect();
            let read = leaves_of(self.source, &group).map_err(ReadError::Serve)?;
            for (place, leaves) in group.iter().zip(read) {
                // The first may begin with leaves that we have.
                let start = place.index * u64::from(TILE_WIDTH);
                let known = usize::try_from(frontier.size() - start).unwrap_or(usize::MAX);
                let new = leaves.get(known..).unwrap_or_default();
                new.iter().for_each(|leaf| frontier.push(*leaf));
                self.memory.append(new)?;
            }
        }
        Ok(frontier)
    }

    fn leaves_of_bundles(source: &S, group: &[BundleId]) -> Result<Vec<Vec<Hash>>, ServeError> {
        let mut all = Vec::with_capacity(group.len());
        for group in group.chunks(BUNDLES_AT_ONCE) {
            all.extend(source::get_all(group, |id| {
                let bytes = source::bundle(&Alone(source), id)?.bytes;
                let entries = parse_bundle(id, &bytes);
                let path = id.path();
                let entries = entries.map_err(|_| ServeError::Malformed { path })?;
                Ok(entries.into_iter().map(leaf_hash).collect())
            })?);
        }
        Ok(all)
    }

    /// How two signed heads, neither of them empty, stand to each other by the tiles that the log
    /// or one of its mirrors serves for the larger one.
    pub(super) fn relation(
        &self,
        log: &impl Source,
        older: &Checkpoint,
        newer: &Checkpoint,
    ) -> Result<Relation, PollError> {
        let (old, new) = (older.head(), newer.head());
        let plan = Plan::prefix(old.size, new.size).expect("0 < old < new");
        let fits =
            |hashes: &[Hash]| prefix_roots(old.size, new.size, hashes) == Ok((old.root, new.root));
        let wrong = match source::combine_fitting(log, &plan, new.size, fits) {
            Ok(Ok(_)) => return Ok(Relation::Fits),
            Ok(Err(wrong)) => wrong,
            Err(ServeError::Unreachable(error)) => return Err(PollError::Unreachable(error)),
            Err(_) => return Ok(Relation::Unproven),
        };
        let policy = self.policy.clone().accept_any_kind();
        let all = wrong.into_iter().map(|hashes| inconsistent(older, newer, hashes));
        let convicts = |(evidence, _): &(Evidence, _)| evidence.verify_under(&policy).is_ok();
        let proven = all.into_iter().find(convicts);
        Ok(proven
            .map_or(Relation::Unproven, |(evidence, name)| Relation::Contradicts(evidence, name)))
    }
}

/// How two signed heads stand to each other.
pub(super) enum Relation {
    /// They are of one history.
    Fits,
    /// They cannot both be true; the evidence, and a name for it.
    Contradicts(Evidence, String),
    /// What the log serves shows neither.
    Unproven,
}

fn inconsistent(older: &Checkpoint, newer: &Checkpoint, hashes: Vec<Hash>) -> (Evidence, String) {
    let name = format!("inconsistent-{}-{}", older.head().size, newer.head().size);
    (Evidence::inconsistent(older, newer, hashes), name)
}

/// Why leaf hashes did not lead to a head.
struct Fault {
    /// They were all there, and lead to another root.
    is_mismatch: bool,
    detail: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)
    }
}
