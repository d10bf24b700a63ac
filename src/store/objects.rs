//! Full tiles and bundles, registers and the checkpoint, as files.
//!
//! ```text
//! tile/<level>/<index>      full tile: 256 hashes, 8,192 bytes
//! tile/entries/<index>      full entry bundle: 256 framed entries
//! register/<SHA-256>        a unit or contest register
//! checkpoint                the newest checkpoint that was made public, a signed note
//! tmp/<process>.<number>    files that have no name yet
//! ```
//!
//! A file gets its name by a rename, when it is complete, and never changes after; only
//! `checkpoint` is replaced. Nothing here is synced on the way to an answer: until
//! [`Objects::sync`] has returned, a power cut may leave a named file empty or of zeros, or no
//! file. That harms nothing, because the journal still holds what such a file is made of, and
//! start-up writes it again.

use std::{
    collections::{BTreeSet, HashSet},
    path::{Path, PathBuf},
    process,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use jejak_proofs::merkle::{BundleId, HASH_LEN, Hash, TILE_WIDTH, TileId, sha256};

use super::{
    disk::{self, DiskFile},
    error::{Damage, StoreError},
};

/// Bytes of a full tile.
pub const TILE_LEN: u64 = TILE_WIDTH as u64 * HASH_LEN as u64;

const TEMPORARY_DIR: &str = "tmp";
const REGISTER_DIR: &str = "register";
const CHECKPOINT: &str = "checkpoint";
const WITNESSED: &str = "witnessed";

/// The name of an immutable file of the tree. Only full ones exist: a partial tile or bundle
/// is a prefix of the full one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ObjectId {
    /// A full tile.
    Tile {
        /// Its level; 0 holds leaf hashes.
        level: u8,
        /// Its place in the level.
        index: u64,
    },
    /// A full entry bundle.
    Bundle {
        /// Its place: the index of its first entry divided by 256.
        index: u64,
    },
}

impl ObjectId {
    /// The path below the log's directory, as in C2SP tlog-tiles.
    pub fn path(&self) -> String {
        match *self {
            Self::Tile { level, index } => TileId::full(level, index).path(),
            Self::Bundle { index } => BundleId { index, width: TILE_WIDTH }.path(),
        }
    }
}

/// The immutable files of one log, and its checkpoint file. One thread publishes, one syncs, any
/// number read; none waits for another's disk.
#[derive(Debug)]
pub struct Objects {
    root: PathBuf,
    next_temporary: AtomicU64,
    pending: Mutex<Pending>,
    /// Locked for the whole of a sync: two at once could not tell what is durable.
    synced: Mutex<Synced>,
}

/// What was written since the last sync.
#[derive(Debug, Default)]
struct Pending {
    /// A set: `checkpoint` is written with every batch.
    files: BTreeSet<PathBuf>,
    dirs: BTreeSet<PathBuf>,
    /// Directories that this process has made or found, whose names are synced or in `dirs`.
    linked: HashSet<PathBuf>,
    size: u64,
    failed: bool,
}

#[derive(Debug, Default)]
struct Synced {
    size: u64,
    failed: bool,
}

impl Objects {
    /// The files below `root`, the directory of a log. Touches nothing: directories are made when
    /// something is written into them.
    pub fn open(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            next_temporary: AtomicU64::new(0),
            pending: Mutex::default(),
            synced: Mutex::default(),
        }
    }

    /// Removes what a crash left without a name, and says how many files that were. Part of
    /// start-up, after the journal was accepted, and by the holder of the lock only.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn remove_leftovers(&self) -> Result<usize, StoreError> {
        let dir = self.root.join(TEMPORARY_DIR);
        let names = disk::names(&dir)?.unwrap_or_default();
        for name in &names {
            disk::remove(&dir.join(name))?;
        }
        Ok(names.len())
    }

    /// Writes the objects that became full when the tree grew to `size`, not synced. With them,
    /// every full tile and bundle of that tree must have been published or be durable already.
    ///
    /// # Errors
    /// [`StoreError::Io`]. After an error [`sync`](Self::sync) refuses, so the journal keeps all.
    pub fn publish<B: AsRef<[u8]>>(
        &self,
        size: u64,
        objects: impl IntoIterator<Item = (ObjectId, B)>,
    ) -> Result<(), StoreError> {
        for (id, bytes) in objects {
            let written = self.write(&self.root.join(id.path()), bytes.as_ref());
            written.inspect_err(|_| self.pending().failed = true)?;
        }
        let mut pending = self.pending();
        pending.size = pending.size.max(size);
        Ok(())
    }

    /// As [`publish`](Self::publish), and writes only what is not there already: a start must not
    /// need room for what it finds. What is there may never have been synced, and will be.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn publish_again<B: AsRef<[u8]>>(
        &self,
        size: u64,
        objects: impl IntoIterator<Item = (ObjectId, B)>,
    ) -> Result<(), StoreError> {
        let mut missing = Vec::new();
        for (id, bytes) in objects {
            if !self.keep(&self.root.join(id.path()), bytes.as_ref())? {
                missing.push((id, bytes));
            }
        }
        self.publish(size, missing)
    }

    /// As [`put_checkpoint`](Self::put_checkpoint), if the file is not these bytes already.
    ///
    /// # Errors
    /// As [`put_checkpoint`](Self::put_checkpoint).
    pub fn put_checkpoint_again(&self, note: &[u8]) -> Result<(), StoreError> {
        match self.keep(&self.root.join(CHECKPOINT), note)? {
            true => Ok(()),
            false => self.put_checkpoint(note),
        }
    }

    /// Whether the file holds these bytes; then it is noted for the next sync. One that cannot be
    /// read is to be written.
    fn keep(&self, path: &Path, bytes: &[u8]) -> Result<bool, StoreError> {
        if !disk::read(path).is_ok_and(|found| found.as_deref() == Some(bytes)) {
            return Ok(false);
        }
        let dir = path.parent().unwrap_or(&self.root);
        self.link_dir(dir)?;
        let mut pending = self.pending();
        pending.files.insert(path.to_owned());
        pending.dirs.insert(dir.to_owned());
        Ok(true)
    }

    /// Replaces the checkpoint file, not synced. The checkpoint must not be newer than the
    /// journal.
    ///
    /// # Errors
    /// [`StoreError::Io`]; a reader then sees the old one.
    pub fn put_checkpoint(&self, note: &[u8]) -> Result<(), StoreError> {
        self.write(&self.root.join(CHECKPOINT), note)
    }

    /// The checkpoint file; `None` if there is none yet. Whoever reads it verifies it.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn checkpoint(&self) -> Result<Option<Vec<u8>>, StoreError> {
        disk::read(&self.root.join(CHECKPOINT))
    }

    /// Keeps a register file, and returns its hash when it is durable.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn put_register(&self, bytes: &[u8]) -> Result<Hash, StoreError> {
        let hash = sha256(bytes);
        let dir = self.root.join(REGISTER_DIR);
        disk::make_dirs(&dir)?;
        self.put_durably(&dir, &hash.to_string(), bytes)?;
        disk::sync_dir(&self.root)?;
        Ok(hash)
    }

    /// Replaces the file `witnessed`, the newest checkpoint that a quorum cosigned, and returns
    /// when it is durable.
    ///
    /// # Errors
    /// [`StoreError::Io`]; a reader then finds the old one or the new one, whole.
    pub fn put_witnessed(&self, note: &[u8]) -> Result<(), StoreError> {
        self.put_durably(&self.root, WITNESSED, note)
    }

    /// The file `witnessed`; `None` if there is none. Whoever reads it verifies it.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn witnessed(&self) -> Result<Option<Vec<u8>>, StoreError> {
        disk::read(&self.root.join(WITNESSED))
    }

    /// Gives bytes that are synced a name that is synced.
    fn put_durably(&self, dir: &Path, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let temporary = self.write_temporary(bytes, true)?;
        disk::rename(&temporary, &dir.join(name))?;
        disk::sync_dir(dir)
    }

    /// A register file by its hash, which is checked.
    ///
    /// # Errors
    /// [`StoreError::Io`]; [`StoreError::Damaged`] if the content has another hash.
    pub fn register(&self, hash: &Hash) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.root.join(REGISTER_DIR).join(hash.to_string());
        match disk::read(&path)? {
            Some(bytes) if sha256(&bytes) != *hash => {
                Err(StoreError::damaged(path, 0, Damage::Hash))
            }
            found => Ok(found),
        }
    }

    /// A whole object; `None` if it is missing. The content is as it is on disk: whoever reads it
    /// checks it against the tree.
    ///
    /// # Errors
    /// [`StoreError::Io`]; [`StoreError::Damaged`] if a tile has not the length of a full one.
    pub fn read(&self, id: ObjectId) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.root.join(id.path());
        let bytes = disk::read(&path)?;
        if let Some(bytes) = &bytes {
            check_len(id, &path, bytes.len() as u64)?;
        }
        Ok(bytes)
    }

    /// The length of an object; `None` if it is missing.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn len(&self, id: ObjectId) -> Result<Option<u64>, StoreError> {
        DiskFile::open(&self.root.join(id.path()))?.map(|file| file.len()).transpose()
    }

    /// `len` bytes of an object from `offset` on; `None` if the object is missing.
    ///
    /// # Errors
    /// [`StoreError::Io`]; [`StoreError::Damaged`] if the object is too short, or a tile has not
    /// the length of a full one.
    pub fn read_range(
        &self,
        id: ObjectId,
        offset: u64,
        len: usize,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.root.join(id.path());
        let Some(file) = DiskFile::open(&path)? else { return Ok(None) };
        let got = file.len()?;
        check_len(id, &path, got)?;
        let want = offset.saturating_add(len as u64);
        if got < want {
            return Err(StoreError::damaged(path, got, Damage::Length { got, want }));
        }
        let mut bytes = vec![0; len];
        file.read_at(&mut bytes, offset)?;
        Ok(Some(bytes))
    }

    /// The size that the files speak for: a log that has full level-0 tile or bundle `n` had at
    /// least 256 (`n` + 1) entries. 0 if there are none. Lists all their directories.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn known_size(&self) -> Result<u64, StoreError> {
        let mut count = 0;
        for dir in ["tile/0", "tile/entries"] {
            count = count.max(objects_below(&self.root.join(dir), 0)?);
        }
        Ok(count.saturating_mul(u64::from(TILE_WIDTH)))
    }

    /// Syncs every file written since the last time, and every directory that got a name, those
    /// above new directories included. Returns the size up to which all full tiles and bundles
    /// are durable: what [`Journal::trim`](super::Journal::trim) may rely on.
    ///
    /// # Errors
    /// [`StoreError::Io`]. What was to be synced is then in an unknown state, and each later
    /// call is [`StoreError::PreviousIo`].
    pub fn sync(&self) -> Result<u64, StoreError> {
        let mut synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        let (files, dirs, size, failed) = {
            let mut pending = self.pending();
            let files = std::mem::take(&mut pending.files);
            (files, std::mem::take(&mut pending.dirs), pending.size, pending.failed)
        };
        if synced.failed || failed {
            return Err(StoreError::PreviousIo);
        }
        // Cleared only at the end: a panic leaves it set, too.
        synced.failed = true;
        for path in &files {
            // `checkpoint` may have been replaced meanwhile; then the new file is synced early.
            DiskFile::open_for_writing(path)?.sync_all()?;
        }
        for dir in &dirs {
            disk::sync_dir(dir)?;
        }
        *synced = Synced { size: synced.size.max(size), failed: false };
        Ok(synced.size)
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        // Each step leaves the lists as they must be, so a panic elsewhere spoils nothing.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a file under its name, and notes what a sync has to make durable.
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        let dir = path.parent().unwrap_or(&self.root);
        self.link_dir(dir)?;
        let temporary = self.write_temporary(bytes, false)?;
        disk::rename(&temporary, path)?;
        let mut pending = self.pending();
        pending.files.insert(path.to_owned());
        pending.dirs.insert(dir.to_owned());
        Ok(())
    }

    fn write_temporary(&self, bytes: &[u8], sync: bool) -> Result<PathBuf, StoreError> {
        let dir = self.root.join(TEMPORARY_DIR);
        let number = self.next_temporary.fetch_add(1, Ordering::Relaxed);
        disk::make_dirs(&dir)?;
        // Another process may bring registers while this one serves.
        let path = dir.join(format!("{}.{number}", process::id()));
        let file = DiskFile::create(&path)?;
        file.write_at(bytes, 0)?;
        if sync {
            file.sync_all()?;
        }
        Ok(path)
    }

    /// Makes a directory when this process first writes into it. Even if it exists, nobody knows
    /// whether the process that made it lived to sync its name: so it counts as new, with all
    /// above it.
    fn link_dir(&self, dir: &Path) -> Result<(), StoreError> {
        if self.pending().linked.contains(dir) {
            return Ok(());
        }
        disk::make_dirs(dir)?;
        let mut pending = self.pending();
        for above in dir.ancestors().take_while(|above| above.starts_with(&self.root)) {
            pending.dirs.insert(above.to_owned());
        }
        pending.linked.insert(dir.to_owned());
        Ok(())
    }
}

fn check_len(id: ObjectId, path: &Path, got: u64) -> Result<(), StoreError> {
    if matches!(id, ObjectId::Tile { .. }) && got != TILE_LEN {
        let damage = Damage::Length { got, want: TILE_LEN };
        return Err(StoreError::damaged(path, got.min(TILE_LEN), damage));
    }
    Ok(())
}

/// One more than the largest index of the object files below `dir`: `x001/x234/067` is 1,234,067.
/// Other names count for nothing.
fn objects_below(dir: &Path, above: u64) -> Result<u64, StoreError> {
    let mut count = 0;
    for name in disk::names(dir)?.unwrap_or_default() {
        let Some(name) = name.to_str() else { continue };
        let digits = name.strip_prefix('x').unwrap_or(name);
        if digits.len() != 3 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            continue;
        }
        let Ok(part) = digits.parse::<u64>() else { continue };
        let Some(index) = above.checked_mul(1000).and_then(|n| n.checked_add(part)) else {
            continue;
        };
        let found = match name.starts_with('x') {
            true => objects_below(&dir.join(name), index)?,
            false => index + 1,
        };
        count = count.max(found);
    }
    Ok(count)
}

#[cfg(test)]
mod tests;
