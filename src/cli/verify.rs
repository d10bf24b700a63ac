//! `jejak verify`: what a receipt, an entry or a policy proves, without trusting anyone.

use std::path::{Path, PathBuf};

use clap::Args;
use jejak_proofs::{
    note::{Checkpoint, CheckpointError, CheckpointFault, Policy, Receipt, ReceiptError},
    tally::{Body, Entry},
};
use serde_json::json;

use super::{
    against, evidence,
    exit::{Exit, Failure},
    files::{self, PolicyArg, StrictArg},
    output::Output,
    place::Place,
    recap, refusal,
};
use crate::client::SubmitError;

/// Verify receipts, recap proofs, evidence, entries and policies, offline.
///
/// `verify FORM.note FORM.tlog-proof` checks that the form is logged; `verify UNIT.recap-proof`
/// what counts for a unit, and that every total above contains it; `verify FORM.note
/// UNIT.recap-proof` also whether the form is the one that counts (exit 12 if a later one has
/// replaced it, which its receipt beside it shows, 11 if another one counts); `verify
/// FILE.evidence` that it convicts; another file alone is shown for what it is and says.
/// `--against URL` asks a log, or a static copy: whether it still extends the tree of the receipt
/// or the recap proof, or whether FORM.note is in it.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The policy file: log keys, quorum and genesis.
    #[arg(short, long, value_name = "FILE", env = "JEJAK_POLICY")]
    policy: Option<PathBuf>,
    #[command(flatten)]
    strict: StrictArg,
    /// Ask the log at this URL about the receipt or recap proof, or about an entry without one.
    #[arg(long, value_name = "URL")]
    against: Option<String>,
    /// A mirror that is asked where the log does not answer, or not with what verifies. May be
    /// given several times.
    #[arg(long, value_name = "URL", requires = "against")]
    mirror: Vec<String>,
    /// An entry and its receipt or recap proof, or one file: a recap proof, an entry, a policy,
    /// evidence.
    #[arg(required = true, num_args = 1..=2)]
    files: Vec<PathBuf>,
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Entry,
    Receipt,
    Recap,
    Evidence,
    Refusal,
    Policy,
    Other,
}

impl Kind {
    /// By the first line; of a policy, which may begin with any comment, by any line.
    fn of(bytes: &[u8]) -> Self {
        let mut lines = bytes.split(|b| *b == b'\n');
        let policy_line = |line: &[u8]| {
            let word = line.split(|b| matches!(b, b' ' | b'\t')).find(|word| !word.is_empty());
            line.starts_with(b"# jejak-genesis")
                || matches!(word, Some(b"log" | b"witness" | b"group" | b"quorum"))
        };
        match lines.next().unwrap_or_default() {
            b"jejak/evidence/v1" => Self::Evidence,
            b"jejak/refusal/v1" => Self::Refusal,
            b"c2sp.org/tlog-proof@v1" => Self::Receipt,
            b"jejak/recap-proof/v1" => Self::Recap,
            line if line.starts_with(b"jejak/") => Self::Entry,
            line if policy_line(line) || lines.any(policy_line) => Self::Policy,
            _ => Self::Other,
        }
    }
}

struct Read<'a> {
    path: &'a Path,
    bytes: Vec<u8>,
    kind: Kind,
}

impl<'a> Read<'a> {
    fn open(path: &'a PathBuf) -> Result<Self, Failure> {
        let bytes = files::read(path)?;
        Ok(Self { path, kind: Kind::of(&bytes), bytes })
    }

    /// A failure that is about this file.
    fn failure(&self, exit: Exit, message: impl std::fmt::Display) -> Failure {
        Failure::new(exit, format!("{}: {message}", self.path.display()))
    }
}

pub fn run(args: VerifyArgs, output: &Output) -> Result<Exit, Failure> {
    let files = args.files.iter().map(Read::open).collect::<Result<Vec<_>, _>>()?;
    match &files[..] {
        [proof, note] if proof.kind == Kind::Receipt && note.kind != Kind::Receipt => {
            pair(&args, note, proof, output)
        }
        [note, proof] if proof.kind == Kind::Recap => form(&args, note, proof, output),
        [proof, note] if proof.kind == Kind::Recap => form(&args, note, proof, output),
        [note, proof] => pair(&args, note, proof, output),
        [file] => one(&args, file, output),
        _ => unreachable!("clap takes one or two files"),
    }
}

impl VerifyArgs {
    /// Where to ask for the log, if it is to be asked.
    fn asked(&self) -> Option<against::Asked<'_>> {
        let url = self.against.as_deref()?;
        Some(against::Asked { url, mirrors: &self.mirror })
    }
}

fn policy(args: &VerifyArgs) -> Result<Policy, Failure> {
    let policy = args.policy.clone().ok_or_else(|| {
        let message = "keys, quorum and genesis of the log are not known";
        Failure::new(Exit::Usage, message).next("pass -p POLICY")
    })?;
    Ok(args.strict.apply(PolicyArg { policy }.read()?))
}

/// An entry and its receipt.
fn pair(
    args: &VerifyArgs,
    note: &Read<'_>,
    proof: &Read<'_>,
    output: &Output,
) -> Result<Exit, Failure> {
    let policy = policy(args)?;
    let receipt =
        Receipt::parse(&proof.bytes).map_err(|error| proof.failure(Exit::Failure, error))?;
    let checkpoint = match (receipt.verify(&note.bytes, &policy), args.asked()) {
        (Ok(checkpoint), _) => checkpoint,
        (Err(error @ ReceiptError::Inclusion(_)), Some(asked)) => {
            against::Shown::ask(asked, &policy)?.fits_no_other(&receipt)?;
            return Err(of_receipt(error));
        }
        (Err(error), _) => return Err(of_receipt(error)),
    };
    if let Ok(entry) = Entry::parse(&note.bytes) {
        check_place(&entry, &policy)?;
    }
    logged(receipt.index, &checkpoint, &policy, output)?;
    let Some(asked) = args.asked() else { return Ok(Exit::Ok) };
    let shown = against::Shown::ask(asked, &policy)?;
    let exit = shown.extends(&checkpoint, &proof.path.with_extension("evidence"), output)?;
    if exit == Exit::Ok {
        shown.serves(receipt.index, &note.bytes)?;
    }
    Ok(exit)
}

/// A form and the recap proof of its unit.
fn form(
    args: &VerifyArgs,
    note: &Read<'_>,
    proof: &Read<'_>,
    output: &Output,
) -> Result<Exit, Failure> {
    let policy = policy(args)?;
    let entry =
        Entry::parse(&note.bytes).map_err(|refusal| note.failure(Exit::Failure, refusal))?;
    check_place(&entry, &policy)?;
    let proven = recap::read(proof.path, &proof.bytes, &policy)?;
    let exit = recap::verify_form(note.path, &entry, &proven, &policy, output)?;
    let log = still_extends(args, proof, &proven.checkpoint, &policy, output)?;
    Ok(if log == Exit::Ok { exit } else { log })
}

/// A recap proof alone.
fn recap_proof(args: &VerifyArgs, proof: &Read<'_>, output: &Output) -> Result<Exit, Failure> {
    let policy = policy(args)?;
    let proven = recap::read(proof.path, &proof.bytes, &policy)?;
    recap::verify(&proven, &policy, output)?;
    still_extends(args, proof, &proven.checkpoint, &policy, output)
}

/// Holds the log to the checkpoint of a recap proof, if that was asked for.
fn still_extends(
    args: &VerifyArgs,
    proof: &Read<'_>,
    checkpoint: &Checkpoint,
    policy: &Policy,
    output: &Output,
) -> Result<Exit, Failure> {
    let Some(asked) = args.asked() else { return Ok(Exit::Ok) };
    let shown = against::Shown::ask(asked, policy)?;
    shown.extends(checkpoint, &proof.path.with_extension("evidence"), output)
}

/// Demands that an entry names the log and the genesis that the policy pins.
fn check_place(entry: &Entry, policy: &Policy) -> Result<(), Failure> {
    let Some((log, _, genesis)) = entry.body().place() else {
        let message = "a state names no log: it speaks for the checkpoint over it";
        return Err(
            Failure::config(message).next("pass a recap proof, or an entry with signatures")
        );
    };
    if policy.log_keys(log).is_empty() {
        let pinned = policy.logs().next().map_or("none", |line| line.key.name());
        let message = format!("the entry is for the log {log}, the policy pins {pinned}");
        return Err(Failure::config(message).next("pass the policy of the entry's log"));
    }
    // Entry 0 cannot name itself.
    let genesis = genesis.copied().unwrap_or_else(|| entry.leaf());
    match policy.genesis(log) {
        Some(pinned) if pinned != genesis => {
            let message =
                format!("the entry is for the genesis {genesis}, the policy pins {pinned}");
            Err(Failure::config(message).next("pass the policy of the entry's log"))
        }
        _ => Ok(()),
    }
}

/// Says that an entry is logged, and who has seen it.
fn logged(
    index: u64,
    checkpoint: &Checkpoint,
    policy: &Policy,
    output: &Output,
) -> Result<(), Failure> {
    let head = checkpoint.head();
    let witnesses: Vec<String> = policy
        .cosignatures(checkpoint)
        .map_err(|error| Failure::new(exit_of_checkpoint(&error), error))?
        .iter()
        .map(|cosignature| cosignature.witness.name.clone())
        .collect();
    output.result(
        || {
            let seen = match witnesses.is_empty() {
                true => "no witness".to_owned(),
                false => witnesses.join(", "),
            };
            format!(
                "ok: entry {index} of {} in {}, seen by {seen}\n\
                 This proves that the entry is logged. It does not prove that its author was \
                 mandated,\nthat it is the current value, or that it is true. Transparency evidence, \
                 not the official result.",
                head.size,
                checkpoint.origin()
            )
        },
        &json!({
            "ok": true,
            "index": index,
            "size": head.size,
            "origin": checkpoint.origin(),
            "witnesses": witnesses,
            "proves": "logged",
        }),
    );
    Ok(())
}

/// Says what a single file is; an entry is looked up where there is a log to ask.
fn one(args: &VerifyArgs, file: &Read<'_>, output: &Output) -> Result<Exit, Failure> {
    if args.against.is_some() && !matches!(file.kind, Kind::Entry | Kind::Recap) {
        let message = "--against asks a log about an entry, a recap proof, or an entry and its \
                       receipt";
        return Err(Failure::new(Exit::Usage, message));
    }
    match file.kind {
        Kind::Entry => one_entry(args, file, output),
        Kind::Evidence => evidence::verify(file.path, &file.bytes, &policy(args)?, output),
        Kind::Refusal => {
            let place = args.policy.clone().map(|policy| Place::new(&PolicyArg { policy }, None));
            refusal::show(file.path, &file.bytes, place.transpose()?.as_ref(), output)
        }
        Kind::Policy => match Policy::parse_bytes(&file.bytes) {
            Ok(policy) => show_policy(&policy, &file.bytes, output),
            Err(error) => Err(file.failure(Exit::Config, error)),
        },
        Kind::Recap => recap_proof(args, file, output),
        Kind::Receipt => {
            let message = "a receipt proves nothing without the entry that it is for";
            let next = format!("jejak verify -p POLICY FORM.note {}", file.path.display());
            Err(file.failure(Exit::Failure, message).next(next))
        }
        Kind::Other => {
            let message = "neither an entry, a receipt, a recap proof, evidence nor a policy";
            Err(file.failure(Exit::Failure, message))
        }
    }
}

fn one_entry(args: &VerifyArgs, file: &Read<'_>, output: &Output) -> Result<Exit, Failure> {
    let entry =
        Entry::parse(&file.bytes).map_err(|refusal| file.failure(Exit::Failure, refusal))?;
    if args.policy.is_some() || args.against.is_some() {
        let policy = policy(args)?;
        check_place(&entry, &policy)?;
        if let Some(asked) = args.asked() {
            let (index, checkpoint) = against::look_up(entry.leaf(), asked, &policy, output)?;
            logged(index, &checkpoint, &policy, output)?;
            return Ok(Exit::Ok);
        }
    }
    show_entry(&entry, output);
    Ok(Exit::Ok)
}

fn show_entry(entry: &Entry, output: &Output) {
    let signers: Vec<String> = entry.signers().map(ToString::to_string).collect();
    let kind = entry.body().kind();
    let unit = match entry.body() {
        Body::Tally(tally) => format!(" for {} in {}", tally.unit, tally.contest),
        Body::Attestation(body) => format!(" about {} in {}", body.unit, body.contest),
        _ => String::new(),
    };
    output.result(
        || {
            if signers.is_empty() {
                let leaf = entry.leaf();
                return format!("a {kind}, leaf hash {leaf}: it follows from what is before it");
            }
            format!(
                "a {kind}{unit}, leaf hash {}\nsigned by {}\nIts form is right. Whether the \
                 signatures are valid and mandated shows against the log: pass its receipt too.",
                entry.leaf(),
                signers.join(", ")
            )
        },
        &json!({"kind": kind, "leaf": entry.leaf(), "signers": signers}),
    );
}

fn show_policy(policy: &Policy, bytes: &[u8], output: &Output) -> Result<Exit, Failure> {
    let fingerprint = jejak_proofs::merkle::sha256(bytes);
    let origin = policy.single_origin().map_err(Failure::config)?;
    let genesis = policy.require_genesis(origin).map_err(Failure::config)?;
    let quorum = if policy.needs_witnesses() { "witnesses" } else { "none" };
    output.result(
        || format!("policy  SHA-256 {fingerprint}\nlog     {origin}\ngenesis {genesis}\nquorum  {quorum}"),
        &json!({"sha256": fingerprint, "origin": origin, "genesis": genesis, "quorum": quorum}),
    );
    Ok(Exit::Ok)
}

/// The exit code of an answer that does not verify.
pub fn exit_of(error: &SubmitError) -> Exit {
    match error {
        SubmitError::Receipt(error) => exit_of_receipt(error),
        SubmitError::Checkpoint(error) => exit_of_checkpoint(error),
        SubmitError::Batch => Exit::Inclusion,
        _ => Exit::Failure,
    }
}

/// Why a receipt does not verify, and for whom that is bad news.
fn of_receipt(error: ReceiptError) -> Failure {
    match error {
        ReceiptError::Checkpoint(CheckpointError::OtherOrigin) => {
            let message = "the receipt is of another log than the policy's";
            Failure::config(message).next("pass the policy of the log that gave the receipt")
        }
        error => Failure::new(exit_of_receipt(&error), error),
    }
}

pub fn exit_of_receipt(error: &ReceiptError) -> Exit {
    match error {
        ReceiptError::Checkpoint(error) => exit_of_checkpoint(error),
        ReceiptError::Inclusion(_) => Exit::Inclusion,
        _ => Exit::Failure,
    }
}

pub fn exit_of_checkpoint(error: &CheckpointError) -> Exit {
    match error.fault() {
        // Of another log nothing was promised: the policy, the URL or the file is the wrong one.
        _ if *error == CheckpointError::OtherOrigin => Exit::Config,
        CheckpointFault::LogSignature => Exit::LogSignature,
        CheckpointFault::Quorum => Exit::Quorum,
        _ => Exit::Failure,
    }
}
