//! The mirror: keeps a verified copy of logs on disk and serves it, also when a log is gone (C2SP
//! tlog-mirror).
//!
//! It trusts the policies and nothing else: what a source says is pulled by [`audit::Pull`], which
//! names nothing that the log's signed head does not cover. A head that contradicts the copy
//! changes nothing; it is kept as evidence. What is served is read from disk and compared with the
//! signed head each time, and what is damaged is pulled again.
//!
//! A mirror may cosign: then its line says that it holds and serves everything under the head.
//!
//! [`audit::Pull`]: crate::audit::Pull

mod follow;
pub mod http;
mod kept;
mod metrics;
mod status;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    thread::{self, JoinHandle},
    time::Duration,
};

use jejak_proofs::{
    merkle::{Hash, sha256},
    note::{CosigningKey, Policy},
};

pub use self::{follow::RoundError, status::Standing};
use self::{
    follow::{Followed, Place},
    metrics::Metrics,
};
use crate::{
    client::{Fetch, FetchError, FetchLimits},
    store::{DirLock, StoreError},
};

/// Why a mirror cannot begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The directory cannot be used, or another process uses it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A log that several policies name.
    #[error("{origin} is named by two policies")]
    Twice {
        /// The log.
        origin: String,
    },
    /// A log without a place.
    #[error("{origin}: the policy names no URL")]
    NoUrl {
        /// The log.
        origin: String,
    },
    /// The URL of a log.
    #[error("{origin}: {error}")]
    Url {
        /// The log.
        origin: String,
        /// What is wrong with it.
        error: Box<FetchError>,
    },
    /// The checkpoint of a copy is not one that its policy accepts: what was seen is not known.
    #[error("{}: {reason}", file.display())]
    Checkpoint {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The copy lost its checkpoint: what was seen is only in the record of it.
    #[error("{} is gone, and {} says that there was one", file.display(), record.display())]
    Lost {
        /// The checkpoint.
        file: PathBuf,
        /// What it was.
        record: PathBuf,
    },
    /// The system gives no thread.
    #[error("no thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// What a mirror follows, and how.
#[derive(Debug)]
pub struct Options {
    /// The keys, URL and genesis of each log.
    pub policies: Vec<Policy>,
    /// Where to pull from instead of the policy's URL; for one log only.
    pub from: Option<String>,
    /// Keys that cosign what is stored; none for a mirror that only serves.
    pub keys: Vec<CosigningKey>,
}

/// A mirror of some logs in one directory.
///
/// The directory has a directory `<id>` for each log, the SHA-256 of its origin, which is a static
/// copy that any web server serves; `evidence/<id>` and `reports/<id>`; `heads/<id>`, the head of
/// the copy a second time; and a lock.
#[derive(Debug)]
pub struct Mirror {
    logs: BTreeMap<Hash, Arc<Followed>>,
    metrics: Metrics,
    _lock: DirLock,
}

/// The name of a log at a mirror: the SHA-256 of its origin.
pub fn id_of(origin: &str) -> Hash {
    sha256(origin.as_bytes())
}

impl Mirror {
    /// Opens the copies in `dir`, and makes it if there is none. Asks no log yet.
    ///
    /// # Errors
    /// As [`StartError`] says.
    pub fn open(dir: &Path, options: Options) -> Result<Self, StartError> {
        let lock = DirLock::acquire_in_new(dir)?;
        let keys: Arc<[CosigningKey]> = options.keys.into();
        let mut logs = BTreeMap::new();
        for policy in options.policies {
            let policy = Arc::new(policy);
            let origins: BTreeSet<String> =
                policy.logs().map(|log| log.key.name().to_owned()).collect();
            for origin in origins {
                let source = source_of(&policy, &origin, options.from.as_deref())?;
                let followed =
                    Followed::open(dir, &origin, source, Arc::clone(&policy), Arc::clone(&keys))?;
                if logs.insert(id_of(&origin), Arc::new(followed)).is_some() {
                    return Err(StartError::Twice { origin });
                }
            }
        }
        let metrics = Metrics::new(&logs);
        Ok(Self { logs, metrics, _lock: lock })
    }

    /// The logs: each origin, and its name in paths.
    pub fn logs(&self) -> impl Iterator<Item = (&str, Hash)> {
        self.logs.iter().map(|(id, log)| (log.origin(), *id))
    }

    fn log(&self, id: Hash) -> Option<&Arc<Followed>> {
        self.logs.get(&id)
    }

    /// Looks at each log once, and at every file of its copy.
    pub fn pull_once(&self) -> Vec<(&str, Result<Standing, RoundError>)> {
        let each = |log: &'_ Arc<Followed>| log.round().map(|()| log.standing());
        self.logs.values().map(|log| (log.origin(), each(log))).collect()
    }

    /// Follows each log on a thread of its own, looking at it every so often, until this is dropped
    /// or stopped.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn follow(&self, every: Duration) -> Result<Following, StartError> {
        let mut following = Following { logs: Vec::new(), threads: Vec::new() };
        for log in self.logs.values() {
            let run = Arc::clone(log);
            let thread = thread::Builder::new().name("mirror".to_owned());
            following.threads.push(thread.spawn(move || run.follow(every))?);
            following.logs.push(Arc::clone(log));
        }
        Ok(following)
    }

    /// Ends what [`Mirror::pull_once`] is doing, from another thread.
    pub fn stop(&self) {
        self.logs.values().for_each(|log| log.stop.store(true, Ordering::Relaxed));
    }
}

/// The threads of a mirror.
#[derive(Debug)]
pub struct Following {
    logs: Vec<Arc<Followed>>,
    threads: Vec<JoinHandle<()>>,
}

impl Following {
    /// Whether one of them has ended because nobody knows any more what is durable.
    pub fn is_stuck(&self) -> bool {
        self.logs.iter().any(|log| log.status().stuck)
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.logs.iter().for_each(|log| log.end());
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn source_of(policy: &Policy, origin: &str, from: Option<&str>) -> Result<Place, StartError> {
    let own = policy.url(origin);
    let url = from.or(own);
    let url = url.ok_or_else(|| StartError::NoUrl { origin: origin.to_owned() })?;
    let is_copy = own.map(|own| own.trim_end_matches('/')) != Some(url.trim_end_matches('/'));
    Fetch::new(url, &FetchLimits::default())
        .map(|source| Place { source, is_copy })
        .map_err(|error| StartError::Url { origin: origin.to_owned(), error: Box::new(error) })
}
