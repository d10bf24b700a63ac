//! The witness over HTTP: the one place of its status codes (SPEC.md, "Witness").
//!
//! [`router`] is a plain tower service, which tests call without a socket; [`serve`] binds it.

use std::{future::Future, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Path, Request, State},
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use jejak_proofs::merkle::Hash;
use serde::Serialize;
use tokio::{
    net::TcpListener,
    sync::Semaphore,
    task::spawn_blocking,
    time::{Instant, timeout},
};

use super::{Answer, Witness, judge::Refusal, metrics};
use crate::http::{
    self, Drained, Listening, Timers,
    body::{self, Accepts, BodyError, BodyTimes},
    head::{self, HeadError},
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
const PROBLEM: (HeaderName, &str) = (header::CONTENT_TYPE, "application/problem+json");
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

/// What holds for every route.
async fn pass(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let mut response = match head::check(&request) {
        Ok(()) => match timeout(REQUEST_TIME_MAX, next.run(request)).await {
            Ok(response) => response,
            Err(_) => OVERLOADED.into_response(),
        },
        Err(error) => Problem::from(error).into_response(),
    };
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    let elapsed_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    tracing::debug!(status = response.status().as_u16(), elapsed_us, "request");
    response
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
    Ok(([(header::CONTENT_TYPE, metrics::MEDIA_TYPE)], text).into_response())
}

async fn nothing() -> Problem {
    NOT_FOUND
}

/// The router adds `Allow`.
async fn other_method() -> Problem {
    Problem::new(405, "method_not_allowed", "this route has other methods")
}

/// A refusal on its way out: RFC 9457 with a stable code.
#[derive(Clone, Debug)]
struct Problem {
    status: u16,
    code: &'static str,
    detail: std::borrow::Cow<'static, str>,
    retry_after_s: Option<u32>,
}

const NOT_FOUND: Problem =
    Problem::new(404, "not_found", "no such log, or none of its heads was cosigned");
const INTERNAL: Problem = Problem::new(500, "internal", "a failure of the witness");
const OVERLOADED: Problem =
    Problem::new(503, "overloaded", "too much at once: try again").retry_after(1);

impl Problem {
    const fn new(status: u16, code: &'static str, detail: &'static str) -> Self {
        let detail = std::borrow::Cow::Borrowed(detail);
        Self { status, code, detail, retry_after_s: None }
    }

    fn said(status: u16, code: &'static str, detail: impl ToString) -> Self {
        Self { detail: detail.to_string().into(), ..Self::new(status, code, "") }
    }

    const fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }
}

impl From<HeadError> for Problem {
    fn from(error: HeadError) -> Self {
        match error {
            HeadError::UriTooLong => Self::said(414, "uri_too_long", error),
            HeadError::HeadersTooLarge => Self::said(431, "headers_too_large", error),
            HeadError::Malformed => Self::said(400, "malformed", error),
        }
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Malformed => Self::said(400, "malformed", error),
            BodyError::Timeout => Self::said(408, "timeout", error),
            BodyError::LengthRequired => Self::said(411, "length_required", error),
            BodyError::TooLarge => Self::said(413, "too_large", error),
            BodyError::UnsupportedMediaType => Self::said(415, "unsupported_media_type", error),
            BodyError::Overloaded => OVERLOADED,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Body<'a> {
            r#type: &'static str,
            title: &'static str,
            status: u16,
            code: &'static str,
            detail: &'a str,
        }
        let status = StatusCode::from_u16(self.status).expect("every status here is valid");
        let body = Body {
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or("Refused"),
            status: self.status,
            code: self.code,
            detail: &self.detail,
        };
        let body = serde_json::to_vec(&body).expect("a problem has only text and numbers");
        let mut response = (status, [PROBLEM], body).into_response();
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

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
