//! `jejak freeze`: the log ends here, for ever.

use std::{
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use clap::{Args, ValueEnum};
use jejak_proofs::{
    merkle::Hash,
    note::{Checkpoint, NOTE_LEN_MAX, NoteSigner, Receipt, UnverifiedCheckpoint},
    tally::{Body, Freeze, FreezeReason, Id, KeyRef},
};
use serde_json::json;

use super::{
    draft,
    exit::{Exit, Failure},
    files,
    output::Output,
    place::{LogArgs, Place, unreachable},
    submit,
};

/// How long the last state and the witnesses may take.
const LAST_PATIENCE: Duration = Duration::from_secs(20);
/// How often the log is asked for its last checkpoint.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// End a log: nothing follows but the state that covers this entry. It cannot be undone.
///
/// What is logged is served on, what is new is refused with 410, and the last checkpoint is kept
/// beside the entry. Run again, it goes on where it was interrupted.
#[derive(Debug, Args)]
pub struct FreezeArgs {
    #[command(flatten)]
    log: LogArgs,
    /// A root key.
    #[arg(long, value_name = "KEY")]
    by: PathBuf,
    /// Further root keys, where the manifest asks for several.
    #[arg(long = "with", value_name = "KEY")]
    with: Vec<PathBuf>,
    /// Why.
    #[arg(long, value_enum)]
    reason: ReasonArg,
    /// SHA-256 of the decision that ends the log.
    #[arg(long, value_name = "SHA256")]
    decision: Hash,
    /// Say that you mean it.
    #[arg(long)]
    for_ever: bool,
    /// Where the signed entry goes; `x.tlog-proof` and `x.checkpoint` stand beside it.
    #[arg(short, long, value_name = "FILE.note", default_value = "freeze.note")]
    out: PathBuf,
    /// Only sign it, for hands elsewhere; `jejak submit FILE.note` sends it.
    #[arg(long)]
    sign_only: bool,
    /// The election id, to sign without reaching the log.
    #[arg(long)]
    election: Option<Id>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ReasonArg {
    Completed,
    Compromised,
    Replaced,
}

pub fn run(args: FreezeArgs, output: &Output) -> Result<Exit, Failure> {
    if !args.for_ever {
        let message = "a frozen log takes no entry ever again";
        return Err(Failure::new(Exit::Usage, message).next("pass --for-ever if you mean it"));
    }
    let place = args.log.place()?;
    let by = files::read_key(&args.by)?;
    let with = args.with.iter().map(|path| files::read_key(path)).collect::<Result<Vec<_>, _>>()?;
    let keys: Vec<&dyn NoteSigner> =
        std::iter::once(&by).chain(&with).map(|key| key as _).collect();
    let author = by.public();
    let body = Body::Freeze(Freeze {
        by: KeyRef::new(author.name(), author.id()),
        decision: args.decision,
        election: args.election.map_or_else(|| place.election(), Ok)?,
        genesis: place.genesis,
        log: place.origin.clone().into(),
        reason: match args.reason {
            ReasonArg::Completed => FreezeReason::Completed,
            ReasonArg::Compromised => FreezeReason::Compromised,
            ReasonArg::Replaced => FreezeReason::Replaced,
        },
    });
    let entry = draft::sign(&body, &keys)?;
    files::write(&args.out, entry.bytes())?;
    let note = args.out.display().to_string();
    if args.sign_only {
        output.result(
            || format!("next: jejak submit -p POLICY {note}"),
            &json!({"leaf": entry.leaf(), "file": note}),
        );
        return Ok(Exit::Ok);
    }
    let proof = args.out.with_extension("tlog-proof");
    let kept = submit::Kept { proof: &proof, note: None };
    let wait = place.policy.needs_witnesses().then_some(LAST_PATIENCE);
    submit::send(&place, &entry, wait, Some(&kept), output)?;
    let receipt = Receipt::parse(&files::read(&proof)?).map_err(Failure::config)?;

    let last = last_checkpoint(&place, receipt.index)?;
    let file = args.out.with_extension("checkpoint");
    files::write(&file, last.note().as_bytes())?;
    let (head, file) = (last.head(), file.display().to_string());
    output.result(
        || format!("frozen: {} entries for ever, root {}\nin {file}", head.size, head.root),
        &json!({"size": head.size, "root": head.root, "checkpoint": file}),
    );
    Ok(Exit::Ok)
}

/// The checkpoint over the freeze at `index` and the state after it, as the policy asks for it.
fn last_checkpoint(place: &Place, index: u64) -> Result<Checkpoint, Failure> {
    let fetch = place.fetch()?;
    let end = Instant::now() + LAST_PATIENCE;
    loop {
        let answer = fetch.get("checkpoint", NOTE_LEN_MAX as u64).map_err(unreachable)?;
        let read = UnverifiedCheckpoint::parse(&answer.body);
        let verified = read.and_then(|read| place.policy.verify(read));
        match verified {
            // The freeze, and the state that covers it.
            Ok(checkpoint) if checkpoint.head().size == index + 2 => return Ok(checkpoint),
            Err(error) if super::verify::exit_of_checkpoint(&error) != Exit::Quorum => {
                return Err(Failure::new(super::verify::exit_of_checkpoint(&error), error));
            }
            _ if Instant::now() >= end => {
                let message = "frozen, and the last checkpoint is not witnessed yet";
                return Err(Failure::new(Exit::TryAgain, message)
                    .next("leave the log served, and run the same command again"));
            }
            _ => thread::sleep(ASK_EVERY),
        }
    }
}
