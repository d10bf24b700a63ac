//! `GET proof/...`: inclusion, consistency and batch proofs as JSON, hashes in base64.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    response::{IntoResponse as _, Response},
};
use jejak_proofs::merkle::Hash;
use serde_json::{Value, json as object};

use super::{
    IMMUTABLE, Server, json,
    number::{indexes, number},
    problem::{Code, Problem},
};

type Shared = State<Arc<Server>>;
type Answer = Result<Response, Problem>;

/// `GET /<log>/proof/inclusion/<size>/<index>`
pub(super) async fn inclusion(
    State(server): Shared,
    Path((name, size, index)): Path<(String, String, String)>,
) -> Answer {
    let (size, index) = (number(&size)?, number(&index)?);
    if index >= size {
        return Err(Code::NotFound.into());
    }
    let proof = server.look_up(&name, move |log| log.inclusion(size, index)).await?;
    Ok(answer(object!({ "size": size, "index": index, "hashes": base64(&proof) })))
}

/// `GET /<log>/proof/consistency/<old>/<new>`
pub(super) async fn consistency(
    State(server): Shared,
    Path((name, old, new)): Path<(String, String, String)>,
) -> Answer {
    let (old, new) = (number(&old)?, number(&new)?);
    if old > new {
        return Err(Code::NotFound.into());
    }
    let proof = server.look_up(&name, move |log| log.consistency(old, new)).await?;
    Ok(answer(object!({ "old": old, "new": new, "hashes": base64(&proof) })))
}

/// `GET /<log>/proof/batch/<size>/<ranges>`
pub(super) async fn batch(
    State(server): Shared,
    Path((name, size, ranges)): Path<(String, String, String)>,
) -> Answer {
    let (size, indexes) = (number(&size)?, indexes(&ranges)?);
    if indexes.last().is_some_and(|last| *last >= size) {
        return Err(Code::NotFound.into());
    }
    let asked = indexes.clone();
    let proof = server.look_up(&name, move |log| log.batch_proof(size, &asked)).await?;
    Ok(answer(object!({ "size": size, "indexes": indexes, "hashes": base64(&proof) })))
}

fn base64(hashes: &[Hash]) -> Vec<String> {
    hashes.iter().map(Hash::to_base64).collect()
}

fn answer(body: Value) -> Response {
    ([IMMUTABLE], json(&body)).into_response()
}
