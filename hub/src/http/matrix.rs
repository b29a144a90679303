//! What works on what.

use axum::extract::State;
use farm::matrix::Matrix;
use farm::sig::Stage;
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::{Json, Query};
use crate::live;
use crate::problem::Answer;
use crate::state::Hub;

/// Which grid.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// The SIG.
    pub(super) sig: String,
    /// The project: `gluster`.
    pub(super) project: String,
    /// Its repos: `release` (when absent) or `testing`.
    pub(super) stage: Option<Stage>,
}

/// What of a project works on what: its targets against the versions of the layers below them.
#[utoipa::path(get, path = "/api/v1/matrix", tag = "sigs", params(Which),
    responses((status = 200, body = Matrix)))]
pub(super) async fn matrix(State(hub): State<Hub>, Query(which): Query<Which>) -> Answer<Json<Matrix>> {
    let Which { sig, project, stage } = which;
    Ok(Json(live::matrix(&hub, &sig, &project, stage.unwrap_or(Stage::Release)).await?))
}
