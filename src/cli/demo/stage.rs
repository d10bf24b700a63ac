//! The stage of the demo: it tells, runs real commands, and keeps real servers.

use std::{
    env,
    fs::File,
    io::{self, BufRead as _, BufReader, Read},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::cli::{
    exit::{Exit, Failure},
    files,
    output::Output,
};

/// Lines of a command's output that are shown; the rest is in the files.
const SHOWN_LINES_MAX: usize = 30;

/// How long a command may take, also one that should refuse to serve.
const COMMAND_TIME_MAX: Duration = Duration::from_secs(120);

/// How long a stop may go unnoticed.
const NAP: Duration = Duration::from_millis(20);

/// Tells the story and runs its commands, all in one directory.
pub struct Stage<'a> {
    dir: PathBuf,
    program: PathBuf,
    output: &'a Output,
    /// Once true the story ends, and every server with it.
    stop: &'a AtomicBool,
    act: u32,
}

/// How a command ended, and what it said.
struct Ended {
    status: i32,
    out: Vec<u8>,
    err: Vec<u8>,
}

/// A `jejak serve` that ends with this value.
pub struct Running {
    child: Child,
    pub url: String,
}

impl<'a> Stage<'a> {
    pub fn new(dir: &Path, output: &'a Output, stop: &'a AtomicBool) -> Result<Self, Failure> {
        let program = env::current_exe()
            .map_err(|error| Failure::new(Exit::Internal, format!("this program: {error}")))?;
        Ok(Self { dir: dir.to_owned(), program, output, stop, act: 0 })
    }

    /// Begins an act.
    pub fn act(&mut self, title: &str, story: &str) {
        self.act += 1;
        self.output.text(format!("\n{}. {title}\n", self.act));
        self.tell(story);
    }

    /// Tells something.
    pub fn tell(&self, story: &str) {
        self.output.text(format!("{story}\n"));
    }

    /// Tells what the monitor found, and which entries prove it.
    pub fn finding(&self, finding: &Value) {
        let [id, severity, unit, rule, detail] = ["id", "severity", "unit", "rule", "detail"]
            .map(|f| finding[f].as_str().unwrap_or("-"));
        let entries = finding["entries"].as_array().map_or(&[][..], Vec::as_slice);
        let entries: Vec<String> = entries.iter().map(|entry| entry["index"].to_string()).collect();
        self.output.text(format!("     {id} {severity}, unit {unit}: {rule}"));
        detail.split("; ").for_each(|part| self.output.text(format!("       {part}")));
        match &entries[..] {
            [] => {}
            [entry] => self.output.text(format!("       proven by entry {entry}")),
            _ => self.output.text(format!("       proven by entries {}", entries.join(" and "))),
        }
        self.output.text("");
    }

    /// Runs a command as the reader could, shows its output, and gives its exit status.
    pub fn run(&self, arguments: &[&str]) -> Result<i32, Failure> {
        self.output.text(format!("   $ jejak {}", arguments.join(" ")));
        let Ended { status, out, err } = self.execute(arguments)?;
        self.show(&(String::from_utf8_lossy(&out) + &*String::from_utf8_lossy(&err)), status);
        Ok(status)
    }

    /// Runs a command with its results as JSON in a file, and gives exit status and results.
    pub fn keep(&self, arguments: &[&str], file: &str) -> Result<(i32, Vec<Value>), Failure> {
        self.output.text(format!("   $ jejak --json {} > {file}", arguments.join(" ")));
        let Ended { status, out, err } = self.execute(&[&["--json"][..], arguments].concat())?;
        self.write(file, &out)?;
        self.show(&String::from_utf8_lossy(&err), status);
        let results = out.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let results = results.map(serde_json::from_slice).collect::<Result<_, _>>();
        let results = results.map_err(|error| {
            Failure::new(Exit::Failure, format!("the demo stops: {file} is no JSON: {error}"))
        })?;
        Ok((status, results))
    }

    /// Runs a command that must succeed and has one result, kept as JSON in a file.
    pub fn ask(&self, arguments: &[&str], file: &str) -> Result<Value, Failure> {
        let (status, mut results) = self.keep(arguments, file)?;
        succeeded(status)?;
        Ok(results.pop().unwrap_or_default())
    }

    /// Writes a file of the story.
    pub fn write(&self, file: &str, bytes: &[u8]) -> Result<(), Failure> {
        files::write(&self.path(file), bytes)
    }

    /// Writes an object as people write them.
    pub fn write_json(&self, file: &str, object: &Value) -> Result<(), Failure> {
        self.write(file, format!("{object:#}\n").as_bytes())
    }

    /// Where a file of the story is.
    pub fn path(&self, file: &str) -> PathBuf {
        self.dir.join(file)
    }

    fn execute(&self, arguments: &[&str]) -> Result<Ended, Failure> {
        let mut child = Command::new(&self.program)
            .args(arguments)
            .current_dir(&self.dir)
            .env_remove("JEJAK_POLICY")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(cannot_run)?;
        let [out, err] = [reader(child.stdout.take()), reader(child.stderr.take())];
        let ended = self.wait(&mut child).map_err(cannot_run)?;
        let [out, err] = [out, err].map(|text| text.join().unwrap_or_default());
        if self.stop.load(Ordering::Relaxed) {
            return Err(Failure::new(Exit::Failure, "stopped before the story was told"));
        }
        Ok(Ended { status: ended.code().unwrap_or(-1), out, err })
    }

    fn show(&self, text: &str, status: i32) {
        let lines: Vec<&str> = text.lines().collect();
        for line in lines.iter().take(SHOWN_LINES_MAX) {
            self.output.text(format!("     {line}").trim_end());
        }
        if lines.len() > SHOWN_LINES_MAX {
            self.output.text(format!("     ... {} more lines", lines.len() - SHOWN_LINES_MAX));
        }
        self.output.text(format!("     [exit {status}]\n"));
    }

    /// Waits for a command, and ends it if the story is to stop or it takes too long.
    fn wait(&self, child: &mut Child) -> io::Result<ExitStatus> {
        let started = Instant::now();
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            if self.stop.load(Ordering::Relaxed) || started.elapsed() > COMMAND_TIME_MAX {
                terminate(child);
                return child.wait();
            }
            thread::sleep(NAP);
        }
    }

    /// Waits until somebody ends the demo.
    pub fn linger(&self) {
        while !self.stop.load(Ordering::Relaxed) {
            thread::sleep(NAP);
        }
    }

    /// Runs a command that must succeed for the story to go on.
    pub fn must(&self, arguments: &[&str]) -> Result<(), Failure> {
        succeeded(self.run(arguments)?)
    }

    /// Serves the log in a directory of the stage, until the value is dropped.
    pub fn serve(&self, log: &str, listen: SocketAddr) -> Result<Running, Failure> {
        self.start(log, &["serve", log], listen)
    }

    /// Starts the server of a directory of the stage, until the value is dropped.
    pub fn start(
        &self,
        name: &str,
        command: &[&str],
        listen: SocketAddr,
    ) -> Result<Running, Failure> {
        self.output.text(format!("   $ jejak {} &", command.join(" ")));
        let fail = |error: io::Error| Failure::new(Exit::Internal, format!("serve: {error}"));
        let trace = File::create(self.dir.join(format!("{name}.serve.log"))).map_err(fail)?;
        let parent = std::process::id().to_string();
        let mut child = Command::new(&self.program)
            .arg("--json")
            .args(command)
            .args(["--listen", &listen.to_string(), "--with-parent", &parent])
            .current_dir(&self.dir)
            .stdout(Stdio::piped())
            .stderr(trace)
            .spawn()
            .map_err(fail)?;
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let first = lines.next().and_then(Result::ok).unwrap_or_default();
        let url = serde_json::from_str::<Value>(&first)
            .ok()
            .and_then(|line| line["url"].as_str().map(str::to_owned));
        // Whatever else it prints must not fill the pipe.
        thread::spawn(move || lines.for_each(drop));
        let running = Running { child, url: url.unwrap_or_default() };
        if running.url.is_empty() {
            let message = format!("{name} is not served: see {name}.serve.log");
            return Err(Failure::new(Exit::Failure, message));
        }
        self.output.text(format!("     {}\n", running.url));
        Ok(running)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        terminate(&self.child);
        let _ = self.child.wait();
    }
}

fn terminate(child: &Child) {
    if let Some(pid) = Pid::from_raw(child.id() as i32) {
        let _ = kill_process(pid, Signal::TERM);
    }
}

/// The story goes on only if its commands do what it says.
fn succeeded(status: i32) -> Result<(), Failure> {
    if status == 0 {
        return Ok(());
    }
    let message = format!("the demo stops: that command ended with exit {status}");
    Err(Failure::new(Exit::Failure, message))
}

fn cannot_run(error: io::Error) -> Failure {
    Failure::new(Exit::Internal, format!("cannot run: {error}"))
}

/// Reads a pipe to its end, so that it never fills.
fn reader(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        bytes
    })
}

/// An address that is free now, for a policy that must name it before the server starts.
pub fn free_address(listen: SocketAddr) -> Result<SocketAddr, Failure> {
    let bound = TcpListener::bind(listen).and_then(|listener| listener.local_addr());
    bound.map_err(|error| Failure::config(format!("cannot listen on {listen}: {error}")))
}
