//! A builder takes up an offer. The offer's ticket is the proof; from then on the attempt's own token is.

use axum::extract::State;
use farm::digest::Digest;
use farm::ids::JobId;
use farm::job::Event;
use farm::message::{Claim, Lease};

use super::{Turn, step};
use crate::http::extract::{Json, Path};
use crate::logs;
use crate::problem::{Answer, Problem};
use crate::state::Hub;

/// Longest name of a builder.
const LONGEST_NAME: usize = 128;

/// Takes up an offer. May be repeated with the same token.
#[utoipa::path(post, path = "/api/v1/attempts/{job}/{turn}/claim", tag = "attempts", request_body = Claim,
    params(("job" = JobId, Path, description = "The job"), ("turn" = u32, Path, description = "The turn")),
    responses((status = 200, body = Lease)))]
pub(in crate::http) async fn claim(
    State(hub): State<Hub>,
    Path(Turn { job, turn }): Path<Turn>,
    Json(Claim { ticket, builder, token_digest }): Json<Claim>,
) -> Answer<Json<Lease>> {
    if !is_builder(&builder) {
        let fix = "a builder's name has letters, digits, `.`, `_` and `-`";
        return Err(Problem::invalid("this is no builder's name", fix));
    }
    let ticket = Digest::of(ticket.as_bytes());
    let event = Event::Claim { turn, ticket, builder: builder.clone(), token: token_digest };
    let stepped = step::step(&hub, job, event).await.map_err(step::refused)?;
    tracing::info!(%job, turn, request = %stepped.job.request, builder, "an attempt has begun");
    logs::stir(&hub, job, turn);
    hub.hurry().await;
    Ok(Json(step::lease(&hub, &stepped)))
}

fn is_builder(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}
