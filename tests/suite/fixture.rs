//! A log with entries, and a server of it.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request, StatusCode},
};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use jejak::{
    log::{Log, Options},
    server::{Server, limits::Limits, router},
};
use jejak_proofs::merkle::{Hash, sha256};
use rustix::fs::{CWD, Mode, OFlags, mkfifoat};
use tokio::time::sleep;
use tower::ServiceExt as _;

use crate::{
    directory::{Directory, fill},
    election::election,
};

pub struct Fixture {
    pub log: Log,
    pub server: Arc<Server>,
    pub router: Router,
    pub directory: Directory,
}

impl Fixture {
    pub async fn new(size: u64) -> Self {
        Self::with(size, Limits::default()).await
    }

    /// A served log of entries 0 to `size` - 1.
    pub async fn with(size: u64, limits: Limits) -> Self {
        let directory = Directory::new();
        let log = directory.open().unwrap();
        fill(&log, election(), size).await;
        Self::serve(directory, log, limits)
    }

    /// This log, served.
    pub fn serve(directory: Directory, log: Log, limits: Limits) -> Self {
        let server = Server::new(vec![log.clone()], limits).unwrap();
        let router = router(&server);
        Self { log, server, router, directory }
    }

    /// The same directory after a clean stop, opened with `options`.
    pub fn reopen(self, options: &Options) -> Self {
        self.log.clone().close().unwrap();
        let directory = self.directory.crash();
        let log = directory.open_with(options).unwrap();
        Self::serve(directory, log, Limits::default())
    }

    pub fn size(&self) -> u64 {
        self.log.published().head.size
    }

    /// A register larger than all socket buffers together: its hash and its length.
    pub fn large_register(&self) -> (Hash, usize) {
        let bytes = vec![b'r'; 16 << 20];
        let hash = sha256(&bytes);
        fs::write(self.directory.log().join("register").join(hash.to_string()), &bytes).unwrap();
        (hash, bytes.len())
    }

    /// Makes the disk hang in the middle of a batch: see [`Stall`].
    pub async fn stall(&self) -> Stall {
        Stall::new(self).await
    }

    pub async fn get(&self, path: &str) -> Reply {
        ask(&self.router, get(path)).await
    }

    pub async fn post(&self, path: &str, content_type: &str, body: impl Into<Body>) -> Reply {
        ask(&self.router, post(path, content_type, body.into())).await
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        // The threads must be gone before their directory is.
        let _ = self.log.clone().close();
    }
}

/// A disk that hangs: the sequencer reads bundle 0, to compare a conflict with its head, out of a
/// pipe that nobody writes to. Every submission waits until this is released or dropped.
pub struct Stall {
    pipe: File,
    held: PathBuf,
    bundle: PathBuf,
}

impl Stall {
    async fn new(fixture: &Fixture) -> Self {
        assert!(fixture.size() >= 256, "bundle 0 must be a file");
        let bundle = fixture.directory.log().join("tile/entries/000");
        let held = bundle.with_extension("held");
        fs::rename(&bundle, &held).unwrap();
        mkfifoat(CWD, &bundle, Mode::RUSR | Mode::WUSR).unwrap();
        let log = fixture.log.clone();
        tokio::spawn(async move { log.submit(election().rival(3).into()).await });
        let waits = OFlags::NONBLOCK.bits().cast_signed();
        // There is no one to write to until the sequencer has opened the pipe.
        let first = loop {
            match OpenOptions::new().write(true).custom_flags(waits).open(&bundle) {
                Ok(pipe) => break pipe,
                Err(_) => sleep(Duration::from_millis(1)).await,
            }
        };
        let pipe = OpenOptions::new().write(true).open(&bundle).unwrap();
        drop(first);
        Self { pipe, held, bundle }
    }

    pub fn release_after(self, delay: Duration) -> JoinHandle<()> {
        std::thread::spawn(move || {
            std::thread::sleep(delay);
            drop(self);
        })
    }
}

impl Drop for Stall {
    fn drop(&mut self) {
        fs::rename(&self.held, &self.bundle).unwrap();
        self.pipe.write_all(&fs::read(&self.bundle).unwrap()).unwrap();
    }
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
