//! Reading a journal: verifies every byte, changes none.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use jejak_proofs::merkle::TreeHead;

use super::{
    disk::{self, DiskFile},
    error::{Damage, StoreError},
    record::{
        BLOCK_LEN, Position, RECORD_LEN_MAX, RECORD_MAGIC, Record, SegmentHeader, claimed_len,
        digest, padded, parse_segment_name, segment_name,
    },
};

const SCAN_LEN: usize = 1 << 20;
static ZEROS: [u8; SCAN_LEN] = [0; SCAN_LEN];

/// A journal being read from its first record to its last, without changing anything.
///
/// Each record is verified before it is given out: its digest, the chain of digests, indexes,
/// sizes and times, and that nothing but zeros stands between records and after them. The roots
/// are not recomputed. A caller that gets an error must drop what it built from the records
/// before.
///
/// An invalid record at the end is **torn**, that is, the trace of a batch that was never
/// committed, only if all of this holds; otherwise it is damage:
///
/// 1. It is in the last segment, and no record follows it (no later block begins with the magic).
/// 2. From [`RECORD_LEN_MAX`] bytes after its beginning on there are only zeros.
/// 3. Nobody knows a size beyond it, which [`Journal::resume`](super::Journal::resume) checks.
#[derive(Debug)]
pub struct Replay {
    pub(super) dir: PathBuf,
    /// The first indexes of all segments, ascending; never empty.
    pub(super) segments: Vec<u64>,
    /// The number of the segment that `file` is.
    current: usize,
    file: DiskFile,
    pub(super) segment_len: u64,
    /// Where the next record begins.
    pub(super) offset: u64,
    pub(super) position: Position,
    start: TreeHead,
    /// Place and length of the last record, if it is in the current segment.
    pub(super) last: Option<(u64, u64)>,
    torn: Option<Torn>,
    done: bool,
}

/// The trace of a batch that was never committed, at the end of the last segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The segment.
    pub path: PathBuf,
    /// Where the invalid record begins, in bytes.
    pub offset: u64,
    /// Bytes from there to the end of the last block that is not zero.
    pub len: u64,
}

/// What stands from some block on to the end of a segment.
#[derive(Default)]
struct Tail {
    /// The first byte that is not zero.
    content: Option<u64>,
    /// The end of the last block that is not zero.
    end: u64,
    /// The first later block that begins with a record's magic.
    record: Option<u64>,
    /// The first byte that is not zero after the longest possible record.
    beyond: Option<u64>,
}

impl Replay {
    /// Opens the journal in `dir`.
    ///
    /// # Errors
    /// [`StoreError::JournalMissing`] if there is no segment; [`StoreError::Damaged`] if the first
    /// one has no valid header.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        Self::open_from(dir, 0)
    }

    /// As [`open`](Self::open), beginning with the first segment whose first index is at least
    /// `from`: what an audit can still read after a damaged segment. Its header is taken for true.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_from(dir: &Path, from: u64) -> Result<Self, StoreError> {
        let mut segments = segments_in(dir)?;
        segments.retain(|&first| first >= from);
        let Some(&first) = segments.first() else {
            return Err(StoreError::JournalMissing(dir.to_owned()));
        };
        let (file, header) = open_segment(dir, first)?;
        if first == 0 && header.before != Position::START {
            return Err(StoreError::damaged(file.path(), 0, Damage::SegmentHeader));
        }
        Ok(Self {
            dir: dir.to_owned(),
            segments,
            current: 0,
            file,
            segment_len: header.len,
            offset: BLOCK_LEN,
            position: header.before,
            start: header.before.head,
            last: None,
            torn: None,
            done: false,
        })
    }

    /// The tree before the first record that is still there.
    pub fn start(&self) -> TreeHead {
        self.start
    }

    /// The tree after the records so far.
    pub fn head(&self) -> TreeHead {
        self.position.head
    }

    /// The time of the last record so far, in milliseconds since 1970; 0 before the first.
    pub fn time_ms(&self) -> u64 {
        self.position.time_ms
    }

    /// The invalid record at the end. Known once [`next_record`](Self::next_record) gave `None`.
    pub fn torn(&self) -> Option<&Torn> {
        self.torn.as_ref()
    }

    /// The next record; `None` after the last.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] names the file and the place. Asked again it says so again.
    pub fn next_record(&mut self) -> Result<Option<Record>, StoreError> {
        while !self.done {
            if let Some(record) = self.record_here()? {
                return Ok(Some(record));
            }
            let torn = self.end_of_segment()?;
            match self.segments.get(self.current + 1) {
                Some(&first) => self.enter_segment(first)?,
                None => {
                    self.torn = torn;
                    self.done = true;
                }
            }
        }
        Ok(None)
    }

    /// The valid record at the current place, if one begins there.
    fn record_here(&mut self) -> Result<Option<Record>, StoreError> {
        let room = self.segment_len - self.offset;
        if room == 0 {
            return Ok(None);
        }
        let mut bytes = vec![0; BLOCK_LEN as usize];
        self.file.read_at(&mut bytes, self.offset)?;
        let Some(len) = claimed_len(&bytes).filter(|&len| padded(len) <= room) else {
            return Ok(None);
        };
        bytes.resize(padded(len) as usize, 0);
        if let Some(rest) = bytes.get_mut(BLOCK_LEN as usize..) {
            self.file.read_at(rest, self.offset + BLOCK_LEN)?;
        }
        let padding = bytes.split_off(len as usize);
        let bytes = Bytes::from(bytes);
        let Some(digest) = digest(&bytes) else { return Ok(None) };
        // A whole record is no trace of a crash: from here on every fault is damage.
        let damaged = |at, damage| Err(StoreError::damaged(self.file.path(), at, damage));
        if let Some(at) = padding.iter().position(|&byte| byte != 0) {
            return damaged(self.offset + len + at as u64, Damage::NotZero);
        }
        let Some(record) = Record::parse(&bytes, &self.position) else {
            return damaged(self.offset, Damage::Chain);
        };
        self.last = Some((self.offset, len));
        self.offset += padded(len);
        self.position = Position { head: record.head, time_ms: record.time_ms, digest };
        Ok(Some(record))
    }

    /// Judges what follows the last record of the current segment.
    fn end_of_segment(&self) -> Result<Option<Torn>, StoreError> {
        let tail = self.tail()?;
        let Some(content) = tail.content else { return Ok(None) };
        let path = self.file.path();
        let is_last = self.current + 1 == self.segments.len();
        if is_last && tail.record.is_none() && tail.beyond.is_none() {
            let len = tail.end - self.offset;
            return Ok(Some(Torn { path: path.to_owned(), offset: self.offset, len }));
        }
        let in_first_block = content < self.offset + BLOCK_LEN;
        Err(match tail.beyond {
            Some(at) if is_last && tail.record.is_none() => {
                StoreError::damaged(path, at, Damage::NotZero)
            }
            _ if in_first_block => StoreError::damaged(path, self.offset, Damage::Record),
            _ => StoreError::damaged(path, content, Damage::NotZero),
        })
    }

    fn tail(&self) -> Result<Tail, StoreError> {
        let mut tail = Tail { end: self.offset, ..Tail::default() };
        let mut buffer = vec![0; SCAN_LEN];
        let mut at = self.offset;
        while at < self.segment_len {
            let len = SCAN_LEN.min((self.segment_len - at) as usize);
            self.file.read_at(&mut buffer[..len], at)?;
            if buffer[..len] != ZEROS[..len] {
                for (block, start) in
                    buffer[..len].chunks(BLOCK_LEN as usize).zip((at..).step_by(BLOCK_LEN as usize))
                {
                    tail.see(block, start, self.offset);
                }
            }
            at += len as u64;
        }
        Ok(tail)
    }

    fn enter_segment(&mut self, first: u64) -> Result<(), StoreError> {
        let (file, header) = open_segment(&self.dir, first)?;
        let size = self.position.head.size;
        if first != size {
            return Err(StoreError::damaged(file.path(), 0, Damage::Gap { size, first }));
        }
        if header.before != self.position {
            return Err(StoreError::damaged(file.path(), 0, Damage::Chain));
        }
        self.current += 1;
        self.file = file;
        self.segment_len = header.len;
        self.offset = BLOCK_LEN;
        self.last = None;
        Ok(())
    }
}

impl Tail {
    /// Notes the block that begins at `start`, in a tail that begins at `from`.
    fn see(&mut self, block: &[u8], start: u64, from: u64) {
        let Some(at) = block.iter().position(|&byte| byte != 0) else { return };
        let at = start + at as u64;
        self.content.get_or_insert(at);
        self.end = start + BLOCK_LEN;
        if start > from && block.starts_with(&RECORD_MAGIC) {
            self.record.get_or_insert(start);
        }
        if start >= from + RECORD_LEN_MAX {
            self.beyond.get_or_insert(at);
        }
    }
}

/// The first indexes of the segments in `dir`, ascending. Other files are none of the journal's.
pub(super) fn segments_in(dir: &Path) -> Result<Vec<u64>, StoreError> {
    let names = disk::names(dir)?.unwrap_or_default();
    let mut segments: Vec<u64> =
        names.iter().filter_map(|name| parse_segment_name(name.to_str()?)).collect();
    segments.sort_unstable();
    Ok(segments)
}

fn open_segment(dir: &Path, first: u64) -> Result<(DiskFile, SegmentHeader), StoreError> {
    let path = dir.join(segment_name(first));
    let Some(file) = DiskFile::open(&path)? else {
        return Err(StoreError::JournalMissing(path));
    };
    let invalid = || StoreError::damaged(&path, 0, Damage::SegmentHeader);
    let got = file.len()?;
    let mut block = vec![0; BLOCK_LEN as usize];
    if got < BLOCK_LEN {
        return Err(StoreError::damaged(&path, got, Damage::Length { got, want: BLOCK_LEN }));
    }
    file.read_at(&mut block, 0)?;
    let header = SegmentHeader::parse(&block).ok_or_else(invalid)?;
    if header.before.head.size != first || !header.len.is_multiple_of(BLOCK_LEN) {
        return Err(invalid());
    }
    if header.len != got {
        let damage = Damage::Length { got, want: header.len };
        return Err(StoreError::damaged(&path, got.min(header.len), damage));
    }
    Ok((file, header))
}
