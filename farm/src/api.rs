//! What the hub's HTTP API (`/api/v1`) says and takes: the bodies that the hub, the `grange` command and other clients
//! share. What builders exchange with the hub about their attempts is in [`crate::message`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::arch::Arch;
use crate::builder::{Builder, Condition, Wish};
use crate::buildroot::RootFacts;
use crate::chain::Blocker;
use crate::ids::{BuildId, ChainId, JobId, PromotionId, RequestId, SnapshotId};
use crate::job::{Attempt, Job, JobState};
use crate::outcome::Outcome;
use crate::promotion::Promotion;
use crate::recipe::Recipe;
use crate::request::{Request, Status, Verdict};
use crate::sig::plan::Change;
use crate::sig::{Layer, Stage};
use crate::stamp::Stamp;

/// One page of a listing, newest first.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Give this as `before` to get the next page; absent on the last one.
    pub next: Option<String>,
}

/// An error, as RFC 9457 (problem details) wants it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ProblemBody {
    /// A stable code: `urn:grange:problem:<code>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What was wrong, in a few words; the same for every problem of this code.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What was wrong this time, naming it.
    pub detail: String,
    /// What to do about it.
    pub fix: Option<String>,
}

/// A request with its jobs: what people call a build.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RequestView {
    /// The request itself.
    pub request: Request,
    /// Its status, computed.
    pub status: Status,
    /// Why it failed or by whom it was cancelled: the first line a person should see.
    pub reason: Option<String>,
    /// The build's name, once the source RPM is known.
    pub nvr: Option<String>,
    /// The page for people.
    pub url: String,
    /// Its jobs, oldest first. Empty in listings.
    pub jobs: Vec<JobView>,
    /// The promotions its build is part of, oldest first. Empty in listings.
    pub promotions: Vec<Promotion>,
    /// The buildroot of each architecture, once it is imported. What was installed in it is a file of the build's job,
    /// [`crate::buildroot::LOCK_FILE`].
    #[serde(default)]
    pub roots: BTreeMap<Arch, RootFacts>,
}

impl RequestView {
    /// Why it failed, or by whom it was cancelled.
    #[must_use]
    pub fn reason_of(request: &Request) -> Option<String> {
        match &request.closed.as_ref()?.verdict {
            Verdict::Complete { .. } => None,
            Verdict::Failed { reason } => Some(reason.clone()),
            Verdict::Cancelled { by } => Some(format!("cancelled by {by}")),
        }
    }
}

/// A job, for people.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct JobView {
    /// Its id.
    pub id: JobId,
    /// `srpm`, `build`, `test runs`.
    pub label: String,
    /// What it runs on.
    pub arch: Arch,
    /// `waiting`, `offered`, `building`, `stopping`, `done`.
    pub phase: String,
    /// The newest turn.
    pub turn: u32,
    /// How often a builder started it.
    pub tries: u32,
    /// Who has it, or had it last.
    pub builder: Option<String>,
    /// When it entered the backlog.
    pub created: Stamp,
    /// When its newest attempt began.
    pub started: Option<Stamp>,
    /// When it was settled.
    pub ended: Option<Stamp>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// Earlier attempts.
    pub history: Vec<Attempt>,
    /// What it does.
    pub recipe: Recipe,
    /// The logs of its newest attempt, in the order in which they are written.
    pub logs: Vec<LogView>,
    /// The files of its newest attempt.
    pub files: Vec<FileView>,
}

impl JobView {
    /// A job as people see it.
    #[must_use]
    pub fn of(job: &Job, logs: Vec<LogView>, files: Vec<FileView>) -> Self {
        let (started, ended) = match &job.state {
            JobState::Building { started, .. } | JobState::Stopping { started, .. } => (Some(*started), None),
            JobState::Done { at, started, .. } => (*started, Some(*at)),
            JobState::Waiting { .. } | JobState::Offered { .. } => (None, None),
        };
        Self {
            id: job.id,
            label: job.kind.label(),
            arch: job.arch,
            phase: job.phase().to_owned(),
            turn: job.turn,
            tries: job.tries,
            builder: job.builder().map(str::to_owned),
            created: job.created,
            started,
            ended,
            outcome: job.outcome().cloned(),
            history: job.history.clone(),
            recipe: job.recipe.clone(),
            logs,
            files,
        }
    }
}

/// A log of an attempt: `GET /api/v1/jobs/{job}/logs/{name}?turn=&offset=` reads it (header `x-log-complete: true` when
/// nothing will be added), `GET …/logs/{name}/events` follows it as server-sent events.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LogView {
    /// `state.log`, `root.log`, `build.log`, `test.log`.
    pub name: String,
    /// Its size in bytes now.
    pub size: u64,
}

/// A file a job produced: `GET /api/v1/jobs/{job}/files/{name}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct FileView {
    /// Its name.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
}

/// `POST /api/v1/builds`: build a commit.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewBuild {
    /// For this target.
    pub target: String,
    /// A repo on the farm's own git server (`rpms/hello`), or a clone URL.
    pub repo: String,
    /// A commit id or a branch.
    pub commit: String,
    /// Into no repo.
    #[serde(default)]
    pub scratch: bool,
}

/// `POST /api/v1/chains`: build several commits for one target, each with what it needs of the others.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewChain {
    /// For this target.
    pub target: String,
    /// What to build. The order matters only where the farm cannot know better.
    pub members: Vec<NewMember>,
}

/// One build of a chain.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewMember {
    /// A repo on the farm's own git server (`rpms/hello`), or a clone URL.
    pub repo: String,
    /// A commit id or a branch.
    pub commit: String,
    /// Its level: it waits for every member on a lower one, whatever they provide. Leave it out, and the farm finds the order.
    #[serde(default)]
    pub level: Option<u32>,
}

/// A chain and where its builds stand.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ChainView {
    /// Its id.
    pub id: ChainId,
    /// What it is built for.
    pub target: String,
    /// Who asked.
    pub by: String,
    /// When it was asked for.
    pub created: Stamp,
    /// How all its builds together stand: `failing` when one has failed and others are open.
    pub status: Status,
    /// Its builds in the order in which they are made, as far as that is known.
    pub members: Vec<ChainMember>,
}

/// One build of a chain.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ChainMember {
    /// The build, as in a listing.
    pub build: RequestView,
    /// The members that come before it, and why.
    pub after: Vec<Blocker>,
    /// Members it needs that need it as well: it is built first, without them.
    pub without: Vec<Blocker>,
    /// What it waits for now, in its chain or outside of it.
    pub waits_for: Vec<Blocker>,
}

/// A layer of what a target's builds install from: `GET /api/v1/targets/{target}/layers`, the most preferred first.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LayerView {
    /// dnf's priority: of packages with one name, those from the lowest number are taken, whatever their version. `None`
    /// while nothing was ever published in it.
    pub priority: Option<u32>,
    /// The layer.
    pub layer: Layer,
    /// The target whose project names it; the target itself for what its own template says.
    pub inherited_by: String,
    /// The SIG whose tag it is; `None` for a repo outside the farm.
    pub sig: Option<String>,
    /// How far its content has come.
    pub stage: Option<Stage>,
    /// Its repo's live snapshot.
    pub snapshot: Option<SnapshotId>,
    /// Grows with every change of its repo.
    pub revision: Option<i64>,
    /// When the live snapshot was made.
    pub since: Option<Stamp>,
    /// How many builds it shows.
    pub builds: Option<usize>,
    /// Is its repo being composed? Builds wait until it shows what was imported.
    pub composing: bool,
}

/// `POST /api/v1/sigs/plan` and `…/apply`: a template.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TemplateBody {
    /// What the user calls the file, for messages.
    pub file: String,
    /// Its text.
    pub template: String,
}

/// The answer to both.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PlanView {
    /// The SIG.
    pub sig: String,
    /// What differs; nothing when it is applied already.
    pub changes: Vec<Change>,
    /// Was it applied?
    pub applied: bool,
}

/// A target and what its builds may install from.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TargetView {
    /// Its name.
    pub target: String,
    /// Its SIG.
    pub sig: String,
    /// The tag buildroots are made from.
    pub build_tag: String,
    /// The tag finished builds go to.
    pub dest_tag: String,
    /// Its architectures.
    pub arches: Vec<Arch>,
    /// The branches that are built for it.
    pub branches: Vec<String>,
    /// What its builds may install from, in order.
    pub layers: Vec<Layer>,
}

/// A tag and its repo.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TagView {
    /// Its name.
    pub tag: String,
    /// Its SIG.
    pub sig: String,
    /// How far its content has come.
    pub stage: Stage,
    /// The repo's live snapshot.
    pub snapshot: Option<SnapshotId>,
    /// Grows with every change of the repo.
    pub revision: i64,
    /// The builds in the live snapshot.
    pub builds: Vec<TaggedBuild>,
    /// Where dnf finds it, `$basearch` for the architecture.
    pub baseurl: String,
    /// Where its `.repo` file is.
    pub repo_file: String,
}

/// A build in a tag.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TaggedBuild {
    /// The build.
    pub build: BuildId,
    /// Its name.
    pub nvr: String,
    /// How many RPMs it has.
    pub rpms: usize,
}

/// `POST /api/v1/promotions`: move builds into a repo, together or not at all.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewPromotion {
    /// Their NVRs; all of one target. May be empty when a stack or removals are named.
    #[serde(default)]
    pub nvrs: Vec<String>,
    /// Where to: `release`, or `testing` to try again what the gate refused.
    pub to: Stage,
    /// The target, needed only when no NVR tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// A stack of the target's template: whatever of it has changed since it was last promoted there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<String>,
    /// Packages that leave the repo in the same step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
    /// Knowing that the repo may be emptied, or hold much less than before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub confirm: bool,
}

/// `POST /api/v1/rollbacks`: make a public repo show again what it showed before.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewRollback {
    /// The repo's tag: `storage9s-gluster-11-release`.
    pub tag: String,
    /// The revision to go back to; the one before the present content when absent.
    #[serde(default)]
    pub revision: Option<i64>,
    /// Why, for everybody to read.
    pub reason: String,
    /// Knowing that the repo may hold much less than before.
    #[serde(default)]
    pub confirm: bool,
}

/// `POST /api/v1/promotions/{id}/waivers`: a release manager's word in place of a result.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewWaiver {
    /// The suite.
    pub suite: String,
    /// The architecture; all of them when absent.
    #[serde(default)]
    pub arch: Option<Arch>,
    /// The target of the layered project whose suite it is.
    #[serde(default)]
    pub on: Option<String>,
    /// The NVR of one of the promotion's builds: then the waiver holds for every content that has it, and otherwise for
    /// exactly the content that was tested.
    #[serde(default)]
    pub nvr: Option<String>,
    /// Why, for everybody to read.
    pub reason: String,
    /// Days it holds.
    pub days: u32,
}

/// The answer to [`NewWaiver`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Waived {
    /// The waiver, as it is kept for ever.
    pub waiver: crate::gate::Waiver,
    /// What follows from it for the promotion, in one sentence.
    pub then: String,
}

/// `POST /api/v1/withdrawals`: a build that must not be published any more.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewWithdrawal {
    /// Its NVR.
    pub nvr: String,
    /// Why, for everybody to read.
    pub reason: String,
}

/// The answer to a withdrawal.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Withdrawn {
    /// Its NVR.
    pub nvr: String,
    /// The public repos that show it now, from which only a rollback, a newer build or a removal takes it.
    pub live_in: Vec<String>,
    /// What the person should know besides.
    pub warnings: Vec<String>,
}

/// One content a public repo showed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PublicationView {
    /// The repo's revision from then on.
    pub revision: i64,
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// The promotion that put it there.
    pub promotion: PromotionId,
    /// Who approved it.
    pub by: String,
    /// Why, where a reason was given.
    pub reason: Option<String>,
    /// When.
    pub at: Stamp,
    /// How many packages it has.
    pub packages: usize,
}

/// A promotion with the results the gate looks at.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PromotionView {
    /// The promotion.
    pub promotion: Promotion,
    /// One sentence on where it stands.
    pub sentence: String,
    /// The results for its snapshot.
    pub results: Vec<crate::gate::TestResult>,
    /// What is required.
    pub required: Vec<crate::gate::Requirement>,
    /// Every waiver that was ever given for its target and speaks about one of its builds or its content.
    #[serde(default)]
    pub waivers: Vec<crate::gate::Waiver>,
    /// The promotion ahead of it in the queue of its repo.
    #[serde(default)]
    pub behind: Option<PromotionId>,
    /// How many release managers must approve it.
    #[serde(default)]
    pub approvals_needed: usize,
    /// What the signer said last, if it has said anything about it that is not a signature.
    #[serde(default)]
    pub signer: Option<String>,
}

/// A builder, for people.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct BuilderView {
    /// What it reported.
    pub builder: Builder,
    /// Its state, computed.
    pub condition: Condition,
}

/// `PUT /api/v1/builders/{name}/wish`: what an operator wants of a builder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewWish {
    /// It.
    pub wish: Wish,
}

/// The answer to a wish.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Wished {
    /// The builder.
    #[serde(flatten)]
    pub view: BuilderView,
    /// Jobs that were taken from it, because it is disabled.
    pub taken: Vec<JobId>,
}

/// `POST /api/v1/builders/enrolments`: let a new machine join.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewEnrolment {
    /// What the builder will be called.
    pub builder: String,
    /// Seconds for which the token may be used; an hour when it is not said.
    #[serde(default)]
    pub seconds: Option<u64>,
}

/// A one-time token: shown once, and kept by nobody.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Enrolment {
    /// What the builder will be called.
    pub builder: String,
    /// The token.
    pub token: String,
    /// When it is worth nothing any more.
    pub expires: Stamp,
}

/// `GET /api/v1/status`: the farm at a glance.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct StatusView {
    /// The program's version.
    pub version: String,
    /// Jobs by phase.
    pub jobs: std::collections::BTreeMap<String, i64>,
    /// Requests that are open.
    pub open_requests: usize,
    /// Promotions that are not settled.
    pub open_promotions: usize,
    /// The builders.
    pub builders: Vec<BuilderView>,
    /// A sentence for each architecture that some target asks for and nobody builds for.
    #[serde(default)]
    pub nobody: Vec<String>,
    /// What waits for which architecture on behalf of which SIG.
    #[serde(default)]
    pub queues: Vec<QueueView>,
    /// Promotions whose tests have passed and that wait for a release manager, oldest first.
    #[serde(default)]
    pub unapproved: Vec<Promotion>,
    /// Promotions that the hub which answers cannot take on now, oldest first. It tries again and again.
    #[serde(default)]
    pub stuck: Vec<StuckView>,
    /// What is live and does not pass its tests any more.
    #[serde(default)]
    pub red: Vec<RedView>,
    /// Changes of state that are still to be told to the outside.
    #[serde(default)]
    pub untold: Untold,
    /// Is the bus away from the hub that answers? Then nothing is lost, and everything is slower.
    #[serde(default)]
    pub bus_away: bool,
    /// Attempts that came to nothing for a reason of the farm's own, of the newest jobs, the latest first.
    #[serde(default)]
    pub troubles: Vec<TroubleView>,
    /// Who is asking, if a token was given.
    pub you: Option<String>,
}

/// A promotion that the hub cannot take on now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct StuckView {
    /// Its id.
    pub promotion: PromotionId,
    /// Its SIG.
    pub sig: String,
    /// For people: `hello-1-1 to testing`.
    pub what: String,
    /// What went wrong the last time, in one sentence.
    pub why: String,
}

/// Something live that does not pass its tests any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RedView {
    /// The repo's tag.
    pub tag: String,
    /// What is broken.
    pub red: crate::recheck::Red,
    /// The same for people, with what broke it.
    pub sentence: String,
}

/// What waits for one architecture on behalf of one SIG.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct QueueView {
    /// The SIG.
    pub sig: String,
    /// The architecture.
    pub arch: Arch,
    /// How many jobs.
    pub jobs: i64,
    /// When the oldest of them entered the backlog.
    pub oldest: Stamp,
}

/// Changes of state that are still to be told to the outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Untold {
    /// How many.
    pub events: i64,
    /// When the oldest of them happened.
    pub oldest: Option<Stamp>,
}

/// An attempt that came to nothing for a reason of the farm's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TroubleView {
    /// The job.
    pub job: JobId,
    /// The request it is part of.
    pub request: RequestId,
    /// `srpm`, `build`, `test runs`.
    pub label: String,
    /// What it runs on.
    pub arch: Arch,
    /// Who had it, when, and what was the matter.
    pub attempt: Attempt,
    /// Where the job stands now: `waiting`, `offered`, `building`, `stopping`, `done`.
    pub phase: String,
}

/// The answer to something that made a promotion or changed one.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Made<T> {
    /// Its id.
    pub id: T,
    /// The page for people.
    pub url: String,
    /// What will hold it up, one sentence each.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// [`Made`] for a promotion.
pub type MadePromotion = Made<PromotionId>;
/// [`Made`] for a chain.
pub type MadeChain = Made<ChainId>;
/// [`Made`] for a request.
pub type MadeRequest = Made<RequestId>;
