//! Why a promotion is not moving.

use super::{Why, WhyCode};
use crate::promotion::{Promotion, PromotionState};
use crate::sig::Stage;

/// What a promotion's first reason begins with when a build asked for later has taken its build's place.
pub const SUPERSEDED: &str = "superseded";

/// Where a promotion stands, and whose turn it is. `missing` says what its tests have not shown yet, one sentence each.
#[must_use]
pub fn of_promotion(promotion: &Promotion, missing: &[String]) -> Why {
    let Promotion { id, nvrs, to, sig, .. } = promotion;
    let what = nvrs.join(", ");
    match &promotion.state {
        PromotionState::Composing => Why::new(
            WhyCode::WaitingForRepo,
            format!("the {to} repo as it would be with {what} is being composed"),
        )
        .root(format!("promotion {id}")),
        PromotionState::InTesting { request, .. } => {
            let shown = match missing {
                [] => "its tests are being asked for".to_owned(),
                some => some.join("; "),
            };
            let why = Why::new(WhyCode::Testing, format!("{what} is being tested for {to}: {shown}"));
            match request {
                Some(request) => {
                    why.root(format!("test run {request}")).next(format!("grange watch {request}"))
                }
                None => why.root(format!("promotion {id}")),
            }
        }
        PromotionState::Ready { .. } => Why::new(
            WhyCode::WaitingForApproval,
            format!("{what} has passed its tests for {to} and waits for a release manager of {sig}"),
        )
        .root(format!("promotion {id}"))
        .next(format!("a release manager of {sig}: grange promote {id}")),
        PromotionState::Approved { by, .. } | PromotionState::Publishing { by, .. } => {
            Why::new(WhyCode::Running, format!("{what} is being published to {to}, approved by {by}"))
        }
        PromotionState::Published { .. } => {
            let why = Why::new(WhyCode::Done, format!("{what} is in {to}"));
            match to {
                Stage::Candidate | Stage::Testing => why.next(format!("grange promote {what}")),
                Stage::Release => why,
            }
        }
        PromotionState::Rejected { why, .. } => {
            let first = why.first().map_or("", String::as_str);
            let code = if first.starts_with(SUPERSEDED) { WhyCode::Superseded } else { WhyCode::Gate };
            let answer = Why::new(code, format!("{what} did not reach {to}: {}", why.join("; ")))
                .root(format!("promotion {id}"));
            match code {
                WhyCode::Superseded => answer,
                _ => answer.next(format!(
                    "grange promotions {id} has the results; mend it and push again, or `grange promote --to {to} {what}`"
                )),
            }
        }
        PromotionState::Withdrawn { by, .. } => {
            Why::new(WhyCode::Cancelled, format!("{by} withdrew the promotion of {what} to {to}"))
                .root(format!("promotion {id}"))
                .next(format!("grange promote --to {to} {what}"))
        }
    }
}
