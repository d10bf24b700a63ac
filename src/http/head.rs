//! Heads of requests: what no route may see.

use axum::{
    extract::Request,
    http::{HeaderMap, Version, header},
};

use super::Framing;

/// Most bytes of a request's line and headers together; more is 431.
pub const HEADER_BYTES_MAX: usize = 16 * 1024;

/// Most bytes of a request's target; more is 414. The longest that a route can need is a batch
/// proof over 16 ranges, under 800 bytes.
pub const URI_LEN_MAX: usize = 2_048;

/// Why a head is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeadError {
    /// A target over [`URI_LEN_MAX`]: 414.
    #[error("the request target is too long")]
    UriTooLong,
    /// Headers over [`HEADER_BYTES_MAX`]: 431.
    #[error("the headers are too large")]
    HeadersTooLarge,
    /// A query string, a path in another spelling, or a length that can be read in two ways: 400.
    #[error("not in the one spelling")]
    Malformed,
}

/// Refuses what no route may see.
///
/// # Errors
/// As [`HeadError`] says.
pub fn check(request: &Request) -> Result<(), HeadError> {
    let uri = request.uri();
    let target_len = uri.path_and_query().map_or(0, |target| target.as_str().len());
    if target_len > URI_LEN_MAX {
        return Err(HeadError::UriTooLong);
    }
    if header_len(request.headers()) + target_len > HEADER_BYTES_MAX {
        return Err(HeadError::HeadersTooLarge);
    }
    // A cache that drops a query string would serve one answer for all, so there are none.
    if uri.query().is_some() || !one_spelling(uri.path()) {
        return Err(HeadError::Malformed);
    }
    let framing = request.extensions().get::<Framing>();
    if framing.is_some_and(Framing::is_ambiguous) || !well_framed(request) {
        return Err(HeadError::Malformed);
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
