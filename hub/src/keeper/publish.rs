//! From the gate's yes to what users see: signed, staged, looked at as a client would, brought in, pointed to, shown.
//!
//! Every step may be repeated, and a crash between any two leaves users with what was live or what is. The gate is asked at the
//! start, so that nothing is signed in vain, and once more in the transaction that moves the pointer. Each step is told at the
//! level `trace` under the target `steps`, which is how a test kills a farm at every one of them.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use farm::gate::{Approved, Decision};
use farm::ids::SnapshotId;
use farm::ledger::Kept;
use farm::promotion::{Promotion, PromotionEvent};
use farm::sig::Project;
use farm::snapshot::{Rpm, Snapshot};

use super::look::look;
use super::promotions::advance;
use super::{Progress, repos, shelf, versions};
use crate::problem::{Answer, Problem};
use crate::repos::compose::{self, Plan, Shipped};
use crate::signing::{self, told::Told};
use crate::state::Hub;

/// Takes an approved promotion as far as it goes now: waits for the signer where something is not signed yet, else brings the
/// snapshot into the public tree, where nothing points to it, and moves the repo's pointer.
pub(super) async fn move_pointer(hub: &Hub, promotion: &Kept<Promotion>) -> Answer<Progress> {
    let mut tx = hub.db.read().await?;
    let Decision::Approved(approved) = tx.gate_says(promotion, hub.now()).await? else {
        drop(tx);
        return take_back(hub, promotion).await;
    };
    let community = tx.community().await?;
    let snapshot =
        tx.snapshot(approved.snapshot()).await?.context("an approved snapshot is in the ledger")?;
    drop(tx);
    let Some((project, stage)) = community.tag(approved.tag()) else {
        return Err(Problem::Internal(anyhow::anyhow!("{} was approved, but it is no tag", approved.tag())));
    };
    tracing::trace!(target: "steps", "{}: approved", approved.tag());
    if hub.public.contains(snapshot.id) && !is_endorsed(hub, snapshot.id).await? {
        // It was brought in some time ago, and nobody may fetch any more what a key has signed that does not count since.
        return advance(hub, promotion, PromotionEvent::Outdated).await;
    }
    let Some(staged) = stage_signed(hub, &approved, &snapshot, project).await? else {
        return Ok(Progress::None);
    };
    if let Some(progress) = versions::catch_up(hub, promotion).await? {
        return Ok(progress);
    }
    hub.public
        .admit(&approved, project, stage, &staged)
        .await
        .with_context(|| format!("cannot bring snapshot {} into the public tree", approved.snapshot()))?;
    tracing::trace!(target: "steps", "{}: brought in", approved.tag());
    shelf::shelve(hub, approved.tag(), approved.snapshot()).await?;
    tracing::trace!(target: "steps", "{}: where users fetch it", approved.tag());
    let told = Told::read(hub, approved.snapshot()).await?;

    let mut tx = hub.db.write().await?;
    // One moment for all of it: what the gate counts must hold when the pointer is said to move.
    let now = hub.now();
    let Decision::Approved(approved) = tx.ask_gate(promotion, now).await? else {
        drop(tx);
        return take_back(hub, promotion).await;
    };
    if !told.is_of(&approved) || !signing::keys_count(&mut tx, approved.snapshot(), now).await? {
        // What users would read is not why it is let through, or a key has signed it that was retired while a large repo was
        // brought to where they fetch it: it is composed, decided on in writing and signed anew.
        tx.step_promotion(promotion, PromotionEvent::Outdated, now).await?;
        tx.commit().await?;
        return Ok(Progress::Made);
    }
    let revision = tx.publish(&approved, promotion.id, now).await?;
    tx.step_promotion(promotion, PromotionEvent::PointerMoved, now).await?;
    tracing::trace!(target: "steps", "{}: the pointer is about to move", approved.tag());
    tx.commit().await?;
    tracing::trace!(target: "steps", "{}: the pointer has moved", approved.tag());
    tracing::info!(promotion = %promotion.id, repo = approved.tag(), revision, by = approved.by(), "the repo's pointer moved");
    Ok(Progress::Made)
}

/// The snapshot as users get it, complete with signatures, below the staging folder. `None` while the signer has not put its
/// name to all of it.
async fn stage_signed(
    hub: &Hub,
    approved: &Approved,
    snapshot: &Arc<Snapshot>,
    project: &Project,
) -> Answer<Option<PathBuf>> {
    if hub.public.contains(snapshot.id) {
        // It was brought in before a crash: admitting it again makes sure of the rest.
        return Ok(Some(hub.staging.join(compose::public_name(snapshot.id))));
    }
    let Some(files) = signing::signed_files(hub, snapshot).await? else {
        tracing::trace!(target: "steps", "{}: waits for signed packages", snapshot.tag);
        hub.signers.ring();
        return Ok(None);
    };
    signing::discard_unfit(hub, snapshot.id, &files).await?;
    let staged = hub.staging.join(compose::public_name(snapshot.id));
    if !staged.is_dir() {
        let shipped = |rpm: &Rpm| {
            files.get(&rpm.body).map(|(digest, size)| Shipped { digest: digest.clone(), size: *size })
        };
        let context = || format!("cannot stage snapshot {} of {}", snapshot.id, approved.tag());
        let plan = Plan::public(snapshot, &project.arches, shipped).with_context(context)?;
        let plan = plan.compressed_for(project);
        compose::compose(&hub.staging, &hub.engine, plan).await.with_context(context)?;
    }
    tracing::trace!(target: "steps", "{}: staged", snapshot.tag);
    let Some(endorsement) = signing::endorsement(hub, snapshot.id).await? else {
        tracing::trace!(target: "steps", "{}: waits for signed metadata", snapshot.tag);
        hub.signers.ring();
        return Ok(None);
    };
    signing::publish::endorse(hub, &endorsement, &staged).await?;
    tracing::trace!(target: "steps", "{}: staged with signatures", snapshot.tag);
    crate::provenance::publish(hub, snapshot, &endorsement, &staged).await?;
    tracing::trace!(target: "steps", "{}: staged with provenance", snapshot.tag);
    look(hub, snapshot, project, files, &staged).await?;
    tracing::trace!(target: "steps", "{}: looked at", snapshot.tag);
    Ok(Some(staged))
}

/// Does every key still count that has signed what was brought in some time ago, and is that what they have signed?
async fn is_endorsed(hub: &Hub, id: SnapshotId) -> Answer<bool> {
    Ok(signing::endorsement(hub, id).await?.is_some())
}

/// The gate has changed its mind between approval and publication.
async fn take_back(hub: &Hub, promotion: &Kept<Promotion>) -> Answer<Progress> {
    let mut tx = hub.db.write().await?;
    let event = match tx.ask_gate(promotion, hub.now()).await? {
        Decision::Approved(_) | Decision::Later | Decision::Behind => return Ok(Progress::None),
        Decision::NeedsApproval => PromotionEvent::NeedsApproval,
        Decision::Outdated | Decision::Missing(_) => PromotionEvent::Outdated,
        Decision::Refused(why) => PromotionEvent::Reject { why },
    };
    tx.step_promotion(promotion, event, hub.now()).await?;
    tx.commit().await?;
    Ok(Progress::Made)
}

/// The move of the pointer is written down in the transaction in which the promotion's state says so. A state without it was
/// edited: nobody is told that anything was published.
async fn must_have_moved(hub: &Hub, promotion: &Promotion) -> Answer<()> {
    let moves = match promotion.snapshot() {
        Some(snapshot) => hub.db.glance().await?.publications_of(snapshot).await?,
        None => Vec::new(),
    };
    if moves.iter().any(|publication| publication.promotion == promotion.id) {
        return Ok(());
    }
    Err(Problem::Internal(anyhow::anyhow!(
        "promotion {} is said to be published, but it moved no pointer: its row was edited",
        promotion.id
    )))
}

/// Makes the public tree show what the pointer says, then says that it does. A later promotion may have moved the pointer
/// already; the tree then shows that one.
pub(super) async fn show(hub: &Hub, promotion: &Kept<Promotion>) -> Answer<Progress> {
    must_have_moved(hub, promotion).await?;
    let community = hub.community().await?;
    if let Some(project) = community.target(&promotion.target) {
        let tag = project.tag(promotion.to);
        repos::follow_pointer(hub, &tag).await?;
        tracing::trace!(target: "steps", "{tag}: shown");
        // A retired key that nothing live was signed with any more is not published any longer.
        signing::publish::keys(hub).await?;
        tracing::trace!(target: "steps", "{tag}: shown with its keys");
    }
    let progress = advance(hub, promotion, PromotionEvent::Visible).await?;
    tracing::info!(promotion = %promotion.id, nvrs = promotion.nvrs.join(" "), to = %promotion.to, "published");
    Ok(progress)
}
