//! `jejak recap export`: every unit with what counts for it, computed from the entries.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use clap::{Args, ValueEnum};
use jejak_proofs::tally::{Body, ContestRecap, Election, Entry, Id, Place as UnitPlace};
use serde_json::{Value, json};

use super::{
    counters::{Counters, names, status_word},
    nist,
};
use crate::{
    cli::{
        exit::{Exit, Failure},
        files,
        output::Output,
        place::{self, LogArgs, Place},
        verify::exit_of_checkpoint,
    },
    client::{self, ReplayError, Replayed, source::ServeError},
};

/// Export what counts for every unit of a contest, as of the newest sealed checkpoint.
///
/// Nothing is taken from the log's own sums: every entry is fetched, verified and replayed here,
/// and the result is what the log committed to, or the command fails (exit 19 if the log broke its
/// rules). With `-o FILE` the checkpoint that it holds under is kept beside it.
#[derive(Debug, Args)]
pub struct ExportArgs {
    #[command(flatten)]
    log: LogArgs,
    /// The contest.
    contest: Id,
    /// csv: a row a unit. json: one object. nist: NIST SP 1500-100 version 2.
    #[arg(long, value_enum, default_value = "csv")]
    format: Format,
    /// The file, instead of stdout; `FILE.checkpoint` is the checkpoint.
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The day of the election, for nist [default: the days that the forms claim].
    #[arg(long, value_name = "YYYY-MM-DD")]
    date: Option<jiff::civil::Date>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Csv,
    Json,
    Nist,
}

/// A contest to be written.
pub struct Export<'a> {
    pub replayed: &'a Replayed,
    pub election: &'a Election,
    pub recap: &'a ContestRecap,
    /// The first and the last day of the election, `2024-02-14`.
    pub days: [String; 2],
}

pub fn run(args: ExportArgs, output: &Output) -> Result<Exit, Failure> {
    let place = args.log.place()?;
    let mut days = Days::default();
    let replayed = replay(&place, &args.contest, &mut days, output)?;
    let no_contest = || {
        let message = format!("this log has no contest {}", args.contest);
        Failure::new(Exit::NotInLog, message).next("look into the contest register of its manifest")
    };
    let (_, recap) = replayed.sealed.recap().find(args.contest.as_str()).ok_or_else(no_contest)?;
    let election = replayed.ledger.election().ok_or_else(no_contest)?;
    let days = args.date.map_or_else(|| days.range(), |date| [date.to_string(), date.to_string()]);
    let export = Export { replayed: &replayed, election, recap, days };
    let write = |out: &mut dyn Write| match args.format {
        Format::Csv => write_csv(&export, out),
        Format::Json => write_json(&export, out),
        Format::Nist => nist::write(&export, out),
    };
    let (size, units) = (replayed.checkpoint.head().size, recap.shape().count());
    let said = format!("{units} units under the sealed checkpoint of {size} entries");
    match &args.out {
        None => {
            let mut out = io::BufWriter::new(io::stdout().lock());
            let written = write(&mut out).and_then(|()| out.flush());
            // A reader that has gone away wants no more.
            if let Err(error) = written.or_else(ignore_broken_pipe) {
                return Err(Failure::new(Exit::Failure, format!("stdout: {error}")));
            }
            output.notice(|| said.clone(), &json!({"size": size, "units": units}));
        }
        Some(file) => {
            files::stream(file, |out| write(out))?;
            let mut name = file.as_os_str().to_owned();
            name.push(".checkpoint");
            files::write(name.as_ref(), replayed.checkpoint.note().as_bytes())?;
            output.result(
                || format!("{}: {said}\ncheckpoint: {}", file.display(), name.display()),
                &json!({
                    "checkpoint": name.display().to_string(),
                    "file": file.display().to_string(),
                    "size": size,
                    "units": units,
                }),
            );
        }
    }
    Ok(Exit::Ok)
}

fn ignore_broken_pipe(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) }
}

/// The days that the forms of a contest claim: never trusted, only told.
#[derive(Default)]
struct Days(Option<[String; 2]>);

impl Days {
    fn see(&mut self, entry: &Entry, contest: &Id) {
        let Body::Tally(tally) = entry.body() else { return };
        let minute = tally.issued_at.to_string();
        let Some(day) = minute.get(..10).filter(|_| tally.contest == *contest) else { return };
        let [first, last] = self.0.get_or_insert_with(|| [day.to_owned(), day.to_owned()]);
        if day < first.as_str() {
            day.clone_into(first);
        }
        if day > last.as_str() {
            day.clone_into(last);
        }
    }

    fn range(self) -> [String; 2] {
        self.0.unwrap_or_else(|| {
            let today = crate::clock::now_minute();
            let day = today.get(..10).unwrap_or_default().to_owned();
            [day.clone(), day]
        })
    }
}

fn replay(
    place: &Place,
    contest: &Id,
    days: &mut Days,
    output: &Output,
) -> Result<Replayed, Failure> {
    let bar = output.progress(0, "entries");
    let replayed =
        client::replay(&place.fetch()?, &place.policy, place.genesis, |entry, index, size| {
            bar.set_length(size);
            bar.set_position(index + 1);
            days.see(entry, contest);
        });
    bar.finish_and_clear();
    replayed.map_err(failure)
}

fn failure(error: ReplayError) -> Failure {
    let exit = match error {
        ReplayError::Fetch(error) => return place::unreachable(error),
        ReplayError::Serve(ServeError::Unreachable(_)) => Exit::Unreachable,
        ReplayError::Checkpoint(error) => exit_of_checkpoint(&error),
        ReplayError::Genesis => Exit::Fork,
        ReplayError::Refused { .. } => Exit::RulesBroken,
        ReplayError::Root { .. } => Exit::Inclusion,
        ReplayError::Unsealed { .. } => Exit::TryAgain,
        _ => Exit::Failure,
    };
    let failure = Failure::new(exit, error);
    match exit {
        Exit::RulesBroken => {
            failure.next("jejak monitor -p POLICY --state DIR finds what else is wrong")
        }
        _ => failure,
    }
}

impl Export<'_> {
    /// Every unit that takes part, in the order of the register.
    pub fn places(&self) -> impl Iterator<Item = UnitPlace> + use<> {
        0..self.recap.shape().count() as UnitPlace
    }

    /// The code of the unit above; empty at the top.
    fn parent(&self, unit: UnitPlace) -> &str {
        self.recap.shape().parent(unit).map_or("", |parent| self.recap.code(parent))
    }

    pub fn name(&self, unit: UnitPlace) -> &str {
        self.recap.units().name(self.recap.shape().slot(unit))
    }

    pub fn kind(&self, unit: UnitPlace) -> &str {
        self.recap.units().kind(self.recap.shape().slot(unit)).as_str()
    }
}

fn write_csv(export: &Export<'_>, out: &mut dyn Write) -> io::Result<()> {
    let mut out = csv::Writer::from_writer(out);
    let first = ["unit", "parent", "kind", "name", "status", "entries", "head.index", "head.leaf"];
    let header = first.into_iter().map(str::to_owned).chain(names(&export.recap.contest().options));
    out.write_record(header)?;
    for unit in export.places() {
        let record = export.recap.record(unit);
        let head = record.head;
        let [index, leaf] = [
            head.map_or(String::new(), |head| head.index.to_string()),
            head.map_or(String::new(), |head| head.leaf.to_string()),
        ];
        let entries = record.entries.to_string();
        let texts =
            [export.recap.code(unit), export.parent(unit), export.kind(unit), export.name(unit)];
        for text in texts {
            out.write_field(text)?;
        }
        for text in [status_word(record.status), &entries, &index, &leaf] {
            out.write_field(text)?;
        }
        let counters = export.recap.counters(unit);
        out.write_record(counters.iter().map(ToString::to_string))?;
    }
    out.flush()
}

fn write_json(export: &Export<'_>, out: &mut dyn Write) -> io::Result<()> {
    let contest = export.recap.contest();
    let head = export.replayed.checkpoint.head();
    let about = json!({
        "checkpoint": export.replayed.checkpoint.note(),
        "contest": contest.id,
        "election": export.election.manifest.election,
        "manifest": export.replayed.sealed.state.manifest,
        "official": false,
        "options": contest.options,
        "origin": export.replayed.checkpoint.origin(),
        "recap": export.replayed.sealed.state.recap,
        "root": head.root,
        "size": head.size,
    });
    let about = about.to_string();
    write!(out, "{},\"units\":[", about.strip_suffix('}').unwrap_or(&about))?;
    for unit in export.places() {
        let comma = if unit == 0 { "" } else { "," };
        write!(out, "{comma}\n{}", object(export, unit))?;
    }
    writeln!(out, "\n]}}")
}

fn object(export: &Export<'_>, unit: UnitPlace) -> Value {
    let record = export.recap.record(unit);
    let parent = Some(export.parent(unit)).filter(|parent| !parent.is_empty());
    let counters = export.recap.counters(unit);
    json!({
        "counters": Counters::new(&export.recap.contest().options, &counters).json(),
        "kind": export.kind(unit),
        "name": export.name(unit),
        "parent": parent,
        "record": record,
        "unit": export.recap.code(unit),
    })
}
