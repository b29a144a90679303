//! The gate: may this exact content be published?
//!
//! Only [`decide`] makes an [`Approved`], and only an [`Approved`] moves a repo's pointer. What is missing,
//! unreadable or in error means no.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::arch::Arch;
use crate::digest::Digest;
use crate::ids::{JobId, SnapshotId};
use crate::recipe::{RepoOrigin, RepoSource};
use crate::sig::{Project, Stage};
use crate::snapshot::Snapshot;
use crate::stamp::Stamp;

/// One suite that must have passed on one architecture.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Requirement {
    /// The suite.
    pub suite: String,
    /// The architecture.
    pub arch: Arch,
}

/// What one run of a suite showed. Bound to the content it ran on, never to a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TestResult {
    /// The job that ran it.
    pub job: JobId,
    /// The content it ran on.
    pub content: Digest,
    /// The suite.
    pub suite: String,
    /// The architecture.
    pub arch: Arch,
    /// Digest of the suite's folder, or of its name when it is built in.
    pub version: Digest,
    /// What it ran in: the image and the layers below, see [`environment`].
    pub environment: Digest,
    /// What it showed.
    pub verdict: TestVerdict,
    /// When.
    pub at: Stamp,
}

/// What one run of a suite showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum TestVerdict {
    /// It passed.
    Passed,
    /// It failed.
    Failed {
        /// Why, in one sentence.
        reason: String,
    },
    /// It could not be run: that is no pass.
    Errored {
        /// Why, in one sentence.
        reason: String,
    },
}

/// Everything the gate looks at. All of it is read in the transaction that acts on the answer.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Whose gate it is.
    pub project: &'a Project,
    /// Where the content would go.
    pub stage: Stage,
    /// The content.
    pub snapshot: &'a Snapshot,
    /// The repo's live snapshot now.
    pub live: Option<SnapshotId>,
    /// Every result there is for this content.
    pub results: &'a [TestResult],
    /// The version of each suite, as it was found when the snapshot was composed.
    pub suites: &'a BTreeMap<String, Digest>,
    /// The [`environment`] that tests run in now, on each architecture.
    pub environments: &'a BTreeMap<Arch, Digest>,
    /// Who approved it, if anybody did.
    pub approver: Option<&'a str>,
    /// Is the approver a release manager of the SIG at this moment?
    pub approver_may: bool,
}

/// The name that the repo under test has in a test's recipe.
pub const UNDER_TEST: &str = "under-test";

/// Names what a test runs in besides the content it is about: the image, and every other repo with its exact snapshot, in
/// order. A result counts only where all of it is the same.
#[must_use]
pub fn environment(image: &str, repos: &[RepoSource]) -> Digest {
    let mut lines = format!("image {image}\n");
    for repo in repos.iter().filter(|repo| repo.name != UNDER_TEST) {
        match &repo.origin {
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
    /// It was composed on a snapshot, or tested on layers, that are no longer live: compose and test it again.
    Outdated,
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
    by: String,
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
    /// Who approved it: a release manager, or `gate` where tests alone decide.
    #[must_use]
    pub fn by(&self) -> &str {
        &self.by
    }
}

/// What must have passed before anything of this project is published.
#[must_use]
pub fn requirements(project: &Project) -> Vec<Requirement> {
    project
        .required
        .iter()
        .flat_map(|suite| project.arches.iter().map(|arch| Requirement { suite: suite.clone(), arch: *arch }))
        .collect()
}

/// May this content be published?
#[must_use]
pub fn decide(question: &Question<'_>) -> Decision {
    let Question { project, stage, snapshot, live, results, approver, approver_may, .. } = *question;
    if stage == Stage::Candidate {
        return Decision::Refused(vec!["candidate repos are not published".to_owned()]);
    }
    if snapshot.tag != project.tag(stage) {
        return Decision::Refused(vec![format!(
            "the snapshot was composed for {}, not for {}",
            snapshot.tag,
            project.tag(stage)
        )]);
    }
    let required = requirements(project);
    if required.is_empty() {
        return Decision::Refused(vec![format!(
            "no test, no promotion: {} requires no suite; add at least `required = [\"installs\"]` to its [project.tests]",
            project.target()
        )]);
    }
    if snapshot.base != live {
        return Decision::Outdated;
    }
    let mut missing = Vec::new();
    let mut against = Vec::new();
    for requirement in required {
        let mut shown: Vec<&TestResult> = results
            .iter()
            .filter(|result| is_about(result, &requirement, &snapshot.content, question.suites))
            .collect();
        let were_shown = !shown.is_empty();
        shown.retain(|result| question.environments.get(&result.arch) == Some(&result.environment));
        if were_shown && shown.is_empty() {
            return Decision::Outdated;
        }
        // A suite may have been run again (after the farm failed, say): the newest run speaks.
        let newest = shown.into_iter().max_by_key(|result| (result.at, result.job));
        match newest.map(|result| &result.verdict) {
            Some(TestVerdict::Passed) => {}
            Some(TestVerdict::Failed { reason }) => {
                against.push(format!("suite {} failed on {}: {reason}", requirement.suite, requirement.arch));
            }
            Some(TestVerdict::Errored { reason }) => {
                against.push(format!(
                    "suite {} could not be run on {}: {reason}",
                    requirement.suite, requirement.arch
                ));
            }
            None => missing.push(requirement),
        }
    }
    if !against.is_empty() {
        return Decision::Refused(against);
    }
    if !missing.is_empty() {
        return Decision::Missing(missing);
    }
    let by = match (stage, approver) {
        (Stage::Release, None) => return Decision::NeedsApproval,
        (Stage::Release, Some(person)) if !approver_may => {
            return Decision::Refused(vec![format!(
                "{person} approved it but is not a release manager of SIG {}",
                project.sig
            )]);
        }
        (Stage::Release, Some(person)) => person,
        (Stage::Testing | Stage::Candidate, _) => "gate",
    };
    Decision::Approved(Approved {
        tag: snapshot.tag.clone(),
        snapshot: snapshot.id,
        base: snapshot.base,
        by: by.to_owned(),
    })
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
        && result.arch == requirement.arch
        && result.content == *content
        && suites.get(&requirement.suite) == Some(&result.version)
}
