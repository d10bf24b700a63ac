//! The part of `jejak verify` that judges evidence.

use std::path::Path;

use jejak_proofs::{
    merkle::Hash,
    note::{CheckpointFault, Conviction, Evidence, EvidenceError, Policy},
};
use serde_json::json;

use super::{
    exit::{Exit, Failure},
    output::Output,
};

/// Judges an evidence file with nothing but the log keys of the policy. Exit 0: it convicts.
pub fn verify(
    path: &Path,
    bytes: &[u8],
    policy: &Policy,
    output: &Output,
) -> Result<Exit, Failure> {
    let evidence = Evidence::parse(bytes)
        .map_err(|error| Failure::new(Exit::Failure, format!("{}: {error}", path.display())))?;
    if origin(&evidence).is_some_and(|origin| policy.log_keys(origin).is_empty()) {
        let message = format!("{}: evidence about another log than the policy's", path.display());
        return Err(Failure::config(message).next("pass the policy of the log that it accuses"));
    }
    let conviction = evidence.verify_under(policy).map_err(|error| {
        let message = format!("{}: this convicts nobody: {error}", path.display());
        Failure::new(exit_of(&error), message)
    })?;
    output.result(
        || {
            format!(
                "convicted: {conviction}\n\
                 Both checkpoints carry valid signatures of the log, and at most one can be true. \
                 This\nneeds no trust in whoever made the file, only in the policy's log keys."
            )
        },
        &json!({
            "convicted": true,
            "kind": kind(&conviction),
            "origin": conviction.origin(),
            "heads": heads(&conviction).map(|(size, root)| json!({"size": size, "root": root})),
        }),
    );
    Ok(Exit::Ok)
}

/// Whom it accuses.
fn origin(evidence: &Evidence) -> Option<&str> {
    match evidence {
        Evidence::TwoRoots { first, .. } => Some(first.origin()),
        Evidence::Inconsistent { older, .. } => Some(older.origin()),
        _ => None,
    }
}

fn exit_of(error: &EvidenceError) -> Exit {
    match error {
        EvidenceError::Checkpoint { error, .. }
            if error.fault() == CheckpointFault::LogSignature =>
        {
            Exit::LogSignature
        }
        _ => Exit::Failure,
    }
}

fn kind(conviction: &Conviction) -> &'static str {
    match conviction {
        Conviction::TwoRoots { .. } => "two_roots",
        Conviction::Inconsistent { .. } => "inconsistent",
        _ => "unknown",
    }
}

/// What the log signed, twice.
fn heads(conviction: &Conviction) -> [(u64, Hash); 2] {
    match conviction {
        Conviction::TwoRoots { size, roots: [a, b], .. } => [(*size, *a), (*size, *b)],
        Conviction::Inconsistent { older, newer, .. } => {
            [(older.size, older.root), (newer.size, newer.root)]
        }
        other => unreachable!("every kind of evidence has two heads: {other}"),
    }
}
