//! Beat and finish: steps of the job's machine, proven by the attempt's token.

use anyhow::Context as _;
use axum::extract::State;
use axum::http::StatusCode;
use farm::digest::Digest;
use farm::ids::JobId;
use farm::job::{Effect, Event, Job, JobState, Refused};
use farm::ledger::{LedgerError, StepError, Stepped};
use farm::message::{Finish, Lease};
use farm::outcome::Outcome;
use tracing::Instrument as _;

use super::{Turn, token_digest};
use crate::http::extract::{Json, Path};
use crate::http::jobs;
use crate::logs;
use crate::problem::{Answer, Problem};
use crate::state::Hub;

/// How often a step is decided anew when somebody else is quicker each time.
const RACES: u32 = 8;

/// The token a builder shows, of whatever attempt.
pub(in crate::http) struct Shown(Digest);

impl axum::extract::FromRequestParts<Hub> for Shown {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut axum::http::request::Parts, _hub: &Hub) -> Answer<Self> {
        token_digest(parts).map(Shown)
    }
}

/// The builder is still at work. The answer says how long the lease lasts now, and whether to stop.
#[utoipa::path(post, path = "/api/v1/attempts/{job}/{turn}/beat", tag = "attempts",
    params(("job" = JobId, Path, description = "The job"), ("turn" = u32, Path, description = "The turn")),
    responses((status = 200, body = Lease)))]
pub(in crate::http) async fn beat(
    State(hub): State<Hub>,
    Path(Turn { job, turn }): Path<Turn>,
    Shown(token): Shown,
) -> Answer<Json<Lease>> {
    // What was heard counts also when its sender waits no longer: while the database is slow no beat would end in time.
    let heard = async move {
        let stepped = step(&hub, job, Event::Beat { turn, token }).await.map_err(refused)?;
        Ok(Json(lease(&hub, &stepped)))
    };
    tokio::spawn(heard.in_current_span()).await.context("the task that takes in a beat ended early")?
}

/// The attempt is over: every log and file is uploaded.
///
/// Repeating it is answered as the first time was.
#[utoipa::path(post, path = "/api/v1/attempts/{job}/{turn}/finish", tag = "attempts", request_body = Finish,
    params(("job" = JobId, Path, description = "The job"), ("turn" = u32, Path, description = "The turn")),
    responses((status = 204, description = "It is taken in")))]
pub(in crate::http) async fn finish(
    State(hub): State<Hub>,
    Path(Turn { job, turn }): Path<Turn>,
    Shown(token): Shown,
    Json(Finish { outcome }): Json<Finish>,
) -> Answer<StatusCode> {
    let outcome = outcome.brief();
    match step(&hub, job, Event::Finish { turn, token, outcome: outcome.clone() }).await {
        Ok(stepped) => {
            tracing::info!(%job, turn, request = %stepped.job.request, outcome = outcome.sentence(), "an attempt has ended");
            logs::stir(&hub, job, turn);
            hub.hurry().await;
            Ok(StatusCode::NO_CONTENT)
        }
        Err(StepError::Refused(Refused::Settled)) => {
            let job = jobs::find(&mut hub.db.glance().await?, job).await?;
            if is_repeated(&job, turn, &outcome) { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::Stale) }
        }
        Err(error) => Err(refused(error)),
    }
}

/// Is this what the job was settled with, in this turn? What the machine makes of an end may be another one than the
/// builder gave: a stopped attempt counts as cancelled, one that gave up by itself as a failure of the farm.
fn is_repeated(job: &Job, turn: u32, given: &Outcome) -> bool {
    let JobState::Done { outcome: settled, .. } = &job.state else { return false };
    let follows = match settled {
        Outcome::Cancelled { .. } => true,
        Outcome::FailedByFarm { .. } => matches!(given, Outcome::Cancelled { .. } | Outcome::Lost { .. }),
        Outcome::Passed | Outcome::FailedByPackage { .. } | Outcome::Lost { .. } => false,
    };
    job.turn == turn && (settled == given || follows)
}

/// Takes a job one step on.
pub(super) async fn step(hub: &Hub, id: JobId, event: Event) -> Result<Stepped, StepError> {
    let mut races = 0;
    loop {
        let mut tx = hub.db.write().await?;
        match tx.step_job(id, event.clone(), hub.now(), &hub.config.patience).await {
            Ok(stepped) => {
                tx.commit().await?;
                return Ok(stepped);
            }
            Err(StepError::Ledger(LedgerError::LostRace { .. } | LedgerError::Undone)) if races < RACES => {
                races += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Why a step was not taken, for the builder.
pub(super) fn refused(error: StepError) -> Problem {
    match error {
        StepError::Unknown(id) => Problem::not_found("job", id),
        StepError::Refused(Refused::Stale | Refused::Settled | Refused::NotDue) => Problem::Stale,
        StepError::Ledger(error) => error.into(),
    }
}

/// How long the attempt may be silent, and whether it must stop.
pub(super) fn lease(hub: &Hub, stepped: &Stepped) -> Lease {
    let stop = matches!(stepped.effect, Some(Effect::Stop { .. }));
    let patience = &hub.config.patience;
    Lease { lease_ms: if stop { patience.stop_ms } else { patience.lease_ms }, stop }
}
