//! The farm at a glance.

use axum::extract::State;
use farm::api::{QueueView, StatusView, StuckView, TroubleView, Untold};
use farm::job::Job;
use farm::ledger::{Outbox, Queue, Tx};
use farm::promotion::Promotion;
use farm::sig::Community;

use super::auth::MaybeCaller;
use super::extract::Json;
use super::view;
use crate::live;
use crate::present::nobody_for_any;
use crate::problem::Answer;
use crate::promotions::{needs_word, trouble};
use crate::state::Hub;

/// The newest jobs, among which troubles are looked for.
const NEWEST_JOBS: u32 = 1_000;
/// Most troubles that are told.
const MOST_TROUBLES: u32 = 10;

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
    let Outbox { events, oldest } = tx.outbox().await?;
    let unsettled = tx.unsettled_promotions().await?;
    let queue = |Queue { sig, arch, jobs, oldest }| QueueView { sig, arch, jobs, oldest };
    Ok(Json(StatusView {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        jobs: tx.jobs_by_phase().await?,
        open_requests: tx.open_requests().await?.len(),
        open_promotions: unsettled.len(),
        builders: view::builders(&hub, &mut tx).await?,
        nobody: nobody_for_any(&hub, &mut tx, &community).await?,
        queues: tx.queues().await?.into_iter().map(queue).collect(),
        stuck: stuck(&hub, &mut tx, &community, &unsettled).await?,
        unapproved: unsettled.into_iter().filter(|promotion| needs_word(&community, promotion)).collect(),
        red: live::reds(&hub, &mut tx, &community).await?,
        untold: Untold { events, oldest },
        bus_away: !hub.bus.is_up(),
        troubles: troubles(tx.troubled(NEWEST_JOBS, MOST_TROUBLES).await?),
        you: you.map(|person| person.name),
    }))
}

/// Those of these promotions that cannot be taken on.
async fn stuck(
    hub: &Hub,
    tx: &mut Tx,
    community: &Community,
    unsettled: &[Promotion],
) -> Answer<Vec<StuckView>> {
    let mut stuck = Vec::new();
    for promotion in unsettled {
        if let Some(why) = trouble(hub, tx, community, promotion).await? {
            let (sig, what) = (promotion.sig.clone(), promotion.headline());
            stuck.push(StuckView { promotion: promotion.id, sig, what, why });
        }
    }
    Ok(stuck)
}

/// The attempts of these jobs that came to nothing, the latest first.
fn troubles(jobs: Vec<Job>) -> Vec<TroubleView> {
    let of_job = |job: Job| {
        let (label, phase) = (job.kind.label(), job.phase().to_owned());
        let view = move |attempt| TroubleView {
            job: job.id,
            request: job.request,
            label: label.clone(),
            arch: job.arch,
            attempt,
            phase: phase.clone(),
        };
        job.history.into_iter().map(view)
    };
    let mut troubles: Vec<TroubleView> = jobs.into_iter().flat_map(of_job).collect();
    troubles.sort_by_key(|trouble| std::cmp::Reverse(trouble.attempt.ended));
    troubles.truncate(MOST_TROUBLES as usize);
    troubles
}
