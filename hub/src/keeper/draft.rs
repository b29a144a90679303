//! What a promotion would make live: its place in the queue, and the snapshot that follows from it.

use std::sync::Arc;

use anyhow::Context as _;
use farm::gate::never_shown_on;
use farm::ids::SnapshotId;
use farm::ledger::Tx;
use farm::promotion::{Course, Promotion};
use farm::queue;
use farm::sig::{Community, Project, Stage};
use farm::snapshot::Snapshot;

use super::import::GATE;
use crate::problem::Answer;
use crate::state::Hub;

/// A promotion's place in the queue of its repo.
pub(super) struct Queue {
    /// What is live.
    live: Option<SnapshotId>,
    /// The promotion ahead of it, if there is one, and the snapshot that one stands for.
    ahead: Option<Option<SnapshotId>>,
}

impl Queue {
    pub(super) async fn of(tx: &mut Tx, promotion: &Promotion) -> Answer<Queue> {
        let community = tx.community().await?;
        let Some(project) = community.target(&promotion.target) else {
            return Ok(Queue { live: None, ahead: None });
        };
        let live = tx.repo(&project.tag(promotion.to)).await?.current;
        let unsettled = tx.unsettled_of(&promotion.target).await?;
        Ok(Queue { live, ahead: queue::ahead(promotion, &unsettled, project).map(Promotion::snapshot) })
    }

    /// What a promotion here is composed on. The outer `None` says that this is not known yet.
    pub(super) fn base(&self) -> Option<Option<SnapshotId>> {
        match self.ahead {
            Some(Some(snapshot)) => Some(Some(snapshot)),
            Some(None) => None,
            None => Some(self.live),
        }
    }

    /// Is it composed on what is live, with nobody ahead?
    pub(super) fn is_first(&self, promotion: &Promotion) -> bool {
        promotion.base == self.live && !self.is_adrift(promotion)
    }

    /// Was it composed on something else than it would be now? Also when somebody has got a place ahead of it meanwhile:
    /// landing first all the same would push that one back, again and again.
    pub(super) fn is_adrift(&self, promotion: &Promotion) -> bool {
        self.base() != Some(promotion.base)
    }
}

/// What a promotion would make live, and on what.
pub(super) struct Draft {
    pub(super) community: Community,
    pub(super) project: Project,
    pub(super) base: Option<Arc<Snapshot>>,
    pub(super) snapshot: Snapshot,
}

/// Why there is nothing to compose.
pub(super) enum Undrafted {
    /// It cannot be, ever.
    Refused(Vec<String>),
    /// Not before what is ahead has been published or refused.
    NotYet,
}

/// Composes in memory, or says why that cannot be. What goes forward has nothing beside its packages yet.
pub(super) async fn draft(
    hub: &Hub,
    tx: &mut Tx,
    promotion: &Promotion,
    place: &Queue,
) -> Answer<Result<Draft, Undrafted>> {
    let refused = |why| Ok(Err(Undrafted::Refused(why)));
    let community = tx.community().await?;
    let Some(project) = community.target(&promotion.target).cloned() else {
        return refused(vec![format!("target {} is no more", promotion.target)]);
    };
    let tag = project.tag(promotion.to);
    let Some(base) = place.base() else { return Ok(Err(Undrafted::NotYet)) };
    let base = match base {
        Some(id) => {
            Some(tx.snapshot(id).await?.with_context(|| format!("snapshot {id} is not in the ledger"))?)
        }
        None => None,
    };
    if let Course::Back { to, .. } = &promotion.course {
        let Some(former) = tx.snapshot(*to).await? else {
            return refused(vec![format!("snapshot {to} is not in the ledger")]);
        };
        if former.rpms().any(|rpm| !rpm.is_shown_on(&project.arches)) {
            return refused(vec![format!(
                "snapshot {to} has packages for an architecture that {} has no more: without them it was never shown",
                project.target()
            )]);
        }
        let lacking = former.lacks(&project.arches);
        if !lacking.is_empty() {
            return refused(vec![never_shown_on(*to, &lacking, &project)]);
        }
        let live = base.as_deref().map(Snapshot::as_base);
        let mut snapshot = Snapshot::holding(hub.mint(), &tag, live, former.members.clone(), hub.now());
        snapshot.arches.clone_from(&former.arches);
        // As it was, whatever lies at the head of a branch today.
        let snapshot = snapshot.with_extras(former.extras.clone());
        return Ok(Ok(Draft { community, project, base, snapshot }));
    }
    let tested = match promotion.to {
        Stage::Release => tx.live(&project.tag(Stage::Testing)).await?,
        Stage::Testing | Stage::Candidate => None,
    };
    let mut set = Vec::new();
    let mut against = Vec::new();
    for id in &promotion.builds {
        let Some(build) = tx.build(*id).await? else {
            against.push(format!("build {id} is not in the ledger"));
            continue;
        };
        let in_testing = tested.as_ref().is_some_and(|s| s.members.iter().any(|member| member.build == *id));
        if promotion.to == Stage::Release && !in_testing {
            against.push(format!("{} is not in {} any more", build.nvr, project.tag(Stage::Testing)));
        }
        let newer =
            base.iter().flat_map(|s| &s.members).find(|m| m.package == build.nvr.name && m.build > *id);
        if promotion.by == GATE
            && let Some(newer) = newer
        {
            if place.ahead.is_some() {
                return Ok(Err(Undrafted::NotYet));
            }
            against.push(format!("superseded: {} has passed meanwhile", newer.nvr));
        }
        set.push(build.member());
    }
    for package in &promotion.remove {
        if !base.iter().flat_map(|s| &s.members).any(|member| member.package == *package) {
            against.push(format!("{package} is not in {tag}, so it cannot be removed"));
        }
    }
    if !against.is_empty() {
        return refused(against);
    }
    let snapshot = Snapshot::compose(hub.mint(), &tag, base.as_deref(), &set, &promotion.remove, hub.now())
        .shown_on(&project.arches);
    Ok(Ok(Draft { community, project, base, snapshot }))
}
