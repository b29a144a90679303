//! What a test job showed, as the gate counts it.

use serde::{Deserialize, Serialize};

use super::environment;
use crate::arch::Arch;
use crate::digest::Digest;
use crate::ids::JobId;
use crate::job::{Job, JobKind, JobState};
use crate::outcome::Outcome;
use crate::recipe::{Input, Work};
use crate::stamp::Stamp;

/// What one run of a suite showed. Bound to the content it ran on, never to a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TestResult {
    /// The job that ran it; an id of its own for what the hub ran itself.
    pub job: JobId,
    /// The content it ran on.
    pub content: Digest,
    /// The suite.
    pub suite: String,
    /// The architecture.
    pub arch: Arch,
    /// The target of the project whose suite it is, see [`Requirement::on`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<String>,
    /// Digest of the suite's folder, or of its name when it is built in.
    pub version: Digest,
    /// What it ran in: the image and the layers below, see [`environment`].
    pub environment: Digest,
    /// The content it was compared with, when it says what a change breaks: [`CLOSURE`](super::CLOSURE) does. None where
    /// there was nothing before, and of every other suite.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against: Option<Digest>,
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

impl TestResult {
    /// What a job showed of a content; nothing when it is no test, has not ended, or its recipe ran something else than the job
    /// is for. A run that did not come to an end shows nothing good.
    #[must_use]
    pub fn shown_by(job: &Job, content: &Digest) -> Option<TestResult> {
        let (JobKind::Test { suite, on }, JobState::Done { at, outcome, .. }) = (&job.kind, &job.state)
        else {
            return None;
        };
        let Work::Test { suite: run, folder, packages: _ } = &job.recipe.work else { return None };
        if run != suite || job.recipe.arch != job.arch {
            return None;
        }
        let verdict = match outcome {
            Outcome::Passed => TestVerdict::Passed,
            Outcome::FailedByPackage { reason } => TestVerdict::Failed { reason: reason.clone() },
            Outcome::FailedByFarm { .. } | Outcome::Cancelled { .. } | Outcome::Lost { .. } => {
                TestVerdict::Errored { reason: outcome.sentence() }
            }
        };
        Some(TestResult {
            job: job.id,
            content: content.clone(),
            suite: suite.clone(),
            arch: job.arch,
            on: on.clone(),
            version: suite_version(suite, folder.as_ref()),
            environment: environment(&job.recipe.image, &job.recipe.repos),
            against: None,
            verdict,
            at: *at,
        })
    }
}

/// The version of a suite: the digest of its folder, or of its name when it is built in.
#[must_use]
pub fn suite_version(suite: &str, folder: Option<&Input>) -> Digest {
    folder.map_or_else(|| Digest::of(suite.as_bytes()), |folder| folder.digest.clone())
}
