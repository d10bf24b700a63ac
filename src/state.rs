//! Small durable states of a monitor or a witness: one directory, one process.
//!
//! What a log is judged by must survive a power cut whole, or be known to be lost: a state that
//! cannot be read is an error here and never an empty one, since whoever forgets what a log showed
//! can be shown another history. So every value carries its SHA-256, and a directory that has lost
//! a part is refused.
//!
//! In a directory: `lock`, `db/` (small values, changed together), whole files that are replaced
//! by rename, files of hashes that only grow, and marks that tell whether the database forgot. This
//! is the one module that names sled.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, BufWriter},
    os::unix::fs::FileExt as _,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use jejak_proofs::merkle::{HASH_LEN, Hash, sha256};

/// Memory for sled's pages; the states are small.
const CACHE_BYTES_MAX: u64 = 16 << 20;

/// How long the lock of a directory is waited for: a process killed while it syncs holds it for a
/// moment longer.
const LOCK_TIME_MAX: Duration = Duration::from_millis(1_500);

/// Why a state cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// Another process uses the directory.
    #[error("another process uses this directory")]
    Busy,
    /// The file system refused.
    #[error("{file}: {error}")]
    Io {
        /// The file, relative to the directory.
        file: Box<str>,
        /// What it said.
        error: io::Error,
    },
    /// sled refused.
    #[error("db: {0}")]
    Database(Box<sled::Error>),
    /// sled panicked, which it does on some damage.
    #[error("db: sled panicked")]
    Panicked,
    /// A part is missing or not as it was written.
    #[error("{0} is missing or not as it was written")]
    Damaged(Box<str>),
}

impl StateError {
    /// The error that `part` is missing or not as it was written.
    pub fn damaged(part: &str) -> Self {
        Self::Damaged(part.into())
    }

    fn io(file: &str, error: io::Error) -> Self {
        Self::Io { file: file.into(), error }
    }
}

/// An open state directory.
#[derive(Debug)]
pub struct State {
    dir: PathBuf,
    db: sled::Db,
    /// Whether there was nothing in the directory.
    fresh: bool,
    /// Held until the state is dropped.
    _lock: File,
}

impl State {
    /// Opens the directory, and makes it if there is none.
    ///
    /// # Errors
    /// [`StateError::Busy`] if another process uses it, [`StateError::Damaged`] if files are there
    /// but the database is not, or as sled and the file system say.
    pub fn open(dir: &Path) -> Result<Self, StateError> {
        let io = |error| StateError::io(".", error);
        fs::create_dir_all(dir).map_err(io)?;
        let lock = lock(dir)?;
        let mut fresh = true;
        for entry in fs::read_dir(dir).map_err(io)? {
            fresh &= entry.map_err(io)?.file_name() == "lock";
        }
        let path = dir.join("db");
        // Missing, emptied, or made anew by sled over what it could not read: all the same loss.
        if !fresh && !path.join("db").is_file() {
            return Err(StateError::damaged("db"));
        }
        let config = sled::Config::new()
            .path(path)
            .cache_capacity(CACHE_BYTES_MAX)
            // Only commits are durable, and they say so themselves.
            .flush_every_ms(None);
        let db = guarded(|| config.open())?;
        if db.was_recovered() == fresh {
            return Err(StateError::damaged("db"));
        }
        sync_dir(dir).map_err(io)?;
        Ok(Self { dir: dir.to_owned(), db, fresh, _lock: lock })
    }

    /// Whether the directory was empty when it was opened.
    pub fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// [`StateError::Damaged`] if it is not what was written.
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StateError> {
        let value = guarded(|| self.db.get(key))?;
        value.map(|value| open_value(key, &value)).transpose()
    }

    /// Every value whose key begins with `prefix`, in order of the keys.
    ///
    /// # Errors
    /// As [`State::get`]; the iterator ends with the first error.
    pub fn scan(&self, prefix: &str) -> impl Iterator<Item = Result<Vec<u8>, StateError>> {
        let mut pairs = self.db.scan_prefix(prefix);
        let prefix: Box<str> = prefix.into();
        std::iter::from_fn(move || {
            let pair = guarded(|| pairs.next().transpose()).transpose()?;
            Some(pair.and_then(|(_, value)| open_value(&prefix, &value)))
        })
    }

    /// Sets all of these values or none, and returns when that is durable.
    ///
    /// # Errors
    /// After an error it is not known which of the two happened: end the process.
    pub fn commit(&self, values: &[(String, Vec<u8>)]) -> Result<(), StateError> {
        let mut batch = sled::Batch::default();
        for (key, value) in values {
            batch.insert(key.as_bytes(), [&sha256(value).as_bytes()[..], value].concat());
        }
        guarded(|| self.db.apply_batch(batch))?;
        guarded(|| self.db.flush())?;
        // sled 0.34.7 flushes with sync_file_range, which survives no power cut.
        let synced = File::open(self.dir.join("db/db")).and_then(|file| file.sync_all());
        synced.map_err(|error| StateError::io("db/db", error))
    }

    /// Reads a whole file, `None` if there is none.
    ///
    /// # Errors
    /// As the file system says.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StateError> {
        match fs::read(self.dir.join(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StateError::io(name, error)),
        }
    }

    /// Replaces a whole file, and makes the directory that it is in.
    ///
    /// # Errors
    /// As the file system says; then the file is the old one or the new one, never a mixture.
    pub fn write(&self, name: &str, parts: &[&[u8]]) -> Result<(), StateError> {
        self.write_with(name, |file| parts.iter().try_for_each(|part| file.write_all(part)))
    }

    /// The same with a file that is written bit by bit.
    ///
    /// # Errors
    /// As [`State::write`], and as `fill` says.
    pub fn write_with(
        &self,
        name: &str,
        fill: impl FnOnce(&mut dyn io::Write) -> io::Result<()>,
    ) -> Result<(), StateError> {
        let path = self.dir.join(name);
        let parent = path.parent().unwrap_or(&self.dir);
        let replace = || {
            if !parent.is_dir() {
                fs::create_dir_all(parent)?;
                sync_dir(&self.dir)?;
            }
            let temporary = path.with_extension("tmp");
            let mut file = BufWriter::new(File::create(&temporary)?);
            fill(&mut file)?;
            file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
            fs::rename(&temporary, &path)?;
            sync_dir(parent)
        };
        replace().map_err(|error| StateError::io(name, error))
    }

    /// Opens a mark file, which `make` makes first.
    ///
    /// # Errors
    /// [`StateError::Damaged`] if there is none and none is to be made.
    pub fn marks(&self, name: &str, make: bool) -> Result<MarkFile, StateError> {
        let io = |error| StateError::io(name, error);
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(make).open(self.dir.join(name));
        let file = file.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StateError::damaged(name),
            _ => io(error),
        })?;
        if make {
            sync_dir(&self.dir).map_err(io)?;
        }
        Ok(MarkFile { file, name: name.into() })
    }

    /// Opens a file of hashes, and makes it if there is none.
    ///
    /// # Errors
    /// As the file system says.
    pub fn hashes(&self, name: &str) -> Result<HashFile, StateError> {
        let open = || {
            let mut options = OpenOptions::new();
            let file = options.read(true).write(true).create(true).open(self.dir.join(name))?;
            sync_dir(&self.dir)?;
            let len = file.metadata()?.len() / HASH_LEN as u64;
            Ok(HashFile { file, name: name.into(), len })
        };
        open().map_err(|error| StateError::io(name, error))
    }
}

/// A file of 32-byte hashes that grows at its end. What was not synced may be missing or wrong
/// after a crash, so whoever opens it knows from elsewhere how much of it counts.
#[derive(Debug)]
pub struct HashFile {
    file: File,
    name: Box<str>,
    len: u64,
}

impl HashFile {
    /// Number of hashes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends hashes; [`HashFile::sync`] makes them durable.
    ///
    /// # Errors
    /// As the file system says.
    pub fn append(&mut self, hashes: &[Hash]) -> Result<(), StateError> {
        let bytes: Vec<u8> = hashes.iter().flat_map(|hash| *hash.as_bytes()).collect();
        let written = self.file.write_all_at(&bytes, self.len * HASH_LEN as u64);
        self.named(written)?;
        self.len += hashes.len() as u64;
        Ok(())
    }

    /// Makes durable what was appended.
    ///
    /// # Errors
    /// As the file system says; then end the process.
    pub fn sync(&self) -> Result<(), StateError> {
        self.named(self.file.sync_all())
    }

    /// Forgets all but the first `len` hashes.
    ///
    /// # Errors
    /// As the file system says.
    pub fn truncate(&mut self, len: u64) -> Result<(), StateError> {
        self.named(self.file.set_len(len * HASH_LEN as u64))?;
        self.len = len;
        Ok(())
    }

    /// `count` hashes from `start` on, or as many as there are.
    ///
    /// # Errors
    /// As the file system says.
    pub fn read(&self, start: u64, count: usize) -> Result<Vec<Hash>, StateError> {
        let there = usize::try_from(self.len.saturating_sub(start)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; count.min(there) * HASH_LEN];
        self.named(self.file.read_exact_at(&mut bytes, start * HASH_LEN as u64))?;
        let (hashes, _) = bytes.as_chunks();
        Ok(hashes.iter().copied().map(Hash::new).collect())
    }

    fn named<T>(&self, result: io::Result<T>) -> Result<T, StateError> {
        result.map_err(|error| StateError::io(&self.name, error))
    }
}

/// Bytes of a mark: a number, a digest, and the SHA-256 of both.
const MARK_LEN: usize = 8 + 2 * HASH_LEN;

/// Where the two slots of a mark file are: each in a block of its own, so that a torn write of one
/// leaves the other.
const MARK_SLOTS: [u64; 2] = [0, 4_096];

/// A file that says how many commits there were, and what they left, apart from the database.
///
/// sled takes a damaged end of its log for one that was never written, and opens with what stood
/// there before: whoever must not forget compares.
#[derive(Debug)]
pub struct MarkFile {
    file: File,
    name: Box<str>,
}

/// What a [`MarkFile`] holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// How many commits there were.
    pub commits: u64,
    /// What the database holds after them, in the words of its owner.
    pub digest: Hash,
}

impl Mark {
    /// The mark as bytes that say whether they are whole.
    pub fn to_bytes(self) -> Vec<u8> {
        let said = [&self.commits.to_be_bytes()[..], self.digest.as_bytes()].concat();
        [&said[..], sha256(&said).as_bytes()].concat()
    }

    /// Reads what [`Mark::to_bytes`] wrote; `None` if it is anything else.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (commits, rest) = bytes.split_first_chunk()?;
        let (digest, sum) = rest.split_first_chunk()?;
        let mark = Self { commits: u64::from_be_bytes(*commits), digest: Hash::new(*digest) };
        (sum.len() == HASH_LEN && mark.to_bytes() == bytes).then_some(mark)
    }
}

impl MarkFile {
    /// The newest mark that is whole.
    ///
    /// # Errors
    /// [`StateError::Damaged`] if there is none.
    pub fn newest(&self) -> Result<Mark, StateError> {
        let read = |at: &u64| {
            let mut bytes = [0; MARK_LEN];
            self.file.read_exact_at(&mut bytes, *at).ok().and_then(|()| Mark::parse(&bytes))
        };
        let newest = MARK_SLOTS.iter().filter_map(read).max_by_key(|mark| mark.commits);
        newest.ok_or_else(|| StateError::damaged(&self.name))
    }

    /// Writes a mark, over the older of the two that are there, and syncs it.
    ///
    /// # Errors
    /// As the file system says; then end the process.
    pub fn set(&self, mark: Mark) -> Result<(), StateError> {
        let at = MARK_SLOTS[usize::from(mark.commits % 2 == 1)];
        let written = self.file.write_all_at(&mark.to_bytes(), at);
        let synced = written.and_then(|()| self.file.sync_all());
        synced.map_err(|error| StateError::io(&self.name, error))
    }
}

/// Takes the lock that keeps other processes out.
fn lock(dir: &Path) -> Result<File, StateError> {
    let io = |error| StateError::io("lock", error);
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create(true).truncate(false);
    let file = options.open(dir.join("lock")).map_err(io)?;
    let started = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if started.elapsed() > LOCK_TIME_MAX => {
                return Err(StateError::Busy);
            }
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(50)),
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
    }
}

/// Makes names in a directory durable.
fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Runs a call into sled, which panics on some damaged files.
fn guarded<T>(call: impl FnOnce() -> Result<T, sled::Error>) -> Result<T, StateError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(|error| StateError::Database(Box::new(error))),
        Err(_) => Err(StateError::Panicked),
    }
}

/// The value out of what was stored, if its hash is right.
fn open_value(key: &str, stored: &[u8]) -> Result<Vec<u8>, StateError> {
    match stored.split_first_chunk::<HASH_LEN>() {
        Some((hash, value)) if sha256(value).as_bytes() == hash => Ok(value.to_vec()),
        _ => Err(StateError::Damaged(format!("db: {key}").into())),
    }
}

#[cfg(test)]
mod tests {
    use jejak_proofs::merkle::leaf_hash;

    use super::*;

    #[test]
    fn values_come_back_after_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let values = [("a".to_owned(), b"one".to_vec()), ("b/1".to_owned(), Vec::new())];
        {
            let state = State::open(dir.path()).unwrap();
            assert!(state.is_fresh());
            assert_eq!(state.get("a").unwrap(), None);
            state.commit(&values).unwrap();
            state.commit(&[("b/2".to_owned(), b"two".to_vec())]).unwrap();
        }
        let state = State::open(dir.path()).unwrap();
        assert!(!state.is_fresh());
        assert_eq!(state.get("a").unwrap(), Some(b"one".to_vec()));
        let scanned: Vec<_> = state.scan("b/").map(Result::unwrap).collect();
        assert_eq!(scanned, [b"".to_vec(), b"two".to_vec()]);
    }

    #[test]
    fn one_process_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let _first = State::open(dir.path()).unwrap();
        let started = Instant::now();
        assert!(matches!(State::open(dir.path()), Err(StateError::Busy)));
        assert!(started.elapsed() < Duration::from_secs(2));
    }

    #[test]
    fn a_value_that_changed_is_damage() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        state.commit(&[("head".to_owned(), b"value".to_vec())]).unwrap();
        let mut stored = state.db.get("head").unwrap().unwrap().to_vec();
        for at in 0..stored.len() {
            stored[at] ^= 1;
            state.db.insert("head", stored.clone()).unwrap();
            assert!(matches!(state.get("head"), Err(StateError::Damaged(_))), "byte {at}");
            assert!(state.scan("he").next().unwrap().is_err());
            stored[at] ^= 1;
        }
    }

    #[test]
    fn a_lost_database_is_not_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        state.write("checkpoint", &[b"some", b" head"]).unwrap();
        assert_eq!(state.read("checkpoint").unwrap(), Some(b"some head".to_vec()));
        assert_eq!(state.read("other").unwrap(), None);
        drop(state);
        fs::remove_dir_all(dir.path().join("db")).unwrap();
        for _ in 0..2 {
            assert!(matches!(State::open(dir.path()), Err(StateError::Damaged(_))));
        }
        fs::create_dir(dir.path().join("db")).unwrap();
        assert!(matches!(State::open(dir.path()), Err(StateError::Damaged(_))));
    }

    #[test]
    fn the_newest_whole_mark_counts() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        assert!(matches!(state.marks("commits", false), Err(StateError::Damaged(_))));
        let marks = state.marks("commits", true).unwrap();
        assert!(matches!(marks.newest(), Err(StateError::Damaged(_))));
        let mark = |commits| Mark { commits, digest: leaf_hash(b"some") };
        for commits in 1..5 {
            marks.set(mark(commits)).unwrap();
            assert_eq!(marks.newest().unwrap(), mark(commits));
        }
        assert!(state.marks("commits", true).is_err(), "there is one");
        // Whatever byte of the newest is lost, the one before is there.
        let path = dir.path().join("commits");
        let good = fs::read(&path).unwrap();
        for at in 0..MARK_LEN {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, bad).unwrap();
            assert_eq!(marks.newest().unwrap(), mark(3), "byte {at}");
        }
    }

    #[test]
    fn hashes_are_appended_cut_and_read() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let all: Vec<Hash> = (0..10u8).map(|n| leaf_hash(&[n])).collect();
        let mut file = state.hashes("leaves").unwrap();
        assert!(file.is_empty());
        file.append(&all[..7]).unwrap();
        file.truncate(4).unwrap();
        file.append(&all[4..]).unwrap();
        file.sync().unwrap();
        let file = state.hashes("leaves").unwrap();
        assert_eq!(file.len(), 10);
        assert_eq!(file.read(3, 4).unwrap(), all[3..7]);
        assert_eq!(file.read(8, 100).unwrap(), all[8..]);
        assert_eq!(file.read(11, 1).unwrap(), []);
    }
}
