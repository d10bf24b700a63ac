//! Refusals: the one place where they become status codes (SPEC.md, "Errors").
//!
//! A body is `application/problem+json` ([RFC 9457]) with one member more, the stable `code`, and
//! for a conflict the `head` of the chain. The `detail` of an entry's refusal is the ledger's own
//! sentence, which names the rule. Nothing repeats what the client sent; the cause of a failure of
//! ours goes to the operator's log and nowhere else.
//!
//! [RFC 9457]: https://www.rfc-editor.org/rfc/rfc9457

use std::{borrow::Cow, error::Error, sync::Arc};

use axum::{
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::{
    http::{body::BodyError, head::HeadError, share::Overloaded},
    log::{ChainHead, ReadError, Rejection, SubmitError},
};

/// Why a request was refused. Codes never change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Code {
    /// Not in the form that the route asks for.
    Malformed,
    /// A signature does not verify.
    BadSignature,
    /// A signing key that no mandate names.
    UnknownKey,
    /// A signing key that was revoked.
    KeyRevoked,
    /// A mandated key outside its role, units or contests.
    OutOfScope,
    /// No such thing, or not yet.
    NotFound,
    /// The route has other methods.
    MethodNotAllowed,
    /// The body did not arrive in time.
    Timeout,
    /// `prev` is not the head of the chain.
    Conflict,
    /// The same statement stands in the log under other signature lines.
    Duplicate,
    /// The log has ended.
    LogFrozen,
    /// A body without a length.
    LengthRequired,
    /// A body over the route's limit.
    TooLarge,
    /// A target over [`URI_LEN_MAX`](super::limits::URI_LEN_MAX).
    UriTooLong,
    /// A body of another type, or an encoded one.
    UnsupportedMediaType,
    /// A field of the entry that cannot be; the value is the whole code, `invalid_<field>`.
    Invalid(&'static str),
    /// Too many requests of one client. This server bounds what all clients take together; the code
    /// is kept for whatever stands in front of it.
    RateLimited,
    /// Headers over [`HEADER_BYTES_MAX`](super::limits::HEADER_BYTES_MAX).
    HeadersTooLarge,
    /// A failure of ours.
    Internal,
    /// More work than the log takes at a time.
    Overloaded,
    /// The log takes no entries now, or has lost what this needs.
    Unavailable,
}

/// How the code of every [`Code::Invalid`] begins.
const INVALID: &str = "invalid_";

/// Every code, ordered by status; `invalid_<field>` stands for all of its kind.
pub const ALL: &[Code] = &[
    Code::Malformed,
    Code::BadSignature,
    Code::UnknownKey,
    Code::KeyRevoked,
    Code::OutOfScope,
    Code::NotFound,
    Code::MethodNotAllowed,
    Code::Timeout,
    Code::Conflict,
    Code::Duplicate,
    Code::LogFrozen,
    Code::LengthRequired,
    Code::TooLarge,
    Code::UriTooLong,
    Code::UnsupportedMediaType,
    Code::Invalid("invalid_<field>"),
    Code::RateLimited,
    Code::HeadersTooLarge,
    Code::Internal,
    Code::Overloaded,
    Code::Unavailable,
];

impl Code {
    /// Status, stable text, and a sentence for people.
    const fn row(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::Malformed => {
                (400, "malformed", "the request is not in the form this route asks for")
            }
            Self::BadSignature => (403, "bad_signature", "a signature does not verify"),
            Self::UnknownKey => (403, "unknown_key", "no mandate in force names a signing key"),
            Self::KeyRevoked => (403, "key_revoked", "a signing key was revoked"),
            Self::OutOfScope => {
                (403, "out_of_scope", "a signing key may not say this, or not here")
            }
            Self::NotFound => (404, "not_found", "there is no such thing, or not yet"),
            Self::MethodNotAllowed => (405, "method_not_allowed", "this route has other methods"),
            Self::Timeout => (408, "timeout", "the body did not arrive in time"),
            Self::Conflict => (409, "conflict", "the entry does not follow the head of its chain"),
            Self::Duplicate => {
                (409, "duplicate", "the statement is logged under other signature lines")
            }
            Self::LogFrozen => (410, "log_frozen", "the log has ended"),
            Self::LengthRequired => (411, "length_required", "the body needs a Content-Length"),
            Self::TooLarge => (413, "too_large", "the body is over this route's limit"),
            Self::UriTooLong => (414, "uri_too_long", "the request target is too long"),
            Self::UnsupportedMediaType => {
                (415, "unsupported_media_type", "the body is not of the type this route takes")
            }
            Self::Invalid(code) => (422, code, "the entry names something that cannot be"),
            Self::RateLimited => (429, "rate_limited", "too many requests: slow down"),
            Self::HeadersTooLarge => (431, "headers_too_large", "the headers are too large"),
            Self::Internal => (500, "internal", "a failure of the server"),
            Self::Overloaded => (503, "overloaded", "too much at once: try again"),
            Self::Unavailable => {
                (503, "unavailable", "the log cannot do this now: try again later")
            }
        }
    }

    /// The code that the ledger named, or `None` if it is not one of the table.
    pub fn of(code: &'static str) -> Option<Self> {
        if code.len() > INVALID.len() && code.starts_with(INVALID) {
            return Some(Self::Invalid(code));
        }
        ALL.iter().copied().find(|known| known.as_str() == code)
    }

    /// The stable text.
    pub const fn as_str(self) -> &'static str {
        self.row().1
    }

    /// The HTTP status.
    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.row().0).expect("the table holds valid statuses")
    }

    /// What it means, in a sentence that holds nothing of the request.
    pub const fn detail(self) -> &'static str {
        self.row().2
    }

    /// Seconds after which to try again, where trying again can help.
    pub const fn retry_after_s(self) -> Option<u32> {
        match self {
            Self::RateLimited | Self::Overloaded => Some(1),
            Self::Unavailable => Some(5),
            _ => None,
        }
    }
}

/// The table of SPEC.md, one row a code: `| 400 | `malformed` | ... |`.
pub fn table() -> String {
    let row = |code: &Code| {
        let (status, text, detail) = code.row();
        format!("| {status} | `{text}` | {detail} |\n")
    };
    ALL.iter().map(row).collect()
}

/// A refusal on its way out.
#[derive(Clone, Debug)]
pub struct Problem {
    code: Code,
    /// What the ledger said, which is more than the code's own sentence.
    detail: Cow<'static, str>,
    /// The head of the chain, in a conflict only.
    head: Option<Box<ChainHead>>,
    /// The same, signed.
    refusal: Option<Box<str>>,
    /// For the operator alone.
    cause: Option<Arc<dyn Error + Send + Sync>>,
}

/// What the metrics and the operator's log are told about a refusal.
#[derive(Clone)]
pub(super) struct Refused {
    pub code: Code,
    pub cause: Option<Arc<dyn Error + Send + Sync>>,
}

/// The ledger refused with a code that this server does not know: a mistake of ours.
#[derive(Debug, thiserror::Error)]
#[error("the ledger refused with an unknown code: {0}")]
struct UnknownCode(&'static str);

/// The members of a problem, in the order of SPEC.md.
#[derive(Serialize)]
pub(super) struct Body<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    code: &'static str,
    detail: &'a str,
    /// The outer option: only a conflict has the member; the inner one: an empty chain has no head.
    #[serde(skip_serializing_if = "Option::is_none")]
    head: Option<Option<Head>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<&'a str>,
}

#[derive(Serialize)]
struct Head {
    index: u64,
    leaf: jejak_proofs::merkle::Hash,
    seq: u32,
}

impl Problem {
    /// A failure of ours. The client learns nothing of the `cause`.
    pub fn internal(cause: impl Error + Send + Sync + 'static) -> Self {
        Self { cause: Some(Arc::new(cause)), ..Code::Internal.into() }
    }

    /// The same refusal with a sentence of its own.
    pub fn saying(self, detail: &'static str) -> Self {
        Self { detail: detail.into(), ..self }
    }

    /// The code.
    pub const fn code(&self) -> Code {
        self.code
    }

    /// The refusal for the operator's eyes.
    pub(super) fn refused(&self) -> Refused {
        Refused { code: self.code, cause: self.cause.clone() }
    }

    /// The body, of an answer or in a line of a batch's answer.
    pub(super) fn body(&self) -> Body<'_> {
        let status = self.code.status();
        let head = |head: &ChainHead| Head { index: head.index, leaf: head.leaf, seq: head.seq };
        Body {
            // RFC 9457, Section 4.2.1: no type beyond the status, whose phrase is then the title.
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or("Refused"),
            status: status.as_u16(),
            code: self.code.as_str(),
            detail: &self.detail,
            head: (self.code == Code::Conflict).then(|| self.head.as_deref().map(head)),
            refusal: self.refusal.as_deref(),
        }
    }
}

impl From<HeadError> for Code {
    fn from(error: HeadError) -> Self {
        match error {
            HeadError::UriTooLong => Self::UriTooLong,
            HeadError::HeadersTooLarge => Self::HeadersTooLarge,
            HeadError::Malformed => Self::Malformed,
        }
    }
}

impl From<Overloaded> for Code {
    fn from(_: Overloaded) -> Self {
        Self::Overloaded
    }
}

impl From<Overloaded> for Problem {
    fn from(error: Overloaded) -> Self {
        Code::from(error).into()
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        let code = match error {
            BodyError::Malformed => Code::Malformed,
            BodyError::Timeout => Code::Timeout,
            BodyError::LengthRequired => Code::LengthRequired,
            BodyError::TooLarge => Code::TooLarge,
            BodyError::UnsupportedMediaType => Code::UnsupportedMediaType,
            BodyError::Overloaded => Code::Overloaded,
        };
        code.into()
    }
}

impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        Self { code, detail: code.detail().into(), head: None, refusal: None, cause: None }
    }
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        match Code::of(rejection.code) {
            Some(code) => {
                let Rejection { detail, head, refusal, .. } = rejection;
                Self { code, detail: detail.into(), head, refusal, cause: None }
            }
            None => Self::internal(UnknownCode(rejection.code)),
        }
    }
}

impl From<SubmitError> for Problem {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Rejected(rejection) => rejection.into(),
            SubmitError::Full => Code::Overloaded.into(),
            SubmitError::Closing | SubmitError::Unavailable => Code::Unavailable.into(),
        }
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        match error {
            // Known since the log was opened for reading only, and said then.
            ReadError::Lost(_) => Code::Unavailable.into(),
            error => Self::internal(error),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        const TYPE: (HeaderName, &str) = (header::CONTENT_TYPE, "application/problem+json");
        let body = serde_json::to_vec(&self.body()).expect("a problem has only text and numbers");
        let mut response = (self.code.status(), [TYPE], body).into_response();
        if let Some(seconds) = self.code.retry_after_s() {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(self.refused());
        response
    }
}
