//! The write-ahead journal: the commit point of every batch, and the right edge of the tree.
//!
//! The bytes are in [`record`](super::record), what a reader checks in [`Replay`].
//!
//! # What is true on disk, step by step
//!
//! - A segment is written full of zeros under another name, synced, renamed, and its directory
//!   synced, before anything is committed to it. So a file with the name of a segment has its full
//!   length and a valid header, and an append changes neither its length nor where its blocks
//!   are: it needs no space, and its `fdatasync` waits for one write.
//! - [`Journal::reserve`] does all that can fail for want of space, before a batch is applied.
//! - [`Journal::append`] writes one record and syncs it. **When it returns, the batch is
//!   committed**; before, it is not. If it fails, nobody knows: the journal then refuses
//!   everything, the process must end, and start-up reads what is there.
//! - [`Journal::resume`] finishes what a crash left, and syncs the last record before anything
//!   can be signed that rests on it.
//! - [`Journal::trim`] removes segments, oldest first, each removal synced, so what is left never
//!   has a gap.
//!
//! # Assumptions about the disk
//!
//! What `fdatasync` acknowledged stays, except for rot. A write that was not synced may have
//! happened in any part, and harms no other block of 4,096 bytes. The file system overwrites in
//! place: on one that copies on write (btrfs, ZFS) an append may still fail for want of space, and
//! then the process ends.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
};

use jejak_proofs::merkle::{ENTRY_LEN_MAX, TreeHead};

use super::{
    disk::{self, DiskFile},
    error::{Damage, NotNext, StoreError},
    record::{
        BLOCK_LEN, Position, RECORD_LEN_MAX, Record, SegmentHeader, padded, record_len,
        segment_name,
    },
    replay::{Replay, segments_in},
};

/// Bytes of a segment, unless one batch needs more.
pub const SEGMENT_LEN_DEFAULT: u64 = 64 << 20;

/// Bytes of the disk that stay free by default. A batch is written twice (journal, then tiles
/// and bundles), and an operator needs room to act.
pub const FREE_MIN_DEFAULT: u64 = 256 << 20;

/// Entries of a full bundle: what is above the last full one lives in the journal only.
const BUNDLE_WIDTH: u64 = 256;

/// Where a segment is written before it gets its name.
const TEMPORARY: &str = "new.tmp";

/// How a journal uses the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalOptions {
    /// Bytes of a new segment, rounded up to whole blocks; larger when one batch needs more.
    pub segment_len: u64,
    /// Bytes of the disk to leave free: below them [`Journal::reserve`] refuses.
    pub free_min: u64,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self { segment_len: SEGMENT_LEN_DEFAULT, free_min: FREE_MIN_DEFAULT }
    }
}

/// The write-ahead journal of one log, open for appending.
#[derive(Debug)]
pub struct Journal {
    dir: PathBuf,
    options: JournalOptions,
    /// The first indexes of all segments, ascending; the last one is `file`.
    segments: VecDeque<u64>,
    file: DiskFile,
    segment_len: u64,
    /// Where the next record goes: a multiple of the block length, zeros from here on.
    offset: u64,
    position: Position,
    /// Set by the first failure with an unknown outcome, and never cleared.
    failed: bool,
    buffer: Vec<u8>,
}

impl Journal {
    /// Makes an empty journal in `dir`, which is made too if it does not exist.
    ///
    /// # Errors
    /// [`StoreError::JournalExists`] if there is a journal; [`StoreError::NoSpace`] if there is
    /// no room for the first segment.
    pub fn create(dir: &Path, options: JournalOptions) -> Result<Self, StoreError> {
        if !segments_in(dir)?.is_empty() {
            return Err(StoreError::JournalExists(dir.to_owned()));
        }
        let len = segment_len_for(&options, 0);
        check_room(dir, &options)?;
        disk::make_dirs(dir)?;
        if let Some(parent) = dir.parent() {
            disk::sync_dir(parent)?;
        }
        let file = new_segment(dir, SegmentHeader { len, before: Position::START })?;
        Ok(Self {
            dir: dir.to_owned(),
            options,
            segments: VecDeque::from([0]),
            file,
            segment_len: len,
            offset: BLOCK_LEN,
            position: Position::START,
            failed: false,
            buffer: Vec::new(),
        })
    }

    /// Opens the journal in `dir` for appending, after giving every record to `visit`.
    ///
    /// `known` is the largest size known elsewhere: from `checkpoint`, from tiles, from a witness.
    /// See [`Replay`] for what is verified and [`resume`](Self::resume) for what is repaired.
    ///
    /// # Errors
    /// The first error of `visit`, and those of [`Replay::next_record`] and
    /// [`resume`](Self::resume). Nothing is changed on disk then, and what `visit` built is void.
    pub fn open<E: From<StoreError>>(
        dir: &Path,
        known: u64,
        options: JournalOptions,
        mut visit: impl FnMut(Record) -> Result<(), E>,
    ) -> Result<Self, E> {
        let mut replay = Replay::open(dir)?;
        while let Some(record) = replay.next_record()? {
            visit(record)?;
        }
        Ok(Self::resume(replay, known, options)?)
    }

    /// Goes on where a replay ended: the rest is read and verified, a torn record is zeroed, and
    /// the last record is synced, so that whatever is signed now is durable.
    ///
    /// `known` is the largest size known elsewhere: from `checkpoint`, from tiles, from a witness.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if the journal is damaged, also if a record is invalid that seems
    /// torn but was published; [`StoreError::Rollback`] if it is sound and ends before `known`.
    /// Nothing was changed on disk in these cases.
    pub fn resume(
        mut replay: Replay,
        known: u64,
        options: JournalOptions,
    ) -> Result<Self, StoreError> {
        while replay.next_record()?.is_some() {}
        let size = replay.head().size;
        match replay.torn() {
            Some(torn) if known > size => {
                let damage = Damage::Published { size, known };
                return Err(StoreError::damaged(&torn.path, torn.offset, damage));
            }
            None if known > size => {
                return Err(StoreError::Rollback { path: replay.dir, size, known });
            }
            _ => {}
        }
        // The journal is accepted: the first writes.
        let file = repair(&replay)?;
        disk::remove(&replay.dir.join(TEMPORARY))?;
        disk::sync_dir(&replay.dir)?;
        Ok(Self {
            options,
            file,
            segment_len: replay.segment_len,
            offset: replay.offset,
            position: replay.position,
            segments: replay.segments.into(),
            dir: replay.dir,
            failed: false,
            buffer: Vec::new(),
        })
    }

    /// The tree after the last committed record.
    pub fn head(&self) -> TreeHead {
        self.position.head
    }

    /// The time of the last record, in milliseconds since 1970; 0 if there never was one. The
    /// next one must not be before it.
    pub fn time_ms(&self) -> u64 {
        self.position.time_ms
    }

    /// The index of the first entry that is still in the journal.
    pub fn first(&self) -> u64 {
        *self.segments.front().expect("a journal has a segment")
    }

    /// Makes room for one record, so that its [`append`](Self::append) needs no more space.
    /// `framed_len` is the bytes of its entries, each with [`FRAME_LEN`](super::FRAME_LEN) more;
    /// an estimate must not be below the truth.
    ///
    /// # Errors
    /// [`StoreError::NoSpace`] and [`StoreError::TooLong`] are answers: nothing has changed, ask
    /// again later or for less. After any other error the journal refuses everything.
    pub fn reserve(&mut self, framed_len: u64) -> Result<(), StoreError> {
        self.guard(|journal| journal.try_reserve(framed_len))
    }

    /// Whether [`reserve`](Self::reserve) would find room for `framed_len` bytes now. Changes
    /// nothing.
    ///
    /// # Errors
    /// As [`reserve`](Self::reserve), but whatever it is the journal goes on.
    pub fn check_room(&self, framed_len: u64) -> Result<(), StoreError> {
        let new = self.new_segment_len(framed_len)?;
        check_free(&self.dir, &self.options, new.unwrap_or(0))
    }

    /// Commits a batch: when this returns, the record is durable. Signatures that rest on it may
    /// leave memory only then.
    ///
    /// # Errors
    /// [`StoreError::NotNext`] and [`StoreError::TooLong`]: nothing was written. After any other
    /// error it is unknown whether the batch is committed, and the journal refuses everything.
    pub fn append(&mut self, record: &Record) -> Result<(), StoreError> {
        self.guard(|journal| journal.try_append(record))
    }

    /// Removes the segments that hold only what is durable elsewhere. `durable` is the size up to
    /// which every full tile and bundle is synced ([`Objects::sync`](super::Objects::sync)).
    ///
    /// What no full bundle holds stays, whatever `durable` says, and so does the last segment.
    /// Returns how many segments were removed.
    ///
    /// # Errors
    /// After an error the journal refuses everything.
    pub fn trim(&mut self, durable: u64) -> Result<usize, StoreError> {
        self.guard(|journal| journal.try_trim(durable))
    }

    /// Runs `work`, and refuses everything after it failed with an unknown outcome.
    fn guard<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if self.failed {
            return Err(StoreError::PreviousIo);
        }
        let result = work(self);
        self.failed = !matches!(
            result,
            Ok(_)
                | Err(StoreError::NoSpace { .. }
                    | StoreError::TooLong { .. }
                    | StoreError::NotNext(_))
        );
        result
    }

    /// The length of the segment that a record needs, unless this one has room for it.
    fn new_segment_len(&self, framed_len: u64) -> Result<Option<u64>, StoreError> {
        let len = record_len(framed_len);
        if len > RECORD_LEN_MAX {
            return Err(StoreError::TooLong { len, max: RECORD_LEN_MAX });
        }
        let fits = self.offset + padded(len) <= self.segment_len;
        Ok((!fits).then(|| segment_len_for(&self.options, len)))
    }

    fn try_reserve(&mut self, framed_len: u64) -> Result<(), StoreError> {
        self.check_room(framed_len)?;
        let Some(len) = self.new_segment_len(framed_len)? else { return Ok(()) };
        let file = new_segment(&self.dir, SegmentHeader { len, before: self.position })?;
        // The new segment is durable, empty, and continues the last record. Where the old one was
        // empty too, it had the same first index, and the new one has taken its place.
        let first = self.position.head.size;
        if self.segments.back() != Some(&first) {
            self.segments.push_back(first);
        }
        self.file = file;
        self.segment_len = len;
        self.offset = BLOCK_LEN;
        Ok(())
    }

    fn try_append(&mut self, record: &Record) -> Result<(), StoreError> {
        self.check_next(record)?;
        self.buffer.clear();
        let digest = record.write(&self.position, &mut self.buffer);
        let len = self.buffer.len() as u64;
        if len > RECORD_LEN_MAX {
            return Err(StoreError::TooLong { len, max: RECORD_LEN_MAX });
        }
        if self.offset + padded(len) > self.segment_len {
            return Err(StoreError::NotNext(NotNext::NotReserved));
        }
        self.file.write_at(&self.buffer, self.offset)?;
        self.file.sync_data()?;
        // Committed.
        self.offset += padded(len);
        self.position = Position { head: record.head, time_ms: record.time_ms, digest };
        Ok(())
    }

    fn check_next(&self, record: &Record) -> Result<(), StoreError> {
        let wrong = if record.first != self.position.head.size {
            NotNext::First
        } else if !record.counts_its_entries() {
            NotNext::Size
        } else if record.time_ms < self.position.time_ms {
            NotNext::Time
        } else if record.entries.iter().any(|entry| entry.len() > ENTRY_LEN_MAX) {
            NotNext::Entry
        } else {
            return Ok(());
        };
        Err(StoreError::NotNext(wrong))
    }

    fn try_trim(&mut self, durable: u64) -> Result<usize, StoreError> {
        let size = self.position.head.size;
        let keep_from = durable.min(size) / BUNDLE_WIDTH * BUNDLE_WIDTH;
        let mut removed = 0;
        // A segment ends where the next one begins.
        while self.segments.get(1).is_some_and(|&end| end <= keep_from) {
            disk::remove(&self.dir.join(segment_name(self.segments[0])))?;
            disk::sync_dir(&self.dir)?;
            self.segments.pop_front();
            removed += 1;
        }
        Ok(removed)
    }
}

/// Zeroes a torn record, and makes sure that the last record is on the disk and not only in the
/// page cache: a process that was killed, or ended because a sync failed, leaves bytes that read
/// well and may never have been written. They are written again, since after a failed sync
/// the system may take them for clean.
fn repair(replay: &Replay) -> Result<DiskFile, StoreError> {
    let first = *replay.segments.last().expect("a replay has a segment");
    let file = DiskFile::open_for_writing(&replay.dir.join(segment_name(first)))?;
    if let Some((offset, len)) = replay.last {
        let mut bytes = vec![0; len as usize];
        file.read_at(&mut bytes, offset)?;
        file.write_at(&bytes, offset)?;
    }
    if let Some(torn) = replay.torn() {
        file.write_at(&vec![0; torn.len as usize], torn.offset)?;
    }
    file.sync_data()?;
    Ok(file)
}

/// The length of a new segment that has to take a record of `len` bytes.
fn segment_len_for(options: &JournalOptions, len: u64) -> u64 {
    options.segment_len.max(BLOCK_LEN + len.max(1)).next_multiple_of(BLOCK_LEN)
}

/// Whether there is room for a new journal in `dir`, or where it would be made.
///
/// # Errors
/// [`StoreError::NoSpace`]; [`StoreError::Io`] if nobody can say.
pub fn check_room(dir: &Path, options: &JournalOptions) -> Result<(), StoreError> {
    let found = dir.ancestors().find(|above| above.exists()).unwrap_or(Path::new("."));
    check_free(found, options, segment_len_for(options, 0))
}

/// Refuses to write `len` more bytes to a disk that must keep its reserve.
fn check_free(dir: &Path, options: &JournalOptions, len: u64) -> Result<(), StoreError> {
    let free = disk::free_bytes(dir)?;
    let needed = options.free_min.saturating_add(len);
    if free < needed {
        return Err(StoreError::NoSpace { path: dir.to_owned(), free, needed });
    }
    Ok(())
}

/// Writes, syncs and names a segment. A full disk leaves nothing behind and is
/// [`StoreError::NoSpace`].
fn new_segment(dir: &Path, header: SegmentHeader) -> Result<DiskFile, StoreError> {
    let temporary = dir.join(TEMPORARY);
    let path = dir.join(segment_name(header.before.head.size));
    let named = write_segment(&temporary, header).and_then(|()| disk::rename(&temporary, &path));
    match named {
        Ok(()) => {}
        Err(error) if error.is_out_of_space() => {
            disk::remove(&temporary)?;
            let free = disk::free_bytes(dir)?;
            return Err(StoreError::NoSpace { path: dir.to_owned(), free, needed: header.len });
        }
        Err(error) => return Err(error),
    }
    disk::sync_dir(dir)?;
    DiskFile::open_for_writing(&path)
}

fn write_segment(path: &Path, header: SegmentHeader) -> Result<(), StoreError> {
    let zeros = vec![0; 1 << 20];
    let file = DiskFile::create(path)?;
    file.write_at(&header.to_block(), 0)?;
    let mut at = BLOCK_LEN;
    while at < header.len {
        let len = zeros.len().min((header.len - at) as usize);
        file.write_at(&zeros[..len], at)?;
        at += len as u64;
    }
    file.sync_all()
}

#[cfg(test)]
mod tests;
