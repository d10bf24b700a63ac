//! Where the files of a log are: a log's own directory, a static copy, or a URL.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    AuditError,
    finding::{Damage, Finding},
};
use crate::{
    client::{Fetch, FetchError},
    store::{Directory, StoreError},
};

/// How long one file is asked for while its server says that it is busy.
const FILE_PATIENCE: Duration = Duration::from_secs(20);

/// The files of one log.
#[derive(Debug)]
pub struct Source(Kind);

#[derive(Debug)]
enum Kind {
    /// Journal and full tiles: what a server works on. The root is `log/` of its directory.
    Log {
        files: Directory,
        dir: PathBuf,
    },
    /// Everything that a checkpoint's size requires, as files.
    Static(Directory),
    Url(Fetch),
}

/// Why one file is not there to be judged.
pub(super) enum Fault {
    /// Something to report about this file.
    Damage(Damage),
    /// Nothing more can be learned from this source.
    Stop(AuditError),
}

impl Source {
    /// The log in a directory: one that `jejak init` made, or a static copy of a log.
    ///
    /// # Errors
    /// [`AuditError::NotALog`] if it is neither.
    pub fn directory(dir: &Path) -> Result<Self, AuditError> {
        let whole = Directory::open(dir);
        if whole.has_dir("log") {
            let files = Directory::open(&dir.join("log"));
            return Ok(Self(Kind::Log { files, dir: dir.to_owned() }));
        }
        let paths = whole.paths().map_err(AuditError::Store)?;
        let is_log = |path: &String| path == "checkpoint" || path.starts_with("tile/");
        match paths.iter().any(is_log) {
            true => Ok(Self(Kind::Static(whole))),
            false => Err(AuditError::NotALog(dir.to_owned())),
        }
    }

    /// The log that is served under a URL.
    pub fn url(fetch: Fetch) -> Self {
        Self(Kind::Url(fetch))
    }

    /// The log directory, if this is one: it has a journal, and no partial tiles.
    pub(super) fn log(&self) -> Option<&Directory> {
        match &self.0 {
            Kind::Log { files, .. } => Some(files),
            Kind::Static(_) | Kind::Url(_) => None,
        }
    }

    /// The directory whose files these are; `None` for a URL.
    pub(super) fn files(&self) -> Option<&Directory> {
        match &self.0 {
            Kind::Log { files, .. } | Kind::Static(files) => Some(files),
            Kind::Url(_) => None,
        }
    }

    /// What stands before the paths of files for whoever gave the source.
    pub(super) fn prefix(&self) -> &'static str {
        if self.log().is_some() { "log/" } else { "" }
    }

    pub(super) fn is_url(&self) -> bool {
        matches!(self.0, Kind::Url(_))
    }

    /// The policy file beside the log.
    pub fn policy_path(&self) -> Option<PathBuf> {
        match &self.0 {
            Kind::Log { dir, .. } => Some(dir.join("policy")),
            Kind::Static(_) | Kind::Url(_) => None,
        }
    }

    /// The paths of all files, if they can be listed.
    pub(super) fn paths(&self) -> Result<Option<Vec<String>>, AuditError> {
        match &self.0 {
            Kind::Log { files, .. } | Kind::Static(files) => {
                files.paths().map(Some).map_err(AuditError::Store)
            }
            Kind::Url(_) => Ok(None),
        }
    }

    /// A whole file, or its first `len_max + 1` bytes; `None` if there is none.
    pub(super) fn read(&self, path: &str, len_max: u64) -> Result<Option<Vec<u8>>, Fault> {
        match &self.0 {
            Kind::Log { files, .. } | Kind::Static(files) => {
                files.read(path, len_max).map_err(|error| Fault::Damage(unreadable(&error)))
            }
            Kind::Url(fetch) => match fetch.get_patiently(path, len_max, FILE_PATIENCE) {
                Ok(answer) => Ok(Some(answer.body)),
                Err(error) => not_fetched(error, len_max),
            },
        }
    }

    /// A finding about the file `path`, named as whoever gave the source names it.
    pub(super) fn finding(&self, path: impl AsRef<str>, damage: Damage) -> Finding {
        Finding::new(format!("{}{}", self.prefix(), path.as_ref()), damage)
    }
}

pub(super) fn unreadable(error: &StoreError) -> Damage {
    let kind = match error {
        StoreError::Io { source, .. } => source.kind(),
        _ => std::io::ErrorKind::Other,
    };
    Damage::Unreadable { kind }
}

fn not_fetched(error: FetchError, len_max: u64) -> Result<Option<Vec<u8>>, Fault> {
    match error {
        FetchError::Refused(refusal) if matches!(refusal.status, 404 | 410) => Ok(None),
        FetchError::Refused(refusal) => {
            Err(Fault::Damage(Damage::Status { status: refusal.status }))
        }
        FetchError::Unexpected { status } => Err(Fault::Damage(Damage::Status { status })),
        FetchError::TooLong { .. } => {
            Err(Fault::Damage(Damage::Length { got: len_max.saturating_add(1), want: len_max }))
        }
        error => Err(Fault::Stop(AuditError::Fetch(error))),
    }
}
