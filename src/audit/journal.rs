//! What the journal of a log directory says: leaf hashes, heads, the entries of the right edge.

use std::collections::BTreeMap;

use bytes::Bytes;
use jejak_proofs::{
    merkle::{Hash, TILE_WIDTH, TreeHead, leaf_hash},
    tally::Entry,
};

use super::{
    finding::{Damage, Finding},
    source::{Source, unreadable},
};
use crate::store::{self, Record, Replay, StoreError};

/// How often a journal is read again because a server that works on it may have confused us.
const READS_MAX: usize = 3;

/// How a manifest begins.
const MANIFEST: &[u8] = b"jejak/manifest/";

const DIR: &str = "journal";

/// A journal as far as it verifies. Its hashes are covered by SHA-256 digests and not by a
/// signature: true unless somebody wrote them on purpose.
#[derive(Debug, Default)]
pub(super) struct JournalView {
    runs: Vec<Run>,
    /// The tree at the end; `None` if the end is damaged.
    pub head: Option<TreeHead>,
    /// Index of the first of `tail`.
    pub tail_first: u64,
    /// The last entries, those of the last bundle that was begun.
    pub tail: Vec<Bytes>,
    /// First indexes of the segments that were there, ascending.
    segments: Vec<u64>,
    /// Every manifest that the journal holds, by index.
    pub manifests: BTreeMap<u64, Entry>,
    /// The path of the segment with a torn record, and where in it that begins.
    pub torn: Option<(String, u64)>,
    findings: Vec<Finding>,
}

/// Records that follow one another.
#[derive(Debug)]
struct Run {
    start: TreeHead,
    leaves: Vec<Hash>,
    heads: Vec<TreeHead>,
}

impl JournalView {
    /// Reads the journal of a log directory, if this is one. What seems damaged is read again: a
    /// running server appends and trims meanwhile. Gives the findings apart.
    pub fn read(source: &Source) -> (Self, Vec<Finding>) {
        let mut last = Self::read_once(source);
        for _ in 1..READS_MAX {
            if last.findings.is_empty() {
                break;
            }
            let again = Self::read_once(source);
            let same = again.findings == last.findings;
            last = again;
            if same {
                break;
            }
        }
        let findings = std::mem::take(&mut last.findings);
        (last, findings)
    }

    fn read_once(source: &Source) -> Self {
        let mut view = Self::default();
        let Some(directory) = source.log() else { return view };
        let dir = directory.root().join(DIR);
        let mut from = 0;
        loop {
            match Replay::open_from(&dir, from).and_then(|replay| view.follow(source, replay)) {
                Ok(()) => break,
                Err(StoreError::JournalMissing(_)) if from > 0 => break,
                Err(error) => match view.blame(source, error) {
                    Some(next) => from = next,
                    None => break,
                },
            }
        }
        view
    }

    /// Takes all records to the end.
    fn follow(&mut self, source: &Source, mut replay: Replay) -> Result<(), StoreError> {
        let start = replay.start();
        self.runs.push(Run { start, leaves: Vec::new(), heads: Vec::new() });
        (self.tail_first, self.tail) = (start.size, Vec::new());
        while let Some(record) = replay.next_record()? {
            self.take(&record);
        }
        self.head = Some(replay.head());
        if let Some(torn) = replay.torn() {
            let name = torn.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let path = format!("{DIR}/{name}");
            let finding = source.finding(&path, Damage::Torn { offset: torn.offset });
            // A killed process leaves the beginning of a record. Other bytes are more likely rot.
            let innocent = torn.begins_a_record()?;
            self.findings.push(if innocent { finding.info() } else { finding });
            self.torn = Some((path, torn.offset));
        }
        Ok(())
    }

    fn take(&mut self, record: &Record) {
        let run = self.runs.last_mut().expect("a run is begun before its records");
        for (entry, index) in record.entries.iter().zip(record.first..) {
            run.leaves.push(leaf_hash(entry));
            if index % u64::from(TILE_WIDTH) == 0 {
                (self.tail_first, self.tail) = (index, Vec::new());
            }
            self.tail.push(entry.clone());
            if entry.starts_with(MANIFEST) {
                self.manifests.extend(Entry::parse(entry).ok().map(|entry| (index, entry)));
            }
        }
        run.heads.push(record.head);
    }

    /// Notes an error, and says from which segment on there may be more to read.
    fn blame(&mut self, source: &Source, error: StoreError) -> Option<u64> {
        let (path, damage) = match error {
            StoreError::Damaged { path, offset, damage } => {
                (path, Damage::Journal { offset, damage })
            }
            StoreError::JournalMissing(_) => {
                self.findings.push(source.finding(DIR, Damage::Missing));
                return None;
            }
            StoreError::Io { ref path, .. } => (path.clone(), unreadable(&error)),
            _ => return None,
        };
        let name = path.file_name()?.to_str()?;
        let first: u64 = name.parse().ok()?;
        if let Damage::Journal { damage: store::Damage::Gap { size, first }, .. } = damage
            && size < first
        {
            self.findings.push(source.finding(segment_path(size), Damage::Missing));
            return Some(first);
        }
        self.findings.push(source.finding(segment_path(first), damage));
        first.checked_add(1)
    }

    /// The leaf hash of an entry that the journal holds.
    pub fn leaf(&self, index: u64) -> Option<Hash> {
        self.runs.iter().find_map(|run| {
            let place = usize::try_from(index.checked_sub(run.start.size)?).ok()?;
            run.leaves.get(place).copied()
        })
    }

    /// Where the journal begins, the leaf hashes from there on, and the heads that its records
    /// name; `None` unless all of it could be read.
    pub fn whole(&self) -> Option<(TreeHead, &[Hash], &[TreeHead])> {
        match &self.runs[..] {
            [run] => Some((run.start, &run.leaves, &run.heads)),
            _ => None,
        }
    }

    /// The segment that the record after a tree of `size` entries is in, or should be.
    pub fn path_of(&self, size: u64) -> String {
        let known = self.segments.iter().rev().find(|&&first| first <= size);
        segment_path(known.copied().unwrap_or(size))
    }

    /// Makes the names of all segments known.
    pub fn list(&mut self, paths: &[String]) {
        let names = paths.iter().filter_map(|path| path.strip_prefix("journal/"));
        self.segments = names.filter_map(|name| name.parse().ok()).collect();
        self.segments.sort_unstable();
    }
}

/// The path of the segment with this first index.
pub(super) fn segment_path(first: u64) -> String {
    format!("{DIR}/{first:020}")
}
