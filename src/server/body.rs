//! Bodies: of the right type, bounded as they arrive, and in time.

use std::sync::Arc;

use axum::{body::Body, extract::Request};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::{HeaderMap, header};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{
    limits::{LINGER_BYTES_MAX, Limits},
    number::number,
    problem::Code,
};

/// What a route takes.
#[derive(Clone, Copy)]
pub(super) struct Accepts {
    /// The one media type, lower case; parameters are ignored.
    pub media_type: &'static str,
    /// Most bytes.
    pub len_max: usize,
}

/// A body, with its share of the memory that all bodies together may take. The share is given
/// back when this is dropped, so a handler keeps it until the log has answered.
pub(super) struct Held {
    pub bytes: Bytes,
    _share: Vec<OwnedSemaphorePermit>,
}

/// Reads the body of `request`.
///
/// # Errors
/// What the headers tell is refused before a byte is read: [`Code::UnsupportedMediaType`],
/// [`Code::LengthRequired`], [`Code::TooLarge`]. Then [`Code::TooLarge`] for chunks that add up,
/// [`Code::Timeout`], [`Code::Overloaded`] when all bodies together are over the server's bound,
/// and [`Code::Malformed`] for one that breaks off.
pub(super) async fn read(
    request: Request,
    accepts: Accepts,
    limits: &Limits,
    memory: &Arc<Semaphore>,
) -> Result<Held, Code> {
    let (parts, mut body) = request.into_parts();
    let waits = parts.headers.contains_key(header::EXPECT);
    let result = match check_headers(&parts.headers, accepts) {
        Ok(()) => match timeout(limits.body_time_max, collect(&mut body, accepts, memory)).await {
            Ok(result) => result,
            // The client is slow, not cut off: what it still sends is of no use.
            Err(_) => return Err(Code::Timeout),
        },
        Err(code) => Err(code),
    };
    // A client that waits for `100 Continue` has sent nothing: its connection ends at once, before
    // a next request on it could be taken for the body that never came.
    if result.is_err() && !waits {
        linger(body, limits);
    }
    result
}

fn check_headers(headers: &HeaderMap, accepts: Accepts) -> Result<(), Code> {
    if headers.contains_key(header::CONTENT_ENCODING) {
        return Err(Code::UnsupportedMediaType);
    }
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let media_type = match (types.next().map(|value| value.to_str()), types.next()) {
        (Some(Ok(value)), None) => value.split(';').next().unwrap_or_default().trim(),
        _ => return Err(Code::UnsupportedMediaType),
    };
    if !media_type.eq_ignore_ascii_case(accepts.media_type) {
        return Err(Code::UnsupportedMediaType);
    }
    match headers.get(header::CONTENT_LENGTH) {
        Some(value) => {
            let len = number(value.to_str().map_err(|_| Code::Malformed)?)?;
            if len > accepts.len_max as u64 { Err(Code::TooLarge) } else { Ok(()) }
        }
        None if headers.contains_key(header::TRANSFER_ENCODING) => Ok(()),
        None => Err(Code::LengthRequired),
    }
}

async fn collect(body: &mut Body, accepts: Accepts, memory: &Arc<Semaphore>) -> Result<Held, Code> {
    let mut all = BytesMut::new();
    let mut share = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Code::Malformed)?;
        let Some(data) = frame.data_ref() else { continue };
        if data.len() > accepts.len_max - all.len() {
            return Err(Code::TooLarge);
        }
        // Counted as bytes arrive, never as they are announced: else a few idle clients with large
        // claims would lock out all others.
        let bytes = u32::try_from(data.len()).map_err(|_| Code::TooLarge)?;
        let permit = Arc::clone(memory).try_acquire_many_owned(bytes);
        merge(&mut share, permit.map_err(|_| Code::Overloaded)?);
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
fn linger(mut body: Body, limits: &Limits) {
    let time_max = limits.linger_time_max;
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
