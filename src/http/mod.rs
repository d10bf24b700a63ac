//! HTTP/1.1 as every server of ours speaks it: sockets with timers, heads in one spelling, bodies
//! that are bounded as they arrive. What is served is the caller's.
//!
//! What hyper itself cannot parse (a broken request line, a head over twice the limit, more than
//! 100 fields) it answers with a bare 400 or 431 and an end of the connection, before any of this.

pub mod body;
pub mod head;
mod pass;
mod problem;
pub mod share;
mod sockets;
mod wire;

pub use self::{
    pass::pass,
    problem::{OVERLOADED, Problem, other_method},
    sockets::{Connections, Drained, Listening, Timers, serve},
    wire::Framing,
};

/// The media type of what Prometheus scrapes.
pub const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Reads a number: decimal digits, no sign, no leading zero, at most `u64::MAX`.
pub fn decimal(text: &str) -> Option<u64> {
    // `parse` alone accepts `+1` and `01`.
    let strict =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if strict { text.parse().ok() } else { None }
}
