//! Requests: what a push or a person asked for, the jobs that follow from it, and what becomes of it.
//!
//! A request's status is computed from its jobs; the only thing stored is whether it is closed, and how.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::arch::Arch;
use crate::chain::Link;
use crate::gate::Requirement;
use crate::ids::{BuildId, JobId, Minter, PromotionId, RequestId, SnapshotId};
use crate::job::{Class, Job, JobKind, JobState};
use crate::outcome::Outcome;
use crate::recheck::Cause;
use crate::recipe::{Input, Recipe, RepoSource, Sharing, Work};
use crate::sig::Project;
use crate::stamp::Stamp;

/// One request, as the ledger keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Request {
    /// Its id.
    pub id: RequestId,
    /// What was asked for.
    pub kind: RequestKind,
    /// The SIG it is done for.
    pub sig: String,
    /// The target it is built for.
    pub target: String,
    /// The package; for a test the packages under test, in one line.
    pub package: String,
    /// Who asked; `gate` for tests that start by themselves.
    pub by: String,
    /// What is built.
    pub source: Source,
    /// When it was asked for.
    pub created: Stamp,
    /// The request this one repeats, if it is a retry.
    pub retry_of: Option<RequestId>,
    /// The chain it is part of: its requests order themselves by what they need of each other.
    #[serde(default)]
    pub chain: Option<Link>,
    /// How it ended, once it has.
    pub closed: Option<Closed>,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum RequestKind {
    /// A branch was pushed.
    Push {
        /// Which one.
        branch: String,
    },
    /// A person asked for a build that enters the candidate repo.
    Build,
    /// A person asked for a build that enters no repo.
    Scratch {
        /// When its results are removed.
        expires: Stamp,
    },
    /// A snapshot is to be tested.
    Test {
        /// The promotion it is for.
        promotion: PromotionId,
        /// The snapshot.
        snapshot: SnapshotId,
    },
    /// What is live is to be tested again.
    Check {
        /// The repo's tag.
        tag: String,
        /// Its live snapshot.
        snapshot: SnapshotId,
        /// What has changed below it.
        causes: Vec<Cause>,
    },
}

impl RequestKind {
    /// One word.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            RequestKind::Push { .. } => "push",
            RequestKind::Build => "build",
            RequestKind::Scratch { .. } => "scratch",
            RequestKind::Test { .. } => "test",
            RequestKind::Check { .. } => "check",
        }
    }

    /// Do its results enter the candidate repo?
    #[must_use]
    pub fn is_imported(&self) -> bool {
        match self {
            RequestKind::Push { .. } | RequestKind::Build => true,
            RequestKind::Scratch { .. } | RequestKind::Test { .. } | RequestKind::Check { .. } => false,
        }
    }

    /// Does it run suites on a snapshot?
    #[must_use]
    pub fn is_test(&self) -> bool {
        match self {
            RequestKind::Test { .. } | RequestKind::Check { .. } => true,
            RequestKind::Push { .. } | RequestKind::Build | RequestKind::Scratch { .. } => false,
        }
    }
}

/// What is built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Source {
    /// A commit of a dist-git repo.
    Git {
        /// The repo's URL, or its path on the farm's own git server.
        repo: String,
        /// The full commit id.
        commit: String,
        /// The tree as a tar in the artifact store; `None` when it could not be read, and then the request is closed.
        tree: Option<Input>,
    },
    /// A source RPM a person uploaded.
    Srpm {
        /// It, in the artifact store.
        srpm: Input,
    },
    /// A snapshot that is tested.
    Snapshot,
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Closed {
    /// When.
    pub at: Stamp,
    /// How.
    pub verdict: Verdict,
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Verdict {
    /// Everything asked for was done.
    Complete {
        /// The imported build, where the request makes one.
        build: Option<BuildId>,
    },
    /// It was not, and why: the first sentence a person sees.
    Failed {
        /// Why.
        reason: String,
    },
    /// A person stopped it.
    Cancelled {
        /// Who.
        by: String,
    },
}

/// A request's status in one word, computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// No job has begun.
    Queued,
    /// A job is at work, or between two.
    Running,
    /// A job has failed and the others are being stopped.
    Failing,
    /// Closed: done.
    Complete,
    /// Closed: not done.
    Failed,
    /// Closed: stopped by a person.
    Cancelled,
}

impl Status {
    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Queued => "queued",
            Status::Running => "running",
            Status::Failing => "failing",
            Status::Complete => "complete",
            Status::Failed => "failed",
            Status::Cancelled => "cancelled",
        }
    }

    /// Will it never change again?
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Status::Complete | Status::Failed | Status::Cancelled)
    }
}

/// A request's status.
#[must_use]
pub fn status(request: &Request, jobs: &[Job]) -> Status {
    match &request.closed {
        Some(Closed { verdict: Verdict::Complete { .. }, .. }) => Status::Complete,
        Some(Closed { verdict: Verdict::Failed { .. }, .. }) => Status::Failed,
        Some(Closed { verdict: Verdict::Cancelled { .. }, .. }) => Status::Cancelled,
        None if jobs.iter().any(|job| job.outcome().is_some_and(|outcome| !outcome.passed())) => {
            Status::Failing
        }
        None if jobs
            .iter()
            .all(|job| matches!(job.state, JobState::Waiting { .. } | JobState::Offered { .. })) =>
        {
            Status::Queued
        }
        None => Status::Running,
    }
}

/// What is to be done next about an open request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Nothing: its jobs are at work.
    Wait,
    /// The source RPM is there: read it and plan the builds.
    PlanBuilds,
    /// Every architecture is built: import.
    Import,
    /// One job failed: these are not needed any more.
    CancelJobs(Vec<JobId>),
    /// It is over.
    Close(Verdict),
}

/// What is to be done next about an open request. All architectures succeed or nothing is imported; of a test request
/// every suite runs to its end, because each result is worth knowing.
#[must_use]
pub fn next(request: &Request, jobs: &[Job]) -> Next {
    let unsettled: Vec<JobId> = jobs.iter().filter(|job| job.outcome().is_none()).map(|job| job.id).collect();
    let is_test = request.kind.is_test();
    if let Some(verdict) = first_failure(jobs) {
        return match (unsettled.is_empty(), is_test) {
            (true, _) => Next::Close(verdict),
            (false, true) => Next::Wait,
            (false, false) => {
                let running: Vec<JobId> = jobs
                    .iter()
                    .filter(|job| job.outcome().is_none() && !matches!(job.state, JobState::Stopping { .. }))
                    .map(|job| job.id)
                    .collect();
                if running.is_empty() { Next::Wait } else { Next::CancelJobs(running) }
            }
        };
    }
    if !unsettled.is_empty() {
        return Next::Wait;
    }
    let built = jobs.iter().any(|job| job.kind == JobKind::Build);
    match &request.kind {
        RequestKind::Test { .. } | RequestKind::Check { .. } => {
            Next::Close(Verdict::Complete { build: None })
        }
        RequestKind::Push { .. } | RequestKind::Build | RequestKind::Scratch { .. } if !built => {
            Next::PlanBuilds
        }
        RequestKind::Push { .. } | RequestKind::Build => Next::Import,
        RequestKind::Scratch { .. } => Next::Close(Verdict::Complete { build: None }),
    }
}

/// The failure a person should see: the earliest that was not itself a consequence of another.
fn first_failure(jobs: &[Job]) -> Option<Verdict> {
    let mut failures: Vec<(&Job, Stamp, &Outcome)> = jobs
        .iter()
        .filter_map(|job| match &job.state {
            JobState::Done { at, outcome, .. } if !outcome.passed() => Some((job, *at, outcome)),
            JobState::Done { .. }
            | JobState::Waiting { .. }
            | JobState::Offered { .. }
            | JobState::Building { .. }
            | JobState::Stopping { .. } => None,
        })
        .collect();
    failures.sort_by_key(|(job, at, outcome)| (matches!(outcome, Outcome::Cancelled { .. }), *at, job.id));
    failures.first().map(|(job, _, outcome)| match outcome {
        Outcome::Cancelled { by } => Verdict::Cancelled { by: by.clone() },
        Outcome::Passed
        | Outcome::FailedByPackage { .. }
        | Outcome::FailedByFarm { .. }
        | Outcome::Lost { .. } => Verdict::Failed {
            reason: format!("{} on {}: {}", job.kind.label(), job.arch, outcome.sentence()),
        },
    })
}

/// What a source RPM says about where it builds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceArches {
    /// `ExclusiveArch`; empty means every one.
    pub exclusive: BTreeSet<String>,
    /// `ExcludeArch`.
    pub excluded: BTreeSet<String>,
    /// `BuildArch: noarch`: built once.
    pub noarch: bool,
}

/// The architectures to build on: those of the target that the source RPM allows, or the first of them when the
/// result is the same everywhere; so give them with the easiest first.
///
/// # Errors
/// One sentence, when none is left.
pub fn build_arches(target: &[Arch], source: &SourceArches) -> Result<Vec<Arch>, String> {
    let names = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(" ");
    let allowed: Vec<Arch> = target
        .iter()
        .copied()
        .filter(|arch| {
            let exclusive = source.exclusive.is_empty()
                || source.exclusive.contains(arch.as_str())
                || (source.noarch && source.exclusive.contains("noarch"));
            exclusive && !source.excluded.contains(arch.as_str())
        })
        .collect();
    match (allowed.first(), source.noarch) {
        (Some(first), true) => Ok(vec![*first]),
        (Some(_), false) => Ok(allowed),
        (None, _) => Err(format!(
            "no architecture of the target ({}) is left: ExclusiveArch [{}], ExcludeArch [{}]",
            target.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            names(&source.exclusive),
            names(&source.excluded),
        )),
    }
}

/// Makes the jobs of a request.
#[derive(Debug)]
pub struct Planner<'a> {
    /// Where ids come from.
    pub minter: &'a mut Minter,
    /// The time.
    pub now: Stamp,
    /// The request the jobs are for.
    pub request: RequestId,
    /// How urgent they are.
    pub class: Class,
}

impl Planner<'_> {
    /// The job that makes the source RPM, on whichever of the target's architectures that is easiest.
    pub fn srpm(
        &mut self,
        project: &Project,
        arch: Arch,
        tree: Input,
        spec: String,
        sources: Vec<Input>,
    ) -> Job {
        self.job(project, JobKind::Srpm, arch, Work::Srpm { tree, spec, sources }, Vec::new())
    }

    /// One build job for each architecture.
    pub fn builds(
        &mut self,
        project: &Project,
        srpm: &Input,
        arches: &[Arch],
        repos: &[RepoSource],
    ) -> Vec<Job> {
        arches
            .iter()
            .map(|arch| {
                self.job(project, JobKind::Build, *arch, Work::Build { srpm: srpm.clone() }, repos.to_vec())
            })
            .collect()
    }

    /// One run of a suite on one architecture.
    pub fn test(
        &mut self,
        project: &Project,
        requirement: &Requirement,
        folder: Option<Input>,
        packages: Vec<String>,
        repos: Vec<RepoSource>,
    ) -> Job {
        let work = Work::Test { suite: requirement.suite.clone(), folder, packages };
        let kind = JobKind::Test { suite: requirement.suite.clone(), on: requirement.on.clone() };
        self.job(project, kind, requirement.arch, work, repos)
    }

    /// What its jobs may share; a ccache is for builds that are no scratch builds.
    fn sharing(&self, project: &Project, kind: &JobKind) -> Sharing {
        let scratch = self.class == Class::Scratch;
        let compiles = *kind == JobKind::Build && !scratch;
        Sharing { target: project.target(), scratch, ccache_mb: if compiles { project.ccache_mb } else { 0 } }
    }

    fn job(
        &mut self,
        project: &Project,
        kind: JobKind,
        arch: Arch,
        work: Work,
        repos: Vec<RepoSource>,
    ) -> Job {
        let sharing = self.sharing(project, &kind);
        Job {
            id: self.minter.mint(self.now),
            request: self.request,
            sig: project.sig.clone(),
            class: self.class,
            kind,
            arch,
            labels: project.labels.clone(),
            height: 0,
            created: self.now,
            recipe: Recipe {
                image: project.image_for(arch),
                arch,
                work,
                repos,
                macros: project.all_macros(),
                sharing: Some(sharing),
                limits: project.limits.clone(),
            },
            turn: 0,
            tries: 0,
            state: JobState::Waiting { not_before: self.now },
            history: Vec::new(),
        }
    }
}
