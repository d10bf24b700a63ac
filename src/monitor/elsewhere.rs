//! What others saw: heads of the log at its witnesses, its mirrors and its other routes.
//!
//! A log that shows two histories shows each to somebody. So every head that the log signed,
//! wherever it is found, must fit the one that is followed: be a beginning of it, or go on from it
//! by what the log itself serves. One that does neither is remembered until it does.

use std::{thread, time::Duration};

use jejak_proofs::{
    evidence::Evidence,
    merkle::{Plan, TreeHead, prefix_roots},
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

/// What is remembered from one poll to the next, and over a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    /// Since when the log has given no answer, in POSIX seconds.
    silent_since: Option<u64>,
    /// Heads that the log signed and does not serve.
    ahead: Vec<Ahead>,
}

/// A signed head of which it is not known that the followed one and it are of one history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Ahead {
    note: String,
    /// Where it was seen first.
    place: String,
    /// When, in POSIX seconds.
    since: u64,
}

impl<S: Source> Monitor<'_, S> {
    /// Compares the followed head with what these places show, all asked at once; `answered` says
    /// whether the log itself just answered. `now` is in POSIX seconds.
    ///
    /// # Errors
    /// [`PollError::Found`] if two heads cannot both be true; [`PollError::State`] as the state
    /// says. That a place gives no answer is no error.
    pub fn compare(
        &mut self,
        places: &[Place<'_>],
        answered: bool,
        patience: Patience,
        now: u64,
        watch: &Watch<'_>,
    ) -> Result<Vec<Sight>, PollError> {
        let mut seen = self.memory.seen()?;
        let (policy, origin) = (self.policy, self.origin);
        let shown: Vec<Result<Checkpoint, String>> = thread::scope(|scope| {
            let look = |place| scope.spawn(move || look(place, policy, origin));
            let asked: Vec<_> = places.iter().map(look).collect();
            asked.into_iter().map(|one| one.join().expect("looking does not panic")).collect()
        });
        let heads = places.iter().zip(&shown).filter_map(|(place, shown)| {
            let note = shown.as_ref().ok()?.note().to_owned();
            Some(Ahead { note, place: place.name.clone(), since: now })
        });
        seen.ahead = self.unproven(seen.ahead.iter().cloned().chain(heads), watch)?;
        seen.silent_since = if answered { None } else { seen.silent_since.or(Some(now)) };
        self.memory.see(&seen)?;
        self.complain(&seen, patience, now, watch)?;
        let sights = places.iter().zip(shown).map(|(place, shown)| Sight {
            name: place.name.clone(),
            shown: shown.map(|head| head.head()),
        });
        Ok(sights.collect())
    }

    /// Those that neither fit the followed head nor contradict it or each other.
    fn unproven(
        &mut self,
        heads: impl Iterator<Item = Ahead>,
        watch: &Watch<'_>,
    ) -> Result<Vec<Ahead>, PollError> {
        let mut all: Vec<(Ahead, Checkpoint)> = Vec::new();
        for ahead in heads {
            let Some(head) = verified(&ahead.note, self.policy, self.origin) else { continue };
            if all.iter().any(|(_, known)| known.head() == head.head()) {
                continue;
            }
            let twin = all.iter().find(|(_, known)| known.head().size == head.head().size);
            if let Some((_, twin)) = twin {
                let (evidence, name) = two_roots(twin, &head);
                return Err(self.convict(&evidence, &name, watch)?);
            }
            all.push((ahead, head));
        }
        // The largest head that is known to go on from the followed one, or without one whatever
        // was shown first: it may contradict others where the followed one is too old to do so.
        let mut reach = None;
        if self.memory.followed().is_none() {
            reach = all.first().map(|(_, head)| head.clone());
        }
        let mut unproven = Vec::new();
        for (ahead, head) in all {
            match self.relation_to_followed(&head)? {
                Relation::Fits => reach = larger(reach, head),
                Relation::Contradicts(evidence, name) => {
                    return Err(self.convict(&evidence, &name, watch)?);
                }
                Relation::Unproven => unproven.push((ahead, head)),
            }
        }
        let mut kept = Vec::new();
        for (ahead, head) in unproven {
            let relation = match &reach {
                Some(reach) if reach.head() != head.head() => self.relation_of(reach, &head)?,
                _ => Relation::Unproven,
            };
            match relation {
                Relation::Fits => {}
                Relation::Contradicts(evidence, name) => {
                    return Err(self.convict(&evidence, &name, watch)?);
                }
                Relation::Unproven => kept.push(ahead),
            }
        }
        kept.truncate(AHEAD_MAX);
        Ok(kept)
    }

    /// How two signed heads of different sizes stand to each other, by what the log serves.
    fn relation_of(&self, a: &Checkpoint, b: &Checkpoint) -> Result<Relation, PollError> {
        let (older, newer) = if a.head().size < b.head().size { (a, b) } else { (b, a) };
        if older.head().size == 0 {
            return Ok(Relation::Unproven);
        }
        match self.relation(older, newer) {
            Err(PollError::Unreachable(_)) => Ok(Relation::Unproven),
            // Whether the entries of the newer one are served too is for `relation_to_followed`.
            Ok(Relation::Fits) if newer.head() == b.head() => Ok(Relation::Unproven),
            relation => relation,
        }
    }

    /// How a signed head stands to the followed one.
    fn relation_to_followed(&self, head: &Checkpoint) -> Result<Relation, PollError> {
        let Some(known) = self.memory.followed() else { return Ok(Relation::Unproven) };
        let (new, old) = (head.head(), known.head());
        if new == old || new.size == 0 {
            // The empty tree is the beginning of every other.
            return Ok(Relation::Fits);
        }
        if old.size == 0 {
            return Ok(Relation::Unproven);
        }
        if new.size == old.size {
            let (evidence, name) = two_roots(known, head);
            return Ok(Relation::Contradicts(evidence, name));
        }
        if new.size > old.size {
            let relation = match self.relation(known, head) {
                Err(PollError::Unreachable(_)) => return Ok(Relation::Unproven),
                relation => relation?,
            };
            let served = !matches!(relation, Relation::Fits) || self.serves_last_of(new);
            return Ok(if served { relation } else { Relation::Unproven });
        }
        // The tiles tell it with a few requests; if they do not, our own leaf hashes do.
        let plan = Plan::prefix(new.size, old.size).expect("0 < new < old");
        let roots = source::combine(self.source, &plan, old.size).ok();
        let roots = roots.and_then(|hashes| prefix_roots(new.size, old.size, &hashes).ok());
        if roots == Some((new.root, old.root)) {
            return Ok(Relation::Fits);
        }
        Ok(match self.older_contradiction(head, known)? {
            Some((evidence, name)) => Relation::Contradicts(evidence, name),
            None => Relation::Fits,
        })
    }

    /// Whether the log serves the last entries under a head.
    fn serves_last_of(&self, head: TreeHead) -> bool {
        source::bundle(self.source, bundle_of(head.size - 1, head.size)).is_ok()
    }

    /// Says what has lasted too long, once a run.
    fn complain(
        &mut self,
        seen: &Seen,
        patience: Patience,
        now: u64,
        watch: &Watch<'_>,
    ) -> Result<(), PollError> {
        let late = |since: u64, time: Duration| now.saturating_sub(since) >= time.as_secs();
        let mut complaints = Vec::new();
        if let Some(since) = seen.silent_since.filter(|since| late(*since, patience.silent)) {
            let detail = format!("no answer since {since} (POSIX seconds)");
            complaints.push(Finding::of_log(Rule::Silent, detail));
        }
        for ahead in seen.ahead.iter().filter(|ahead| late(ahead.since, patience.unserved)) {
            let Some(head) = verified(&ahead.note, self.policy, self.origin) else { continue };
            let TreeHead { size, root } = head.head();
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

fn larger(known: Option<Checkpoint>, head: Checkpoint) -> Option<Checkpoint> {
    match known {
        Some(known) if known.head().size >= head.head().size => Some(known),
        _ => Some(head),
    }
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
