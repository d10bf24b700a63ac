//! What holds for every route, before and after its handler.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tokio::time::timeout;

use super::{
    Server,
    limits::{HEADER_BYTES_MAX, URI_LEN_MAX},
    problem::{Code, Problem, Refused},
    wire::Framing,
};

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
    let mut response = match check(&request) {
        Ok(()) => run(next, request, server.limits.request_time_max).await,
        Err(code) => Problem::from(code).into_response(),
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

/// Refuses what no route may see.
fn check(request: &Request) -> Result<(), Code> {
    let uri = request.uri();
    let target_len = uri.path_and_query().map_or(0, |target| target.as_str().len());
    if target_len > URI_LEN_MAX {
        return Err(Code::UriTooLong);
    }
    if header_len(request.headers()) + target_len > HEADER_BYTES_MAX {
        return Err(Code::HeadersTooLarge);
    }
    // A cache that drops a query string would serve one answer for all, so there are none.
    if uri.query().is_some() || !one_spelling(uri.path()) {
        return Err(Code::Malformed);
    }
    let framing = request.extensions().get::<Framing>();
    if framing.is_some_and(Framing::is_ambiguous) || !well_framed(request) {
        return Err(Code::Malformed);
    }
    Ok(())
}

/// Whether `path` can be the one spelling of a resource: no escapes, no empty, `.` or `..`
/// segments, no bytes beyond those of our names, numbers and ranges.
fn one_spelling(path: &str) -> bool {
    let known = |b: u8| b.is_ascii_alphanumeric() || b"/-._~,:".contains(&b);
    let mut segments = path.split('/').skip(1);
    path == "/" || (path.bytes().all(known) && segments.all(|one| !matches!(one, "" | "." | "..")))
}

/// RFC 9112, Section 3.2: exactly one `Host` in HTTP/1.1. Section 6.3: one way to tell the length.
pub(super) fn well_framed<B>(request: &axum::http::Request<B>) -> bool {
    let headers = request.headers();
    let hosts = headers.get_all(header::HOST).iter().count();
    let lengths = headers.get_all(header::CONTENT_LENGTH).iter().count();
    let chunked = headers.contains_key(header::TRANSFER_ENCODING);
    let one_host = hosts == 1 || (hosts == 0 && request.version() < Version::HTTP_11);
    one_host && lengths <= 1 && !(chunked && lengths > 0)
}

/// Bytes of the fields as they were sent, `: ` and line ends included.
fn header_len(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
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
