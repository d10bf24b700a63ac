//! Every limit of the server, by name. SPEC.md repeats the ones that a client can meet.

use std::time::Duration;

use crate::http::{Timers, body::BodyTimes};
pub use crate::{
    http::head::{HEADER_BYTES_MAX, URI_LEN_MAX},
    log::{BATCH_BYTES_MAX, BATCH_ENTRIES_MAX},
};

/// Most ranges that one batch proof is asked for.
pub const PROOF_RANGES_MAX: usize = 16;

/// Most leaves that one batch proof is asked for.
pub const PROOF_LEAVES_MAX: u64 = 1_024;

/// Times and sizes that tests make small. [`Limits::default`] is what SPEC.md documents.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Time for a whole head to arrive, from the first moment that one may; so it is also the
    /// time that an idle connection is kept.
    pub head_time_max: Duration,
    /// Time for a whole body to arrive; then 408.
    pub body_time_max: Duration,
    /// Time from a request's head to the head of its answer; then 503.
    pub request_time_max: Duration,
    /// Time that a client may take no byte of an answer; then the connection ends.
    pub write_stall_max: Duration,
    /// Time that requests in flight get when the server stops. What waits in the logs is sequenced
    /// and synced after that, and the process is to be gone within 5 s.
    pub shutdown_time_max: Duration,
    /// Connections on the public listener; further ones wait in the kernel's queue.
    pub connections_max: usize,
    /// Connections on the operator's listener, counted apart so that a flood does not blind her.
    pub operator_connections_max: usize,
    /// Bytes of all bodies held at one time; then 503.
    pub bodies_bytes_max: usize,
    /// Bytes of all tiles, bundles and batch answers that clients are still taking; then 503. No
    /// less than the largest bundle, 16 MiB.
    pub answers_bytes_max: usize,
    /// Reads of files at one time; further ones wait their turn.
    pub reads_max: usize,
    /// Time that the rest of a refused body is still taken in.
    pub linger_time_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_time_max: Duration::from_secs(5),
            body_time_max: Duration::from_secs(10),
            request_time_max: Duration::from_secs(30),
            write_stall_max: Duration::from_secs(10),
            shutdown_time_max: Duration::from_secs(3),
            connections_max: 4_096,
            operator_connections_max: 64,
            bodies_bytes_max: 256 * 1024 * 1024,
            answers_bytes_max: 256 * 1024 * 1024,
            reads_max: 64,
            linger_time_max: Duration::from_secs(1),
        }
    }
}

impl Limits {
    /// The times of a connection.
    pub(super) fn timers(&self) -> Timers {
        Timers {
            head_time_max: self.head_time_max,
            write_stall_max: self.write_stall_max,
            shutdown_time_max: self.shutdown_time_max,
        }
    }

    /// The times of a body.
    pub(super) fn body_times(&self) -> BodyTimes {
        BodyTimes { body_time_max: self.body_time_max, linger_time_max: self.linger_time_max }
    }
}
