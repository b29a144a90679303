//! Open requests: plans the builds once the source RPM is there and everything it needs is imported, imports what is
//! built, closes what is over.

use std::collections::BTreeSet;

use anyhow::Context as _;
use farm::arch::Arch;
use farm::chain::{self, Blocker, SourceFacts};
use farm::ids::{JobId, RequestId};
use farm::job::{Class, Event, Job, JobKind};
use farm::ledger::{Kept, StepError, Tx};
use farm::promotion::{Promotion, PromotionState};
use farm::recipe::Input;
use farm::request::{Closed, Next, Planner, Request, RequestKind, Source, Verdict, build_arches, next};
use farm::sig::{Community, Project};
use farm::wire::Bus;
use tokio::io::AsyncReadExt as _;

use super::{Progress, import, tests};
use crate::chains::Round;
use crate::present::easiest_first;
use crate::problem::{Answer, Problem};
use crate::rpms;
use crate::state::Hub;

/// Who cancels the jobs that are not needed any more.
const SIBLING: &str = "the farm, because another job of the same build failed";

pub(super) async fn step_all(hub: &Hub) -> Answer<Progress> {
    let movable = hub.db.glance().await?.movable_requests().await?;
    let mut progress = Progress::None;
    let mut round = Round::default();
    for id in movable {
        match step(hub, id, &mut round).await {
            Ok(made) => progress |= made,
            Err(problem) => {
                tracing::info_span!("keeper", request = %id).in_scope(|| super::log("a request", &problem))
            }
        }
    }
    Ok(progress)
}

async fn step(hub: &Hub, id: RequestId, round: &mut Round) -> Answer<Progress> {
    // Not of one moment: whatever is done about them is guarded by the request's version, or looks again.
    let mut tx = hub.db.glance().await?;
    let Some(request) = tx.request(id).await?.filter(|request| request.closed.is_none()) else {
        return Ok(Progress::None);
    };
    let jobs = tx.jobs_of(id).await?;
    drop(tx);
    match next(&request, &jobs) {
        Next::Wait => Ok(Progress::None),
        Next::CancelJobs(ids) => cancel_jobs(hub, &ids, SIBLING).await,
        Next::PlanBuilds => plan_builds(hub, &request, &jobs, round).await,
        Next::Import => import::import(hub, &request, &jobs).await,
        Next::Close(verdict) if request.kind.is_test() => tests::close(hub, &request, &jobs, verdict).await,
        Next::Close(verdict) => close(hub, &request, verdict).await,
    }
}

/// Closes a request, unless somebody else did.
pub(super) async fn close(hub: &Hub, request: &Kept<Request>, verdict: Verdict) -> Answer<Progress> {
    let ended = match &verdict {
        Verdict::Complete { .. } => "complete".to_owned(),
        Verdict::Failed { reason } => format!("failed: {reason}"),
        Verdict::Cancelled { by } => format!("cancelled by {by}"),
    };
    let mut tx = hub.db.write().await?;
    tx.close_request(request, Closed { at: hub.now(), verdict }).await?;
    tx.commit().await?;
    tracing::info!(request = %request.id, package = request.package, ended, "the request is closed");
    Ok(Progress::Made)
}

/// Cancels jobs and tells their builders.
pub(crate) async fn cancel_jobs(hub: &Hub, ids: &[JobId], by: &str) -> Answer<Progress> {
    let mut tx = hub.db.write().await?;
    let stops = cancel_in(hub, &mut tx, ids, by).await?;
    tx.commit().await?;
    tell(&hub.bus, stops).await;
    Ok(Progress::Made)
}

/// Cancels jobs within a transaction. Gives the turns whose builders are to be told once it is committed.
pub(crate) async fn cancel_in(
    hub: &Hub,
    tx: &mut Tx,
    ids: &[JobId],
    by: &str,
) -> Answer<Vec<farm::message::Stop>> {
    let mut stops = Vec::new();
    for id in ids {
        match tx.step_job(*id, Event::Cancel { by: by.to_owned() }, hub.now(), &hub.config.patience).await {
            Ok(stepped) => stops.push(farm::message::Stop { job: *id, turn: stepped.job.turn }),
            Err(StepError::Refused(_) | StepError::Unknown(_)) => {}
            Err(StepError::Ledger(error)) => return Err(error.into()),
        }
    }
    Ok(stops)
}

/// Ends the tests of a promotion within a transaction, if some are under way. Gives the turns whose builders are to be told once it
/// is committed.
pub(crate) async fn stop_tests(
    hub: &Hub,
    tx: &mut Tx,
    promotion: &Promotion,
    by: &str,
) -> Answer<Vec<farm::message::Stop>> {
    let PromotionState::InTesting { request: Some(request), .. } = promotion.state else {
        return Ok(Vec::new());
    };
    let jobs = tx.jobs_of(request).await?;
    let unsettled: Vec<_> = jobs.iter().filter(|job| job.outcome().is_none()).map(|job| job.id).collect();
    cancel_in(hub, tx, &unsettled, by).await
}

/// Tells builders to stop.
pub(crate) async fn tell(bus: &Bus, stops: Vec<farm::message::Stop>) {
    for stop in stops {
        bus.stop(stop).await;
    }
}

/// The source RPM of a request: the one a person gave, or the one its first job made.
pub(super) async fn source_rpm(hub: &Hub, request: &Request, jobs: &[Job]) -> Answer<Result<Input, String>> {
    if let Source::Srpm { srpm } = &request.source {
        return Ok(Ok(srpm.clone()));
    }
    let Some(job) = jobs.iter().find(|job| job.kind == JobKind::Srpm) else {
        return Ok(Err("the request has neither a source RPM nor a job that makes one".to_owned()));
    };
    let files = hub.db.glance().await?.artifacts_of(job.id, job.turn).await?;
    let mut sources = files.into_iter().filter(|file| file.name.ends_with(".src.rpm"));
    match (sources.next(), sources.next()) {
        (Some(file), None) => Ok(Ok(Input { name: file.name, digest: file.digest, size: file.size })),
        (None, _) => Ok(Err("no source RPM came out of the srpm job".to_owned())),
        (Some(_), Some(_)) => Ok(Err("more than one source RPM came out of the srpm job".to_owned())),
    }
}

/// Reads a source RPM from the artifact store.
pub(super) async fn read_source(hub: &Hub, srpm: &Input) -> Answer<Result<rpms::Srpm, String>> {
    let path = hub.artifacts.local(&srpm.digest).await.context("cannot read a source RPM")?;
    let read = tokio::task::spawn_blocking(move || rpms::read_srpm(&path))
        .await
        .context("the task that reads a source RPM ended early")?;
    match read {
        Err(rpms::RpmError::Disk(error)) => Err(Problem::Internal(error.into())),
        Err(error) => Ok(Err(error.to_string())),
        Ok(read) => {
            Ok(read.read.must_be_called(&srpm.name).map_err(|error| error.to_string()).map(|()| read))
        }
    }
}

/// Waits for the builds it needs, then puts one job for each architecture into the backlog.
async fn plan_builds(
    hub: &Hub,
    request: &Kept<Request>,
    jobs: &[Job],
    round: &mut Round,
) -> Answer<Progress> {
    let fail = |reason: String| close(hub, request, Verdict::Failed { reason });
    let srpm = match source_rpm(hub, request, jobs).await? {
        Ok(srpm) => srpm,
        Err(reason) => return fail(reason).await,
    };
    let known = hub.db.glance().await?.source(request.id).await?;
    let is_new = known.is_none();
    let facts = match known {
        Some(facts) => facts,
        None => match read_facts(hub, request, jobs, &srpm).await? {
            Ok(facts) => facts,
            Err(closed) => return Ok(closed),
        },
    };
    if is_new && request.kind.is_imported() {
        // What is imported is put in order with others first, by what was read of each.
        let mut tx = hub.db.write().await?;
        tx.put_source(request.id, &facts).await?;
        tx.commit().await?;
        return Ok(Progress::Made);
    }
    let mut height = 0;
    if request.kind.is_imported() {
        let order = round.order(hub).await?;
        if order.member(request.id).is_none_or(|member| member.source.is_none()) {
            // It was read since this round began.
            return Ok(Progress::None);
        }
        let blockers = order.blockers(request.id);
        if let Some(reason) = blockers.iter().find_map(Blocker::failure) {
            return fail(reason).await;
        }
        if !blockers.is_empty() {
            return Ok(Progress::None);
        }
        height = order.height(request.id);
    }

    let mut tx = hub.db.write().await?;
    tx.lock_request(request.id).await?;
    let current = tx.request(request.id).await?;
    if current.as_ref().is_none_or(|now| now.version != request.version) {
        return Ok(Progress::None);
    }
    let community = tx.community().await?;
    let (project, arches) = match buildable(hub, &mut tx, &community, request, &facts).await? {
        Ok(found) => found,
        Err(reason) => {
            drop(tx);
            return fail(reason).await;
        }
    };
    if is_new {
        tx.put_source(request.id, &facts).await?;
    }
    let repos = match tx.layer_sources(community.layers(project)).await? {
        Some(repos) if round.are_whole(&mut tx, &repos).await? => repos,
        // A layer is being composed: wait until its repo shows what was imported before.
        Some(_) | None => {
            tx.commit().await?;
            return Ok(Progress::None);
        }
    };
    if tx.jobs_of(request.id).await?.iter().any(|job| job.kind == JobKind::Build) {
        return Ok(Progress::None);
    }
    let builds = hub.with_minter(|minter| {
        let class = class_of(request);
        Planner { minter, now: hub.now(), request: request.id, class }.builds(project, &srpm, &arches, &repos)
    });
    let count = builds.len();
    for job in builds {
        tx.insert_job(&Job { height, ..job }).await?;
    }
    tx.commit().await?;
    hub.bus.nudge().await;
    tracing::info!(request = %request.id, nvr = %facts.nvr, jobs = count, waiting = height, "its builds are queued");
    Ok(Progress::Made)
}

/// What the source RPM says; closes the request of what may not be built.
async fn read_facts(
    hub: &Hub,
    request: &Kept<Request>,
    jobs: &[Job],
    srpm: &Input,
) -> Answer<Result<SourceFacts, Progress>> {
    let fail = async |reason: String| close(hub, request, Verdict::Failed { reason }).await.map(Err);
    let read = match read_source(hub, srpm).await? {
        Ok(read) => read,
        Err(reason) => return fail(format!("the source RPM cannot be used: {reason}")).await,
    };
    let provides = provides_by_spec(hub, jobs).await?;
    let facts = SourceFacts {
        nvr: read.nvr,
        arches: read.arches,
        requires: read.read.requires.iter().flat_map(|name| chain::names_of(name)).collect(),
        provides,
        read: hub.now(),
    };
    if request.kind.is_imported() {
        // Said before it waits for others. Looked at again when its jobs are made.
        let mut tx = hub.db.read().await?;
        let community = tx.community().await?;
        if let Err(reason) = buildable(hub, &mut tx, &community, request, &facts).await? {
            drop(tx);
            return fail(reason).await;
        }
    }
    tracing::info!(request = %request.id, nvr = %facts.nvr, "the source RPM is read");
    Ok(Ok(facts))
}

/// What the packages of a request will provide, as its srpm job found in the spec.
async fn provides_by_spec(hub: &Hub, jobs: &[Job]) -> Answer<BTreeSet<String>> {
    let Some(job) = jobs.iter().find(|job| job.kind == JobKind::Srpm) else { return Ok(BTreeSet::new()) };
    let files = hub.db.glance().await?.artifacts_of(job.id, job.turn).await?;
    let Some(file) = files.into_iter().find(|file| file.name == chain::PROVIDES_FILE) else {
        return Ok(BTreeSet::new());
    };
    let content = hub.artifacts.read(&file.digest).await.context("cannot read what a spec provides")?;
    let mut text = Vec::new();
    content.take(chain::PROVIDES_BYTES).read_to_end(&mut text).await?;
    Ok(chain::provided_names(&String::from_utf8_lossy(&text)))
}

/// The project a source RPM is built for and the architectures it is built on, or why it may not be built.
async fn buildable<'a>(
    hub: &Hub,
    tx: &mut Tx,
    community: &'a Community,
    request: &Request,
    facts: &SourceFacts,
) -> Answer<Result<(&'a Project, Vec<Arch>), String>> {
    let Some(project) = community.target(&request.target) else {
        return Ok(Err(format!("target {} is no more", request.target)));
    };
    if request.kind.is_imported() && facts.nvr.name != request.package {
        return Ok(Err(format!(
            "the spec's Name is {}, but the package is {}: name the repo after the package",
            facts.nvr.name, request.package
        )));
    }
    if request.kind.is_imported()
        && let Some(known) = tx.build_by_nvr(&facts.nvr.to_string()).await?
    {
        return Ok(Err(format!(
            "{} exists already, built by {}: raise Release (or Version) in the spec, or ask for a scratch build",
            facts.nvr,
            hub.build_url(known.request)
        )));
    }
    let arches = easiest_first(hub, tx, project).await?;
    Ok(build_arches(&arches, &facts.arches).map(|arches| (project, arches)))
}

/// How urgent a request's jobs are.
pub(crate) fn class_of(request: &Request) -> Class {
    match request.kind {
        RequestKind::Push { .. } | RequestKind::Build => Class::Push,
        RequestKind::Scratch { .. } => Class::Scratch,
        RequestKind::Test { .. } => Class::Release,
        RequestKind::Check { .. } => Class::Nightly,
    }
}
