//! What anyone may read: checkpoints, tiles, entries, receipts, registers.
//!
//! A well-formed name of something that is not there is 404; anything that is not in the one
//! spelling of its name is 400.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::HeaderValue,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use jejak_proofs::merkle::{BundleId, HASH_LEN, Hash, TILE_WIDTH, TilePath};
use serde_json::json as object;

use super::{
    BYTES, IMMUTABLE, SECOND, SIZE, Server, TEXT, json,
    number::number,
    problem::{Code, Problem},
};
use crate::log::{Log, Status};

type Shared = State<Arc<Server>>;
type Answer = Result<Response, Problem>;

/// Bytes of a full tile.
const TILE_BYTES_MAX: u64 = TILE_WIDTH as u64 * HASH_LEN as u64;

/// `GET /<log>/checkpoint`
pub(super) async fn checkpoint(State(server): Shared, Path(name): Path<String>) -> Answer {
    let served = server.log(&name)?.served();
    Ok(note(served.head.size, &served.note))
}

/// `GET /<log>/checkpoint/latest`
pub(super) async fn latest(State(server): Shared, Path(name): Path<String>) -> Answer {
    let latest = server.log(&name)?.published();
    Ok(note(latest.head.size, &latest.note))
}

fn note(size: u64, note: &str) -> Response {
    ([(SIZE, HeaderValue::from(size))], [TEXT, SECOND], note.to_owned()).into_response()
}

/// `GET /<log>/tile/...`: a tile or a bundle, as C2SP tlog-tiles names them.
pub(super) async fn tile(
    State(server): Shared,
    Path((name, path)): Path<(String, String)>,
) -> Answer {
    let path: TilePath = format!("tile/{path}").parse().map_err(|_| Code::Malformed)?;
    let answers = server.answers.clone();
    let read = move |log: Log| -> Result<Option<Bytes>, Problem> {
        let (share, bytes) = match path {
            TilePath::Tile(id) => (answers.share(TILE_BYTES_MAX)?, log.tile(id)?),
            TilePath::Bundle(id) => (answers.share(log.bundle_memory(id)?)?, log.bundle(id)?),
        };
        Ok(bytes.map(|bytes| share.hold(bytes)))
    };
    let bytes = server.look_up(&name, read).await?;
    Ok(([BYTES, IMMUTABLE], bytes).into_response())
}

/// `GET /<log>/entry/<index>`
pub(super) async fn entry(
    State(server): Shared,
    Path((name, index)): Path<(String, String)>,
) -> Answer {
    let index = number(&index)?;
    let answers = server.answers.clone();
    let read = move |log: Log| -> Result<Option<Bytes>, Problem> {
        let _while_it_is_read = answers.share(log.bundle_memory(bundle_of(index))?)?;
        Ok(log.entry(index)?)
    };
    let bytes = server.look_up(&name, read).await?;
    Ok(([TEXT, IMMUTABLE], bytes).into_response())
}

/// `GET /<log>/receipt/<index>`
pub(super) async fn receipt(
    State(server): Shared,
    Path((name, index)): Path<(String, String)>,
) -> Answer {
    let index = number(&index)?;
    let answers = server.answers.clone();
    let read = move |log: Log| -> Result<Option<String>, Problem> {
        let _while_it_is_read = answers.share(log.bundle_memory(bundle_of(index))?)?;
        Ok(log.receipt(index)?)
    };
    let receipt = server.look_up(&name, read).await?;
    let size = HeaderValue::from(size_of(&receipt).ok_or_else(|| Problem::internal(NoSize))?);
    Ok(([(SIZE, size)], [TEXT], receipt).into_response())
}

/// The bundle that is read for the entry at `index`.
fn bundle_of(index: u64) -> BundleId {
    BundleId { index: index / u64::from(TILE_WIDTH), width: TILE_WIDTH }
}

/// A receipt of ours without a checkpoint in it.
#[derive(Debug, thiserror::Error)]
#[error("a receipt names no tree size")]
struct NoSize;

/// The size of the tree that a receipt speaks about: the second line of its checkpoint, which
/// follows the first empty line. Asking the log for its size instead could race with a batch.
fn size_of(receipt: &str) -> Option<u64> {
    let (_, checkpoint) = receipt.split_once("\n\n")?;
    number(checkpoint.lines().nth(1)?).ok()
}

/// `GET /<log>/leaf/<hex leaf hash>`
pub(super) async fn leaf(
    State(server): Shared,
    Path((name, leaf)): Path<(String, String)>,
) -> Answer {
    let leaf: Hash = leaf.parse().map_err(|_| Code::Malformed)?;
    let index = server.look_up(&name, move |log| log.index_of(&leaf)).await?;
    // Read after the index, so that the size covers it.
    let size = HeaderValue::from(server.log(&name)?.published().head.size);
    Ok(([(SIZE, size)], json(&object!({ "index": index }))).into_response())
}

/// `GET /<log>/register/<sha256>`
pub(super) async fn register(
    State(server): Shared,
    Path((name, sha256)): Path<(String, String)>,
) -> Answer {
    let sha256: Hash = sha256.parse().map_err(|_| Code::Malformed)?;
    let bytes = server.look_up(&name, move |log| log.register(&sha256)).await?;
    Ok(([BYTES, IMMUTABLE], bytes).into_response())
}

/// `GET /<log>/log.json`
pub(super) async fn describe(State(server): Shared, Path(name): Path<String>) -> Answer {
    let log = server.log(&name)?;
    let size = (SIZE, HeaderValue::from(log.published().head.size));
    Ok(([size], [SECOND], json(&log.describe())).into_response())
}

/// `GET /`
pub(super) async fn logs(State(server): Shared) -> Response {
    let each = |log: &Log| object!({ "name": log.name(), "origin": log.origin() });
    let logs: Vec<_> = server.logs().map(each).collect();
    json(&object!({ "logs": logs }))
}

/// `GET /healthz`: the process answers.
pub(super) async fn healthy() -> Response {
    ([TEXT], "ok\n").into_response()
}

/// `GET /readyz`: every log takes entries. How far each is published and witnessed, and since when.
pub(super) async fn ready(State(server): Shared) -> Answer {
    let mut text = String::from("ok\n");
    for log in server.logs() {
        let status = log.status();
        if !status.accepting {
            let waits = "a log takes no entries before its witnesses have answered";
            return Err(match status.held {
                true => Problem::from(Code::Unavailable).saying(waits),
                false => Code::Unavailable.into(),
            });
        }
        text.push_str(&standing(log, &status));
    }
    Ok(([TEXT], text).into_response())
}

/// A line for an operator: `election: published 1204 0.4 s ago, witnessed 1180 63.0 s ago`.
fn standing(log: &Log, status: &Status) -> String {
    let ago = |ms: u64| format!("{}.{} s ago", ms / 1_000, ms % 1_000 / 100);
    let (name, size) = (log.name(), status.size);
    let published = format!("{name}: published {size} {}", ago(status.checkpoint_age_ms));
    match (log.policy().needs_witnesses(), status.vouched_age_ms) {
        (false, _) => format!("{published}\n"),
        (true, Some(age)) => format!("{published}, witnessed {} {}\n", status.served, ago(age)),
        (true, None) => format!("{published}, not witnessed\n"),
    }
}
