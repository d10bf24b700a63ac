//! The program as people run it: its binary, its exit codes, its files.

use std::{
    env,
    fs::{self, OpenOptions},
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// What a command left behind.
pub struct Ended {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// Demands an exit code, and shows everything if it was another.
    #[track_caller]
    pub fn exit(self, want: i32) -> Self {
        let Self { status, stdout, stderr } = &self;
        assert_eq!(*status, want, "\nstdout:\n{stdout}\nstderr:\n{stderr}");
        self
    }

    /// The last line of `--json` output.
    #[track_caller]
    pub fn json(&self) -> Value {
        let line = self.stdout.lines().last().expect("a line of output");
        serde_json::from_str(line).expect("a JSON object a line")
    }
}

/// Runs `jejak` in `dir`.
pub fn jejak(dir: &Path, arguments: &[&str]) -> Ended {
    jejak_with(dir, &[], arguments)
}

/// Runs `jejak` in `dir` with these variables.
pub fn jejak_with(dir: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Ended {
    let ended = Command::new(env!("CARGO_BIN_EXE_jejak"))
        .args(arguments)
        .current_dir(dir)
        .env_remove("JEJAK_POLICY")
        .env_remove("SSH_AUTH_SOCK")
        .envs(variables.iter().copied())
        .output()
        .expect("the program runs");
    Ended {
        status: ended.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&ended.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&ended.stderr).into_owned(),
    }
}

/// A `jejak serve` that is killed when it is dropped.
pub struct Serving {
    child: Child,
    pub url: String,
}

impl Serving {
    /// Serves the log in `dir/log` on a free port.
    pub fn start(dir: &Path, log: &str) -> Self {
        Self::with(dir, &["serve", log, "--listen", "127.0.0.1:0"])
    }

    pub fn with(dir: &Path, arguments: &[&str]) -> Self {
        Self::with_variables(dir, &[], arguments)
    }

    pub fn with_variables(dir: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Self {
        let mut serving = Self::spawn(dir, variables, arguments);
        let mut line = String::new();
        let stdout = serving.child.stdout.take().expect("stdout is piped");
        BufReader::new(stdout).read_line(&mut line).expect("the server speaks");
        let line: Value = serde_json::from_str(&line).expect("one JSON object a log");
        serving.url = line["url"].as_str().expect("a URL").to_owned();
        serving
    }

    /// Starts it, and does not wait until it serves. Knows no URL.
    pub fn in_background(dir: &Path, arguments: &[&str]) -> Self {
        Self::spawn(dir, &[], arguments)
    }

    fn spawn(dir: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_jejak"))
            .arg("--json")
            .args(arguments)
            .current_dir(dir)
            .env_remove("SSH_AUTH_SOCK")
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program runs");
        Self { child, url: String::new() }
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to stop, and waits: its exit code, and how long it took.
    pub fn terminate(mut self) -> (Option<i32>, Duration) {
        let started = Instant::now();
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process has an id"), Signal::TERM).expect("it runs");
        let status = self.child.wait().expect("it ends");
        (status.code(), started.elapsed())
    }

    /// Waits until it ends by itself, and gives its exit code.
    pub fn wait(&mut self) -> Option<i32> {
        self.child.wait().expect("it ends").code()
    }

    /// Kills it as a power switch would kill the process.
    pub fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address that is free now, to come back to.
pub fn free_address() -> String {
    let bound = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    bound.local_addr().unwrap().to_string()
}

/// Every file below a directory, in order; none if it is not there.
pub fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(files_below(&path)),
            false => files.push(path),
        }
    }
    files.sort();
    files
}

/// The root of the project.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Says that a test cannot run here. Runners hide what a passing test prints, so the line goes to
/// the file `JEJAK_SKIPPED` too, which `./test` shows; with `JEJAK_SKIP_NONE` the test fails.
pub fn skipped(reason: impl std::fmt::Display) {
    println!("SKIPPED: {reason}");
    assert!(env::var_os("JEJAK_SKIP_NONE").is_none(), "everything must run here: {reason}");
    if let Some(file) = env::var_os("JEJAK_SKIPPED") {
        let mut file = OpenOptions::new().create(true).append(true).open(file).unwrap();
        file.write_all(format!("SKIPPED: {reason}\n").as_bytes()).unwrap();
    }
}

/// Real results, where they are; `None` is said aloud.
pub fn real_data() -> Option<PathBuf> {
    let default = || root().join("../shared/data/pilpres2019");
    let dir = env::var_os("JEJAK_DATA").map_or_else(default, PathBuf::from);
    if dir.join("official.csv.gz").exists() {
        return Some(dir);
    }
    skipped(format_args!("no real election in {} (JEJAK_DATA)", dir.display()));
    None
}

/// Makes a log of the example election in `dir/log`, serves it, and mandates `officer.key`.
pub fn example_log(dir: &Path) -> Serving {
    for file in ["units.csv", "form.json"] {
        fs::copy(root().join("examples").join(file), dir.join(file)).expect("examples are there");
    }
    let init = ["init", "log", "--origin", "log.example/2024", "--units", "units.csv"];
    jejak(dir, &[&init[..], &["--contest", "ppwp=01,02"]].concat()).exit(0);
    let serving = Serving::start(dir, "log");
    let by = ["--by", "log/keys/root", "--role", "official", "--units", "ID"];
    let url = ["--url", &serving.url, "-p", "log/policy", "--new", "officer.key"];
    jejak(dir, &[&["mandate"][..], &by, &url].concat()).exit(0);
    serving
}
