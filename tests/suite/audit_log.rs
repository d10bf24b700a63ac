//! Logs on disk for the tests of audits, built without the log's own code above the journal: the
//! tree is hashed here, tile by tile.

use std::{fs, path::Path};

use bytes::Bytes;
use jejak::store::{Journal, JournalOptions, Record};
use jejak_proofs::{
    merkle::{Hash, TreeHead, leaf_hash, node_hash, push_entry, sha256},
    note::{Checkpoint, KeyKind, Policy, SigningKey},
    tally::{
        Body, FileRef, KeyRef, LogKey, Manifest, Registers, Role, Tally, UNIT_HEADER, UnitCode,
    },
};

pub const ORIGIN: &str = "log.example/test";

/// The entries of a log and the keys that sign for it.
pub struct Election {
    pub entries: Vec<Bytes>,
    pub units: Vec<u8>,
    pub contests: Vec<u8>,
    pub key: SigningKey,
    pub policy_text: String,
    pub policy: Policy,
}

/// A small source of numbers that are the same in every run.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mixed = (self.0 >> 33) ^ self.0;
        (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) as usize % bound
    }
}

impl Election {
    pub fn new(size: u64) -> Self {
        let units =
            format!("{UNIT_HEADER}\nID,,nation,Nusantara,,\nID1,ID,tps,,100,110\n").into_bytes();
        let contests = br#"{"id":"ppwp","options":["01","02"],"scope":["ID"]}
"#
        .to_vec();
        let root = SigningKey::from_seed("root/ID", KeyKind::Ed25519, [1; 32]).unwrap();
        let officer = SigningKey::from_seed("kpps/ID1", KeyKind::Ed25519, [2; 32]).unwrap();
        let key = SigningKey::from_seed(ORIGIN, KeyKind::Ed25519, [3; 32]).unwrap();
        let manifest = Body::Manifest(Box::new(manifest(&root, &key, &units, &contests)));
        let mut entries = vec![Bytes::from(manifest.sign(&[&root]))];
        let genesis = leaf_hash(&entries[0]);
        let verifier = officer.verifier();
        let by = KeyRef::new(verifier.name(), verifier.id());
        for number in 1..size {
            let tally = tally(&by, &genesis, number as u32);
            entries.push(Body::Tally(Box::new(tally)).sign(&[&officer]).into());
        }
        entries.truncate(size as usize);
        let policy_text = Policy::compose(&[key.verifier()], None, &genesis).unwrap();
        let policy = Policy::parse(&policy_text).unwrap();
        Self { entries, units, contests, key, policy_text, policy }
    }

    /// The tree of the first `size` entries.
    pub fn tree(&self, size: u64) -> Tiles {
        Tiles::of(&self.entries[..size as usize])
    }

    pub fn checkpoint(&self, size: u64) -> Checkpoint {
        Checkpoint::sign(TreeHead { size, root: self.tree(size).root() }, &self.key).unwrap()
    }

    /// Writes the directory of a log whose checkpoint covers everything.
    pub fn write(&self, dir: &Path, options: Shape) {
        let size = self.entries.len() as u64;
        let log = dir.join("log");
        put(&dir.join("policy"), self.policy_text.as_bytes());
        put(&log.join("lock"), b"");
        put(&log.join("checkpoint"), self.checkpoint(size).note().as_bytes());
        for bytes in [&self.units, &self.contests] {
            put(&log.join("register").join(sha256(bytes).to_string()), bytes);
        }
        let mut snapshot = vec![7; 300];
        snapshot.extend_from_slice(sha256(&snapshot).as_bytes());
        put(&log.join("derived/ledger"), &snapshot);
        for (path, bytes) in self.tree(size).files(&self.entries) {
            if !path.contains(".p/") {
                put(&log.join(path), &bytes);
            }
        }
        let journal_options = JournalOptions { segment_len: options.segment_len, free_min: 0 };
        let mut journal = Journal::create(&log.join("journal"), journal_options).unwrap();
        let (mut first, mut tree) = (0, Grown::default());
        for batch in self.entries.chunks(options.batch) {
            batch.iter().for_each(|entry| tree.push(leaf_hash(entry)));
            let head = TreeHead { size: first + batch.len() as u64, root: tree.root() };
            let record = Record { first, time_ms: first, head, entries: batch.to_vec() };
            journal.reserve(batch.iter().map(|entry| entry.len() as u64 + 2).sum()).unwrap();
            journal.append(&record).unwrap();
            first = head.size;
        }
        if options.trim {
            journal.trim(size).unwrap();
        }
    }
}

/// How a log lies on disk.
#[derive(Clone, Copy)]
pub struct Shape {
    pub segment_len: u64,
    pub batch: usize,
    pub trim: bool,
}

/// Everything is still in one journal segment.
pub const WHOLE_JOURNAL: Shape = Shape { segment_len: 8 << 20, batch: 100, trim: false };
/// Several segments.
pub const SEGMENTS: Shape = Shape { segment_len: 256 << 10, batch: 100, trim: false };
/// Only the end of the journal is there.
pub const TRIMMED: Shape = Shape { segment_len: 64 << 10, batch: 40, trim: true };

fn put(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// A second implementation of the tree: rows of hashes, each over 256 of the row below.
pub struct Tiles {
    rows: Vec<Vec<Hash>>,
    leaves: Vec<Hash>,
}

impl Tiles {
    fn of(entries: &[Bytes]) -> Self {
        let leaves: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
        let mut rows = vec![leaves.clone()];
        while rows.last().unwrap().len() >= 256 {
            let above = rows.last().unwrap().chunks_exact(256).map(mth).collect();
            rows.push(above);
        }
        Self { rows, leaves }
    }

    pub fn root(&self) -> Hash {
        mth(&self.leaves)
    }

    /// Every tile and bundle with its path.
    pub fn files(&self, entries: &[Bytes]) -> Vec<(String, Vec<u8>)> {
        let mut files = Vec::new();
        for (level, row) in self.rows.iter().enumerate() {
            for (index, hashes) in row.chunks(256).enumerate() {
                let bytes = hashes.iter().flat_map(|hash| *hash.as_bytes()).collect();
                files.push((path(&level.to_string(), index, hashes.len()), bytes));
            }
        }
        for (index, entries) in entries[..self.leaves.len()].chunks(256).enumerate() {
            let mut bytes = Vec::new();
            entries.iter().for_each(|entry| push_entry(&mut bytes, entry).unwrap());
            files.push((path("entries", index, entries.len()), bytes));
        }
        files
    }
}

/// C2SP tlog-tiles, for fewer than a million tiles.
fn path(level: &str, index: usize, width: usize) -> String {
    let number = match index {
        0..1_000 => format!("{index:03}"),
        _ => format!("x{:03}/{:03}", index / 1_000, index % 1_000),
    };
    let partial = if width == 256 { String::new() } else { format!(".p/{width}") };
    format!("tile/{level}/{number}{partial}")
}

/// RFC 6962, Section 2.1, word for word.
fn mth(hashes: &[Hash]) -> Hash {
    match hashes.len() {
        0 => TreeHead::EMPTY.root,
        1 => hashes[0],
        n => {
            let k = n.next_power_of_two() / 2;
            node_hash(&mth(&hashes[..k]), &mth(&hashes[k..]))
        }
    }
}

/// A tree that grows, for the heads in the journal: a stack of (height, hash).
#[derive(Default)]
struct Grown(Vec<(u32, Hash)>);

impl Grown {
    fn push(&mut self, leaf: Hash) {
        let mut top = (0, leaf);
        while self.0.last().is_some_and(|last| last.0 == top.0) {
            let left = self.0.pop().unwrap();
            top = (top.0 + 1, node_hash(&left.1, &top.1));
        }
        self.0.push(top);
    }

    fn root(&self) -> Hash {
        let mut hashes = self.0.iter().rev().map(|(_, hash)| *hash);
        let first = hashes.next().unwrap();
        hashes.fold(first, |right, left| node_hash(&left, &right))
    }
}

fn manifest(root: &SigningKey, key: &SigningKey, units: &[u8], contests: &[u8]) -> Manifest {
    let word = |text: &str| text.parse().unwrap();
    let file = |bytes: &[u8]| FileRef { bytes: bytes.len() as u64, sha256: sha256(bytes) };
    let role = Role {
        forms: vec![word("c-hasil")],
        id: "kpps".parse().unwrap(),
        may_grant: vec![],
        may_open: vec![word("tps")],
        may_revise: vec![word("tps")],
        official: true,
    };
    Manifest {
        bases: vec![word("form_signed")],
        decision: None,
        election: "id-2024".parse().unwrap(),
        exempt_kinds: vec![],
        genesis: None,
        levels: vec![word("nation"), word("tps")],
        log: ORIGIN.into(),
        log_keys: vec![LogKey { from: 0, until: None, vkey: key.verifier().to_string().into() }],
        previous: None,
        reason: None,
        refusal_key: None,
        registers: Registers { contests: file(contests), units: file(units) },
        roles: vec![role],
        root_keys: vec![root.verifier().to_string().into()],
        rounds: vec![word("regular")],
        station_kinds: vec![word("tps")],
        station_max: 300,
        threshold: 1,
        version: 1,
    }
}

fn tally(by: &KeyRef, genesis: &Hash, seq: u32) -> Tally {
    let unit: UnitCode = "ID1".parse().unwrap();
    Tally {
        ballots: None,
        basis: "form_signed".parse().unwrap(),
        by: by.clone(),
        children: None,
        contest: "ppwp".parse().unwrap(),
        decision: None,
        docs: vec![],
        election: "id-2024".parse().unwrap(),
        form: "c-hasil".parse().unwrap(),
        genesis: *genesis,
        invalid: Some(1),
        issued_at: "2024-02-14T15:00Z".parse().unwrap(),
        log: ORIGIN.into(),
        prev: None,
        reason: None,
        registered: None,
        round: "regular".parse().unwrap(),
        seq,
        total: Some(31),
        unit,
        valid: Some(30),
        voters: None,
        votes: [("01", 10), ("02", 20)]
            .map(|(option, votes)| (option.parse().unwrap(), Some(votes)))
            .into(),
    }
}
