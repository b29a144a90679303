//! Where a package comes from.

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::Response;
use farm::digest::Digest;
use farm::trace::Trace;
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::{Json, Path, Query};
use super::view;
use crate::problem::{Answer, Problem};
use crate::provenance;
use crate::state::Hub;
use crate::trace::{self, Asked};

/// Which package: one of both.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// Its full name (`hello-2.10-1.el9s.x86_64`) or file name, or the name of a build.
    nevra: Option<String>,
    /// SHA-256 of its header and payload, which no signature changes.
    #[param(value_type = Option<String>)]
    body: Option<Digest>,
}

/// Where a package comes from, what it has passed, and where it is.
#[utoipa::path(get, path = "/api/v1/trace", tag = "builds", params(Which), responses((status = 200, body = Trace)))]
pub(super) async fn trace(State(hub): State<Hub>, Query(which): Query<Which>) -> Answer<Json<Trace>> {
    let asked = match which {
        Which { nevra: None, body: Some(body) } => Asked::Body(body),
        Which { nevra: Some(nevra), body: None } => Asked::Name(nevra),
        Which { nevra: None, body: None } | Which { nevra: Some(_), body: Some(_) } => {
            return Err(Problem::invalid("either `nevra` or `body` names a package", "give one of them"));
        }
    };
    Ok(Json(trace::trace(&hub, &asked).await?))
}

/// A build's provenance, signed, as it is published.
#[utoipa::path(get, path = "/api/v1/builds/{id}/provenance", tag = "builds",
    params(("id" = String, Path, description = "Its id, or the NVR of what it made")),
    responses((status = 200, body = Vec<u8>, content_type = "application/json")))]
pub(super) async fn provenance(State(hub): State<Hub>, Path(id): Path<String>) -> Answer<Response> {
    let mut tx = hub.db.read().await?;
    let request = view::find(&mut tx, &id).await?;
    let build = tx.build_of(request.id).await?.ok_or_else(|| Problem::not_found("finished build", &id))?;
    drop(tx);
    let envelope = provenance::of(&hub, &build).await?;
    Response::builder()
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(envelope))
        .map_err(|error| Problem::Internal(error.into()))
}
