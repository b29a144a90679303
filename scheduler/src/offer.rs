//! Work for free slots.

use std::collections::BTreeMap;

use anyhow::Context as _;
use farm::builder::{Builder, Condition};
use farm::digest::Digest;
use farm::dispatch::{Candidate, Match, Room, assign};
use farm::job::{Event, JobState};
use farm::message::Offer;
use farm::stamp::Stamp;
use std::time::Duration;

use crate::tick::ordinary;
use crate::{Config, Parts, Ticked};

/// Candidates read of each SIG and architecture beyond what the free slots can take, so that a few rows which
/// cannot be offered do not hide those behind them.
const SPARE: u32 = 16;

/// Offers jobs until no free slot has a job that suits it.
pub(crate) async fn offer(
    parts: &Parts,
    config: &Config,
    now: Stamp,
    secrets: &mut impl FnMut() -> String,
    ticked: &mut Ticked,
) -> anyhow::Result<()> {
    let mut floor = Floor::survey(parts, config, now).await.context("cannot survey the backlog")?;
    loop {
        let matches = assign(&floor.backlog, &floor.rooms, &floor.running);
        if matches.is_empty() {
            return Ok(());
        }
        // Another scheduler may take the job or the slot first. Every answer takes one of them off the floor, so that
        // the next round is a smaller one.
        for proposal in matches {
            let answer = offer_one(parts, config, now, secrets, ticked, &proposal).await?;
            floor.note(&proposal, answer);
        }
    }
}

/// What became of one proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// The job is offered.
    Offered,
    /// The job is not in the backlog any more.
    Gone,
    /// The builder has no free slot any more.
    Full,
}

/// Writes one offer into the ledger, then tells the builder.
async fn offer_one(
    parts: &Parts,
    config: &Config,
    now: Stamp,
    secrets: &mut impl FnMut() -> String,
    ticked: &mut Ticked,
    proposal: &Match,
) -> anyhow::Result<Answer> {
    let Match { job, builder } = proposal;
    let mut tx = parts.db.write().await.context("cannot offer a job")?;
    // Counted again under a lock: two schedulers that have seen the same free slot must not both fill it.
    let Some((report, held)) = tx.builder_locked(builder).await.context("cannot count a builder's slots")?
    else {
        return Ok(Answer::Full);
    };
    if free_slots(&report, held, config, now) == 0 {
        return Ok(Answer::Full);
    }
    let ticket = secrets();
    let event = Event::Offer { builder: builder.clone(), ticket: Digest::of(ticket.as_bytes()) };
    let stepped = tx.step_job(*job, event, now, &config.patience).await;
    let Some(stepped) = ordinary(stepped, *job, ticked)? else { return Ok(Answer::Gone) };
    let JobState::Offered { until, .. } = stepped.job.state else { return Ok(Answer::Gone) };
    tx.commit().await.context("cannot offer a job")?;
    let job = stepped.job;
    tracing::info!(request = %job.request, job = %job.id, turn = job.turn, builder, "offered a job");
    let offer = Offer { job: job.id, turn: job.turn, ticket, until, recipe: job.recipe };
    parts.bus.offer(builder, offer).await;
    ticked.offered += 1;
    Ok(Answer::Offered)
}

fn free_slots(builder: &Builder, held: u32, config: &Config, now: Stamp) -> u32 {
    match builder.condition(held, now, Duration::from_millis(config.silent_ms)) {
        Condition::Free { slots } => slots,
        Condition::Draining | Condition::Silent => 0,
    }
}

/// What there is to do and who could do it, as far as a tick knows.
#[derive(Debug, Default)]
struct Floor {
    backlog: Vec<Candidate>,
    rooms: Vec<Room>,
    running: BTreeMap<String, u32>,
}

impl Floor {
    async fn survey(parts: &Parts, config: &Config, now: Stamp) -> farm::ledger::Result<Floor> {
        let mut tx = parts.db.read().await?;
        let held = tx.held_by_builder().await?;
        let rooms: Vec<Room> = tx
            .builders()
            .await?
            .into_iter()
            .map(|builder| {
                let held = held.get(&builder.name).copied().unwrap_or(0);
                let free = free_slots(&builder, held, config, now);
                Room { builder: builder.name, arches: builder.arches, free }
            })
            .filter(|room| room.free > 0)
            .collect();
        let free = rooms.iter().fold(SPARE, |sum, room| sum.saturating_add(room.free));
        if rooms.is_empty() {
            return Ok(Floor::default());
        }
        // One SIG can never be given more than all free slots, so the rest of a long backlog need not be read.
        Ok(Floor { backlog: tx.backlog(now, free).await?, rooms, running: tx.running_by_sig().await? })
    }

    fn note(&mut self, proposal: &Match, answer: Answer) {
        let at = self.backlog.iter().position(|candidate| candidate.job == proposal.job);
        let room = self.rooms.iter_mut().find(|room| room.builder == proposal.builder);
        match (answer, at, room) {
            (Answer::Offered, Some(at), Some(room)) => {
                room.free -= 1;
                *self.running.entry(self.backlog.swap_remove(at).sig).or_default() += 1;
            }
            (Answer::Gone, Some(at), _) => drop(self.backlog.swap_remove(at)),
            (Answer::Full, _, Some(room)) => room.free = 0,
            (Answer::Offered, None, _) | (Answer::Offered, _, None) => {}
            (Answer::Gone, None, _) | (Answer::Full, _, None) => {}
        }
    }
}
