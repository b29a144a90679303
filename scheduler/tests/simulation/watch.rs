//! What must be so at every moment, whatever fails.

use std::collections::BTreeMap;

use farm::ids::JobId;
use farm::job::{Job, JobState, Patience};
use farm::outcome::Outcome;
use farm::stamp::Stamp;

use crate::builder::Builder;
use crate::jobs::{FLOOD, SMALL};

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
        }
    }

    fn held(&self, builder: &str) -> usize {
        self.seen.values().filter(|job| is_active(job) && job.builder() == Some(builder)).count()
    }

    fn load(&self, sig: &str) -> usize {
        self.seen.values().filter(|job| is_active(job) && job.sig == sig).count()
    }

    /// A tick has ended well: nothing that could be offered was left, and the small SIG was not passed over.
    /// `before` is how the jobs were when it began; `free` says how many slots of a builder the ledger counts as free.
    pub(crate) fn ticked(
        &self,
        before: &BTreeMap<JobId, Job>,
        now: Stamp,
        builders: &[Builder],
        free: impl Fn(&Builder, usize) -> u32,
    ) {
        let left = |sig: Option<&str>| {
            let due: Vec<&Job> = self
                .seen
                .values()
                .filter(|job| matches!(job.state, JobState::Waiting { not_before } if not_before <= now))
                .filter(|job| sig.is_none_or(|sig| job.sig == sig))
                .collect();
            due
        };
        for builder in builders {
            let free = free(builder, self.held(&builder.name));
            let left = left(None).into_iter().find(|job| builder.arches.contains(&job.arch));
            assert!(free == 0 || left.is_none(), "{} has free slots, and {left:?} waits", builder.name);
        }
        let offered_to: Vec<&Builder> = self
            .seen
            .values()
            .filter(|job| job.sig == FLOOD && before.get(&job.id).is_none_or(|before| before.turn < job.turn))
            .filter_map(|job| builders.iter().find(|builder| job.builder() == Some(&builder.name)))
            .collect();
        if offered_to.is_empty() {
            return;
        }
        for small in left(Some(SMALL)) {
            if offered_to.iter().all(|builder| builder.arches.contains(&small.arch)) {
                assert!(self.load(FLOOD) <= self.load(SMALL) + 1, "the small SIG starves: {small:?} waits");
            }
        }
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

fn is_active(job: &Job) -> bool {
    match job.state {
        JobState::Offered { .. } | JobState::Building { .. } | JobState::Stopping { .. } => true,
        JobState::Waiting { .. } | JobState::Done { .. } => false,
    }
}
