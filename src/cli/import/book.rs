//! The book of an import: its terms, and entries and proofs of every batch that was logged.
//!
//! ```text
//! import.json              the terms, and one run for the first import and each revision
//! batch/<number>.gz        the entries of a batch, framed as in a C2SP entry bundle, in gzip
//! batch/<number>.json      its rows, its checkpoint and the compact proof; written last
//! ```

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use jejak_proofs::{
    merkle::{Hash, entries, leaf_hash, push_entry},
    note::{Receipt, UnverifiedCheckpoint},
    tally::{Id, KeyRef, Minute, Reason, Word},
};
use serde::{Deserialize, Serialize};

use super::{
    digest,
    rows::{Sheet, Statement},
};
use crate::{
    cli::{
        exit::{Exit, Failure},
        files,
    },
    client::BatchSubmitted,
};

/// What all entries of an import have in common.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    pub basis: Word,
    pub contest: Id,
    pub election: Id,
    pub form: Word,
    pub genesis: Hash,
    pub key: KeyRef,
    pub log: String,
    pub round: Word,
    pub runs: Vec<Run>,
}

/// One table: the first, one that grew, or a revision of what was imported before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    pub csv_sha256: Hash,
    pub issued_at: Minute,
    pub reason: Option<Reason>,
    pub decision: Option<Hash>,
    /// How many rows it has to log.
    pub rows: u64,
    /// How many of them the log refused, for good, when they were last sent.
    pub refused: u64,
}

/// A run of one table, and what it has still to log.
#[derive(Debug)]
pub struct Plan<'a> {
    /// Its place among the runs.
    pub number: usize,
    pub run: Run,
    pub todo: Vec<Statement<'a>>,
}

/// A batch that is logged.
#[derive(Debug)]
pub struct Batch {
    bundle: Vec<u8>,
    proof: BatchProof,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BatchProof {
    checkpoint: String,
    hashes: Vec<String>,
    /// The run that sent it, from 0.
    run: usize,
    /// Unit, index in the log, `seq`, and a digest of the row; in the order of the entries.
    rows: Vec<(String, u64, u32, String)>,
}

impl Batch {
    /// The entries of a batch that the log took, with their indexes, and the proof for all.
    pub fn new<'a>(
        logged: impl Iterator<Item = (&'a Statement<'a>, &'a [u8], u64)>,
        answer: &BatchSubmitted,
        run: usize,
    ) -> Self {
        let mut bundle = Vec::new();
        let mut rows = Vec::new();
        for (statement, entry, index) in logged {
            push_entry(&mut bundle, entry).expect("the log took the entry, so it has its length");
            let unit = statement.row.unit.to_string();
            rows.push((unit, index, statement.seq, digest(statement.row)));
        }
        let proof = BatchProof {
            checkpoint: answer.checkpoint.note().to_owned(),
            hashes: answer.hashes.iter().map(Hash::to_base64).collect(),
            run,
            rows,
        };
        Self { bundle, proof }
    }
}

/// The newest statement that was logged for a unit.
#[derive(Clone, Debug)]
struct Latest {
    run: usize,
    batch: u64,
    place: usize,
    seq: u32,
    digest: String,
}

/// The directory of an import.
#[derive(Debug)]
pub struct Book {
    dir: PathBuf,
    terms: Option<Terms>,
    latest: BTreeMap<String, Latest>,
    /// Rows that are in the book, by run.
    kept: BTreeMap<usize, u64>,
    next: u64,
}

impl Book {
    /// Opens the directory, which need not exist yet, and reads what was logged.
    pub fn open(dir: &Path) -> Result<Self, Failure> {
        let file = dir.join("import.json");
        let terms = match file.exists() {
            true => Some(parse(&file)?),
            false => None,
        };
        let (latest, kept) = (BTreeMap::new(), BTreeMap::new());
        let mut book = Self { dir: dir.to_owned(), terms, latest, kept, next: 0 };
        for number in book.numbers()? {
            let proof: BatchProof = parse(&book.path(number, "json"))?;
            let run = proof.run;
            *book.kept.entry(run).or_default() += proof.rows.len() as u64;
            for (place, (unit, _, seq, digest)) in proof.rows.into_iter().enumerate() {
                let newer = book.latest.get(&unit).is_none_or(|latest| latest.seq < seq);
                if newer {
                    book.latest.insert(unit, Latest { run, batch: number, place, seq, digest });
                }
            }
            book.next = number + 1;
        }
        Ok(book)
    }

    /// What all runs have in common, if there was one.
    pub fn terms(&self) -> Option<&Terms> {
        self.terms.as_ref()
    }

    /// Begins an import, which has no run yet. Writes nothing.
    pub fn begin(&mut self, terms: Terms) {
        self.terms = Some(terms);
    }

    /// Goes on with the run of this table, or begins a new one, which is then on disk before
    /// anything of it is sent.
    ///
    /// A row in flight can be made again, byte for byte, only under the terms of its own run. So
    /// nothing new begins before every row of the runs before is in the book or refused.
    pub fn plan<'a>(&mut self, sheet: &'a Sheet, asked: Run) -> Result<Plan<'a>, Failure> {
        let runs = self.terms.as_ref().map_or(&[][..], |terms| &terms.runs);
        let is_asked = |run: &Run| {
            let same_reason = (run.reason, run.decision) == (asked.reason, asked.decision);
            run.csv_sha256 == asked.csv_sha256 && (asked.reason.is_none() || same_reason)
        };
        let known = runs.iter().rposition(is_asked);
        let number = known.unwrap_or(runs.len());
        if let Some((_, run)) =
            runs.iter().enumerate().take(number).find(|run| !self.is_whole(*run))
        {
            return Err(unfinished(run, &self.dir));
        }
        let mut run = known.map_or(asked, |known| runs[known].clone());
        let todo = self.missing(sheet, number, &run)?;
        let rows = todo.len() as u64 + self.kept.get(&number).copied().unwrap_or(0);
        let mut terms = self.terms.clone().expect("an import that plans has begun");
        if known.is_none() && !todo.is_empty() {
            run.rows = rows;
            terms.runs.push(run.clone());
            files::make_dir(&self.dir.join("batch"))?;
            self.write_terms(terms)?;
        } else if known.is_some() && rows < run.rows {
            // What later runs have revised need not come back.
            terms.runs[number].rows = rows;
            self.write_terms(terms)?;
        }
        Ok(Plan { number, run, todo })
    }

    /// Whether what became of every row of a run is known.
    fn is_whole(&self, (number, run): (usize, &Run)) -> bool {
        self.kept.get(&number).copied().unwrap_or(0) + run.refused >= run.rows
    }

    /// Notes that every row of a run was answered, and how many were refused for good. A run of
    /// which the log took nothing is forgotten: its terms bind nobody.
    pub fn settle(&mut self, number: usize, refused: u64) -> Result<(), Failure> {
        let Some(mut terms) = self.terms.clone().filter(|terms| number < terms.runs.len()) else {
            return Ok(());
        };
        let last = number + 1 == terms.runs.len();
        if last && !self.kept.contains_key(&number) && refused >= terms.runs[number].rows {
            terms.runs.pop();
        } else if terms.runs[number].refused == refused {
            return Ok(());
        } else {
            terms.runs[number].refused = refused;
        }
        if terms.runs.is_empty() {
            self.terms = None;
            return files::remove(&self.dir.join("import.json"));
        }
        self.write_terms(terms)
    }

    fn write_terms(&mut self, terms: Terms) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(&terms).expect("terms are plain data") + "\n";
        files::write(&self.dir.join("import.json"), text.as_bytes())?;
        self.terms = Some(terms);
        Ok(())
    }

    /// The rows that are not logged as they stand: new ones, and under a revision changed ones. A
    /// later run than `number` has the last word.
    fn missing<'a>(
        &self,
        sheet: &'a Sheet,
        number: usize,
        run: &Run,
    ) -> Result<Vec<Statement<'a>>, Failure> {
        let mut missing = Vec::new();
        let mut leaves: BTreeMap<u64, Vec<Hash>> = BTreeMap::new();
        for row in sheet.rows() {
            let Some(latest) = self.latest.get(row.unit.as_str()) else {
                missing.push(Statement { row, seq: 0, prev: None });
                continue;
            };
            if latest.digest == digest(row) || latest.run >= number {
                continue;
            }
            if run.reason.is_none() {
                let message = "the table differs from the one that was imported";
                return Err(Failure::config(message).next(
                    "pass --revise REASON --decision SHA256 to log the changes as revisions",
                ));
            }
            let of_batch = match leaves.entry(latest.batch) {
                Entry::Occupied(leaves) => leaves.into_mut(),
                Entry::Vacant(place) => {
                    let bundle = self.bundle(latest.batch)?;
                    place.insert(self.leaves(latest.batch, &bundle)?)
                }
            };
            let prev = of_batch.get(latest.place).copied();
            missing.push(Statement { row, seq: latest.seq + 1, prev });
        }
        Ok(missing)
    }

    /// Keeps a batch that was logged: the entries first, then the file that counts.
    pub fn keep(&mut self, batch: &Batch) -> Result<(), Failure> {
        if batch.proof.rows.is_empty() {
            return Ok(());
        }
        let number = self.next;
        self.next += 1;
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        let packed = encoder.write_all(&batch.bundle).and_then(|()| encoder.finish());
        let packed = packed.expect("writing to memory does not fail");
        files::write(&self.path(number, "gz"), &packed)?;
        let proof = serde_json::to_string(&batch.proof).expect("proofs are plain data") + "\n";
        files::write(&self.path(number, "json"), proof.as_bytes())?;
        *self.kept.entry(batch.proof.run).or_default() += batch.proof.rows.len() as u64;
        Ok(())
    }

    /// Cuts out the newest entry about a unit and its receipt.
    pub fn receipt(&self, unit: &str) -> Result<(Vec<u8>, Receipt), Failure> {
        let latest = self.latest.get(unit).ok_or_else(|| {
            let message = format!("{unit} is not in {}", self.dir.display());
            Failure::new(Exit::NotInLog, message)
        })?;
        let file = self.path(latest.batch, "json");
        let damaged = || Failure::config(format!("{} is damaged", file.display()));
        let proof: BatchProof = parse(&file)?;
        let bundle = self.bundle(latest.batch)?;
        let hashes = self.leaves(latest.batch, &bundle)?;
        if hashes.len() != proof.rows.len() {
            return Err(damaged());
        }
        let index = proof.rows[latest.place].1;
        let mut leaves: Vec<(u64, Hash)> = proof.rows.iter().map(|row| row.1).zip(hashes).collect();
        leaves.sort_unstable();
        leaves.dedup();
        let checkpoint =
            UnverifiedCheckpoint::parse(proof.checkpoint.as_bytes()).map_err(|_| damaged())?;
        let compact = proof.hashes.iter().map(|hash| Hash::from_base64(hash));
        let compact: Vec<Hash> = compact.collect::<Result<_, _>>().map_err(|_| damaged())?;
        let proofs = checkpoint
            .claimed_head()
            .split_batch(&leaves, &compact)
            .map_err(|error| Failure::new(Exit::Inclusion, error))?;
        let place = leaves.iter().position(|leaf| leaf.0 == index).ok_or_else(damaged)?;
        let proof = proofs.into_iter().nth(place).ok_or_else(damaged)?;
        let entry = entries(&bundle).map_err(|_| damaged())?[latest.place].to_vec();
        Ok((entry, Receipt { index, proof, checkpoint, extra: None }))
    }

    fn bundle(&self, batch: u64) -> Result<Vec<u8>, Failure> {
        let file = self.path(batch, "gz");
        let mut bundle = Vec::new();
        GzDecoder::new(&*files::read(&file)?)
            .read_to_end(&mut bundle)
            .map_err(|error| Failure::config(format!("{}: {error}", file.display())))?;
        Ok(bundle)
    }

    fn leaves(&self, batch: u64, bundle: &[u8]) -> Result<Vec<Hash>, Failure> {
        let file = self.path(batch, "gz");
        let entries = entries(bundle)
            .map_err(|error| Failure::config(format!("{}: {error}", file.display())))?;
        Ok(entries.into_iter().map(leaf_hash).collect())
    }

    /// The numbers of all batches that are whole, ascending.
    fn numbers(&self) -> Result<Vec<u64>, Failure> {
        let dir = self.dir.join("batch");
        if !dir.exists() {
            return Ok(Vec::new());
        }
        let fail = |error| Failure::config(format!("cannot list {}: {error}", dir.display()));
        let mut numbers = Vec::new();
        for file in fs::read_dir(&dir).map_err(fail)? {
            let name = file.map_err(fail)?.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(".json"));
            numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn path(&self, batch: u64, ending: &str) -> PathBuf {
        self.dir.join("batch").join(format!("{batch:06}.{ending}"))
    }
}

fn unfinished(run: &Run, dir: &Path) -> Failure {
    let (table, time) = (run.csv_sha256, &run.issued_at);
    let message = format!("rows of the table of {time} may be in the log without a proof here");
    Failure::config(message).next(format!(
        "finish first: jejak import OLD.csv {}, with the table whose SHA-256 is {table}",
        dir.display()
    ))
}

fn parse<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, Failure> {
    serde_json::from_slice(&files::read(path)?)
        .map_err(|error| Failure::config(format!("{}: {error}", path.display())))
}
