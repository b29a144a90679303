//! Rollbacks: public repos that show again what they showed before, and what that was.

use axum::extract::State;
use axum::http::StatusCode;
use farm::api::{MadePromotion, NewRollback, PublicationView};
use serde::Deserialize;
use utoipa::IntoParams;

use super::auth::Caller;
use super::extract::{Json, Path, Query};
use super::{promotions::made, view};
use crate::problem::Answer;
use crate::promotions;
use crate::state::Hub;

/// How much of a history to give.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Length {
    /// At most this many, up to 200.
    limit: Option<u32>,
}

/// Makes a public repo show again what it showed before, as a release manager of its SIG.
///
/// No test is run again: what is gone back to was tested in exactly this combination, and published.
#[utoipa::path(post, path = "/api/v1/rollbacks", tag = "rollbacks", request_body = NewRollback,
    responses((status = 202, body = MadePromotion)))]
pub(super) async fn create(
    State(hub): State<Hub>,
    Caller(person): Caller,
    Json(new): Json<NewRollback>,
) -> Answer<(StatusCode, Json<MadePromotion>)> {
    let opened = promotions::rollback(&hub, &person, new).await?;
    Ok((StatusCode::ACCEPTED, Json(made(&hub, opened))))
}

/// What a public repo showed, the newest first.
#[utoipa::path(get, path = "/api/v1/repos/{tag}/history", tag = "rollbacks",
    params(("tag" = String, Path, description = "The repo's tag"), Length),
    responses((status = 200, body = Vec<PublicationView>)))]
pub(super) async fn history(
    State(hub): State<Hub>,
    Path(tag): Path<String>,
    Query(Length { limit }): Query<Length>,
) -> Answer<Json<Vec<PublicationView>>> {
    Ok(Json(promotions::history(&hub, &tag, view::page_size(limit)).await?))
}
