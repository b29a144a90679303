//! What is not urgent: pushes whose hook call was lost, results of scratch builds that have expired, snapshots nobody sees.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use farm::ids::SnapshotId;
use tokio::sync::watch;

use crate::intake;
use crate::problem::{Answer, Problem};
use crate::repos::publish::PublishError;
use crate::state::Hub;

/// How long a blob may be stored before it is noted in the ledger; also the time between two looks for blobs that never
/// were.
const FRESH: Duration = Duration::from_secs(3600);

pub(super) async fn run(hub: &Hub, mut stop: watch::Receiver<bool>) {
    let pause = Duration::from_millis(hub.config.sweep_ms);
    let mut swept: Option<Instant> = None;
    while !super::stopped(&stop) {
        if let Err(problem) = intake::sweep(hub).await {
            super::log("the sweep", &problem);
        }
        if let Err(problem) = expire(hub).await {
            super::log("expired scratch builds", &problem);
        }
        if let Err(problem) = prune(hub).await {
            super::log("old snapshots", &problem);
        }
        if swept.is_none_or(|at| at.elapsed() > FRESH) {
            swept = Some(Instant::now());
            if let Err(problem) = sweep_blobs(hub, FRESH).await {
                super::log("blobs nothing needs", &problem);
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
    let expired = hub.db.read().await?.expired(hub.now()).await?;
    for id in expired {
        let mut tx = hub.db.write().await?;
        let free = tx.forget_files_of(id).await?;
        tx.commit().await?;
        tracing::info!(request = %id, files = free.len(), "the results of a scratch build have expired");
    }
    Ok(())
}

/// Removes blobs nothing in the ledger needs: what expired, and what was stored for something that then came to nothing.
/// What was stored a moment ago may be about to be noted and stays.
async fn sweep_blobs(hub: &Hub, fresh: Duration) -> Answer<()> {
    let store = hub.artifacts.clone();
    let blobs = tokio::task::spawn_blocking(move || store.list())
        .await
        .context("the task that lists blobs ended early")?;
    let blobs = blobs.map_err(|error| Problem::Internal(error.into()))?;
    for digest in blobs {
        if hub.db.read().await?.is_held(&digest).await? {
            continue;
        }
        // Once more where nobody can note it meanwhile.
        let mut tx = hub.db.write().await?;
        if !tx.is_held(&digest).await? && hub.artifacts.age(&digest).is_some_and(|age| age >= fresh) {
            hub.artifacts.remove(&digest).map_err(|error| Problem::Internal(error.into()))?;
        }
        tx.commit().await?;
    }
    Ok(())
}

/// Removes snapshots that are old and that nobody sees: former contents of candidate repos, and what was composed for
/// promotions that came to nothing.
async fn prune(hub: &Hub) -> Answer<()> {
    let now = hub.now();
    let keep = Duration::from_secs(hub.config.keep_hours.saturating_mul(3600));
    let is_old = |id: SnapshotId| now - id.minted() > keep;
    let snapshots = hub.candidates.snapshots().map_err(|error| Problem::Internal(error.into()))?;
    for id in snapshots.into_iter().filter(|id| is_old(*id)) {
        match hub.candidates.remove(id).await {
            Ok(()) => tracing::info!(snapshot = %id, "a former content of a candidate repo is removed"),
            Err(PublishError::Live { .. }) => {}
            Err(error) => return Err(Problem::Internal(error.into())),
        }
    }
    let mut wanted = Vec::new();
    let mut tx = hub.db.read().await?;
    for id in tx.unsettled_promotions().await? {
        wanted.extend(tx.promotion(id).await?.and_then(|promotion| promotion.snapshot()));
    }
    wanted.extend(tx.repos().await?.iter().filter_map(|repo| repo.current));
    drop(tx);
    for entry in std::fs::read_dir(&hub.staging)? {
        let entry = entry?;
        let id = entry.file_name().to_str().and_then(|name| name.parse::<SnapshotId>().ok());
        if id.is_some_and(|id| is_old(id) && !wanted.contains(&id)) {
            std::fs::remove_dir_all(entry.path())?;
        }
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

    #[tokio::test]
    async fn what_nobody_sees_goes_and_what_is_live_stays() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(&format!("sqlite:{}", dir.path().join("ledger.sqlite").display())).await.unwrap();
        let config = Config { data: dir.path().to_owned(), keep_hours: 0, ..Config::default() };
        let hub = Hub::open(db, Bus::local(), config).unwrap();
        let tag = "demo9s-hello-2-candidate";
        let [former, live, staged]: [SnapshotId; 3] = [hub.mint(), hub.mint(), hub.mint()];
        for id in [former, live, staged] {
            std::fs::create_dir_all(hub.staging.join(id.to_string()).join("x86_64")).unwrap();
        }
        for id in [former, live] {
            hub.candidates.enter(tag, id, &hub.staging.join(id.to_string())).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
        prune(&hub).await.unwrap();
        assert_eq!(hub.candidates.snapshots().unwrap(), [live]);
        assert_eq!(hub.candidates.live(tag), Some(live));
        assert!(!hub.staging.join(staged.to_string()).exists());
    }
}
