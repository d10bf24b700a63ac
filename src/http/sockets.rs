//! Sockets: accepting, bounding and ending connections.
//!
//! hyper's HTTP/1 connection builder is driven directly because it has timers for heads; axum's
//! own loop has none.

use std::{convert::Infallible, future::Future, pin::pin, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{HeaderValue, Method, Request, header},
    response::Response,
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tower::ServiceExt as _;

use super::{
    head::{HEADER_BYTES_MAX, well_framed},
    wire::{Framing, Wire},
};

/// Where the connection itself gives up on a head, with a bare 431: twice [`HEADER_BYTES_MAX`], so
/// that a head just over the limit still gets an answer that says why.
const HEADER_BYTES_HARD_MAX: usize = 2 * HEADER_BYTES_MAX;

/// Most header fields of a request; more is a bare 431.
const HEADER_FIELDS_MAX: usize = 100;

/// Bytes that a connection may buffer in each direction.
const CONNECTION_BUFFER_MAX: usize = 64 * 1024;

/// How long to wait after a failed accept: most often the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Times of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Timers {
    /// Time for a whole head to arrive, from the first moment that one may.
    pub head_time_max: Duration,
    /// Time that a client may take no byte of an answer; then the connection ends.
    pub write_stall_max: Duration,
    /// Time that requests in flight get when the server stops.
    pub shutdown_time_max: Duration,
}

/// A bound socket and what it serves.
#[derive(Debug)]
pub struct Listening {
    /// The socket.
    pub listener: TcpListener,
    /// What it serves.
    pub routes: Router,
    /// Connections at one time; further ones wait in the kernel's queue.
    pub connections_max: usize,
}

/// What is counted about connections.
#[derive(Clone, Debug, Default)]
pub struct Connections {
    /// Open now.
    pub open: Gauge,
    /// Ended in an error.
    pub cut: Counter,
}

impl Connections {
    /// Lets them be scraped.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("connections", "Open connections", self.open.clone());
        let help = "Connections that ended in an error";
        registry.register("connections_cut", help, self.cut.clone());
    }
}

/// How serving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were cut because they outlived
    /// [`shutdown_time_max`](Timers::shutdown_time_max).
    pub cut: usize,
}

/// Serves on all sockets until `shutdown` completes, then stops accepting and lets requests in
/// flight finish, for as long as the timers allow.
pub async fn serve(
    listening: Vec<Listening>,
    timers: Timers,
    counts: Connections,
    shutdown: impl Future<Output = ()>,
) -> Drained {
    let (stop, stopping) = watch::channel(false);
    let mut accepting = JoinSet::new();
    for one in listening {
        accepting.spawn(accept(one, timers, counts.clone(), stopping.clone()));
    }
    drop(stopping);
    shutdown.await;
    stop.send_replace(true);

    let mut cut = 0;
    while let Some(ended) = accepting.join_next().await {
        cut += ended.unwrap_or(0);
    }
    Drained { cut }
}

/// Accepts until told to stop, then waits for its connections. Returns how many it had to cut.
async fn accept(
    listening: Listening,
    timers: Timers,
    counts: Connections,
    mut stopping: watch::Receiver<bool>,
) -> usize {
    let Listening { listener, routes, connections_max } = listening;
    let places = Arc::new(Semaphore::new(connections_max));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stopped(&mut stopping) => break,
            (place, socket) = next(&places, &listener) => {
                let (counts, stopping) = (counts.clone(), stopping.clone());
                let one = Connection { timers, counts, stopping, place };
                connections.spawn(one.run(socket, routes.clone()));
            }
            // Ended connections are taken out as they end, so the set does not grow.
            Some(_) = connections.join_next() => {}
        }
    }
    // From here on the kernel refuses new connections.
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    let _ = timeout(timers.shutdown_time_max, all).await;
    let cut = connections.len();
    connections.shutdown().await;
    cut
}

/// The next connection, once there is a place for it. Cancelling it loses neither.
async fn next(
    places: &Arc<Semaphore>,
    listener: &TcpListener,
) -> (OwnedSemaphorePermit, TcpStream) {
    let place = Arc::clone(places).acquire_owned().await.expect("this semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((socket, _)) => return (place, socket),
            Err(error) => {
                tracing::warn!(%error, "accept");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, and with it the server: stop as well.
    let _ = stopping.wait_for(|stop| *stop).await;
}

/// An open connection, counted until it is dropped.
struct Open(Gauge);

impl Open {
    fn new(open: &Gauge) -> Self {
        open.inc();
        Self(open.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

struct Connection {
    timers: Timers,
    counts: Connections,
    stopping: watch::Receiver<bool>,
    /// Given back when the connection has ended.
    place: OwnedSemaphorePermit,
}

impl Connection {
    async fn run(self, socket: TcpStream, routes: Router) {
        let Self { timers, counts, mut stopping, place: _place } = self;
        let _open = Open::new(&counts.open);
        // An answer is one small write: it must not wait for an acknowledgement.
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%error, "set_nodelay");
        }
        let framing = Framing::default();
        let wire = Wire::new(socket, framing.clone(), timers.write_stall_max);
        let service = service_fn(move |request| answer(routes.clone(), framing.clone(), request));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(timers.head_time_max)
            .max_header_size(HEADER_BYTES_HARD_MAX)
            .max_headers(HEADER_FIELDS_MAX)
            .max_buf_size(CONNECTION_BUFFER_MAX)
            .serve_connection(TokioIo::new(wire), service);
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stopped(&mut stopping) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            counts.cut.inc();
            tracing::debug!(%error, "connection");
        }
    }
}

async fn answer(
    routes: Router,
    framing: Framing,
    mut request: Request<Incoming>,
) -> Result<Response, Infallible> {
    // What follows a chunked body is not scanned for ambiguous framing, so nothing may follow; nor
    // may a request follow one that others might read otherwise.
    let last = request.headers().contains_key(header::TRANSFER_ENCODING)
        || framing.is_ambiguous()
        || !well_framed(&request)
        || has_stray_body(&request);
    request.extensions_mut().insert(framing);
    let mut response = routes.oneshot(request.map(Body::new)).await?;
    if last {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// Whether a body comes with a method for which bodies have no meaning (RFC 9110, Section 9.3.1).
fn has_stray_body<B>(request: &Request<B>) -> bool {
    let none = |length: &HeaderValue| length.as_bytes() == b"0";
    let lengths = request.headers().get_all(header::CONTENT_LENGTH);
    *request.method() != Method::POST && !lengths.iter().all(none)
}
