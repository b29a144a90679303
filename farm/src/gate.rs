//! The gate: may this exact content be published?
//!
//! Only [`decide`] makes an [`Approved`], and only an [`Approved`] moves a repo's pointer. What is missing,
//! unreadable or in error means no.

mod decide;
mod result;
mod waiver;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub use decide::{decide, never_shown_on};
pub use result::{TestResult, TestVerdict, suite_version};
pub use waiver::{Waiver, WaiverScope};

use crate::arch::Arch;
use crate::digest::Digest;
use crate::ids::{BuildId, SnapshotId};
use crate::promotion::Promotion;
use crate::recipe::{RepoOrigin, RepoSource};
use crate::sig::Project;
use crate::snapshot::Snapshot;
use crate::stamp::Stamp;

/// The built-in suite that every promotion must pass besides those that its project requires: everything that changes can be
/// installed and upgraded to, and nothing that depends on it breaks. The hub runs it, not a builder.
pub const CLOSURE: &str = "repoclosure";

/// One suite that must have passed on one architecture.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Requirement {
    /// The suite.
    pub suite: String,
    /// The architecture.
    pub arch: Arch,
    /// The target of the project whose suite it is, when that is another one which is layered on the repo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<String>,
}

impl Requirement {
    /// What the version of its suite is found by: two projects may have suites of one name.
    #[must_use]
    pub fn key(&self) -> String {
        suite_key(&self.suite, self.on.as_deref())
    }

    /// `suite installs on x86_64`, for people.
    #[must_use]
    pub fn phrase(&self) -> String {
        let of = self.on.as_ref().map_or_else(String::new, |target| format!(" of {target}"));
        format!("suite {}{of} on {}", self.suite, self.arch)
    }
}

/// What names a suite among those of a promotion: `installs`, or `installs of cloud9s-openstack-epoxy-el9s`.
#[must_use]
pub fn suite_key(suite: &str, on: Option<&str>) -> String {
    on.map_or_else(|| suite.to_owned(), |target| format!("{suite} of {target}"))
}

/// Everything the gate looks at. All of it is read in the transaction that acts on the answer.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Whose gate it is.
    pub project: &'a Project,
    /// What is asked for.
    pub promotion: &'a Promotion,
    /// The content.
    pub snapshot: &'a Snapshot,
    /// The repo's live snapshot now.
    pub live: Option<&'a Snapshot>,
    /// The snapshot that the promotion ahead of this one in the queue stands for.
    pub ahead: Option<SnapshotId>,
    /// The projects that are layered on this repo: their suites must pass too.
    pub layered: &'a [Layered],
    /// Every result there is for this content.
    pub results: &'a [TestResult],
    /// Every result there is for the content that is live.
    pub before: &'a [TestResult],
    /// The [`environment`] that the tests of each project run in now, on each architecture; `None` is the project itself.
    pub environments: &'a BTreeMap<(Option<String>, Arch), Digest>,
    /// Every waiver there is for this target.
    pub waivers: &'a [Waiver],
    /// The release managers of the SIG, and of those layered on it, at this moment.
    pub release_managers: &'a ReleaseManagers,
    /// The builds that were withdrawn.
    pub withdrawn: &'a BTreeSet<BuildId>,
    /// Was this very content published in this repo before?
    pub was_published: bool,
    /// The time.
    pub now: Stamp,
}

/// A project that is layered on the repo under test, and what of it must still work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layered {
    /// Its target.
    pub target: String,
    /// Its suites.
    pub required: Vec<String>,
    /// The architectures it shares with the project below.
    pub arches: Vec<Arch>,
}

/// Who may approve and waive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReleaseManagers {
    /// Of the SIG whose repo it is.
    pub own: BTreeSet<String>,
    /// Of the SIGs of the layered projects, by target.
    pub layered: BTreeMap<String, BTreeSet<String>>,
}

/// The name that the repo under test has in a test's recipe. No tag has it, and no template may give it to a repo outside.
pub const UNDER_TEST: &str = "under-test";

/// The snapshot that a test with these repos is about: `None` when there is none, or something else has its name too, since
/// then nobody can tell what was tested.
#[must_use]
pub fn under_test(repos: &[RepoSource]) -> Option<SnapshotId> {
    let mut named = repos.iter().filter(|repo| repo.name == UNDER_TEST);
    match (named.next().map(|repo| &repo.origin), named.next()) {
        (Some(RepoOrigin::Snapshot { id }), None) => Some(*id),
        (Some(_) | None, _) => None,
    }
}

/// Names what a test runs in besides the content it is about: the image, and every other repo with its exact snapshot, in
/// order. A result counts only where all of it is the same. A repo outside is never what is under test, whatever its name.
#[must_use]
pub fn environment(image: &str, repos: &[RepoSource]) -> Digest {
    let mut lines = format!("image {image}\n");
    for repo in repos {
        match &repo.origin {
            RepoOrigin::Snapshot { .. } if repo.name == UNDER_TEST => {}
            RepoOrigin::Snapshot { id } => lines.push_str(&format!("snapshot {id}\n")),
            RepoOrigin::External { baseurl } => lines.push_str(&format!("external {baseurl}\n")),
        }
    }
    Digest::of(lines.as_bytes())
}

/// The gate's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It may be published.
    Approved(Approved),
    /// Tests have passed; a release manager's word is missing.
    NeedsApproval,
    /// Nothing speaks against it yet, but these have not been shown.
    Missing(Vec<Requirement>),
    /// It was composed on a snapshot that is neither live nor ahead of it, or tested on layers that are no longer live:
    /// compose and test it again.
    Outdated,
    /// It was composed on what is ahead of it in the queue: wait for that to be published or refused.
    Behind,
    /// A layer below is being composed: ask again.
    Later,
    /// No, and why: one sentence each.
    Refused(Vec<String>),
}

/// Proof that the gate said yes to one snapshot for one repo. It cannot be made anywhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approved {
    tag: String,
    snapshot: SnapshotId,
    base: Option<SnapshotId>,
    by: Vec<String>,
    waivers: Vec<crate::ids::WaiverId>,
}

impl Approved {
    /// The repo's tag.
    #[must_use]
    pub fn tag(&self) -> &str {
        &self.tag
    }
    /// The snapshot that may become live.
    #[must_use]
    pub fn snapshot(&self) -> SnapshotId {
        self.snapshot
    }
    /// The snapshot that must still be live when the pointer moves.
    #[must_use]
    pub fn base(&self) -> Option<SnapshotId> {
        self.base
    }
    /// Who approved it: release managers, or `gate` where tests alone decide.
    #[must_use]
    pub fn by(&self) -> String {
        self.by.join(", ")
    }
    /// The waivers that stood in for results.
    #[must_use]
    pub fn waivers(&self) -> &[crate::ids::WaiverId] {
        &self.waivers
    }
}

/// What must have passed before anything of this project is published: its required suites and [`CLOSURE`], and those of
/// the projects layered on it. Empty when the project requires nothing itself, since then nothing is published.
#[must_use]
pub fn requirements(project: &Project, layered: &[Layered]) -> Vec<Requirement> {
    if project.required.is_empty() {
        return Vec::new();
    }
    let built_in = std::iter::once(CLOSURE);
    let own = built_in.chain(project.required.iter().map(String::as_str)).flat_map(|suite| {
        project.arches.iter().map(move |arch| Requirement { suite: suite.to_owned(), arch: *arch, on: None })
    });
    let theirs = layered.iter().flat_map(|layer| {
        layer.required.iter().flat_map(move |suite| {
            layer.arches.iter().map(move |arch| Requirement {
                suite: suite.clone(),
                arch: *arch,
                on: Some(layer.target.clone()),
            })
        })
    });
    own.chain(theirs).collect()
}

/// Was this result shown by this suite, in this version, on this architecture and this content?
#[must_use]
pub fn is_about(
    result: &TestResult,
    requirement: &Requirement,
    content: &Digest,
    suites: &BTreeMap<String, Digest>,
) -> bool {
    result.suite == requirement.suite
        && result.on == requirement.on
        && result.arch == requirement.arch
        && result.content == *content
        && suites.get(&requirement.key()) == Some(&result.version)
}

/// Does a result that [is about](is_about) a requirement say something of the present: was it shown in what the tests run in
/// now, and, if it says what a change breaks, of the change of what is live now?
#[must_use]
fn is_of_now(
    result: &TestResult,
    requirement: &Requirement,
    live: Option<&Snapshot>,
    environments: &BTreeMap<(Option<String>, Arch), Digest>,
) -> bool {
    let compares = requirement.suite == CLOSURE && requirement.on.is_none();
    environments.get(&(requirement.on.clone(), requirement.arch)) == Some(&result.environment)
        && (!compares || result.against.as_ref() == live.map(|live| &live.content))
}

/// What the newest run of a requirement's suite showed of a content, of those that say something of the present.
#[must_use]
pub fn newest_of_now<'a>(
    results: &'a [TestResult],
    requirement: &Requirement,
    content: &Digest,
    live: Option<&Snapshot>,
    suites: &BTreeMap<String, Digest>,
    environments: &BTreeMap<(Option<String>, Arch), Digest>,
) -> Option<&'a TestResult> {
    results
        .iter()
        .filter(|result| is_about(result, requirement, content, suites))
        .filter(|result| is_of_now(result, requirement, live, environments))
        .max_by_key(|result| (result.at, result.job))
}

/// The last word of a layered project's suite on what is live, if that is that it fails there too, in what the tests run in
/// now. Then the change is not what broke it, and the project below need not wait for the one above. What failed beside
/// something else, the former release of the project above, say, tells nothing of what it would do now.
#[must_use]
pub fn broken_before<'a>(
    requirement: &Requirement,
    live: Option<&Snapshot>,
    before: &'a [TestResult],
    suites: &BTreeMap<String, Digest>,
    environments: &BTreeMap<(Option<String>, Arch), Digest>,
) -> Option<&'a TestResult> {
    let (live, _) = live.zip(requirement.on.as_ref())?;
    let newest = newest_of_now(before, requirement, &live.content, Some(live), suites, environments);
    newest.filter(|result| matches!(result.verdict, TestVerdict::Failed { .. }))
}

/// Does a repo with `after` packages hold so much less than one with `before` that somebody must have meant it: nothing at
/// all, or more than a fifth fewer?
#[must_use]
pub fn is_much_smaller(before: usize, after: usize) -> bool {
    before > 0 && (after == 0 || after.saturating_mul(5) < before.saturating_mul(4))
}
