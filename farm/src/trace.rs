//! From a package to everything that is known of it, as people ask for it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::arch::Arch;
use crate::digest::Digest;
use crate::gate::{TestResult, Waiver};
use crate::ids::{BuildId, PromotionId, SnapshotId};
use crate::promotion::Approval;
use crate::provenance::Statement;
use crate::stamp::Stamp;

/// Where a package comes from, what it has passed, and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Trace {
    /// The build it is of.
    pub build: BuildId,
    /// The build's name.
    pub nvr: String,
    /// The file that was asked for; `None` when it was the build as a whole.
    pub file: Option<String>,
    /// SHA-256 of that file's header and payload.
    pub body: Option<Digest>,
    /// Where it comes from: request, commit, sources, buildroots, builders.
    #[cfg_attr(feature = "schema", schema(value_type = Object))]
    pub provenance: Statement,
    /// How many packages were in the buildroot of each architecture.
    pub installed: BTreeMap<Arch, usize>,
    /// The public repos that show it, or did.
    pub shown: Vec<Shown>,
}

/// A public repo that shows a build, or did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Shown {
    /// The repo's tag.
    pub tag: String,
    /// Is it live there now?
    pub live: bool,
    /// Since when, without a gap; of one that is not live any more, when it came.
    pub since: Stamp,
    /// The repo's revision from then on.
    pub revision: i64,
    /// The snapshot that brought it.
    pub snapshot: SnapshotId,
    /// The promotion that brought it.
    pub promotion: PromotionId,
    /// Who let it in: `gate` where tests alone decide.
    pub approved_by: String,
    /// Release managers' words.
    pub approvals: Vec<Approval>,
    /// What the required suites showed.
    pub results: Vec<TestResult>,
    /// The waivers that stood in for results.
    pub waivers: Vec<Waiver>,
}
