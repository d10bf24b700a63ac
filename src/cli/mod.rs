//! The command line: wires the parts together. One verb, one file.

mod against;
mod attest;
mod demo;
mod docs;
mod draft;
mod elsewhere;
mod evidence;
mod exit;
mod export;
mod files;
mod freeze;
mod fsck;
mod history;
mod import;
mod init;
mod key;
mod mandate;
mod manifest;
mod mirror;
mod monitor;
mod output;
mod place;
mod recap;
mod refusal;
mod registers;
mod serve;
mod sign;
mod strict;
mod submit;
mod upgrade;
mod verify;
mod witness;

use std::{env, process::ExitCode};

use clap::{Parser, Subcommand, error::ErrorKind};

pub use self::{
    exit::{Exit, Failure},
    output::Output,
};

/// Where a stranger begins.
const BEGIN: &str = "\
See it work:    jejak demo
Make a log:     jejak init, then serve, mandate, submit and verify
Check a count:  jejak recap prove, then verify; jejak history
Follow a log:   jejak monitor -p POLICY --state DIR --once
Vouch for logs: jejak witness init, then add-log and serve
Keep a copy:    jejak mirror serve DIR -p POLICY

Each command says more with --help. Exit codes: SPEC.md, \"Command line\".";

/// A transparency log for election tallies: what was published cannot be changed in secret.
#[derive(Debug, Parser)]
#[command(name = "jejak", version, max_term_width = 100, after_help = BEGIN)]
pub struct Cli {
    /// One JSON object a line instead of text for people.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

/// What to do, in the order in which people come to it.
#[derive(Debug, Subcommand)]
enum Verb {
    Demo(demo::DemoArgs),
    Init(init::InitArgs),
    Serve(serve::ServeArgs),
    Mandate(mandate::MandateArgs),
    Revoke(mandate::RevokeArgs),
    Freeze(freeze::FreezeArgs),
    Submit(submit::SubmitArgs),
    Import(import::ImportArgs),
    Receipt(import::ReceiptArgs),
    Verify(verify::VerifyArgs),
    Recap(recap::RecapArgs),
    History(history::HistoryArgs),
    Attest(attest::AttestArgs),
    Monitor(monitor::MonitorArgs),
    Witness(witness::WitnessArgs),
    Mirror(mirror::MirrorArgs),
    Fsck(fsck::FsckArgs),
    Export(export::ExportArgs),
    Key(key::KeyArgs),
    Manifest(manifest::ManifestArgs),
    Sign(sign::SignArgs),
    Man(docs::ManArgs),
    Completions(docs::CompletionsArgs),
}

/// Runs the command line of this process. Results go to stdout, the rest to stderr.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() && env::args_os().any(|word| word == "--json") => {
            let failure = usage(&error);
            Output::new(true).failure(&failure);
            return failure.exit.into();
        }
        Err(error) => {
            // Help and version are answers; everything else is a usage error.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Ok.into() };
        }
    };
    let output = Output::new(cli.json);
    match run(cli.verb, &output) {
        Ok(Exit::Ok) if output.has_lost() => {
            let failure = Failure::new(Exit::Failure, "the result could not be written to stdout");
            output.failure(&failure);
            failure.exit.into()
        }
        Ok(exit) => exit.into(),
        Err(failure) => {
            output.failure(&failure);
            failure.exit.into()
        }
    }
}

/// A usage error as one object: what clap says before it shows how it is meant.
fn usage(error: &clap::Error) -> Failure {
    let message = match error.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => "a command is missing".to_owned(),
        _ => {
            let text = error.render().to_string();
            let first = text.split("\n\n").next().unwrap_or_default();
            let words: Vec<&str> = first.split_whitespace().collect();
            words.join(" ").trim_start_matches("error: ").to_owned()
        }
    };
    Failure::new(Exit::Usage, message).next("jejak help")
}

fn run(verb: Verb, output: &Output) -> Result<Exit, Failure> {
    match verb {
        Verb::Attest(args) => attest::run(args, output),
        Verb::Completions(args) => docs::completions(&args, output),
        Verb::Demo(args) => demo::run(args, output),
        Verb::Export(args) => export::run(args, output),
        Verb::Freeze(args) => freeze::run(args, output),
        Verb::Fsck(args) => fsck::run(args, output),
        Verb::History(args) => history::run(args, output),
        Verb::Import(args) => import::run(args, output),
        Verb::Init(args) => init::run(args, output),
        Verb::Key(args) => key::run(args, output),
        Verb::Man(args) => docs::man(&args, output),
        Verb::Mandate(args) => mandate::mandate(args, output),
        Verb::Manifest(args) => manifest::run(args, output),
        Verb::Mirror(args) => mirror::run(args, output),
        Verb::Monitor(args) => monitor::run(args, output),
        Verb::Recap(args) => recap::run(args, output),
        Verb::Receipt(args) => import::receipt(args, output),
        Verb::Revoke(args) => mandate::revoke(args, output),
        Verb::Serve(args) => serve::run(args, output),
        Verb::Sign(args) => sign::run(args, output),
        Verb::Submit(args) => submit::run(args, output),
        Verb::Verify(args) => verify::run(args, output),
        Verb::Witness(args) => witness::run(args, output),
    }
}
