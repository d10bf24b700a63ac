//! The mirror over HTTP: the paths of C2SP tlog-tiles under the SHA-256 of each origin (SPEC.md,
//! "Mirror").
//!
//! [`router`] is a plain tower service, which tests call without a socket; [`serve`] binds it.

use std::{fmt::Write as _, future::Future, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderName, HeaderValue, header},
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use jejak_proofs::merkle::{HASH_LEN, Hash, TILE_WIDTH, TilePath};
use serde_json::json;
use tokio::{net::TcpListener, sync::Semaphore, task::spawn_blocking};

use super::{Mirror, follow::Followed};
use crate::{
    audit::{Damaged, Replica},
    clock,
    http::{
        self, Drained, Listening, Problem, Timers, other_method,
        share::{Answers, Overloaded},
    },
};

/// Connections at one time; further ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 4_096;

/// Connections on the operator's listener, counted apart so that a flood does not blind her.
const OPERATOR_CONNECTIONS_MAX: usize = 64;

/// Bytes of all answers that clients are still taking; then 503. The largest is a register.
const ANSWERS_BYTES_MAX: usize = 256 << 20;

/// Reads of files at one time; further ones wait their turn.
const READS_MAX: usize = 64;

/// Time from a request's head to the head of its answer; then 503.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(30);

/// Times of a connection.
const TIMERS: Timers = Timers {
    head_time_max: Duration::from_secs(5),
    write_stall_max: Duration::from_secs(10),
    shutdown_time_max: Duration::from_secs(3),
};

/// Bytes of a full tile.
const TILE_BYTES_MAX: u64 = TILE_WIDTH as u64 * HASH_LEN as u64;

/// Size of the tree that a checkpoint speaks about.
const SIZE: HeaderName = HeaderName::from_static("jejak-size");
const TEXT: (HeaderName, &str) = (header::CONTENT_TYPE, "text/plain; charset=utf-8");
const BYTES: (HeaderName, &str) = (header::CONTENT_TYPE, "application/octet-stream");
const JSON: (HeaderName, &str) = (header::CONTENT_TYPE, "application/json");
const METRICS: (HeaderName, &str) = (header::CONTENT_TYPE, http::METRICS_TYPE);
/// Caching of what never changes under its name.
const IMMUTABLE: (HeaderName, &str) =
    (header::CACHE_CONTROL, "public, max-age=31536000, immutable");
/// Caching of what changes with every pull.
const SECOND: (HeaderName, &str) = (header::CACHE_CONTROL, "max-age=1");

const NOT_FOUND: Problem =
    Problem::new(404, "not_found", "there is no such thing, or it was not copied yet");
const MALFORMED: Problem =
    Problem::new(400, "malformed", "the request is not in the form this route asks for");
const INTERNAL: Problem = Problem::new(500, "internal", "a failure of the mirror");
const UNAVAILABLE: Problem =
    Problem::new(503, "unavailable", "a log was not copied yet, or is not followed any more")
        .retry_after(5);

/// What the routes share.
struct Shared {
    mirror: Arc<Mirror>,
    answers: Answers,
    reads: Semaphore,
}

type Asked = State<Arc<Shared>>;
type Answer = Result<Response, Problem>;

/// The public routes.
pub fn router(mirror: &Arc<Mirror>) -> Router {
    let routes = Router::new()
        .route("/", get(logs).fallback(other_method))
        .route("/{id}/checkpoint", get(checkpoint).fallback(other_method))
        .route("/{id}/tile/{*path}", get(tile).fallback(other_method))
        .route("/{id}/register/{sha256}", get(register).fallback(other_method))
        .route("/healthz", get(healthy).fallback(other_method))
        .route("/readyz", get(ready).fallback(other_method));
    gated(routes, mirror)
}

/// The routes of the operator's own listener.
pub fn operator_router(mirror: &Arc<Mirror>) -> Router {
    let routes = Router::new()
        .route("/metrics", get(scrape).fallback(other_method))
        .route("/healthz", get(healthy).fallback(other_method))
        .route("/readyz", get(ready).fallback(other_method));
    gated(routes, mirror)
}

fn gated(routes: Router<Arc<Shared>>, mirror: &Arc<Mirror>) -> Router {
    let shared = Arc::new(Shared {
        mirror: Arc::clone(mirror),
        answers: Answers::new(ANSWERS_BYTES_MAX),
        reads: Semaphore::new(READS_MAX),
    });
    let pass = |request, next| http::pass(REQUEST_TIME_MAX, request, next);
    routes.fallback(nothing).layer(middleware::from_fn(pass)).with_state(shared)
}

/// Serves until `shutdown` completes; then no request is in flight.
pub async fn serve(
    mirror: &Arc<Mirror>,
    public: TcpListener,
    operator: Option<TcpListener>,
    shutdown: impl Future<Output = ()>,
) -> Drained {
    let public =
        Listening { listener: public, routes: router(mirror), connections_max: CONNECTIONS_MAX };
    let operator = operator.map(|listener| Listening {
        listener,
        routes: operator_router(mirror),
        connections_max: OPERATOR_CONNECTIONS_MAX,
    });
    let listening = std::iter::once(public).chain(operator).collect();
    http::serve(listening, TIMERS, mirror.metrics.connections.clone(), shutdown).await
}

/// Why there are no bytes.
enum ReadError {
    Damaged,
    Overloaded,
    Nothing,
}

impl From<Damaged> for ReadError {
    fn from(_: Damaged) -> Self {
        // The operator's log names the file.
        Self::Damaged
    }
}

impl From<Overloaded> for ReadError {
    fn from(_: Overloaded) -> Self {
        Self::Overloaded
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Damaged => INTERNAL,
            ReadError::Overloaded => http::OVERLOADED,
            ReadError::Nothing => NOT_FOUND,
        }
    }
}

impl Shared {
    fn log(&self, id: &str) -> Result<&Arc<Followed>, Problem> {
        let id: Hash = id.parse().map_err(|_| NOT_FOUND)?;
        self.mirror.log(id).ok_or(NOT_FOUND)
    }

    /// Reads from the copy of a log on a thread that may wait for a disk. `memory` is what that
    /// may take.
    async fn look_up(
        &self,
        id: &str,
        memory: impl Fn(&Replica) -> u64 + Send + 'static,
        read: impl Fn(&Replica) -> Result<Option<Vec<u8>>, Damaged> + Send + 'static,
    ) -> Result<Bytes, Problem> {
        let log = Arc::clone(self.log(id)?);
        let answers = self.answers.clone();
        let _turn = self.reads.acquire().await.map_err(|_| INTERNAL)?;
        let look = move || {
            let view = log.view().ok_or(ReadError::Nothing)?;
            let share = answers.share(memory(&view))?;
            let bytes = log.read(read).ok_or(ReadError::Nothing)??;
            bytes.map(|bytes| share.hold(bytes)).ok_or(ReadError::Nothing)
        };
        spawn_blocking(look).await.map_err(|_| INTERNAL)?.map_err(Problem::from)
    }
}

/// `GET /<id>/checkpoint`
async fn checkpoint(State(shared): Asked, Path(id): Path<String>) -> Answer {
    let view = shared.log(&id)?.view().ok_or(NOT_FOUND)?;
    let size = (SIZE, HeaderValue::from(view.head().size));
    Ok(([size], [TEXT, SECOND], view.checkpoint().note().to_owned()).into_response())
}

/// `GET /<id>/tile/...`: a tile or a bundle, as C2SP tlog-tiles names them.
async fn tile(State(shared): Asked, Path((id, path)): Path<(String, String)>) -> Answer {
    let path: TilePath = format!("tile/{path}").parse().map_err(|_| MALFORMED)?;
    let memory = move |view: &Replica| match path {
        TilePath::Tile(_) => TILE_BYTES_MAX,
        TilePath::Bundle(id) => view.bundle_memory(id),
    };
    let read = move |view: &Replica| match path {
        TilePath::Tile(id) => view.tile(id),
        TilePath::Bundle(id) => view.bundle(id),
    };
    let bytes = shared.look_up(&id, memory, read).await?;
    Ok(([BYTES, IMMUTABLE], bytes).into_response())
}

/// `GET /<id>/register/<sha256>`
async fn register(State(shared): Asked, Path((id, sha256)): Path<(String, String)>) -> Answer {
    let sha256: Hash = sha256.parse().map_err(|_| MALFORMED)?;
    let memory = move |view: &Replica| view.register_memory(&sha256);
    let bytes = shared.look_up(&id, memory, move |view| view.register(&sha256)).await?;
    Ok(([BYTES, IMMUTABLE], bytes).into_response())
}

/// `GET /`
async fn logs(State(shared): Asked) -> Response {
    let each = |(origin, id): (&str, Hash)| json!({"id": id, "origin": origin});
    let logs: Vec<_> = shared.mirror.logs().map(each).collect();
    ([JSON], json!({ "logs": logs }).to_string()).into_response()
}

/// `GET /healthz`: the process answers.
async fn healthy() -> Response {
    ([TEXT], "ok\n").into_response()
}

/// `GET /readyz`: every log has a copy that is served and followed. How far each is, and how old.
async fn ready(State(shared): Asked) -> Answer {
    let mut text = String::from("ok\n");
    for log in shared.mirror.logs.values() {
        text.push_str(&standing(log).ok_or(UNAVAILABLE)?);
    }
    Ok(([TEXT], text).into_response())
}

/// A line for an operator.
fn standing(log: &Followed) -> Option<String> {
    let view = log.view()?;
    let status = log.status();
    if status.stuck {
        return None;
    }
    let mut line = format!("{}: {} entries", log.origin(), view.head().size);
    // Writing to a string cannot fail.
    if let Ok(Some(time)) = log.policy().vouched_time(view.checkpoint()) {
        let age = (clock::now_ms() / 1_000).saturating_sub(time);
        let _ = write!(line, ", signed {age} s ago");
    }
    let _ = match status.agreed {
        Some(agreed) => write!(line, ", pulled {} s ago", agreed.elapsed().as_secs()),
        None => write!(line, ", not pulled since the start"),
    };
    if let Some(trouble) = &status.trouble {
        let _ = write!(line, "; {trouble}");
    }
    line.push('\n');
    Some(line)
}

/// `GET /metrics`
async fn scrape(State(shared): Asked) -> Answer {
    let text = shared.mirror.metrics.scrape(shared.mirror.logs.values()).map_err(|_| INTERNAL)?;
    Ok(([METRICS], text).into_response())
}

async fn nothing() -> Problem {
    NOT_FOUND
}
