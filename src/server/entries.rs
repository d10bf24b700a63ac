//! `POST entries` and `POST entries/batch`: the write path.

use std::sync::Arc;

use axum::{
    extract::{Path, Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use jejak_proofs::merkle::{ENTRY_LEN_MAX, Hash, entries, prefix_len};
use serde::Serialize;
use tokio::time::timeout;

use super::{
    FLAGS, Server, TEXT,
    limits::{BATCH_BYTES_MAX, BATCH_ENTRIES_MAX},
    prefer,
    problem::{self, Code, Problem},
};
use crate::{
    http::body::{self, Accepts},
    log::{BatchItem, BatchLogged, Logged, Rejection},
};

const ENTRY: Accepts = Accepts { media_type: Some("text/plain"), len_max: ENTRY_LEN_MAX };
const BATCH: Accepts =
    Accepts { media_type: Some("application/octet-stream"), len_max: BATCH_BYTES_MAX };
/// What one entry adds to the answer of a batch: its line, and at most 32 hashes of the proof.
const ANSWER_LEN_EACH: usize = 2_048;
/// What the answer of a batch has anyway: the checkpoint.
const ANSWER_LEN_BASE: usize = 64 * 1024;
const JSON_LINES: &str = "application/x-ndjson";

/// `POST /<log>/entries`: answers with a receipt, after a published checkpoint covers the entry,
/// or, where the client prefers to wait for it, a witnessed one.
pub(super) async fn submit(
    State(server): State<Arc<Server>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let log = server.log(&name)?;
    let patience = prefer::witnessed(request.headers()).filter(|_| log.policy().needs_witnesses());
    let held = body::read(request, ENTRY, server.limits.body_times(), &server.bodies).await?;
    let logged = log.submit(held.bytes.clone()).await?;
    let Some(patience) = patience else { return receipt(&name, logged, None) };
    drop(held);
    let index = logged.index;
    if timeout(patience, log.witnessed(index)).await.is_err() {
        return receipt(&name, logged, Some(Preferred::InVain));
    }
    let witnessed = server.look_up(&name, move |log| log.receipt(index)).await?;
    receipt(&name, Logged { receipt: witnessed, ..logged }, Some(Preferred::Witnessed))
}

/// What became of the wish for a witnessed receipt.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Preferred {
    Witnessed,
    InVain,
}

fn receipt(name: &str, logged: Logged, preferred: Option<Preferred>) -> Result<Response, Problem> {
    let status = match (logged.new, preferred) {
        (false, _) => StatusCode::OK,
        (true, Some(Preferred::InVain)) => StatusCode::ACCEPTED,
        (true, _) => StatusCode::CREATED,
    };
    let location = format!("/{name}/entry/{}", logged.index);
    let mut response = (status, [TEXT], logged.receipt).into_response();
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, location.parse().map_err(Problem::internal)?);
    if preferred == Some(Preferred::Witnessed) {
        headers.insert(prefer::APPLIED, HeaderValue::from_static(prefer::WITNESSED));
    }
    if !logged.flags.is_empty() {
        let flags = HeaderValue::from_str(&logged.flags).map_err(Problem::internal)?;
        headers.insert(FLAGS, flags);
    }
    Ok(response)
}

/// `POST /<log>/entries/batch`: each entry stands or falls by itself; one proof for all that stand.
pub(super) async fn submit_batch(
    State(server): State<Arc<Server>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let log = server.log(&name)?;
    let held = body::read(request, BATCH, server.limits.body_times(), &server.bodies).await?;
    let entries = split(&held.bytes)?;
    // While nothing is logged yet, so that no answer fails for want of memory after that.
    let share = server.answers.share((entries.len() * ANSWER_LEN_EACH + ANSWER_LEN_BASE) as u64)?;
    let logged = log.submit_batch(entries).await?;
    let lines = share.hold(lines(&server, logged)?);
    Ok(([(header::CONTENT_TYPE, JSON_LINES)], lines).into_response())
}

/// The entries of a batch, sharing its memory.
fn split(batch: &Bytes) -> Result<Vec<Bytes>, Code> {
    // Counted before anything is collected: 4 MiB of empty entries would take 64 MiB of slices.
    const MANY: u16 = BATCH_ENTRIES_MAX as u16;
    if prefix_len(batch, MANY).is_ok_and(|len| len < batch.len()) {
        return Err(Code::TooLarge);
    }
    let entries = entries(batch).map_err(|_| Code::Malformed)?;
    if entries.is_empty() {
        return Err(Code::Malformed);
    }
    Ok(entries.into_iter().map(|entry| batch.slice_ref(entry)).collect())
}

#[derive(Serialize)]
struct ItemLine<'a> {
    index: u64,
    leaf: Hash,
    flags: Vec<&'a str>,
    status: &'static str,
}

#[derive(Serialize)]
struct ProblemLine<'a> {
    problem: problem::Body<'a>,
}

#[derive(Serialize)]
struct ProofLine<'a> {
    checkpoint: &'a str,
    indexes: &'a [u64],
    hashes: Vec<String>,
}

fn lines(server: &Server, logged: BatchLogged) -> Result<Vec<u8>, Problem> {
    let mut out = Vec::new();
    for result in logged.results {
        match result {
            Ok(item) => push_item(&mut out, &item)?,
            Err(rejection) => push_problem(&mut out, server, rejection)?,
        }
    }
    let hashes = logged.hashes.iter().map(Hash::to_base64).collect();
    let proof = ProofLine { checkpoint: &logged.checkpoint, indexes: &logged.indexes, hashes };
    push_line(&mut out, &proof)?;
    Ok(out)
}

fn push_item(out: &mut Vec<u8>, item: &BatchItem) -> Result<(), Problem> {
    let flags = item.flags.split(',').filter(|flag| !flag.is_empty()).collect();
    let status = if item.new { "new" } else { "known" };
    push_line(out, &ItemLine { index: item.index, leaf: item.leaf, flags, status })
}

fn push_problem(out: &mut Vec<u8>, server: &Server, refused: Rejection) -> Result<(), Problem> {
    let problem = Problem::from(refused);
    server.refused(&problem.refused());
    push_line(out, &ProblemLine { problem: problem.body() })
}

fn push_line(out: &mut Vec<u8>, line: &impl Serialize) -> Result<(), Problem> {
    serde_json::to_writer(&mut *out, line).map_err(Problem::internal)?;
    out.push(b'\n');
    Ok(())
}
