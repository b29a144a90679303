//! What is not urgent: pushes whose hook call was lost, results of scratch builds that have expired, snapshots nobody sees.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::sync::watch;

use super::prune::prune;
use super::shelf;
use crate::intake;
use crate::problem::Answer;
use crate::state::Hub;

/// How long a blob may be stored before it is noted in the ledger; also the time between two looks for blobs that never
/// were.
const FRESH: Duration = Duration::from_secs(3600);

pub(super) async fn run(hub: &Hub, mut stop: watch::Receiver<bool>) {
    let pause = Duration::from_millis(hub.config.sweep_ms);
    let mut swept: Option<Instant> = None;
    while !super::stopped(&stop) {
        // A hub that looks for lost pushes beside another does no harm; what is removed must be removed by one alone.
        if let Err(problem) = intake::sweep(hub).await {
            super::log("the sweep", &problem);
        }
        if let Err(problem) = expire(hub).await {
            super::log("expired scratch builds", &problem);
        }
        if swept.is_none_or(|at| at.elapsed() > FRESH)
            && let Some(_turn) = super::alone::own_turn(hub, "tidying", &mut stop).await
        {
            swept = Some(Instant::now());
            if let Err(problem) = prune(hub).await {
                super::log("old snapshots", &problem);
            }
            // Each by itself: what users miss is put back whatever hinders the rest.
            if let Err(problem) = shelf::mend(hub).await {
                super::log("what users fetch", &problem);
            }
            if let Err(problem) = bring_all(hub).await {
                super::log("the bucket", &problem);
            }
            if let Err(problem) = remove_unneeded(hub).await {
                super::log("what is stored", &problem);
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stop.changed() => {}
        }
    }
}

/// Forgets the files of scratch builds whose time is over; the next sweep removes them. The request and its logs stay.
///
/// # Errors
/// When the ledger or the disk fails; what is left is removed the next time.
pub(super) async fn expire(hub: &Hub) -> Answer<()> {
    let expired = hub.db.glance().await?.expired(hub.now()).await?;
    for id in expired {
        let mut tx = hub.db.write().await?;
        let free = tx.forget_files_of(id).await?;
        tx.commit().await?;
        tracing::info!(request = %id, files = free.len(), "the results of a scratch build have expired");
    }
    Ok(())
}

/// Removes from the store, and from where users fetch it, what nothing in the ledger needs; and from the disk what it has too much
/// of. Nothing is removed, not even what the bucket has as well, while the bucket is another data folder's: that one removes from
/// it what its own ledger does not know.
async fn remove_unneeded(hub: &Hub) -> Answer<()> {
    if let Some(shelf) = &hub.shelf {
        shelf.must_be_ours().await.context("nothing is removed")?;
    }
    let trimmed = trim(hub).await;
    sweep_blobs(hub, FRESH).await?;
    shelf::prune(hub).await?;
    trimmed
}

/// Removes blobs nothing in the ledger needs: what expired, and what was stored for something that then came to nothing.
/// What was stored a moment ago may be about to be noted and stays.
pub(super) async fn sweep_blobs(hub: &Hub, fresh: Duration) -> Answer<()> {
    for digest in hub.artifacts.list().await.context("cannot list what is stored")? {
        if hub.db.glance().await?.is_held(&digest).await? {
            continue;
        }
        // The ledger waits while something is removed, so what must stay is found out before.
        if !hub.artifacts.is_stale(&digest, fresh).await.context("cannot look at what is stored")? {
            continue;
        }
        // Once more where nobody can note it meanwhile.
        let mut tx = hub.db.write().await?;
        if !tx.is_held(&digest).await? {
            hub.artifacts.remove_stale(&digest, fresh).await.context("cannot remove what nothing needs")?;
        }
        tx.commit().await?;
    }
    Ok(())
}

/// Brings into the bucket, if there is one, what only the disk has and the ledger needs.
async fn bring_all(hub: &Hub) -> Answer<()> {
    for digest in hub.artifacts.only_here().await.context("cannot compare disk and bucket")? {
        if hub.db.glance().await?.is_held(&digest).await? {
            hub.artifacts.secure(&digest).await.context("cannot bring into the bucket what the disk has")?;
        }
    }
    Ok(())
}

/// Removes from the disk what it has too much of and the bucket has as well.
async fn trim(hub: &Hub) -> Answer<()> {
    let removed =
        hub.artifacts.trim(FRESH).await.context("cannot remove from the disk what the bucket has")?;
    if removed > 0 {
        tracing::info!(files = removed, "artifacts that were not used for long are in the bucket alone");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use farm::ledger::Db;
    use farm::wire::Bus;

    use super::*;
    use crate::config::Config;

    #[tokio::test]
    async fn blobs_that_nothing_needs_go() {
        let _chosen_before = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(&format!("sqlite:{}", dir.path().join("ledger.sqlite").display())).await.unwrap();
        let hub =
            Hub::open(db, Bus::local(), Config { data: dir.path().to_owned(), ..Config::default() }).unwrap();
        let [needed, forgotten] = [hub.artifacts.put_bytes(b"a").await, hub.artifacts.put_bytes(b"b").await];
        let (needed, forgotten) = (needed.unwrap().digest, forgotten.unwrap().digest);
        let mut tx = hub.db.write().await.unwrap();
        tx.hold("lookaside", &needed).await.unwrap();
        tx.commit().await.unwrap();
        sweep_blobs(&hub, FRESH).await.unwrap();
        assert!(hub.artifacts.contains(&forgotten), "it may be about to be noted");
        sweep_blobs(&hub, Duration::ZERO).await.unwrap();
        assert!(hub.artifacts.contains(&needed) && !hub.artifacts.contains(&forgotten));
    }
}
