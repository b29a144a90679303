//! Waivers: a release manager's word in place of a test's result.

use axum::extract::State;
use axum::http::StatusCode;
use farm::api::{NewWaiver, Waived};
use farm::gate::Waiver;
use farm::ids::{PromotionId, WaiverId};

use super::auth::Caller;
use super::extract::{Json, Path};
use crate::problem::Answer;
use crate::promotions;
use crate::state::Hub;

/// Waives a result that a promotion lacks, as a release manager of the repo's SIG or of the one whose suite it is.
///
/// The waiver is kept for ever, with its reason. It holds until it expires, is taken back, or its giver is no release manager
/// any more.
#[utoipa::path(post, path = "/api/v1/promotions/{id}/waivers", tag = "waivers", request_body = NewWaiver,
    params(("id" = PromotionId, Path, description = "The promotion's id")), responses((status = 201, body = Waived)))]
pub(super) async fn create(
    State(hub): State<Hub>,
    Caller(person): Caller,
    Path(id): Path<PromotionId>,
    Json(new): Json<NewWaiver>,
) -> Answer<(StatusCode, Json<Waived>)> {
    Ok((StatusCode::CREATED, Json(promotions::waive(&hub, &person, id, new).await?)))
}

/// Every waiver that was ever given for a target, the oldest first; also those that are worth nothing any more.
#[utoipa::path(get, path = "/api/v1/targets/{target}/waivers", tag = "waivers",
    params(("target" = String, Path, description = "Its name")), responses((status = 200, body = Vec<Waiver>)))]
pub(super) async fn list(State(hub): State<Hub>, Path(target): Path<String>) -> Answer<Json<Vec<Waiver>>> {
    Ok(Json(promotions::waivers(&hub, &target).await?))
}

/// Takes a waiver back. It stays readable.
#[utoipa::path(post, path = "/api/v1/waivers/{id}/revoke", tag = "waivers",
    params(("id" = WaiverId, Path, description = "Its id")), responses((status = 200, body = Waiver)))]
pub(super) async fn revoke(
    State(hub): State<Hub>,
    Caller(person): Caller,
    Path(id): Path<WaiverId>,
) -> Answer<Json<Waiver>> {
    Ok(Json(promotions::revoke(&hub, &person, id).await?))
}
