//! `jejak submit`: entries go to the log, receipts come back as files.

use std::path::{Path, PathBuf};

use clap::Args;
use jejak_proofs::{
    note::{Policy, Receipt, SigningKey},
    tally::Entry,
};
use serde_json::{Value, json};

use super::{
    draft,
    exit::{Exit, Failure},
    files,
    output::Output,
    place::{self, LogArgs, Place},
};
use crate::client::{self, FetchError, PATIENCE_MAX, SubmitError, Submitted};

/// Submit forms: sign `x.json` into `x.note`, send it, keep the receipt `x.tlog-proof`.
///
/// A second run skips what has a receipt, and sends the very same bytes again for the rest.
#[derive(Debug, Args)]
pub struct SubmitArgs {
    #[command(flatten)]
    log: LogArgs,
    /// Unsigned bodies (`.json`), which need a key, and signed entries (`.note`).
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Private keys: the author's first, then co-signers'.
    #[arg(short, long = "key", value_name = "KEY")]
    keys: Vec<PathBuf>,
}

pub fn run(args: SubmitArgs, output: &Output) -> Result<Exit, Failure> {
    let place = args.log.place()?;
    let keys = args.keys.iter().map(|path| files::read_key(path)).collect::<Result<Vec<_>, _>>()?;
    let mut worst = Exit::Ok;
    for file in &args.files {
        let entry = entry_of(file, &place, &keys)?;
        let proof = file.with_extension("tlog-proof");
        if receipt_verifies(&proof, entry.bytes(), &place.policy) {
            already_logged(file, &proof, output);
            continue;
        }
        match send(&place, entry.bytes(), Some(&proof), output) {
            Ok(_) => {}
            // One refused form must not keep the others from the log.
            Err(failure) if args.files.len() > 1 && failure.exit == Exit::Failure => {
                output.failure(&Failure {
                    message: format!("{}: {}", file.display(), failure.message),
                    ..failure
                });
                worst = Exit::Failure;
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(worst)
}

/// The signed entry of a file: as it stands, or signed now and kept beside it.
fn entry_of(file: &Path, place: &Place, keys: &[SigningKey]) -> Result<Entry, Failure> {
    let parse = |path: &Path| {
        let bytes = files::read(path)?;
        Entry::parse(&bytes)
            .map_err(|refusal| Failure::config(format!("{}: {refusal}", path.display())))
    };
    if file.extension().is_some_and(|ending| ending == "note") {
        return parse(file);
    }
    let note = file.with_extension("note");
    if note.exists() {
        let entry = parse(&note)?;
        return match says_the_same(file, &entry)? {
            true => Ok(entry),
            false => Err(Failure::config(format!(
                "{} no longer says what was signed in {}",
                file.display(),
                note.display()
            ))
            .next("correct a logged form by a revision in a file of its own; remove the .note if it was never sent")),
        };
    }
    let keys: Vec<&SigningKey> = keys.iter().collect();
    let Some(author) = keys.first() else {
        return Err(Failure::new(Exit::Usage, "an unsigned body needs a key").next("pass -k KEY"));
    };
    let body = draft::read(file, place, author, || Ok(place.election()?.to_string()))?;
    let entry = draft::sign(&body, &keys)?;
    files::write(&note, entry.bytes())?;
    Ok(entry)
}

/// Whether every field of the unsigned body stands in the entry as it is.
fn says_the_same(file: &Path, entry: &Entry) -> Result<bool, Failure> {
    let fail = |error| Failure::config(format!("{} is not JSON: {error}", file.display()));
    let unsigned: Value = serde_json::from_str(&files::read_text(file)?).map_err(fail)?;
    let json = entry.text().split_once('\n').map_or("", |(_, json)| json);
    let signed: Value = serde_json::from_str(json).unwrap_or_default();
    let fields = unsigned.as_object().into_iter().flatten();
    Ok(unsigned.is_object() && fields.into_iter().all(|(field, value)| &signed[field] == value))
}

/// Says that there is nothing left to do for a file.
pub fn already_logged(file: &Path, proof: &Path, output: &Output) -> Exit {
    output.result(
        || format!("{}: already logged, receipt in {}", file.display(), proof.display()),
        &json!({"file": file.display().to_string(), "status": "done"}),
    );
    Exit::Ok
}

/// Whether the file holds a receipt of this entry that the policy accepts.
pub fn receipt_verifies(path: &Path, entry: &[u8], policy: &Policy) -> bool {
    let receipt = files::read(path).ok().and_then(|bytes| Receipt::parse(&bytes).ok());
    receipt.is_some_and(|receipt| receipt.verify(entry, policy).is_ok())
}

/// Sends one entry and keeps its receipt.
pub fn send(
    place: &Place,
    entry: &[u8],
    proof: Option<&Path>,
    output: &Output,
) -> Result<Exit, Failure> {
    let fetch = place.fetch()?;
    let submitted = client::submit(&fetch, &place.policy, entry, PATIENCE_MAX).map_err(refused)?;
    if let Some(proof) = proof {
        files::write(proof, &submitted.receipt.to_bytes())?;
    }
    let Submitted { receipt, checkpoint, flags, new } = submitted;
    let (index, size) = (receipt.index, checkpoint.head().size);
    let kept = proof.map(|proof| proof.display().to_string());
    let flags: Vec<&str> = flags.split(',').filter(|flag| !flag.is_empty()).collect();
    output.result(
        || {
            let was = if new { "logged" } else { "was logged before" };
            let mut text = format!("{was}: entry {index} of {size} in {}", place.origin);
            if let Some(kept) = &kept {
                text += &format!("\nreceipt: {kept}");
            }
            if !flags.is_empty() {
                text += &format!(
                    "\nthe numbers break form rules {}: logged as they are",
                    flags.join(", ")
                );
            }
            text
        },
        &json!({
            "index": index,
            "size": size,
            "status": if new { "new" } else { "known" },
            "flags": flags,
            "receipt": kept,
        }),
    );
    Ok(Exit::Ok)
}

fn refused(error: SubmitError) -> Failure {
    match error {
        SubmitError::Fetch(FetchError::Refused(refusal)) if refusal.status < 429 => {
            let code = refusal.code.as_deref().unwrap_or("no code");
            let failure = Failure::new(Exit::Failure, format!("the log refused: {code}"));
            match refusal.head {
                Some(head) => failure.next(format!(
                    "read entry {}; a revision has \"seq\":{} and \"prev\":\"{}\"",
                    head.index,
                    u64::from(head.seq) + 1,
                    head.leaf
                )),
                None => failure.next(format!("look up `{code}` in SPEC.md, \"Errors\"")),
            }
        }
        SubmitError::Fetch(error) => place::unreachable(error),
        error => Failure::new(super::verify::exit_of(&error), error)
            .next("keep this answer: a log that gives false receipts has to answer for it"),
    }
}
