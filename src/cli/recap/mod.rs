//! `jejak recap`: the current value of every unit and every sum up to the top, shown and proven.

mod counters;
mod export;
mod nist;
mod proven;
mod show;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use jejak_proofs::tally::{Id, UnitCode};
use serde_json::json;

use super::{
    exit::{Exit, Failure},
    files::{self, JudgeArgs},
    output::Output,
    place::{self, LogArgs},
};
use crate::client::{self, FetchError, RecapError};

pub use self::{
    counters::{grouped, status_word},
    proven::{exit_of_proof, read, verify, verify_form},
};

/// Show, prove, verify and export the recap: what counts for every unit, and every sum.
#[derive(Debug, Args)]
pub struct RecapArgs {
    #[command(subcommand)]
    verb: RecapVerb,
}

#[derive(Debug, Subcommand)]
enum RecapVerb {
    Show(show::ShowArgs),
    Prove(ProveArgs),
    Verify(VerifyArgs),
    Export(export::ExportArgs),
}

pub fn run(args: RecapArgs, output: &Output) -> Result<Exit, Failure> {
    match args.verb {
        RecapVerb::Show(args) => show::run(args, output),
        RecapVerb::Prove(args) => prove(args, output),
        RecapVerb::Verify(args) => {
            let policy = args.policy.read()?;
            let proven = read(&args.file, &files::read(&args.file)?, &policy)?;
            verify(&proven, &policy, output)?;
            Ok(Exit::Ok)
        }
        RecapVerb::Export(args) => export::run(args, output),
    }
}

/// Fetch the recap proof of a unit and keep it: one file that anyone can verify offline.
#[derive(Debug, Args)]
struct ProveArgs {
    #[command(flatten)]
    log: LogArgs,
    /// The contest.
    contest: Id,
    /// The code of the unit: a polling station, or a region above.
    unit: UnitCode,
    /// Where to keep the proof [default: `<UNIT>.recap-proof`].
    #[arg(short, long, value_name = "FILE.recap-proof")]
    out: Option<PathBuf>,
}

fn prove(args: ProveArgs, output: &Output) -> Result<Exit, Failure> {
    let place = args.log.place()?;
    let ProveArgs { contest, unit, out, .. } = &args;
    let proof = client::recap_proof(&place.fetch()?, &place.policy, contest, unit)
        .map_err(|error| failure(error, contest, unit))?;
    let file = out.clone().unwrap_or_else(|| format!("{unit}.recap-proof").into());
    files::write(&file, proof.text.as_bytes())?;
    let (name, head) = (file.display().to_string(), proof.proven.checkpoint.head());
    let status = status_word(proof.unit().record.status);
    output.result(
        || {
            format!(
                "proven: {unit} in {contest}, status {status}, under {} entries of {}\n\
                 proof: {name}\nnext: jejak verify -p POLICY {name}",
                head.size, place.origin
            )
        },
        &json!({
            "contest": contest,
            "file": name,
            "root": head.root,
            "size": head.size,
            "status": status,
            "unit": unit,
        }),
    );
    Ok(Exit::Ok)
}

/// Verify a recap proof offline: the same as `jejak verify FILE`.
#[derive(Debug, Args)]
struct VerifyArgs {
    #[command(flatten)]
    policy: JudgeArgs,
    /// The recap proof.
    file: PathBuf,
}

/// What it means for the exit code that nothing about a unit can be believed.
pub fn failure(error: RecapError, contest: &Id, unit: &UnitCode) -> Failure {
    match error {
        RecapError::Fetch(FetchError::Refused(refusal)) if refusal.status == 404 => Failure::new(
            Exit::NotInLog,
            format!("this log has no unit {unit} in a contest {contest}"),
        )
        .next("jejak recap show -p POLICY CONTEST shows the units from the top"),
        RecapError::Fetch(error) => place::unreachable(error),
        RecapError::Proof(error) => Failure::new(
            exit_of_proof(&error),
            format!("the log's recap proof does not verify: {error}"),
        )
        .next("keep what it answers: a log that gives false proofs has to answer for it"),
        RecapError::Moving => Failure::new(Exit::TryAgain, error),
        RecapError::Entries(_) => Failure::new(Exit::Inclusion, error),
        RecapError::OtherUnit | RecapError::Sums { .. } | RecapError::Trail { .. } => {
            Failure::new(Exit::RecapMismatch, error)
                .next("follow the log with `jejak monitor`: it recomputes all of it")
        }
        error => Failure::new(Exit::Failure, error),
    }
}
