//! `jejak mandate` and `jejak revoke`: who may speak.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use jejak_proofs::{
    note::{NoteSigner, SigningKey, VerifierKey},
    tally::{
        Body, Id, KeyRef, MANDATE_KEYS_MAX, Mandate, MandatedKey, Revocation, RevocationReason,
        UnitCode,
    },
};
use serde_json::json;

use super::{
    draft,
    exit::{Exit, Failure},
    files::{self, HeldKey},
    key,
    output::Output,
    place::{LogArgs, Place},
    submit,
};

/// Mandate keys: from the next entry on they may speak for these units.
#[derive(Debug, Args)]
pub struct MandateArgs {
    #[command(flatten)]
    log: LogArgs,
    /// The private key that mandates: a root key, or one whose role may grant.
    #[arg(long, value_name = "KEY")]
    by: PathBuf,
    /// Further keys that sign, where the manifest asks for several root keys.
    #[arg(long = "with", value_name = "KEY")]
    with: Vec<PathBuf>,
    /// The role, one of the manifest's.
    #[arg(long)]
    role: Id,
    /// Codes of units; each means itself and all below it.
    #[arg(long, value_delimiter = ',', required = true)]
    units: Vec<UnitCode>,
    /// Contests [default: all].
    #[arg(long, value_delimiter = ',')]
    contests: Vec<Id>,
    /// Make a new key, named `<role>/<first unit>`, and mandate it.
    #[arg(long, value_name = "FILE")]
    new: Option<PathBuf>,
    /// Keys made elsewhere, by their vkeys, named `<role>/<unit>`.
    #[arg(long = "key", value_name = "VKEY", required_unless_present = "new")]
    keys: Vec<String>,
    /// Write the signed mandate instead of submitting it; `jejak submit FILE` sends it later.
    #[arg(long, value_name = "FILE.note")]
    out: Option<PathBuf>,
    /// The election id, to sign without reaching the log.
    #[arg(long)]
    election: Option<Id>,
}

pub fn mandate(mut args: MandateArgs, output: &Output) -> Result<Exit, Failure> {
    let place = args.log.place()?;
    let by = files::read_key(&args.by)?;
    args.units.sort_unstable();
    args.contests.sort_unstable();
    let mut vkeys = Vec::new();
    let mut new_key = None;
    if let Some(file) = &args.new {
        let unit = args.units.first().map_or("", UnitCode::as_str);
        let made = new_or_interrupted(file, &format!("{}/{unit}", args.role))?;
        vkeys.push(made.verifier().to_string());
        new_key = Some(file.display().to_string());
    }
    for vkey in &args.keys {
        VerifierKey::parse(vkey).map_err(|error| Failure::config(format!("{vkey}: {error}")))?;
        vkeys.push(vkey.clone());
    }
    if vkeys.len() > MANDATE_KEYS_MAX {
        let message = format!("a mandate names at most {MANDATE_KEYS_MAX} keys");
        return Err(Failure::config(message).next("send several mandates"));
    }
    let mandated = |vkey: String| MandatedKey {
        contests: (!args.contests.is_empty()).then(|| args.contests.clone()),
        role: args.role.clone(),
        units: args.units.clone(),
        vkey: vkey.into(),
    };
    let body = Body::Mandate(Mandate {
        by: key_ref(&by),
        election: election(&place, args.election)?,
        genesis: place.genesis,
        keys: vkeys.into_iter().map(mandated).collect(),
        log: place.origin.clone().into(),
    });
    let waits = args.out.is_some();
    let exit = finish(&place, &body, &by, &args.with, args.out, output)?;
    if let Some(file) = new_key.filter(|_| exit == Exit::Ok) {
        output.text(format!("the key is in {file}: keep it secret"));
        let when = if waits { "once the mandate is logged" } else { "next" };
        output.text(format!("{when}: jejak submit -p POLICY -k {file} form.json"));
    }
    Ok(exit)
}

/// Revoke a key: from the next entry on it no longer speaks, and never will again.
#[derive(Debug, Args)]
pub struct RevokeArgs {
    #[command(flatten)]
    log: LogArgs,
    /// The private key that revokes: the key itself, one above it, or a root key.
    #[arg(long, value_name = "KEY")]
    by: PathBuf,
    /// Further keys that sign, where the manifest asks for several root keys.
    #[arg(long = "with", value_name = "KEY")]
    with: Vec<PathBuf>,
    /// The key to revoke: `<role>/<unit>+<key id>`, or its vkey.
    key: String,
    /// Revoke every key granted through it too.
    #[arg(long)]
    subtree: bool,
    /// Why.
    #[arg(long, value_enum)]
    reason: ReasonArg,
    /// Write the signed revocation instead of submitting it.
    #[arg(long, value_name = "FILE.note")]
    out: Option<PathBuf>,
    /// The election id, to sign without reaching the log.
    #[arg(long)]
    election: Option<Id>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ReasonArg {
    Compromised,
    Ended,
    Lost,
    Replaced,
}

pub fn revoke(args: RevokeArgs, output: &Output) -> Result<Exit, Failure> {
    let place = args.log.place()?;
    let by = files::read_key(&args.by)?;
    let key = match VerifierKey::parse(&args.key) {
        Ok(vkey) => KeyRef::new(vkey.name(), vkey.id()),
        Err(_) => args.key.parse().map_err(|error| Failure::config(format!("the key: {error}")))?,
    };
    let reason = match args.reason {
        ReasonArg::Compromised => RevocationReason::Compromised,
        ReasonArg::Ended => RevocationReason::Ended,
        ReasonArg::Lost => RevocationReason::Lost,
        ReasonArg::Replaced => RevocationReason::Replaced,
    };
    let body = Body::Revocation(Revocation {
        by: key_ref(&by),
        election: election(&place, args.election)?,
        genesis: place.genesis,
        key,
        log: place.origin.clone().into(),
        reason,
        subtree: args.subtree,
    });
    finish(&place, &body, &by, &args.with, args.out, output)
}

/// A new key in a new file; or the one that an interrupted run left there under the same name.
fn new_or_interrupted(file: &Path, name: &str) -> Result<SigningKey, Failure> {
    if !file.exists() {
        let made = key::generate(name)?;
        files::write_key(file, &made)?;
        return Ok(made);
    }
    let made = files::read_private_key(file)?;
    if made.name() != name {
        let message = format!("{} already holds the key {}", file.display(), made.name());
        return Err(Failure::config(message).next("choose another file for the new key"));
    }
    Ok(made)
}

fn key_ref(key: &HeldKey) -> KeyRef {
    let verifier = key.verifier();
    KeyRef::new(verifier.name(), verifier.id())
}

fn election(place: &Place, given: Option<Id>) -> Result<Id, Failure> {
    given.map_or_else(|| place.election(), Ok)
}

/// Signs, then writes the entry or submits it.
fn finish(
    place: &Place,
    body: &Body,
    by: &HeldKey,
    with: &[PathBuf],
    out: Option<PathBuf>,
    output: &Output,
) -> Result<Exit, Failure> {
    let with = with.iter().map(|path| files::read_key(path)).collect::<Result<Vec<_>, _>>()?;
    let keys: Vec<&dyn NoteSigner> = std::iter::once(by).chain(&with).map(|key| key as _).collect();
    let entry = draft::sign(body, &keys)?;
    match out {
        Some(out) => {
            files::write(&out, entry.bytes())?;
            let file = out.display().to_string();
            output.result(
                || format!("next: jejak submit -p POLICY {file}"),
                &json!({"leaf": entry.leaf(), "file": file}),
            );
            Ok(Exit::Ok)
        }
        None => submit::send(place, &entry, None, None, output),
    }
}
