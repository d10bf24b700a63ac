//! Submitting entries, and believing nothing but proofs.

use std::time::Duration;

use jejak_proofs::{
    merkle::{Hash, leaf_hash, push_entry},
    note::{
        Checkpoint, CheckpointError, Policy, RECEIPT_LEN_MAX, Receipt, ReceiptError,
        UnverifiedCheckpoint,
    },
};
use serde::{Deserialize, Deserializer};

use super::fetch::{Fetch, FetchError, Head, Post, is_code};

/// Bytes of an answer to a batch of a thousand, with room for long proofs and checkpoints.
const BATCH_ANSWER_LEN_MAX: u64 = 4 << 20;

/// An entry that is in the log, with the proof of it.
#[derive(Clone, Debug)]
pub struct Submitted {
    /// The receipt as it came, verified.
    pub receipt: Receipt,
    /// Its checkpoint.
    pub checkpoint: Checkpoint,
    /// Form rules that the tally breaks, `A1,A3`; empty for none.
    pub flags: String,
    /// Whether this submission brought it.
    pub new: bool,
    /// Whether the checkpoint has the quorum that the policy asks for; true where it asks for none.
    pub witnessed: bool,
}

/// Why there is no receipt.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// The log was not reached, or refused.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The log answered with a receipt that does not verify.
    #[error("the log's receipt does not verify: {0}")]
    Receipt(#[from] ReceiptError),
    /// The log answered a batch with something that is not an answer to it.
    #[error("the log's answer to the batch does not verify")]
    Batch,
    /// The checkpoint of a batch does not verify.
    #[error("the log's checkpoint does not verify: {0}")]
    Checkpoint(#[from] CheckpointError),
}

/// Submits one entry, patiently, and verifies the receipt that comes back: that the log has signed
/// it, and whether witnesses have. `wait` asks the log to answer once they have, and for how long
/// to wait for that (RFC 7240 preferences `witnessed` and `wait`).
///
/// # Errors
/// Fails if the log refuses it, if patience ends, or if the receipt does not verify.
pub fn submit(
    fetch: &Fetch,
    policy: &Policy,
    entry: &[u8],
    wait: Option<Duration>,
    patience: Duration,
) -> Result<Submitted, SubmitError> {
    let prefer = wait.map(|wait| format!("witnessed, wait={}", wait.as_secs()));
    let media_type = "text/plain; charset=utf-8";
    let post = Post::new("entries", media_type, entry, RECEIPT_LEN_MAX as u64);
    let post = Post { prefer: prefer.as_deref(), ..post };
    let answer = fetch.post_patiently(&post, patience)?;
    let receipt = Receipt::parse(&answer.body)?;
    let checkpoint = receipt.verify_published(entry, policy)?;
    let witnessed = match policy.vouched_time(&checkpoint) {
        Ok(_) => true,
        Err(CheckpointError::Quorum) => false,
        Err(error) => return Err(error.into()),
    };
    let new = answer.status != 200;
    Ok(Submitted { receipt, checkpoint, flags: answer.flags, new, witnessed })
}

/// The answer to a batch, verified: one checkpoint and one proof for all that is logged.
#[derive(Clone, Debug)]
pub struct BatchSubmitted {
    /// One result an entry, in the order of the batch.
    pub results: Vec<Result<BatchItem, BatchRefusal>>,
    /// The checkpoint that covers them.
    pub checkpoint: Checkpoint,
    /// Index and leaf hash of every entry that is logged, ascending by index.
    pub leaves: Vec<(u64, Hash)>,
    /// The compact proof for `leaves`.
    pub hashes: Vec<Hash>,
}

/// One entry of a batch that is in the log.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchItem {
    /// Where.
    pub index: u64,
    /// Its leaf hash.
    pub leaf: Hash,
    /// Ids of the form rules that it breaks.
    pub flags: Vec<String>,
    /// `new` or `known`.
    pub status: BatchStatus,
}

/// Whether a batch brought an entry or met it there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BatchStatus {
    /// This batch brought it.
    New,
    /// It was there, byte for byte.
    Known,
}

/// Why one entry of a batch is not in the log.
#[derive(Clone, Debug, Deserialize)]
pub struct BatchRefusal {
    /// The status that the entry alone would have got; 0 if the line has none.
    #[serde(default)]
    pub status: u16,
    /// The stable code, `[a-z_]` and digits only; `None` for anything else.
    #[serde(deserialize_with = "code")]
    pub code: Option<Box<str>>,
    /// The head of the chain, in a conflict.
    #[serde(default)]
    pub head: Option<Head>,
}

impl BatchRefusal {
    /// Whether the log judged the entry, so that it is not logged: what asks to try again later
    /// says nothing of the kind.
    pub const fn is_final(&self) -> bool {
        super::fetch::is_final(self.status)
    }
}

fn code<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<str>>, D::Error> {
    let code = Box::<str>::deserialize(deserializer)?;
    Ok(Some(code).filter(|code| is_code(code)))
}

#[derive(Deserialize)]
struct ProblemLine {
    problem: BatchRefusal,
}

#[derive(Deserialize)]
struct ProofLine {
    checkpoint: String,
    indexes: Vec<u64>,
    hashes: Vec<String>,
}

/// Submits a batch once, and verifies the one proof that comes back against the entries sent. The
/// checkpoint is one that the log has signed and published: no witness is waited for.
///
/// # Errors
/// As [`submit`], for the batch as a whole; what became of each entry is in the results.
pub fn submit_batch(
    fetch: &Fetch,
    policy: &Policy,
    entries: &[impl AsRef<[u8]>],
    patience: Duration,
) -> Result<BatchSubmitted, SubmitError> {
    let mut body = Vec::new();
    for entry in entries {
        push_entry(&mut body, entry.as_ref()).map_err(|_| SubmitError::Batch)?;
    }
    let media_type = "application/octet-stream";
    let post = Post::new("entries/batch", media_type, &body, BATCH_ANSWER_LEN_MAX);
    let answer = fetch.post_patiently(&post, patience)?;
    let leaves: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry.as_ref())).collect();
    verify_batch(policy, &leaves, &answer.body)
}

fn verify_batch(
    policy: &Policy,
    sent: &[Hash],
    answer: &[u8],
) -> Result<BatchSubmitted, SubmitError> {
    let text = std::str::from_utf8(answer).map_err(|_| SubmitError::Batch)?;
    let lines: Vec<&str> = text.split_terminator('\n').collect();
    let (last, lines) = lines.split_last().ok_or(SubmitError::Batch)?;
    if lines.len() != sent.len() {
        return Err(SubmitError::Batch);
    }
    let results = lines.iter().map(|line| batch_line(line)).collect::<Result<Vec<_>, _>>()?;
    let proof: ProofLine = serde_json::from_str(last).map_err(|_| SubmitError::Batch)?;

    let mut leaves = Vec::new();
    for (result, leaf) in results.iter().zip(sent) {
        // The hash counts that we computed from what we sent, never the one that was answered.
        leaves.extend(result.as_ref().ok().map(|item| (item.index, *leaf)));
    }
    leaves.sort_unstable();
    leaves.dedup();
    let hashes = proof.hashes.iter().map(|hash| Hash::from_base64(hash));
    let hashes: Vec<Hash> = hashes.collect::<Result<_, _>>().map_err(|_| SubmitError::Batch)?;
    let checkpoint = UnverifiedCheckpoint::parse(proof.checkpoint.as_bytes())?;
    let checkpoint = policy.verify_log(checkpoint)?;
    let same = proof.indexes.iter().eq(leaves.iter().map(|(index, _)| index));
    let proven = match leaves.is_empty() {
        true => hashes.is_empty(),
        false => checkpoint.head().verify_batch(&leaves, &hashes).is_ok(),
    };
    if same && proven {
        Ok(BatchSubmitted { results, checkpoint, leaves, hashes })
    } else {
        Err(SubmitError::Batch)
    }
}

fn batch_line(line: &str) -> Result<Result<BatchItem, BatchRefusal>, SubmitError> {
    if let Ok(item) = serde_json::from_str(line) {
        return Ok(Ok(item));
    }
    let problem: ProblemLine = serde_json::from_str(line).map_err(|_| SubmitError::Batch)?;
    Ok(Err(problem.problem))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusals_of_a_batch_have_codes_or_none() {
        let line = |code: &str, status: u16| {
            let problem = serde_json::json!({"problem": {"code": code, "status": status}});
            batch_line(&problem.to_string()).unwrap().unwrap_err()
        };
        let refusal = line("invalid_unit", 422);
        assert_eq!((refusal.code.as_deref(), refusal.is_final()), (Some("invalid_unit"), true));
        for shown in ["\u{1b}[2Jok", "Not A Code", "", &"a".repeat(65)] {
            assert_eq!(line(shown, 422).code, None, "{shown:?}");
        }
        for again in [0, 200, 408, 429, 500, 503] {
            assert!(!line("overloaded", again).is_final(), "{again}");
        }
    }
}
