//! `jejak recap show`: a region, its children, and sums that are proven.

use std::io;

use clap::Args;
use jejak_proofs::tally::{Id, UnitCode, counter};
use serde_json::json;

use super::{
    counters::{Counters, Table, grouped, names, status_word},
    failure,
    proven::{recounted, recounted_by},
};
use crate::{
    cli::{
        exit::{Exit, Failure},
        output::Output,
        place::LogArgs,
        verify::exit_of_checkpoint,
    },
    client::{self, Child, RecapError, Region},
};

/// Most options that get a column in a table for people.
const OPTIONS_SHOWN_MAX: usize = 12;

/// What the children's numbers are worth.
const SPLIT: &str = "\nThe last row is proven, and the others add up to it. How it is split among \
    them, and names,\nare as the log tells them: `jejak recap prove` proves each.";

const LIMITS: &str = "Transparency evidence, not the official result.";

/// Show a unit and its children: votes, sums, how many stations reported, and disputes.
///
/// The sums are proven under the newest sealed checkpoint, and the children add up to them. Names,
/// and how the sums are split among the children, are as the log tells them: `jejak recap prove`
/// proves one child, `jejak recap export` computes all.
#[derive(Debug, Args)]
pub struct ShowArgs {
    #[command(flatten)]
    log: LogArgs,
    /// The contest.
    contest: Id,
    /// The code of the unit [default: the one at the top].
    unit: Option<UnitCode>,
    /// The children as CSV.
    #[arg(long)]
    csv: bool,
}

pub fn run(args: ShowArgs, output: &Output) -> Result<Exit, Failure> {
    let place = args.log.place()?;
    let fetch = place.fetch()?;
    let contest = &args.contest;
    let unit = match &args.unit {
        Some(unit) => unit.clone(),
        None => client::top_unit(&fetch).map_err(top_failure)?,
    };
    let region = client::region(&fetch, &place.policy, contest, &unit)
        .map_err(|error| failure(error, contest, &unit))?;
    if args.unit.is_none() && region.proof.proven.units.len() > 1 {
        let message = format!("the log names {unit} as the unit at the top, and it is not");
        return Err(Failure::new(Exit::RecapMismatch, message).next("name the unit"));
    }
    if args.csv {
        // A reader that has gone away ends the command, not by a panic.
        let _ = write_csv(&region, io::stdout().lock());
        return Ok(Exit::Ok);
    }
    let cosignatures = place
        .policy
        .cosignatures(&region.proof.proven.checkpoint)
        .map_err(|error| Failure::new(exit_of_checkpoint(&error), error))?;
    let recounted = recounted(&cosignatures);
    output.result(|| text(&region, &place.origin, &recounted), &object(&region, &recounted));
    Ok(Exit::Ok)
}

fn top_failure(error: RecapError) -> Failure {
    match error {
        RecapError::Fetch(error) => crate::cli::place::unreachable(error),
        error => Failure::new(Exit::Failure, error),
    }
    .next("name the unit: jejak recap show -p POLICY CONTEST UNIT")
}

/// The children, or a station as its own only row.
fn rows(region: &Region) -> Vec<Child> {
    if !region.children.is_empty() {
        return region.children.clone();
    }
    let unit = region.proof.unit();
    vec![Child {
        counters: unit.counters.clone(),
        kind: String::new(),
        name: String::new(),
        status: unit.record.status,
        unit: unit.unit.clone(),
    }]
}

fn text(region: &Region, origin: &str, recounted: &[&str]) -> String {
    let proven = &region.proof.proven;
    let (unit, options) = (region.proof.unit(), &proven.options[..]);
    let shown = if options.len() > OPTIONS_SHOWN_MAX { &[][..] } else { options };
    let mut table = Table::new(2);
    let mut header = vec!["unit".to_owned(), "name".to_owned()];
    header.extend(shown.iter().map(ToString::to_string));
    header.extend(["valid", "invalid", "total", "reported", "disputed"].map(str::to_owned));
    table.push(header);
    let row = |code: String, name: String, row: &[u64]| {
        let counters = Counters::new(options, row);
        let mut cells = vec![code, name];
        cells.extend(counters.votes().take(shown.len()).map(|(_, votes)| grouped(votes)));
        let sums = [counter::VALID, counter::INVALID, counter::TOTAL];
        cells.extend(sums.map(|place| grouped(counters.fixed(place))));
        cells.extend([counters.coverage(), grouped(counters.fixed(counter::DISPUTED))]);
        cells
    };
    for child in &region.children {
        table.push(row(child.unit.to_string(), child.name.clone(), &child.counters));
    }
    table.push(row(unit.unit.to_string(), "(proven)".to_owned(), &unit.counters));
    let head = proven.checkpoint.head();
    let mut text = format!(
        "{} in {}, under the sealed checkpoint of {} entries of {origin}\n{table}\n",
        unit.unit, proven.contest, head.size
    );
    if shown.len() < options.len() {
        text += &format!("{} options are not shown: pass --csv or --json\n", options.len());
    }
    text += match unit.below {
        None => "status: ",
        Some(_) => "declared recaps of the region: ",
    };
    text += status_word(unit.record.status);
    if !region.children.is_empty() {
        text += SPLIT;
    }
    format!("{text}\n{}\n{LIMITS}", recounted_by(recounted))
}

fn object(region: &Region, recounted: &[&str]) -> serde_json::Value {
    let proven = &region.proof.proven;
    let (unit, options, head) =
        (region.proof.unit(), &proven.options[..], proven.checkpoint.head());
    let children: Vec<_> = region
        .children
        .iter()
        .map(|child| {
            json!({
                "counters": Counters::new(options, &child.counters).json(),
                "kind": child.kind,
                "name": child.name,
                "status": status_word(child.status),
                "unit": child.unit,
            })
        })
        .collect();
    json!({
        "children": children,
        "contest": proven.contest,
        "counters": Counters::new(options, &unit.counters).json(),
        "options": options,
        "origin": proven.checkpoint.origin(),
        "record": unit.record,
        "recounted": recounted,
        "root": head.root,
        "size": head.size,
        "unit": unit.unit,
    })
}

fn write_csv(region: &Region, out: impl io::Write) -> csv::Result<()> {
    let mut out = csv::Writer::from_writer(out);
    let first = ["unit", "kind", "name", "status"].map(str::to_owned);
    out.write_record(first.into_iter().chain(names(&region.proof.proven.options)))?;
    for child in rows(region) {
        let first = [child.unit.to_string(), child.kind, child.name];
        let status = status_word(child.status).to_owned();
        let counters = child.counters.iter().map(ToString::to_string);
        out.write_record(first.into_iter().chain([status]).chain(counters))?;
    }
    out.flush()?;
    Ok(())
}
