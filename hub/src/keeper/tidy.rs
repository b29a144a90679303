//! What is not urgent: pushes whose hook call was lost, and results of scratch builds that have expired.

use std::time::Duration;

use farm::digest::Digest;
use tokio::sync::watch;

use crate::intake;
use crate::problem::Answer;
use crate::state::Hub;

/// How long a blob may be stored before it is noted in the ledger.
const FRESH: Duration = Duration::from_secs(3600);

pub(super) async fn run(hub: &Hub, mut stop: watch::Receiver<bool>) {
    let pause = Duration::from_millis(hub.config.sweep_ms);
    while !super::stopped(&stop) {
        if let Err(problem) = intake::sweep(hub).await {
            super::log("the sweep", &problem);
        }
        if let Err(problem) = expire(hub).await {
            super::log("expired scratch builds", &problem);
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stop.changed() => {}
        }
    }
}

/// Removes the files of scratch builds whose time is over. The request and its logs stay.
///
/// # Errors
/// When the ledger or the disk fails; what is left is removed the next time.
pub(super) async fn expire(hub: &Hub) -> Answer<()> {
    let expired = hub.db.read().await?.expired(hub.now()).await?;
    for id in expired {
        let mut tx = hub.db.write().await?;
        let free = tx.forget_files_of(id).await?;
        tx.commit().await?;
        tracing::info!(request = %id, files = free.len(), "the results of a scratch build have expired");
        remove_unheld(hub, &free).await?;
    }
    Ok(())
}

/// Removes blobs nothing in the ledger needs. What was stored a moment ago may be about to be noted and stays; then it is
/// removed with the next thing that lets go of it.
async fn remove_unheld(hub: &Hub, blobs: &[Digest]) -> Answer<()> {
    let mut tx = hub.db.write().await?;
    for digest in blobs {
        if !tx.is_held(digest).await? && hub.artifacts.age(digest).is_some_and(|age| age > FRESH) {
            let removed = hub.artifacts.remove(digest);
            removed.map_err(|error| crate::problem::Problem::Internal(error.into()))?;
        }
    }
    tx.commit().await?;
    Ok(())
}
