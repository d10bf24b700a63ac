//! `jejak import` and `jejak receipt`: a whole table of results at once.

mod book;
mod rows;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use jejak_proofs::{
    merkle::{ENTRY_LEN_MAX, Hash, sha256},
    tally::{Id, KeyRef, Reason, Word},
};
use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};
use serde_json::json;

pub use self::rows::Sheet;
use self::{
    book::{Batch, Book, Plan, Run, Terms},
    rows::{Row, Statement},
};
use super::{
    draft,
    exit::{Exit, Failure},
    files::{self, HeldKey},
    output::Output,
    place::{self, LogArgs, Place},
    refusal,
};
use crate::{
    client::{self, BatchSubmitted, Fetch, SubmitError},
    clock,
    log::{BATCH_BYTES_MAX, BATCH_ENTRIES_MAX},
};

/// Batches under way at once: enough that the log syncs one while others travel.
const SENDERS: usize = 3;

/// Sign and submit a table of results; a second run sends only what is missing.
#[derive(Debug, Args)]
pub struct ImportArgs {
    #[command(flatten)]
    log: LogArgs,
    /// The author's private key.
    #[arg(short, long, value_name = "KEY")]
    key: PathBuf,
    /// The results: unit,votes.<option>...,valid,invalid,total and more (SPEC.md, "Import").
    csv: PathBuf,
    /// Directory for entries and proofs, to resume from and to cut receipts out of.
    out: PathBuf,
    /// The contest. A directory has one; the first import names it.
    #[arg(long)]
    contest: Option<Id>,
    /// Which paper the numbers are from [default: c-hasil, or as the first import had it].
    #[arg(long)]
    form: Option<Word>,
    /// The round [default: regular, or as the first import had it].
    #[arg(long)]
    round: Option<Word>,
    /// What the statements rest on [default: human_transcription, or as the first import had it].
    #[arg(long)]
    basis: Option<Word>,
    /// Make rows that differ from what was imported before revisions, for this reason.
    #[arg(long, value_enum, requires = "decision")]
    revise: Option<ReasonArg>,
    /// SHA-256 of the decision that orders the revision.
    #[arg(long, value_name = "SHA256", requires = "revise")]
    decision: Option<Hash>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ReasonArg {
    Clerical,
    Court,
    OcrCorrection,
    Psu,
    Recount,
    Renvoi,
}

impl From<ReasonArg> for Reason {
    fn from(reason: ReasonArg) -> Self {
        match reason {
            ReasonArg::Clerical => Self::Clerical,
            ReasonArg::Court => Self::Court,
            ReasonArg::OcrCorrection => Self::OcrCorrection,
            ReasonArg::Psu => Self::Psu,
            ReasonArg::Recount => Self::Recount,
            ReasonArg::Renvoi => Self::Renvoi,
        }
    }
}

pub fn run(args: ImportArgs, output: &Output) -> Result<Exit, Failure> {
    let place = args.log.place()?;
    let key = files::read_key(&args.key)?;
    let csv = files::read_maybe_gzip(&args.csv)?;
    let sheet = Sheet::parse(&csv)
        .map_err(|error| Failure::config(format!("{}: {error}", args.csv.display())))?;
    let mut book = Book::open(&args.out)?;
    join(&args, &place, &key, &mut book)?;
    let run = Run {
        csv_sha256: sha256(&csv),
        issued_at: clock::now_minute().parse().expect("the clock gives a minute"),
        reason: args.revise.map(Reason::from),
        decision: args.decision,
        rows: 0,
        refused: 0,
    };
    let fetch = place.fetch()?;
    let Plan { number, run, todo } = book.plan(&sheet, run)?;
    let done = sheet.rows().len() - todo.len();

    let bar = output.progress(sheet.rows().len() as u64, "rows");
    bar.set_position(done as u64);
    let import = Import {
        fetch,
        place,
        key,
        terms: book.terms().cloned().expect("an import that was joined has terms"),
        run,
        number,
        book: Mutex::new(book),
        counts: Mutex::default(),
        output: output.clone(),
        bar,
    };
    let result = import.send_all(&todo);
    import.bar.finish_and_clear();
    // What was sent is kept in the book, whether or not the rest failed.
    import.report(sheet.rows().len(), done);
    result?;
    let counts = import.counts.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut book = import.book.into_inner().unwrap_or_else(PoisonError::into_inner);
    book.settle(number, counts.refused_for_good)?;
    Ok(if counts.refused.is_empty() { Exit::Ok } else { Exit::Failure })
}

/// Begins an import, or joins the one that the directory holds, under its terms.
fn join(args: &ImportArgs, place: &Place, key: &HeldKey, book: &mut Book) -> Result<(), Failure> {
    let verifier = key.verifier();
    let author = KeyRef::new(verifier.name(), verifier.id());
    if let Some(terms) = book.terms() {
        if terms.log != place.origin || terms.genesis != place.genesis || terms.key != author {
            let message = format!("{} is an import of another log or key", args.out.display());
            return Err(Failure::config(message).next("choose another directory"));
        }
        return agree(args, terms);
    }
    if args.revise.is_some() {
        return Err(Failure::config("nothing was imported yet that could be revised")
            .next("import without --revise first"));
    }
    let contest = args.contest.clone().ok_or_else(|| {
        Failure::new(Exit::Usage, "a first import names its contest").next("pass --contest ID")
    })?;
    let word = |given: &Option<Word>, default: &str| {
        given.clone().unwrap_or_else(|| default.parse().expect("a word of the vocabulary"))
    };
    book.begin(Terms {
        basis: word(&args.basis, "human_transcription"),
        contest,
        election: place.election()?,
        form: word(&args.form, "c-hasil"),
        genesis: place.genesis,
        key: author,
        log: place.origin.clone(),
        round: word(&args.round, "regular"),
        runs: Vec::new(),
    });
    Ok(())
}

/// What the command line says about an import that has begun is what that one says.
fn agree(args: &ImportArgs, terms: &Terms) -> Result<(), Failure> {
    let text = |word: &Option<Word>| word.as_ref().map(ToString::to_string);
    let contest = args.contest.as_ref().map(ToString::to_string);
    let given = [
        ("contest", contest, terms.contest.to_string()),
        ("form", text(&args.form), terms.form.to_string()),
        ("round", text(&args.round), terms.round.to_string()),
        ("basis", text(&args.basis), terms.basis.to_string()),
    ];
    for (option, given, used) in given {
        if given.is_some_and(|given| given != used) {
            let message = format!("{} is an import with --{option} {used}", args.out.display());
            return Err(Failure::config(message)
                .next(format!("leave out --{option}, or choose another directory")));
        }
    }
    Ok(())
}

/// An import under way.
struct Import {
    fetch: Fetch,
    place: Place,
    key: HeldKey,
    terms: Terms,
    run: Run,
    /// Its place among the runs.
    number: usize,
    book: Mutex<Book>,
    counts: Mutex<Counts>,
    output: Output,
    bar: ProgressBar,
}

/// What the log answered.
#[derive(Default)]
struct Counts {
    new: u64,
    known: u64,
    flags: BTreeMap<String, u64>,
    refused: BTreeMap<String, u64>,
    /// Unit and code of every row that was refused.
    refused_rows: Vec<(String, String)>,
    /// Those of them that were judged, so that they are not in the log.
    refused_for_good: u64,
}

/// One row, signed.
struct Signed<'a> {
    statement: &'a Statement<'a>,
    entry: String,
}

impl Import {
    /// Signs on all cores and sends from a few threads, in batches.
    fn send_all(&self, todo: &[Statement<'_>]) -> Result<(), Failure> {
        let (batches, queue) = mpsc::sync_channel::<Vec<Signed<'_>>>(SENDERS);
        let queue = Mutex::new(queue);
        let failed = AtomicBool::new(false);
        thread::scope(|scope| {
            let sender = || {
                loop {
                    let batch = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(batch) = batch else { return Ok(()) };
                    // After a failure the queue is drained, so that the signer is not held up.
                    if failed.load(Ordering::Relaxed) {
                        continue;
                    }
                    if let Err(failure) = self.send(&batch) {
                        failed.store(true, Ordering::Relaxed);
                        return Err(failure);
                    }
                }
            };
            let senders: Vec<_> = (0..SENDERS).map(|_| scope.spawn(sender)).collect();
            for chunk in todo.chunks(BATCH_ENTRIES_MAX) {
                if failed.load(Ordering::Relaxed) {
                    break;
                }
                let signed =
                    self.sign(chunk).inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
                for batch in signed {
                    // Nobody receives once every sender has failed.
                    let _ = batches.send(batch);
                }
            }
            drop(batches);
            let ended = senders.into_iter().map(|sender| {
                sender.join().unwrap_or_else(|_| {
                    Err(Failure::new(Exit::Internal, "a thread of the import panicked"))
                })
            });
            ended.collect::<Result<(), _>>()
        })
    }

    /// Signs rows, and cuts them where a batch would become too long.
    fn sign<'a>(&self, chunk: &'a [Statement<'a>]) -> Result<Vec<Vec<Signed<'a>>>, Failure> {
        let signed: Vec<Signed<'_>> = chunk
            .par_iter()
            .map(|statement| {
                let body = statement.body(&self.terms, &self.run);
                let entry = body.try_sign(&[&self.key]).map_err(draft::not_signed)?;
                Ok(Signed { statement, entry })
            })
            .collect::<Result<_, _>>()?;
        let mut batches = vec![Vec::new()];
        let mut bytes = 0;
        for signed in signed {
            let len = signed.entry.len() + 2;
            if bytes + len > BATCH_BYTES_MAX {
                batches.push(Vec::new());
                bytes = 0;
            }
            bytes += len;
            batches.last_mut().expect("there is always one").push(signed);
        }
        Ok(batches)
    }

    fn send(&self, batch: &[Signed<'_>]) -> Result<(), Failure> {
        if let Some(long) = batch.iter().find(|signed| signed.entry.len() > ENTRY_LEN_MAX) {
            let unit = &long.statement.row.unit;
            return Err(Failure::config(format!("the entry for {unit} is over 65535 bytes")));
        }
        let entries: Vec<&[u8]> = batch.iter().map(|signed| signed.entry.as_bytes()).collect();
        let Place { policy, patience, .. } = &self.place;
        let answer =
            client::submit_batch(&self.fetch, policy, &entries, *patience).map_err(|error| {
                match error {
                    SubmitError::Fetch(error) => place::unreachable(error)
                        .next("run the same command again: only what is missing is sent"),
                    error => Failure::new(super::verify::exit_of(&error), error),
                }
            })?;
        self.count(batch, &answer);
        let logged = batch.iter().zip(&answer.results).filter_map(|(signed, result)| {
            let item = result.as_ref().ok()?;
            Some((signed.statement, signed.entry.as_bytes(), item.index))
        });
        let batch_of_book = Batch::new(logged, &answer, self.number);
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        book.keep(&batch_of_book)?;
        self.bar.inc(batch.len() as u64);
        Ok(())
    }

    fn count(&self, batch: &[Signed<'_>], answer: &BatchSubmitted) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for (signed, result) in batch.iter().zip(&answer.results) {
            match result {
                Ok(item) => {
                    match item.status {
                        client::BatchStatus::Known => counts.known += 1,
                        _ => counts.new += 1,
                    }
                    for flag in &item.flags {
                        *counts.flags.entry(flag.clone()).or_default() += 1;
                    }
                }
                Err(refused) => {
                    let code = refused.code.as_deref().unwrap_or("no code").to_owned();
                    let unit = signed.statement.row.unit.to_string();
                    let object = json!({"unit": unit, "refused": code});
                    let text = || format!("{unit}: {}", refusal::explain(Some(&code)));
                    self.bar.suspend(|| self.output.notice(text, &object));
                    counts.refused_for_good += u64::from(refused.is_final());
                    *counts.refused.entry(code.clone()).or_default() += 1;
                    counts.refused_rows.push((unit, code));
                }
            }
        }
    }

    fn report(&self, rows: usize, done: usize) {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let list = |map: &BTreeMap<String, u64>| {
            map.iter().map(|(key, n)| format!("{key} {n}")).collect::<Vec<_>>().join(", ")
        };
        let refused_row = |(unit, code): &(String, String)| json!({"unit": unit, "code": code});
        let refused_rows: Vec<_> = counts.refused_rows.iter().map(refused_row).collect();
        self.output.result(
            || {
                let mut text = format!(
                    "{rows} rows: {} new, {} known to the log, {done} done before",
                    counts.new, counts.known
                );
                if !counts.flags.is_empty() {
                    text += &format!(
                        "\nform rules broken, logged as they are: {}",
                        list(&counts.flags)
                    );
                }
                if !counts.refused.is_empty() {
                    text += &format!("\nrefused: {}", list(&counts.refused));
                }
                text
            },
            &json!({
                "rows": rows,
                "new": counts.new,
                "known": counts.known,
                "done": done,
                "flags": counts.flags,
                "refused": counts.refused,
                "refused_rows": refused_rows,
            }),
        );
    }
}

/// Cut the receipt of one unit out of an import, offline.
#[derive(Debug, Args)]
pub struct ReceiptArgs {
    #[command(flatten)]
    policy: files::JudgeArgs,
    /// The directory of the import.
    dir: PathBuf,
    /// The unit.
    unit: String,
    /// Where to write `<unit>.note` and `<unit>.tlog-proof`.
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
}

pub fn receipt(args: ReceiptArgs, output: &Output) -> Result<Exit, Failure> {
    let policy = args.policy.read()?;
    let (entry, receipt) = Book::open(&args.dir)?.receipt(&args.unit)?;
    let checkpoint = receipt
        .verify(&entry, &policy)
        .map_err(|error| Failure::new(super::verify::exit_of_receipt(&error), error))?;
    files::make_dir(&args.out)?;
    let note = args.out.join(format!("{}.note", args.unit));
    let proof = note.with_extension("tlog-proof");
    files::write(&note, &entry)?;
    files::write(&proof, &receipt.to_bytes())?;
    let (index, size) = (receipt.index, checkpoint.head().size);
    output.result(
        || format!("entry {index} of {size}: {} {}", note.display(), proof.display()),
        &json!({
            "index": index,
            "size": size,
            "entry": note.display().to_string(),
            "receipt": proof.display().to_string(),
        }),
    );
    Ok(Exit::Ok)
}

/// Two statements are of one content if their rows are; what differs is only who and when.
fn digest(row: &Row) -> String {
    sha256(row.content().as_bytes()).to_string()[..16].to_owned()
}
