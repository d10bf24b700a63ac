//! Keys in an ssh-agent: OpenSSH's own, and one that lies.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::program::{Ended, Serving, jejak, jejak_with, root, skipped};

const ORIGIN: &str = "log.example/agent";

/// A running ssh-agent; killed when it is dropped.
struct Agent {
    dir: PathBuf,
    socket: String,
    child: Option<Child>,
}

impl Agent {
    /// `None` is said aloud.
    fn start(dir: &Path) -> Option<Self> {
        let socket = dir.join("agent.sock").display().to_string();
        let mut agent = Self { dir: dir.to_owned(), socket, child: None };
        if Command::new("ssh-agent").arg("-V").output().is_err() {
            skipped("no ssh-agent (Debian: openssh-client)");
            return None;
        }
        agent.restart();
        Some(agent)
    }

    fn restart(&mut self) {
        self.stop();
        let _ = fs::remove_file(&self.socket);
        let mut agent = Command::new("ssh-agent");
        agent.args(["-D", "-a", &self.socket]).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(agent.spawn().unwrap());
        let started = Instant::now();
        while !Path::new(&self.socket).exists() {
            assert!(started.elapsed() < Duration::from_secs(20), "the agent starts");
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Makes a key with OpenSSH and gives it to the agent.
    fn make(&self, name: &str) {
        let args = ["-q", "-t", "ed25519", "-N", "", "-C", "somebody@host", "-f", name];
        let made = Command::new("ssh-keygen").args(args).current_dir(&self.dir).status();
        assert!(made.unwrap().success());
        self.add(&[name]);
    }

    fn add(&self, words: &[&str]) {
        let mut add = Command::new("ssh-add");
        add.arg("-q").args(words).current_dir(&self.dir).env("SSH_AUTH_SOCK", &self.socket);
        assert!(add.stderr(Stdio::null()).status().unwrap().success());
    }

    fn jejak(&self, arguments: &[&str]) -> Ended {
        jejak_with(&self.dir, &[("SSH_AUTH_SOCK", &self.socket)], arguments)
    }

    /// A reference to a key that was made.
    fn refer(&self, name: &str, key_name: &str) -> String {
        let file = format!("{name}.key");
        let public = format!("{name}.pub");
        let words = ["key", "agent", &file, "--name", key_name, "--ssh-key", &public];
        self.jejak(&words).exit(0).stdout.trim_end().to_owned()
    }

    fn serve(&self) -> Serving {
        let serve = ["serve", "log", "--listen", "127.0.0.1:0"];
        Serving::with_variables(&self.dir, &[("SSH_AUTH_SOCK", &self.socket)], &serve)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A log whose own key, root key and officer's key are all in the agent.
fn founded(agent: &Agent) {
    for file in ["units.csv", "form.json"] {
        fs::copy(root().join("examples").join(file), agent.dir.join(file)).unwrap();
    }
    ["log1", "root1", "officer1"].iter().for_each(|name| agent.make(name));
    let log = agent.refer("log1", ORIGIN);
    let root = agent.refer("root1", "root/ID");
    let build = ["manifest", "build", "--origin", ORIGIN, "--units", "units.csv", "-o", "m"];
    let keys = ["--contest", "ppwp=01,02", "--log-key", &log, "--root", &root];
    agent.jejak(&[&build[..], &keys].concat()).exit(0);
    let sign = ["sign", "m/manifest.json", "-k", "root1.key", "-o", "m/manifest.note"];
    agent.jejak(&sign).exit(0);
    let init = ["init", "log", "--manifest", "m/manifest.note", "--log-key", "log1.key"];
    let registers = ["--units", "m/units.csv", "--contests", "m/contests.jsonl"];
    agent.jejak(&[&init[..], &registers].concat()).exit(0);
}

// SPEC [L12]
#[test]
fn a_log_its_root_and_its_officer_sign_with_an_agent() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mut agent) = Agent::start(dir.path()) else { return };
    let dir = dir.path();
    founded(&agent);
    // Nothing secret is in the files.
    let kept = fs::read_to_string(dir.join("log/keys/log")).unwrap();
    assert!(kept.starts_with(&format!("ssh-agent {ORIGIN}+")), "{kept}");
    let serving = agent.serve();
    let url = ["-p", "log/policy", "--url", &serving.url];
    let official = agent.refer("officer1", "official/ID");
    let by = ["--by", "root1.key", "--role", "official", "--units", "ID", "--key", &official];
    agent.jejak(&[&["mandate"][..], &url, &by].concat()).exit(0);
    let submit = [&["submit"][..], &url, &["-k", "officer1.key", "form.json"]].concat();
    agent.jejak(&submit).exit(0);
    // The proof needs no agent.
    jejak(dir, &["verify", "-p", "log/policy", "form.note", "form.tlog-proof"]).exit(0);
    let table = "unit,votes.01,votes.02,valid,invalid,total\n3173002,3,4,7,0,7\n";
    fs::write(dir.join("results.csv"), table).unwrap();
    let import = ["-k", "officer1.key", "--contest", "ppwp", "results.csv", "import"];
    agent.jejak(&[&["import"][..], &url, &import].concat()).exit(0);
    let monitor = [&["monitor"][..], &url, &["--state", "watch", "--once"]].concat();
    jejak(dir, &monitor).exit(0);

    // The agent goes away under the running log: nothing is signed, nothing that was answered is
    // lost, and what was not answered may be sent again.
    agent.stop();
    let seen = ["key", "show", "log1.key"];
    assert!(jejak(dir, &seen).exit(0).stdout.starts_with(ORIGIN), "showing a key needs no agent");
    let refused = jejak_with(dir, &[("SSH_AUTH_SOCK", &agent.socket)], &submit);
    assert!(refused.stderr.contains("ssh-add"), "{}", refused.stderr);
    assert_eq!(refused.status, 78);
    drop(serving);
    let serve = ["serve", "log", "--listen", "127.0.0.1:0"];
    let refused = jejak(dir, &serve).exit(78);
    assert!(refused.stderr.contains("SSH_AUTH_SOCK is not set"), "{}", refused.stderr);
    agent.restart();
    let refused = agent.jejak(&serve).exit(78);
    assert!(refused.stderr.contains("does not hold the key"), "{}", refused.stderr);
    agent.add(&["log1"]);
    agent.add(&["officer1"]);
    let serving = agent.serve();
    let url = ["-p", "log/policy", "--url", &serving.url];
    // Signing again gives the bytes that were signed before.
    jejak(dir, &[&["monitor"][..], &url, &["--state", "watch", "--once"]].concat()).exit(0);
}

// SPEC [L12]
#[test]
fn a_log_whose_agent_goes_away_stops_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mut agent) = Agent::start(dir.path()) else { return };
    let dir = dir.path();
    founded(&agent);
    let mut serving = agent.serve();
    let url = ["-p", "log/policy", "--url", &serving.url];
    agent.add(&["-d", "log1"]);
    // The root key is still there, so an entry comes: the log cannot sign what it committed.
    let official = agent.refer("officer1", "official/ID");
    let by = ["--by", "root1.key", "--role", "official", "--units", "ID", "--key", &official];
    let mandate = [&["mandate", "--patience", "1s"][..], &url, &by].concat();
    let sent = agent.jejak(&mandate);
    assert!(matches!(sent.status, 69 | 75), "{} {}", sent.status, sent.stderr);
    assert_eq!(serving.wait(), Some(70));
    agent.add(&["log1"]);
    let serving = agent.serve();
    let url = ["-p", "log/policy", "--url", &serving.url];
    let mandate = [&["mandate"][..], &url, &by].concat();
    agent.jejak(&mandate).exit(0);
    jejak(dir, &[&["monitor"][..], &url, &["--state", "watch", "--once"]].concat()).exit(0);
    agent.stop();
}

// SPEC [L12]
#[test]
fn what_an_agent_returns_is_verified() {
    let dir = tempfile::tempdir().unwrap();
    let Some(agent) = Agent::start(dir.path()) else { return };
    let dir = dir.path();
    founded(&agent);
    // Between the program and the agent: hands on every request, and changes one byte of every
    // signature.
    let socket = dir.join("liar.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let real = agent.socket.clone();
    thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            let mut agent = std::os::unix::net::UnixStream::connect(&real).unwrap();
            agent.write_all(&message(&mut client)).unwrap();
            let mut answer = message(&mut agent);
            if answer[4] == 14 {
                *answer.last_mut().unwrap() ^= 1;
            }
            let _ = client.write_all(&answer);
        }
    });
    let socket = socket.display().to_string();
    let liar = [("SSH_AUTH_SOCK", socket.as_str())];
    let sign = ["sign", "m/manifest.json", "-k", "root1.key", "-o", "again.note"];
    let refused = jejak_with(dir, &liar, &sign).exit(75);
    assert!(refused.stderr.contains("not a signature by the key"), "{}", refused.stderr);
    assert!(!dir.join("again.note").exists());
    agent.jejak(&sign).exit(0);
    // What is no Ed25519 key, or no key at all, is refused by name.
    fs::write(dir.join("rsa.pub"), "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAAQA= x\n").unwrap();
    for (file, name) in [("rsa.pub", "official/ID"), ("root1", "official/ID")] {
        let words = ["key", "agent", "x.key", "--name", name, "--ssh-key", file];
        let refused = agent.jejak(&words).exit(78);
        assert!(refused.stderr.contains("no public key of type ssh-ed25519"), "{}", refused.stderr);
    }
    for text in ["ssh-agent nonsense", "ssh-agent ", &format!("ssh-agent {ORIGIN}+00000000+AAAA")] {
        fs::write(dir.join("y.key"), text).unwrap();
        fs::set_permissions(dir.join("y.key"), private()).unwrap();
        agent.jejak(&["sign", "m/manifest.json", "-k", "y.key", "-o", "z.note"]).exit(78);
    }
}

fn private() -> fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o600)
}

/// One message of the protocol, with its length.
fn message(stream: &mut std::os::unix::net::UnixStream) -> Vec<u8> {
    let mut len = [0; 4];
    stream.read_exact(&mut len).unwrap();
    let mut bytes = vec![0; u32::from_be_bytes(len) as usize];
    stream.read_exact(&mut bytes).unwrap();
    [&len[..], &bytes].concat()
}
