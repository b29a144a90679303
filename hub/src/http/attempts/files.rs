//! A builder uploads what its work made.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use farm::digest::Digest;
use farm::ids::JobId;
use farm::ledger::{Artifact, Tx};
use serde::Deserialize;
use utoipa::IntoParams;

use super::Attempt;
use crate::http::extract::{Path, Query};
use crate::http::problem::of_artifact;
use crate::http::stream::{self, MIB};
use crate::lookaside::is_source_file;
use crate::problem::{Answer, Problem};
use crate::state::Hub;

/// Files one attempt may upload.
const MOST_FILES: usize = 4096;

/// The file an address names.
#[derive(Debug, Deserialize)]
pub(in crate::http) struct Which {
    name: String,
}

/// What the body must be.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Expected {
    /// Its SHA-256.
    digest: Digest,
}

/// Uploads a file. Repeating it with the same content changes nothing.
#[utoipa::path(put, path = "/api/v1/attempts/{job}/{turn}/files/{name}", tag = "attempts",
    params(("job" = JobId, Path, description = "The job"), ("turn" = u32, Path, description = "The turn"),
        ("name" = String, Path, description = "One path segment"), Expected),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 204, description = "It is stored")))]
pub(in crate::http) async fn put(
    State(hub): State<Hub>,
    attempt: Attempt,
    Path(Which { name }): Path<Which>,
    Query(Expected { digest }): Query<Expected>,
    headers: HeaderMap,
    body: Body,
) -> Answer<StatusCode> {
    if !is_source_file(&name) {
        return Err(Problem::invalid(
            "this is no file's name",
            "letters, digits and ._+-~^@%,=#:, at most 255, not beginning with `.` or `-`",
        ));
    }
    let room = room_for(&hub, &attempt, &mut hub.db.glance().await?, &name).await?;
    stream::must_fit(&headers, room)?;
    let stored =
        hub.artifacts.put_stream(stream::reader(body), room, Some(&digest)).await.map_err(of_artifact)?;
    tracing::trace!(target: "steps", "a file that was built is stored");
    let file = Artifact { job: attempt.job.id, turn: attempt.turn, name, digest, size: stored.size };
    note(&hub, &attempt, &file).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Writes down that the attempt made the file, if it is still the job's current one.
async fn note(hub: &Hub, attempt: &Attempt, file: &Artifact) -> Answer<()> {
    let mut tx = hub.db.write().await?;
    attempt.must_be_current(&mut tx).await?;
    if room_for(hub, attempt, &mut tx, &file.name).await? < file.size {
        return Err(too_much(attempt));
    }
    tx.put_artifact(file, hub.now()).await?;
    Ok(tx.commit().await?)
}

/// How many bytes of this name the attempt may still bring.
async fn room_for(hub: &Hub, attempt: &Attempt, tx: &mut Tx, name: &str) -> Answer<u64> {
    let mut others = tx.artifacts_of(attempt.job.id, attempt.turn).await?;
    others.retain(|file| file.name != name);
    if others.len() >= MOST_FILES {
        return Err(Problem::TooLarge { what: format!("an attempt may upload {MOST_FILES} files") });
    }
    let used: u64 = others.iter().map(|file| file.size).sum();
    let all = attempt.job.recipe.limits.output_mb.saturating_mul(MIB).min(stream::upload_limit(hub));
    match all.checked_sub(used) {
        Some(room) => Ok(room),
        None => Err(too_much(attempt)),
    }
}

fn too_much(attempt: &Attempt) -> Problem {
    let most = attempt.job.recipe.limits.output_mb;
    Problem::TooLarge { what: format!("the attempt's files have more than the {most} MiB its recipe allows") }
}
