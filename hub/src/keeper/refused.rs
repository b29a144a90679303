//! What was brought in to be published and then was not: its build was withdrawn, say, or a key was retired, while the store was
//! away. Nobody was ever led there, so nothing waits for it as clients wait for what was shown: it goes at once, and with the next
//! sweep if that fails or somebody dies.

use std::collections::BTreeSet;

use farm::ids::SnapshotId;
use farm::ledger::Tx;

use super::{alone, shelf};
use crate::problem::{Answer, Problem};
use crate::repos::publish::PublishError;
use crate::state::Hub;

/// Takes a snapshot out of where users fetch such, unless they were or may be led there; does nothing when it is not there. A
/// failure is logged: the sweep tries again.
pub(crate) async fn take_out(hub: &Hub, id: SnapshotId) {
    if !hub.public.contains(id) {
        return;
    }
    if let Err(problem) = take_out_all(hub, id).await {
        super::log("what was brought in and not published", &problem);
    }
}

async fn take_out_all(hub: &Hub, id: SnapshotId) -> Answer<()> {
    if !out_of_the_tree(hub, id).await? {
        return Ok(());
    }
    // A backup holds off whoever removes what others may share; the sweep does it then.
    let Some(_turn) = alone::free_turn(hub, "tidying").await else { return Ok(()) };
    hub.public.sweep().await.map_err(|error| Problem::Internal(error.into()))?;
    shelf::take_out(hub, id).await
}

/// Takes out of the public tree all that was brought in and not published.
pub(super) async fn sweep(hub: &Hub) -> Answer<()> {
    for id in hub.public.snapshots().map_err(|error| Problem::Internal(error.into()))? {
        out_of_the_tree(hub, id).await?;
    }
    Ok(())
}

/// Says whether it was there and is not any more.
async fn out_of_the_tree(hub: &Hub, id: SnapshotId) -> Answer<bool> {
    if !is_refused(&mut hub.db.read().await?, id).await? {
        return Ok(false);
    }
    // Once more where nobody can bring it in: who does that for a promotion that is approved, then or again, finds it gone, and
    // stages it anew.
    let hold = hub.public.hold().await.map_err(|error| Problem::Internal(error.into()))?;
    if !is_refused(&mut hub.db.read().await?, id).await? {
        return Ok(false);
    }
    match hold.take_out(id).await {
        Ok(()) => {
            tracing::info!(snapshot = %id, "what was brought in and not published is removed");
            Ok(true)
        }
        // Somebody has edited the ledger; the pointer there is followed, or put back, first.
        Err(PublishError::Live { .. }) => Ok(false),
        Err(error) => Err(Problem::Internal(error.into())),
    }
}

/// Was it never published, and will it not be either as things are? What this ledger does not know may have been shown by another.
pub(super) async fn is_refused(tx: &mut Tx, id: SnapshotId) -> Answer<bool> {
    if !tx.publications_of(id).await?.is_empty() {
        return Ok(false);
    }
    // In this order: what is not approved any more when it is looked for was published by the time that is looked for.
    let approved: BTreeSet<SnapshotId> =
        tx.approved_promotions().await?.iter().filter_map(|promotion| promotion.to_sign()).collect();
    Ok(!approved.contains(&id)
        && tx.publications_of(id).await?.is_empty()
        && tx.repos().await?.iter().all(|repo| repo.current != Some(id))
        && tx.snapshot(id).await?.is_some())
}
