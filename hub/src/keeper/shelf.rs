//! What of the bucket users see: a snapshot is there before a pointer moves to it, stays whole while it is shown, and goes when
//! nobody needs it.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use farm::ids::SnapshotId;
use farm::retention::Held;
use farm::sig::{Stage, split_tag};

use super::prune::{kept_public, needed};
use super::refused::is_refused;
use crate::problem::{Answer, Problem};
use crate::shelf::Shelf;
use crate::state::Hub;

/// The lock of whoever puts packages into the bucket, beside others who put some of another repo there, or removes some from it.
const SHELF: &str = "shelf";

/// Makes sure that users can fetch a snapshot of the public tree where they fetch such, before anything points to it.
pub(super) async fn shelve(hub: &Hub, tag: &str, id: SnapshotId) -> Answer<()> {
    let Some(shelf) = &hub.shelf else { return Ok(()) };
    let _nobody_sweeps = hub.together_at(SHELF).await?;
    // What two put there of one repo, each might take for damage that the other has done.
    let _nobody_else_brings = hub.alone_at(&format!("{SHELF}-{tag}")).await?;
    shelf.bring(tag, id).await.map_err(|error| {
        Problem::unavailable(
            format!("snapshot {id} of {tag} is not where users fetch it: {error}"),
            "see to the store; it is tried again by itself",
        )
    })
}

/// Removes from the bucket a snapshot that was taken out of the public tree because it was not published; its packages go with the
/// next sweep.
pub(super) async fn take_out(hub: &Hub, id: SnapshotId) -> Answer<()> {
    let Some(shelf) = &hub.shelf else { return Ok(()) };
    shelf.must_be_ours().await.context("nothing is removed")?;
    let _nobody_publishes = hub.alone_at(SHELF).await?;
    if hub.public.contains(id) || !is_refused(&mut hub.db.read().await?, id).await? {
        return Ok(());
    }
    Ok(shelf.take_out(id).await.context("cannot tidy the bucket")?)
}

/// Puts into the bucket what it has lost of what users are shown, or was given something else for.
pub(super) async fn mend(hub: &Hub) -> Answer<()> {
    if hub.shelf.is_none() {
        return Ok(());
    }
    let repos = hub.db.read().await?.repos().await?;
    for repo in repos {
        let is_public = split_tag(&repo.tag).is_some_and(|(_, stage)| stage != Stage::Candidate);
        let Some(current) = repo.current.filter(|id| is_public && hub.public.contains(*id)) else { continue };
        if let Err(problem) = shelve(hub, &repo.tag, current).await {
            tracing::info_span!("keeper", repo = repo.tag)
                .in_scope(|| super::log("what users fetch", &problem));
        }
    }
    Ok(())
}

/// Removes from the bucket what the public tree does not have any more and was not shown for long. What only the bucket has, as
/// after a disk was lost, stays for as long. The caller knows that this data folder may.
pub(super) async fn prune(hub: &Hub) -> Answer<()> {
    let Some(shelf) = &hub.shelf else { return Ok(()) };
    let _nobody_publishes = hub.alone_at(SHELF).await?;
    prune_alone(hub, shelf, kept_public(&hub.config)).await
}

async fn prune_alone(hub: &Hub, shelf: &Shelf, keep: Duration) -> Answer<()> {
    let context = || "cannot tidy the bucket";
    let there = shelf.snapshots().await.with_context(context)?;
    let mut tx = hub.db.read().await?;
    let needed = needed(&mut tx).await?;
    let (mut going, mut kept) = (Vec::new(), BTreeMap::new());
    for (id, touched) in there {
        let is_here = hub.public.contains(id);
        let is_needed = needed.contains(&id) || is_here;
        let held = Held { id, is_needed, replaced: tx.replaced(id).await?, touched };
        if held.may_go(keep, hub.now()) || (!is_here && is_refused(&mut tx, id).await?) {
            going.push(id);
            continue;
        }
        let tag = match hub.public.tag_of(id).with_context(context)? {
            Some(tag) => Some(tag),
            None => tx.snapshot(id).await?.map(|snapshot| snapshot.tag.clone()),
        };
        let unknown = || format!("snapshot {id} is in the bucket, and of no repo that the ledger knows");
        kept.insert(id, tag.with_context(unknown)?);
    }
    drop(tx);
    for id in going {
        shelf.take_out(id).await.with_context(context)?;
        tracing::info!(snapshot = %id, "a former content of a repo is removed from the bucket");
    }
    let packages = shelf.sweep(&kept).await.with_context(context)?;
    if packages > 0 {
        tracing::info!(packages, "packages that no snapshot has are removed from the bucket");
    }
    Ok(())
}
