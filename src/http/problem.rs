//! Refusals of the smaller servers: RFC 9457 with a stable code. The log's own, which has many, are
//! in `server/problem.rs`.

use std::borrow::Cow;

use axum::{
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::{body::BodyError, head::HeadError, share::Overloaded};

const TYPE: (HeaderName, &str) = (header::CONTENT_TYPE, "application/problem+json");

/// A refusal on its way out.
#[derive(Clone, Debug)]
pub struct Problem {
    status: u16,
    code: &'static str,
    detail: Cow<'static, str>,
    retry_after_s: Option<u32>,
}

/// 503: more work than is taken at a time.
pub const OVERLOADED: Problem =
    Problem::new(503, "overloaded", "too much at once: try again").retry_after(1);

impl Problem {
    /// A refusal with this status and stable code, and a sentence for people.
    pub const fn new(status: u16, code: &'static str, detail: &'static str) -> Self {
        let detail = Cow::Borrowed(detail);
        Self { status, code, detail, retry_after_s: None }
    }

    /// The same with a sentence that was put together.
    pub fn said(status: u16, code: &'static str, detail: impl ToString) -> Self {
        Self { detail: detail.to_string().into(), ..Self::new(status, code, "") }
    }

    /// The same, and when to try again.
    pub const fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }
}

/// The fallback of a route that has other methods. The router adds `Allow`.
pub async fn other_method() -> Problem {
    Problem::new(405, "method_not_allowed", "this route has other methods")
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

impl From<Overloaded> for Problem {
    fn from(_: Overloaded) -> Self {
        OVERLOADED
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
        let mut response = (status, [TYPE], body).into_response();
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
