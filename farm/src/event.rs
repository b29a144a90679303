//! Changes of state, as they are told to the outside: documented JSON that others build on.
//!
//! Every change the ledger writes is noted in the same transaction, so none is missed; each is told at least once, and has
//! an id by which a listener knows one it has heard before.

use serde::{Deserialize, Serialize};

use crate::arch::Arch;
use crate::ids::EventId;
use crate::stamp::Stamp;

/// One change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct StateChange {
    /// Its id: the same however often it is told. Ids sort by time.
    pub id: EventId,
    /// When.
    pub at: Stamp,
    /// What changed.
    pub kind: ChangeKind,
    /// The id of what changed: of a job, a request, a promotion; a repo's tag; a SIG's name.
    pub subject: String,
    /// The SIG it belongs to.
    pub sig: String,
    /// The architecture, where it has one.
    pub arch: Option<Arch>,
    /// The state it is in now, in one word: a job's phase, a request's `open`, `complete`, `failed` or `cancelled`, a
    /// promotion's phase, a repo's live snapshot, a SIG's `applied`.
    pub state: String,
    /// More for people and programs: the request of a job, the package, the outcome's sentence, …
    pub facts: serde_json::Value,
}

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the variants are the names of what changed")]
pub enum ChangeKind {
    Job,
    Request,
    Promotion,
    Repo,
    Sig,
}

impl ChangeKind {
    /// One word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            ChangeKind::Job => "job",
            ChangeKind::Request => "request",
            ChangeKind::Promotion => "promotion",
            ChangeKind::Repo => "repo",
            ChangeKind::Sig => "sig",
        }
    }
}

impl StateChange {
    /// `<kind>.<sig>.<arch>`, with `noarch` where there is none: what listeners bind to on the topic exchange `grange.events`.
    #[must_use]
    pub fn routing_key(&self) -> String {
        let arch = self.arch.map_or("noarch", Arch::as_str);
        format!("{}.{}.{arch}", self.kind.as_str(), self.sig)
    }
}
