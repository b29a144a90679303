//! The page of a promotion: where it stands, what is required, what was shown, what was waived.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use farm::api::PromotionView;
use farm::gate::{Requirement, TestVerdict, Waiver, WaiverScope, suite_key};
use farm::ids::PromotionId;
use farm::promotion::{Approval, Course, PromotionState};
use farm::stamp::Stamp;

use super::{Page, html, when};
use crate::http::extract::Path;
use crate::problem::Answer;
use crate::promotions;
use crate::state::Hub;

#[derive(Template)]
#[template(path = "promotion.html")]
struct Promotion {
    id: String,
    phase: &'static str,
    sentence: String,
    why: Vec<String>,
    nvrs: Vec<String>,
    remove: Vec<String>,
    stack: String,
    reason: String,
    to: String,
    target: String,
    by: String,
    approvals: String,
    behind: String,
    signer: String,
    created: String,
    request: String,
    is_back: bool,
    rows: Vec<Row>,
    waivers: Vec<WaiverRow>,
}

struct Row {
    suite: String,
    arch: &'static str,
    verdict: &'static str,
    reason: String,
    at: String,
}

struct WaiverRow {
    suite: String,
    about: String,
    by: String,
    reason: String,
    made: String,
    holds: String,
}

/// `/promotions/<id>`
pub(in crate::http) async fn show(
    State(hub): State<Hub>,
    Path(id): Path<PromotionId>,
) -> Result<Response, Page> {
    page(&hub, id).await.and_then(|page| html(&page)).map_err(Page)
}

async fn page(hub: &Hub, id: PromotionId) -> Answer<Promotion> {
    let view = promotions::view(hub, id).await?;
    let (rows, now) = (rows(&view), hub.now());
    let PromotionView { promotion, sentence, waivers, behind, approvals_needed, signer, .. } = view;
    let (why, request) = match &promotion.state {
        PromotionState::Rejected { why, .. } => (why.clone(), None),
        PromotionState::InTesting { request, .. } => (Vec::new(), *request),
        PromotionState::Composing
        | PromotionState::Ready { .. }
        | PromotionState::Approved { .. }
        | PromotionState::Publishing { .. }
        | PromotionState::Published { .. }
        | PromotionState::Withdrawn { .. } => (Vec::new(), None),
    };
    let reason = match &promotion.course {
        Course::Back { reason, .. } => reason.clone(),
        Course::Forward => String::new(),
    };
    Ok(Promotion {
        id: promotion.id.to_string(),
        phase: promotion.phase(),
        sentence,
        why,
        to: promotion.to.to_string(),
        created: when(promotion.created),
        request: request.map(|id| id.to_string()).unwrap_or_default(),
        is_back: promotion.course != Course::Forward,
        rows,
        waivers: waivers.into_iter().map(|waiver| waiver_row(waiver, now)).collect(),
        approvals: approvals(&promotion.approvals, approvals_needed),
        behind: behind.map(|id| id.to_string()).unwrap_or_default(),
        signer: signer.unwrap_or_default(),
        nvrs: promotion.nvrs,
        remove: promotion.remove,
        stack: promotion.stack.unwrap_or_default(),
        reason,
        target: promotion.target,
        by: promotion.by,
    })
}

/// `1 of 2: rex`; nothing where nobody's word is needed.
fn approvals(given: &[Approval], needed: usize) -> String {
    let by: Vec<&str> = given.iter().map(|approval| approval.by.as_str()).collect();
    match (needed, by.join(", ")) {
        (0, by) => by,
        (needed, by) if by.is_empty() => format!("0 of {needed}"),
        (needed, by) => format!("{} of {needed}: {by}", given.len()),
    }
}

fn waiver_row(waiver: Waiver, now: Stamp) -> WaiverRow {
    let holds = match &waiver.revoked {
        Some((by, at)) => format!("taken back by {by}, {}", when(*at)),
        None if waiver.until <= now => format!("expired {}", when(waiver.until)),
        None => format!("until {}", when(waiver.until)),
    };
    let arch = waiver.arch.map_or("all architectures", |arch| arch.as_str());
    WaiverRow {
        suite: format!("{} on {arch}", suite_key(&waiver.suite, waiver.on.as_deref())),
        about: match waiver.scope {
            WaiverScope::Content { content } => format!("content {}", content.short()),
            WaiverScope::Build { nvr, .. } => nvr,
        },
        by: waiver.by,
        reason: waiver.reason,
        made: when(waiver.made),
        holds,
    }
}

/// What is required, each with the newest result for it.
fn rows(view: &PromotionView) -> Vec<Row> {
    let row = |requirement: &Requirement| {
        let newest = view
            .results
            .iter()
            .filter(|result| result.suite == requirement.suite && result.on == requirement.on)
            .filter(|result| result.arch == requirement.arch)
            .max_by_key(|result| (result.at, result.job));
        let (verdict, reason) = match newest.map(|result| &result.verdict) {
            None => ("missing", String::new()),
            Some(TestVerdict::Passed) => ("passed", String::new()),
            Some(TestVerdict::Failed { reason }) => ("failed", reason.clone()),
            Some(TestVerdict::Errored { reason }) => ("errored", reason.clone()),
        };
        let at = newest.map(|result| when(result.at)).unwrap_or_default();
        Row { suite: requirement.key(), arch: requirement.arch.as_str(), verdict, reason, at }
    };
    view.required.iter().map(row).collect()
}
