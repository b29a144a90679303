//! A builder fetches the snapshots its recipe names: what is live, what was live when the job was planned, or what is
//! to be tested.

use std::io::ErrorKind;
use std::path::PathBuf;

use axum::extract::State;
use axum::http::header;
use axum::response::Response;
use farm::arch::Arch;
use farm::ids::{JobId, SnapshotId};
use farm::message::Manifest;
use farm::recipe::{Recipe, RepoOrigin};
use serde::Deserialize;
use tokio::fs::File;
use utoipa::IntoParams;

use super::Attempt;
use crate::artifacts::ArtifactError;
use crate::files::blocking;
use crate::http::extract::{Json, Path, Query};
use crate::http::stream;
use crate::problem::{Answer, Problem};
use crate::repos::manifest::{self, ManifestError, file_in, is_package};
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

/// What a snapshot's repo for one architecture consists of: of no file at all, when it has none for that.
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
    for place in places_of(&hub, &attempt.job.recipe, id)? {
        match blocking(move || manifest::read(&place, id, arch.as_str())).await {
            Ok(manifest) => return Ok(Json(manifest)),
            Err(ManifestError::NoFolder { .. }) => {}
            Err(error @ (ManifestError::Broken { .. } | ManifestError::Disk(_))) => {
                return Err(Problem::Internal(error.into()));
            }
        }
    }
    // It is in a tree, so it is whole: its project has not this architecture, or had it not yet when it was composed.
    if [&hub.candidates, &hub.public].iter().any(|tree| tree.contains(id)) {
        return Ok(Json(Manifest { id, files: Vec::new() }));
    }
    Err(Problem::NotFound { what: format!("snapshot {id} has nothing for {arch}") })
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
    let (file, size) = open(&hub, &attempt.job.recipe, id, arch, &path).await?;
    Response::builder()
        .header(header::CONTENT_TYPE, "application/octet-stream")
        .header(header::CONTENT_LENGTH, size)
        .body(stream::body_of(file, size))
        .map_err(|error| Problem::Internal(error.into()))
}

/// Opens a file of a snapshot; gives its size too.
async fn open(hub: &Hub, recipe: &Recipe, id: SnapshotId, arch: Arch, path: &str) -> Answer<(File, u64)> {
    for place in places_of(hub, recipe, id)? {
        if is_package(path)
            && let Some(found) = open_package(hub, &place, id, arch, path).await?
        {
            return Ok(found);
        }
        let Some(place) = file_in(&place, arch.as_str(), path) else { break };
        match File::open(&place).await {
            Ok(file) => {
                let meta = file.metadata().await?;
                if meta.is_file() {
                    return Ok((file, meta.len()));
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Problem::NotFound { what: format!("snapshot {id} has no such file for {arch}") })
}

/// Opens a package of the snapshot in `place`, which the store has; gives its size too. `None` when the snapshot is not there,
/// has no such package, or the store has it no more.
async fn open_package(
    hub: &Hub,
    place: &std::path::Path,
    id: SnapshotId,
    arch: Arch,
    path: &str,
) -> Answer<Option<(File, u64)>> {
    let (shared, place, path) = (hub.clone(), place.to_owned(), path.to_owned());
    let found = blocking(move || {
        let listing = shared.manifests.get(&place, id, arch.as_str())?;
        Ok(listing.find(&path).and_then(|listed| Some((listed.digest()?, listed.size))))
    });
    let (digest, size) = match found.await {
        Ok(Some(found)) => found,
        Ok(None) | Err(ManifestError::NoFolder { .. }) => return Ok(None),
        Err(error @ (ManifestError::Broken { .. } | ManifestError::Disk(_))) => {
            return Err(Problem::Internal(error.into()));
        }
    };
    match hub.artifacts.read(&digest).await {
        Ok(file) => Ok(Some((file, size))),
        Err(ArtifactError::Missing(_)) => Ok(None),
        Err(error) => Err(Problem::Internal(error.into())),
    }
}

/// Where a snapshot may be that the recipe names. It moves from staging into its tree when it becomes live, so staging
/// is looked into first: what has left it by then is found in the tree.
fn places_of(hub: &Hub, recipe: &Recipe, id: SnapshotId) -> Answer<[PathBuf; 3]> {
    let named = recipe.repos.iter().any(|repo| match &repo.origin {
        RepoOrigin::Snapshot { id: named } => *named == id,
        RepoOrigin::External { .. } => false,
    });
    if !named {
        return Err(Problem::not_found("snapshot", id));
    }
    Ok([hub.staging.join(id.to_string()), hub.candidates.dir(id), hub.public.dir(id)])
}
