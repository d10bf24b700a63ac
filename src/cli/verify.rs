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
    files::{self, PolicyArg},
    output::Output,
    recap,
};
use crate::client::SubmitError;

/// Verify receipts, recap proofs, evidence, entries and policies, offline.
///
/// `verify FORM.note FORM.tlog-proof` checks that the form is logged; `verify UNIT.recap-proof`
/// what counts for a unit, and that every total above contains it; `verify FORM.note
/// UNIT.recap-proof` also whether the form is the one that counts (exit 12 if a later one has
/// replaced it, which its receipt beside it shows, 11 if another one counts); `verify
/// FILE.evidence` that it convicts; another file alone is shown for what it is and says.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The policy file: log keys, quorum and genesis.
    #[arg(short, long, value_name = "FILE", env = "JEJAK_POLICY")]
    policy: Option<PathBuf>,
    /// Ask the log at this URL whether it still extends the tree of the receipt or proof.
    #[arg(long, value_name = "URL")]
    against: Option<String>,
    /// An entry and its receipt or recap proof, or one file: a recap proof, an entry, a policy,
    /// evidence.
    #[arg(required = true, num_args = 1..=2)]
    files: Vec<PathBuf>,
}

pub fn run(args: VerifyArgs, output: &Output) -> Result<Exit, Failure> {
    match &args.files[..] {
        [note, proof] if recap::is_proof(proof) => {
            let policy = policy(&args)?;
            let (exit, checkpoint) = recap::verify_form(note, proof, &policy, output)?;
            let log = still_extends(&args, proof, &checkpoint, &policy, output)?;
            Ok(if log == Exit::Ok { exit } else { log })
        }
        [note, proof] => {
            let policy = policy(&args)?;
            let checkpoint = receipt(note, proof, &policy, output)?;
            still_extends(&args, proof, &checkpoint, &policy, output)
        }
        [file] if file.extension().is_some_and(|ending| ending == "evidence") => {
            evidence::verify(file, &policy(&args)?, output)
        }
        [file] if recap::is_proof(file) => {
            let policy = policy(&args)?;
            let checkpoint = recap::verify(file, &policy, output)?;
            still_extends(&args, file, &checkpoint, &policy, output)
        }
        [file] => one(file, output),
        _ => unreachable!("clap takes one or two files"),
    }
}

/// Holds the log to the checkpoint of a file, if that was asked for.
fn still_extends(
    args: &VerifyArgs,
    file: &Path,
    checkpoint: &Checkpoint,
    policy: &Policy,
    output: &Output,
) -> Result<Exit, Failure> {
    match &args.against {
        None => Ok(Exit::Ok),
        Some(url) => {
            against::run(checkpoint, url, policy, &file.with_extension("evidence"), output)
        }
    }
}

fn policy(args: &VerifyArgs) -> Result<Policy, Failure> {
    let policy = args.policy.clone().ok_or_else(|| {
        Failure::new(Exit::Usage, "a proof is verified against a policy").next("pass -p POLICY")
    })?;
    PolicyArg { policy }.read()
}

fn receipt(
    note: &Path,
    proof: &Path,
    policy: &Policy,
    output: &Output,
) -> Result<Checkpoint, Failure> {
    let entry = files::read(note)?;
    let receipt = Receipt::parse(&files::read(proof)?)
        .map_err(|error| Failure::new(Exit::Failure, format!("{}: {error}", proof.display())))?;
    let checkpoint = receipt
        .verify(&entry, policy)
        .map_err(|error| Failure::new(exit_of_receipt(&error), error))?;
    let (index, head) = (receipt.index, checkpoint.head());
    let witnesses: Vec<String> = policy
        .cosignatures(&checkpoint)
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
    Ok(checkpoint)
}

/// Says what a single file is.
fn one(file: &Path, output: &Output) -> Result<Exit, Failure> {
    let bytes = files::read(file)?;
    if let Ok(policy) = Policy::parse_bytes(&bytes) {
        return show_policy(&policy, &bytes, output);
    }
    let entry = Entry::parse(&bytes).map_err(|refusal| {
        Failure::new(Exit::Failure, format!("{}: {refusal}", file.display()))
            .next("pass an entry with its receipt, a recap proof, an entry, or a policy")
    })?;
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
                return format!(
                    "a {kind}, leaf hash {}: it follows from the entries before it",
                    entry.leaf()
                );
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
    Ok(Exit::Ok)
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

pub fn exit_of_receipt(error: &ReceiptError) -> Exit {
    match error {
        ReceiptError::Checkpoint(error) => exit_of_checkpoint(error),
        ReceiptError::Inclusion(_) => Exit::Inclusion,
        _ => Exit::Failure,
    }
}

pub fn exit_of_checkpoint(error: &CheckpointError) -> Exit {
    match error.fault() {
        CheckpointFault::LogSignature => Exit::LogSignature,
        CheckpointFault::Quorum => Exit::Quorum,
        _ => Exit::Failure,
    }
}
