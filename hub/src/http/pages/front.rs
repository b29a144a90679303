//! The front page: what is going on.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use farm::api::BuilderView;
use farm::arch::Arch;
use farm::builder::Condition;
use farm::ledger::{PromotionFilter, RequestFilter};
use farm::sig::{Project, Stage};

use super::{Page, html, when};
use crate::http::view;
use crate::problem::Answer;
use crate::repos::dotrepo::public_path;
use crate::state::Hub;

/// Builds shown.
const BUILDS: u32 = 30;
/// Unsettled promotions shown.
const PROMOTIONS: u32 = 20;

#[derive(Template)]
#[template(path = "front.html")]
struct Front {
    builds: Vec<BuildRow>,
    promotions: Vec<PromotionRow>,
    builders: Vec<BuilderRow>,
    repos: Vec<RepoRow>,
}

struct BuildRow {
    id: String,
    name: String,
    kind: &'static str,
    target: String,
    by: String,
    status: &'static str,
    reason: String,
    created: String,
}

struct PromotionRow {
    id: String,
    what: String,
    to: String,
    target: String,
    phase: &'static str,
}

struct BuilderRow {
    name: String,
    arches: String,
    state: String,
    running: usize,
    slots: u32,
}

struct RepoRow {
    tag: String,
    /// The address of its project's grid.
    matrix: String,
    folders: Vec<RepoFolder>,
}

struct RepoFolder {
    arch: &'static str,
    path: String,
}

/// `/`
pub(in crate::http) async fn show(State(hub): State<Hub>) -> Result<Response, Page> {
    page(&hub).await.and_then(|page| html(&page)).map_err(Page)
}

async fn page(hub: &Hub) -> Answer<Front> {
    let mut tx = hub.db.read().await?;
    let mut builds = Vec::new();
    for request in tx.requests(&RequestFilter { limit: BUILDS, ..RequestFilter::default() }).await? {
        let view = view::summary(hub, &mut tx, request).await?;
        builds.push(BuildRow {
            id: view.request.id.to_string(),
            name: view.nvr.unwrap_or(view.request.package),
            kind: view.request.kind.label(),
            target: view.request.target,
            by: view.request.by,
            status: view.status.as_str(),
            reason: view.reason.unwrap_or_default(),
            created: when(view.request.created),
        });
    }
    let open = PromotionFilter { settled: Some(false), limit: PROMOTIONS, ..PromotionFilter::default() };
    let promotions = tx.promotions(&open).await?.into_iter().map(|promotion| PromotionRow {
        id: promotion.id.to_string(),
        phase: promotion.phase(),
        what: promotion.what(),
        to: promotion.to.to_string(),
        target: promotion.target,
    });
    let builders = view::builders(hub, &mut tx).await?.into_iter().map(builder_row);
    let community = tx.community().await?;
    let mut repos = Vec::new();
    for project in community.projects() {
        for stage in [Stage::Testing, Stage::Release] {
            if hub.public.live(&project.tag(stage)).is_some() {
                repos.push(repo_row(project, stage));
            }
        }
    }
    Ok(Front { builds, promotions: promotions.collect(), builders: builders.collect(), repos })
}

fn repo_row(project: &Project, stage: Stage) -> RepoRow {
    let folder = |arch: &Arch| {
        let path = public_path(project, stage, arch.as_str())?;
        Some(RepoFolder { arch: arch.as_str(), path })
    };
    RepoRow {
        tag: project.tag(stage),
        matrix: format!("/matrix?sig={}&project={}&stage={stage}", project.sig, project.name),
        folders: project.arches.iter().filter_map(folder).collect(),
    }
}

fn builder_row(view: BuilderView) -> BuilderRow {
    BuilderRow {
        state: match view.condition {
            Condition::Free { slots: 0 } => "busy".to_owned(),
            Condition::Free { slots } => format!("{slots} free"),
            Condition::Draining => "draining".to_owned(),
            Condition::ClockOff { .. } => "clock off".to_owned(),
            Condition::Silent => "silent".to_owned(),
            Condition::Disabled => "disabled".to_owned(),
        },
        arches: view.builder.arches_in_words(),
        running: view.builder.running.len(),
        slots: view.builder.slots,
        name: view.builder.name,
    }
}
