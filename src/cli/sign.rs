//! `jejak sign`: an unsigned body becomes an entry, without a network.

use std::path::{Path, PathBuf};

use clap::Args;
use jejak_proofs::{
    note::{NoteSigner, VerifierKey},
    tally::{Body, Entry, KeyRef},
};
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
    /// Where to write the entry [default: the file with the ending .note, or the entry itself].
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The election id, where neither the body nor an entry 0 beside the policy says it.
    #[arg(long)]
    election: Option<String>,
}

pub fn run(args: SignArgs, output: &Output) -> Result<Exit, Failure> {
    let keys = args.keys.iter().map(|path| files::read_key(path)).collect::<Result<Vec<_>, _>>()?;
    let keys: Vec<&dyn NoteSigner> = keys.iter().map(|key| key as _).collect();
    let place = match args.policy {
        Some(policy) => Some(Place::new(&PolicyArg { policy }, None)?),
        None => None,
    };
    let text = files::read_text(&args.file)?;
    let (entry, default) = if text.starts_with(ENTRY) {
        (countersign(&args.file, &text, place.as_ref(), &keys)?, args.file.clone())
    } else {
        let body = match &place {
            Some(place) => {
                let election = || {
                    let known = || place.known_election().map(|election| election.to_string());
                    args.election.clone().or_else(known).ok_or_else(|| {
                        Failure::config("the body does not name its election")
                            .next("add \"election\" to it, or pass --election ID")
                    })
                };
                draft::read(&args.file, place, keys[0], election)?
            }
            None => draft::read_manifest(&args.file)?,
        };
        (draft::sign(&body, &keys)?, args.file.with_extension("note"))
    };
    let out = match args.out {
        Some(out) => out,
        None => {
            refuse_other(&default, &args.file, entry.bytes())?;
            default
        }
    };
    files::write(&out, entry.bytes())?;
    let name = out.display().to_string();
    let missing = missing_roots(&entry);
    output.result(
        || format!("{} {name}\nnext: {}", entry.leaf(), next(&entry, &missing, &name)),
        &json!({"leaf": entry.leaf(), "file": name, "missing": missing}),
    );
    Ok(Exit::Ok)
}

/// A body that is signed again would throw away the signatures that others put under the first.
fn refuse_other(note: &Path, file: &Path, bytes: &[u8]) -> Result<(), Failure> {
    if note == file || !note.exists() || files::read(note)? == bytes {
        return Ok(());
    }
    let name = note.display();
    Err(Failure::config(format!("{name} is there already, and says or carries something else"))
        .next(format!("jejak sign {name} -k KEY adds a signature; remove it to begin anew")))
}

/// How every entry begins, and no JSON.
const ENTRY: &str = "jejak/";

/// Adds lines to an entry that others have signed already.
fn countersign(
    path: &Path,
    text: &str,
    place: Option<&Place>,
    keys: &[&dyn NoteSigner],
) -> Result<Entry, Failure> {
    let fail = |refusal| Failure::config(format!("{}: {refusal}", path.display()));
    let entry = Entry::parse(text.as_bytes()).map_err(fail)?;
    if let Some(place) = place {
        let ours = |(log, _, genesis): (&str, _, Option<&_>)| {
            log == place.origin && genesis.is_none_or(|genesis| *genesis == place.genesis)
        };
        // A state names no log: nobody signs one.
        if !entry.body().place().is_some_and(ours) {
            let message = format!("{} speaks of another log than the policy", path.display());
            return Err(Failure::config(message));
        }
    }
    let signed = entry.countersign(keys).map_err(draft::not_signed)?;
    Entry::parse(signed.as_bytes()).map_err(fail)
}

/// The root keys that a first manifest names and that have not signed it: all of them must.
pub fn missing_roots(entry: &Entry) -> Vec<String> {
    let Body::Manifest(manifest) = entry.body() else { return Vec::new() };
    if manifest.previous.is_some() {
        return Vec::new();
    }
    let signed = |root: &VerifierKey| {
        let root = KeyRef::new(root.name(), root.id());
        entry.signers().any(|signer| *signer == root)
    };
    let roots = manifest.root_keys.iter().filter_map(|vkey| VerifierKey::parse(vkey).ok());
    roots
        .filter(|root| !signed(root))
        .map(|root| format!("{}+{}", root.name(), root.id()))
        .collect()
}

/// The command that a signed entry waits for.
fn next(entry: &Entry, missing: &[String], file: &str) -> String {
    match entry.body() {
        Body::Manifest(manifest) if manifest.previous.is_none() => match missing.is_empty() {
            true => format!(
                "jejak init D --manifest {file} --log-key LOG_KEY --units units.csv \
                 --contests contests.jsonl"
            ),
            false => format!("jejak sign {file} -k KEY, with {}", missing.join(" and ")),
        },
        _ => format!("jejak submit -p POLICY {file}"),
    }
}
