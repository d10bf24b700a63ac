//! What is true about a Jejak log.
//!
//! Four rooms: [`merkle`] (hashes, proofs, tiles), [`note`] (signed notes, checkpoints, policies,
//! receipts), [`tally`] (entries, mandates, arithmetic rules, the ledger) and, over them,
//! [`evidence`] (what convicts a log offline). Nothing here reads a file, a socket or a clock, so a
//! monitor can judge a log without running the log's code.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod evidence;
pub mod merkle;
pub mod note;
pub mod tally;
