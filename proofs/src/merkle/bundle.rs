//! Entry bundles: up to 256 entries in a file, each after its length as a big-endian u16, as in
//! [C2SP tlog-tiles](https://c2sp.org/tlog-tiles). A partial bundle is a prefix of the full one.
//!
//! The framing of a batch request is the same, without the limit on the number of entries.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};

/// The longest entry in bytes: what a u16 can say.
pub const ENTRY_LEN_MAX: usize = 65_535;

/// A bundle: which one, and how much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BundleId {
    /// Number of bundles to its left.
    pub index: u64,
    /// Number of entries, 1 to 256; below 256 the bundle is partial.
    pub width: u16,
}

impl BundleId {
    /// The path under the log's prefix, such as `tile/entries/x001/234.p/5`.
    pub fn path(&self) -> String {
        self.to_string()
    }
}

/// An entry longer than [`ENTRY_LEN_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an entry of {len} bytes: at most {ENTRY_LEN_MAX}")]
pub struct EntryTooLong {
    /// Bytes of the entry.
    pub len: usize,
}

/// Why bytes are not a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The bytes end within an entry or its length.
    #[error("the bundle ends within entry {entry}")]
    Truncated {
        /// Which entry of the bundle, 0-based.
        entry: usize,
    },
    /// There are fewer entries than the bundle's width.
    #[error("{got} entries in a bundle of {want}")]
    TooFew {
        /// Entries found.
        got: u16,
        /// Entries that the width names.
        want: u16,
    },
    /// There are more bytes after the last entry.
    #[error("{extra} bytes after the last of {want} entries")]
    Trailing {
        /// Bytes too many.
        extra: usize,
        /// Entries that the width names.
        want: u16,
    },
}

/// Appends an entry to a bundle.
///
/// # Errors
/// Fails, and leaves the bundle alone, if the entry is longer than [`ENTRY_LEN_MAX`].
pub fn push_entry(bundle: &mut Vec<u8>, entry: &[u8]) -> Result<(), EntryTooLong> {
    let len = u16::try_from(entry.len()).map_err(|_| EntryTooLong { len: entry.len() })?;
    bundle.extend_from_slice(&len.to_be_bytes());
    bundle.extend_from_slice(entry);
    Ok(())
}

/// The entries in `bundle`, however many; the caller bounds them by the number of bytes.
///
/// # Errors
/// Fails if the bytes do not end exactly where an entry ends.
pub fn entries(bundle: &[u8]) -> Result<Vec<&[u8]>, BundleError> {
    let mut entries = Vec::new();
    let mut rest = bundle;
    while !rest.is_empty() {
        let (entry, after) =
            split_entry(rest).ok_or(BundleError::Truncated { entry: entries.len() })?;
        entries.push(entry);
        rest = after;
    }
    Ok(entries)
}

/// The entries of the bundle `id`.
///
/// # Errors
/// Fails if there are not exactly `id.width` entries, with nothing after them.
pub fn parse_bundle(id: BundleId, bytes: &[u8]) -> Result<Vec<&[u8]>, BundleError> {
    let len = prefix_len(bytes, id.width)?;
    if len != bytes.len() {
        return Err(BundleError::Trailing { extra: bytes.len() - len, want: id.width });
    }
    entries(bytes)
}

/// Bytes of the first `width` entries: where to cut a bundle for a partial one.
///
/// # Errors
/// Fails if there are fewer entries, or the last of them is cut short.
pub fn prefix_len(bundle: &[u8], width: u16) -> Result<usize, BundleError> {
    let mut rest = bundle;
    for entry in 0..width {
        if rest.is_empty() {
            return Err(BundleError::TooFew { got: entry, want: width });
        }
        let (_, after) =
            split_entry(rest).ok_or(BundleError::Truncated { entry: usize::from(entry) })?;
        rest = after;
    }
    Ok(bundle.len() - rest.len())
}

/// The first entry, and the bytes after it.
fn split_entry(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))
}
