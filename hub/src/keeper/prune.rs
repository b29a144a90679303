//! Removing what nobody sees and nobody needs: former contents of repos, what was composed in vain, what the engine has kept.
//!
//! Each removal is decided once more while nobody can bring anything into the tree. It may be broken off anywhere.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use anyhow::Context as _;
use farm::ids::SnapshotId;
use farm::ledger::Tx;
use farm::promotion::Promotion;
use farm::recipe::RepoOrigin;
use farm::retention::Held;
use farm::stamp::Stamp;

use super::refused;
use crate::config::Config;
use crate::files::blocking;
use crate::problem::{Answer, Problem};
use crate::repos::compose;
use crate::repos::publish::{PublishError, SnapshotTree};
use crate::state::Hub;

/// Removes all that may go.
pub(super) async fn prune(hub: &Hub) -> Answer<()> {
    let private = hours(hub.config.keep_hours);
    prune_tree(hub, &hub.candidates, private).await?;
    refused::sweep(hub).await?;
    prune_tree(hub, &hub.public, kept_public(&hub.config)).await?;
    prune_staging(hub, private).await?;
    let engine = hub.engine.clone();
    let forgotten = blocking(move || engine.tidy()).await.context("cannot tidy the metadata of repos")?;
    if forgotten > 0 {
        tracing::info!(files = forgotten, "metadata that no repo has used for long is removed");
    }
    Ok(())
}

/// For how long what users are not shown any more can be fetched.
pub(super) fn kept_public(config: &Config) -> Duration {
    hours(config.keep_public_hours.saturating_add(config.mirror_lag_hours))
}

fn hours(hours: u64) -> Duration {
    Duration::from_secs(hours.saturating_mul(3600))
}

async fn prune_tree(hub: &Hub, tree: &SnapshotTree, keep: Duration) -> Answer<()> {
    let ids = tree.snapshots().map_err(|error| Problem::Internal(error.into()))?;
    let mut tx = hub.db.read().await?;
    let needed = needed(&mut tx).await?;
    let mut going = Vec::new();
    for id in ids {
        if held(&mut tx, tree, id, &needed).await?.is_some_and(|held| held.may_go(keep, hub.now())) {
            going.push(id);
        }
    }
    drop(tx);
    for id in going {
        take_out(hub, tree, id, keep).await?;
    }
    let packages = tree.sweep().await.with_context(|| format!("cannot sweep {}", tree.root().display()))?;
    if packages > 0 {
        tracing::info!(packages, tree = %tree.root().display(), "packages that no snapshot has are removed");
    }
    Ok(())
}

/// Takes a snapshot out of a tree, if that may still be when nobody else changes the tree.
async fn take_out(hub: &Hub, tree: &SnapshotTree, id: SnapshotId, keep: Duration) -> Answer<()> {
    let hold = tree.hold().await.map_err(|error| Problem::Internal(error.into()))?;
    let mut tx = hub.db.read().await?;
    let needed = needed(&mut tx).await?;
    let held = held(&mut tx, tree, id, &needed).await?;
    drop(tx);
    if !held.is_some_and(|held| held.may_go(keep, hub.now())) {
        return Ok(());
    }
    match hold.take_out(id).await {
        Ok(()) => {
            tracing::info!(snapshot = %id, tree = %tree.root().display(), "a former content of a repo is removed")
        }
        // The disk is behind the ledger.
        Err(PublishError::Live { .. }) => {}
        Err(error) => return Err(Problem::Internal(error.into())),
    }
    Ok(())
}

/// What is known of a snapshot; `None` when it is not there.
async fn held(
    tx: &mut Tx,
    tree: &SnapshotTree,
    id: SnapshotId,
    needed: &BTreeSet<SnapshotId>,
) -> Answer<Option<Held>> {
    let Some(touched) = tree.touched(id) else { return Ok(None) };
    let replaced = tx.replaced(id).await?;
    Ok(Some(Held { id, is_needed: needed.contains(&id), replaced, touched }))
}

/// The snapshots that repos show, and those that unsettled promotions and jobs name.
///
/// In this order: a promotion that is settled by the time it is looked for has moved its pointer by the time that is read, and
/// so has the repo whose content a job that is not there yet will ask for.
pub(super) async fn needed(tx: &mut Tx) -> Answer<BTreeSet<SnapshotId>> {
    let mut needed = BTreeSet::new();
    needed.extend(tx.unsettled_promotions().await?.iter().filter_map(Promotion::snapshot));
    for job in tx.unsettled_jobs().await? {
        needed.extend(job.recipe.repos.iter().filter_map(|repo| match &repo.origin {
            RepoOrigin::Snapshot { id } => Some(*id),
            RepoOrigin::External { .. } => None,
        }));
    }
    needed.extend(tx.repos().await?.iter().filter_map(|repo| repo.current));
    Ok(needed)
}

/// Removes what was composed long ago for something that came to nothing.
async fn prune_staging(hub: &Hub, keep: Duration) -> Answer<()> {
    let needed = needed(&mut hub.db.read().await?).await?;
    for entry in fs::read_dir(&hub.staging)? {
        let entry = entry?;
        let Some(id) = entry.file_name().to_str().and_then(compose::staged_id) else { continue };
        let held = Held { id, is_needed: needed.contains(&id), replaced: None, touched: Stamp::ZERO };
        if !held.may_go(keep, hub.now()) {
            continue;
        }
        compose::discard(&entry.path()).map_err(|error| Problem::Internal(error.into()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
