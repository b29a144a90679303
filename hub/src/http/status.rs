//! The farm at a glance.

use axum::extract::State;
use farm::api::StatusView;

use super::auth::MaybeCaller;
use super::extract::Json;
use super::view;
use crate::present::nobody_for_any;
use crate::problem::Answer;
use crate::state::Hub;

/// The farm at a glance.
///
/// With a token it also says whose it is.
#[utoipa::path(get, path = "/api/v1/status", tag = "farm", responses((status = 200, body = StatusView)))]
pub(super) async fn status(
    State(hub): State<Hub>,
    MaybeCaller(you): MaybeCaller,
) -> Answer<Json<StatusView>> {
    let mut tx = hub.db.read().await?;
    let community = tx.community().await?;
    Ok(Json(StatusView {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        jobs: tx.jobs_by_phase().await?,
        open_requests: tx.open_requests().await?.len(),
        open_promotions: tx.unsettled_promotions().await?.len(),
        builders: view::builders(&hub, &mut tx).await?,
        nobody: nobody_for_any(&hub, &mut tx, &community).await?,
        you: you.map(|person| person.name),
    }))
}
