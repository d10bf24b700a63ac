//! `jejak completions` and `jejak man`: what a package installs beside the program.

use std::path::PathBuf;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::{
    Cli,
    exit::{Exit, Failure},
    files,
    output::Output,
};

/// Print the completions of a shell: bash, elvish, fish, powershell, zsh.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

pub fn completions(args: &CompletionsArgs, output: &Output) -> Result<Exit, Failure> {
    // The generator panics where a write fails.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "jejak", &mut script);
    output
        .whole(&script)
        .map_err(|error| Failure::new(Exit::Failure, format!("cannot write to stdout: {error}")))?;
    Ok(Exit::Ok)
}

/// Write a manual page for each command into a directory.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// The directory; made if there is none.
    dir: PathBuf,
}

pub fn man(args: &ManArgs, output: &Output) -> Result<Exit, Failure> {
    files::make_dir(&args.dir)?;
    clap_mangen::generate_to(Cli::command(), &args.dir).map_err(|error| {
        Failure::config(format!("cannot write {}: {error}", args.dir.display()))
    })?;
    output.text(format!("next: man -l {}/jejak.1", args.dir.display()));
    Ok(Exit::Ok)
}
