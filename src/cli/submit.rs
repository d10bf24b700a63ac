//! `jejak submit`: entries go to the log, receipts come back as files.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use jejak_proofs::{
    note::{NoteSigner, Policy, Receipt},
    tally::{Entry, Id, KeyRef},
};
use serde_json::{Value, json};

use super::{
    draft,
    exit::{Exit, Failure},
    files::{self, HeldKey},
    monitor::parse_time,
    output::Output,
    place::{self, LogArgs, Place},
    refusal, strict, upgrade,
};
use crate::client::{self, FetchError, SubmitError, Submitted};

/// Submit forms: sign `x.json` into `x.note`, send it, keep the receipt `x.tlog-proof`.
///
/// Everything is signed before anything is sent. A second run skips what has a receipt, and sends
/// the very same bytes again for the rest. What the log refuses is set aside as `x.refused`.
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
    /// The election id, to sign without asking the log for it.
    #[arg(long)]
    election: Option<Id>,
    /// Wait for receipts that the policy's witnesses stand behind: for how long, at most 20s.
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "10s",
          value_parser = parse_time)]
    witnessed: Option<Duration>,
    /// Send nothing: exchange the receipts beside these entries for ones that the witnesses stand
    /// behind. The old one is kept as `x.published.tlog-proof`.
    #[arg(long, conflicts_with_all = ["keys", "election", "witnessed"])]
    upgrade: bool,
}

pub fn run(args: SubmitArgs, output: &Output) -> Result<Exit, Failure> {
    let place = args.log.place()?;
    place.fetch()?;
    if args.upgrade {
        return upgrade::run(&place, &args.files, output);
    }
    let keys = args.keys.iter().map(|path| files::read_key(path)).collect::<Result<Vec<_>, _>>()?;
    let many = args.files.len() > 1;
    let mut worst = Exit::Ok;
    let mut ready = Vec::new();
    for file in &args.files {
        match entry_of(file, &place, &keys, args.election.as_ref()) {
            Ok(entry) => ready.push((file, entry)),
            Err(failure) => worst = go_on(file, failure, many, output)?,
        }
    }
    for (file, entry) in ready {
        let proof = file.with_extension("tlog-proof");
        if is_logged(&proof, entry.bytes(), &place.policy) {
            already_logged(file, &proof, output);
            continue;
        }
        // A note that somebody else made is not ours to move.
        let note = (!is_note(file)).then(|| file.with_extension("note"));
        let kept = Kept { proof: &proof, note: note.as_deref() };
        if let Err(failure) = send(&place, &entry, args.witnessed, Some(&kept), output) {
            worst = go_on(file, failure, many, output)?;
        }
    }
    Ok(worst)
}

/// One bad form must not keep the others from the log; a log that is away, or lies, ends it all.
fn go_on(file: &Path, failure: Failure, many: bool, output: &Output) -> Result<Exit, Failure> {
    if !many || !matches!(failure.exit, Exit::Failure | Exit::Config | Exit::Usage) {
        return Err(failure);
    }
    let name = file.display().to_string();
    let message = match failure.message.contains(&name) {
        true => failure.message,
        false => format!("{name}: {}", failure.message),
    };
    output.failure(&Failure { message, ..failure });
    Ok(Exit::Failure)
}

fn is_note(file: &Path) -> bool {
    file.extension().is_some_and(|ending| ending == "note")
}

/// The signed entry of a file: as it stands, or signed now and kept beside it.
fn entry_of(
    file: &Path,
    place: &Place,
    keys: &[HeldKey],
    election: Option<&Id>,
) -> Result<Entry, Failure> {
    let note = file.with_extension("note");
    if is_note(file) || note.exists() {
        let entry = Entry::parse(&files::read(&note)?)
            .map_err(|refusal| Failure::config(format!("{}: {refusal}", note.display())))?;
        if !is_note(file) && !says_the_same(file, &entry)? {
            let message =
                format!("{} no longer says what was signed in {}", file.display(), note.display());
            return Err(Failure::config(message).next(
                "correct a logged form by a revision in a file of its own; remove the .note if it \
                 was never sent",
            ));
        }
        return signed_by(keys, entry, &note);
    }
    let keys: Vec<&dyn NoteSigner> = keys.iter().map(|key| key as _).collect();
    let Some(author) = keys.first() else {
        return Err(Failure::new(Exit::Usage, "an unsigned body needs a key").next("pass -k KEY"));
    };
    let election = || match election {
        Some(election) => Ok(election.to_string()),
        None => Ok(place.election()?.to_string()),
    };
    let body = draft::read(file, place, *author, election)?;
    let entry = draft::sign(&body, &keys)?;
    files::write(&note, entry.bytes())?;
    Ok(entry)
}

/// What is signed is sent as it stands, so a key that has not signed it would be left out.
pub fn signed_by(keys: &[HeldKey], entry: Entry, note: &Path) -> Result<Entry, Failure> {
    for key in keys {
        let verifier = key.verifier();
        let key = KeyRef::new(verifier.name(), verifier.id());
        if entry.signers().all(|signer| *signer != key) {
            let signers: Vec<String> = entry.signers().map(ToString::to_string).collect();
            let (note, signers) = (note.display(), signers.join(", "));
            let message = format!("{note} is signed by {signers}, not by {key}");
            return Err(Failure::config(message).next(format!(
                "leave out that -k; or add its line: jejak sign {note} -k KEY; or, if {note} was \
                 never sent, remove it"
            )));
        }
    }
    Ok(entry)
}

/// Whether every field of the unsigned body stands in the entry as it is.
fn says_the_same(file: &Path, entry: &Entry) -> Result<bool, Failure> {
    let fail = |error| Failure::config(format!("{}: {error}", file.display()));
    let unsigned = strict::object(&files::read_text(file)?).map_err(fail)?;
    let json = entry.text().split_once('\n').map_or("", |(_, json)| json);
    let signed: Value = serde_json::from_str(json).unwrap_or_default();
    Ok(unsigned.iter().all(|(field, value)| &signed[field] == value))
}

/// Says that there is nothing left to do for a file.
pub fn already_logged(file: &Path, proof: &Path, output: &Output) -> Exit {
    output.result(
        || format!("{}: already logged, receipt in {}", file.display(), proof.display()),
        &json!({"file": file.display().to_string(), "status": "done"}),
    );
    Exit::Ok
}

/// Whether the file holds a receipt of this entry that the log signed, witnessed or not.
pub fn is_logged(path: &Path, entry: &[u8], policy: &Policy) -> bool {
    let receipt = files::read(path).ok().and_then(|bytes| Receipt::parse(&bytes).ok());
    receipt.is_some_and(|receipt| receipt.verify_published(entry, policy).is_ok())
}

/// Where the receipt goes, and the note that is set aside if the log refuses it.
pub struct Kept<'a> {
    /// The file of the receipt.
    pub proof: &'a Path,
    /// The note, if we made it.
    pub note: Option<&'a Path>,
}

/// Sends one entry and keeps its receipt. `witnessed` says how long to wait for one that witnesses
/// stand behind.
pub fn send(
    place: &Place,
    entry: &Entry,
    witnessed: Option<Duration>,
    kept: Option<&Kept<'_>>,
    output: &Output,
) -> Result<Exit, Failure> {
    let fetch = place.fetch()?;
    let sent = client::submit(&fetch, &place.policy, entry.bytes(), witnessed, place.patience);
    let submitted = sent.map_err(|error| refused(error, entry, kept))?;
    let proof = kept.map(|kept| kept.proof);
    if let Some(proof) = proof {
        files::write(proof, &submitted.receipt.to_bytes())?;
    }
    let Submitted { receipt, checkpoint, flags, new, witnessed } = submitted;
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
            if let (false, Some(kept)) = (witnessed, &kept) {
                let note = kept.replace(".tlog-proof", ".note");
                text += "\nno quorum of witnesses has seen it yet";
                text += &format!("; then: jejak submit --upgrade {note}");
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
            "witnessed": witnessed,
        }),
    );
    Ok(Exit::Ok)
}

fn refused(error: SubmitError, entry: &Entry, kept: Option<&Kept<'_>>) -> Failure {
    match error {
        SubmitError::Fetch(FetchError::Refused(refusal)) if refusal.status < 429 => {
            let mut failure = refusal::failure(&refusal, entry);
            let file = kept.map(|kept| kept.proof.with_extension("refusal"));
            if let Some(file) = file.and_then(|file| refusal::keep(&refusal, entry, &file)) {
                failure.message += &format!("; signed in {file}");
            }
            match refusal::is_judgement(&refusal) {
                true => not_logged(failure, kept.and_then(|kept| kept.note)),
                false => failure,
            }
        }
        SubmitError::Fetch(error) => place::unreachable(error),
        error => Failure::new(super::verify::exit_of(&error), error)
            .next("keep this answer: a log that gives false receipts has to answer for it"),
    }
}

/// Says that nothing was logged, and makes room for a corrected form.
fn not_logged(mut failure: Failure, note: Option<&Path>) -> Failure {
    failure.message += "; nothing was logged";
    let Some(note) = note else { return failure };
    let aside = note.with_extension("refused");
    match files::rename(note, &aside) {
        Ok(()) => {
            failure.message += &format!("; what was signed is now in {}", aside.display());
            let next = "correct the form and run the same command again";
            if failure.next.is_none() { failure.next(next) } else { failure }
        }
        Err(_) => failure.next(format!("remove {}, correct the form", note.display())),
    }
}
