//! A log and its recount witness as processes, and what an operator tries who has every key: a
//! second server, an old directory, a copy.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use jejak_proofs::note::{Policy, UnverifiedCheckpoint};
use serde_json::{Value, json};

use super::{
    monitor::fake::copy_dir,
    program::{Ended, Serving, files_below, free_address, jejak, root},
    python,
    witness::place::{send, try_send},
};

const ORIGIN: &str = "log.example/2024";

/// Where a log and its witness are, before they are served.
pub struct Place {
    dir: PathBuf,
    /// The line for policies.
    witness: String,
    log_at: String,
    witness_at: String,
}

impl Place {
    /// Makes the witness, in `dir/w`.
    pub fn new(dir: &Path) -> Self {
        for file in ["units.csv", "form.json"] {
            fs::copy(root().join("examples").join(file), dir.join(file)).unwrap();
        }
        let init = ["--json", "witness", "init", "w", "--name", "witness.example/w", "--recount"];
        let made = jejak(dir, &init).exit(0).json();
        let (log_at, witness_at) = (free_address(), free_address());
        let witness = format!("w {} http://{witness_at}", made["vkey"].as_str().unwrap());
        Self { dir: dir.to_owned(), witness, log_at, witness_at }
    }

    /// Makes the log, in `dir/log`, and makes it known to the witness.
    pub fn init(&self, recounts: &str) -> Ended {
        let url = format!("http://{}/2024", self.log_at);
        let log = ["init", "log", "--origin", ORIGIN, "--units", "units.csv"];
        let more = ["--contest", "ppwp=01,02", "--url", &url, "--witness", &self.witness];
        let quorum = ["--quorum", "1", "--recounts", recounts];
        let made = jejak(&self.dir, &[&log[..], &more, &quorum].concat());
        if made.status == 0 {
            let add = ["witness", "add-log", "w", "-p", "log/policy"];
            jejak(&self.dir, &add).exit(0);
        }
        made
    }

    pub fn witness(&self) -> Serving {
        let serve = ["witness", "serve", "w", "--recount", "--listen", &self.witness_at];
        Serving::with(&self.dir, &serve)
    }

    /// Serves the log of a directory where the policy says that the log is.
    pub fn serve(&self, log: &str) -> Serving {
        Serving::with(&self.dir, &["serve", log, "--listen", &self.log_at])
    }

    fn jejak(&self, arguments: &[&str]) -> Ended {
        jejak(&self.dir, &[arguments, &["-p", "log/policy"]].concat())
    }

    /// A served log with its witness, that has taken the form by the key `k`.
    fn begun(dir: &Path) -> (Self, Serving, Serving) {
        let place = Self::new(dir);
        place.init("w").exit(0);
        let (witness, log) = (place.witness(), place.serve("log"));
        let by = ["--by", "log/keys/root", "--role", "official", "--units", "ID", "--new", "k"];
        place.jejak(&[&["mandate"][..], &by].concat()).exit(0);
        place.jejak(&["submit", "--witnessed", "20s", "-k", "k", "form.json"]).exit(0);
        (place, witness, log)
    }

    /// A form of another station.
    fn form(&self, name: &str, votes: u64) -> String {
        let text = fs::read_to_string(self.dir.join("form.json")).unwrap();
        let mut form: Value = serde_json::from_str(&text).unwrap();
        form["unit"] = json!("3173002");
        form["votes"]["01"] = json!(votes);
        let file = format!("{name}.json");
        fs::write(self.dir.join(&file), form.to_string()).unwrap();
        file
    }

    /// Watches the log, or what answers at another URL.
    fn monitor(&self, state: &str, url: Option<&str>) -> Ended {
        let url = url.map_or(vec![], |url| vec!["--url", url]);
        self.jejak(&[&["--json", "monitor", "--once", "--state", state][..], &url].concat())
    }

    /// Every piece of evidence below a directory.
    fn evidence(&self, below: &str) -> Vec<String> {
        let mut found = files_below(&self.dir.join(below));
        found.retain(|file| file.extension().is_some_and(|ending| ending == "evidence"));
        found.into_iter().map(|file| file.display().to_string()).collect()
    }

    /// The evidence convicts in two languages; with a bit changed in a root or in a signature of
    /// the log in neither. (What a witness added is no part of it.)
    fn convicts(&self, file: &str) {
        let judge = |file: &str| {
            let ours = self.jejak(&["verify", file]).status == 0;
            let policy = self.dir.join("log/policy").display().to_string();
            let theirs = python::python().map_or(ours, |python| {
                python::verify(&python, &["evidence", &policy, file]).0 == 0
            });
            (ours, theirs)
        };
        assert_eq!(judge(file), (true, true), "{file}");
        let bytes = fs::read(file).unwrap();
        let changed = self.dir.join("changed.evidence").display().to_string();
        let text = String::from_utf8(bytes.clone()).unwrap();
        let signed = text.match_indices(ORIGIN).map(|(at, _)| at + ORIGIN.len() + 30);
        let signed: Vec<usize> = signed.filter(|at| at + 100 < bytes.len()).collect();
        assert!(signed.len() >= 4, "{text}");
        for at in signed {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            fs::write(&changed, bytes).unwrap();
            assert_eq!(judge(&changed), (false, false), "{file} at {at}");
        }
    }
}

/// Lets a copy of a log be served without asking anybody: its operator writes the policy in it.
fn forget_witnesses(log: &Path) {
    let policy = fs::read_to_string(log.join("policy")).unwrap();
    let ours = |line: &&str| line.starts_with("log ") || line.starts_with("# jejak-genesis");
    let kept: Vec<&str> = policy.lines().filter(ours).chain(["quorum none\n"]).collect();
    fs::write(log.join("policy"), kept.join("\n")).unwrap();
}

/// Two servers with one key that diverge: the monitor alarms within one look, whomever it followed,
/// and so does the recount witness.
#[test]
fn a_second_server_with_the_same_key_is_convicted() {
    let dir = tempfile::tempdir().unwrap();
    let (place, _witness, log) = Place::begun(dir.path());
    assert_eq!(place.monitor("before", None).exit(0).json()["exit"], 0);
    log.terminate();
    copy_dir(&dir.path().join("log"), &dir.path().join("twin"));
    forget_witnesses(&dir.path().join("twin"));
    let _log = place.serve("log");
    let twin = Serving::start(dir.path(), "twin");
    let (a, b) = (place.form("a", 7), place.form("b", 8));
    place.jejak(&["submit", "--witnessed", "20s", "-k", "k", &a]).exit(0);
    jejak(dir.path(), &["submit", "-p", "twin/policy", "--url", &twin.url, "-k", "k", &b]).exit(0);
    // Until it has sealed.
    let bare = ["monitor", "--once", "--state", "bare", "-p", "twin/policy", "--url", &twin.url];
    jejak(dir.path(), &bare).exit(0);

    // One who follows the log, one who saw it before they parted, and one who never saw it.
    place.monitor("true", None).exit(0);
    for state in ["true", "before", "newcomer"] {
        let ended = place.monitor(state, Some(&twin.url)).exit(16);
        let files = place.evidence(&format!("{state}/evidence"));
        assert_eq!(files.len(), 1, "{state}: {}", ended.stdout);
        place.convicts(&files[0]);
    }
    // The witness that recounts is shown the twin's head, after the one that it cosigned.
    let shown = send(&format!("{}/checkpoint", twin.url), None).body;
    let head = UnverifiedCheckpoint::parse(shown.as_bytes()).unwrap().claimed_head();
    let request = format!("old {}\n\n{shown}", head.size);
    let witness = format!("http://{}/add-checkpoint", place.witness_at);
    let answer = send(&witness, Some(request.as_bytes()));
    assert_eq!(answer.status, 422, "{answer:?}");
    let kept = place.evidence("w/state/evidence");
    assert_eq!(kept.len(), 1);
    place.convicts(&kept[0]);
}

/// A directory that was restored, and a copy that runs beside the original, are refused.
#[test]
fn an_old_directory_and_a_copy_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (place, _witness, log) = Place::begun(dir.path());
    log.terminate();
    copy_dir(&dir.path().join("log"), &dir.path().join("old"));
    let log = place.serve("log");
    let a = place.form("a", 7);
    place.jejak(&["submit", "--witnessed", "20s", "-k", "k", &a]).exit(0);
    let elsewhere = ["serve", "old", "--listen", "127.0.0.1:0"];
    // Beside the original, and in its place.
    let refused = jejak(dir.path(), &elsewhere).exit(16);
    assert!(refused.stderr.contains("witness w"), "{}", refused.stderr);
    log.terminate();
    let refused = jejak(dir.path(), &elsewhere).exit(16);
    assert!(refused.stderr.contains("--start-unwitnessed"), "{}", refused.stderr);
    // The true one goes on.
    let _log = place.serve("log");
    let b = place.form("b", 8);
    let sent = place.jejak(&["submit", "--witnessed", "20s", "-k", "k", &b]);
    assert!(sent.stderr.contains("conflict"), "it knows the other form: {}", sent.stderr);
}

/// While every witness is down writes go on as published; when they come back it is witnessed
/// again, without a restart.
#[test]
fn witnesses_may_go_and_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let (place, witness, log) = Place::begun(dir.path());
    let policy = Policy::parse(&fs::read_to_string(dir.path().join("log/policy")).unwrap());
    let policy = policy.unwrap();
    let ready = format!("{}/readyz", log.url.trim_end_matches("/2024"));
    witness.kill();
    let a = place.form("a", 7);
    place.jejak(&["submit", "-k", "k", &a]).exit(0);
    place.jejak(&["verify", "a.note", "a.tlog-proof"]).exit(14);
    let upgraded = place.jejak(&["submit", "--upgrade", "a.note"]).exit(75);
    assert!(!upgraded.stderr.is_empty());
    // Published is ahead of witnessed, and the answer says which is how old.
    let told = send(&ready, None).body;
    assert!(told.contains("witnessed"), "{told}");
    let _witness = place.witness();
    let started = Instant::now();
    while place.jejak(&["submit", "--upgrade", "a.note"]).status != 0 {
        assert!(started.elapsed() < Duration::from_secs(60), "witnessed again");
        thread::sleep(Duration::from_millis(200));
    }
    place.jejak(&["verify", "a.note", "a.tlog-proof"]).exit(0);
    let shown = try_send(&format!("{}/checkpoint", log.url), None).unwrap().body;
    policy.verify(UnverifiedCheckpoint::parse(shown.as_bytes()).unwrap()).unwrap();
}
