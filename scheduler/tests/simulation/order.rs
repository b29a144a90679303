//! What must be so when a tick has ended well: said again in plain words, without the code that decided it.

use std::collections::BTreeMap;
use std::time::Duration;

use farm::arch::Arch;
use farm::builder::{Builder, Condition};
use farm::dispatch::Loads;
use farm::ids::JobId;
use farm::job::{Job, JobState};
use farm::stamp::Stamp;
use scheduler::Config;

use crate::jobs::{FLOOD, SMALL, USUAL_MB};
use crate::watch::is_active;

pub(crate) struct Order<'a> {
    /// How the jobs were when the tick began, and how they are now.
    pub(crate) before: &'a BTreeMap<JobId, Job>,
    pub(crate) jobs: &'a BTreeMap<JobId, Job>,
    pub(crate) builders: &'a [Builder],
    pub(crate) loads: &'a Loads,
    pub(crate) config: &'a Config,
    pub(crate) now: Stamp,
    /// The slots and the memory that each builder has left; `None` while it takes nothing.
    pub(crate) rooms: BTreeMap<&'a str, Option<(u32, u64)>>,
}

impl<'a> Order<'a> {
    /// Gives how many jobs were offered to builders that emulate.
    pub(crate) fn check(&self) -> u64 {
        self.caps_hold();
        // While a wide job is waited for, slots may stay free, and it may go before its turn.
        if !self
            .waiting()
            .any(|(job, since)| is_wide(job) && self.waited(since, self.config.dispatch.reserve_after_ms))
        {
            self.no_slot_is_idle();
            self.nobody_is_passed_over();
        }
        let emulated = self.offered().filter(|(job, builder)| !builder.arches.contains(&job.arch));
        u64::try_from(emulated.count()).unwrap()
    }

    /// A job whose lease ran out in this tick.
    pub(crate) fn fell_silent(&self) -> Option<&'a Job> {
        let was_at_work = |job: &&Job| {
            self.before.get(&job.id).is_some_and(|before| matches!(before.state, JobState::Building { .. }))
        };
        self.jobs
            .values()
            .filter(was_at_work)
            .find(|job| !is_active(job) || job.turn > self.before[&job.id].turn)
    }

    fn caps_hold(&self) {
        for ((sig, arch), held) in &self.loads.held {
            let cap = self.loads.share(sig).cap;
            assert!(
                cap.is_none_or(|cap| *held <= cap),
                "{sig} has {held} jobs on {arch}, its cap is {cap:?}"
            );
        }
    }

    /// Jobs that could be offered, and since when.
    fn waiting(&self) -> impl Iterator<Item = (&'a Job, Stamp)> {
        let now = self.now;
        self.jobs.values().filter_map(move |job| match job.state {
            JobState::Waiting { not_before } if not_before <= now => Some((job, not_before)),
            JobState::Waiting { .. }
            | JobState::Offered { .. }
            | JobState::Building { .. }
            | JobState::Stopping { .. }
            | JobState::Done { .. } => None,
        })
    }

    /// Jobs that this tick offered, and to whom.
    fn offered(&self) -> impl Iterator<Item = (&'a Job, &'a Builder)> {
        let (before, builders) = (self.before, self.builders);
        self.jobs
            .values()
            .filter(|job| matches!(job.state, JobState::Offered { .. }))
            .filter(|job| before.get(&job.id).is_none_or(|before| before.turn < job.turn))
            .filter_map(|job| {
                Some((job, builders.iter().find(|builder| job.builder() == Some(&builder.name))?))
            })
    }

    fn waited(&self, since: Stamp, ms: u64) -> bool {
        self.now - since >= Duration::from_millis(ms)
    }

    fn may_go_to(&self, job: &Job, since: Stamp, builder: &Builder) -> bool {
        let native = self.builders.iter().any(|builder| {
            self.rooms[builder.name.as_str()].is_some()
                && builder.arches.contains(&job.arch)
                && job.recipe.limits.memory_mb <= builder.memory_mb
        });
        let emulate = !native || self.waited(since, self.config.dispatch.emulate_after_ms);
        builder.arches.contains(&job.arch) || (emulate && builder.emulated.contains(&job.arch))
    }

    fn no_slot_is_idle(&self) {
        for (job, since) in self.waiting().filter(|(job, _)| job.history.is_empty()) {
            let held = self.loads.held.get(&(job.sig.clone(), job.arch)).copied().unwrap_or(0);
            if self.loads.share(&job.sig).cap.is_some_and(|cap| held >= cap) {
                continue;
            }
            for builder in self.builders {
                let suits = self.rooms[builder.name.as_str()].is_some_and(|(slots, memory_mb)| {
                    slots > 0
                        && memory_mb >= job.recipe.limits.memory_mb
                        && self.may_go_to(job, since, builder)
                });
                assert!(!suits, "{} could do it, and {job:?} waits", builder.name);
            }
        }
    }

    /// Whoever was served had used no more than the small SIG, if what it was given would have suited that.
    fn nobody_is_passed_over(&self) {
        let used = |sig: &str, arch: Arch| -> u64 {
            let of = |((owner, on, _), ms): (&(String, Arch, _), &u64)| {
                (owner == sig && *on == arch).then_some(*ms)
            };
            self.loads.used_ms.iter().filter_map(of).sum()
        };
        for (small, since) in self.waiting().filter(|(job, _)| job.sig == SMALL && job.history.is_empty()) {
            let mut instead =
                self.offered().filter(|(job, _)| job.sig == FLOOD && job.arch == small.arch).peekable();
            let need = small.recipe.limits.memory_mb;
            // A wide job may have had a builder kept for it.
            if instead.peek().is_none()
                || self.offered().any(|(job, _)| is_wide(job))
                || !instead.all(|(job, builder)| {
                    job.recipe.limits.memory_mb >= need && self.may_go_to(small, since, builder)
                })
            {
                continue;
            }
            // What was offered just now counts as one charge already.
            let theirs = used(FLOOD, small.arch) - self.config.dispatch.charge_ms;
            let own = used(SMALL, small.arch);
            assert!(
                theirs <= own + 1,
                "{small:?} waits; its SIG has used {own} ms, the one served {theirs} ms"
            );
        }
    }
}

fn is_wide(job: &Job) -> bool {
    job.recipe.limits.memory_mb > USUAL_MB
}

/// The slots and the memory that each builder has left; `None` while it takes nothing.
pub(crate) fn rooms<'a>(
    jobs: &BTreeMap<JobId, Job>,
    builders: &'a [Builder],
    config: &Config,
    now: Stamp,
) -> BTreeMap<&'a str, Option<(u32, u64)>> {
    let silent = Duration::from_millis(config.silent_ms);
    let room = |builder: &Builder| {
        let held: Vec<&Job> =
            jobs.values().filter(|job| is_active(job) && job.builder() == Some(&builder.name)).collect();
        match builder.condition(u32::try_from(held.len()).unwrap(), now, silent) {
            Condition::Free { slots } => {
                let used: u64 = held.iter().map(|job| job.recipe.limits.memory_mb).sum();
                Some((slots, builder.memory_mb - used))
            }
            Condition::Draining | Condition::ClockOff { .. } | Condition::Silent | Condition::Disabled => {
                None
            }
        }
    };
    builders.iter().map(|builder| (builder.name.as_str(), room(builder))).collect()
}
