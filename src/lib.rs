//! Jejak: a transparency log for election tallies.

pub mod cli;
pub mod clock;
pub mod store;
