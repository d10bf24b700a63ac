//! Jejak: a transparency log for election tallies.

pub mod store;
