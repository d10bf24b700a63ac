//! What the newest state says about one contest in one unit: record, history, sums, and the proof.
//!
//! Only the proof can be believed; the others say where to look, and our clients check them.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::HeaderValue,
    response::{IntoResponse as _, Response},
};
use jejak_proofs::tally::{Id, UnitCode};
use serde_json::Value;

use super::{
    SIZE, Server, TEXT, json,
    problem::{Code, Problem},
};
use crate::log::{ReadError, SealedView};

type Shared = State<Arc<Server>>;
type Answer = Result<Response, Problem>;
/// Log, contest and unit, as the path has them.
type Names = Path<(String, String, String)>;

/// `GET /<log>/unit/<contest>/<code>`
pub(super) async fn unit(State(server): Shared, Path(names): Names) -> Answer {
    look_up(&server, names, SealedView::unit).await
}

/// `GET /<log>/unit/<contest>/<code>/history`
pub(super) async fn history(State(server): Shared, Path(names): Names) -> Answer {
    look_up(&server, names, SealedView::history).await
}

/// `GET /<log>/recap/<contest>/<code>`
pub(super) async fn recap(State(server): Shared, Path(names): Names) -> Answer {
    look_up(&server, names, SealedView::recap).await
}

/// `GET /<log>/recap-proof/<contest>/<code>`
pub(super) async fn recap_proof(State(server): Shared, Path(names): Names) -> Answer {
    let (log, contest, unit) = check(names)?;
    let (size, proof) =
        server.look_up(&log, move |log| log.recap_proof(contest.as_str(), unit.as_str())).await?;
    Ok(([(SIZE, HeaderValue::from(size))], [TEXT], proof).into_response())
}

async fn look_up(
    server: &Server,
    names: (String, String, String),
    what: impl FnOnce(&SealedView, &str, &str) -> Option<Value> + Send + 'static,
) -> Answer {
    let (log, contest, unit) = check(names)?;
    let (size, value) = server
        .look_up(&log, move |log| {
            let sealed = log.recapped();
            let value = what(&sealed, contest.as_str(), unit.as_str());
            Ok::<_, ReadError>(value.map(|value| (sealed.head.size, value)))
        })
        .await?;
    Ok(([(SIZE, HeaderValue::from(size))], json(&value)).into_response())
}

/// Contest and unit in their one spelling.
fn check((log, contest, unit): (String, String, String)) -> Result<(String, Id, UnitCode), Code> {
    let contest = contest.parse().map_err(|_| Code::Malformed)?;
    Ok((log, contest, unit.parse().map_err(|_| Code::Malformed)?))
}
