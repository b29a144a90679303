//! States in words, each with its tone.

use farm::api::JobView;
use farm::builder::Condition;
use farm::outcome::Outcome;
use farm::promotion::{Promotion, PromotionState};
use farm::request::Status;

use super::Cell;
use crate::screen::Tone;

/// A request's status.
#[must_use]
pub fn request_status(status: Status) -> Cell {
    let tone = match status {
        Status::Queued => Tone::Dim,
        Status::Running => Tone::Busy,
        Status::Complete => Tone::Good,
        Status::Failing | Status::Failed => Tone::Bad,
        Status::Cancelled => Tone::Dim,
    };
    Cell::new(tone, status.as_str())
}

/// Where a job stands, in one word and its tone.
#[must_use]
pub fn job_state(job: &JobView) -> (Tone, &str) {
    match &job.outcome {
        Some(Outcome::Passed) => (Tone::Good, "passed"),
        Some(Outcome::FailedByPackage { .. }) => (Tone::Bad, "failed"),
        Some(Outcome::FailedByFarm { .. }) => (Tone::Bad, "farm failed"),
        Some(Outcome::Lost { .. }) => (Tone::Bad, "lost"),
        Some(Outcome::Cancelled { .. }) => (Tone::Dim, "cancelled"),
        None if job.phase == "building" || job.phase == "stopping" => (Tone::Busy, &job.phase),
        None => (Tone::Dim, &job.phase),
    }
}

/// Where a promotion stands.
#[must_use]
pub fn promotion_phase(promotion: &Promotion) -> Cell {
    let tone = match &promotion.state {
        PromotionState::Composing | PromotionState::InTesting { .. } => Tone::Busy,
        PromotionState::Ready { .. } => Tone::Strong,
        PromotionState::Approved { .. } | PromotionState::Publishing { .. } => Tone::Busy,
        PromotionState::Published { .. } => Tone::Good,
        PromotionState::Rejected { .. } => Tone::Bad,
        PromotionState::Withdrawn { .. } => Tone::Dim,
    };
    Cell::new(tone, promotion.phase())
}

/// A builder's state.
#[must_use]
pub fn condition(condition: Condition) -> Cell {
    match condition {
        Condition::Free { slots: 0 } => Cell::new(Tone::Busy, "busy"),
        Condition::Free { slots } => Cell::new(Tone::Good, format!("{slots} free")),
        Condition::Draining => Cell::new(Tone::Dim, "draining"),
        Condition::ClockOff { ahead_ms } => {
            Cell::new(Tone::Bad, format!("clock off by {} s", ahead_ms / 1000))
        }
        Condition::Silent => Cell::new(Tone::Bad, "silent"),
        Condition::Disabled => Cell::new(Tone::Dim, "disabled"),
    }
}

/// `1 build`, `2 builds`
#[must_use]
pub(super) fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// `1.4 MiB`
#[must_use]
pub fn size(bytes: u64) -> String {
    const STEP: u64 = 1024;
    let units = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < STEP {
        return format!("{bytes} B");
    }
    let mut unit = STEP;
    let mut names = units.iter();
    let mut name = names.next();
    while bytes / unit >= STEP {
        let Some(larger) = names.next() else { break };
        name = Some(larger);
        unit *= STEP;
    }
    let tenths = bytes / (unit / 10).max(1);
    format!("{}.{} {}", tenths / 10, tenths % 10, name.unwrap_or(&""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits_or_so() {
        for (bytes, expected) in [
            (17, "17 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (5 << 20, "5.0 MiB"),
            (3 << 30, "3.0 GiB"),
            (5 << 50, "5120.0 TiB"),
        ] {
            assert_eq!(size(bytes), expected);
        }
    }
}
