//! Jejak: a transparency log for election tallies.

pub mod agent;
pub mod audit;
pub mod cli;
pub mod client;
pub mod clock;
pub mod cosign;
pub mod http;
pub mod log;
pub mod mirror;
pub mod monitor;
pub mod server;
pub mod state;
pub mod store;
pub mod witness;
