//! The page of a build: why it failed first, then its jobs with their logs and files.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use farm::api::{JobView, RequestView};
use farm::outcome::Outcome;
use farm::promotion::PromotionState;
use farm::recheck;
use farm::request::{RequestKind, Source};
use farm::stamp::Stamp;

use super::{Page, html, size, span, when};
use crate::http::extract::Path;
use crate::http::jobs::is_package;
use crate::http::view;
use crate::problem::Answer;
use crate::state::Hub;

#[derive(Template)]
#[template(path = "build.html")]
struct Build {
    name: String,
    status: &'static str,
    is_final: bool,
    reason: String,
    kind: String,
    target: String,
    sig: String,
    by: String,
    source: String,
    created: String,
    took: String,
    retry_of: String,
    jobs: Vec<JobRow>,
    /// Are there packages among its files that are not for everybody?
    asks_for_token: bool,
    promotions: Vec<PromotionRow>,
    /// The buildroots: architecture, lock, image.
    roots: Vec<(&'static str, String, String)>,
    /// What of its jobs can be followed now: job, log.
    follow: Option<(String, String)>,
}

struct JobRow {
    id: String,
    label: String,
    arch: &'static str,
    phase: String,
    verdict: &'static str,
    sentence: String,
    builder: String,
    took: String,
    tries: u32,
    logs: Vec<Link>,
    files: Vec<Link>,
    history: Vec<String>,
}

struct Link {
    name: String,
    size: String,
}

struct PromotionRow {
    id: String,
    to: String,
    phase: &'static str,
    why: String,
}

/// `/builds/<id or NVR>`
pub(in crate::http) async fn show(State(hub): State<Hub>, Path(id): Path<String>) -> Result<Response, Page> {
    page(&hub, &id).await.and_then(|page| html(&page)).map_err(Page)
}

async fn page(hub: &Hub, id: &str) -> Answer<Build> {
    let request = view::find(&mut hub.db.glance().await?, id).await?;
    let view = view::full(hub, request).await?;
    Ok(build(view, hub.now()))
}

fn build(view: RequestView, now: Stamp) -> Build {
    let RequestView { request, status, reason, nvr, url: _, jobs, promotions, roots } = view;
    let ended = request.closed.as_ref().map_or(now, |closed| closed.at);
    Build {
        follow: jobs.iter().find_map(followed),
        asks_for_token: !matches!(request.kind, RequestKind::Scratch { .. })
            && jobs.iter().flat_map(|job| &job.files).any(|file| is_package(&file.name)),
        roots: roots
            .into_iter()
            .map(|(arch, facts)| (arch.as_str(), facts.lock.short().to_owned(), facts.image))
            .collect(),
        status: status.as_str(),
        is_final: status.is_final(),
        reason: reason.unwrap_or_default(),
        kind: match &request.kind {
            RequestKind::Push { branch } => format!("push to {branch}"),
            RequestKind::Build | RequestKind::Test { .. } => request.kind.label().to_owned(),
            RequestKind::Check { causes, .. } => format!("check ({})", recheck::phrase(causes)),
            RequestKind::Scratch { expires } => format!("scratch, kept until {}", when(*expires)),
        },
        source: match &request.source {
            Source::Git { repo, commit, tree: _ } => format!("{repo} at {commit}"),
            Source::Srpm { srpm } => srpm.name.clone(),
            Source::Snapshot => "a snapshot".to_owned(),
        },
        created: when(request.created),
        took: span(request.created, ended),
        retry_of: request.retry_of.map(|id| id.to_string()).unwrap_or_default(),
        jobs: jobs.into_iter().map(|job| job_row(job, now)).collect(),
        promotions: promotions
            .into_iter()
            .map(|promotion| PromotionRow {
                id: promotion.id.to_string(),
                phase: promotion.phase(),
                why: match &promotion.state {
                    PromotionState::Rejected { why, .. } => why.join("; "),
                    _ => String::new(),
                },
                to: promotion.to.to_string(),
            })
            .collect(),
        name: nvr.unwrap_or(request.package),
        target: request.target,
        sig: request.sig,
        by: request.by,
    }
}

/// The newest log of a job that is at work.
fn followed(job: &JobView) -> Option<(String, String)> {
    let log = job.logs.last().filter(|_| job.phase == "building")?;
    Some((job.id.to_string(), log.name.clone()))
}

fn job_row(job: JobView, now: Stamp) -> JobRow {
    let link = |name: String, bytes: u64| Link { name, size: size(bytes) };
    JobRow {
        verdict: match &job.outcome {
            None => "",
            Some(Outcome::Passed) => "passed",
            Some(Outcome::Cancelled { .. }) => "cancelled",
            Some(Outcome::FailedByPackage { .. } | Outcome::FailedByFarm { .. } | Outcome::Lost { .. }) => {
                "failed"
            }
        },
        sentence: job.outcome.as_ref().map(Outcome::sentence).unwrap_or_default(),
        took: job.started.map(|started| span(started, job.ended.unwrap_or(now))).unwrap_or_default(),
        history: job
            .history
            .iter()
            .map(|attempt| format!("turn {} on {}: {}", attempt.turn, attempt.builder, attempt.why))
            .collect(),
        logs: job.logs.into_iter().map(|log| link(log.name, log.size)).collect(),
        files: job.files.into_iter().map(|file| link(file.name, file.size)).collect(),
        id: job.id.to_string(),
        label: job.label,
        arch: job.arch.as_str(),
        phase: job.phase,
        builder: job.builder.unwrap_or_default(),
        tries: job.tries,
    }
}
