//! The command line: wires the parts together. One verb, one file.

mod evidence;
mod exit;
mod files;
mod monitor;
mod output;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use self::{
    exit::{Exit, Failure},
    output::Output,
};

/// A transparency log for election tallies: what was published cannot be changed in secret.
#[derive(Debug, Parser)]
#[command(name = "jejak", version, about, max_term_width = 100)]
pub struct Cli {
    /// One JSON object a line instead of text for people.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Verb {
    Monitor(monitor::MonitorArgs),
}

/// Runs the command line of this process. Results go to stdout, the rest to stderr.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers; everything else is a usage error.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Ok.into() };
        }
    };
    let output = Output::new(cli.json);
    match run(cli.verb, &output) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            output.failure(&failure);
            failure.exit.into()
        }
    }
}

fn run(verb: Verb, output: &Output) -> Result<Exit, Failure> {
    match verb {
        Verb::Monitor(args) => monitor::run(args, output),
    }
}
