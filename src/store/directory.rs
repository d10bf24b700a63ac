//! A directory read and written by path, without knowing what its files mean: for audits, copies
//! and exports. What is read is checked by the caller.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use super::{
    disk::{self, DiskFile},
    error::StoreError,
    record::RECORD_MAGIC,
    replay::Torn,
};

/// Deepest directories that are listed; seven groups of a tile's index lie below `tile/<level>`.
const DEPTH_MAX: usize = 16;

/// What the name of a file ends in until it is whole.
const TEMPORARY: &str = "tmp";

/// A directory whose files are named by paths with slashes, relative to it.
#[derive(Debug)]
pub struct Directory {
    root: PathBuf,
    /// What was written since the last sync.
    written: Mutex<Written>,
}

#[derive(Debug, Default)]
struct Written {
    files: Vec<PathBuf>,
    dirs: BTreeSet<PathBuf>,
}

impl Directory {
    /// The files below `root`. Touches nothing.
    pub fn open(root: &Path) -> Self {
        Self { root: root.to_owned(), written: Mutex::default() }
    }

    /// Where the directory is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The paths of everything that is no directory, ascending. A name that is not UTF-8 is given
    /// with replacement characters: nothing in a log has one. What vanishes meanwhile is left out.
    ///
    /// # Errors
    /// [`StoreError::Io`] if a directory cannot be listed.
    pub fn paths(&self) -> Result<Vec<String>, StoreError> {
        let mut paths = Vec::new();
        list(&self.root, "", DEPTH_MAX, &mut paths)?;
        paths.sort_unstable();
        Ok(paths)
    }

    /// Whether `path` is a directory.
    pub fn has_dir(&self, path: &str) -> bool {
        self.root.join(path).is_dir()
    }

    /// The first `len_max + 1` bytes of a file, so that a longer one is seen to be longer; `None`
    /// if there is no such file.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn read(&self, path: &str, len_max: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(file) = DiskFile::open(&self.root.join(path))? else { return Ok(None) };
        let len = file.len()?.min(len_max.saturating_add(1));
        let mut bytes = vec![0; len as usize];
        file.read_at(&mut bytes, 0)?;
        Ok(Some(bytes))
    }

    /// Writes a file whole: under another name, then renamed. Not synced.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn write(&self, path: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.root.join(path);
        let dir = path.parent().unwrap_or(&self.root);
        disk::make_dirs(dir)?;
        let temporary = temporary_of(&path);
        DiskFile::create(&temporary)?.write_at(bytes, 0)?;
        disk::rename(&temporary, &path)?;
        self.note(path);
        Ok(())
    }

    /// Notes what the next sync has to make durable.
    fn note(&self, path: PathBuf) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let above = path.ancestors().skip(1).take_while(|above| above.starts_with(&self.root));
        written.dirs.extend(above.map(Path::to_owned));
        written.files.push(path);
    }

    /// Replaces a file, and returns when that is durable: written under another name, synced,
    /// renamed, the directory synced. What was written before is not synced by this.
    ///
    /// # Errors
    /// [`StoreError::Io`]; then the file is the old one or the new one, whole.
    pub fn replace(&self, path: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.root.join(path);
        let dir = path.parent().unwrap_or(&self.root);
        disk::make_dirs(dir)?;
        let temporary = temporary_of(&path);
        let file = DiskFile::create(&temporary)?;
        file.write_at(bytes, 0)?;
        file.sync_all()?;
        disk::rename(&temporary, &path)?;
        let mut above = dir.ancestors().take_while(|above| above.starts_with(&self.root));
        above.try_for_each(disk::sync_dir)
    }

    /// Has the next sync make a file durable that was found here: nobody knows whether whoever
    /// wrote it lived to sync it.
    pub fn found(&self, path: &str) {
        self.note(self.root.join(path));
    }

    /// The length of a file; `None` if there is none.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn len(&self, path: &str) -> Result<Option<u64>, StoreError> {
        DiskFile::open(&self.root.join(path))?.map(|file| file.len()).transpose()
    }

    /// How many names there are in a directory; 0 if there is none.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn count(&self, dir: &str) -> Result<usize, StoreError> {
        Ok(disk::names(&self.root.join(dir))?.map_or(0, |names| names.len()))
    }

    /// Removes a partial tile or bundle, and the directory of its widths when that is empty.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn remove_partial(&self, path: &str) -> Result<(), StoreError> {
        self.remove(path)?;
        match path.rsplit_once('/') {
            Some((dir, _)) if dir.ends_with(".p") => disk::remove_empty_dir(&self.root.join(dir)),
            _ => Ok(()),
        }
    }

    /// Removes a file; one that is gone already is fine.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn remove(&self, path: &str) -> Result<(), StoreError> {
        disk::remove(&self.root.join(path))
    }

    /// Makes everything written so far durable, names included.
    ///
    /// # Errors
    /// [`StoreError::Io`]; nobody knows then what is durable.
    pub fn sync(&self) -> Result<(), StoreError> {
        let written = {
            let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *written)
        };
        for path in &written.files {
            DiskFile::open_for_writing(path)?.sync_all()?;
        }
        written.dirs.iter().try_for_each(|dir| disk::sync_dir(dir))
    }
}

impl Torn {
    /// Whether it begins as a record does: the trace that a killed process leaves. Without it
    /// only a power cut that lost the first block is an innocent explanation.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn begins_a_record(&self) -> Result<bool, StoreError> {
        let Some(file) = DiskFile::open(&self.path)? else { return Ok(false) };
        let mut magic = RECORD_MAGIC.map(|_| 0);
        file.read_at(&mut magic, self.offset)?;
        Ok(magic == RECORD_MAGIC)
    }
}

/// What a file is called until it is whole.
fn temporary_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(TEMPORARY);
    PathBuf::from(name)
}

fn list(dir: &Path, prefix: &str, depth: usize, paths: &mut Vec<String>) -> Result<(), StoreError> {
    for name in disk::names(dir)?.unwrap_or_default() {
        let path = dir.join(&name);
        let relative = format!("{prefix}{}", name.to_string_lossy());
        match disk::is_dir(&path)? {
            Some(true) if depth > 0 => list(&path, &format!("{relative}/"), depth - 1, paths)?,
            Some(_) => paths.push(relative),
            None => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_listed_read_and_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let directory = Directory::open(dir.path());
        directory.write("a/x001/b", b"12345").unwrap();
        directory.write("checkpoint", b"").unwrap();
        directory.write("a/x001/b", b"123456").unwrap();
        directory.sync().unwrap();
        assert_eq!(directory.paths().unwrap(), ["a/x001/b", "checkpoint"]);
        assert_eq!(directory.read("a/x001/b", 6).unwrap().unwrap(), b"123456");
        assert_eq!(directory.read("a/x001/b", 3).unwrap().unwrap(), b"1234", "one over the bound");
        assert_eq!(directory.read("a/none", 3).unwrap(), None);
        assert!(directory.read("a", 3).is_err(), "a directory is no file");
        assert!(directory.has_dir("a/x001") && !directory.has_dir("checkpoint"));
        directory.remove("checkpoint").unwrap();
        directory.remove("checkpoint").unwrap();
        assert_eq!(directory.paths().unwrap(), ["a/x001/b"]);
    }

    #[test]
    fn links_are_listed_and_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(dir.path(), dir.path().join("loop")).unwrap();
        assert_eq!(Directory::open(dir.path()).paths().unwrap(), ["loop"]);
    }
}
