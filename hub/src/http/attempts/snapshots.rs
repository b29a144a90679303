//! A builder fetches the snapshots its recipe names: what is live, what was live when the job was planned, or what is
//! to be tested.

use std::path::PathBuf;

use axum::extract::State;
use axum::http::header;
use axum::response::Response;
use farm::arch::Arch;
use farm::ids::{JobId, SnapshotId};
use farm::message::Manifest;
use farm::recipe::{Recipe, RepoOrigin};
use serde::Deserialize;
use utoipa::IntoParams;

use super::Attempt;
use crate::files::blocking;
use crate::http::extract::{Json, Path, Query};
use crate::http::stream;
use crate::problem::{Answer, Problem};
use crate::repos::manifest::{self, ManifestError, file_in};
use crate::state::Hub;

/// Which of a snapshot's repos is meant.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct For {
    /// The architecture.
    arch: Arch,
}

/// The snapshot an address names.
#[derive(Debug, Deserialize)]
pub(in crate::http) struct Which {
    id: SnapshotId,
}

/// The file of a snapshot an address names.
#[derive(Debug, Deserialize)]
pub(in crate::http) struct WhichFile {
    id: SnapshotId,
    path: String,
}

/// What a snapshot's repo for one architecture consists of.
#[utoipa::path(get, path = "/api/v1/attempts/{job}/{turn}/snapshots/{id}", tag = "attempts",
    params(("job" = JobId, Path, description = "The job"), ("turn" = u32, Path, description = "The turn"),
        ("id" = SnapshotId, Path, description = "The snapshot"), For),
    responses((status = 200, body = Manifest)))]
pub(in crate::http) async fn manifest(
    State(hub): State<Hub>,
    attempt: Attempt,
    Path(Which { id }): Path<Which>,
    Query(For { arch }): Query<For>,
) -> Answer<Json<Manifest>> {
    let folder = place_of(&hub, &attempt.job.recipe, id)?;
    let read = blocking(move || manifest::read(&folder, id, arch.as_str())).await;
    read.map(Json).map_err(|error| match error {
        ManifestError::NoFolder { .. } => Problem::NotFound { what: error.to_string() },
        ManifestError::Broken { .. } | ManifestError::Disk(_) => Problem::Internal(error.into()),
    })
}

/// A file of a snapshot's repo for one architecture.
#[utoipa::path(get, path = "/api/v1/attempts/{job}/{turn}/snapshots/{id}/files/{*path}", tag = "attempts",
    params(("job" = JobId, Path, description = "The job"), ("turn" = u32, Path, description = "The turn"),
        ("id" = SnapshotId, Path, description = "The snapshot"),
        ("path" = String, Path, description = "As the manifest has it"), For),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream")))]
pub(in crate::http) async fn file(
    State(hub): State<Hub>,
    attempt: Attempt,
    Path(WhichFile { id, path }): Path<WhichFile>,
    Query(For { arch }): Query<For>,
) -> Answer<Response> {
    let missing = || Problem::NotFound { what: format!("snapshot {id} has no such file for {arch}") };
    let folder = place_of(&hub, &attempt.job.recipe, id)?;
    let place = file_in(&folder, arch.as_str(), &path).ok_or_else(missing)?;
    let file = tokio::fs::File::open(&place).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => missing(),
        _ => error.into(),
    })?;
    let meta = file.metadata().await?;
    if !meta.is_file() {
        return Err(missing());
    }
    Response::builder()
        .header(header::CONTENT_TYPE, "application/octet-stream")
        .header(header::CONTENT_LENGTH, meta.len())
        .body(stream::body_of(file, meta.len()))
        .map_err(|error| Problem::Internal(error.into()))
}

/// Where a snapshot is that the recipe names. It moves from staging into its tree when it becomes live, so the tree is
/// looked into last: what has left staging by then is there.
fn place_of(hub: &Hub, recipe: &Recipe, id: SnapshotId) -> Answer<PathBuf> {
    let named = recipe.repos.iter().any(|repo| match &repo.origin {
        RepoOrigin::Snapshot { id: named } => *named == id,
        RepoOrigin::External { .. } => false,
    });
    let staged = hub.staging.join(id.to_string());
    let places = [staged, hub.candidates.dir(id), hub.public.dir(id)];
    let place = places.into_iter().find(|place| named && place.is_dir());
    place.ok_or_else(|| Problem::not_found("snapshot", id))
}
