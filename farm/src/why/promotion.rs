//! Why a promotion is not moving.

use super::{RepoBehind, Why, WhyCode};
use crate::ids::{PromotionId, RequestId};
use crate::promotion::{Course, Promotion, PromotionState};
use crate::sig::Stage;

/// What a promotion's first reason begins with when a build asked for later has taken its build's place.
pub const SUPERSEDED: &str = "superseded";

/// A promotion, and what it depends on besides itself.
#[derive(Debug, Clone)]
pub struct Standing<'a> {
    /// It.
    pub promotion: &'a Promotion,
    /// What its tests have not shown yet, one sentence each.
    pub missing: Vec<String>,
    /// The promotion ahead of it in the queue of its repo.
    pub behind: Option<PromotionId>,
    /// A repo below it, or below what is layered on it, that must be composed before it is or before the gate answers.
    pub below: Option<RepoBehind>,
    /// How many release managers must approve it.
    pub approvers: u32,
    /// What the signer said last, if it has said anything about it that is not a signature.
    pub signer: Option<String>,
    /// What went wrong when a hub tried to take it on, if that failed last time.
    pub trouble: Option<String>,
}

impl<'a> Standing<'a> {
    /// A promotion that nothing else is known of.
    #[must_use]
    pub fn alone(promotion: &'a Promotion) -> Self {
        Self {
            promotion,
            missing: Vec::new(),
            behind: None,
            below: None,
            approvers: 1,
            signer: None,
            trouble: None,
        }
    }

    /// `1 of 2 approvals, by rex`
    #[must_use]
    pub fn approvals(&self) -> String {
        let by: Vec<&str> = self.promotion.approvals.iter().map(|approval| approval.by.as_str()).collect();
        let by = if by.is_empty() { String::new() } else { format!(", by {}", by.join(" and ")) };
        format!("{} of {} approvals{by}", self.promotion.approvals.len(), self.approvers)
    }

    /// Does it still need a release manager's word?
    #[must_use]
    pub fn needs_word(&self) -> bool {
        needed(self.promotion, self.approvers) > self.promotion.approvals.len()
    }
}

/// How many release managers' words a promotion needs, of a project that asks for `approvers`.
#[must_use]
pub fn needed(promotion: &Promotion, approvers: u32) -> usize {
    match (&promotion.course, promotion.to) {
        (Course::Back { .. }, _) => 1,
        (Course::Forward, Stage::Release) => usize::try_from(approvers.max(1)).unwrap_or(usize::MAX),
        (Course::Forward, Stage::Candidate | Stage::Testing) => 0,
    }
}

/// Where a promotion stands, and whose turn it is.
#[must_use]
pub fn of_promotion(standing: &Standing<'_>) -> Why {
    let promotion = standing.promotion;
    let Promotion { id, to, .. } = promotion;
    let (head, here) = (promotion.headline(), format!("promotion {id}"));
    if let Some(trouble) = standing.trouble.as_ref().filter(|_| !promotion.is_settled()) {
        let what = format!("{head} cannot go on: {trouble}; it is tried again and again");
        return Why::new(WhyCode::BackingOff, what).root(here);
    }
    match &promotion.state {
        PromotionState::Composing => match (&standing.below, standing.behind) {
            // What is ahead waits for that, too, or has what it needs of it.
            (Some(repo), _) => repo.why(&format!("{head}: it")),
            (None, Some(ahead)) => behind(&head, "it is composed on top of that one", ahead),
            (None, None) => Why::new(
                WhyCode::WaitingForRepo,
                format!("{head}: the repo as it would be is being composed"),
            )
            .root(here),
        },
        PromotionState::InTesting { request, .. } => in_testing(standing, *request),
        PromotionState::Ready { .. } => ready(standing),
        PromotionState::Approved { by, .. } => match &standing.signer {
            Some(said) => {
                let what = format!("{head} is approved by {by} and waits for the signer: {said}");
                Why::new(WhyCode::WaitingForSigner, what).root(here)
            }
            None => {
                let what = format!("{head} is approved by {by}, and is being signed and published");
                Why::new(WhyCode::Running, what)
            }
        },
        PromotionState::Publishing { by, .. } => {
            Why::new(WhyCode::Running, format!("{head} is being published, approved by {by}"))
        }
        PromotionState::Published { .. } => published(promotion),
        PromotionState::Rejected { why, .. } => {
            let first = why.first().map_or("", String::as_str);
            let is_superseded = first.starts_with(SUPERSEDED);
            let code = if is_superseded { WhyCode::Superseded } else { WhyCode::Gate };
            let what = match promotion.course {
                Course::Forward => format!("{} did not reach {to}", promotion.what()),
                Course::Back { .. } => format!("{head} was refused"),
            };
            let answer = Why::new(code, format!("{what}: {}", why.join("; "))).root(here);
            if is_superseded {
                return answer;
            }
            let again = promotion.again().map_or_else(String::new, |again| format!(", or `{again}`"));
            answer.next(format!("grange promotions {id} has the results; mend it and push again{again}"))
        }
        PromotionState::Withdrawn { by, .. } => {
            let answer =
                Why::new(WhyCode::Cancelled, format!("{by} withdrew the promotion: {head}")).root(here);
            match promotion.again() {
                Some(again) => answer.next(again),
                None => answer,
            }
        }
    }
}

fn published(promotion: &Promotion) -> Why {
    let Promotion { to, nvrs, .. } = promotion;
    if promotion.course != Course::Forward {
        return Why::new(WhyCode::Done, format!("{}: users see it", promotion.headline()));
    }
    if nvrs.is_empty() && promotion.brings.is_some() {
        return Why::new(WhyCode::Done, format!("{} are in {to}", promotion.what()));
    }
    if nvrs.is_empty() {
        return Why::new(WhyCode::Done, format!("{} is not in {to} any more", promotion.remove.join(", ")));
    }
    let why = Why::new(WhyCode::Done, format!("{} is in {to}", promotion.what()));
    match to {
        Stage::Candidate | Stage::Testing => why.next(format!("grange promote {}", nvrs.join(" "))),
        Stage::Release => why,
    }
}

fn in_testing(standing: &Standing<'_>, request: Option<RequestId>) -> Why {
    let promotion = standing.promotion;
    if promotion.course != Course::Forward {
        let what =
            format!("{}: it was published before, so that only the gate is asked", promotion.headline());
        return Why::new(WhyCode::Testing, what).root(format!("promotion {}", promotion.id));
    }
    let (what, to) = (promotion.what(), promotion.to);
    let shown = match (standing.missing.as_slice(), standing.behind) {
        ([], Some(ahead)) => format!("as it would be on top of promotion {ahead}, which comes first"),
        ([], None) => "its tests are being asked for".to_owned(),
        (some, _) => some.join("; "),
    };
    let waits = standing.behind.filter(|_| standing.missing.is_empty());
    let code = if waits.is_some() { WhyCode::WaitingForQueue } else { WhyCode::Testing };
    let why = Why::new(code, format!("{what} is being tested for {to}: {shown}"));
    match (request, waits) {
        (Some(request), _) => why.root(format!("test run {request}")).next(format!("grange watch {request}")),
        (None, Some(ahead)) => why.root(format!("promotion {ahead}")).next(format!("grange why {ahead}")),
        (None, None) => why.root(format!("promotion {}", promotion.id)),
    }
}

/// Its tests have passed.
fn ready(standing: &Standing<'_>) -> Why {
    let Promotion { id, sig, to, approvals, .. } = standing.promotion;
    let subject = match standing.promotion.course {
        Course::Forward => format!("{} has passed its tests for {to}", standing.promotion.what()),
        Course::Back { .. } => standing.promotion.headline(),
    };
    if standing.needs_word() {
        let count =
            if standing.approvers > 1 { format!(" ({})", standing.approvals()) } else { String::new() };
        let whom = if approvals.is_empty() { "a" } else { "another" };
        let what = format!("{subject} and waits for {whom} release manager of {sig}{count}");
        return Why::new(WhyCode::WaitingForApproval, what)
            .root(format!("promotion {id}"))
            .next(format!("{whom} release manager of {sig}: grange promote {id}"));
    }
    match standing.behind {
        Some(ahead) => behind(&subject, "it is approved", ahead),
        None => {
            let what = format!("{subject} and is approved; the gate is being asked");
            Why::new(WhyCode::Running, what).root(format!("promotion {id}"))
        }
    }
}

fn behind(subject: &str, what: &str, ahead: PromotionId) -> Why {
    let sentence =
        format!("{subject}: {what}, and follows promotion {ahead}, which is ahead in the queue of its repo");
    Why::new(WhyCode::WaitingForQueue, sentence)
        .root(format!("promotion {ahead}"))
        .next(format!("grange why {ahead}"))
}
