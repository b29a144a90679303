//! Who is here: what builders say of themselves.

use std::time::Duration;

use farm::builder::Builder;
use farm::ids::JobId;
use farm::job::JobState;
use farm::ledger::Tx;
use farm::message::Presence;
use farm::stamp::Stamp;

use crate::{Config, Parts};

/// What a presence changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reported {
    /// There is room that was not there before: look at the backlog now.
    pub hurry: bool,
    /// Attempts the builder had when it last reported and the ledger says it has, but which it no longer knows: it was
    /// restarted. Nothing is done about them; their leases run out.
    pub forgotten: Vec<(JobId, u32)>,
}

/// Takes in what a builder says of itself. Repeating it changes nothing.
///
/// # Errors
/// When the ledger fails. The builder will say it again.
pub async fn report(
    parts: &Parts,
    config: &Config,
    presence: Presence,
    now: Stamp,
) -> farm::ledger::Result<Reported> {
    let mut tx = parts.db.write().await?;
    let before = tx.builder(&presence.builder).await?;
    let after = Builder::reported(presence, now);
    tx.report_builder(&after).await?;
    let forgotten = match &before {
        Some(before) => forgotten(&mut tx, before, &after).await?,
        None => Vec::new(),
    };
    tx.commit().await?;
    for (job, turn) in &forgotten {
        tracing::info!(%job, turn, builder = after.name, "a builder lost an attempt; it will lapse with its lease");
    }
    let silent_after = Duration::from_millis(config.silent_ms);
    let room_before = before.as_ref().map_or(0, |before| room(before, now, silent_after));
    let is_new = before.is_none_or(|before| before.arches != after.arches);
    Ok(Reported { hurry: is_new || room(&after, now, silent_after) > room_before, forgotten })
}

/// The free slots of a builder, by its own account.
fn room(builder: &Builder, now: Stamp, silent_after: Duration) -> u32 {
    let running = u32::try_from(builder.running.len()).unwrap_or(u32::MAX);
    match builder.condition(running, now, silent_after) {
        farm::builder::Condition::Free { slots } => slots,
        farm::builder::Condition::Draining | farm::builder::Condition::Silent => 0,
    }
}

async fn forgotten(
    tx: &mut Tx,
    before: &Builder,
    after: &Builder,
) -> farm::ledger::Result<Vec<(JobId, u32)>> {
    let mut forgotten = Vec::new();
    for (id, turn) in before.running.iter().filter(|attempt| !after.running.contains(attempt)) {
        if let Some(job) = tx.job(*id).await?
            && job.turn == *turn
            && matches!(&job.state, JobState::Building { builder, .. } if *builder == after.name)
        {
            forgotten.push((*id, *turn));
        }
    }
    Ok(forgotten)
}
