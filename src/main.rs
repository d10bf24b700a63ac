//! The `jejak` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    jejak::cli::main()
}
