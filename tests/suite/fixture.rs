//! A log with entries, and a server of it.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request, StatusCode},
};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use jejak::{
    log::Log,
    server::{Server, limits::Limits, router},
};
use tower::ServiceExt as _;

pub const ORIGIN: &str = "log.example/test";
pub const NAME: &str = "test";

pub struct Fixture {
    pub log: Log,
    pub server: Arc<Server>,
    pub router: Router,
    pub registers: Vec<Bytes>,
}

/// How the log is made to answer.
#[derive(Clone, Copy)]
pub enum Mood {
    Fine = 0,
    Full = 1,
    Closing = 2,
    Unavailable = 3,
    ReadsFail = 4,
    ReadsPanic = 5,
}

impl Fixture {
    pub async fn new(size: u64) -> Self {
        Self::with(size, Limits::default()).await
    }

    pub async fn with(size: u64, limits: Limits) -> Self {
        // The second one is larger than all socket buffers together.
        let registers = vec![Bytes::from("code,parent\n"), vec![b'r'; 16 << 20].into()];
        let log = Log::in_memory(ORIGIN, registers.clone());
        for index in 0..size {
            log.submit(entry(index).into()).await.unwrap();
        }
        let server = Server::new(vec![log.clone()], limits).unwrap();
        let router = router(&server);
        Self { log, server, router, registers }
    }

    pub fn mood(&self, mood: Mood) {
        self.log.set_mode(mood as u64);
    }

    pub fn delay(&self, delay: Duration) {
        self.log.set_delay(delay);
    }

    pub fn size(&self) -> u64 {
        self.log.published().head.size
    }

    pub async fn get(&self, path: &str) -> Reply {
        ask(&self.router, get(path)).await
    }

    pub async fn post(&self, path: &str, content_type: &str, body: impl Into<Body>) -> Reply {
        ask(&self.router, post(path, content_type, body.into())).await
    }
}

/// An entry that the log admits, another one for each `number`.
pub fn entry(number: u64) -> Vec<u8> {
    format!("entry {number}\n").into_bytes()
}

/// An entry that the log admits and that breaks rules A1 and A3.
pub fn flagged(number: u64) -> Vec<u8> {
    format!("entry {number} flagged\n").into_bytes()
}

/// Entries that the log refuses, each with status and code.
pub const REFUSED: &[(&str, u16, &str)] = &[
    ("refuse malformed", 400, "malformed"),
    ("refuse bad_signature", 403, "bad_signature"),
    ("refuse unknown_key", 403, "unknown_key"),
    ("refuse key_revoked", 403, "key_revoked"),
    ("refuse out_of_scope", 403, "out_of_scope"),
    ("refuse conflict", 409, "conflict"),
    ("refuse duplicate", 409, "duplicate"),
    ("refuse log_frozen", 410, "log_frozen"),
    ("refuse invalid_unit", 422, "invalid_unit"),
    ("refuse invalid_key", 422, "invalid_key"),
];

/// An entry refused with a code that the server does not know.
pub const REFUSED_UNKNOWN: &str = "refuse nonsense";

/// An entry refused because its chain has another head, and that head.
pub const CONFLICT: &str = "refuse conflict_with_head";
pub fn conflict_head() -> serde_json::Value {
    let leaf = jejak_proofs::merkle::leaf_hash(b"head");
    serde_json::json!({ "index": 7, "leaf": leaf, "seq": 3 })
}

pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut all = self.headers.get_all(name).iter();
        let first = all.next().map(|value| value.to_str().unwrap());
        assert!(all.next().is_none(), "{name} twice");
        first
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn lines(&self) -> Vec<serde_json::Value> {
        let text = str::from_utf8(&self.body).unwrap();
        assert!(text.ends_with('\n'));
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }

    /// Asserts that this is the refusal `code` and nothing else.
    pub fn refused(&self, status: u16, code: &str, what: &str) {
        assert_eq!(self.status.as_u16(), status, "{what}: {:?}", self.body);
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{what}");
        assert_eq!(self.header("cache-control"), Some("no-store"), "{what}");
        let body = self.json();
        assert_eq!(body["code"], code, "{what}");
        assert_eq!(body["status"], status, "{what}");
    }
}

pub async fn ask(router: &Router, request: Request<Body>) -> Reply {
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Reply { status: parts.status, headers: parts.headers, body }
}

pub fn get(path: &str) -> Request<Body> {
    Request::get(path).header("host", "log.example").body(Body::empty()).unwrap()
}

/// A `POST` with a `Content-Length`, as a connection would hand it over.
pub fn post(path: &str, content_type: &str, body: Body) -> Request<Body> {
    let len = hyper::body::Body::size_hint(&body).exact().unwrap();
    Request::post(path)
        .header("host", "log.example")
        .header("content-type", content_type)
        .header("content-length", len)
        .body(body)
        .unwrap()
}
