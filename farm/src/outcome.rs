//! How a job ended.

use serde::{Deserialize, Serialize};

/// The end of a job. A failure of the package is final; a failure of the farm is tried again elsewhere first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Outcome {
    /// The work was done and everything expected came out of it.
    Passed,
    /// The package is at fault: it does not parse, does not build, fails its tests, or broke a limit.
    FailedByPackage {
        /// One sentence a maintainer understands, naming what was wrong and where to look.
        reason: String,
    },
    /// The farm is at fault: an engine, a disk, a line; never shown as the package's failure.
    FailedByFarm {
        /// One sentence an operator understands.
        reason: String,
    },
    /// A person stopped it, or what it was part of had already failed.
    Cancelled {
        /// Who, or what.
        by: String,
    },
    /// Its builder fell silent as often as the farm was willing to try.
    Lost {
        /// How many builders had started it.
        tries: u32,
    },
}

impl Outcome {
    /// Did the work succeed?
    #[must_use]
    pub fn passed(&self) -> bool {
        matches!(self, Outcome::Passed)
    }

    /// The outcome in one sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        match self {
            Outcome::Passed => "passed".to_owned(),
            Outcome::FailedByPackage { reason } => reason.clone(),
            Outcome::FailedByFarm { reason } => format!("the farm failed: {reason}"),
            Outcome::Cancelled { by } => format!("cancelled by {by}"),
            Outcome::Lost { tries } => format!("lost: {tries} builders started it and none came back"),
        }
    }
}
