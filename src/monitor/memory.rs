//! What a monitor remembers: the newest signed head, every leaf hash under it, how far the audit
//! is, and what it found.
//!
//! In its directory: `checkpoint` (the whole signed head), `leaves` (32 bytes an entry), `ledger`
//! and `documents` (snapshots, only there to save time), `current` (what was said of the state of
//! affairs, so that it is not said twice), `register/<sha256>`, `evidence/`, `reports/`, and in
//! `db` one record of progress with the findings, and one of the heads that others were shown.
//! What is derived may be lost; the rest is read whole or not at all.

use std::io;

use jejak_proofs::{
    merkle::{Frontier, HASH_LEN, Hash, NodeId, TILE_WIDTH, TreeHead, sha256},
    note::{Checkpoint, Policy, UnverifiedCheckpoint},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};

use super::{elsewhere::Seen, finding::Finding, report::Summary};
use crate::state::{HashFile, State, StateError};

/// Findings in one value of the database.
const BLOCK_LEN: usize = 32;

/// Leaf hashes read at once: 2 MiB.
const LEAVES_AT_ONCE: usize = 1 << 16;

const RECORD: &str = "monitor";
const CHECKPOINT: &str = "checkpoint";
const SEEN: &str = "elsewhere";

/// Why a directory cannot be used to follow this log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// The state cannot be read or written.
    #[error(transparent)]
    State(#[from] StateError),
    /// The directory follows another log, or the same one from another beginning.
    #[error("the state is of another log, or the policy pins another genesis")]
    OtherLog,
    /// The head that was stored is not signed by the log keys of the policy.
    #[error("the policy no longer lists the key that signed the stored head")]
    OtherKeys,
}

/// How far the monitor is. Changed together with the findings, or not at all.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Record {
    origin: String,
    genesis: Hash,
    /// The newest head whose leaf hashes are all in `leaves`, as it was signed.
    followed: Option<String>,
    /// Entries whose findings are stored.
    audited: u64,
    /// Blocks of findings stored.
    blocks: u64,
}

pub(super) struct Memory {
    state: State,
    record: Record,
    followed: Option<Checkpoint>,
    frontier: Frontier,
    leaves: HashFile,
    summary: Summary,
}

impl Memory {
    /// Reads what is remembered of the log `origin`, and checks that it is whole.
    pub fn open(
        state: State,
        policy: &Policy,
        origin: &str,
        genesis: Hash,
    ) -> Result<Self, MemoryError> {
        let head = state.read(CHECKPOINT)?;
        let record = match state.get(RECORD)? {
            Some(bytes) => decode::<Record>(RECORD, &bytes)?,
            // The record is written before anything else.
            None if head.is_some() => return Err(StateError::damaged("db").into()),
            None => {
                let origin = origin.to_owned();
                let record = Record { origin, genesis, followed: None, audited: 0, blocks: 0 };
                state.commit(&[(RECORD.to_owned(), encode(&record))])?;
                record
            }
        };
        if record.origin != origin || record.genesis != genesis {
            return Err(MemoryError::OtherLog);
        }
        let followed = match &record.followed {
            Some(note) => Some(stored_head(RECORD, note.as_bytes(), policy)?),
            None => None,
        };
        check_floor(head.as_deref(), followed.as_ref(), policy)?;
        let leaves = state.hashes("leaves")?;
        let size = followed.as_ref().map_or(0, |head| head.head().size);
        // A longer file was on its way to a head that was not reached; `discard` cuts it.
        if leaves.len() < size || record.audited > size {
            return Err(StateError::damaged("leaves").into());
        }
        let mut frontier = Frontier::new();
        each_leaf(&leaves, 0, size, |_, leaf| frontier.push(leaf))?;
        if followed.as_ref().is_some_and(|head| head.head() != frontier.head()) {
            return Err(StateError::damaged("leaves").into());
        }
        let mut summary = Summary::default();
        let mut blocks = 0;
        for block in state.scan("finding/") {
            blocks += 1;
            let findings: Vec<Finding> = decode("finding", &block?)?;
            findings.iter().for_each(|finding| summary.add(finding.rule));
        }
        if blocks != record.blocks {
            return Err(StateError::damaged("findings").into());
        }
        Ok(Self { state, record, followed, frontier, leaves, summary })
    }

    /// The newest head that was followed.
    pub fn followed(&self) -> Option<&Checkpoint> {
        self.followed.as_ref()
    }

    /// The tree under that head.
    pub fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    /// Entries whose findings are stored.
    pub fn audited(&self) -> u64 {
        self.record.audited
    }

    /// Counts of every finding stored.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Every finding stored, in the order in which they were made.
    pub fn findings(&self) -> impl Iterator<Item = Result<Finding, StateError>> {
        self.state.scan("finding/").flat_map(|block| {
            match block.and_then(|block| decode::<Vec<Finding>>("finding", &block)) {
                Ok(findings) => findings.into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            }
        })
    }

    /// Forgets leaf hashes that were appended on the way to a head that was not reached.
    pub fn discard(&mut self) -> Result<(), StateError> {
        self.leaves.truncate(self.frontier.size())
    }

    /// Appends leaf hashes on the way to the next head; nothing counts until [`Memory::follow`].
    pub fn append(&mut self, leaves: &[Hash]) -> Result<(), StateError> {
        self.leaves.append(leaves)
    }

    /// Makes `head` the newest followed one; `frontier` is over all leaf hashes appended.
    pub fn follow(&mut self, head: Checkpoint, frontier: Frontier) -> Result<(), StateError> {
        debug_assert_eq!((head.head(), self.leaves.len()), (frontier.head(), frontier.size()));
        self.leaves.sync()?;
        let followed = Some(head.note().to_owned());
        let record = Record { followed, ..self.record.clone() };
        self.state.commit(&[(RECORD.to_owned(), encode(&record))])?;
        // The record counts; the file beside it shows if the database ever loses it.
        self.state.write(CHECKPOINT, &[head.note().as_bytes()])?;
        self.record = record;
        self.followed = Some(head);
        self.frontier = frontier;
        Ok(())
    }

    /// Stores findings, and that the first `audited` entries have been judged.
    pub fn progress(&mut self, audited: u64, findings: &[Finding]) -> Result<(), StateError> {
        let mut record = Record { audited, ..self.record.clone() };
        let mut values = Vec::new();
        for block in findings.chunks(BLOCK_LEN) {
            values.push((format!("finding/{:016x}", record.blocks), encode(&block)));
            record.blocks += 1;
        }
        values.push((RECORD.to_owned(), encode(&record)));
        self.state.commit(&values)?;
        self.record = record;
        findings.iter().for_each(|finding| self.summary.add(finding.rule));
        Ok(())
    }

    /// What is remembered of the heads that others were shown.
    pub fn seen(&self) -> Result<Seen, StateError> {
        let bytes = self.state.get(SEEN)?;
        bytes.map_or_else(|| Ok(Seen::default()), |bytes| decode(SEEN, &bytes))
    }

    /// Remembers it, if it is something else than before.
    pub fn see(&self, seen: &Seen) -> Result<(), StateError> {
        if self.seen()? == *seen {
            return Ok(());
        }
        self.state.commit(&[(SEEN.to_owned(), encode(seen))])
    }

    /// Leaf hashes from `start` on.
    pub fn leaves(&self, start: u64, count: usize) -> Result<Vec<Hash>, StateError> {
        self.leaves.read(start, count)
    }

    /// The head that the first `size` entries had.
    pub fn head_at(&self, size: u64) -> Result<TreeHead, StateError> {
        let mut frontier = Frontier::new();
        each_leaf(&self.leaves, 0, size, |_, leaf| frontier.push(leaf))?;
        Ok(frontier.head())
    }

    /// The heads that the first entries had, for sizes that rise.
    pub fn heads_at(&self, sizes: &[u64]) -> Result<Vec<TreeHead>, StateError> {
        let mut frontier = Frontier::new();
        let mut heads = Vec::with_capacity(sizes.len());
        for size in sizes {
            each_leaf(&self.leaves, frontier.size(), *size, |_, leaf| frontier.push(leaf))?;
            heads.push(frontier.head());
        }
        Ok(heads)
    }

    /// The hash of a complete subtree.
    pub fn node(&self, node: NodeId) -> Result<Hash, StateError> {
        let mut frontier = Frontier::new();
        let (start, end) = (node.index << node.level, (node.index + 1) << node.level);
        each_leaf(&self.leaves, start, end, |_, leaf| frontier.push(leaf))?;
        Ok(frontier.head().root)
    }

    /// The first index below `before` of an entry with this leaf hash.
    pub fn index_of(&self, wanted: Hash, before: u64) -> Result<Option<u64>, StateError> {
        let mut found = None;
        each_leaf(&self.leaves, 0, before, |index, leaf| {
            if leaf == wanted {
                found.get_or_insert(index);
            }
        })?;
        Ok(found)
    }

    /// A register by its hash, if it was kept and is whole.
    pub fn register(&self, sha: Hash) -> Result<Option<Vec<u8>>, StateError> {
        let bytes = self.state.read(&format!("register/{sha}"))?;
        Ok(bytes.filter(|bytes| sha256(bytes) == sha))
    }

    /// Keeps a register.
    pub fn keep_register(&self, sha: Hash, bytes: &[u8]) -> Result<(), StateError> {
        self.state.write(&format!("register/{sha}"), &[bytes])
    }

    /// Writes a file for others to read, and returns its name in the directory.
    pub fn publish(&self, name: String, bytes: &str) -> Result<String, StateError> {
        self.state.write(&name, &[bytes.as_bytes()])?;
        Ok(name)
    }

    /// Keeps what is derived from the log, in a file of its own that ends in the SHA-256 of the
    /// rest.
    pub fn save_derived(
        &self,
        name: &str,
        fill: impl FnOnce(&mut dyn io::Write) -> io::Result<()>,
    ) -> Result<(), StateError> {
        self.state.write_with(name, |file| {
            let mut hashed = Hashed { file, digest: Sha256::new() };
            fill(&mut hashed)?;
            let Hashed { file, digest } = hashed;
            file.write_all(&digest.finalize())
        })
    }

    /// What was kept; `None` if there is nothing or it is not whole, since the log can be replayed.
    pub fn derived(&self, name: &str) -> Result<Option<Vec<u8>>, StateError> {
        let Some(mut bytes) = self.state.read(name)? else { return Ok(None) };
        let whole = bytes
            .split_last_chunk()
            .is_some_and(|(kept, digest)| sha256(kept).as_bytes() == digest);
        bytes.truncate(bytes.len().saturating_sub(HASH_LEN));
        Ok(whole.then_some(bytes))
    }
}

/// What goes into a file, hashed on the way.
struct Hashed<'a> {
    file: &'a mut dyn io::Write,
    digest: Sha256,
}

impl io::Write for Hashed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.digest.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The file `checkpoint` is the record's head, or the one before it if a crash came between.
fn check_floor(
    file: Option<&[u8]>,
    followed: Option<&Checkpoint>,
    policy: &Policy,
) -> Result<(), MemoryError> {
    let Some(file) = file else { return Ok(()) };
    let floor = stored_head(CHECKPOINT, file, policy)?.head();
    match followed.map(Checkpoint::head) {
        Some(head) if floor == head || floor.size < head.size => Ok(()),
        // The database has forgotten what the file still knows.
        _ => Err(StateError::damaged("db").into()),
    }
}

fn stored_head(name: &str, note: &[u8], policy: &Policy) -> Result<Checkpoint, MemoryError> {
    let head = UnverifiedCheckpoint::parse(note).map_err(|_| StateError::damaged(name))?;
    policy.verify_log(head).map_err(|_| MemoryError::OtherKeys)
}

fn each_leaf(
    leaves: &HashFile,
    start: u64,
    end: u64,
    mut visit: impl FnMut(u64, Hash),
) -> Result<(), StateError> {
    let mut index = start;
    while index < end {
        let count = usize::try_from(end - index).unwrap_or(usize::MAX).min(LEAVES_AT_ONCE);
        let read = leaves.read(index, count)?;
        if read.is_empty() {
            return Err(StateError::damaged("leaves"));
        }
        for leaf in read {
            visit(index, leaf);
            index += 1;
        }
    }
    Ok(())
}

fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("plain data in memory")
}

fn decode<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, StateError> {
    postcard::from_bytes(bytes).map_err(|_| StateError::damaged(name))
}

/// The bundle that holds entry `index` in a tree of `size`, with its width there.
pub fn bundle_of(index: u64, size: u64) -> jejak_proofs::merkle::BundleId {
    let full = u64::from(TILE_WIDTH);
    let place = index / full;
    let width = u16::try_from(size - place * full).unwrap_or(TILE_WIDTH).min(TILE_WIDTH);
    jejak_proofs::merkle::BundleId { index: place, width }
}
