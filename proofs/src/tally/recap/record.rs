//! What is hashed into the recap tree, byte for byte (SPEC.md, "Recap tree").

use alloc::{vec, vec::Vec};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    merkle::{HASH_LEN, Hash},
    tally::ids::Id,
};

/// Counters that every contest has beside its options.
pub const FIXED_COUNTERS: usize = 9;

/// What stands in the log about one contest in one unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Status {
    /// No official tally that has a value.
    None = 0,
    /// A counter-tally that is not withdrawn differs in votes, valid or invalid.
    Disputed = 1,
    /// The head is a revision.
    Corrected = 2,
    /// The head is the first tally of its chain.
    Single = 3,
}

/// The official tally that counts for a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordHead {
    /// Its index in the log.
    pub index: u64,
    /// Its leaf hash.
    pub leaf: Hash,
}

/// The record of one contest in one unit, absence included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Entries about the contest in this unit: tallies of every role, and attestations.
    pub entries: u32,
    /// The tally that counts; null exactly if the status is `none`.
    pub head: Option<RecordHead>,
    /// What became of the official head.
    pub status: Status,
    /// All those entries in order: from zeros, H(0x14 || trail || index || leaf hash) for each.
    pub trail: Hash,
}

/// A hash of 32 zeros, which no input has.
const ZEROS: Hash = Hash::new([0; HASH_LEN]);

impl Record {
    /// The record of a unit about which the log says nothing.
    pub const EMPTY: Self = Self { entries: 0, head: None, status: Status::None, trail: ZEROS };

    /// As it is hashed: status, entries, index and leaf hash of the head, trail.
    pub(super) fn to_bytes(self) -> [u8; RECORD_LEN] {
        let (index, leaf) = self.head.map_or((0, ZEROS), |head| (head.index, head.leaf));
        let mut bytes = [self.status as u8; RECORD_LEN];
        bytes[1..5].copy_from_slice(&self.entries.to_be_bytes());
        bytes[5..13].copy_from_slice(&index.to_be_bytes());
        bytes[13..45].copy_from_slice(leaf.as_bytes());
        bytes[45..].copy_from_slice(self.trail.as_bytes());
        bytes
    }

    /// The record that [`Record::to_bytes`] wrote.
    pub(super) fn from_bytes(bytes: &[u8; RECORD_LEN]) -> Self {
        let all = [Status::None, Status::Disputed, Status::Corrected, Status::Single];
        let status = all[usize::from(bytes[0])];
        let head = RecordHead { index: u64::from_be_bytes(array(bytes, 5)), leaf: hash(bytes, 13) };
        Self {
            entries: u32::from_be_bytes(array(bytes, 1)),
            head: (status != Status::None).then_some(head),
            status,
            trail: hash(bytes, 45),
        }
    }
}

/// Bytes of a record as it is hashed.
pub(super) const RECORD_LEN: usize = 77;

/// The `N` bytes from `start` on.
pub(super) fn array<const N: usize>(bytes: &[u8], start: usize) -> [u8; N] {
    bytes[start..start + N].try_into().expect("as long")
}

/// The hash from `start` on.
pub(super) fn hash(bytes: &[u8], start: usize) -> Hash {
    Hash::new(array(bytes, start))
}

/// The trail after one more entry about a unit.
///
/// A reader who holds all entries about a unit recomputes it: none was left out, none added.
pub fn trail_hash(trail: &Hash, index: u64, leaf: &Hash) -> Hash {
    let mut input = [0x14; 1 + HASH_LEN + 8 + HASH_LEN];
    input[1..33].copy_from_slice(trail.as_bytes());
    input[33..41].copy_from_slice(&index.to_be_bytes());
    input[41..].copy_from_slice(leaf.as_bytes());
    digest(&input)
}

/// The hash of a station: H(0x10 || contest || code || record || counters).
pub fn station_hash(contest: &str, code: &str, record: &Record, counters: &[u64]) -> Hash {
    Hasher::default().station(contest, code, &record.to_bytes(), counters)
}

/// An inner node between the children of a region, with the sums of both sides:
/// H(0x11 || left hash || left counters || right hash || right counters).
pub fn inner_hash(left: (&Hash, &[u64]), right: (&Hash, &[u64])) -> Hash {
    Hasher::default().inner(left, right)
}

/// What is below a region: how many children take part in the contest, and the root over them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Below {
    /// Children that take part in the contest.
    pub count: u32,
    /// The root over them, in the order of the register.
    pub root: Hash,
}

/// The hash of a region:
/// H(0x12 || contest || code || record of its declared recaps || u32 children || counters || root).
pub fn region_hash(
    contest: &str,
    code: &str,
    record: &Record,
    below: &Below,
    counters: &[u64],
) -> Hash {
    Hasher::default().region(contest, code, &record.to_bytes(), below, counters)
}

/// The hash of a contest, which binds the names of the options to their places:
/// H(0x13 || contest || u16 options || each option || leaf hash of the manifest || counters ||
/// hash of the unit at the top).
pub fn contest_hash(
    contest: &str,
    options: &[Id],
    manifest: &Hash,
    counters: &[u64],
    top: &Hash,
) -> Hash {
    let mut input = vec![0x13];
    write_text(contest, &mut input);
    input.extend_from_slice(&(options.len() as u16).to_be_bytes());
    options.iter().for_each(|option| write_text(option.as_str(), &mut input));
    input.extend_from_slice(manifest.as_bytes());
    write_counters(counters, &mut input);
    input.extend_from_slice(top.as_bytes());
    digest(&input)
}

/// Hashes one node after the other in one buffer: a whole tree has a million of them.
#[derive(Default)]
pub(super) struct Hasher(Vec<u8>);

impl Hasher {
    fn start(&mut self, prefix: u8) -> &mut Vec<u8> {
        self.0.clear();
        self.0.push(prefix);
        &mut self.0
    }

    /// As [`station_hash`].
    pub fn station(
        &mut self,
        contest: &str,
        code: &str,
        record: &[u8; RECORD_LEN],
        counters: &[u64],
    ) -> Hash {
        let input = self.start(0x10);
        write_text(contest, input);
        write_text(code, input);
        input.extend_from_slice(record);
        write_counters(counters, input);
        digest(input)
    }

    /// As [`inner_hash`].
    pub fn inner(&mut self, left: (&Hash, &[u64]), right: (&Hash, &[u64])) -> Hash {
        let input = self.start(0x11);
        for (hash, counters) in [left, right] {
            input.extend_from_slice(hash.as_bytes());
            write_counters(counters, input);
        }
        digest(input)
    }

    /// As [`region_hash`].
    pub fn region(
        &mut self,
        contest: &str,
        code: &str,
        record: &[u8; RECORD_LEN],
        below: &Below,
        counters: &[u64],
    ) -> Hash {
        let input = self.start(0x12);
        write_text(contest, input);
        write_text(code, input);
        input.extend_from_slice(record);
        input.extend_from_slice(&below.count.to_be_bytes());
        write_counters(counters, input);
        input.extend_from_slice(below.root.as_bytes());
        digest(input)
    }
}

/// Codes and ids have at most 32 bytes, so their length fits two.
fn write_text(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn write_counters(counters: &[u64], out: &mut Vec<u8>) {
    out.extend_from_slice(&(counters.len() as u16).to_be_bytes());
    let start = out.len();
    out.resize(start + 8 * counters.len(), 0);
    for (bytes, counter) in out[start..].as_chunks_mut().0.iter_mut().zip(counters) {
        *bytes = counter.to_be_bytes();
    }
}

fn digest(input: &[u8]) -> Hash {
    Hash::new(Sha256::digest(input).into())
}

/// Where the counters after the options stand, from the first of them on.
pub mod counter {
    /// Valid votes.
    pub const VALID: usize = 0;
    /// Invalid votes.
    pub const INVALID: usize = 1;
    /// Valid and invalid votes, as the forms give the sum.
    pub const TOTAL: usize = 2;
    /// Registered voters, as the register of the manifest in force has them.
    pub const REGISTERED: usize = 3;
    /// Stations.
    pub const STATIONS: usize = 4;
    /// Stations with a value.
    pub const REPORTED: usize = 5;
    /// Stations whose status is `corrected`.
    pub const CORRECTED: usize = 6;
    /// Stations whose status is `disputed`.
    pub const DISPUTED: usize = 7;
    /// Numbers of votes, valid, invalid and total that are unreadable; each counts as zero.
    pub const UNREADABLE: usize = 8;
}
