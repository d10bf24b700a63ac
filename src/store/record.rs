//! The bytes of a journal: segment headers and records.
//!
//! All integers are unsigned and big-endian. Everything begins at a multiple of [`BLOCK_LEN`]
//! bytes, and what is left of a block is zeros. So no later write ever touches a block that holds
//! something committed, and a disk that loses a whole block in a power cut loses only what was
//! being written.
//!
//! A **segment** is a file of fixed length, named by its first index as 20 decimal digits:
//!
//! ```text
//! offset  bytes
//!      0      8  magic: 89 6a 65 6a 61 6b 53 31 (0x89 "jejakS1")
//!      8      8  length of the file
//!     16      8  first index: the size of the tree before this segment
//!     24      8  time of the record before, in ms since 1970; 0 if there is none
//!     32     32  root of the tree before this segment
//!     64     32  digest of the record before; zeros if there is none
//!     96     32  SHA-256 of bytes 0 to 95
//!    128   3968  zeros
//!   4096      -  records, then zeros to the end of the file
//! ```
//!
//! A **record** is one batch:
//!
//! ```text
//! offset  bytes
//!      0      8  magic: 89 6a 65 6a 61 6b 52 31 (0x89 "jejakR1")
//!      8      8  length n of the record, digest included, padding not
//!     16     32  digest of the record before; zeros if there is none
//!     48      8  first index: the size of the tree before this record
//!     56      8  time in ms since 1970, never before that of the record before
//!     64      8  size of the tree after this record
//!     72     32  root of the tree after this record
//!    104  n-136  the entries, each a 2-byte length and its bytes, as in a C2SP entry bundle
//!   n-32     32  digest: SHA-256 of bytes 0 to n-33
//!      n      -  zeros to the next multiple of 4096
//! ```
//!
//! 0x89 occurs at no beginning of a character in UTF-8, so no block of text begins with a magic.

use bytes::Bytes;
use jejak_proofs::merkle::{self, HASH_LEN, Hash, TREE_SIZE_MAX, TreeHead, sha256};

/// Bytes in a block of a segment: a page, and the physical sector of today's disks.
pub const BLOCK_LEN: u64 = 4096;

/// Bytes in the longest journal record. A batch that needs more must be split.
pub const RECORD_LEN_MAX: u64 = 16 << 20;

/// Bytes that each entry takes in a record beside its own.
pub const FRAME_LEN: usize = 2;

pub(super) const RECORD_MAGIC: [u8; 8] = *b"\x89jejakR1";
const SEGMENT_MAGIC: [u8; 8] = *b"\x89jejakS1";
pub(super) const RECORD_HEADER_LEN: usize = 104;
/// Bytes of a record around its entries.
pub(super) const RECORD_OVERHEAD: u64 = (RECORD_HEADER_LEN + HASH_LEN) as u64;
/// Decimal digits in the name of a segment.
pub(super) const NAME_DIGITS: usize = 20;

/// One committed batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Index of the first entry: the size of the tree before the batch.
    pub first: u64,
    /// The one clock reading of the batch, in milliseconds since 1970.
    pub time_ms: u64,
    /// The tree after the batch.
    pub head: TreeHead,
    /// The entries in order of their indexes, at least one.
    pub entries: Vec<Bytes>,
}

/// What the next record must continue: all that a segment header holds about the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) head: TreeHead,
    pub(super) time_ms: u64,
    pub(super) digest: Hash,
}

impl Position {
    pub(super) const START: Self =
        Self { head: TreeHead::EMPTY, time_ms: 0, digest: Hash::new([0; HASH_LEN]) };
}

/// A segment header as read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) len: u64,
    pub(super) before: Position,
}

impl SegmentHeader {
    pub(super) fn to_block(self) -> Vec<u8> {
        let mut block = Vec::with_capacity(BLOCK_LEN as usize);
        block.extend_from_slice(&SEGMENT_MAGIC);
        for number in [self.len, self.before.head.size, self.before.time_ms] {
            block.extend_from_slice(&number.to_be_bytes());
        }
        block.extend_from_slice(self.before.head.root.as_bytes());
        block.extend_from_slice(self.before.digest.as_bytes());
        block.extend_from_slice(sha256(&block).as_bytes());
        block.resize(BLOCK_LEN as usize, 0);
        block
    }

    /// Reads a first block; `None` unless it is what [`to_block`](Self::to_block) writes.
    pub(super) fn parse(block: &[u8]) -> Option<Self> {
        if block.get(..8)? != SEGMENT_MAGIC {
            return None;
        }
        let head = TreeHead { size: u64_at(block, 16)?, root: hash_at(block, 32)? };
        let before = Position { head, time_ms: u64_at(block, 24)?, digest: hash_at(block, 64)? };
        let header = Self { len: u64_at(block, 8)?, before };
        // Written again it must give the same bytes: that checks digest and padding in one.
        (header.to_block() == block).then_some(header)
    }
}

/// The name of the segment whose first entry has `index`.
pub(super) fn segment_name(index: u64) -> String {
    format!("{index:020}")
}

/// The first index in the name of a segment; `None` for any other name.
pub(super) fn parse_segment_name(name: &str) -> Option<u64> {
    let digits = name.len() == NAME_DIGITS && name.bytes().all(|b| b.is_ascii_digit());
    if digits { name.parse().ok() } else { None }
}

/// The length of a record with `framed_len` bytes of framed entries.
pub(super) fn record_len(framed_len: u64) -> u64 {
    RECORD_OVERHEAD.saturating_add(framed_len)
}

/// Bytes of a segment that a record of `len` bytes takes up.
pub(super) fn padded(len: u64) -> u64 {
    len.next_multiple_of(BLOCK_LEN)
}

/// The length that the first block of a record claims, if it can be the length of one.
pub(super) fn claimed_len(block: &[u8]) -> Option<u64> {
    if block.get(..8)? != RECORD_MAGIC {
        return None;
    }
    u64_at(block, 8).filter(|len| (RECORD_OVERHEAD..=RECORD_LEN_MAX).contains(len))
}

/// The digest of a record, if it is whole: of its length, and with the digest of its bytes.
pub(super) fn digest(bytes: &[u8]) -> Option<Hash> {
    let body_len = bytes.len().checked_sub(HASH_LEN)?;
    let want = hash_at(bytes, body_len)?;
    (sha256(&bytes[..body_len]) == want).then_some(want)
}

impl Record {
    /// Appends the bytes of the record that follows `before`, and returns their digest.
    ///
    /// # Panics
    /// Never for entries of at most 65,535 bytes.
    pub(super) fn write(&self, before: &Position, out: &mut Vec<u8>) -> Hash {
        let start = out.len();
        let framed: usize = self.entries.iter().map(|entry| FRAME_LEN + entry.len()).sum();
        out.extend_from_slice(&RECORD_MAGIC);
        out.extend_from_slice(&record_len(framed as u64).to_be_bytes());
        out.extend_from_slice(before.digest.as_bytes());
        for number in [self.first, self.time_ms, self.head.size] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(self.head.root.as_bytes());
        for entry in &self.entries {
            merkle::push_entry(out, entry).expect("checked before");
        }
        let digest = sha256(&out[start..]);
        out.extend_from_slice(digest.as_bytes());
        digest
    }

    /// Reads a whole record (see [`digest`]); `None` unless it continues `before`.
    pub(super) fn parse(bytes: &Bytes, before: &Position) -> Option<Self> {
        let body = RECORD_HEADER_LEN..bytes.len().checked_sub(HASH_LEN)?;
        let record = Self {
            first: u64_at(bytes, 48)?,
            time_ms: u64_at(bytes, 56)?,
            head: TreeHead { size: u64_at(bytes, 64)?, root: hash_at(bytes, 72)? },
            entries: merkle::entries(bytes.get(body)?)
                .ok()?
                .into_iter()
                .map(|entry| bytes.slice_ref(entry))
                .collect(),
        };
        let continues = hash_at(bytes, 16)? == before.digest
            && record.first == before.head.size
            && record.time_ms >= before.time_ms
            && record.counts_its_entries();
        continues.then_some(record)
    }

    /// Reads a whole record without the one before it.
    pub(super) fn parse_alone(bytes: &Bytes) -> Option<Self> {
        let head = TreeHead { size: u64_at(bytes, 48)?, ..TreeHead::EMPTY };
        let before = Position { head, time_ms: 0, digest: hash_at(bytes, 16)? };
        Self::parse(bytes, &before)
    }

    /// Whether the head is `first` plus at least one entry, and no larger than a tree may be.
    pub(super) fn counts_its_entries(&self) -> bool {
        !self.entries.is_empty()
            && self.head.size <= TREE_SIZE_MAX
            && self.first.checked_add(self.entries.len() as u64) == Some(self.head.size)
    }
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

fn hash_at(bytes: &[u8], at: usize) -> Option<Hash> {
    Some(Hash::new(bytes.get(at..at + HASH_LEN)?.try_into().ok()?))
}
