//! Work for free slots.

use anyhow::Context as _;
use farm::builder::{Builder, Condition};
use farm::digest::Digest;
use farm::dispatch::{Candidate, Loads, Match, Room, Space, assign};
use farm::job::{Event, JobState};
use farm::ledger::Held;
use farm::message::Offer;
use farm::stamp::Stamp;
use std::time::Duration;

use crate::tick::ordinary;
use crate::{Config, Parts, Ticked};

/// Candidates read of each SIG, architecture and class beyond what the free slots can take, so that a few rows which
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
        let matches = assign(&floor.backlog, &floor.rooms, &floor.loads, &config.dispatch, now);
        if matches.is_empty() {
            return Ok(());
        }
        // Another scheduler may take the job or the slot first. Every answer takes one of them off the floor, so that
        // the next round is a smaller one.
        for proposal in matches {
            let Some(candidate) = floor.take(&proposal) else { continue };
            let cap = floor.loads.share(&candidate.sig).cap;
            let proposed = Proposed { candidate: &candidate, builder: &proposal.builder, cap };
            let answer = offer_one(parts, config, now, secrets, ticked, &proposed).await?;
            floor.note(candidate, &proposal.builder, answer, config.dispatch.charge_ms);
        }
    }
}

/// One job for one builder, and how many at once its SIG may have there.
struct Proposed<'a> {
    candidate: &'a Candidate,
    builder: &'a str,
    cap: Option<u32>,
}

/// What became of one proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// The job is offered.
    Offered,
    /// The job is not in the backlog any more.
    Gone,
    /// The builder has no room for it any more.
    Full,
    /// The SIG has as many jobs as it may have there.
    Capped,
}

/// Writes one offer into the ledger, then tells the builder.
async fn offer_one(
    parts: &Parts,
    config: &Config,
    now: Stamp,
    secrets: &mut impl FnMut() -> String,
    ticked: &mut Ticked,
    proposed: &Proposed<'_>,
) -> anyhow::Result<Answer> {
    let Proposed { candidate, builder, cap } = *proposed;
    let job = candidate.job;
    let mut tx = parts.db.write().await.context("cannot offer a job")?;
    // Counted again under a lock: two schedulers that have seen the same free slot must not both fill it.
    let Some((report, held)) = tx.builder_locked(builder).await.context("cannot count a builder's slots")?
    else {
        return Ok(Answer::Full);
    };
    if room(report, held, config, now).is_none_or(|room| !room.takes(candidate)) {
        return Ok(Answer::Full);
    }
    if let Some(cap) = cap
        && tx.held_by_sig_locked(&candidate.sig, candidate.arch).await.context("cannot count a SIG's jobs")?
            >= cap
    {
        return Ok(Answer::Capped);
    }
    let ticket = secrets();
    let event = Event::Offer { builder: builder.to_owned(), ticket: Digest::of(ticket.as_bytes()) };
    let stepped = tx.step_job(job, event, now, &config.patience).await;
    let Some(stepped) = ordinary(stepped, job, ticked)? else { return Ok(Answer::Gone) };
    let JobState::Offered { until, .. } = stepped.job.state else { return Ok(Answer::Gone) };
    tx.commit().await.context("cannot offer a job")?;
    let job = stepped.job;
    tracing::info!(request = %job.request, job = %job.id, turn = job.turn, builder, "offered a job");
    let offer = Offer { job: job.id, turn: job.turn, ticket, until, recipe: job.recipe };
    parts.bus.offer(builder, offer).await;
    ticked.offered += 1;
    Ok(Answer::Offered)
}

/// What a builder offers to dispatch; `None` while it takes nothing.
fn room(builder: Builder, held: Held, config: &Config, now: Stamp) -> Option<Room> {
    let free = match builder.condition(held.jobs, now, Duration::from_millis(config.silent_ms)) {
        Condition::Free { slots } => slots,
        Condition::Draining | Condition::ClockOff { .. } | Condition::Silent | Condition::Disabled => {
            return None;
        }
    };
    let whole = Space::said(builder.memory_mb, builder.disk_mb);
    Some(Room {
        builder: builder.name,
        native: builder.arches,
        emulated: builder.emulated,
        labels: builder.labels,
        slots: builder.slots,
        free,
        whole,
        left: whole.less(held.memory_mb, held.disk_mb),
    })
}

/// What there is to do and who could do it, as far as a tick knows.
#[derive(Debug, Default)]
struct Floor {
    backlog: Vec<Candidate>,
    rooms: Vec<Room>,
    loads: Loads,
}

impl Floor {
    async fn survey(parts: &Parts, config: &Config, now: Stamp) -> farm::ledger::Result<Floor> {
        // What it reads need not fit together: each offer counts again.
        let mut tx = parts.db.glance().await?;
        let held = tx.holdings().await?;
        let rooms: Vec<Room> = tx
            .builders()
            .await?
            .into_iter()
            .filter_map(|builder| {
                let held = held.get(&builder.name).copied().unwrap_or_default();
                room(builder, held, config, now)
            })
            .collect();
        let free = rooms.iter().fold(0, |sum: u32, room| sum.saturating_add(room.free));
        if free == 0 {
            return Ok(Floor::default());
        }
        // No class of a SIG can be given more than all free slots, so the rest of a long backlog need not be read.
        let backlog = tx.backlog(now, free.saturating_add(SPARE)).await?;
        let loads = tx.loads(now, config.patience.usage_half_life(), config.dispatch.charge_ms).await?;
        Ok(Floor { backlog, rooms, loads })
    }

    fn take(&mut self, proposal: &Match) -> Option<Candidate> {
        let at = self.backlog.iter().position(|candidate| candidate.job == proposal.job)?;
        Some(self.backlog.swap_remove(at))
    }

    fn note(&mut self, candidate: Candidate, builder: &str, answer: Answer, charge_ms: u64) {
        let room = self.rooms.iter_mut().find(|room| room.builder == builder);
        match (answer, room) {
            (Answer::Offered, Some(room)) => {
                room.free = room.free.saturating_sub(1);
                room.left = room.left.less(candidate.memory_mb, candidate.disk_mb);
                self.loads.charge(&candidate, charge_ms);
            }
            (Answer::Full, Some(room)) => {
                room.free = 0;
                self.backlog.push(candidate);
            }
            (Answer::Capped, _) => {
                self.loads.held.insert((candidate.sig, candidate.arch), u32::MAX);
            }
            (Answer::Offered | Answer::Full, None) | (Answer::Gone, _) => {}
        }
    }
}
