//! What is not urgent: pushes whose hook call was lost, and results of scratch builds that have expired.

use std::time::Duration;

use farm::digest::Digest;
use tokio::sync::watch;

use crate::intake;
use crate::problem::Answer;
use crate::state::Hub;

pub(super) async fn run(hub: &Hub, mut stop: watch::Receiver<bool>) {
    let pause = Duration::from_millis(hub.config.sweep_ms);
    while !*stop.borrow() {
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

/// Removes blobs nothing in the ledger needs. An upload of the same content may have been noted since: look again, in a
/// transaction that keeps others from noting it meanwhile.
async fn remove_unheld(hub: &Hub, blobs: &[Digest]) -> Answer<()> {
    let mut tx = hub.db.write().await?;
    for digest in blobs {
        if !tx.is_held(digest).await? {
            let removed = hub.artifacts.remove(digest);
            removed.map_err(|error| crate::problem::Problem::Internal(error.into()))?;
        }
    }
    tx.commit().await?;
    Ok(())
}
