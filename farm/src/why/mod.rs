//! Why something is not moving: one answer, with what is at the root of it and what to do.
//!
//! [`of_build`] decides; whoever asks gathers the [`Facts`].

mod behind;
mod build;
mod promotion;
mod span;

use serde::{Deserialize, Serialize};

pub use behind::RepoBehind;
pub use build::{Facts, Lane, MISSING_SOURCE, of_build};
pub use promotion::{SUPERSEDED, Standing, needed, of_promotion};
pub use span::span;

use crate::stamp::Stamp;

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Why {
    /// A stable word for programs.
    pub code: WhyCode,
    /// One sentence for people, with names and spans of time.
    pub sentence: String,
    /// What is at the root of it, when that is something else: the address or name of a build, a job, a builder, a tag.
    pub root: Option<String>,
    /// What the reader can do about it; `None` when there is nothing to do but wait.
    pub next: Option<String>,
    /// When it is likely to begin, from what happened before.
    pub starts: Option<Stamp>,
    /// When it is likely to be done.
    pub ends: Option<Stamp>,
}

impl Why {
    fn new(code: WhyCode, sentence: impl Into<String>) -> Why {
        Why { code, sentence: sentence.into(), root: None, next: None, starts: None, ends: None }
    }

    fn root(self, root: impl Into<String>) -> Why {
        Why { root: Some(root.into()), ..self }
    }

    fn next(self, next: impl Into<String>) -> Why {
        Why { next: Some(next.into()), ..self }
    }
}

impl WhyCode {
    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            WhyCode::Running => "running",
            WhyCode::WaitingForSlot => "waiting-for-slot",
            WhyCode::NoBuilder => "no-builder",
            WhyCode::WaitingForChain => "waiting-for-chain",
            WhyCode::WaitingForRepo => "waiting-for-repo",
            WhyCode::WaitingForLease => "waiting-for-lease",
            WhyCode::BackingOff => "backing-off",
            WhyCode::HeldByCap => "held-by-cap",
            WhyCode::FailedDependency => "failed-dependency",
            WhyCode::MissingSource => "missing-source",
            WhyCode::Gate => "gate",
            WhyCode::Testing => "testing",
            WhyCode::WaitingForApproval => "waiting-for-approval",
            WhyCode::WaitingForQueue => "waiting-for-queue",
            WhyCode::WaitingForSigner => "waiting-for-signer",
            WhyCode::Failed => "failed",
            WhyCode::Cancelled => "cancelled",
            WhyCode::Superseded => "superseded",
            WhyCode::Done => "done",
        }
    }
}

/// Why something is not moving.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum WhyCode {
    /// It is moving: builders are at work.
    Running,
    /// Every builder that could do it is busy.
    WaitingForSlot,
    /// Nobody who is here can build for the architecture.
    NoBuilder,
    /// Another build of its chain comes first.
    WaitingForChain,
    /// A repo it must see is being composed.
    WaitingForRepo,
    /// Its builder is silent, and its lease has not run out yet.
    WaitingForLease,
    /// It failed by a fault of the farm, and is tried again after a pause.
    BackingOff,
    /// Its SIG has as many jobs at work as it may.
    HeldByCap,
    /// Something it needs has failed.
    FailedDependency,
    /// A source file is not in the lookaside.
    MissingSource,
    /// The gate has said no.
    Gate,
    /// Its tests are running, or are about to.
    Testing,
    /// A release manager's word is awaited.
    WaitingForApproval,
    /// A promotion ahead of it in the queue of its repo comes first.
    WaitingForQueue,
    /// The gate has said yes; the signer has not signed it yet.
    WaitingForSigner,
    /// It failed by itself.
    Failed,
    /// A person stopped it.
    Cancelled,
    /// A later build of the same package has taken its place.
    Superseded,
    /// It is done.
    Done,
}
