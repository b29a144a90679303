//! Withdrawals: builds that must not be published any more.

use axum::extract::State;
use farm::api::{NewWithdrawal, Withdrawn};

use super::auth::Caller;
use super::extract::Json;
use crate::problem::Answer;
use crate::promotions;
use crate::state::Hub;

/// Withdraws a build for good, as a release manager or maintainer of its SIG.
///
/// It leaves the candidate repo, and enters no public repo any more. The answer names those that show it now.
#[utoipa::path(post, path = "/api/v1/withdrawals", tag = "withdrawals", request_body = NewWithdrawal,
    responses((status = 200, body = Withdrawn)))]
pub(super) async fn create(
    State(hub): State<Hub>,
    Caller(person): Caller,
    Json(new): Json<NewWithdrawal>,
) -> Answer<Json<Withdrawn>> {
    Ok(Json(promotions::withdraw_build(&hub, &person, new).await?))
}
