//! Every file-system call of the store, and no other code.
//!
//! Each error names the call and the path. `EINTR` and short reads and writes are retried by the
//! standard library; nothing else is retried anywhere.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::error::{Action, StoreError};

/// An open file that knows its path.
#[derive(Debug)]
pub(super) struct DiskFile {
    file: File,
    path: PathBuf,
}

fn failed(action: Action, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    move |source| StoreError::Io { action, path: path.to_owned(), source }
}

/// `None` for what does not exist, so that missing and unreadable stay different things.
fn if_exists<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl DiskFile {
    fn with(options: &OpenOptions, action: Action, path: &Path) -> Result<Self, StoreError> {
        let file = options.open(path).map_err(failed(action, path))?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Opens for reading; `None` if there is no such file.
    pub(super) fn open(path: &Path) -> Result<Option<Self>, StoreError> {
        let file = if_exists(File::open(path)).map_err(failed(Action::Open, path))?;
        Ok(file.map(|file| Self { file, path: path.to_owned() }))
    }

    /// Opens an existing file for reading and writing.
    pub(super) fn open_for_writing(path: &Path) -> Result<Self, StoreError> {
        Self::with(OpenOptions::new().read(true).write(true), Action::Open, path)
    }

    /// Creates an empty file, or empties the one that is there.
    pub(super) fn create(path: &Path) -> Result<Self, StoreError> {
        Self::with(
            OpenOptions::new().read(true).write(true).create(true).truncate(true),
            Action::Create,
            path,
        )
    }

    /// Opens a file as it is, or creates an empty one.
    pub(super) fn open_or_create(path: &Path) -> Result<Self, StoreError> {
        Self::with(
            OpenOptions::new().read(true).write(true).create(true).truncate(false),
            Action::Create,
            path,
        )
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn len(&self) -> Result<u64, StoreError> {
        Ok(self.file.metadata().map_err(failed(Action::Open, &self.path))?.len())
    }

    /// Fills `buffer` from `offset` on; a file that ends before is an error.
    pub(super) fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), StoreError> {
        self.file.read_exact_at(buffer, offset).map_err(failed(Action::Read, &self.path))
    }

    pub(super) fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), StoreError> {
        self.file.write_all_at(bytes, offset).map_err(failed(Action::Write, &self.path))
    }

    pub(super) fn set_len(&self, len: u64) -> Result<(), StoreError> {
        self.file.set_len(len).map_err(failed(Action::Write, &self.path))
    }

    /// `fdatasync`: content and length.
    pub(super) fn sync_data(&self) -> Result<(), StoreError> {
        self.file.sync_data().map_err(failed(Action::Sync, &self.path))
    }

    /// `fsync`: content and everything about the file but its name.
    pub(super) fn sync_all(&self) -> Result<(), StoreError> {
        self.file.sync_all().map_err(failed(Action::Sync, &self.path))
    }

    /// Takes the exclusive `flock`; false if another open file holds it.
    pub(super) fn try_lock(&self) -> Result<bool, StoreError> {
        match self.file.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(failed(Action::Lock, &self.path)(error)),
        }
    }
}

/// A whole file; `None` if there is no such file.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    if_exists(fs::read(path)).map_err(failed(Action::Read, path))
}

/// The names in a directory, in no order; `None` if there is no such directory.
pub(super) fn names(path: &Path) -> Result<Option<Vec<OsString>>, StoreError> {
    let list = |entries: fs::ReadDir| entries.map(|entry| Ok(entry?.file_name())).collect();
    if_exists(fs::read_dir(path))
        .and_then(|entries| entries.map(list).transpose())
        .map_err(failed(Action::List, path))
}

/// Whether this is a directory, and no link to one; `None` if there is nothing.
pub(super) fn is_dir(path: &Path) -> Result<Option<bool>, StoreError> {
    let metadata = if_exists(fs::symlink_metadata(path)).map_err(failed(Action::Open, path))?;
    Ok(metadata.map(|metadata| metadata.is_dir()))
}

/// Makes a directory and those above it; what exists already is fine.
pub(super) fn make_dirs(path: &Path) -> Result<(), StoreError> {
    fs::create_dir_all(path).map_err(failed(Action::Create, path))
}

/// `fsync` of a directory: the names in it.
pub(super) fn sync_dir(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(failed(Action::Sync, path))
}

pub(super) fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
    fs::rename(from, to).map_err(failed(Action::Rename, to))
}

/// Removes a file; one that is gone already is fine.
pub(super) fn remove(path: &Path) -> Result<(), StoreError> {
    if_exists(fs::remove_file(path)).map(drop).map_err(failed(Action::Remove, path))
}

/// Removes a directory if it is there and nothing is in it.
pub(super) fn remove_empty_dir(path: &Path) -> Result<(), StoreError> {
    match if_exists(fs::remove_dir(path)) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        done => done.map(drop).map_err(failed(Action::Remove, path)),
    }
}

/// Bytes that this user may still write on the file system of `path`.
pub(super) fn free_bytes(path: &Path) -> Result<u64, StoreError> {
    let stat =
        rustix::fs::statvfs(path).map_err(|e| failed(Action::Measure, path)(io::Error::from(e)))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
