//! The page of a promotion: where it stands, what is required, what was shown.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use farm::api::PromotionView;
use farm::gate::TestVerdict;
use farm::ids::PromotionId;
use farm::promotion::PromotionState;

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
    to: String,
    target: String,
    by: String,
    approver: String,
    created: String,
    request: String,
    rows: Vec<Row>,
}

struct Row {
    suite: String,
    arch: &'static str,
    verdict: &'static str,
    reason: String,
    at: String,
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
    let rows = rows(&view);
    let PromotionView { promotion, sentence, results: _, required: _ } = view;
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
    Ok(Promotion {
        id: promotion.id.to_string(),
        phase: promotion.phase(),
        sentence,
        why,
        to: promotion.to.to_string(),
        created: when(promotion.created),
        request: request.map(|id| id.to_string()).unwrap_or_default(),
        rows,
        nvrs: promotion.nvrs,
        target: promotion.target,
        by: promotion.by,
        approver: promotion.approver.unwrap_or_default(),
    })
}

/// What is required, each with the newest result for it.
fn rows(view: &PromotionView) -> Vec<Row> {
    let row = |requirement: &farm::gate::Requirement| {
        let newest = view
            .results
            .iter()
            .filter(|result| result.suite == requirement.suite && result.arch == requirement.arch)
            .max_by_key(|result| (result.at, result.job));
        let (verdict, reason) = match newest.map(|result| &result.verdict) {
            None => ("missing", String::new()),
            Some(TestVerdict::Passed) => ("passed", String::new()),
            Some(TestVerdict::Failed { reason }) => ("failed", reason.clone()),
            Some(TestVerdict::Errored { reason }) => ("errored", reason.clone()),
        };
        let at = newest.map(|result| when(result.at)).unwrap_or_default();
        Row { suite: requirement.suite.clone(), arch: requirement.arch.as_str(), verdict, reason, at }
    };
    view.required.iter().map(row).collect()
}
