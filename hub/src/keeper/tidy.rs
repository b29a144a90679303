//! What is not urgent: pushes whose hook call was lost, results of scratch builds that have expired, snapshots nobody sees.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use farm::ids::SnapshotId;
use farm::recipe::RepoOrigin;
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
            if let Err(problem) = sweep_blobs(hub, FRESH).await {
                super::log("blobs nothing needs", &problem);
            }
            if let Err(problem) = prune(hub).await {
                super::log("old snapshots", &problem);
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
        if !tx.is_held(&digest).await? {
            hub.artifacts.remove_stale(&digest, fresh).map_err(|error| Problem::Internal(error.into()))?;
        }
        tx.commit().await?;
    }
    Ok(())
}

/// Removes snapshots that nobody sees and that no job names: contents of candidate repos that were replaced long ago, and what
/// was composed long ago for promotions that came to nothing.
async fn prune(hub: &Hub) -> Answer<()> {
    let now = hub.now();
    let keep = Duration::from_secs(hub.config.keep_hours.saturating_mul(3600));
    let mut tx = hub.db.read().await?;
    let mut wanted: BTreeSet<SnapshotId> = tx.repos().await?.iter().filter_map(|repo| repo.current).collect();
    for id in tx.unsettled_promotions().await? {
        wanted.extend(tx.promotion(id).await?.and_then(|promotion| promotion.snapshot()));
    }
    for job in tx.unsettled_jobs().await? {
        wanted.extend(job.recipe.repos.iter().filter_map(|repo| match &repo.origin {
            RepoOrigin::Snapshot { id } => Some(*id),
            RepoOrigin::External { .. } => None,
        }));
    }
    // What a tag showed was replaced when its next snapshot was made.
    let mut next: BTreeMap<String, SnapshotId> = BTreeMap::new();
    let mut replaced = Vec::new();
    for id in hub.candidates.snapshots().map_err(|error| Problem::Internal(error.into()))?.into_iter().rev() {
        let Some(snapshot) = tx.snapshot(id).await? else { continue };
        if let Some(later) = next.insert(snapshot.tag, id)
            && now - later.minted() > keep
            && !wanted.contains(&id)
        {
            replaced.push(id);
        }
    }
    drop(tx);
    for id in replaced {
        match hub.candidates.remove(id).await {
            Ok(()) => tracing::info!(snapshot = %id, "a former content of a candidate repo is removed"),
            Err(PublishError::Live { .. }) => {}
            Err(error) => return Err(Problem::Internal(error.into())),
        }
    }
    for entry in std::fs::read_dir(&hub.staging)? {
        let entry = entry?;
        let id = entry.file_name().to_str().and_then(|name| name.parse::<SnapshotId>().ok());
        if id.is_some_and(|id| now - id.minted() > keep && !wanted.contains(&id)) {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use farm::ledger::Db;
    use farm::snapshot::Snapshot;
    use farm::stamp::Stamp;
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
    async fn what_nobody_sees_goes_and_what_is_live_or_built_with_stays() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(&format!("sqlite:{}", dir.path().join("ledger.sqlite").display())).await.unwrap();
        let config = Config { data: dir.path().to_owned(), ..Config::default() };
        let hub = Hub::open(db, Bus::local(), config).unwrap();
        let tag = "demo9s-hello-2-candidate";
        let hour = |hours: i64| Stamp::from_millis(hub.now().millis() - hours * 3_600_000);
        // Replaced 60 hours ago, replaced just now after a long quiet time, and live.
        let made =
            [hour(100), hour(60), hour(0)].map(|at| hub.with_minter(|minter| minter.mint::<SnapshotId>(at)));
        let staged = hub.with_minter(|minter| minter.mint::<SnapshotId>(hour(60)));
        let mut tx = hub.db.write().await.unwrap();
        for id in made {
            tx.insert_snapshot(&Snapshot::compose(id, tag, None, &[], Stamp::ZERO)).await.unwrap();
        }
        tx.commit().await.unwrap();
        for id in made.into_iter().chain([staged]) {
            std::fs::create_dir_all(hub.staging.join(id.to_string()).join("x86_64")).unwrap();
        }
        for id in made {
            hub.candidates.enter(tag, id, &hub.staging.join(id.to_string())).await.unwrap();
        }
        prune(&hub).await.unwrap();
        assert_eq!(hub.candidates.snapshots().unwrap(), made[1..]);
        assert_eq!(hub.candidates.live(tag), Some(made[2]));
        assert!(!hub.staging.join(staged.to_string()).exists());
    }
}
