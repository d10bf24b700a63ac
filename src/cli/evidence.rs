//! The part of `jejak verify` that judges evidence.

use std::path::Path;

use jejak_proofs::{
    evidence::{Conviction, Evidence, EvidenceError},
    note::{CheckpointFault, Policy},
};
use serde_json::{Value, json};

use super::{
    exit::{Exit, Failure},
    output::Output,
};

/// Judges an evidence file with nothing but the log keys and the genesis of the policy. Exit 0: it
/// convicts.
pub fn verify(
    path: &Path,
    bytes: &[u8],
    policy: &Policy,
    output: &Output,
) -> Result<Exit, Failure> {
    let evidence = Evidence::parse(bytes)
        .map_err(|error| Failure::new(Exit::Failure, format!("{}: {error}", path.display())))?;
    if policy.log_keys(evidence.origin()).is_empty() {
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
                "convicted: {conviction}\nby: {} ([{}] of SPEC.md)\n{}\n\
                 This needs no trust in whoever made the file, only in the policy.",
                conviction.kind(),
                conviction.rule(),
                why(&conviction)
            )
        },
        &described(&conviction),
    );
    Ok(Exit::Ok)
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

/// What makes the file convict.
const fn why(conviction: &Conviction) -> &'static str {
    match conviction {
        Conviction::BadEntry { .. } | Conviction::BrokenChain { .. } => {
            "The checkpoint carries a valid signature of the log, the entries are proved to be in \
             its\ntree, and no log that keeps the rules holds them."
        }
        Conviction::FalseRefusal { .. } => {
            "The refusal carries a valid signature by the key that the log's manifest names, and \
             what is\nproved beside it says otherwise."
        }
        _ => "Both checkpoints carry valid signatures of the log, and at most one can be true.",
    }
}

fn described(conviction: &Conviction) -> Value {
    let mut object = json!({
        "convicted": true,
        "kind": conviction.kind(),
        "origin": conviction.origin(),
        "rule": conviction.rule(),
    });
    let head = |size, root| json!({"size": size, "root": root});
    let entry = |index, leaf| json!({"index": index, "leaf": leaf});
    let (name, list) = match conviction {
        Conviction::TwoRoots { size, roots: [a, b], .. } => {
            ("heads", [head(*size, a), head(*size, b)].to_vec())
        }
        Conviction::Inconsistent { older, newer, .. } => {
            ("heads", [head(older.size, &older.root), head(newer.size, &newer.root)].to_vec())
        }
        Conviction::BadEntry { index, leaf, breach, .. } => {
            object["detail"] = json!(breach.to_string());
            ("entries", [entry(*index, leaf)].to_vec())
        }
        Conviction::BrokenChain { entries, breach, .. } => {
            object["detail"] = json!(breach.to_string());
            ("entries", entries.iter().map(|(index, leaf)| entry(*index, leaf)).collect())
        }
        Conviction::FalseRefusal { code, leaf, judged, lie, .. } => {
            object["detail"] = json!(lie.to_string());
            object["code"] = json!(code);
            object["leaf"] = json!(leaf);
            ("heads", [head(judged.size, &judged.root)].to_vec())
        }
        _ => return object,
    };
    object[name] = json!(list);
    object
}
