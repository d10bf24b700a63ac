//! A log that a test speaks for, and a mirror of it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use jejak::{
    audit::{self, Report, Source},
    mirror::{self, Mirror, Options, RoundError, Standing},
};
use jejak_proofs::{
    merkle::{Hash, leaf_hash, sha256},
    note::{CosigningKey, Policy},
};
use tempfile::TempDir;

use crate::{
    audit_log::{Election, ORIGIN},
    fixture::{Reply, ask, get},
    monitor::fake::Fake,
};

pub type Files = BTreeMap<String, Vec<u8>>;

/// Everything that an honest log serves when it has `size` entries, without the code of the program
/// that makes it.
pub fn files(election: &Election, size: u64) -> Files {
    let mut files: Files = election.tree(size).files(&election.entries).into_iter().collect();
    files.insert("checkpoint".to_owned(), election.checkpoint(size).note().into());
    for register in [&election.units, &election.contests] {
        files.insert(format!("register/{}", sha256(register)), register.clone());
    }
    files
}

/// The name of the log at a mirror, computed here.
pub fn id() -> Hash {
    sha256(ORIGIN.as_bytes())
}

pub struct Place {
    pub election: Election,
    pub log: Fake,
    pub dir: TempDir,
}

impl Place {
    /// A log of `all` entries that shows `size` of them, and an empty place for a mirror.
    pub fn new(all: u64, size: u64) -> Self {
        let mut election = Election::new(all);
        let log = Fake::of(files(&election, size));
        let dir = tempfile::tempdir().unwrap();
        // The policy names the log's own URL.
        let genesis = leaf_hash(&election.entries[0]);
        let vkey = election.key.verifier();
        election.policy_text = Policy::compose(&[vkey], Some(&log.url), &genesis).unwrap();
        election.policy = Policy::parse(&election.policy_text).unwrap();
        fs::write(dir.path().join("policy"), &election.policy_text).unwrap();
        Self { election, log, dir }
    }

    /// The log shows another number of entries.
    pub fn show(&self, size: u64) {
        self.log.answers().files = files(&self.election, size);
    }

    pub fn mirror_dir(&self) -> PathBuf {
        self.dir.path().join("m")
    }

    /// Where the copy is.
    pub fn copy(&self) -> PathBuf {
        self.mirror_dir().join(id().to_string())
    }

    pub fn mirror(&self) -> Arc<Mirror> {
        self.mirror_with(Vec::new())
    }

    pub fn mirror_with(&self, keys: Vec<CosigningKey>) -> Arc<Mirror> {
        let policies = vec![self.election.policy.clone()];
        let options = Options { policies, from: Some(self.log.url.clone()), keys };
        Arc::new(Mirror::open(&self.mirror_dir(), options).unwrap())
    }

    /// A mirror that is started for one look.
    pub fn pull(&self) -> Result<Standing, RoundError> {
        look(&self.mirror())
    }

    /// What the copy holds, by path.
    pub fn copied(&self) -> Files {
        let mut files = Files::new();
        walk(&self.copy(), "", &mut files);
        files
    }

    /// An audit of the copy as of any static copy, without the description that a mirror has not.
    pub fn check(&self) -> Report {
        let source = Source::directory(&self.copy()).unwrap();
        let mut report = audit::check(&source, &self.election.policy, &|_, _| {}).unwrap();
        report.findings.retain(|finding| finding.file != "log.json");
        report
    }
}

pub fn walk(dir: &Path, prefix: &str, files: &mut Files) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        match entry.file_type().unwrap().is_dir() {
            true => walk(&entry.path(), &format!("{name}/"), files),
            false => drop(files.insert(name, fs::read(entry.path()).unwrap())),
        }
    }
}

/// One look at the one log of a mirror.
pub fn look(mirror: &Mirror) -> Result<Standing, RoundError> {
    let mut looked = mirror.pull_once();
    assert_eq!(looked.len(), 1);
    looked.remove(0).1
}

/// Asks the mirror for something of the log.
pub fn served(mirror: &Arc<Mirror>, path: &str) -> Reply {
    asked(mirror, &format!("/{}/{path}", id()))
}

pub fn asked(mirror: &Arc<Mirror>, path: &str) -> Reply {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(ask(&mirror::http::router(mirror), get(path)))
}

/// Demands that the mirror serves exactly what the log serves at this size.
#[track_caller]
pub fn assert_serves(mirror: &Arc<Mirror>, election: &Election, size: u64) {
    for (path, bytes) in files(election, size) {
        let reply = served(mirror, &path);
        assert_eq!(reply.status, 200, "{path} at {size}");
        assert_eq!(reply.body, bytes, "{path} at {size}");
    }
}
