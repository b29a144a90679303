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

/// Bytes of a reason that are kept: it is a sentence, not a log.
const LONGEST_REASON: usize = 2_000;

impl Outcome {
    /// The outcome with a reason no longer than a sentence may be: builders are not trusted to be brief.
    #[must_use]
    pub fn brief(self) -> Outcome {
        match self {
            Outcome::FailedByPackage { reason } => Outcome::FailedByPackage { reason: cut(reason) },
            Outcome::FailedByFarm { reason } => Outcome::FailedByFarm { reason: cut(reason) },
            Outcome::Passed | Outcome::Cancelled { .. } | Outcome::Lost { .. } => self,
        }
    }

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

fn cut(mut reason: String) -> String {
    if reason.len() > LONGEST_REASON {
        let end = (0..=LONGEST_REASON).rev().find(|end| reason.is_char_boundary(*end)).unwrap_or(0);
        reason.truncate(end);
        reason.push('…');
    }
    reason
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_cut_where_a_character_ends() {
        let long = Outcome::FailedByFarm { reason: "é".repeat(LONGEST_REASON) };
        let Outcome::FailedByFarm { reason } = long.brief() else { panic!("another outcome") };
        assert!(reason.len() <= LONGEST_REASON + '…'.len_utf8() && reason.ends_with("é…"));
        let short = Outcome::FailedByPackage { reason: "no".to_owned() };
        assert_eq!(short.clone().brief(), short);
    }
}
