//! What holds for every route, before and after its handler.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tokio::time::timeout;

use super::{
    Server,
    problem::{Code, Problem, Refused},
};
use crate::http::head;

/// Headers of ours that pages of other origins may see.
const EXPOSED: &str = "Jejak-Size, Jejak-Flags, Location, Retry-After";

/// How a request that no route matched is named in metrics and logs.
const NO_ROUTE: &str = "none";

/// Checks, runs and accounts for one request.
pub(super) async fn pass(
    State(server): State<Arc<Server>>,
    request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let mut response = match head::check(&request) {
        Ok(()) => run(next, request, server.limits.request_time_max).await,
        Err(error) => Problem::from(Code::from(error)).into_response(),
    };
    finish(&method, &mut response);

    let route = matched.as_ref().map_or(NO_ROUTE, MatchedPath::as_str);
    let elapsed = started.elapsed();
    server.metrics.answered(route, elapsed);
    if let Some(refused) = response.extensions().get::<Refused>() {
        server.refused(refused);
    }
    tracing::debug!(
        method = name(&method),
        route,
        status = response.status().as_u16(),
        elapsed_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
        "request"
    );
    response
}

async fn run(next: Next, request: Request, time_max: Duration) -> Response {
    match timeout(time_max, next.run(request)).await {
        Ok(response) => response,
        // What became of a submission is unknown here; the same bytes again will tell.
        Err(_) => Problem::from(Code::Overloaded).into_response(),
    }
}

fn finish(method: &Method, response: &mut Response) {
    let headers = response.headers_mut();
    // What no handler calls cacheable is not: what changes, every answer to a POST, every refusal.
    if !headers.contains_key(header::CACHE_CONTROL) {
        set(headers, header::CACHE_CONTROL, "no-store");
    }
    if *method != Method::POST {
        set(headers, header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
        set(headers, header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
    set(headers, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    headers.insert(name, HeaderValue::from_static(value));
}

/// `OPTIONS` of a route that is read: pages of any origin may read it.
pub(super) async fn preflight() -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    set(headers, header::ALLOW, "GET, HEAD, OPTIONS");
    set(headers, header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, OPTIONS");
    set(headers, header::ACCESS_CONTROL_ALLOW_HEADERS, "*");
    set(headers, header::ACCESS_CONTROL_MAX_AGE, "86400");
    response
}

/// The method for the log: a client may invent others, and its words are not ours to repeat.
fn name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
