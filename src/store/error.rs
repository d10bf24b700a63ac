//! What can go wrong in the store, and what the caller may conclude from it.

use std::{fmt, io, path::PathBuf};

/// Why the store did not do what was asked.
///
/// [`NoSpace`] and [`TooLong`] are answers: nothing was written, and the store goes on. After
/// anything else on the way to a commit the process must stop, and let start-up find out what
/// is true on disk.
///
/// [`NoSpace`]: StoreError::NoSpace
/// [`TooLong`]: StoreError::TooLong
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A call to the operating system failed.
    #[error("could not {action} {}", path.display())]
    Io {
        /// What was tried.
        action: Action,
        /// The file or directory it was tried on.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// A file does not hold what the store wrote. Nothing was modified.
    #[error("{} is damaged at byte {offset}: {damage}", path.display())]
    Damaged {
        /// The damaged file.
        path: PathBuf,
        /// Where in the file the first damage shows, in bytes.
        offset: u64,
        /// What is wrong there.
        damage: Damage,
    },
    /// The journal is sound but ends before a size that was already made public or written as
    /// tiles: an old disk or a restored snapshot. Nothing was modified.
    #[error("{} ends at size {size}, but size {known} was already published", path.display())]
    Rollback {
        /// The directory of the journal.
        path: PathBuf,
        /// The size that the journal ends with.
        size: u64,
        /// The largest size known elsewhere.
        known: u64,
    },
    /// The disk is full, or so full that only the reserve is left: try again later.
    #[error("{free} bytes free at {}, {needed} needed", path.display())]
    NoSpace {
        /// The directory that was to be written to.
        path: PathBuf,
        /// Free bytes there.
        free: u64,
        /// Bytes that would have to be free, the reserve included.
        needed: u64,
    },
    /// The batch needs a longer record than [`RECORD_LEN_MAX`](super::RECORD_LEN_MAX) bytes.
    #[error("a journal record of {len} bytes, at most {max}")]
    TooLong {
        /// Bytes that the record would have.
        len: u64,
        /// Bytes that it may have.
        max: u64,
    },
    /// The record is not the next one, or no room was reserved for it: a mistake of the caller.
    #[error("not the next journal record: {0}")]
    NotNext(NotNext),
    /// An earlier call failed with an unknown outcome; this handle refuses everything since.
    #[error("refused after an earlier I/O error")]
    PreviousIo,
    /// A journal was to be created where there is one.
    #[error("{} already holds a journal", .0.display())]
    JournalExists(PathBuf),
    /// There is no journal in the directory.
    #[error("no journal in {}", .0.display())]
    JournalMissing(PathBuf),
    /// Another process works on the directory.
    #[error("{} is in use by {}", path.display(), Holder(*pid))]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// The process that wrote its id into it.
        pid: Option<u32>,
    },
}

/// The system call behind a [`StoreError::Io`], in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Open or stat a file.
    Open,
    /// Create a file or directory.
    Create,
    /// Read a file.
    Read,
    /// Write a file.
    Write,
    /// Sync a file or directory.
    Sync,
    /// Rename a file to this name.
    Rename,
    /// Remove a file.
    Remove,
    /// List a directory.
    List,
    /// Ask for the free space of a file system.
    Measure,
    /// Lock a file.
    Lock,
}

/// What is wrong with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Damage {
    /// The first block of a segment is not a segment header, or not the one of its name.
    SegmentHeader,
    /// The file does not have the length that was fixed when it was made.
    Length {
        /// Bytes that it has.
        got: u64,
        /// Bytes that it must have.
        want: u64,
    },
    /// A segment does not continue the one before: one is missing, or of another journal.
    Gap {
        /// The size of the tree before this segment.
        size: u64,
        /// The first index that the segment claims.
        first: u64,
    },
    /// An invalid record that no crash can have left: it is not the last.
    Record,
    /// A whole record that does not follow the one before.
    Chain,
    /// Bytes that must be zero are not.
    NotZero,
    /// An invalid last record where a record stood: a larger tree was already published.
    Published {
        /// The size of the tree before the invalid record.
        size: u64,
        /// The largest size known elsewhere.
        known: u64,
    },
    /// The content does not have the hash in the file's name.
    Hash,
}

/// Why a record cannot be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotNext {
    /// Its first index is not the size of the tree.
    First,
    /// Its head does not count its entries, or it has none.
    Size,
    /// Its time is before the one of the last record.
    Time,
    /// One of its entries is longer than an entry may be.
    Entry,
    /// [`Journal::reserve`](super::Journal::reserve) did not make room for it.
    NotReserved,
}

struct Holder(Option<u32>);

impl StoreError {
    pub(super) fn damaged(path: impl Into<PathBuf>, offset: u64, damage: Damage) -> Self {
        Self::Damaged { path: path.into(), offset, damage }
    }

    /// Whether a file was read and does not hold what it must.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. })
    }

    /// Whether a call failed because the disk, or the user's share of it, is full.
    pub fn is_out_of_space(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(self, Self::Io { source, .. }
            if matches!(source.kind(), StorageFull | QuotaExceeded))
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Create => "create",
            Self::Read => "read",
            Self::Write => "write",
            Self::Sync => "sync",
            Self::Rename => "rename to",
            Self::Remove => "remove",
            Self::List => "list",
            Self::Measure => "measure the free space of",
            Self::Lock => "lock",
        })
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SegmentHeader => f.write_str("not the header of this segment"),
            Self::Length { got, want } => write!(f, "{got} bytes long instead of {want}"),
            Self::Gap { size, first } => {
                write!(f, "starts at index {first}, after a segment that ends at size {size}")
            }
            Self::Record => f.write_str("an invalid record that is not the last"),
            Self::Chain => f.write_str("a record that does not follow the one before"),
            Self::NotZero => f.write_str("bytes that must be zero are not"),
            Self::Published { size, known } => {
                write!(f, "invalid record after size {size}, but size {known} was published")
            }
            Self::Hash => f.write_str("the content does not have the hash in the name"),
        }
    }
}

impl fmt::Display for NotNext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::First => "its first index is not the size of the tree",
            Self::Size => "its head does not count its entries",
            Self::Entry => "one of its entries is too long",
            Self::Time => "its time is before that of the last record",
            Self::NotReserved => "no room was reserved for it",
        })
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(pid) => write!(f, "process {pid}"),
            None => f.write_str("another process"),
        }
    }
}
