//! What others saw: heads of the log at its witnesses, its mirrors and its other routes.
//!
//! A log that shows two histories shows each to somebody. So every head that the log signed,
//! wherever it is found, must fit the one that is followed: be a beginning of it, or go on from it
//! by what the log itself serves. One that does neither is remembered until it does.

use std::{
    thread,
    time::{Duration, Instant},
};

use jejak_proofs::{
    evidence::Evidence,
    merkle::TreeHead,
    note::{Checkpoint, NOTE_LEN_MAX, Policy, UnverifiedCheckpoint},
};
use serde::{Deserialize, Serialize};

use super::{
    Monitor, PollError, Watch, bundle_of,
    finding::{Finding, Rule},
    follow::Relation,
};
use crate::client::source::{self, Source};

/// Heads that are remembered at once: a log signs one a second, and what comes after the first that
/// it does not serve only goes on from it, or contradicts it.
const AHEAD_MAX: usize = 64;

/// How long one look may ask the log for what proves one head by another.
const LOOK_TIME_MAX: Duration = Duration::from_secs(60);

/// Where a head of the log may be found.
pub struct Place<'a> {
    /// What people call it.
    pub name: String,
    /// Who answers.
    pub source: &'a dyn Source,
    /// Where the checkpoint is.
    pub path: String,
}

/// What was found at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    /// The place.
    pub name: String,
    /// The head that it showed, signed by the log; or why there is none. It accuses nobody.
    pub shown: Result<TreeHead, String>,
}

/// How long the log may be silent, or not serve what it signed.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// After this time a head that others were shown, and the log does not serve, is L5.
    pub unserved: Duration,
    /// After this time a log that gives no answer is L6.
    pub silent: Duration,
}

/// How the log took the question for its checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It answered.
    Answer,
    /// It gave no answer, or has no checkpoint.
    Silence,
    /// Something else answered: that says nothing about the log.
    Other,
}

/// What is remembered from one poll to the next, and over a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    /// Since when the log has given no answer, and when it was asked last, in POSIX seconds.
    silent: Option<(u64, u64)>,
    /// Heads beyond the followed one: the newest that goes on from it, and those of which that is
    /// not known.
    ahead: Vec<Ahead>,
}

/// A signed head beyond the followed one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Ahead {
    note: String,
    /// Where it was seen first.
    place: String,
    /// When, or since when it is not served, in POSIX seconds.
    since: u64,
    /// Whether it goes on from the followed one, by what the log served.
    fits: bool,
}

/// Who is asked for what proves one head by another, while there is time.
struct Asked<'a> {
    log: &'a dyn Source,
    until: Instant,
    watch: &'a Watch<'a>,
    /// It gave no answer: nothing more is asked in this look.
    away: bool,
}

impl Asked<'_> {
    fn answers(&self) -> bool {
        !self.away && Instant::now() < self.until && !self.watch.stopped()
    }
}

impl<S: Source> Monitor<'_, S> {
    /// Compares the followed head with what these places show, all asked at once. `log` is the log
    /// itself, over a connection that gives up soon; `now` is in POSIX seconds.
    ///
    /// # Errors
    /// [`PollError::Found`] if two heads cannot both be true; [`PollError::State`] as the state
    /// says. That a place gives no answer is no error.
    pub fn compare(
        &mut self,
        log: &dyn Source,
        places: &[Place<'_>],
        (heard, now): (Heard, u64),
        patience: Patience,
        watch: &Watch<'_>,
    ) -> Result<Vec<Sight>, PollError> {
        let mut seen = self.memory.seen()?;
        // Whatever the log signed convicts it, with every line that `--require-pq` asks for or not.
        let (policy, origin) = (self.policy.clone().accept_any_kind(), self.origin);
        let shown: Vec<Result<Checkpoint, String>> = thread::scope(|scope| {
            let policy = &policy;
            let look = |place| scope.spawn(move || look(place, policy, origin));
            let asked: Vec<_> = places.iter().map(look).collect();
            asked.into_iter().map(|one| one.join().expect("looking does not panic")).collect()
        });
        let heads = places.iter().zip(&shown).filter_map(|(place, shown)| {
            let note = shown.as_ref().ok()?.note().to_owned();
            Some(Ahead { note, place: place.name.clone(), since: now, fits: false })
        });
        let heads: Vec<Ahead> = seen.ahead.drain(..).chain(heads).collect();
        let until = Instant::now() + LOOK_TIME_MAX;
        let mut asked = Asked { log, until, watch, away: heard == Heard::Silence };
        seen.ahead = self.judge(heads, &policy, now, &mut asked)?;
        seen.silent = match (heard, seen.silent) {
            (Heard::Answer, _) => None,
            (Heard::Other, silent) => silent,
            // What was not watched for longer than that was not watched.
            (Heard::Silence, Some((since, last))) if !late(last, now, patience.silent) => {
                Some((since, now))
            }
            (Heard::Silence, _) => Some((now, now)),
        };
        self.memory.see(&seen)?;
        self.complain(&seen, patience, now, watch)?;
        let sights = places.iter().zip(shown).map(|(place, shown)| Sight {
            name: place.name.clone(),
            shown: shown.map(|head| head.head()),
        });
        Ok(sights.collect())
    }

    /// Judges signed heads by the followed one, by each other, and by what the log serves. Returns
    /// what is to be remembered.
    fn judge(
        &mut self,
        heads: Vec<Ahead>,
        policy: &Policy,
        now: u64,
        asked: &mut Asked<'_>,
    ) -> Result<Vec<Ahead>, PollError> {
        let followed = self.memory.followed().cloned();
        let mut all: Vec<(Ahead, Checkpoint)> = Vec::new();
        // Of keys that the policy does not list any more: kept, until somebody looks.
        let mut kept = Vec::new();
        for ahead in heads {
            let Some(head) = verified(&ahead.note, policy, self.origin) else {
                kept.push(ahead);
                continue;
            };
            let TreeHead { size, root } = head.head();
            let mut known = followed.iter().chain(all.iter().map(|(_, head)| head));
            match known.find(|known| known.head().size == size) {
                // The empty tree is the beginning of every other.
                None if size > 0 => all.push((ahead, head)),
                Some(twin) if twin.head().root != root => {
                    let (evidence, name) = two_roots(twin, &head);
                    return Err(self.convict(&evidence, &name, asked.watch)?);
                }
                _ => {}
            }
        }
        all.sort_by_key(|(_, head)| head.head().size);
        let size = followed.as_ref().map_or(0, |head| head.head().size);
        let newer = all.split_off(all.partition_point(|(_, head)| head.head().size < size));
        self.judge_older(&all, asked.watch)?;
        kept.extend(self.judge_newer(newer, now, asked)?);
        kept.truncate(AHEAD_MAX);
        Ok(kept)
    }

    /// Heads that are smaller than the followed one are its beginning, by our own leaf hashes.
    fn judge_older(
        &mut self,
        older: &[(Ahead, Checkpoint)],
        watch: &Watch<'_>,
    ) -> Result<(), PollError> {
        let Some(known) = self.memory.followed().cloned() else { return Ok(()) };
        let heads: Vec<TreeHead> = older.iter().map(|(_, head)| head.head()).collect();
        if heads == self.fitting {
            return Ok(());
        }
        let sizes: Vec<u64> = heads.iter().map(|head| head.size).collect();
        let ours = self.memory.heads_at(&sizes)?;
        let other = older.iter().zip(ours).find(|((_, head), ours)| head.head() != *ours);
        if let Some(((_, head), _)) = other
            && let Some((evidence, name)) = self.older_contradiction(head, &known)?
        {
            return Err(self.convict(&evidence, &name, watch)?);
        }
        self.fitting = heads;
        Ok(())
    }

    /// Heads beyond the followed one, smallest first: each must go on from the newest before it
    /// that does. Returns that and those of which it is not known.
    fn judge_newer(
        &mut self,
        newer: Vec<(Ahead, Checkpoint)>,
        now: u64,
        asked: &mut Asked<'_>,
    ) -> Result<Vec<Ahead>, PollError> {
        let mut reach = self.memory.followed().filter(|head| head.head().size > 0).cloned();
        let mut fitting = None;
        let mut waiting: Vec<(Ahead, Checkpoint)> = Vec::new();
        for (ahead, head) in newer {
            let relation = match &reach {
                None => Relation::Unproven,
                Some(reach) => self.relation_by(reach, &head, asked)?,
            };
            match relation {
                Relation::Contradicts(evidence, name) => {
                    return Err(self.convict(&evidence, &name, asked.watch)?);
                }
                Relation::Fits if serves_last_of(asked, head.head()) => {
                    reach = Some(head);
                    fitting = Some(Ahead { fits: true, ..ahead });
                }
                _ => {
                    // Where nothing is followed yet, the first stands for it.
                    reach.get_or_insert_with(|| head.clone());
                    let since = if ahead.fits { now } else { ahead.since };
                    waiting.push((Ahead { fits: false, since, ..ahead }, head));
                }
            }
        }
        let mut kept: Vec<Ahead> = fitting.into_iter().collect();
        for (ahead, head) in waiting {
            let relation = match &reach {
                Some(reach) if head.head().size < reach.head().size => {
                    self.relation_by(&head, reach, asked)?
                }
                _ => Relation::Unproven,
            };
            match relation {
                Relation::Fits => {}
                Relation::Unproven => kept.push(ahead),
                Relation::Contradicts(evidence, name) => {
                    return Err(self.convict(&evidence, &name, asked.watch)?);
                }
            }
        }
        Ok(kept)
    }

    /// How a signed head stands to a larger one, if the log answers.
    fn relation_by(
        &self,
        older: &Checkpoint,
        newer: &Checkpoint,
        asked: &mut Asked<'_>,
    ) -> Result<Relation, PollError> {
        if !asked.answers() {
            return Ok(Relation::Unproven);
        }
        match self.relation(&asked.log, older, newer) {
            Err(PollError::Unreachable(_)) => {
                asked.away = true;
                Ok(Relation::Unproven)
            }
            relation => relation,
        }
    }

    /// Says what has lasted too long, once a run.
    fn complain(
        &mut self,
        seen: &Seen,
        patience: Patience,
        now: u64,
        watch: &Watch<'_>,
    ) -> Result<(), PollError> {
        let mut complaints = Vec::new();
        let silent = seen.silent.map(|(since, _)| since);
        if let Some(since) = silent.filter(|since| late(*since, now, patience.silent)) {
            let detail = format!("no answer since {since} (POSIX seconds)");
            complaints.push(Finding::of_log(Rule::Silent, detail));
        }
        // Without a followed head it is not known what the log serves.
        let follows = self.memory.followed().is_some();
        let unserved =
            |ahead: &&Ahead| follows && !ahead.fits && late(ahead.since, now, patience.unserved);
        for ahead in seen.ahead.iter().filter(unserved) {
            let parsed = UnverifiedCheckpoint::parse(ahead.note.as_bytes());
            let Ok(TreeHead { size, root }) = parsed.map(|head| head.claimed_head()) else {
                continue;
            };
            let (place, since) = (&ahead.place, ahead.since);
            let name = format!("reports/unserved-{size}-{root}.checkpoint");
            let file = self.memory.publish(name, &ahead.note)?;
            let detail = format!(
                "a head of {size} entries, seen at {place} since {since} (POSIX seconds); kept as \
                 {file}"
            );
            complaints.push(Finding::of_log(Rule::Withheld, detail));
        }
        for finding in complaints {
            if !self.complaints.contains(&finding) {
                self.note(finding.clone(), watch)?;
                self.complaints.push(finding);
            }
        }
        Ok(())
    }
}

fn two_roots(a: &Checkpoint, b: &Checkpoint) -> (Evidence, String) {
    (Evidence::two_roots(a, b), format!("two-roots-{}", a.head().size))
}

/// Whether the log serves the last entries under a head.
fn serves_last_of(asked: &mut Asked<'_>, head: TreeHead) -> bool {
    asked.answers() && source::bundle(&asked.log, bundle_of(head.size - 1, head.size)).is_ok()
}

/// Whether so much time has passed.
fn late(since: u64, now: u64, time: Duration) -> bool {
    now.saturating_sub(since) >= time.as_secs()
}

/// The head that a place shows. Whatever the log did not sign says nothing about it.
fn look(place: &Place<'_>, policy: &Policy, origin: &str) -> Result<Checkpoint, String> {
    match place.source.get(&place.path, NOTE_LEN_MAX as u64) {
        Ok(Some(bytes)) => std::str::from_utf8(&bytes)
            .ok()
            .and_then(|note| verified(note, policy, origin))
            .ok_or_else(|| "shows what the log did not sign".to_owned()),
        Ok(None) => Err("has no checkpoint of the log".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn verified(note: &str, policy: &Policy, origin: &str) -> Option<Checkpoint> {
    let head = UnverifiedCheckpoint::parse(note.as_bytes()).ok()?;
    policy.verify_log(head).ok().filter(|head| head.origin() == origin)
}
