//! `jejak sign`: an unsigned body becomes an entry, without a network.

use std::path::PathBuf;

use clap::Args;
use jejak_proofs::{note::SigningKey, tally::Body};
use serde_json::json;

use super::{
    draft,
    exit::{Exit, Failure},
    files::{self, PolicyArg},
    output::Output,
    place::Place,
};

/// Sign a body: `form.json` becomes `form.note`, to be sent now or later.
#[derive(Debug, Args)]
pub struct SignArgs {
    /// The policy file; everything but a first manifest needs one.
    #[arg(short, long, value_name = "FILE", env = "JEJAK_POLICY")]
    policy: Option<PathBuf>,
    /// The unsigned body, or an entry to add signatures to before it is submitted.
    file: PathBuf,
    /// Private keys: the author's first, then co-signers'.
    #[arg(short, long = "key", value_name = "KEY", required = true)]
    keys: Vec<PathBuf>,
    /// Where to write the entry [default: the file with the ending .note].
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The election id, where the body does not say it.
    #[arg(long)]
    election: Option<String>,
}

pub fn run(args: SignArgs, output: &Output) -> Result<Exit, Failure> {
    let keys = args.keys.iter().map(|path| files::read_key(path)).collect::<Result<Vec<_>, _>>()?;
    let keys: Vec<&SigningKey> = keys.iter().collect();
    let body = match args.policy {
        Some(policy) => {
            let election = || {
                args.election.clone().ok_or_else(|| {
                    Failure::config("the body does not name its election")
                        .next("add \"election\" to it, or pass --election ID")
                })
            };
            let place = Place::new(&PolicyArg { policy }, None)?;
            draft::read(&args.file, &place, keys[0], election)?
        }
        None => manifest(&args.file)?,
    };
    let entry = draft::sign(&body, &keys)?;
    let out = args.out.unwrap_or_else(|| args.file.with_extension("note"));
    files::write(&out, entry.bytes())?;
    let name = out.display().to_string();
    output.result(
        || format!("{} {}\nnext: jejak submit -p POLICY {name}", entry.leaf(), name),
        &json!({"leaf": entry.leaf(), "file": name}),
    );
    Ok(Exit::Ok)
}

/// A first manifest says everything itself.
fn manifest(path: &std::path::Path) -> Result<Body, Failure> {
    let text = files::read_text(path)?;
    Body::from_canonical("manifest", text.trim_end_matches('\n')).map_err(|refusal| {
        Failure::config(format!("{}: {refusal}", path.display()))
            .next("pass -p POLICY to sign anything but a first manifest")
    })
}
