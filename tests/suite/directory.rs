//! Directories of logs, and copies of them as a crash would leave them.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use bytes::Bytes;
use jejak::{
    log::{ENDORSE_EVERY, Log, OpenError, Options, create},
    store::{Journal, JournalOptions, Replay},
};
use jejak_proofs::{merkle::Hash, note::SigningKey};
use tempfile::TempDir;

use crate::{
    election::{BASE, Election, election},
    oracle,
};

/// Small segments, so that a test can see them trimmed.
pub const JOURNAL: JournalOptions = JournalOptions { segment_len: 64 << 10, free_min: 0 };
/// States would come by the clock, between entries whose indexes tests count.
pub const OPTIONS: Options = Options {
    journal: JOURNAL,
    read_only: false,
    seal_after: None,
    endorse_every: ENDORSE_EVERY,
    start_unwitnessed: false,
};

type Files = BTreeMap<PathBuf, Vec<u8>>;

static NEW: LazyLock<Files> = LazyLock::new(|| Directory::of(election()).files());

/// The directory of a log, removed with the test.
pub struct Directory {
    dir: TempDir,
    key: SigningKey,
}

impl Directory {
    /// A log of [`election`] with entry 0.
    pub fn new() -> Self {
        Self::with(&NEW)
    }

    /// A log of [`election`] with these files.
    pub fn with(files: &Files) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        Self { dir, key: election().log_key.clone() }
    }

    /// A log of this election with entry 0.
    pub fn of(election: &Election) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let Election { log_key, manifest, units, contests, .. } = election;
        let [manifest, units, contests] = [manifest, units, contests].map(|text| text.as_bytes());
        let genesis = create(dir.path(), log_key, manifest, units, contests).unwrap();
        assert_eq!(genesis, election.genesis);
        fs::write(dir.path().join("policy"), &election.policy).unwrap();
        let directory = Self { dir, key: log_key.clone() };
        directory.shrink_journal();
        directory
    }

    /// A log of entry 0 whose first journal segment is as short as [`JOURNAL`] says.
    fn shrink_journal(&self) {
        let journal = self.log().join("journal");
        let record = Replay::open(&journal).unwrap().next_record().unwrap().unwrap();
        fs::remove_dir_all(&journal).unwrap();
        let mut journal = Journal::create(&journal, JOURNAL).unwrap();
        journal.reserve(record.entries[0].len() as u64 + 2).unwrap();
        journal.append(&record).unwrap();
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// What the process that serves the log writes.
    pub fn log(&self) -> PathBuf {
        self.path().join("log")
    }

    pub fn open(&self) -> Result<Log, OpenError> {
        self.open_with(&OPTIONS)
    }

    pub fn open_with(&self, options: &Options) -> Result<Log, OpenError> {
        Log::open(self.path(), self.key.clone(), options)
    }

    /// The state of the disk if the process ended now.
    pub fn crash(&self) -> Self {
        Self::with(&self.files())
    }

    /// Every file by its path below the directory, but the lock.
    pub fn files(&self) -> Files {
        let mut files = BTreeMap::new();
        let mut dirs = vec![self.path().to_owned()];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(&dir).unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_dir() {
                    dirs.push(entry.path());
                } else if entry.file_name() != "lock" {
                    let name = entry.path().strip_prefix(self.path()).unwrap().to_owned();
                    match fs::read(entry.path()) {
                        Ok(bytes) => drop(files.insert(name, bytes)),
                        // A running log gives files their names, and trims its journal.
                        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                        Err(error) => panic!("{}: {error}", name.display()),
                    }
                }
            }
        }
        files
    }
}

/// Brings the log to `size` entries, of which it has [`BASE`] or fewer.
pub async fn fill(log: &Log, election: &Election, size: u64) {
    let all = |range: std::ops::Range<u64>| {
        range.map(|number| Bytes::from(election.entry(number))).collect::<Vec<_>>()
    };
    let have = log.published().head.size;
    // Keys count once their mandate is published.
    let mut batches = vec![all(have..size.min(BASE))];
    batches.extend((BASE..size).step_by(1000).map(|at| all(at..size.min(at + 1000))));
    for batch in batches.into_iter().filter(|batch| !batch.is_empty()) {
        let logged = log.submit_batch(batch).await.unwrap();
        assert!(logged.results.iter().all(Result::is_ok), "{:?}", logged.results);
    }
    assert_eq!(log.published().head.size, size);
}

/// Checks that the log holds exactly these entries, each with a receipt that verifies under the
/// tree of RFC 6962.
pub fn check(log: &Log, entries: &[Vec<u8>]) {
    check_some(log, entries, 1);
}

/// Like [`check`], but looks at one entry in `step` only, and at the last one.
pub fn check_some(log: &Log, entries: &[Vec<u8>], step: usize) {
    let leaves: Vec<Hash> = entries.iter().map(|entry| oracle::leaf(entry)).collect();
    let head = oracle::head(&leaves);
    assert_eq!(log.published().head, head);
    let last = entries.len() - 1;
    for place in (0..last).step_by(step).chain([last]) {
        let (entry, index) = (&entries[place], place as u64);
        let receipt = log.receipt(index).unwrap().unwrap();
        assert_eq!(oracle::receipt(&receipt, entry, &election().policy), (index, head));
        assert_eq!(log.entry(index).unwrap().unwrap(), entry);
        assert_eq!(log.index_of(&leaves[place]).unwrap(), Some(index));
    }
    assert_eq!(log.entry(entries.len() as u64).unwrap(), None);
}
