//! `jejak key`: make and show keys.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use jejak_proofs::note::{KeyKind, SEED_LEN, SigningKey};
use serde_json::json;

use super::{
    exit::{Exit, Failure},
    files,
    output::Output,
};

/// Make and show keys.
#[derive(Debug, Args)]
pub struct KeyArgs {
    #[command(subcommand)]
    verb: KeyVerb,
}

#[derive(Debug, Subcommand)]
enum KeyVerb {
    /// Make a new key, and print its vkey.
    New {
        /// Where to write the private key (mode 0600). Never overwrites a file.
        file: PathBuf,
        /// Its name: `<role>/<unit>`, or the origin for a log's key.
        #[arg(long)]
        name: String,
    },
    /// Print the vkey of a private key: its name, id and public key, fit to be given away.
    Show {
        /// The private key.
        file: PathBuf,
    },
}

pub fn run(args: KeyArgs, output: &Output) -> Result<Exit, Failure> {
    let key = match args.verb {
        KeyVerb::New { file, name } => {
            let key = generate(&name)?;
            files::write_key(&file, &key)?;
            key
        }
        KeyVerb::Show { file } => files::read_key(&file)?,
    };
    let vkey = key.verifier();
    output.result(
        || vkey.to_string(),
        &json!({"vkey": vkey.to_string(), "name": vkey.name(), "id": vkey.id().to_string()}),
    );
    Ok(Exit::Ok)
}

/// A new key out of the system's randomness.
pub fn generate(name: &str) -> Result<SigningKey, Failure> {
    SigningKey::from_seed(name, KeyKind::Ed25519, seed()?)
        .map_err(|error| Failure::config(format!("{name}: {error}")))
}

/// The secret of a new key.
pub fn seed() -> Result<[u8; SEED_LEN], Failure> {
    let mut seed = [0; SEED_LEN];
    getrandom::fill(&mut seed)
        .map_err(|error| Failure::new(Exit::Internal, format!("no randomness: {error}")))?;
    Ok(seed)
}
