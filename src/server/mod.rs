//! HTTP: the routes of a process that serves one or more logs.
//!
//! [`router`] is a plain tower service, which tests call without a socket; [`serve`] binds it to
//! one. What holds for every route (paths in one spelling, no query strings, caching, CORS,
//! deadlines, metrics) is in `gate`; every status code is in [`problem`]; every limit is in
//! [`limits`].
//!
//! What a socket, a head and a body must be is in `http`, which other servers share.

mod entries;
mod gate;
pub mod limits;
mod metrics;
mod number;
mod prefer;
pub mod problem;
mod proof;
mod read;
mod serve;
mod unit;

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    handler::Handler,
    http::{HeaderName, header},
    middleware,
    response::{IntoResponse as _, Response},
    routing::{MethodRouter, get, post},
};
use limits::Limits;
use metrics::Metrics;
use problem::{Code, Problem, Refused};
use tokio::sync::Semaphore;

pub use self::serve::{Audience, Binding, serve};
pub use crate::http::Drained;
use crate::{http::share::Answers, log::Log};

/// Size of the tree that the 200 of a mutable route speaks about.
const SIZE: HeaderName = HeaderName::from_static("jejak-size");
/// Form rules that a submitted entry breaks, joined by `,`.
const FLAGS: HeaderName = HeaderName::from_static("jejak-flags");

const TEXT: (HeaderName, &str) = (header::CONTENT_TYPE, "text/plain; charset=utf-8");
const BYTES: (HeaderName, &str) = (header::CONTENT_TYPE, "application/octet-stream");
const JSON: (HeaderName, &str) = (header::CONTENT_TYPE, "application/json");

/// Caching of what never changes under its name.
const IMMUTABLE: (HeaderName, &str) =
    (header::CACHE_CONTROL, "public, max-age=31536000, immutable");
/// Caching of what changes with every batch.
const SECOND: (HeaderName, &str) = (header::CACHE_CONTROL, "max-age=1");

/// Two logs that would share a path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("two logs are named {name}: the last elements of their origins must differ")]
pub struct SameName {
    /// The last element of both origins.
    pub name: String,
}

/// The logs of this process and what their routes share.
pub struct Server {
    logs: BTreeMap<String, Log>,
    limits: Limits,
    metrics: Metrics,
    /// One permit a byte of a body in memory.
    bodies: Arc<Semaphore>,
    /// The memory of large answers.
    answers: Answers,
    /// One permit a read of files.
    reads: Semaphore,
}

impl Server {
    /// A server of `logs`, each under the last element of its origin.
    ///
    /// # Errors
    /// Fails if two logs have one name.
    pub fn new(logs: Vec<Log>, limits: Limits) -> Result<Arc<Self>, SameName> {
        let metrics = Metrics::new(&logs);
        let mut named = BTreeMap::new();
        for log in logs {
            let name = log.name().to_owned();
            if named.insert(name.clone(), log).is_some() {
                return Err(SameName { name });
            }
        }
        let bodies = Arc::new(Semaphore::new(limits.bodies_bytes_max));
        let reads = Semaphore::new(limits.reads_max);
        let answers = Answers::new(limits.answers_bytes_max);
        Ok(Arc::new(Self { logs: named, limits, metrics, bodies, answers, reads }))
    }

    fn log(&self, name: &str) -> Result<&Log, Code> {
        self.logs.get(name).ok_or(Code::NotFound)
    }

    fn logs(&self) -> impl Iterator<Item = &Log> {
        self.logs.values()
    }

    /// Reads from the log `name` on a thread that may wait for a disk.
    async fn look_up<T: Send + 'static, E: Into<Problem> + Send + 'static>(
        &self,
        name: &str,
        read: impl FnOnce(Log) -> Result<Option<T>, E> + Send + 'static,
    ) -> Result<T, Problem> {
        let log = self.log(name)?.clone();
        let _turn = self.reads.acquire().await.map_err(Problem::internal)?;
        let found = tokio::task::spawn_blocking(move || read(log)).await;
        let found = found.map_err(Problem::internal)?.map_err(Into::into)?;
        found.ok_or(Code::NotFound.into())
    }

    /// Counts and traces a refusal, without a byte of what was refused.
    fn refused(&self, refused: &Refused) {
        self.metrics.refused(refused.code);
        match &refused.cause {
            Some(cause) => tracing::error!(code = refused.code.as_str(), %cause, "failed"),
            None => tracing::debug!(code = refused.code.as_str(), "refused"),
        }
    }
}

/// The public routes (SPEC.md, "HTTP").
pub fn router(server: &Arc<Server>) -> Router {
    let routes = Router::new()
        .route("/", reads(read::logs))
        .route("/healthz", reads(read::healthy))
        .route("/readyz", reads(read::ready))
        .route("/{log}/entries", writes(entries::submit))
        .route("/{log}/entries/batch", writes(entries::submit_batch))
        .route("/{log}/checkpoint", reads(read::checkpoint))
        .route("/{log}/checkpoint/latest", reads(read::latest))
        .route("/{log}/tile/{*path}", reads(read::tile))
        .route("/{log}/entry/{index}", reads(read::entry))
        .route("/{log}/receipt/{index}", reads(read::receipt))
        .route("/{log}/leaf/{hash}", reads(read::leaf))
        .route("/{log}/proof/inclusion/{size}/{index}", reads(proof::inclusion))
        .route("/{log}/proof/consistency/{old}/{new}", reads(proof::consistency))
        .route("/{log}/proof/batch/{size}/{ranges}", reads(proof::batch))
        .route("/{log}/unit/{contest}/{unit}", reads(unit::unit))
        .route("/{log}/unit/{contest}/{unit}/history", reads(unit::history))
        .route("/{log}/recap/{contest}/{unit}", reads(unit::recap))
        .route("/{log}/recap-proof/{contest}/{unit}", reads(unit::recap_proof))
        .route("/{log}/register/{sha256}", reads(read::register))
        .route("/{log}/log.json", reads(read::describe));
    gated(routes, server)
}

/// The routes of the operator's own listener.
pub fn operator_router(server: &Arc<Server>) -> Router {
    let routes = Router::new()
        .route("/metrics", reads(metrics::scrape))
        .route("/healthz", reads(read::healthy))
        .route("/readyz", reads(read::ready));
    gated(routes, server)
}

fn gated(routes: Router<Arc<Server>>, server: &Arc<Server>) -> Router {
    let gate = middleware::from_fn_with_state(Arc::clone(server), gate::pass);
    routes.fallback(nothing).layer(gate).with_state(Arc::clone(server))
}

/// A route that is read with `GET` or `HEAD`, by pages of any origin.
fn reads<H, T>(handler: H) -> MethodRouter<Arc<Server>>
where
    H: Handler<T, Arc<Server>>,
    T: 'static,
{
    get(handler).options(gate::preflight).fallback(other_method)
}

/// A route that is written with `POST`.
fn writes<H, T>(handler: H) -> MethodRouter<Arc<Server>>
where
    H: Handler<T, Arc<Server>>,
    T: 'static,
{
    post(handler).fallback(other_method)
}

async fn nothing() -> Problem {
    Code::NotFound.into()
}

/// The router adds `Allow`.
async fn other_method() -> Problem {
    Code::MethodNotAllowed.into()
}

fn json(body: &serde_json::Value) -> Response {
    ([JSON], body.to_string()).into_response()
}
