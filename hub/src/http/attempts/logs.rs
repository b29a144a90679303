//! A builder appends to the logs of its attempt.

use axum::body::Bytes;
use axum::extract::{FromRequest as _, Request, State};
use axum::http::StatusCode;
use farm::ids::JobId;
use farm::message::LogSize;
use serde::Deserialize;
use utoipa::IntoParams;

use super::Attempt;
use crate::http::extract::{Json, Path, Query};
use crate::http::stream::MIB;
use crate::logs::{self, Appended, is_log_name};
use crate::problem::{Answer, Problem};
use crate::state::Hub;

/// Bytes one piece may have.
pub(in crate::http) const PIECE: usize = 4 * 1024 * 1024;
/// Bytes a log may have beyond the recipe's limit: the sentence that says that the limit was met.
const SLACK: u64 = 64 * 1024;

/// Logs one attempt may write.
const MOST_LOGS: usize = 16;

/// The log an address names.
#[derive(Debug, Deserialize)]
pub(in crate::http) struct Which {
    name: String,
}

/// Where a piece belongs.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct At {
    /// The log's size before it.
    offset: u64,
}

/// Appends to a log, which must have exactly `offset` bytes.
///
/// Code 409 with the same body says how much of it the hub has: go on from there.
#[utoipa::path(post, path = "/api/v1/attempts/{job}/{turn}/logs/{name}", tag = "attempts",
    params(("job" = JobId, Path, description = "The job"), ("turn" = u32, Path, description = "The turn"),
        ("name" = String, Path, description = "`build.log`"), At),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200, body = LogSize), (status = 409, body = LogSize)))]
pub(in crate::http) async fn append(
    State(hub): State<Hub>,
    attempt: Attempt,
    Path(Which { name }): Path<Which>,
    Query(At { offset }): Query<At>,
    request: Request,
) -> Answer<(StatusCode, Json<LogSize>)> {
    if !is_log_name(&name) {
        return Err(Problem::invalid("this is no log's name", "lower-case letters, then `.log`"));
    }
    let bytes = Bytes::from_request(request, &hub).await?;
    attempt.must_be_current(&mut hub.db.glance().await?).await?;
    if offset == 0 {
        must_be_few(&hub, &attempt, &name).await?;
    }
    let max = attempt.job.recipe.limits.log_mb.saturating_mul(MIB).saturating_add(SLACK);
    let path = hub.log_path(attempt.job.id, attempt.turn, &name);
    match logs::append(path, offset, bytes.into(), max).await? {
        Appended::Yes(size) => Ok((StatusCode::OK, Json(LogSize { size }))),
        Appended::Elsewhere(size) => Ok((StatusCode::CONFLICT, Json(LogSize { size }))),
        Appended::Full => Err(Problem::TooLarge { what: format!("{name} would be larger than {max} bytes") }),
    }
}

async fn must_be_few(hub: &Hub, attempt: &Attempt, name: &str) -> Answer<()> {
    let logs = logs::list(hub, attempt.job.id, attempt.turn).await;
    if logs.len() < MOST_LOGS || logs.iter().any(|log| log.name == name) {
        return Ok(());
    }
    Err(Problem::TooLarge { what: format!("an attempt may write {MOST_LOGS} logs") })
}
