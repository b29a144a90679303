//! Rows of the ledger as clients and pages see them.

use farm::api::{BuilderView, FileView, JobView, Page, RequestView};
use farm::builder::Builder;
use farm::ids::RequestId;
use farm::job::{Job, JobKind};
use farm::ledger::{PromotionFilter, RequestFilter, Tx};
use farm::promotion::Promotion;
use farm::recipe::Work;
use farm::request::{Request, RequestKind, Source, status};

use crate::logs;
use crate::problem::{Answer, Problem};
use crate::state::Hub;

/// Items of a listing unless the client says otherwise.
const PAGE: u32 = 50;
/// Most items of a listing.
const LONGEST_PAGE: u32 = 200;

/// Requests among which one is looked for by the end of its id, and the shortest end that is looked for.
const NEWEST: u32 = 500;
const SHORTEST_END: usize = 6;

/// How many items a listing has.
pub(super) fn page_size(asked: Option<u32>) -> u32 {
    asked.unwrap_or(PAGE).clamp(1, LONGEST_PAGE)
}

/// One page: the items and, when it is full, where the next one begins.
pub(super) fn page<T>(items: Vec<T>, limit: u32, id: impl Fn(&T) -> String) -> Page<T> {
    let is_full = items.len() >= limit as usize;
    Page { next: items.last().filter(|_| is_full).map(id), items }
}

/// A request as a listing shows it: with everything computed, without its jobs.
pub(super) async fn summary(hub: &Hub, tx: &mut Tx, request: Request) -> Answer<RequestView> {
    let jobs = tx.jobs_of(request.id).await?;
    summary_of(hub, tx, request, &jobs).await
}

/// A request with its jobs and promotions.
pub(super) async fn full(hub: &Hub, request: Request) -> Answer<RequestView> {
    let mut tx = hub.db.read().await?;
    let jobs = tx.jobs_of(request.id).await?;
    let promotions = promotions_of(&mut tx, &request).await?;
    let mut view = summary_of(hub, &mut tx, request, &jobs).await?;
    let mut files = Vec::new();
    for job in &jobs {
        files.push(files_of(&mut tx, job).await?);
    }
    drop(tx);
    for (job, files) in jobs.iter().zip(files) {
        view.jobs.push(JobView::of(job, logs::list(hub, job.id, job.turn).await, files));
    }
    view.promotions = promotions;
    Ok(view)
}

/// A job with the logs and files of its newest attempt.
pub(super) async fn job(hub: &Hub, job: &Job) -> Answer<JobView> {
    let files = files_of(&mut hub.db.read().await?, job).await?;
    Ok(JobView::of(job, logs::list(hub, job.id, job.turn).await, files))
}

/// Every builder, with its state computed.
pub(super) async fn builders(hub: &Hub, tx: &mut Tx) -> Answer<Vec<BuilderView>> {
    let held = tx.held_by_builder().await?;
    let view = |builder: Builder| {
        let held = held.get(&builder.name).copied().unwrap_or(0);
        builder_with(hub, builder, held)
    };
    Ok(tx.builders().await?.into_iter().map(view).collect())
}

/// A builder that has so many of the farm's jobs.
pub(super) fn builder_with(hub: &Hub, builder: Builder, held: u32) -> BuilderView {
    let silent = std::time::Duration::from_millis(hub.config.silent_ms);
    BuilderView { condition: builder.condition(held, hub.now(), silent), builder }
}

async fn summary_of(hub: &Hub, tx: &mut Tx, request: Request, jobs: &[Job]) -> Answer<RequestView> {
    let build = tx.build_of(request.id).await?;
    let nvr = match &build {
        Some(build) => Some(build.nvr.to_string()),
        None => nvr_of(tx, &request, jobs).await?,
    };
    Ok(RequestView {
        status: status(&request, jobs),
        reason: RequestView::reason_of(&request),
        nvr,
        url: hub.build_url(request.id),
        jobs: Vec::new(),
        promotions: Vec::new(),
        roots: build.map(|build| build.roots).unwrap_or_default(),
        request,
    })
}

/// The name a build will have, as its source RPM is called, before it is imported.
async fn nvr_of(tx: &mut Tx, request: &Request, jobs: &[Job]) -> Answer<Option<String>> {
    let without_end = |name: &str| name.strip_suffix(".src.rpm").map(str::to_owned);
    if let Source::Srpm { srpm } = &request.source {
        return Ok(without_end(&srpm.name));
    }
    let planned = jobs.iter().find_map(|job| match &job.recipe.work {
        Work::Build { srpm } => without_end(&srpm.name),
        Work::Srpm { .. } | Work::Test { .. } => None,
    });
    match (planned, jobs.iter().find(|job| job.kind == JobKind::Srpm && job.passed())) {
        (Some(nvr), _) => Ok(Some(nvr)),
        (None, Some(job)) => {
            let files = tx.artifacts_of(job.id, job.turn).await?;
            Ok(files.iter().find_map(|file| without_end(&file.name)))
        }
        (None, None) => Ok(None),
    }
}

/// What people call a build: its NVR as soon as that is known, its package before.
pub(super) async fn name_of(tx: &mut Tx, request: &Request) -> Answer<String> {
    let jobs = tx.jobs_of(request.id).await?;
    let nvr = nvr_of(tx, request, &jobs).await?;
    Ok(nvr.unwrap_or_else(|| request.package.clone()))
}

async fn files_of(tx: &mut Tx, job: &Job) -> Answer<Vec<FileView>> {
    let files = tx.artifacts_of(job.id, job.turn).await?;
    Ok(files.into_iter().map(|file| FileView { name: file.name, size: file.size }).collect())
}

async fn promotions_of(tx: &mut Tx, request: &Request) -> Answer<Vec<Promotion>> {
    if let RequestKind::Test { promotion, .. } = &request.kind {
        return Ok(tx.promotion(*promotion).await?.map(|kept| kept.value).into_iter().collect());
    }
    let Some(build) = tx.build_of(request.id).await? else { return Ok(Vec::new()) };
    let filter = PromotionFilter {
        target: Some(request.target.clone()),
        limit: LONGEST_PAGE,
        ..PromotionFilter::default()
    };
    let mut found = tx.promotions(&filter).await?;
    found.retain(|promotion| promotion.builds.contains(&build.id));
    found.reverse();
    Ok(found)
}

/// The request a person means: by its id or the end of it, or by the NVR of the build it made.
pub(super) async fn find(tx: &mut Tx, text: &str) -> Answer<Request> {
    let id = match text.parse::<RequestId>() {
        Ok(id) => Some(id),
        Err(_) => tx.build_by_nvr(text).await?.map(|build| build.request),
    };
    let found = match id {
        Some(id) => tx.request(id).await?.map(|kept| kept.value),
        None => by_end(tx, text).await?,
    };
    let shown: String = text.chars().take(100).collect();
    found.ok_or_else(|| Problem::not_found("build", shown))
}

/// The one of the newest requests whose id ends so. Two that do are none: better to ask than to stop the wrong one.
async fn by_end(tx: &mut Tx, text: &str) -> Answer<Option<Request>> {
    if text.len() < SHORTEST_END || !text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Ok(None);
    }
    let end = text.to_ascii_uppercase();
    let newest = RequestFilter { limit: NEWEST, ..RequestFilter::default() };
    let mut found = tx.requests(&newest).await?;
    found.retain(|request| request.id.to_string().ends_with(&end));
    Ok(if found.len() == 1 { found.pop() } else { None })
}
