//! One process per directory.

use std::{
    path::{Path, PathBuf},
    process, thread,
    time::{Duration, Instant},
};

use super::{
    disk::{self, DiskFile},
    error::StoreError,
};

/// How long [`DirLock::acquire`] waits for another process to let go: a process that was killed
/// in the middle of a sync holds its lock until the sync returns. A second process is to be gone
/// within 2 s.
pub const LOCK_WAIT_MAX: Duration = Duration::from_millis(1_500);

const RETRY_EVERY: Duration = Duration::from_millis(50);
const FILE_NAME: &str = "lock";
const PID_DIGITS_MAX: usize = 10;

/// The right to write in a directory; let go when dropped, and by the system when the process
/// ends, however it ends.
///
/// The file `lock` in the directory holds the id of the process for people to read, and nothing
/// while nobody holds it. It is never removed: a removed lock file can be locked by two.
#[derive(Debug)]
pub struct DirLock {
    file: DiskFile,
}

impl DirLock {
    /// Takes the lock of `dir`, waiting at most [`LOCK_WAIT_MAX`].
    ///
    /// # Errors
    /// [`StoreError::Locked`] names the process that holds it.
    pub fn acquire(dir: &Path) -> Result<Self, StoreError> {
        Self::acquire_within(dir, LOCK_WAIT_MAX)
    }

    /// Takes the lock of `dir`, which is made if there is none.
    ///
    /// # Errors
    /// As [`DirLock::acquire`].
    pub fn acquire_in_new(dir: &Path) -> Result<Self, StoreError> {
        disk::make_dirs(dir)?;
        Self::acquire(dir)
    }

    /// Takes the lock of `dir`, waiting at most `wait`.
    ///
    /// # Errors
    /// [`StoreError::Locked`] names the process that holds it.
    pub fn acquire_within(dir: &Path, wait: Duration) -> Result<Self, StoreError> {
        let file = DiskFile::open_or_create(&lock_path(dir))?;
        let started = Instant::now();
        let mut told = false;
        while !file.try_lock()? {
            let pid = holder(&file);
            if started.elapsed() >= wait {
                return Err(StoreError::Locked { path: lock_path(dir), pid });
            }
            if !told {
                tracing::warn!(path = %lock_path(dir).display(), pid, "waiting for the lock");
                told = true;
            }
            thread::sleep(RETRY_EVERY.min(wait));
        }
        file.set_len(0)?;
        // For people; a full disk has no room for it, and the lock is held all the same.
        match file.write_at(format!("{}\n", process::id()).as_bytes(), 0) {
            Err(error) if !error.is_out_of_space() => Err(error),
            _ => Ok(Self { file }),
        }
    }
}

impl Drop for DirLock {
    fn drop(&mut self) {
        // Only people read the id, so a failure here changes nothing.
        let _ = self.file.set_len(0);
    }
}

fn lock_path(dir: &Path) -> PathBuf {
    dir.join(FILE_NAME)
}

/// The process id in a lock file, if there is one that can be read.
fn holder(file: &DiskFile) -> Option<u32> {
    let len = usize::try_from(file.len().ok()?).ok()?.min(PID_DIGITS_MAX + 1);
    let mut text = vec![0; len];
    file.read_at(&mut text, 0).ok()?;
    str::from_utf8(&text).ok()?.trim_end().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const SHORT: Duration = Duration::from_millis(120);

    #[test]
    fn second_holder_leaves_in_time_and_names_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let lock = DirLock::acquire(dir.path()).unwrap();
        let started = Instant::now();
        let error = DirLock::acquire_within(dir.path(), SHORT).unwrap_err();
        assert!(started.elapsed() >= SHORT, "it retried");
        assert!(started.elapsed() < 10 * SHORT, "it left");
        let own = process::id();
        assert!(matches!(error, StoreError::Locked { pid: Some(pid), .. } if pid == own));
        assert!(error.to_string().ends_with(&format!("lock is in use by process {own}")));
        drop(lock);
        assert_eq!(fs::read(dir.path().join("lock")).unwrap(), b"");
        DirLock::acquire_within(dir.path(), Duration::ZERO).unwrap();
    }

    #[test]
    fn waits_for_a_holder_that_lets_go() {
        let dir = tempfile::tempdir().unwrap();
        let lock = DirLock::acquire(dir.path()).unwrap();
        let letting_go = thread::spawn(move || {
            thread::sleep(SHORT);
            drop(lock);
        });
        DirLock::acquire(dir.path()).unwrap();
        letting_go.join().unwrap();
    }

    #[test]
    fn a_stale_or_foreign_lock_file_is_no_lock() {
        let dir = tempfile::tempdir().unwrap();
        for content in ["4294967295999 of another kind\n", "17\n", ""] {
            fs::write(dir.path().join("lock"), content).unwrap();
            let lock = DirLock::acquire_within(dir.path(), Duration::ZERO).unwrap();
            let now = fs::read_to_string(dir.path().join("lock")).unwrap();
            assert_eq!(now, format!("{}\n", process::id()));
            drop(lock);
        }
    }

    #[test]
    fn an_unreadable_holder_is_another_process() {
        let dir = tempfile::tempdir().unwrap();
        let _lock = DirLock::acquire(dir.path()).unwrap();
        fs::write(dir.path().join("lock"), "not a number").unwrap();
        let error = DirLock::acquire_within(dir.path(), Duration::ZERO).unwrap_err();
        assert!(error.to_string().ends_with("in use by another process"), "{error}");
    }
}
