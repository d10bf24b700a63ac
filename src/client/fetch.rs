//! Blocking HTTP requests to one log, mirror or static directory.
//!
//! Nothing that is received is believed here: bytes are bounded, statuses are kept, and what they
//! mean is judged by the caller. Redirects are never followed, so bytes come from the host that
//! the policy names or not at all.

use std::{
    io::Read,
    thread,
    time::{Duration, Instant},
};

use flate2::read::GzDecoder;
use jejak_proofs::merkle::Hash;
use serde::Deserialize;
use ureq::{
    Agent, Body, Error,
    http::{HeaderMap, Response, StatusCode, Uri, header},
};

/// Most bytes of a problem that are read; ours are under 1 KiB.
const PROBLEM_BYTES_MAX: u64 = 16 * 1024;

/// The type of a refusal that a log gives.
const PROBLEM: &str = "application/problem+json";

/// The type of the one refusal of a witness that says more than its status.
const TLOG_SIZE: &str = "text/x.tlog.size";

/// Longest code of a problem that is kept.
const CODE_LEN_MAX: usize = 64;

/// First pause before a request is sent again; it doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// Longest pause, whatever `Retry-After` asks for: a server cannot make a client sleep for ever.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// How long [`Fetch::post_patiently`] tries by default.
pub const PATIENCE_MAX: Duration = Duration::from_secs(120);

/// Idle connections are closed by us first: a log closes them after 5 s, and a request that meets
/// a closing connection is lost.
const IDLE_TIME_MAX: Duration = Duration::from_secs(3);

/// Idle connections that are kept: as many as the threads that may share one [`Fetch`].
const IDLE_CONNECTIONS_MAX: usize = 64;

const USER_AGENT: &str = concat!("jejak/", env!("CARGO_PKG_VERSION"));

/// Times after which a request is given up.
#[derive(Clone, Debug)]
pub struct FetchLimits {
    /// For a name look-up, and then for TCP and TLS together.
    pub connect_time_max: Duration,
    /// Until the server takes the next piece of a request.
    pub send_stall_max: Duration,
    /// From the end of the request to the answer's head, and to each next piece of it; more than
    /// the 30 s that a log gives itself.
    pub answer_time_max: Duration,
    /// From the answer's head to its end: a server that drips cannot hold a monitor.
    pub body_time_max: Duration,
}

impl Default for FetchLimits {
    fn default() -> Self {
        Self {
            connect_time_max: Duration::from_secs(10),
            send_stall_max: Duration::from_secs(20),
            answer_time_max: Duration::from_secs(40),
            body_time_max: Duration::from_secs(300),
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The base is not an absolute `http` or `https` URL without query.
    #[error("not an http or https URL without query")]
    BadUrl,
    /// No answer arrived: try again, accuse no one.
    #[error("unreachable: {kind}")]
    Unreachable {
        /// What failed.
        kind: UnreachableKind,
        /// As the transport told it.
        #[source]
        cause: Option<Box<Error>>,
    },
    /// The server refused.
    #[error("{0}")]
    Refused(Refusal),
    /// An answer that the protocol does not have.
    #[error("unexpected answer: status {status}")]
    Unexpected {
        /// Its status.
        status: u16,
    },
    /// A body over the bound of the caller.
    #[error("the answer is over {len_max} bytes")]
    TooLong {
        /// The bound.
        len_max: u64,
    },
}

/// What failed on the way to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnreachableKind {
    /// The name has no address.
    #[error("the host has no address")]
    NoHost,
    /// No connection, or a broken one.
    #[error("the connection failed")]
    Connection,
    /// No secure connection.
    #[error("no secure connection")]
    Tls,
    /// Too slow.
    #[error("no answer in time")]
    TimedOut,
}

/// A refusal: `application/problem+json` where the server speaks it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("refused: status {status}, {}", code.as_deref().unwrap_or("no code"))]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// The stable code, `[a-z_]` and digits only; `None` from a server that is no log.
    pub code: Option<Box<str>>,
    /// The head of the chain, in a conflict; `None` also if the chain is empty.
    pub head: Option<Box<Head>>,
    /// When to try again, as the server asked.
    pub retry_after: Option<Duration>,
    /// The same, signed by the log's key for refusals, as it is: nothing of it is checked.
    pub refusal: Option<Box<str>>,
    /// The body of a `text/x.tlog.size`, as it is: how a witness answers 409.
    pub tlog_size: Option<Box<str>>,
}

impl Refusal {
    /// Whether the server judged what was sent, so that nothing of it was done. A log says so with
    /// a code.
    pub const fn is_final(&self) -> bool {
        is_final(self.status) && self.code.is_some()
    }
}

/// The head of a chain, as a conflict names it. Nothing proves it: check it against the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Head {
    /// Index of the head.
    pub index: u64,
    /// Leaf hash of the head.
    pub leaf: Hash,
    /// Its place in the chain, from 0.
    pub seq: u32,
}

/// A 2xx answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// `Jejak-Size`: the tree size that a mutable answer speaks about.
    pub size: Option<u64>,
    /// `Jejak-Flags`: form rules that a submitted entry breaks, joined by `,`; empty if none.
    pub flags: String,
    /// The body, whole.
    pub body: Vec<u8>,
}

/// What is posted, and where.
#[derive(Clone, Copy, Debug)]
pub struct Post<'a> {
    /// The path under the base, without a slash before it.
    pub path: &'a str,
    /// The type of the body.
    pub content_type: &'a str,
    /// What the server is asked to do if it can (RFC 7240).
    pub prefer: Option<&'a str>,
    /// The body.
    pub body: &'a [u8],
    /// Bytes of the answer that are read at most.
    pub len_max: u64,
}

impl<'a> Post<'a> {
    /// A body for a path, without preferences.
    pub const fn new(path: &'a str, content_type: &'a str, body: &'a [u8], len_max: u64) -> Self {
        Self { path, content_type, prefer: None, body, len_max }
    }
}

/// A place that serves a log, and the connections to it.
#[derive(Clone, Debug)]
pub struct Fetch {
    agent: Agent,
    base: String,
}

impl Fetch {
    /// A client of `base`, such as `https://log.example/2024/ppwp`. Connects to nothing yet.
    ///
    /// # Errors
    /// [`FetchError::BadUrl`] if `base` is not an absolute URL, or has a query.
    pub fn new(base: &str, limits: &FetchLimits) -> Result<Self, FetchError> {
        let uri: Uri = base.parse().map_err(|_| FetchError::BadUrl)?;
        let host = uri.host().ok_or(FetchError::BadUrl)?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || base.contains(['?', '#', '@']) {
            return Err(FetchError::BadUrl);
        }
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(USER_AGENT)
            .accept_encoding("identity")
            .timeout_resolve(Some(limits.connect_time_max))
            .timeout_connect(Some(limits.connect_time_max))
            .timeout_per_read(Some(limits.answer_time_max))
            .timeout_per_write(Some(limits.send_stall_max))
            .timeout_recv_response(Some(limits.answer_time_max))
            .timeout_recv_body(Some(limits.body_time_max))
            .max_idle_connections(IDLE_CONNECTIONS_MAX)
            .max_idle_connections_per_host(IDLE_CONNECTIONS_MAX)
            .max_idle_age(IDLE_TIME_MAX);
        if is_local(host) {
            // A proxy's "this machine" is another machine.
            config = config.proxy(None);
        }
        let base = base.trim_end_matches('/').to_owned();
        Ok(Self { agent: config.build().new_agent(), base })
    }

    /// The URL that paths are added to, without a slash at its end.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Gets `path` (without a slash before it) under the base; at most `len_max` bytes.
    ///
    /// # Errors
    /// As [`FetchError`] says. A 404 is a [`FetchError::Refused`] like any other.
    pub fn get(&self, path: &str, len_max: u64) -> Result<Answer, FetchError> {
        let url = format!("{}/{path}", self.base);
        answer(self.agent.get(&url).call(), len_max)
    }

    /// The first bytes at `path`, at most `len_max`: the connection ends before the rest arrives.
    ///
    /// # Errors
    /// As [`Fetch::get`], but never for length.
    pub fn get_start(&self, path: &str, len_max: u64) -> Result<Vec<u8>, FetchError> {
        let url = format!("{}/{path}", self.base);
        let response = self.agent.get(&url).call().map_err(unreachable)?;
        let status = response.status();
        if status.is_client_error() || status.is_server_error() {
            return Err(FetchError::Refused(refusal(response)));
        }
        let coding = text(response.headers(), header::CONTENT_ENCODING.as_str());
        if !matches!(coding, None | Some("identity")) {
            return Err(FetchError::Unexpected { status: status.as_u16() });
        }
        let mut start = Vec::new();
        let read = response.into_body().into_reader().take(len_max).read_to_end(&mut start);
        read.map_err(|error| unreachable(error.into()))?;
        Ok(start)
    }

    /// Posts once.
    ///
    /// # Errors
    /// As [`FetchError`] says.
    pub fn post(&self, post: &Post<'_>) -> Result<Answer, FetchError> {
        let Post { path, content_type, prefer, body, len_max } = *post;
        let request = self.agent.post(format!("{}/{path}", self.base)).content_type(content_type);
        let request = match prefer {
            Some(prefer) => request.header("prefer", prefer),
            None => request,
        };
        answer(request.send(body), len_max)
    }

    /// As [`Fetch::post`], again and again while the server is away or asks for time, for at most
    /// `patience`. Pauses double, each with a random part, so that thousands of clients that were
    /// cut off together do not come back together; `Retry-After` is honoured up to 30 s.
    ///
    /// Only for requests that may be repeated: a log answers the same bytes with the same index.
    ///
    /// # Errors
    /// The last error, when patience ends; any other refusal at once.
    pub fn post_patiently(
        &self,
        post: &Post<'_>,
        patience: Duration,
    ) -> Result<Answer, FetchError> {
        patiently(patience, || self.post(post))
    }

    /// As [`Fetch::get`], with the patience of [`Fetch::post_patiently`].
    ///
    /// # Errors
    /// The last error, when patience ends; any other refusal at once.
    pub fn get_patiently(
        &self,
        path: &str,
        len_max: u64,
        patience: Duration,
    ) -> Result<Answer, FetchError> {
        patiently(patience, || self.get(path, len_max))
    }
}

impl FetchError {
    /// Whether the same request can succeed later.
    pub const fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { kind, .. } => !matches!(kind, UnreachableKind::Tls),
            Self::Refused(refusal) => matches!(refusal.status, 408 | 429 | 502 | 503 | 504),
            Self::BadUrl | Self::Unexpected { .. } | Self::TooLong { .. } => false,
        }
    }

    /// The refusal, if it is one.
    pub const fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }
}

/// Whether `host` is this machine.
fn is_local(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse();
    host == "localhost" || address.is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

fn patiently(
    patience: Duration,
    mut request: impl FnMut() -> Result<Answer, FetchError>,
) -> Result<Answer, FetchError> {
    let started = Instant::now();
    let mut pause = PAUSE_MIN;
    loop {
        let error = match request() {
            Err(error) if error.is_passing() => error,
            done => return done,
        };
        let asked = error.refusal().and_then(|refusal| refusal.retry_after).unwrap_or_default();
        let wait = asked.max(pause).min(PAUSE_MAX) + jitter(pause);
        if started.elapsed() + wait > patience {
            return Err(error);
        }
        thread::sleep(wait);
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// A random part of `pause`. Without randomness the middle: waiting needs no good randomness.
fn jitter(pause: Duration) -> Duration {
    let random = getrandom::u32().unwrap_or(u32::MAX / 2);
    pause.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

fn answer(response: Result<Response<Body>, Error>, len_max: u64) -> Result<Answer, FetchError> {
    let response = response.map_err(unreachable)?;
    let status = response.status();
    if status.is_client_error() || status.is_server_error() {
        return Err(FetchError::Refused(refusal(response)));
    }
    if !matches!(status, StatusCode::OK | StatusCode::CREATED | StatusCode::ACCEPTED) {
        return Err(FetchError::Unexpected { status: status.as_u16() });
    }
    let (parts, body) = response.into_parts();
    let size = text(&parts.headers, "jejak-size").and_then(|size| size.parse().ok());
    let flags = text(&parts.headers, "jejak-flags").unwrap_or_default().to_owned();
    let unexpected = FetchError::Unexpected { status: status.as_u16() };
    let body = match text(&parts.headers, header::CONTENT_ENCODING.as_str()) {
        None | Some("identity") => bounded(body.into_reader(), len_max)?,
        // C2SP tlog-tiles: bundles may come compressed, asked or not. Bounded before and after.
        Some("gzip") => {
            let packed = bounded(body.into_reader(), len_max)?;
            match bounded(GzDecoder::new(packed.as_slice()), len_max) {
                Err(FetchError::Unreachable { .. }) => return Err(unexpected),
                unpacked => unpacked?,
            }
        }
        Some(_) => return Err(unexpected),
    };
    Ok(Answer { status: status.as_u16(), size, flags, body })
}

fn bounded(reader: impl Read, len_max: u64) -> Result<Vec<u8>, FetchError> {
    let mut body = Vec::new();
    let read = reader.take(len_max.saturating_add(1)).read_to_end(&mut body);
    read.map_err(|error| unreachable(error.into()))?;
    if body.len() as u64 > len_max {
        return Err(FetchError::TooLong { len_max });
    }
    Ok(body)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// What a refusal says, as far as it says it in our form; its status stands in any case.
fn refusal(response: Response<Body>) -> Refusal {
    #[derive(Deserialize)]
    struct Problem {
        code: Box<str>,
        #[serde(default)]
        head: Option<Box<Head>>,
        #[serde(default)]
        refusal: Option<Box<str>>,
    }
    let (parts, body) = response.into_parts();
    let retry_after = text(&parts.headers, header::RETRY_AFTER.as_str());
    let media_type = text(&parts.headers, header::CONTENT_TYPE.as_str());
    let media_type = media_type.and_then(|text| text.split(';').next());
    let known = matches!(media_type, Some(PROBLEM | TLOG_SIZE));
    let body = if known { bounded(body.into_reader(), PROBLEM_BYTES_MAX).ok() } else { None };
    let of = |wanted| body.as_deref().filter(|_| media_type == Some(wanted));
    let tlog_size = of(TLOG_SIZE).and_then(|body| std::str::from_utf8(body).ok()).map(Into::into);
    let problem = of(PROBLEM).and_then(|body| serde_json::from_slice::<Problem>(body).ok());
    let problem = problem.filter(|problem| is_code(&problem.code));
    Refusal {
        status: parts.status.as_u16(),
        head: problem.as_ref().and_then(|problem| problem.head.clone()),
        refusal: problem.as_ref().and_then(|problem| problem.refusal.clone()),
        code: problem.map(|problem| problem.code),
        retry_after: retry_after.and_then(|s| s.parse().ok()).map(Duration::from_secs),
        tlog_size,
    }
}

/// Whether a status is a judgement on what was sent: the same again would be refused again, and
/// nothing of it was done.
pub(super) const fn is_final(status: u16) -> bool {
    matches!(status, 400..=428) && status != 408
}

/// A code is shown to people and compared by programs, so it is letters or it is none.
pub(super) fn is_code(code: &str) -> bool {
    (1..=CODE_LEN_MAX).contains(&code.len())
        && code.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

fn unreachable(error: Error) -> FetchError {
    let kind = match &error {
        Error::HostNotFound => UnreachableKind::NoHost,
        Error::Timeout(_) => UnreachableKind::TimedOut,
        Error::Tls(_) | Error::Rustls(_) => UnreachableKind::Tls,
        _ => UnreachableKind::Connection,
    };
    FetchError::Unreachable { kind, cause: Some(Box::new(error)) }
}
