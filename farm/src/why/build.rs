//! Why a build is not moving.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{RepoBehind, Standing, Why, WhyCode, of_promotion, span};
use crate::arch::Arch;
use crate::chain::Blocker;
use crate::job::{Job, JobKind, JobState};
use crate::recipe::Limits;
use crate::request::{Closed, Request, RequestKind, Verdict};
use crate::stamp::Stamp;

/// What the reason of a build begins with that found no source for it in the lookaside.
pub const MISSING_SOURCE: &str = "missing from the lookaside";
/// What the reason of a build begins with that was given up because another one has failed: see [`Blocker::failure`].
const NEEDS_ANOTHER: [&str; 3] = ["needs ", "is on a later level", "must know first"];

/// Everything the answer depends on.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// The time.
    pub now: Stamp,
    /// The build.
    pub request: &'a Request,
    /// What it is called, as far as that is known.
    pub name: String,
    /// Its jobs.
    pub jobs: &'a [Job],
    /// The builds that come first.
    pub blockers: Vec<Blocker>,
    /// The candidate repo that is being composed and that it must see.
    pub behind: Option<RepoBehind>,
    /// The lanes its unsettled jobs stand in.
    pub lanes: BTreeMap<Arch, Lane>,
    /// Builders that have not been heard of for too long.
    pub silent: BTreeSet<String>,
    /// How long work like that of a job usually takes, by the job's label and architecture.
    pub usual: BTreeMap<(String, Arch), Duration>,
    /// The newest promotion of what it made.
    pub promotion: Option<Standing<'a>>,
}

/// What stands between a waiting job and a builder, on one architecture.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lane {
    /// Why nobody can build for it, if nobody can: one sentence.
    pub nobody: Option<String>,
    /// Slots of the builders that are here and could take the job when they are free.
    pub slots: u32,
    /// Those of them that are free now, on builders that have the memory and the disk for the job, too.
    pub free: u32,
    /// Those that are free on builders whose other jobs leave too little memory or disk for it.
    pub cramped: u32,
    /// Jobs of its SIG at work there, and how many may be.
    pub cap: Option<(u32, u32)>,
    /// Jobs of all SIGs that wait for the same slots and were there before.
    pub ahead: u32,
    /// How long the jobs at work and ahead will keep the slots busy, all together; `None` when nothing like them was
    /// ever done.
    pub busy: Option<Duration>,
}

/// The one answer.
#[must_use]
pub fn of_build(facts: &Facts<'_>) -> Why {
    match &facts.request.closed {
        Some(Closed { verdict: Verdict::Complete { .. }, .. }) => of_complete(facts),
        Some(Closed { verdict: Verdict::Failed { reason }, .. }) => of_failed(facts, reason),
        Some(Closed { verdict: Verdict::Cancelled { by }, .. }) => {
            Why::new(WhyCode::Cancelled, format!("{} was cancelled by {by}", facts.name)).next(facts.retry())
        }
        None => of_open(facts),
    }
}

fn of_complete(facts: &Facts<'_>) -> Why {
    match &facts.promotion {
        Some(standing) => of_promotion(standing),
        None if matches!(facts.request.kind, RequestKind::Scratch { .. }) => {
            let id = facts.request.id;
            Why::new(WhyCode::Done, format!("{} is built; a scratch build enters no repo", facts.name))
                .next(format!("grange download {id}"))
        }
        None => Why::new(WhyCode::Done, format!("{} is done", facts.name)),
    }
}

fn of_failed(facts: &Facts<'_>, reason: &str) -> Why {
    let id = facts.request.id;
    let (code, next) = if reason.starts_with(MISSING_SOURCE) {
        (
            WhyCode::MissingSource,
            format!("upload it with `grange lookaside upload`, then `grange retry {id}`"),
        )
    } else if NEEDS_ANOTHER.iter().any(|begin| reason.starts_with(begin)) {
        (WhyCode::FailedDependency, format!("mend what it needs, then `grange retry {id}`"))
    } else {
        (WhyCode::Failed, format!("grange log {id}"))
    };
    let failed = facts.jobs.iter().find(|job| job.outcome().is_some_and(|outcome| !outcome.passed()));
    let why = Why::new(code, format!("{} failed: {reason}", facts.name)).next(next);
    match failed {
        Some(job) => why.root(format!("job {}", job.id)),
        None => why,
    }
}

fn of_open(facts: &Facts<'_>) -> Why {
    let unsettled: Vec<&Job> = facts.jobs.iter().filter(|job| job.outcome().is_none()).collect();
    if unsettled.is_empty() {
        return of_planning(facts);
    }
    let answers = unsettled.iter().map(|job| (of_job(facts, job), *job));
    // What keeps a build from ever being done is said before what only takes time.
    let Some((mut why, job)) = answers.min_by_key(|(why, _)| gravity(why.code)) else {
        return of_planning(facts);
    };
    if unsettled.len() > 1 {
        let running = unsettled.iter().filter(|job| matches!(job.state, JobState::Building { .. })).count();
        why.sentence = format!("{} ({running} of {} jobs at work)", why.sentence, unsettled.len());
    }
    let known: Option<Vec<Stamp>> = unsettled.iter().map(|job| of_job(facts, job).ends).collect();
    why.ends = known.and_then(|ends| ends.into_iter().max()).map(|end| end + facts.afterwards(job));
    why
}

/// The order in which answers are given: the most serious first.
fn gravity(code: WhyCode) -> u8 {
    match code {
        WhyCode::NoBuilder => 0,
        WhyCode::WaitingForLease => 1,
        WhyCode::BackingOff => 2,
        WhyCode::HeldByCap => 3,
        WhyCode::WaitingForSlot => 4,
        _ => 5,
    }
}

/// Nothing of it is at work: its builds are not planned yet.
fn of_planning(facts: &Facts<'_>) -> Why {
    if let Some(blocker) = facts.blockers.first() {
        let others = match facts.blockers.len() - 1 {
            0 => String::new(),
            more => format!(", and for {more} more"),
        };
        let Blocker { request, package, .. } = blocker;
        return Why::new(
            WhyCode::WaitingForChain,
            format!("{} waits for {package}{others}: it {}", facts.name, blocker.sentence()),
        )
        .root(format!("build {request}"))
        .next(format!("grange why {request}"));
    }
    if let Some(repo) = &facts.behind {
        return repo.why(&facts.name);
    }
    Why::new(WhyCode::Running, format!("{}: the farm is taking its next step", facts.name))
}

fn of_job(facts: &Facts<'_>, job: &Job) -> Why {
    let what = format!("{} on {}", job.kind.label(), job.arch);
    match &job.state {
        JobState::Waiting { not_before } => of_waiting(facts, job, *not_before),
        JobState::Offered { builder, .. } => Why {
            starts: Some(facts.now),
            ends: facts.usual(job).map(|usual| facts.now + usual),
            ..Why::new(WhyCode::Running, format!("{what} is offered to builder {builder}"))
        },
        JobState::Building { builder, lease, .. } if facts.silent.contains(builder) => {
            let left = span(*lease - facts.now);
            Why::new(
                WhyCode::WaitingForLease,
                format!("{what}: builder {builder} is silent; if it stays so, another takes over in {left}"),
            )
            .root(format!("builder {builder}"))
        }
        JobState::Building { builder, started, .. } => {
            let since = span(facts.now - *started);
            Why {
                starts: Some(*started),
                ends: facts.usual(job).map(|usual| (*started + usual).max(facts.now)),
                ..Why::new(WhyCode::Running, format!("{what} has been running on {builder} for {since}"))
            }
        }
        JobState::Stopping { builder, by, .. } => Why::new(
            WhyCode::Cancelled,
            format!("{what}: {by} cancelled it; builder {builder} is stopping it"),
        )
        .root(format!("builder {builder}")),
        JobState::Done { .. } => Why::new(WhyCode::Done, format!("{what} is done")),
    }
}

fn of_waiting(facts: &Facts<'_>, job: &Job, not_before: Stamp) -> Why {
    let what = format!("{} on {}", job.kind.label(), job.arch);
    let lane = facts.lanes.get(&job.arch).cloned().unwrap_or_default();
    if let Some(nobody) = lane.nobody {
        return Why::new(WhyCode::NoBuilder, format!("{what}: {nobody}"))
            .root(format!("builders for {}", job.arch))
            .next("an operator: `grange builders` shows who is here; start a builder for it".to_owned());
    }
    if not_before > facts.now {
        let (pause, last) = (span(not_before - facts.now), job.history.last());
        let because = last.map_or(String::new(), |last| format!(": {} on {}", last.why, last.builder));
        return Why {
            starts: Some(not_before),
            ends: facts.usual(job).map(|usual| not_before + usual),
            ..Why::new(
                WhyCode::BackingOff,
                format!("{what} is tried again in {pause}, after a fault of the farm{because}"),
            )
        };
    }
    let starts = lane.starts(facts.now);
    let times = Why {
        starts,
        ends: starts.zip(facts.usual(job)).map(|(starts, usual)| starts + usual),
        ..Why::new(WhyCode::WaitingForSlot, String::new())
    };
    if let Some((running, cap)) = lane.cap
        && running >= cap
    {
        let sig = &job.sig;
        return Why {
            code: WhyCode::HeldByCap,
            sentence: format!("{what}: {sig} has {running} of its {cap} jobs at work there"),
            next: Some(format!("wait, or raise `cap` in the [share] of {sig}'s template")),
            ..times
        };
    }
    let sentence = match lane.ahead {
        0 if lane.free > 0 => format!("{what} is about to be offered to a builder"),
        _ if lane.free == 0 && lane.cramped > 0 => {
            let Limits { memory_mb, disk_mb, .. } = &job.recipe.limits;
            format!(
                "{what} waits until builders have room: it may use {memory_mb} MiB of memory and {disk_mb} MiB of disk, \
                 and where a slot is free other jobs leave less"
            )
        }
        0 => format!("{what} is the next to get a slot; all {} are busy", lane.slots),
        ahead => format!("{what} waits for one of {} slots, {ahead} jobs before it", lane.slots),
    };
    Why { sentence, ..times }
}

impl Lane {
    /// When a job that waits now is likely to begin: when the slots have done what is before it.
    fn starts(&self, now: Stamp) -> Option<Stamp> {
        self.busy.filter(|_| self.slots > 0).map(|busy| now + busy / self.slots)
    }
}

impl Facts<'_> {
    fn usual(&self, job: &Job) -> Option<Duration> {
        self.usual.get(&(job.kind.label(), job.arch)).copied()
    }

    /// How long the build usually goes on after a job of its present kind.
    fn afterwards(&self, job: &Job) -> Duration {
        let builds = self.usual.iter().filter(|((label, _), _)| *label == JobKind::Build.label());
        match job.kind {
            JobKind::Srpm => builds.map(|(_, usual)| *usual).max().unwrap_or_default(),
            JobKind::Build | JobKind::Test { .. } => Duration::ZERO,
        }
    }

    fn retry(&self) -> String {
        format!("grange retry {}", self.request.id)
    }
}
