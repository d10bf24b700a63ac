//! Jejak: a transparency log for election tallies.

pub mod client;
pub mod server;
