//! What must be so at every moment, whatever fails.

use std::collections::BTreeMap;

use farm::ids::JobId;
use farm::job::{Job, JobState, Patience};
use farm::outcome::Outcome;

use crate::builder::Builder;

/// Remembers how every job was, and compares.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    seen: BTreeMap<JobId, Job>,
    finished: BTreeMap<JobId, Vec<(u32, Outcome)>>,
    cancelled: BTreeMap<JobId, String>,
}

impl Watch {
    pub(crate) fn jobs(&self) -> &BTreeMap<JobId, Job> {
        &self.seen
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.seen.values().all(|job| job.outcome().is_some())
    }

    /// A finish was written.
    pub(crate) fn finish(&mut self, job: &Job, turn: u32, outcome: Outcome) {
        assert_eq!(turn, job.turn, "a finish of an older turn was taken in");
        self.finished.entry(job.id).or_default().push((turn, outcome));
    }

    /// A cancel was written.
    pub(crate) fn cancel(&mut self, job: &Job, by: &str) {
        self.cancelled.entry(job.id).or_insert_with(|| by.to_owned());
    }

    /// Compares every job with how it was, and the builders' attempts with the jobs.
    pub(crate) fn look(&mut self, jobs: Vec<Job>, builders: &[Builder], patience: &Patience) {
        for job in jobs {
            if let Some(before) = self.seen.get(&job.id) {
                assert!(job.turn >= before.turn && job.turn <= before.turn + 1, "{before:?} -> {job:?}");
                assert!(job.tries >= before.tries && job.tries <= job.turn, "{before:?} -> {job:?}");
                if before.outcome().is_some() {
                    assert_eq!(before, &job, "what is settled never changes");
                }
            }
            assert!(job.tries <= patience.max_tries, "{job:?}");
            if let Some(by) = self.cancelled.get(&job.id) {
                match &job.state {
                    JobState::Stopping { .. } => {}
                    JobState::Done { outcome, .. } => {
                        assert_eq!(outcome, &Outcome::Cancelled { by: by.clone() })
                    }
                    JobState::Waiting { .. } | JobState::Offered { .. } | JobState::Building { .. } => {
                        panic!("a cancelled job goes on: {job:?}")
                    }
                }
            }
            let admitted = builders
                .iter()
                .flat_map(|builder| &builder.attempts)
                .filter(|attempt| attempt.job == job.id && job.admits(attempt.turn, &attempt.token))
                .count();
            assert!(admitted <= 1, "two attempts may upload: {job:?}");
            self.seen.insert(job.id, job);
        }
        for builder in builders {
            let held = self.held(&builder.name);
            assert!(held <= builder.slots as usize, "{} has {held} jobs", builder.name);
            let memory: u64 = self.held_by(&builder.name).map(|job| job.recipe.limits.memory_mb).sum();
            assert!(memory <= builder.memory_mb, "{} has jobs that may use {memory} MiB", builder.name);
        }
    }

    fn held(&self, builder: &str) -> usize {
        self.held_by(builder).count()
    }

    fn held_by(&self, builder: &str) -> impl Iterator<Item = &Job> {
        self.seen.values().filter(move |job| is_active(job) && job.builder() == Some(builder))
    }

    /// Everything is over: what passed was reported once, and nothing else counts as passed.
    pub(crate) fn closed(&self) {
        for job in self.seen.values() {
            let finished = self.finished.get(&job.id).map(Vec::as_slice).unwrap_or_default();
            let passed = finished.iter().filter(|(_, outcome)| outcome.passed()).count();
            if job.passed() {
                assert_eq!(passed, 1, "{finished:?} {job:?}");
                assert_eq!(finished.last(), Some(&(job.turn, Outcome::Passed)), "{job:?}");
            } else {
                assert!(passed == 0 || self.cancelled.contains_key(&job.id), "{finished:?} {job:?}");
            }
            if let Some(Outcome::Lost { tries }) = job.outcome() {
                assert_eq!(*tries, job.tries);
                assert_eq!(
                    job.history.iter().filter(|attempt| attempt.started.is_some()).count() + 1,
                    *tries as usize
                );
            }
        }
    }
}

pub(crate) fn is_active(job: &Job) -> bool {
    match job.state {
        JobState::Offered { .. } | JobState::Building { .. } | JobState::Stopping { .. } => true,
        JobState::Waiting { .. } | JobState::Done { .. } => false,
    }
}
