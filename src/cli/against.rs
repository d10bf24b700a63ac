//! `jejak verify --against`: an old receipt is a signed head, and holds the log to it.

use std::path::Path;

use jejak_proofs::{
    merkle::{Hash, NodeId, Tile, TileId},
    note::{Checkpoint, Evidence, Policy, UnverifiedCheckpoint, VerifierKey},
};
use serde::Deserialize;
use serde_json::json;

use super::{
    exit::{Exit, Failure},
    files,
    output::Output,
    place::unreachable,
    verify::exit_of_checkpoint,
};
use crate::client::{Fetch, FetchLimits};

/// Most bytes of a checkpoint, a consistency proof or a tile.
const ANSWER_LEN_MAX: u64 = 512 << 10;

#[derive(Deserialize)]
struct ConsistencyAnswer {
    hashes: Vec<String>,
}

/// Compares the head of a receipt with what the log at `url` shows now. If both are signed and
/// cannot both be true, writes evidence to `file`.
pub fn run(
    old: &Checkpoint,
    url: &str,
    policy: &Policy,
    file: &Path,
    output: &Output,
) -> Result<Exit, Failure> {
    let fetch = Fetch::new(url, &FetchLimits::default())
        .map_err(|error| Failure::config(format!("{url}: {error}")))?;
    let answer = fetch.get("checkpoint", ANSWER_LEN_MAX).map_err(unreachable)?;
    let new = UnverifiedCheckpoint::parse(&answer.body)
        .and_then(|checkpoint| policy.verify(checkpoint))
        .map_err(|error| Failure::new(exit_of_checkpoint(&error), error))?;
    let (before, now) = (old.head(), new.head());
    if now.size < before.size {
        let message = format!(
            "the log shows {} entries, but the receipt was given under {}: rolled back, or an old \
             copy",
            now.size, before.size
        );
        return Err(Failure::new(Exit::Fork, message).next("keep the receipt, and ask a monitor"));
    }
    let evidence = if now.size == before.size {
        (now.root != before.root).then(|| Evidence::two_roots(old, &new))
    } else {
        let proof = consistency(&fetch, before.size, now.size)?;
        match now.verify_consistency(&before, &proof) {
            Ok(()) => None,
            Err(_) => Some(Evidence::inconsistent(
                old,
                &new,
                written_out(&fetch, before.size, now.size, proof)?,
            )),
        }
    };
    let Some(evidence) = evidence else {
        output.result(
            || format!("the log at {url} still extends it: {} entries now", now.size),
            &json!({"consistent": true, "size": now.size}),
        );
        return Ok(Exit::Ok);
    };
    // Only what convicts by itself is evidence; a proof that is rubbish is not.
    let keys: Vec<VerifierKey> = policy.log_keys(old.origin());
    let conviction = evidence.verify(&keys).map_err(|_| {
        let message = "the log does not prove that its tree extends the one of the receipt";
        Failure::new(Exit::Failure, message).next("ask again; a monitor can find out more")
    })?;
    files::write(file, evidence.to_string().as_bytes())?;
    output.result(
        || format!("FORK: {conviction}\nevidence: {}", file.display()),
        &json!({"consistent": false, "evidence": file.display().to_string()}),
    );
    Ok(Exit::Fork)
}

fn consistency(fetch: &Fetch, old: u64, new: u64) -> Result<Vec<Hash>, Failure> {
    let answer = fetch
        .get(&format!("proof/consistency/{old}/{new}"), ANSWER_LEN_MAX)
        .map_err(unreachable)?;
    let malformed = || Failure::new(Exit::Failure, "the log's consistency proof is malformed");
    let answer: ConsistencyAnswer =
        serde_json::from_slice(&answer.body).map_err(|_| malformed())?;
    let hashes = answer.hashes.iter().map(|hash| Hash::from_base64(hash));
    hashes.collect::<Result<_, _>>().map_err(|_| malformed())
}

/// The proof with its left node, which RFC 9162 leaves out where the old size is a power of two:
/// there it is the old root, about which the two sides disagree.
fn written_out(
    fetch: &Fetch,
    old: u64,
    new: u64,
    mut proof: Vec<Hash>,
) -> Result<Vec<Hash>, Failure> {
    if !old.is_power_of_two() {
        return Ok(proof);
    }
    let node = NodeId { level: old.trailing_zeros() as u8, index: 0 };
    let missing = || Failure::new(Exit::Failure, "the log does not serve a tile that it must have");
    let id = TileId::of_node(node, new).ok_or_else(missing)?;
    let bytes = fetch.get(&id.path(), ANSWER_LEN_MAX).map_err(unreachable)?.body;
    let left = Tile::parse(id, &bytes).ok().and_then(|tile| tile.node(node));
    proof.insert(0, left.ok_or_else(missing)?);
    Ok(proof)
}
