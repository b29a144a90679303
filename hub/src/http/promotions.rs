//! Promotions: sets of builds on their way into a repo.

use axum::extract::State;
use axum::http::StatusCode;
use farm::api::{MadePromotion, NewPromotion, Page, PromotionView};
use farm::ids::PromotionId;
use farm::ledger::PromotionFilter;
use farm::promotion::Promotion;
use serde::Deserialize;
use utoipa::IntoParams;

use super::auth::Caller;
use super::builds::Openness;
use super::extract::{Json, Path, Query};
use super::view;
use crate::problem::Answer;
use crate::promotions::{self, Opened};
use crate::state::Hub;

/// Which promotions to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    /// Of this SIG.
    sig: Option<String>,
    /// Of this target.
    target: Option<String>,
    /// Open ones, or settled ones.
    #[param(inline)]
    state: Option<Openness>,
    /// Older than this one: the `next` of the page before.
    before: Option<PromotionId>,
    /// At most this many, up to 200.
    limit: Option<u32>,
}

/// Promotions, newest first.
#[utoipa::path(get, path = "/api/v1/promotions", tag = "promotions", params(Filter),
    responses((status = 200, body = Page<Promotion>)))]
pub(super) async fn list(
    State(hub): State<Hub>,
    Query(filter): Query<Filter>,
) -> Answer<Json<Page<Promotion>>> {
    let limit = view::page_size(filter.limit);
    let Filter { sig, target, state, before, limit: _ } = filter;
    let settled = state.map(|state| state == Openness::Closed);
    let filter = PromotionFilter { sig, target, settled, before, limit };
    let items = hub.db.glance().await?.promotions(&filter).await?;
    Ok(Json(view::page(items, limit, |item| item.id.to_string())))
}

/// One promotion, with the results the gate looks at.
#[utoipa::path(get, path = "/api/v1/promotions/{id}", tag = "promotions",
    params(("id" = PromotionId, Path, description = "Its id")), responses((status = 200, body = PromotionView)))]
pub(super) async fn show(State(hub): State<Hub>, Path(id): Path<PromotionId>) -> Answer<Json<PromotionView>> {
    Ok(Json(promotions::view(&hub, id).await?))
}

/// Asks for builds to be moved into a repo, together or not at all.
///
/// They are named, or are whatever of a stack has changed; packages may leave the repo in the same step.
#[utoipa::path(post, path = "/api/v1/promotions", tag = "promotions", request_body = NewPromotion,
    responses((status = 202, body = MadePromotion)))]
pub(super) async fn create(
    State(hub): State<Hub>,
    Caller(person): Caller,
    Json(new): Json<NewPromotion>,
) -> Answer<(StatusCode, Json<MadePromotion>)> {
    let opened = promotions::open(&hub, &person, new).await?;
    Ok((StatusCode::ACCEPTED, Json(made(&hub, opened))))
}

/// What whoever opened a promotion is told.
pub(super) fn made(hub: &Hub, Opened { id, warnings }: Opened) -> MadePromotion {
    MadePromotion { id, url: hub.promotion_url(id), warnings }
}

/// Approves a promotion, as a release manager of its SIG; where two must, each is another person.
#[utoipa::path(post, path = "/api/v1/promotions/{id}/approve", tag = "promotions",
    params(("id" = PromotionId, Path, description = "Its id")),
    responses((status = 204, description = "It is approved")))]
pub(super) async fn approve(
    State(hub): State<Hub>,
    Caller(person): Caller,
    Path(id): Path<PromotionId>,
) -> Answer<StatusCode> {
    promotions::approve(&hub, &person, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes a promotion back.
#[utoipa::path(post, path = "/api/v1/promotions/{id}/withdraw", tag = "promotions",
    params(("id" = PromotionId, Path, description = "Its id")),
    responses((status = 204, description = "It is withdrawn")))]
pub(super) async fn withdraw(
    State(hub): State<Hub>,
    Caller(person): Caller,
    Path(id): Path<PromotionId>,
) -> Answer<StatusCode> {
    promotions::withdraw(&hub, &person, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
