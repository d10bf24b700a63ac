//! `jejak key`: make and show keys.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use jejak_proofs::note::{CosigningKey, KeyError, KeyKind, SEED_LEN, SigningKey, VerifierKey};
use serde_json::json;
use zeroize::Zeroizing;

use super::{
    exit::{Exit, Failure},
    files,
    output::Output,
};
use crate::agent;

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
        /// Its name: `<role>/<unit>`, the origin for a log's key, or the name of a witness.
        #[arg(long)]
        name: String,
        /// What it signs.
        #[arg(long, value_enum, default_value_t = Kind::Ed25519)]
        kind: Kind,
    },
    /// Refer to a key that an ssh-agent holds, and print its vkey. The file can be used wherever a
    /// private key can that signs entries or checkpoints (type 0x01).
    Agent {
        /// Where to write the reference. Never overwrites a file.
        file: PathBuf,
        /// The name of the key: `<role>/<unit>`, or the origin for a log's key.
        #[arg(long)]
        name: String,
        /// The public key as ssh-keygen writes it: `ssh-ed25519 AAAA... comment`.
        #[arg(long, value_name = "FILE.pub")]
        ssh_key: PathBuf,
    },
    /// Print the vkey of a private key: its name, id and public key, fit to be given away.
    Show {
        /// The private key.
        file: PathBuf,
    },
}

/// Kinds of keys, as people name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Notes, so entries and a log's checkpoints (type 0x01).
    Ed25519,
    /// A witness's cosignatures of checkpoints, with Ed25519 (type 0x04).
    Cosignature,
    /// A witness's cosignatures, or a log's own signatures, of checkpoints, which quantum
    /// computers do not forge (type 0x06).
    #[value(name = "ml-dsa-44")]
    MlDsa44,
}

pub fn run(args: KeyArgs, output: &Output) -> Result<Exit, Failure> {
    let vkey = match args.verb {
        KeyVerb::New { file, name, kind } => make(&file, &name, kind)?,
        KeyVerb::Agent { file, name, ssh_key } => refer(&file, &name, &ssh_key)?,
        KeyVerb::Show { file } => files::parse_key(&file, public_of)?,
    };
    output.result(
        || vkey.to_string(),
        &json!({"vkey": vkey.to_string(), "name": vkey.name(), "id": vkey.id().to_string()}),
    );
    Ok(Exit::Ok)
}

/// Makes a key and writes it to a new file.
fn make(file: &Path, name: &str, kind: Kind) -> Result<VerifierKey, Failure> {
    let kind = match kind {
        Kind::Ed25519 => {
            let key = generate(name)?;
            files::write_key(file, &key)?;
            return Ok(key.verifier());
        }
        Kind::Cosignature => KeyKind::CosignatureV1,
        Kind::MlDsa44 => KeyKind::MlDsa44,
    };
    let key = generate_cosigning(name, kind)?;
    files::write_cosigning_key(file, &key)?;
    Ok(key.verifier())
}

/// Writes a reference to a key in the agent, which must hold it.
fn refer(file: &Path, name: &str, ssh_key: &Path) -> Result<VerifierKey, Failure> {
    let public = agent::ssh_public_key(&files::read_text(ssh_key)?).ok_or_else(|| {
        let message = format!("{} is no public key of type ssh-ed25519", ssh_key.display());
        Failure::config(message).next("ssh-keygen -t ed25519 makes one")
    })?;
    let vkey = VerifierKey::new(name, KeyKind::Ed25519, &public)
        .map_err(|error| Failure::config(format!("{name}: {error}")))?;
    files::find_in_agent(ssh_key, &agent::reference(&vkey))?;
    files::write_reference(file, &vkey)?;
    Ok(vkey)
}

/// The public key of a private key of any kind, or of one in an agent.
fn public_of(text: &str) -> Result<VerifierKey, KeyError> {
    if let Some(vkey) = agent::referred(text) {
        return VerifierKey::parse(vkey);
    }
    match SigningKey::parse(text) {
        Err(KeyError::WrongKind { .. }) => CosigningKey::parse(text).map(|key| key.verifier()),
        key => key.map(|key| key.verifier()),
    }
}

/// A new key out of the system's randomness, which signs notes.
pub fn generate(name: &str) -> Result<SigningKey, Failure> {
    SigningKey::from_seed(name, KeyKind::Ed25519, *seed()?)
        .map_err(|error| Failure::config(format!("{name}: {error}")))
}

/// A new key out of the system's randomness, which signs checkpoints with their time.
pub fn generate_cosigning(name: &str, kind: KeyKind) -> Result<CosigningKey, Failure> {
    CosigningKey::from_seed(name, kind, *seed()?)
        .map_err(|error| Failure::config(format!("{name}: {error}")))
}

fn seed() -> Result<Zeroizing<[u8; SEED_LEN]>, Failure> {
    let mut seed = Zeroizing::new([0; SEED_LEN]);
    getrandom::fill(seed.as_mut_slice())
        .map_err(|error| Failure::new(Exit::Internal, format!("no randomness: {error}")))?;
    Ok(seed)
}
