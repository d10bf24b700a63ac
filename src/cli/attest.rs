//! `jejak attest`: what somebody else says about a logged form.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use jejak_proofs::{
    merkle::{ENTRY_LEN_MAX, Hash},
    note::NoteSigner,
    tally::{Attestation, AttestationVerdict, Body, Entry, KeyRef, Tally},
};
use serde::Deserialize;

use super::{
    draft,
    exit::{Exit, Failure},
    files::{self, HeldKey},
    output::Output,
    place::{self, LogArgs, Place},
    submit,
};
use crate::client::FetchError;

/// Bytes of an answer about a leaf.
const ANSWER_LEN_MAX: u64 = 1 << 10;

/// Attest a logged form: sign what you say of it, send it, keep `x.attest.note` and its receipt.
///
/// For keys of a role that is not official: party witnesses, supervisors, observers. One key
/// attests a form once. A second run sends the very same bytes again, unless there is a receipt.
#[derive(Debug, Args)]
pub struct AttestArgs {
    #[command(flatten)]
    log: LogArgs,
    /// Private keys: the author's first, then co-signers'.
    #[arg(short, long = "key", value_name = "KEY", required = true)]
    keys: Vec<PathBuf>,
    /// The form as it was signed (`x.note`), or its leaf hash in the log.
    #[arg(value_name = "FORM.note|LEAF")]
    form: String,
    /// What you say of it.
    #[arg(long, value_enum)]
    verdict: Verdict,
    /// The signed attestation [default: `x.attest.note` beside the form].
    #[arg(short, long, value_name = "FILE.note")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Verdict {
    /// The numbers are those that you saw.
    Agrees,
    /// They are not.
    Disagrees,
    /// You cannot read the form.
    Unreadable,
    /// You were not there.
    NotPresent,
}

impl From<Verdict> for AttestationVerdict {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Agrees => Self::Agrees,
            Verdict::Disagrees => Self::Disagrees,
            Verdict::Unreadable => Self::Unreadable,
            Verdict::NotPresent => Self::NotPresent,
        }
    }
}

pub fn run(args: AttestArgs, output: &Output) -> Result<Exit, Failure> {
    let place = args.log.place()?;
    let keys = args.keys.iter().map(|path| files::read_key(path)).collect::<Result<Vec<_>, _>>()?;
    // A path may look like anything but a hash in its one spelling.
    let (leaf, tally, beside) = match args.form.parse::<Hash>() {
        Ok(leaf) => (leaf, logged(&place, leaf)?, PathBuf::from(format!("{leaf}.note"))),
        Err(_) => {
            let file = PathBuf::from(&args.form);
            let entry = read(&file)?;
            (entry.leaf(), tally_of(&entry, &args.form)?, file)
        }
    };
    let author = keys[0].public();
    let body = Body::Attestation(Attestation {
        by: KeyRef::new(author.name(), author.id()),
        contest: tally.contest,
        election: tally.election,
        genesis: place.genesis,
        leaf,
        log: place.origin.clone().into(),
        unit: tally.unit,
        verdict: args.verdict.into(),
    });
    let note = args.out.unwrap_or_else(|| beside.with_extension("attest.note"));
    let entry = signed(&note, &body, &keys)?;
    let proof = note.with_extension("tlog-proof");
    if submit::is_logged(&proof, entry.bytes(), &place.policy) {
        return Ok(submit::already_logged(&note, &proof, output));
    }
    let kept = submit::Kept { proof: &proof, note: Some(&note) };
    submit::send(&place, &entry, None, Some(&kept), output)
}

/// The attestation that was signed before, or signed now and kept.
fn signed(note: &Path, body: &Body, keys: &[HeldKey]) -> Result<Entry, Failure> {
    if note.exists() {
        let entry = read(note)?;
        if entry.body() == body {
            return submit::signed_by(keys, entry, note);
        }
        let message = format!("{} says something else, or of another form", note.display());
        return Err(Failure::config(message)
            .next("a key attests a form once; for another key pass -o OTHER.attest.note"));
    }
    let entry = draft::sign(body, &keys.iter().map(|key| key as _).collect::<Vec<_>>())?;
    files::write(note, entry.bytes())?;
    Ok(entry)
}

fn read(path: &Path) -> Result<Entry, Failure> {
    Entry::parse(&files::read(path)?)
        .map_err(|refusal| Failure::config(format!("{}: {refusal}", path.display())))
}

fn tally_of(entry: &Entry, name: &str) -> Result<Tally, Failure> {
    match entry.body() {
        Body::Tally(tally) => Ok((**tally).clone()),
        body => Err(Failure::config(format!("{name} is a {}, not a form", body.kind()))
            .next("pass the form's x.note, or its leaf hash")),
    }
}

/// The logged form with this leaf hash.
fn logged(place: &Place, leaf: Hash) -> Result<Tally, Failure> {
    #[derive(Deserialize)]
    struct Found {
        index: u64,
    }
    let fetch = place.fetch()?;
    let answer = match fetch.get(&format!("leaf/{leaf}"), ANSWER_LEN_MAX) {
        Err(FetchError::Refused(refusal)) if refusal.status == 404 => {
            return Err(Failure::new(Exit::NotInLog, "no entry of this log has that leaf hash"));
        }
        answer => answer.map_err(place::unreachable)?,
    };
    let wrong =
        || Failure::new(Exit::Failure, "the log answers with something else than that entry");
    let found: Found = serde_json::from_slice(&answer.body).map_err(|_| wrong())?;
    let answer = fetch.get(&format!("entry/{}", found.index), ENTRY_LEN_MAX as u64);
    let entry = Entry::parse(&answer.map_err(place::unreachable)?.body).map_err(|_| wrong())?;
    if entry.leaf() != leaf {
        return Err(wrong());
    }
    tally_of(&entry, &format!("entry {}", found.index))
}
