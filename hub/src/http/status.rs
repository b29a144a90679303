//! The farm at a glance.

use axum::extract::State;
use farm::api::{BuilderView, StatusView};

use super::auth::MaybeCaller;
use super::extract::Json;
use super::view;
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
    Ok(Json(StatusView {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        jobs: tx.jobs_by_phase().await?,
        open_requests: tx.open_requests().await?.len(),
        open_promotions: tx.unsettled_promotions().await?.len(),
        builders: view::builders(&hub, &mut tx).await?,
        you: you.map(|person| person.name),
    }))
}

/// Every builder that ever reported.
#[utoipa::path(get, path = "/api/v1/builders", tag = "farm", responses((status = 200, body = Vec<BuilderView>)))]
pub(super) async fn builders(State(hub): State<Hub>) -> Answer<Json<Vec<BuilderView>>> {
    Ok(Json(view::builders(&hub, &mut hub.db.read().await?).await?))
}
