//! A log that says whatever a test wants, served over HTTP.
//!
//! Its tree is computed by recursion out of RFC 6962, with no code of the program.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
    thread,
};

use jejak_proofs::{
    merkle::{BundleId, Hash, TileId, TreeHead, leaf_hash, sha256},
    note::{Checkpoint, Policy, SigningKey},
};

use super::{
    election::{self, Clerk, ORIGIN, key},
    wide,
};

/// What the fake answers with.
#[derive(Default)]
pub struct Answers {
    pub files: BTreeMap<String, Vec<u8>>,
    /// Paths that it answers with 500.
    pub failing: BTreeSet<String>,
    /// Every path that was asked for, in order.
    pub asked: Vec<String>,
}

/// A served log.
pub struct Fake {
    pub url: String,
    answers: Arc<Mutex<Answers>>,
}

/// RFC 6962, Section 2.1.
pub fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => sha256(b""),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            sha256(&[&[1][..], root(left).as_bytes(), root(right).as_bytes()].concat())
        }
    }
}

pub fn head(entries: &[Vec<u8>]) -> TreeHead {
    let leaves: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
    TreeHead { size: leaves.len() as u64, root: root(&leaves) }
}

pub fn checkpoint(entries: &[Vec<u8>], key: &SigningKey) -> Checkpoint {
    Checkpoint::sign(head(entries), key).unwrap()
}

/// Every file of an honest log with these entries.
pub fn files(entries: &[Vec<u8>]) -> BTreeMap<String, Vec<u8>> {
    let leaves: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
    let size = leaves.len() as u64;
    let mut files = BTreeMap::new();
    files.insert("checkpoint".to_owned(), checkpoint(entries, &key(ORIGIN)).note().into());
    for id in BundleId::of_tree(0, size) {
        let start = id.index as usize * 256;
        let mut bundle = Vec::new();
        for entry in &entries[start..start + usize::from(id.width)] {
            bundle.extend((entry.len() as u16).to_be_bytes());
            bundle.extend(entry);
        }
        files.insert(id.path(), bundle);
    }
    for id in TileId::of_tree(0, size) {
        let leaves_each = 256_usize.pow(u32::from(id.level));
        let first = id.index as usize * 256;
        let node = |n: usize| *root(&leaves[n * leaves_each..(n + 1) * leaves_each]).as_bytes();
        let tile = (first..first + usize::from(id.width)).flat_map(node).collect();
        files.insert(id.path(), tile);
    }
    let registers = [election::units(election::STATIONS), election::units(election::STATIONS + 7)];
    let wide = [wide::units(), wide::contests()];
    for register in registers.into_iter().chain([election::contests()]).chain(wide) {
        files.insert(format!("register/{}", sha256(register.as_bytes())), register.into());
    }
    files
}

impl Fake {
    /// Serves an honest log with these entries.
    pub fn serve(entries: &[Vec<u8>]) -> Self {
        Self::of(files(entries))
    }

    /// Serves these files.
    pub fn of(files: BTreeMap<String, Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answers = Arc::new(Mutex::new(Answers { files, ..Answers::default() }));
        let shared = answers.clone();
        thread::spawn(move || {
            for socket in listener.incoming() {
                let answers = shared.clone();
                thread::spawn(move || answer(&socket.unwrap(), &answers));
            }
        });
        Self { url, answers }
    }

    pub fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap()
    }

    /// Goes over to another history, or to a later part of the same.
    pub fn show(&self, entries: &[Vec<u8>]) {
        self.answers().files = files(entries);
    }

    /// Changes one file.
    pub fn change(&self, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
        change(self.answers().files.get_mut(path).unwrap_or_else(|| panic!("no {path}")));
    }

    pub fn remove(&self, path: &str) {
        self.answers().files.remove(path).unwrap_or_else(|| panic!("no {path}"));
    }

    /// Requests for bundles since the last call.
    pub fn bundles_asked(&self) -> Vec<String> {
        let mut asked = std::mem::take(&mut self.answers().asked);
        asked.retain(|path| path.starts_with("tile/entries/"));
        asked.sort();
        asked
    }
}

fn answer(socket: &TcpStream, answers: &Mutex<Answers>) {
    let mut reader = BufReader::new(socket);
    loop {
        let mut path = None;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if line == "\r\n" {
                break;
            }
            path = path.or_else(|| line.split(' ').nth(1).map(|path| path[1..].to_owned()));
        }
        let path = path.expect("a request line");
        let (body, failing) = {
            let mut answers = answers.lock().unwrap();
            let body = answers.files.get(&path).cloned();
            let failing = answers.failing.contains(&path);
            answers.asked.push(path);
            (body, failing)
        };
        let (status, body) = match body {
            _ if failing => ("500 Internal Server Error", Vec::new()),
            Some(body) => ("200 OK", body),
            None => ("404 Not Found", Vec::new()),
        };
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
        let mut socket = socket;
        if socket.write_all(&[head.as_bytes(), &body].concat()).is_err() {
            return;
        }
    }
}

/// A directory with the policy that pins the log of the tests, and room for states.
pub struct Desk {
    pub dir: tempfile::TempDir,
    pub policy: PathBuf,
}

impl Desk {
    pub fn new() -> Self {
        let genesis = Clerk::new().genesis.unwrap();
        Self::with(&Policy::compose(&[key(ORIGIN).verifier()], None, &genesis).unwrap())
    }

    /// For a log that begins with this entry.
    pub fn of(log: &[Vec<u8>]) -> Self {
        let genesis = leaf_hash(&log[0]);
        Self::with(&Policy::compose(&[key(ORIGIN).verifier()], None, &genesis).unwrap())
    }

    pub fn with(policy: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("policy");
        std::fs::write(&path, policy).unwrap();
        Self { dir, policy: path }
    }

    pub fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// One run of the monitor with the state of this desk.
    pub fn run(&self, log: &Fake, more: &[&str]) -> super::Run {
        super::run(&log.url, &self.policy, &self.state(), more)
    }

    /// Another desk with the same policy and a copy of the state.
    pub fn copy(&self) -> Self {
        let copy = Self::with(&std::fs::read_to_string(&self.policy).unwrap());
        copy_dir(&self.state(), &copy.state());
        copy
    }
}

pub fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_dir(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}
