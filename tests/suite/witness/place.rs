//! Witnesses to ask: ours as a process, and an independent one.

use std::{
    env,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use jejak_proofs::{
    merkle::sha256,
    note::{SignedNote, VerifierKey},
};
use serde_json::Value;
use tempfile::TempDir;

use super::history::History;
use crate::program::{Ended, Serving, files_below, jejak, skipped};

/// How long anything here may take.
const TIME_MAX: Duration = Duration::from_secs(60);

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub content_type: String,
    pub retry_after: Option<String>,
    pub body: String,
}

/// Whatever witnesses.
pub trait Place {
    fn url(&self) -> &str;
    fn vkey(&self) -> &VerifierKey;

    fn add(&self, body: impl AsRef<[u8]>) -> Reply {
        send(&format!("{}/add-checkpoint", self.url()), Some(body.as_ref()))
    }

    fn monitored(&self, origin: &str) -> Reply {
        let id = sha256(origin.as_bytes());
        send(&format!("{}/{id}/checkpoint", self.url()), None)
    }

    /// Asks for a cosignature that must be given, and gives its time.
    #[track_caller]
    fn cosigned(&self, history: &History, old: usize, new: usize) -> u64 {
        let reply = self.add(history.request(old, new));
        assert_eq!(reply.status, 200, "{reply:?}");
        self.verified(history, new, &reply)
    }

    /// The time of the one cosignature in a reply.
    #[track_caller]
    fn verified(&self, history: &History, size: usize, reply: &Reply) -> u64 {
        let note = format!("{}{}", history.checkpoint(size).note(), reply.body);
        let note = SignedNote::parse(note.as_bytes()).unwrap();
        let mut lines = note.lines().iter().filter(|line| line.is_by(self.vkey()));
        let line = lines.next().expect("a line of the witness");
        assert!(lines.next().is_none(), "one line");
        self.vkey().verify_cosignature(note.text(), line.signature()).unwrap()
    }
}

/// Sends one request: a `POST` if there is a body.
pub fn send(url: &str, body: Option<&[u8]>) -> Reply {
    // A server may answer a long body and close before it has read it all, and the answer is then
    // sometimes lost with the connection.
    let long = body.is_some_and(|body| body.len() > 64 << 10);
    let mut tries = if long { 50 } else { 1 };
    loop {
        tries -= 1;
        match try_send(url, body) {
            Ok(reply) => return reply,
            Err(ureq::Error::Io(_)) if tries > 0 => {}
            Err(error) => panic!("{url}: {error}"),
        }
    }
}

/// The same to a witness that may be killed meanwhile.
pub fn try_send(url: &str, body: Option<&[u8]>) -> Result<Reply, ureq::Error> {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .proxy(None)
        .timeout_global(Some(TIME_MAX))
        .build();
    let agent = config.new_agent();
    let mut response = match body {
        Some(body) => agent.post(url).send(body)?,
        None => agent.get(url).call()?,
    };
    let header =
        |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    Ok(Reply {
        status: response.status().as_u16(),
        content_type: header("content-type").unwrap_or_default(),
        retry_after: header("retry-after"),
        body: response.body_mut().read_to_string()?,
    })
}

/// Ours, in a directory of its own.
pub struct Ours {
    pub dir: TempDir,
    url: String,
    vkey: VerifierKey,
    more: Vec<String>,
    serving: Option<Serving>,
}

impl Ours {
    /// A witness of logs with these histories, not served yet.
    pub fn of(init: &[&str], histories: &[&History]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let all = [&["--json", "witness", "init", "w", "--name", "witness.example/ours"], init];
        let made = jejak(dir.path(), &all.concat()).exit(0).json();
        let vkey = made["vkey"].as_str().unwrap().parse().unwrap();
        for history in histories {
            let (origin, vkey) = (history.origin.as_str(), history.vkey().to_string());
            let log = ["--origin", origin, "--vkey", &vkey];
            jejak(dir.path(), &[&["witness", "add-log", "w"][..], &log].concat()).exit(0);
        }
        Self { dir, url: String::new(), vkey, more: Vec::new(), serving: None }
    }

    /// The same, served.
    pub fn served(histories: &[&History]) -> Self {
        let mut ours = Self::of(&[], histories);
        ours.serve(&[]);
        ours
    }

    pub fn serve(&mut self, more: &[&str]) {
        self.more = more.iter().map(|word| (*word).to_owned()).collect();
        self.start();
    }

    fn start(&mut self) {
        let more: Vec<&str> = self.more.iter().map(String::as_str).collect();
        // Where it was before, if it was.
        let listen = self.url.strip_prefix("http://").unwrap_or("127.0.0.1:0").to_owned();
        let serve = ["witness", "serve", "w", "--listen", &listen];
        let serving = Serving::with(self.dir.path(), &[&serve[..], &more].concat());
        self.url = serving.url.clone();
        self.serving = Some(serving);
    }

    /// Kills it as a power switch would kill the process, and serves it again.
    pub fn kill(&mut self) {
        self.serving.take().expect("it is served").kill();
        self.start();
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.serving.as_ref().expect("it is served").pid()
    }

    /// Runs `jejak witness VERB w MORE`.
    pub fn run(&self, verb: &str, more: &[&str]) -> Ended {
        jejak(self.dir.path(), &[&["--json", "witness", verb, "w"], more].concat())
    }

    /// Stops it in good order: its exit code.
    pub fn stop(&mut self) -> Option<i32> {
        let (code, took) = self.serving.take().expect("it is served").terminate();
        assert!(took < Duration::from_secs(5), "{took:?}");
        code
    }

    /// What `list` says about the one log, once it is stopped.
    pub fn listed(&self) -> Value {
        self.run("list", &[]).exit(0).json()
    }

    /// Files that were kept, `evidence` or `reports`.
    pub fn kept(&self, kind: &str) -> Vec<PathBuf> {
        files_below(&self.dir.path().join("w/state").join(kind))
    }
}

impl Place for Ours {
    fn url(&self) -> &str {
        &self.url
    }

    fn vkey(&self) -> &VerifierKey {
        &self.vkey
    }
}

/// `aics-witness` from PyPI, in a directory of its own; killed when it is dropped.
pub struct Aics {
    _dir: TempDir,
    child: Child,
    url: String,
    vkey: VerifierKey,
}

impl Aics {
    /// A served witness of logs with these histories; `None` is said aloud.
    pub fn served(histories: &[&History]) -> Option<Self> {
        let python = env::var_os("JEJAK_PYTHON").unwrap_or("python3".into());
        let probe = Command::new(&python).args(["-m", "aics_witness", "--version"]).output();
        if !probe.is_ok_and(|output| output.status.success()) {
            skipped("no Python with the package `aics-witness`");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let command = |words: &[&str]| {
            let mut command = Command::new(&python);
            command.args(["-m", "aics_witness"]).args(words).current_dir(dir.path());
            command.env("AICS_WITNESS_CONFIG", "witness.json");
            command
        };
        let made = command(&["init", "--name", "witness.example/aics"]).output().unwrap();
        let vkey = String::from_utf8(made.stdout).unwrap().trim().parse().unwrap();
        for history in histories {
            let vkey = history.vkey().to_string();
            let words = ["add-log", "--origin", &history.origin, "--vkey", &vkey];
            assert!(command(&words).output().unwrap().status.success());
        }
        let mut child =
            command(&["serve", "--listen", "127.0.0.1:0"]).stderr(Stdio::piped()).spawn().unwrap();
        let url = listening(child.stderr.take().expect("stderr is piped"));
        Some(Self { _dir: dir, child, url, vkey })
    }
}

/// The URL out of what the witness logs; the rest is read and dropped.
fn listening(stderr: impl std::io::Read + Send + 'static) -> String {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if let Some((_, rest)) = line.split_once("listening on ") {
                let url = rest.split(' ').next().unwrap_or_default();
                let _ = tell.send(url.to_owned());
            }
        }
    });
    told.recv_timeout(TIME_MAX).expect("it says where it listens")
}

impl Place for Aics {
    fn url(&self) -> &str {
        &self.url
    }

    fn vkey(&self) -> &VerifierKey {
        &self.vkey
    }
}

impl Drop for Aics {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
