//! A builder takes up an offer. Its own secret and the offer's ticket are the proof; from then on the attempt's own token is.

use axum::extract::State;
use farm::digest::Digest;
use farm::ids::JobId;
use farm::job::Event;
use farm::message::{Claim, Lease};

use super::{Turn, step};
use crate::http::builders::{self, Known};
use crate::http::extract::{Json, Path};
use crate::logs;
use crate::problem::{Answer, Problem};
use crate::state::Hub;

/// Takes up an offer. May be repeated with the same token.
#[utoipa::path(post, path = "/api/v1/attempts/{job}/{turn}/claim", tag = "attempts", request_body = Claim,
    params(("job" = JobId, Path, description = "The job"), ("turn" = u32, Path, description = "The turn")),
    responses((status = 200, body = Lease)))]
pub(in crate::http) async fn claim(
    State(hub): State<Hub>,
    Path(Turn { job, turn }): Path<Turn>,
    Known(known, _): Known,
    Json(Claim { ticket, builder, born, token_digest }): Json<Claim>,
) -> Answer<Json<Lease>> {
    builders::must_be(&known, &builder)?;
    if born < known.born {
        // A later life of the builder has reported, which knows nothing of this attempt.
        return Err(Problem::Stale);
    }
    let ticket = Digest::of(ticket.as_bytes());
    let event = Event::Claim { turn, ticket, builder: builder.clone(), born, token: token_digest };
    let stepped = step::step(&hub, job, event).await.map_err(step::refused)?;
    tracing::info!(%job, turn, request = %stepped.job.request, builder, "an attempt has begun");
    logs::stir(&hub, job, turn);
    Ok(Json(step::lease(&hub, &stepped)))
}
