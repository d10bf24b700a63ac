//! Jejak: a transparency log for election tallies.

pub mod cli;
pub mod client;
pub mod clock;
pub mod monitor;
pub mod state;
