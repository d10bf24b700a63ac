//! Bodies: of the right type, bounded as they arrive, and in time.

use std::{sync::Arc, time::Duration};

use axum::{body::Body, extract::Request};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::{HeaderMap, header};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::decimal;

/// Bytes of an unread body that are still taken in, so that the answer is not lost to a reset.
const LINGER_BYTES_MAX: usize = 8 << 20;

/// What a route takes.
#[derive(Clone, Copy, Debug)]
pub struct Accepts {
    /// The one media type, lower case; parameters are ignored. `None`: any, or none.
    pub media_type: Option<&'static str>,
    /// Most bytes.
    pub len_max: usize,
}

/// Times after which a body is given up.
#[derive(Clone, Copy, Debug)]
pub struct BodyTimes {
    /// Time for a whole body to arrive; then 408.
    pub body_time_max: Duration,
    /// Time that the rest of a refused body is still taken in.
    pub linger_time_max: Duration,
}

/// Why there is no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// It broke off, or its length is no number: 400.
    #[error("the body broke off")]
    Malformed,
    /// It did not arrive in time: 408.
    #[error("the body did not arrive in time")]
    Timeout,
    /// Neither a length nor chunks: 411.
    #[error("the body needs a Content-Length")]
    LengthRequired,
    /// Over the limit of the route: 413.
    #[error("the body is over this route's limit")]
    TooLarge,
    /// Of another type, or encoded: 415.
    #[error("the body is not of the type this route takes")]
    UnsupportedMediaType,
    /// All bodies together are over their bound: 503.
    #[error("too much at once")]
    Overloaded,
}

/// A body, with its share of the memory that all bodies together may take. The share is given
/// back when this is dropped, so a handler keeps it until the log has answered.
#[derive(Debug)]
pub struct Held {
    /// The body, whole.
    pub bytes: Bytes,
    _share: Vec<OwnedSemaphorePermit>,
}

/// Reads the body of `request`.
///
/// # Errors
/// What the headers tell is refused before a byte is read: [`BodyError::UnsupportedMediaType`],
/// [`BodyError::LengthRequired`], [`BodyError::TooLarge`]. Then [`BodyError::TooLarge`] for chunks
/// that add up, [`BodyError::Timeout`], [`BodyError::Overloaded`] when all bodies together are over
/// the server's bound, and [`BodyError::Malformed`] for one that breaks off.
pub async fn read(
    request: Request,
    accepts: Accepts,
    times: BodyTimes,
    memory: &Arc<Semaphore>,
) -> Result<Held, BodyError> {
    let (parts, mut body) = request.into_parts();
    let waits = parts.headers.contains_key(header::EXPECT);
    let result = match check_headers(&parts.headers, accepts) {
        Ok(()) => match timeout(times.body_time_max, collect(&mut body, accepts, memory)).await {
            Ok(result) => result,
            // The client is slow, not cut off: what it still sends is of no use.
            Err(_) => return Err(BodyError::Timeout),
        },
        Err(code) => Err(code),
    };
    // A client that waits for `100 Continue` has sent nothing: its connection ends at once, before
    // a next request on it could be taken for the body that never came.
    if result.is_err() && !waits {
        linger(body, times.linger_time_max);
    }
    result
}

fn check_headers(headers: &HeaderMap, accepts: Accepts) -> Result<(), BodyError> {
    if headers.contains_key(header::CONTENT_ENCODING) {
        return Err(BodyError::UnsupportedMediaType);
    }
    if accepts.media_type.is_some_and(|wanted| !is_of_type(headers, wanted)) {
        return Err(BodyError::UnsupportedMediaType);
    }
    match headers.get(header::CONTENT_LENGTH) {
        Some(value) => {
            let len = value.to_str().ok().and_then(decimal).ok_or(BodyError::Malformed)?;
            if len > accepts.len_max as u64 { Err(BodyError::TooLarge) } else { Ok(()) }
        }
        None if headers.contains_key(header::TRANSFER_ENCODING) => Ok(()),
        None => Err(BodyError::LengthRequired),
    }
}

/// Whether exactly one media type is named, and it is `wanted`.
fn is_of_type(headers: &HeaderMap, wanted: &str) -> bool {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    match (types.next().map(|value| value.to_str()), types.next()) {
        (Some(Ok(value)), None) => {
            value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(wanted)
        }
        _ => false,
    }
}

async fn collect(
    body: &mut Body,
    accepts: Accepts,
    memory: &Arc<Semaphore>,
) -> Result<Held, BodyError> {
    let mut all = BytesMut::new();
    let mut share = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| BodyError::Malformed)?;
        let Some(data) = frame.data_ref() else { continue };
        if data.len() > accepts.len_max - all.len() {
            return Err(BodyError::TooLarge);
        }
        // Counted as bytes arrive, never as they are announced: else a few idle clients with large
        // claims would lock out all others.
        let bytes = u32::try_from(data.len()).map_err(|_| BodyError::TooLarge)?;
        let permit = Arc::clone(memory).try_acquire_many_owned(bytes);
        merge(&mut share, permit.map_err(|_| BodyError::Overloaded)?);
        all.extend_from_slice(data);
    }
    Ok(Held { bytes: all.freeze(), _share: share })
}

/// Adds `permit` to the one held, so that a body of many small chunks holds one.
fn merge(share: &mut Vec<OwnedSemaphorePermit>, permit: OwnedSemaphorePermit) {
    match share.first_mut() {
        Some(first) => first.merge(permit),
        None => share.push(permit),
    }
}

/// Takes in what a refused client is still sending, within bounds. A socket that is closed with
/// unread bytes is reset, and the reset can overtake the answer that says why.
fn linger(mut body: Body, time_max: Duration) {
    tokio::spawn(async move {
        let drain = async {
            let mut taken = 0;
            while let Some(Ok(frame)) = body.frame().await {
                taken += frame.data_ref().map_or(0, Bytes::len);
                if taken > LINGER_BYTES_MAX {
                    break;
                }
            }
        };
        // Either way the connection is given up: there is nobody to tell.
        let _ = timeout(time_max, drain).await;
    });
}
