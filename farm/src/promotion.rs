//! The promotion machine: a set of builds moving together into a repo, or a repo moving back to what it was.
//!
//! `Composing -> InTesting -> Ready -> Approved -> Publishing -> Published`, or `Rejected`, or `Withdrawn`. From any
//! state before `Publishing` it goes back to `Composing` when the repo has moved on underneath it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::extras::at;
use crate::ids::{BuildId, PromotionId, RequestId, SnapshotId};
use crate::sig::Stage;
use crate::stamp::Stamp;

/// One promotion, as the ledger keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Promotion {
    /// Its id.
    pub id: PromotionId,
    /// The SIG.
    pub sig: String,
    /// The target whose project is meant.
    pub target: String,
    /// Where the builds go.
    pub to: Stage,
    /// The builds, which move together or not at all.
    pub builds: Vec<BuildId>,
    /// Their NVRs, for people.
    pub nvrs: Vec<String>,
    /// Packages that leave the repo with it.
    #[serde(default)]
    pub remove: Vec<String>,
    /// The stack of the template it was asked for as, if it was one.
    #[serde(default)]
    pub stack: Option<String>,
    /// The files it brings, when it was opened for these alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brings: Option<Brings>,
    /// Does it go forward, or back?
    #[serde(default)]
    pub course: Course,
    /// Was it asked for knowing that it empties the repo, or leaves much less in it?
    #[serde(default)]
    pub confirmed: bool,
    /// Who asked for it; `gate` when it opened by itself.
    pub by: String,
    /// The release managers who approved it, each once, which may be before its tests are done.
    #[serde(default)]
    pub approvals: Vec<Approval>,
    /// The version of each suite its snapshot is tested with: what the gate asks for.
    pub suites: BTreeMap<String, Digest>,
    /// What its snapshot was composed on: what is live, or what is ahead of it in the queue.
    #[serde(default)]
    pub base: Option<SnapshotId>,
    /// When it was opened.
    pub created: Stamp,
    /// Where it stands.
    pub state: PromotionState,
}

/// What a promotion without builds is for: files beside the packages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Brings {
    /// The git repo they are in: `metadata/storage`.
    pub repo: String,
    /// The commit that was the head of its branch then, in full. What is composed is what the branch has at that moment.
    pub commit: String,
}

/// Which way a promotion moves its repo.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Course {
    /// Builds enter, once they have passed their tests in the combination that results.
    #[default]
    Forward,
    /// The repo shows again what it has shown before, under a new snapshot with a higher revision.
    Back {
        /// The snapshot whose content it shows again.
        to: SnapshotId,
        /// Why, for everybody to read.
        reason: String,
    },
}

/// A release manager's word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Approval {
    /// Who.
    pub by: String,
    /// When.
    pub at: Stamp,
}

/// Where a promotion stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "phase", rename_all = "kebab-case")]
pub enum PromotionState {
    /// The snapshot that would result is to be made.
    Composing,
    /// That snapshot is being tested.
    InTesting {
        /// It.
        snapshot: SnapshotId,
        /// The request whose jobs run the suites; `None` when results for this very content are there already.
        request: Option<RequestId>,
    },
    /// Tests have passed; a release manager's word is awaited.
    Ready {
        /// The tested snapshot.
        snapshot: SnapshotId,
    },
    /// The gate has said yes: it is being signed and staged.
    Approved {
        /// The tested snapshot.
        snapshot: SnapshotId,
        /// Who approved it.
        by: String,
    },
    /// The repo's pointer names the snapshot; the public tree follows.
    Publishing {
        /// The snapshot that is live now.
        snapshot: SnapshotId,
        /// Who approved it.
        by: String,
    },
    /// Users see it.
    Published {
        /// The snapshot.
        snapshot: SnapshotId,
        /// Who approved it.
        by: String,
        /// Since when.
        at: Stamp,
    },
    /// The gate has said no.
    Rejected {
        /// Why, one sentence each.
        why: Vec<String>,
        /// When.
        at: Stamp,
        /// The snapshot that was tested, if it came to that.
        snapshot: Option<SnapshotId>,
    },
    /// A person took it back.
    Withdrawn {
        /// Who.
        by: String,
        /// When.
        at: Stamp,
    },
}

/// Something that happened to a promotion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PromotionEvent {
    /// Its snapshot is on disk, and its tests have been asked for unless their results are known.
    Composed {
        /// The snapshot.
        snapshot: SnapshotId,
        /// What it was composed on.
        base: Option<SnapshotId>,
        /// The request that tests it.
        request: Option<RequestId>,
        /// The version of each suite.
        suites: BTreeMap<String, Digest>,
    },
    /// The repo, what is ahead of it in the queue, a layer below or a suite has moved on: compose again.
    Outdated,
    /// The gate misses nothing but a release manager's word.
    NeedsApproval,
    /// A release manager agrees.
    Approve {
        /// Who.
        by: String,
    },
    /// The gate has said yes to the snapshot that is in test.
    Approved {
        /// The snapshot it said yes to.
        snapshot: SnapshotId,
        /// Who approved it.
        by: String,
    },
    /// The repo's pointer moved, in this very transaction.
    PointerMoved,
    /// The public tree shows it.
    Visible,
    /// The gate has said no, or it cannot go on.
    Reject {
        /// Why.
        why: Vec<String>,
    },
    /// A person takes it back.
    Withdraw {
        /// Who.
        by: String,
    },
}

/// So many names are read; of more, people want to know how many.
const NAMED: usize = 8;

/// `a, b, c`, or of many the first ones and how many more.
fn few(names: &[String]) -> String {
    match names.get(NAMED..) {
        Some(more) if !more.is_empty() => format!("{} and {} more", names[..NAMED].join(", "), more.len()),
        Some(_) | None => names.join(", "),
    }
}

/// An event that does not fit the promotion's state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("promotion {id} is {phase}")]
pub struct OutOfStep {
    /// The promotion.
    pub id: PromotionId,
    /// Its phase.
    pub phase: &'static str,
}

impl Brings {
    /// Where the files are from, for people: `metadata/storage at 1234abcd`.
    #[must_use]
    pub fn at(&self) -> String {
        at(&self.repo, &self.commit)
    }
}

impl Promotion {
    /// Decides what an event makes of the promotion.
    ///
    /// # Errors
    /// [`OutOfStep`] when the event does not fit.
    pub fn on(&self, event: PromotionEvent, now: Stamp) -> Result<Promotion, OutOfStep> {
        use PromotionEvent as E;
        use PromotionState as S;
        let mut next = self.clone();
        let refused = || OutOfStep { id: self.id, phase: self.phase() };
        next.state = match (event, &self.state) {
            (_, S::Published { .. } | S::Rejected { .. } | S::Withdrawn { .. }) => return Err(refused()),

            (E::Visible, S::Publishing { snapshot, by }) => {
                S::Published { snapshot: *snapshot, by: by.clone(), at: now }
            }
            (_, S::Publishing { .. }) => return Err(refused()),

            (E::Composed { snapshot, base, request, suites }, S::Composing) => {
                (next.base, next.suites) = (base, suites);
                S::InTesting { snapshot, request }
            }
            (E::Composed { .. }, S::InTesting { .. } | S::Ready { .. } | S::Approved { .. }) => {
                return Err(refused());
            }

            (E::Outdated, S::InTesting { .. } | S::Ready { .. } | S::Approved { .. }) => S::Composing,
            (E::Outdated, S::Composing) => return Err(refused()),

            (E::NeedsApproval, S::InTesting { snapshot, .. } | S::Approved { snapshot, .. }) => {
                S::Ready { snapshot: *snapshot }
            }
            (E::NeedsApproval, S::Composing | S::Ready { .. }) => return Err(refused()),

            (E::Approve { by }, state) => {
                if !next.approvals.iter().any(|approval| approval.by == by) {
                    next.approvals.push(Approval { by, at: now });
                }
                state.clone()
            }

            (E::Approved { snapshot: tested, by }, S::InTesting { snapshot, .. } | S::Ready { snapshot })
                if tested == *snapshot =>
            {
                S::Approved { snapshot: tested, by }
            }
            (
                E::Approved { .. },
                S::Composing | S::InTesting { .. } | S::Ready { .. } | S::Approved { .. },
            ) => {
                return Err(refused());
            }

            (E::PointerMoved, S::Approved { snapshot, by }) => {
                S::Publishing { snapshot: *snapshot, by: by.clone() }
            }
            (E::PointerMoved | E::Visible, S::Composing | S::InTesting { .. } | S::Ready { .. })
            | (E::Visible, S::Approved { .. }) => return Err(refused()),

            (
                E::Reject { why },
                S::Composing | S::InTesting { .. } | S::Ready { .. } | S::Approved { .. },
            ) => S::Rejected { why, at: now, snapshot: self.snapshot() },
            (
                E::Withdraw { by },
                S::Composing | S::InTesting { .. } | S::Ready { .. } | S::Approved { .. },
            ) => S::Withdrawn { by, at: now },
        };
        Ok(next)
    }

    /// What it does to its repo, in a few words for people: `hello-2.10-1.el9s, without old-hello to release`.
    #[must_use]
    pub fn headline(&self) -> String {
        match &self.course {
            Course::Forward => format!("{} to {}", self.what(), self.to),
            Course::Back { to, reason } => format!("{} back to snapshot {to} ({reason})", self.to),
        }
    }

    /// What to type to ask for the same once more; nothing of the sort for one that goes back, or that brings files alone.
    #[must_use]
    pub fn again(&self) -> Option<String> {
        let Promotion { nvrs, remove, stack, to, target, confirmed, .. } = self;
        if self.course != Course::Forward || self.brings.is_some() {
            return None;
        }
        let mut words = vec!["grange promote".to_owned(), format!("--to {to}")];
        match stack {
            Some(stack) => words.push(format!("--stack {stack} --target {target}")),
            None if nvrs.is_empty() => words.push(format!("--target {target}")),
            None => words.extend(nvrs.iter().cloned()),
        }
        words.extend(remove.iter().map(|package| format!("--remove {package}")));
        words.extend(confirmed.then(|| "--confirm".to_owned()));
        Some(words.join(" "))
    }

    /// What it moves, in a few words for people: `hello-2.10-1.el9s, without old-hello`.
    #[must_use]
    pub fn what(&self) -> String {
        if let Some(brings) = &self.brings {
            return format!("the files of {}", brings.at());
        }
        let moved = match &self.stack {
            Some(stack) if self.nvrs.is_empty() => format!("stack {stack}"),
            Some(stack) => format!("stack {stack} ({})", few(&self.nvrs)),
            None => few(&self.nvrs),
        };
        match (moved.is_empty(), self.remove.is_empty()) {
            (_, true) => moved,
            (true, false) => format!("removing {}", few(&self.remove)),
            (false, false) => format!("{moved}, without {}", few(&self.remove)),
        }
    }

    /// One word for the state.
    #[must_use]
    pub fn phase(&self) -> &'static str {
        match &self.state {
            PromotionState::Composing => "composing",
            PromotionState::InTesting { .. } => "in-testing",
            PromotionState::Ready { .. } => "ready",
            PromotionState::Approved { .. } => "approved",
            PromotionState::Publishing { .. } => "publishing",
            PromotionState::Published { .. } => "published",
            PromotionState::Rejected { .. } => "rejected",
            PromotionState::Withdrawn { .. } => "withdrawn",
        }
    }

    /// Does the keeper still have something to do with it, or a person?
    #[must_use]
    pub fn is_settled(&self) -> bool {
        matches!(
            self.state,
            PromotionState::Published { .. }
                | PromotionState::Rejected { .. }
                | PromotionState::Withdrawn { .. }
        )
    }

    /// The snapshot that the gate has let through and that is to be signed now, if there is one.
    #[must_use]
    pub fn to_sign(&self) -> Option<SnapshotId> {
        match &self.state {
            PromotionState::Approved { snapshot, .. } => Some(*snapshot),
            PromotionState::Composing
            | PromotionState::InTesting { .. }
            | PromotionState::Ready { .. }
            | PromotionState::Publishing { .. }
            | PromotionState::Published { .. }
            | PromotionState::Rejected { .. }
            | PromotionState::Withdrawn { .. } => None,
        }
    }

    /// The snapshot it stands for, or was refused for, if one was composed.
    #[must_use]
    pub fn snapshot(&self) -> Option<SnapshotId> {
        match &self.state {
            PromotionState::InTesting { snapshot, .. }
            | PromotionState::Ready { snapshot }
            | PromotionState::Approved { snapshot, .. }
            | PromotionState::Publishing { snapshot, .. }
            | PromotionState::Published { snapshot, .. } => Some(*snapshot),
            PromotionState::Rejected { snapshot, .. } => *snapshot,
            PromotionState::Composing | PromotionState::Withdrawn { .. } => None,
        }
    }
}
