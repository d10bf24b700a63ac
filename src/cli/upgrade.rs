//! `jejak submit --upgrade`: receipts that witnesses stand behind, in place of published ones.
//!
//! A published receipt is the log's word alone. Before it is exchanged the log must show that the
//! tree of the new receipt and that of the old one are one history; if they are not, both receipts
//! are evidence.

use std::path::{Path, PathBuf};

use jejak_proofs::{
    merkle::leaf_hash,
    note::{Checkpoint, RECEIPT_LEN_MAX, Receipt, ReceiptError},
    tally::Entry,
};
use serde_json::json;

use super::{
    against::Shown,
    exit::{Exit, Failure},
    files,
    output::Output,
    place::{Place, unreachable},
    verify::{exit_of_checkpoint, exit_of_receipt},
};
use crate::client::Fetch;

/// Exchanges the receipt beside each entry. One that cannot be exchanged yet does not keep the
/// others from it.
pub fn run(place: &Place, files: &[PathBuf], output: &Output) -> Result<Exit, Failure> {
    let fetch = place.fetch()?;
    let mut waiting = None;
    for file in files {
        match upgrade(place, &fetch, file, output) {
            Ok(Exit::Ok) => {}
            Ok(exit) => return Ok(exit),
            Err(failure) if failure.exit == Exit::TryAgain && files.len() > 1 => {
                output.failure(&failure);
                waiting = Some(failure.exit);
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(waiting.unwrap_or(Exit::Ok))
}

fn upgrade(place: &Place, fetch: &Fetch, file: &Path, output: &Output) -> Result<Exit, Failure> {
    let (note, proof) = (file.with_extension("note"), file.with_extension("tlog-proof"));
    let about = |path: &Path, error: &dyn std::fmt::Display| {
        Failure::config(format!("{}: {error}", path.display()))
    };
    let entry = Entry::parse(&files::read(&note)?).map_err(|error| about(&note, &error))?;
    let old = Receipt::parse(&files::read(&proof)?).map_err(|error| about(&proof, &error))?;
    if old.verify(entry.bytes(), &place.policy).is_ok() {
        said(&proof, old.index, "already", output);
        return Ok(Exit::Ok);
    }
    let published = old.verify_published(entry.bytes(), &place.policy).map_err(|error| {
        Failure::new(exit_of_receipt(&error), format!("{}: {error}", proof.display()))
    })?;

    let new = witnessed_receipt(place, fetch, old.index, &entry)?;
    let witnessed = place
        .policy
        .verify(new.checkpoint.clone())
        .map_err(|error| Failure::new(exit_of_checkpoint(&error), error))?;
    let exit = one_history(place, fetch, published, witnessed, &proof, output)?;
    if exit != Exit::Ok {
        return Ok(exit);
    }
    // The old one first: at no time is there none.
    files::write(&file.with_extension("published.tlog-proof"), &old.to_bytes())?;
    files::write(&proof, &new.to_bytes())?;
    said(&proof, new.index, "now", output);
    Ok(Exit::Ok)
}

/// The receipt that the log gives for this entry now, if a quorum stands behind it.
fn witnessed_receipt(
    place: &Place,
    fetch: &Fetch,
    index: u64,
    entry: &Entry,
) -> Result<Receipt, Failure> {
    let answer = fetch
        .get_patiently(&format!("receipt/{index}"), RECEIPT_LEN_MAX as u64, place.patience)
        .map_err(unreachable)?;
    let receipt = Receipt::parse(&answer.body);
    let receipt = receipt.map_err(|error| Failure::new(exit_of_receipt(&error), error))?;
    match receipt.verify_leaf(leaf_hash(entry.bytes()), &place.policy) {
        Ok(_) => Ok(receipt),
        Err(ReceiptError::Checkpoint(error)) if exit_of_checkpoint(&error) == Exit::Quorum => {
            let message = format!("entry {index} is published, and not witnessed yet: {error}");
            Err(Failure::new(Exit::TryAgain, message).next("run the same command again later"))
        }
        Err(error) => Err(Failure::new(exit_of_receipt(&error), error)
            .next("keep the receipt that you have; jejak verify --against holds the log to it")),
    }
}

/// Whether the trees of both receipts are of one history; if not, evidence stands beside them.
fn one_history(
    place: &Place,
    fetch: &Fetch,
    published: Checkpoint,
    witnessed: Checkpoint,
    proof: &Path,
    output: &Output,
) -> Result<Exit, Failure> {
    // The witnessed tree may be the smaller one: it need only cover the entry.
    let (old, new) = match published.head().size <= witnessed.head().size {
        true => (published, witnessed),
        false => (witnessed, published),
    };
    let shown = Shown::before(fetch, &place.policy, new, fetch.base());
    shown.extends(&old, &proof.with_extension("evidence"), output)
}

fn said(proof: &Path, index: u64, since: &str, output: &Output) {
    let proof = proof.display().to_string();
    output.result(
        || format!("{proof}: entry {index} is {since} under a witnessed checkpoint"),
        &json!({"receipt": proof, "index": index, "witnessed": true}),
    );
}
