//! A log, and mirrors that serve it again. Whoever reads believes none of them.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use jejak_proofs::merkle::sha256;

use super::{
    fetch::{Fetch, FetchError, FetchLimits},
    source::{ServeError, Source, SourceError},
};

/// How long a log that did not answer is not asked again: each file would wait for it.
const AWAY: Duration = Duration::from_secs(20);

/// A log, and the mirrors that are asked where it does not give what is wanted.
#[derive(Debug)]
pub struct Copies {
    log: Fetch,
    mirrors: Vec<Fetch>,
    known: Mutex<Known>,
}

/// What is known of the log.
#[derive(Debug, Default)]
struct Known {
    /// When it did not answer.
    away: Option<Instant>,
    /// What a mirror gave because the log did not, though it answered.
    withheld: Option<String>,
}

/// The log did not answer a moment ago.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the log did not answer a moment ago")]
struct Away;

impl Copies {
    /// The log at `log`, and the mirrors at these URLs, below each of which the log is found by the
    /// hash of its origin. Connects to nothing yet.
    ///
    /// # Errors
    /// [`FetchError::BadUrl`] if one of them is none.
    pub fn new(log: Fetch, origin: &str, mirrors: &[String]) -> Result<Self, FetchError> {
        let id = sha256(origin.as_bytes());
        let mirror = |url: &String| {
            let base = format!("{}/{id}", url.trim_end_matches('/'));
            Fetch::new(&base, &FetchLimits::default())
        };
        let mirrors = mirrors.iter().map(mirror).collect::<Result<_, _>>()?;
        Ok(Self { log, mirrors, known: Mutex::default() })
    }

    /// A log without mirrors.
    pub fn of(log: Fetch) -> Self {
        Self { log, mirrors: Vec::new(), known: Mutex::default() }
    }

    /// The log itself.
    pub fn log(&self) -> &Fetch {
        &self.log
    }

    /// Its mirrors, each with the base of the log there.
    pub fn mirrors(&self) -> &[Fetch] {
        &self.mirrors
    }

    /// Whether the log did not answer a moment ago, so that only mirrors are asked.
    pub fn is_away(&self) -> bool {
        !self.mirrors.is_empty() && self.known().away.is_some_and(|away| away.elapsed() < AWAY)
    }

    /// Remembers that the log did not answer.
    pub fn set_away(&self) {
        self.known().away = Some(Instant::now());
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Each change leaves it whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for Copies {
    fn get(&self, path: &str, len_max: u64) -> Result<Option<Vec<u8>>, SourceError> {
        if self.is_away() {
            return Err(SourceError::Unreachable(Box::new(Away)));
        }
        let got = Source::get(&self.log, path, len_max);
        if matches!(got, Err(SourceError::Unreachable(_))) {
            self.set_away();
        }
        got
    }

    fn mirrors(&self) -> &[Fetch] {
        &self.mirrors
    }

    fn helped(&self, failure: &ServeError) {
        if !matches!(failure, ServeError::Unreachable(_)) {
            self.known().withheld.get_or_insert_with(|| failure.to_string());
        }
    }

    fn withheld(&self) -> Option<String> {
        self.known().withheld.take()
    }
}
