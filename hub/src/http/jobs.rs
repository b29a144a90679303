//! One job, and the files it made.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use farm::api::JobView;
use farm::ids::JobId;
use farm::job::Job;
use farm::ledger::Tx;
use farm::request::RequestKind;
use serde::Deserialize;
use utoipa::IntoParams;

use super::auth::person_of;
use super::extract::{Json, Path, Query};
use super::{stream, view};
use crate::problem::{Answer, Problem};
use crate::state::Hub;

/// Which attempt is meant.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct WhichTurn {
    /// The attempt; the newest when it is not given.
    pub(super) turn: Option<u32>,
}

/// One job, with the logs and files of its newest attempt.
#[utoipa::path(get, path = "/api/v1/jobs/{job}", tag = "jobs", params(("job" = JobId, Path, description = "Its id")),
    responses((status = 200, body = JobView)))]
pub(super) async fn show(State(hub): State<Hub>, Path(id): Path<JobId>) -> Answer<Json<JobView>> {
    let job = find(&mut hub.db.glance().await?, id).await?;
    Ok(Json(view::job(&hub, &job).await?))
}

/// A file a job made. A package (`*.rpm`) is for people with a token, unless it is a scratch build's.
#[utoipa::path(get, path = "/api/v1/jobs/{job}/files/{name}", tag = "jobs",
    params(("job" = JobId, Path, description = "The job"), ("name" = String, Path, description = "The file"), WhichTurn),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
              (status = 401, description = "A package of a build that is no scratch build, and no token")))]
pub(super) async fn file(
    State(hub): State<Hub>,
    Path((id, name)): Path<(JobId, String)>,
    Query(WhichTurn { turn }): Query<WhichTurn>,
    headers: HeaderMap,
) -> Answer<Response> {
    let mut tx = hub.db.read().await?;
    let job = find(&mut tx, id).await?;
    let is_for_everybody = !is_package(&name) || is_scratch(&mut tx, &job).await?;
    if !is_for_everybody {
        person_of(&hub, &headers).await?;
    }
    let files = tx.artifacts_of(id, turn.unwrap_or(job.turn)).await?;
    drop(tx);
    let missing = || Problem::not_found("file", name.chars().take(100).collect::<String>());
    let file = files.into_iter().find(|file| file.name == name).ok_or_else(missing)?;
    stream::artifact(&hub, &file.digest, &file.name).await
}

/// What of a job's files dnf could install. It may be untested, have failed its tests or be withdrawn, as in a candidate repo:
/// nobody outside is to take it for something that the farm stands for.
pub(super) fn is_package(name: &str) -> bool {
    name.ends_with(".rpm")
}

/// Is it a job of a scratch build? That enters no repo, and whoever asked for it hands its address around.
async fn is_scratch(tx: &mut Tx, job: &Job) -> Answer<bool> {
    let request = tx.request(job.request).await?;
    Ok(request.is_some_and(|request| matches!(request.kind, RequestKind::Scratch { .. })))
}

/// The job of this id.
pub(super) async fn find(tx: &mut Tx, id: JobId) -> Answer<Job> {
    Ok(tx.job(id).await?.ok_or_else(|| Problem::not_found("job", id))?.value)
}
