//! What is counted for operators as it enters the ledger: here, because every change of state passes here, whichever process
//! makes it. A transaction that fails at its end counts too; that is rare, and no decision rests on these numbers.

use std::time::Duration;

use metrics::{counter, histogram};

use crate::job::{Event, Job, JobState};
use crate::outcome::Outcome;
use crate::promotion::{Promotion, PromotionState};
use crate::request::{Closed, Request};
use crate::stamp::Stamp;

/// A job's attempt that ended without settling it, in one word of what was the matter.
pub(super) fn trouble(event: &Event, before: &JobState) -> Option<&'static str> {
    match (event, before) {
        (Event::Lapse, JobState::Offered { .. }) => Some("offer-not-taken"),
        (Event::Lapse, JobState::Building { .. }) => Some("lease-lapsed"),
        (Event::Lapse, JobState::Stopping { .. }) => Some("stop-not-confirmed"),
        (Event::Finish { outcome: Outcome::FailedByFarm { .. }, .. }, _) => Some("farm-fault"),
        (Event::Forgotten { .. }, _) => Some("builder-restarted"),
        (Event::ShutOut { .. }, _) => Some("builder-shut-out"),
        (
            Event::Lapse
            | Event::Finish { .. }
            | Event::Offer { .. }
            | Event::Claim { .. }
            | Event::Beat { .. }
            | Event::Cancel { .. },
            _,
        ) => None,
    }
}

/// A job took a step.
pub(super) fn job(before: &Job, after: &Job, trouble: Option<&'static str>, now: Stamp) {
    if let Some(reason) = trouble {
        counter!("grange_attempts_ended_early_total", "reason" => reason).increment(1);
        if after.phase() == "waiting" {
            counter!("grange_jobs_requeued_total", "reason" => reason).increment(1);
        }
        if reason == "lease-lapsed" {
            counter!("grange_leases_lapsed_total").increment(1);
        }
    }
    let arch = after.arch.as_str();
    match (&before.state, &after.state) {
        (JobState::Offered { .. }, JobState::Building { .. }) if after.tries <= 1 => {
            histogram!("grange_job_wait_seconds", "arch" => arch).record(seconds(now - after.created));
        }
        (_, JobState::Done { at, started, outcome, builder: _ }) => {
            counter!("grange_jobs_done_total", "arch" => arch, "outcome" => word(outcome)).increment(1);
            if let Some(started) = started {
                histogram!("grange_job_run_seconds", "arch" => arch).record(seconds(*at - *started));
            }
        }
        (
            _,
            JobState::Waiting { .. }
            | JobState::Offered { .. }
            | JobState::Building { .. }
            | JobState::Stopping { .. },
        ) => {}
    }
}

/// A request was closed.
pub(super) fn request(request: &Request, closed: &Closed) {
    histogram!("grange_request_seconds", "kind" => request.kind.label())
        .record(seconds(closed.at - request.created));
}

/// A promotion took a step.
pub(super) fn promotion(after: &Promotion, now: Stamp) {
    let result = match &after.state {
        PromotionState::Published { .. } => "published",
        PromotionState::Rejected { .. } => "rejected",
        PromotionState::Withdrawn { .. } => "withdrawn",
        PromotionState::Composing
        | PromotionState::InTesting { .. }
        | PromotionState::Ready { .. }
        | PromotionState::Approved { .. }
        | PromotionState::Publishing { .. } => return,
    };
    histogram!("grange_promotion_seconds", "to" => after.to.as_str(), "result" => result)
        .record(seconds(now - after.created));
}

fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "passed",
        Outcome::FailedByPackage { .. } => "failed-by-package",
        Outcome::FailedByFarm { .. } => "failed-by-farm",
        Outcome::Cancelled { .. } => "cancelled",
        Outcome::Lost { .. } => "lost",
    }
}

fn seconds(span: Duration) -> f64 {
    span.as_secs_f64()
}
