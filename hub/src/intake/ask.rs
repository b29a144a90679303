//! What people and pushes ask for becomes requests: each in one transaction, each answered with the request's id.

use anyhow::Context as _;
use farm::arch::Arch;
use farm::chain::Link;
use farm::ids::RequestId;
use farm::job::Job;
use farm::ledger::{Person, Tx};
use farm::message::Stop;
use farm::recipe::Input;
use farm::request::{Closed, Planner, Request, RequestKind, Source, Verdict};
use farm::sig::{Community, Project, Role};
use farm::stamp::Stamp;

use super::source::{Commit, Prepared, locate, prepare};
use crate::artifacts::ArtifactError;
use crate::keeper::{cancel_in, class_of, tell};
use crate::present::easiest_first;
use crate::problem::{Answer, Problem};
use crate::rpms;
use crate::state::{Hub, require_role};

/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;

/// A build of a commit: `grange build`, or `grange scratch` with a git URL.
///
/// # Errors
/// What is wrong with the target, the repo or the commit, or that the person may not.
pub async fn build(hub: &Hub, person: &Person, new: farm::api::NewBuild) -> Answer<Request> {
    let community = hub.community().await?;
    let project = target(&community, &new.target)?;
    let commit = locate(hub, &new.repo, &new.commit).await?;
    let kind = if new.scratch {
        scratch_kind(hub, project)
    } else {
        may_build(&community, person, project, &commit.package)?;
        RequestKind::Build
    };
    let prepared = prepare(hub, &commit).await?;
    let draft = Draft::new(hub, kind, project, &person.name);
    let (request, job) = draft.for_commit(hub, easiest(hub, project).await?, &commit, prepared);
    let mut tx = hub.db.write().await?;
    insert(&mut tx, &request, job.as_ref()).await?;
    tx.commit().await?;
    note(&request);
    hub.hurry().await;
    Ok(request)
}

/// Is a source RPM in the store, and can it be had from there?
async fn is_stored(hub: &Hub, srpm: &Input) -> Answer<bool> {
    match hub.artifacts.local(&srpm.digest).await {
        Ok(_) => Ok(true),
        Err(ArtifactError::Missing(_)) => Ok(false),
        Err(error) => Err(anyhow::Error::new(error).context("cannot read a source RPM").into()),
    }
}

/// A scratch build of a source RPM that is in the artifact store.
///
/// # Errors
/// What is wrong with the file.
pub async fn scratch_srpm(hub: &Hub, person: &Person, project: &Project, srpm: Input) -> Answer<Request> {
    let path = hub.artifacts.local(&srpm.digest).await.context("cannot read what was stored just now")?;
    let read = super::source::blocking(move || {
        rpms::read_srpm(&path).map_err(|error| {
            Problem::invalid(error.to_string(), "send a source RPM, as `rpmbuild -bs` makes it")
        })
    })
    .await?;
    let draft = Draft::new(hub, scratch_kind(hub, project), project, &person.name);
    // What the package is called decides its file name; the name the person's file had does not matter.
    let srpm = Input { name: read.read.rpm.file, ..srpm };
    let request = draft.request(hub, &read.nvr.name, Source::Srpm { srpm }, None);
    let mut tx = hub.db.write().await?;
    insert(&mut tx, &request, None).await?;
    tx.commit().await?;
    note(&request);
    hub.hurry().await;
    Ok(request)
}

/// The same again: a new request for what an unsuccessful one asked for.
///
/// # Errors
/// That it is still running, has succeeded, or is no build; or that the person may not.
pub async fn retry(hub: &Hub, person: &Person, id: RequestId) -> Answer<Request> {
    let mut tx = hub.db.read().await?;
    let old = tx.request(id).await?.ok_or_else(|| Problem::not_found("build", id))?.value;
    let community = tx.community().await?;
    drop(tx);
    let project = target(&community, &old.target)?;
    if old.kind.is_imported() {
        may_build(&community, person, project, &old.package)?;
    }
    match &old.closed {
        None => return Err(Problem::conflict(format!("{id} is still running"), "cancel it first, or wait")),
        Some(Closed { verdict: Verdict::Complete { .. }, .. }) if old.kind.is_imported() => {
            return Err(Problem::conflict(
                format!("{id} has succeeded"),
                "a build is made once: raise Release in the spec and push",
            ));
        }
        Some(_) => {}
    }
    let kind = match &old.kind {
        RequestKind::Scratch { .. } => scratch_kind(hub, project),
        RequestKind::Test { .. } => {
            return Err(Problem::conflict(
                format!("{id} is a test run"),
                "run the tests again with `grange promote --to testing NVR`",
            ));
        }
        RequestKind::Check { tag, .. } => {
            return Err(Problem::conflict(
                format!("{id} is a test run of {tag}"),
                "it starts by itself when something below the repo changes",
            ));
        }
        RequestKind::Push { .. } | RequestKind::Build => old.kind.clone(),
    };
    let draft = Draft { retry_of: Some(id), ..Draft::new(hub, kind, project, &person.name) };
    let (request, job) = match &old.source {
        Source::Git { repo, commit, .. } => {
            let commit = locate(hub, repo, commit).await?;
            // What was missing in the lookaside may be there now.
            let prepared = prepare(hub, &commit).await?;
            draft.for_commit(hub, easiest(hub, project).await?, &commit, prepared)
        }
        Source::Srpm { srpm } if !is_expired(&old, hub.now()) && is_stored(hub, srpm).await? => {
            (draft.request(hub, &old.package, Source::Srpm { srpm: srpm.clone() }, None), None)
        }
        Source::Srpm { .. } => {
            return Err(Problem::conflict(format!("the source RPM of {id} has expired"), "upload it again"));
        }
        Source::Snapshot => return Err(Problem::conflict(format!("{id} is a test run"), "promote again")),
    };
    let mut tx = hub.db.write().await?;
    insert(&mut tx, &request, job.as_ref()).await?;
    tx.commit().await?;
    note(&request);
    hub.hurry().await;
    Ok(request)
}

/// Stops a request. Jobs that wait are settled at once; builders that are at work are told.
///
/// # Errors
/// That it is over already, or that the person may not.
pub async fn cancel(hub: &Hub, person: &Person, id: RequestId) -> Answer<()> {
    let mut tx = hub.db.write().await?;
    let stops = stop(hub, &mut tx, person, id)
        .await?
        .ok_or_else(|| Problem::conflict(format!("{id} is over already"), "there is nothing to cancel"))?;
    tx.commit().await?;
    tracing::info!(request = %id, by = person.name, "a request is cancelled");
    tell(&hub.bus, stops).await;
    hub.hurry().await;
    Ok(())
}

fn note(request: &Request) {
    let Request { id, package, target, by, kind, .. } = request;
    tracing::info!(request = %id, package, target, by, kind = kind.label(), "a request is taken in");
}

/// Stops a request within a transaction. Gives the turns whose builders are to be told once it is committed; `None` when
/// the request is over already.
pub(super) async fn stop(
    hub: &Hub,
    tx: &mut Tx,
    person: &Person,
    id: RequestId,
) -> Answer<Option<Vec<Stop>>> {
    tx.lock_request(id).await?;
    let request = tx.request(id).await?.ok_or_else(|| Problem::not_found("build", id))?;
    if request.closed.is_some() {
        return Ok(None);
    }
    if person.name != request.by {
        require_role(&tx.community().await?, person, &request.sig, Role::Maintainer)?;
    }
    let jobs = tx.jobs_of(id).await?;
    let unsettled: Vec<_> = jobs.iter().filter(|job| job.outcome().is_none()).map(|job| job.id).collect();
    if unsettled.is_empty() {
        // Between two jobs: nothing is left that could end it.
        let verdict = Verdict::Cancelled { by: person.name.clone() };
        tx.close_request(&request, Closed { at: hub.now(), verdict }).await?;
        return Ok(Some(Vec::new()));
    }
    Ok(Some(cancel_in(hub, tx, &unsettled, &person.name).await?))
}

/// A request in the making.
pub(super) struct Draft<'a> {
    pub(super) id: RequestId,
    pub(super) kind: RequestKind,
    pub(super) project: &'a Project,
    pub(super) by: &'a str,
    pub(super) retry_of: Option<RequestId>,
    pub(super) chain: Option<Link>,
}

impl<'a> Draft<'a> {
    /// A request that stands for itself.
    pub(super) fn new(hub: &Hub, kind: RequestKind, project: &'a Project, by: &'a str) -> Self {
        Draft { id: hub.mint(), kind, project, by, retry_of: None, chain: None }
    }

    /// A request for a commit with its first job, on this architecture; or, when nothing can be built from it, a request
    /// that says so.
    pub(super) fn for_commit(
        &self,
        hub: &Hub,
        arch: Option<Arch>,
        commit: &Commit,
        prepared: Result<Prepared, String>,
    ) -> (Request, Option<Job>) {
        let (repo, id) = (commit.repo.clone(), commit.id.clone());
        match prepared {
            Err(reason) => {
                let source = Source::Git { repo, commit: id, tree: None };
                (self.request(hub, &commit.package, source, Some(reason)), None)
            }
            Ok(Prepared { tree, spec, sources }) => {
                let source = Source::Git { repo, commit: id, tree: Some(tree.clone()) };
                let request = self.request(hub, &commit.package, source, None);
                let job = |arch: Arch| {
                    hub.with_minter(|minter| {
                        let class = class_of(&request);
                        let mut planner =
                            Planner { minter, now: request.created, request: request.id, class };
                        planner.srpm(self.project, arch, tree, spec, sources)
                    })
                };
                let job = arch.map(job);
                (request, job)
            }
        }
    }

    fn request(&self, hub: &Hub, package: &str, source: Source, failed: Option<String>) -> Request {
        let now = hub.now();
        Request {
            id: self.id,
            kind: self.kind.clone(),
            sig: self.project.sig.clone(),
            target: self.project.target(),
            package: package.to_owned(),
            by: self.by.to_owned(),
            source,
            created: now,
            retry_of: self.retry_of,
            closed: failed.map(|reason| Closed { at: now, verdict: Verdict::Failed { reason } }),
            chain: self.chain,
        }
    }
}

/// The architecture of a target on which a source RPM is best made.
pub(super) async fn easiest(hub: &Hub, project: &Project) -> Answer<Option<Arch>> {
    Ok(easiest_first(hub, &mut hub.db.glance().await?, project).await?.first().copied())
}

/// Takes in a request with its first job.
pub(super) async fn insert(tx: &mut Tx, request: &Request, job: Option<&Job>) -> Answer<()> {
    tx.insert_request(request).await?;
    if let Some(job) = job {
        tx.insert_job(job).await?;
    }
    Ok(())
}

/// Are a scratch build's files gone, or about to go?
fn is_expired(request: &Request, now: Stamp) -> bool {
    matches!(request.kind, RequestKind::Scratch { expires } if expires <= now)
}

pub(super) fn target<'a>(community: &'a Community, name: &str) -> Answer<&'a Project> {
    community.target(name).ok_or_else(|| {
        let known: Vec<String> = community.projects().map(Project::target).collect();
        Problem::invalid(
            format!("there is no target {name}"),
            if known.is_empty() {
                "apply a SIG template first: `grange sig apply FILE`".to_owned()
            } else {
                format!("the targets are {}", known.join(", "))
            },
        )
    })
}

pub(super) fn may_build(
    community: &Community,
    person: &Person,
    project: &Project,
    package: &str,
) -> Answer<()> {
    require_role(community, person, &project.sig, Role::Maintainer)?;
    if project.packages.contains(package) {
        return Ok(());
    }
    Err(Problem::forbidden(
        format!("package {package} is not in project {} of SIG {}", project.folder(), project.sig),
        "add it to the project's `packages` and apply the template, or ask for a scratch build",
    ))
}

fn scratch_kind(hub: &Hub, project: &Project) -> RequestKind {
    let days = std::time::Duration::from_millis(DAY_MS * u64::from(project.scratch_days));
    let expires: Stamp = hub.now() + days;
    RequestKind::Scratch { expires }
}
