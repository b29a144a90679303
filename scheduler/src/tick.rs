//! One look at everything unsettled, each job taken one step on.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use farm::ids::JobId;
use farm::job::{Effect, Event, Job};
use farm::ledger::{LedgerError, StepError, Stepped};
use farm::message::Stop;
use farm::stamp::Stamp;

use crate::offer::offer;
use crate::{Config, Parts};

/// What a tick did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ticked {
    /// How many deadlines had passed and were acted on.
    pub lapsed: usize,
    /// How many builders were told again to stop.
    pub recalled: usize,
    /// How many jobs were offered.
    pub offered: usize,
    /// Jobs whose rows this program cannot read, and why. They are passed over: one of them must not stop the farm.
    pub unreadable: BTreeMap<JobId, String>,
}

/// Lapses what is overdue, recalls what was cancelled, and offers jobs to free slots. It can be run by hand with any
/// `now`. Several may run at once, here or in other processes. `secrets` gives a fresh ticket for each offer, which
/// nobody may be able to guess.
///
/// # Errors
/// When the ledger fails. What was done before stays done, and the next tick finds the rest again.
pub async fn tick(
    parts: &Parts,
    config: &Config,
    now: Stamp,
    secrets: &mut impl FnMut() -> String,
) -> anyhow::Result<Ticked> {
    let mut ticked = Ticked::default();
    // Each of the three is tried whatever becomes of the others, so that trouble with one does not stop all work.
    let lapsed = lapse(parts, config, now, &mut ticked).await;
    let recalled = recall(parts, &mut ticked).await;
    let offered = offer(parts, config, now, secrets, &mut ticked).await;
    lapsed.and(recalled).and(offered).map(|()| ticked)
}

/// Offers jobs to free slots, and does nothing else of a [`tick`]: for when somebody has said that there is work or room. What is
/// overdue becomes so by itself, and who cancels tells the builder at once: the next tick is soon enough for both.
///
/// # Errors
/// As [`tick`].
pub(crate) async fn fill(
    parts: &Parts,
    config: &Config,
    now: Stamp,
    secrets: &mut impl FnMut() -> String,
) -> anyhow::Result<Ticked> {
    let mut ticked = Ticked::default();
    offer(parts, config, now, secrets, &mut ticked).await.map(|()| ticked)
}

/// Takes up what nobody answers for any more: offers that were not taken, leases that were not renewed, stops that
/// were not confirmed.
///
/// A lease counts only when hubs have been there to renew it for all of its length: while none was, no builder could
/// say that it is at work.
async fn lapse(parts: &Parts, config: &Config, now: Stamp, ticked: &mut Ticked) -> anyhow::Result<()> {
    let mut tx = parts.db.glance().await.context("cannot look for what is overdue")?;
    let pulse = tx.hubs_pulse().await.context("cannot look for the hubs")?;
    let (lease, gap) =
        (Duration::from_millis(config.patience.lease_ms), Duration::from_millis(config.hub_gap_ms));
    let heard = pulse.is_none_or(|pulse| pulse.covers(lease, now, gap));
    let overdue = tx.overdue(now, heard).await.context("cannot look for what is overdue")?;
    drop(tx);
    for id in overdue {
        let mut tx = parts.db.write().await.context("cannot take up an overdue job")?;
        let stepped = tx.step_job(id, Event::Lapse, now, &config.patience).await;
        if let Some(Stepped { job, effect }) = ordinary(stepped, id, ticked)? {
            tx.commit().await.context("cannot take up an overdue job")?;
            ticked.lapsed += 1;
            tell(&job, effect);
        }
    }
    Ok(())
}

/// Says again what the builders of cancelled jobs may have missed.
async fn recall(parts: &Parts, ticked: &mut Ticked) -> anyhow::Result<()> {
    let mut tx = parts.db.glance().await.context("cannot look for cancelled jobs")?;
    let stopping = tx.stopping().await.context("cannot look for cancelled jobs")?;
    drop(tx);
    for (job, turn) in stopping {
        parts.bus.stop(Stop { job, turn }).await;
        ticked.recalled += 1;
    }
    Ok(())
}

/// Sorts the answer to a step: done, or not because somebody else was quicker or in the way, or a row that cannot be read.
/// Only what will fail for the next job too is passed on.
pub(crate) fn ordinary(
    stepped: Result<Stepped, StepError>,
    id: JobId,
    ticked: &mut Ticked,
) -> anyhow::Result<Option<Stepped>> {
    match stepped {
        Ok(stepped) => Ok(Some(stepped)),
        Err(
            StepError::Refused(_)
            | StepError::Unknown(_)
            | StepError::Ledger(LedgerError::LostRace { .. } | LedgerError::Undone | LedgerError::Refused(_)),
        ) => Ok(None),
        Err(StepError::Ledger(corrupt @ LedgerError::Corrupt { .. })) => {
            ticked.unreadable.insert(id, corrupt.to_string());
            Ok(None)
        }
        Err(StepError::Ledger(
            error @ (LedgerError::Sql(_) | LedgerError::Schema(_) | LedgerError::OtherSchema { .. }),
        )) => Err(anyhow::Error::new(error).context(format!("cannot take job {id} a step on"))),
    }
}

fn tell(job: &Job, effect: Option<Effect>) {
    let why = job.history.last().map(|attempt| attempt.why.as_str());
    match effect {
        Some(Effect::Requeued) => {
            tracing::info!(request = %job.request, job = %job.id, turn = job.turn, why, "a job is in the backlog again");
        }
        Some(Effect::Settled) => {
            let outcome = job.outcome().map(farm::outcome::Outcome::sentence);
            tracing::info!(request = %job.request, job = %job.id, turn = job.turn, outcome, "a job was settled");
        }
        Some(Effect::Stop { .. }) | None => {}
    }
}
