//! The merge queue of one repo: which promotion is composed on top of which.
//!
//! Promotions to one repo are tested at the same time, each on the snapshot of the one ahead of it: what is published in the end
//! is what publishing one after the other would give. One that fails for itself leaves the queue, and those behind it are
//! composed and tested again without it. One that waits for a release manager's word holds up nobody: nothing is composed
//! on top of it until it has that word.

use crate::promotion::{Course, Promotion, PromotionState};
use crate::sig::{Project, Stage};
use crate::stamp::Stamp;

/// When a promotion took its place in the queue of its repo, if it has one: the moment it was opened, or had the last word it
/// needed of a release manager.
#[must_use]
pub fn place(promotion: &Promotion, project: &Project) -> Option<Stamp> {
    match promotion.to {
        Stage::Candidate | Stage::Testing => Some(promotion.created),
        Stage::Release => {
            let needed = usize::try_from(project.approvers.max(1)).unwrap_or(usize::MAX);
            promotion.approvals.get(needed - 1).map(|approval| approval.at.max(promotion.created))
        }
    }
}

/// The promotion that this one is composed on top of: the last of those ahead of it, or nothing when it is the first and so
/// composed on what is live. `unsettled` are promotions of the same target; those to other stages are passed over.
#[must_use]
pub fn ahead<'a>(
    promotion: &Promotion,
    unsettled: &'a [Promotion],
    project: &Project,
) -> Option<&'a Promotion> {
    if promotion.course != Course::Forward {
        // Back means now: whatever is on its way is composed again on top of it.
        return None;
    }
    let mine = place(promotion, project).map(|at| (at, promotion.id));
    unsettled
        .iter()
        .filter(|other| other.id != promotion.id && other.to == promotion.to && is_under_way(other))
        .filter_map(|other| place(other, project).map(|at| ((at, other.id), other)))
        .filter(|(theirs, _)| mine.is_none_or(|mine| *theirs < mine))
        .max_by_key(|(theirs, _)| *theirs)
        .map(|(_, other)| other)
}

/// Is it stepped on before those that must be composed, which takes long? Users wait for it, or stand on something bad.
#[must_use]
pub fn goes_first(promotion: &Promotion) -> bool {
    match promotion.state {
        PromotionState::Approved { .. } | PromotionState::Publishing { .. } => true,
        PromotionState::Composing
        | PromotionState::InTesting { .. }
        | PromotionState::Ready { .. }
        | PromotionState::Published { .. }
        | PromotionState::Rejected { .. }
        | PromotionState::Withdrawn { .. } => promotion.course != Course::Forward,
    }
}

/// Is it on its way to a snapshot that is not live yet? What goes back is composed on what is live, and nothing on top of it
/// before it is.
fn is_under_way(promotion: &Promotion) -> bool {
    match promotion.state {
        PromotionState::Composing
        | PromotionState::InTesting { .. }
        | PromotionState::Ready { .. }
        | PromotionState::Approved { .. } => promotion.course == Course::Forward,
        PromotionState::Publishing { .. }
        | PromotionState::Published { .. }
        | PromotionState::Rejected { .. }
        | PromotionState::Withdrawn { .. } => false,
    }
}
