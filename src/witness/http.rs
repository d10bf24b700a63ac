//! The witness over HTTP: the one place of its status codes (SPEC.md, "Witness").
//!
//! [`router`] is a plain tower service, which tests call without a socket; [`serve`] binds it.

use std::{future::Future, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Path, Request, State},
    http::{HeaderName, StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use jejak_proofs::merkle::Hash;
use tokio::{net::TcpListener, sync::Semaphore, task::spawn_blocking};

use super::{Answer, Witness, judge::Refusal};
use crate::http::{
    self, Drained, Listening, OVERLOADED, Problem, Timers,
    body::{self, Accepts, BodyTimes},
    other_method,
};

/// Most bytes of a request; more is 413.
pub const BODY_LEN_MAX: usize = 1 << 20;

/// Bytes of all bodies held at one time; then 503.
const BODIES_BYTES_MAX: usize = 64 << 20;

/// Requests that are judged at one time; further ones wait their turn.
const TURNS_MAX: usize = 256;

/// Connections at one time; further ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 1_024;

/// Connections on the operator's listener, counted apart so that a flood does not blind her.
const OPERATOR_CONNECTIONS_MAX: usize = 64;

/// Time from a request's head to the head of its answer; then 503.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(30);

/// Times of a connection. A log keeps its connection for a minute between two heads.
const TIMERS: Timers = Timers {
    head_time_max: Duration::from_secs(75),
    write_stall_max: Duration::from_secs(10),
    shutdown_time_max: Duration::from_secs(3),
};

/// Times of a body.
const BODY_TIMES: BodyTimes =
    BodyTimes { body_time_max: Duration::from_secs(10), linger_time_max: Duration::from_secs(1) };

/// C2SP tlog-witness has no media type for requests, so any is taken, and none.
const ADD_CHECKPOINT: Accepts = Accepts { media_type: None, len_max: BODY_LEN_MAX };

const TEXT: (HeaderName, &str) = (header::CONTENT_TYPE, "text/plain; charset=utf-8");
const SIZE: (HeaderName, &str) = (header::CONTENT_TYPE, "text/x.tlog.size");
/// Caching of what changes with every cosignature.
const SECOND: (HeaderName, &str) = (header::CACHE_CONTROL, "max-age=1");

/// What the routes share.
struct Shared {
    witness: Arc<Witness>,
    bodies: Arc<Semaphore>,
    turns: Semaphore,
}

/// The public routes.
pub fn router(witness: &Arc<Witness>) -> Router {
    let routes = Router::new()
        .route("/add-checkpoint", post(add_checkpoint).fallback(other_method))
        .route("/{id}/checkpoint", get(monitored).fallback(other_method))
        .route("/healthz", get(healthy).fallback(other_method));
    gated(routes, witness)
}

/// The routes of the operator's own listener.
pub fn operator_router(witness: &Arc<Witness>) -> Router {
    let routes = Router::new()
        .route("/metrics", get(scrape).fallback(other_method))
        .route("/healthz", get(healthy).fallback(other_method));
    gated(routes, witness)
}

fn gated(routes: Router<Arc<Shared>>, witness: &Arc<Witness>) -> Router {
    let shared = Arc::new(Shared {
        witness: Arc::clone(witness),
        bodies: Arc::new(Semaphore::new(BODIES_BYTES_MAX)),
        turns: Semaphore::new(TURNS_MAX),
    });
    let pass = |request, next| http::pass(REQUEST_TIME_MAX, request, next);
    routes.fallback(nothing).layer(middleware::from_fn(pass)).with_state(shared)
}

/// Serves until `shutdown` completes or the witness must not go on; then no request is in flight.
pub async fn serve(
    witness: &Arc<Witness>,
    public: TcpListener,
    operator: Option<TcpListener>,
    shutdown: impl Future<Output = ()>,
) -> Drained {
    let public =
        Listening { listener: public, routes: router(witness), connections_max: CONNECTIONS_MAX };
    let operator = operator.map(|listener| Listening {
        listener,
        routes: operator_router(witness),
        connections_max: OPERATOR_CONNECTIONS_MAX,
    });
    let listening = std::iter::once(public).chain(operator).collect();
    let counts = witness.metrics.connections.clone();
    http::serve(listening, TIMERS, counts, async {
        tokio::select! {
            () = shutdown => {}
            _ = witness.failure().wait() => {}
        }
    })
    .await
}

/// `POST /add-checkpoint`
async fn add_checkpoint(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Response, Problem> {
    let held = body::read(request, ADD_CHECKPOINT, BODY_TIMES, &shared.bodies).await?;
    let _turn = shared.turns.acquire().await.map_err(|_| OVERLOADED)?;
    let witness = Arc::clone(&shared.witness);
    let answer = spawn_blocking(move || witness.add_checkpoint(&held.bytes)).await;
    Ok(answer.unwrap_or(Answer::Failed).into_response())
}

/// `GET /<hex SHA-256 of the origin>/checkpoint`
async fn monitored(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id: Hash = id.parse().map_err(|_| NOT_FOUND)?;
    let _turn = shared.turns.acquire().await.map_err(|_| OVERLOADED)?;
    let witness = Arc::clone(&shared.witness);
    match spawn_blocking(move || witness.monitored(id)).await {
        Ok(Ok(Some(note))) => Ok(([TEXT, SECOND], note).into_response()),
        Ok(Ok(None)) => Err(NOT_FOUND),
        Ok(Err(_)) | Err(_) => Err(INTERNAL),
    }
}

/// `GET /healthz`
async fn healthy(State(shared): State<Arc<Shared>>) -> Result<Response, Problem> {
    match shared.witness.failure().cause() {
        None => Ok(([TEXT], "ok\n").into_response()),
        Some(_) => Err(INTERNAL),
    }
}

/// `GET /metrics`
async fn scrape(State(shared): State<Arc<Shared>>) -> Result<Response, Problem> {
    let text = shared.witness.metrics.scrape().map_err(|_| INTERNAL)?;
    Ok(([(header::CONTENT_TYPE, http::METRICS_TYPE)], text).into_response())
}

async fn nothing() -> Problem {
    NOT_FOUND
}

const NOT_FOUND: Problem =
    Problem::new(404, "not_found", "no such log, or none of its heads was cosigned");
const INTERNAL: Problem = Problem::new(500, "internal", "a failure of the witness");

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let problem = match self {
            Self::Cosigned(lines) => return ([TEXT], lines).into_response(),
            Self::Refused(Refusal::Conflict { size }) => {
                return (StatusCode::CONFLICT, [SIZE], format!("{size}\n")).into_response();
            }
            Self::Malformed(error) => Problem::said(400, "malformed", error),
            Self::UnknownOrigin => {
                Problem::new(404, "unknown_origin", "a log that this witness was not told of")
            }
            Self::Refused(refusal) => refused(refusal),
            Self::NotRight(reason) => Problem::said(422, "not_recounted", reason),
            Self::Replaying(reason) => Problem::said(503, "replaying", reason).retry_after(5),
            Self::TooMany => {
                Problem::new(429, "rate_limited", "too many requests for this log: slow down")
                    .retry_after(1)
            }
            Self::Failed => INTERNAL,
        };
        problem.into_response()
    }
}

fn refused(refusal: Refusal) -> Problem {
    let (status, code) = match refusal {
        Refusal::Unsigned => (403, "unsigned"),
        Refusal::BadSignature => (403, "bad_signature"),
        Refusal::OldAboveSize | Refusal::TextTooLong => (400, "malformed"),
        Refusal::Conflict { .. } => (409, "conflict"),
        Refusal::Inconsistent(_) => (422, "inconsistent"),
        Refusal::EmptyRoot => (422, "empty_root"),
        Refusal::Clock => (503, "clock"),
    };
    let problem = Problem::said(status, code, refusal);
    if status == 503 { problem.retry_after(60) } else { problem }
}
