//! Waivers: a release manager's word in place of a test's result, with a reason, for everybody to read, and for a time.

use serde::{Deserialize, Serialize};

use super::{ReleaseManagers, Requirement};
use crate::arch::Arch;
use crate::digest::Digest;
use crate::ids::{BuildId, WaiverId};
use crate::snapshot::Snapshot;
use crate::stamp::Stamp;

/// A waiver. It is kept for ever; nothing of it ever changes but that it may be taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Waiver {
    /// Its id.
    pub id: WaiverId,
    /// The target whose gate it speaks to.
    pub target: String,
    /// The suite whose result it stands in for.
    pub suite: String,
    /// The architecture; all of them when absent.
    pub arch: Option<Arch>,
    /// The target of the layered project whose suite it is, see [`Requirement::on`].
    pub on: Option<String>,
    /// What it is about.
    pub scope: WaiverScope,
    /// The release manager who gave it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Since when.
    pub made: Stamp,
    /// Until when: at this moment it is worth nothing any more.
    pub until: Stamp,
    /// Who took it back, and when.
    pub revoked: Option<(String, Stamp)>,
}

/// What a waiver is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum WaiverScope {
    /// Exactly this content of the repo, and no other.
    Content {
        /// It.
        content: Digest,
    },
    /// Every content of the repo that has this build in it.
    Build {
        /// The build.
        build: BuildId,
        /// Its NVR, for people.
        nvr: String,
    },
}

impl Waiver {
    /// Does it stand in for the result that `requirement` asks for of this snapshot, now?
    #[must_use]
    pub fn covers(
        &self,
        requirement: &Requirement,
        snapshot: &Snapshot,
        managers: &ReleaseManagers,
        now: Stamp,
    ) -> bool {
        let in_scope = match &self.scope {
            WaiverScope::Content { content } => *content == snapshot.content,
            WaiverScope::Build { build, .. } => snapshot.members.iter().any(|member| member.build == *build),
        };
        in_scope
            && self.revoked.is_none()
            && now < self.until
            && self.suite == requirement.suite
            && self.on == requirement.on
            && self.arch.is_none_or(|arch| arch == requirement.arch)
            && managers.may_waive(&self.by, requirement)
    }
}

impl ReleaseManagers {
    /// May this person waive a result: as a release manager of the repo's SIG, or of the layered one whose suite it is?
    #[must_use]
    pub fn may_waive(&self, person: &str, requirement: &Requirement) -> bool {
        let theirs = requirement.on.as_ref().and_then(|target| self.layered.get(target));
        self.own.contains(person) || theirs.is_some_and(|managers| managers.contains(person))
    }
}
