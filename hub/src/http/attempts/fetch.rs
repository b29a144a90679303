//! A builder fetches what its recipe names, and nothing else.

use axum::extract::State;
use axum::response::Response;
use farm::digest::Digest;
use farm::ids::JobId;
use serde::Deserialize;

use super::Attempt;
use crate::http::extract::Path;
use crate::http::stream;
use crate::problem::{Answer, Problem};
use crate::state::Hub;

/// The input an address names.
#[derive(Debug, Deserialize)]
pub(in crate::http) struct Which {
    sha256: Digest,
}

/// An input the recipe names.
#[utoipa::path(get, path = "/api/v1/attempts/{job}/{turn}/inputs/{sha256}", tag = "attempts",
    params(("job" = JobId, Path, description = "The job"), ("turn" = u32, Path, description = "The turn"),
        ("sha256" = Digest, Path, description = "The input's SHA-256")),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream")))]
pub(in crate::http) async fn input(
    State(hub): State<Hub>,
    attempt: Attempt,
    Path(Which { sha256 }): Path<Which>,
) -> Answer<Response> {
    let inputs = attempt.job.recipe.work.inputs();
    let input = inputs.into_iter().find(|input| input.digest == sha256);
    let input = input.ok_or_else(|| Problem::not_found("input", sha256.short()))?;
    stream::artifact(&hub, &input.digest, &input.name).await
}
