//! Which log a command speaks to: pinned by the policy, confirmed by entry 0.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use jejak_proofs::{
    merkle::{ENTRY_LEN_MAX, Hash, leaf_hash},
    note::Policy,
    tally::{Body, Entry, Id, Manifest},
};

use super::{
    exit::{Exit, Failure},
    files::{self, PolicyArg},
    monitor::parse_time,
};
use crate::client::{Fetch, FetchError, FetchLimits, PATIENCE_MAX};

/// The policy, and where the log is if the policy does not say or somebody else serves it.
#[derive(Clone, Debug, Args)]
pub struct LogArgs {
    #[command(flatten)]
    policy: PolicyArg,
    /// Where the log is served, instead of the URL in the policy.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// How long to try again while the log is away: 0s, 30s, 5m.
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = parse_time)]
    patience: Duration,
}

/// A log as the policy pins it.
#[derive(Clone, Debug)]
pub struct Place {
    /// The policy.
    pub policy: Policy,
    /// The one origin of the policy.
    pub origin: String,
    /// Leaf hash of entry 0.
    pub genesis: Hash,
    /// How long to try again while the log is away.
    pub patience: Duration,
    file: PathBuf,
    url: Option<String>,
}

impl LogArgs {
    /// Reads the policy, which must pin one log and its genesis.
    pub fn place(&self) -> Result<Place, Failure> {
        let place = Place::new(&self.policy, self.url.clone())?;
        Ok(Place { patience: self.patience, ..place })
    }
}

impl Place {
    /// The one log of a policy; its genesis must be pinned. `url` goes before the policy's.
    pub fn new(file: &PolicyArg, url: Option<String>) -> Result<Self, Failure> {
        let policy = file.read()?;
        let fail = |error| Failure::config(format!("{}: {error}", file.policy.display()));
        let origin = policy.single_origin().map_err(fail)?.to_owned();
        let genesis = policy.require_genesis(&origin).map_err(fail)?;
        let url = url.or_else(|| policy.url(&origin).map(str::to_owned));
        let (patience, file) = (PATIENCE_MAX, file.policy.clone());
        Ok(Self { policy, origin, genesis, patience, file, url })
    }

    /// A connection to the log. Connects to nothing yet.
    pub fn fetch(&self) -> Result<Fetch, Failure> {
        let url = self.url.as_deref().ok_or_else(|| {
            Failure::config("the policy's `log` line has no URL").next("pass --url URL")
        })?;
        Fetch::new(url, &FetchLimits::default())
            .map_err(|error| Failure::config(format!("{url}: {error}")))
    }

    /// The election id, out of entry 0, which must be the genesis that the policy pins. Whoever
    /// has asked once is not asked again: entry 0 is kept beside the policy.
    pub fn election(&self) -> Result<Id, Failure> {
        if let Some(election) = self.known_election() {
            return Ok(election);
        }
        let entry = self
            .fetch()?
            .get_patiently("entry/0", ENTRY_LEN_MAX as u64, self.patience)
            .map_err(unreachable)?
            .body;
        let election = self.manifest_of(&entry)?.election;
        // A directory that cannot be written to only means that the log is asked again.
        let _ = files::write(&self.kept(), &entry);
        Ok(election)
    }

    /// The election id without a network, out of an entry 0 beside the policy: `manifest.note`, as
    /// `jejak init` writes it, or the one that was fetched before. The pin says whether it is it.
    pub fn known_election(&self) -> Option<Id> {
        self.known_manifest().map(|manifest| manifest.election)
    }

    /// The first manifest, as [`Place::known_election`] finds it.
    pub fn known_manifest(&self) -> Option<Manifest> {
        let of = |file: &Path| self.manifest_of(&files::read(file).ok()?).ok();
        of(&self.file.with_file_name("manifest.note")).or_else(|| of(&self.kept()))
    }

    /// Where entry 0 is kept: the policy's name with `.genesis` after it.
    fn kept(&self) -> PathBuf {
        let mut name = self.file.as_os_str().to_owned();
        name.push(".genesis");
        PathBuf::from(name)
    }

    fn manifest_of(&self, entry: &[u8]) -> Result<Manifest, Failure> {
        if leaf_hash(entry) != self.genesis {
            let message = "entry 0 of this log is not the genesis that the policy pins";
            return Err(Failure::new(Exit::Fork, message));
        }
        match Entry::parse(entry).map(|entry| entry.body().clone()) {
            Ok(Body::Manifest(manifest)) => Ok(*manifest),
            _ => Err(Failure::new(Exit::RulesBroken, "entry 0 of this log is not a manifest")),
        }
    }
}

/// What a request that failed means for the exit code.
pub fn unreachable(error: FetchError) -> Failure {
    let exit = match &error {
        FetchError::Unreachable { .. } => Exit::Unreachable,
        FetchError::BadUrl => Exit::Config,
        passing if passing.is_passing() => Exit::TryAgain,
        FetchError::Refused(refusal) if refusal.status == 404 => Exit::NotInLog,
        _ => Exit::Failure,
    };
    let failure = Failure::new(exit, error);
    match exit {
        Exit::Unreachable => failure
            .next("is the log served there? Pass --url URL for another address, or try later"),
        _ => failure,
    }
}
