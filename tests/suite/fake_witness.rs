//! A witness that does as it is told, and may lie.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::{get as read, post as write},
};
use jejak_proofs::{
    merkle::TreeHead,
    note::{AddCheckpoint, CosigningKey, KeyKind, Policy, UnverifiedCheckpoint, VerifierKey},
};
use tokio::{net::TcpListener, task::JoinHandle, time::sleep};

/// What a witness does when it is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Mode {
    Honest,
    /// Answers with this status.
    Status(u16),
    /// Says that it holds a tree of this size.
    Claims(u64),
    /// Cosigns with a key of its own that is not in the policy.
    OtherKey,
    /// Takes this long.
    Slow(Duration),
}

pub struct Held {
    pub mode: Mode,
    /// Entries of the tree that it cosigned last.
    pub size: u64,
    /// What it shows to monitors.
    pub note: Option<String>,
    pub asked: u64,
    /// Sizes of the heads that it was asked to cosign.
    pub shown: Vec<u64>,
}

pub struct Fake {
    pub name: &'static str,
    key: CosigningKey,
    pub held: Arc<Mutex<Held>>,
    url: String,
    serving: JoinHandle<()>,
}

impl Fake {
    pub async fn start(name: &'static str, seed: u8, log: &VerifierKey) -> Self {
        let key = CosigningKey::from_seed(&format!("witness.example/{name}"), KIND, [seed; 32]);
        let key = key.unwrap();
        let held = Held { mode: Mode::Honest, size: 0, note: None, asked: 0, shown: Vec::new() };
        let held = Arc::new(Mutex::new(held));
        let routes = Router::new()
            .route("/add-checkpoint", write(add_checkpoint))
            .route("/{origin}/checkpoint", read(show))
            .with_state((key.clone(), held.clone(), log.clone()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { name, key, held, url, serving }
    }

    pub fn set(&self, mode: Mode) {
        self.held.lock().unwrap().mode = mode;
    }

    pub fn size(&self) -> u64 {
        self.held.lock().unwrap().size
    }

    pub fn line(&self) -> String {
        format!("witness {} {} {}\n", self.name, self.key.verifier(), self.url)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

const KIND: KeyKind = KeyKind::CosignatureV1;

type Shared = State<(CosigningKey, Arc<Mutex<Held>>, VerifierKey)>;

async fn add_checkpoint(State((key, held, log)): Shared, body: String) -> Response {
    let request = AddCheckpoint::parse(body.as_bytes()).unwrap();
    let mode = {
        let mut held = held.lock().unwrap();
        held.asked += 1;
        held.shown.push(request.checkpoint.claimed_head().size);
        held.mode.clone()
    };
    let other = CosigningKey::from_seed("witness.example/other", KIND, [99; 32]).unwrap();
    let key = match mode {
        Mode::Status(status) => return StatusCode::from_u16(status).unwrap().into_response(),
        Mode::Claims(size) => return holds(size),
        Mode::Slow(time) => {
            sleep(time).await;
            key
        }
        Mode::OtherKey => other,
        Mode::Honest => key,
    };
    let mut held = held.lock().unwrap();
    if request.old != held.size {
        return holds(held.size);
    }
    let verified = |read: UnverifiedCheckpoint| read.verify(log.name(), [&log]).unwrap();
    let new = verified(request.checkpoint);
    let old = held
        .note
        .as_ref()
        .map(|note| verified(UnverifiedCheckpoint::parse(note.as_bytes()).unwrap()).head());
    let old = old.unwrap_or(TreeHead::EMPTY);
    if new.head().verify_consistency(&old, &request.proof).is_err() {
        return StatusCode::UNPROCESSABLE_ENTITY.into_response();
    }
    let line = key.cosign(&new, 1_700_000_000 + held.asked).unwrap();
    held.size = new.head().size;
    held.note = Some(new.with_lines(&[&line]).unwrap().note().to_owned());
    line.into_response()
}

fn holds(size: u64) -> Response {
    let media_type = [("content-type", "text/x.tlog.size")];
    (StatusCode::CONFLICT, media_type, format!("{size}\n")).into_response()
}

async fn show(State((_, held, _)): Shared) -> Response {
    match &held.lock().unwrap().note {
        Some(note) => note.clone().into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Three witnesses, of which two make a quorum, and the policy that says so.
pub async fn three(policy: &str) -> ([Fake; 3], String) {
    let parsed = Policy::parse(policy).unwrap();
    let log = parsed.logs().next().unwrap().key.clone();
    let fakes = [
        Fake::start("w1", 1, &log).await,
        Fake::start("w2", 2, &log).await,
        Fake::start("w3", 3, &log).await,
    ];
    let lines: String = fakes.iter().map(Fake::line).collect();
    let lines = format!("{lines}group both 2 w1 w2 w3\nquorum both\n");
    (fakes, policy.replace("quorum none\n", &lines))
}
