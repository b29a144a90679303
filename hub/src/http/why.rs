//! Why something is not moving.

use axum::extract::State;
use farm::ids::PromotionId;
use farm::sig::Stage;
use farm::why::Why;

use super::extract::{Json, Path};
use super::view;
use crate::live;
use crate::problem::Answer;
use crate::state::Hub;
use crate::why;

/// Why a build or a promotion is not moving, or why a public repo is not well: one answer.
#[utoipa::path(get, path = "/api/v1/why/{what}", tag = "builds",
    params(("what" = String, Path, description = "A build's id or NVR, a promotion's id, or the tag of a public repo")),
    responses((status = 200, body = Why)))]
pub(super) async fn why(State(hub): State<Hub>, Path(what): Path<String>) -> Answer<Json<Why>> {
    let mut tx = hub.db.read().await?;
    if let Ok(id) = what.parse::<PromotionId>()
        && let Some(promotion) = tx.promotion(id).await?
    {
        return Ok(Json(why::promotion(&hub, &mut tx, &promotion).await?));
    }
    if let Some((_, Stage::Testing | Stage::Release)) = tx.community().await?.tag(&what) {
        return Ok(Json(live::why(&hub, &mut tx, &what).await?));
    }
    let request = view::find(&mut tx, &what).await?;
    let name = view::name_of(&mut tx, &request).await?;
    Ok(Json(why::build(&hub, &mut tx, &request, name).await?))
}
