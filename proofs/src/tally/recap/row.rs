//! The row of a unit in the table of its contest, as bytes: what is hashed stands as it is hashed,
//! and one page holds all that an entry changes.
//!
//! ```text
//! station: record || u32 newest link || u16 numbers that are null || u32 each number, null as 0
//! region:  record || u32 newest link || hash || u64 each counter
//! ```
//!
//! Numbers are votes in the order of the options, valid, invalid and total.

use alloc::{vec, vec::Vec};

use super::{
    FIXED_COUNTERS, Record, Values,
    record::{RECORD_LEN, array, hash},
};
use crate::merkle::{HASH_LEN, Hash, TreeHead};

/// No entry: the end of a unit's list of entries.
pub(super) const NO_LINK: u32 = u32::MAX;

/// Where the status stands in a row.
pub(super) const STATUS: usize = 0;
const REST: usize = RECORD_LEN + 4;
const NUMBERS: usize = REST + 2;
const COUNTERS: usize = REST + HASH_LEN;

/// The row of a station about which the log says nothing.
pub(super) fn empty_station(options: usize) -> Vec<u8> {
    empty(NUMBERS + 4 * (options + 3))
}

/// The row of a region about which and below which the log says nothing.
pub(super) fn empty_region(options: usize) -> Vec<u8> {
    let mut row = empty(COUNTERS + 8 * (options + FIXED_COUNTERS));
    row[REST..COUNTERS].copy_from_slice(TreeHead::EMPTY.root.as_bytes());
    row
}

fn empty(len: usize) -> Vec<u8> {
    let mut row = vec![0; len];
    set_record(&mut row, &Record::EMPTY);
    set_link(&mut row, NO_LINK);
    row
}

/// The record as it is hashed.
pub(super) fn record_bytes(row: &[u8]) -> &[u8; RECORD_LEN] {
    row.first_chunk().expect("a row begins with a record")
}

pub(super) fn record(row: &[u8]) -> Record {
    Record::from_bytes(record_bytes(row))
}

pub(super) fn set_record(row: &mut [u8], record: &Record) {
    row[..RECORD_LEN].copy_from_slice(&record.to_bytes());
}

/// The newest entry about the unit, in the list of all.
pub(super) fn link(row: &[u8]) -> u32 {
    u32::from_be_bytes(array(row, RECORD_LEN))
}

/// Puts another link in place of the one before, which it returns.
pub(super) fn set_link(row: &mut [u8], new: u32) -> u32 {
    let before = link(row);
    row[RECORD_LEN..REST].copy_from_slice(&new.to_be_bytes());
    before
}

/// Of a station: its numbers.
pub(super) fn numbers(row: &[u8]) -> impl ExactSizeIterator<Item = u64> {
    row[NUMBERS..].as_chunks().0.iter().map(|number| u64::from(u32::from_be_bytes(*number)))
}

/// Of a station: how many of its numbers are null.
pub(super) fn unreadable(row: &[u8]) -> u16 {
    u16::from_be_bytes(array(row, REST))
}

/// Of a station: the numbers of the tally that counts, none without one.
pub(super) fn set_numbers(row: &mut [u8], values: Option<Values<'_>>) {
    row[REST..].fill(0);
    let mut unreadable = 0_u16;
    let numbers = row[NUMBERS..].as_chunks_mut().0;
    for (number, given) in numbers.iter_mut().zip(values.into_iter().flat_map(Values::counts)) {
        unreadable += u16::from(given.is_none());
        *number = given.unwrap_or(0).to_be_bytes();
    }
    row[REST..NUMBERS].copy_from_slice(&unreadable.to_be_bytes());
}

/// Of a region: its hash.
pub(super) fn region_hash(row: &[u8]) -> Hash {
    hash(row, REST)
}

/// Of a region: its counters.
pub(super) fn sums(row: &[u8]) -> impl ExactSizeIterator<Item = u64> {
    row[COUNTERS..].as_chunks().0.iter().map(|sum| u64::from_be_bytes(*sum))
}

/// Of a region: what was reckoned for it.
pub(super) fn set_region(row: &mut [u8], hash: &Hash, sums: &[u64]) {
    row[REST..COUNTERS].copy_from_slice(hash.as_bytes());
    for (bytes, sum) in row[COUNTERS..].as_chunks_mut().0.iter_mut().zip(sums) {
        *bytes = sum.to_be_bytes();
    }
}
