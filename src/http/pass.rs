//! What holds for every route of the smaller servers, before and after its handler.

use std::time::Duration;

use axum::{
    extract::Request,
    http::{HeaderValue, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use tokio::time::{Instant, timeout};

use super::{
    head,
    problem::{OVERLOADED, Problem},
};

/// Checks and runs one request: an answer that has not begun after `time_max` is a 503, and what
/// no handler calls cacheable is not.
pub async fn pass(time_max: Duration, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let mut response = match head::check(&request) {
        Ok(()) => match timeout(time_max, next.run(request)).await {
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
