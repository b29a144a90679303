//! Hubs that share a data folder take turns at it. The ledger guards every step, so two at once do no harm; but what takes
//! long, composing above all, would be done twice for nothing.

use std::fs::{File, TryLockError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::state::Hub;

/// Between two looks whether the other hub has finished.
const LOOK: Duration = Duration::from_millis(20);
/// A hub that is at one step for longer may hang: then the work is done beside it, and it is not waited for any more until
/// its turn has ended.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// A turn at one of the keeper's loops. The kernel ends it when the process does.
#[derive(Debug)]
pub(super) struct Turn(#[allow(dead_code, reason = "held, not read")] Option<File>);

/// Waits for this hub's turn, but no longer than `patience`, which becomes nothing while another hub hangs, and no longer
/// than until the hub stops.
pub(super) async fn turn(
    hub: &Hub,
    what: &str,
    patience: &mut Duration,
    stop: &mut watch::Receiver<bool>,
) -> Turn {
    match turn_within(hub, what, *patience, stop).await {
        Some(turn) => {
            *patience = PATIENCE;
            turn
        }
        None => {
            if !patience.is_zero() && !*stop.borrow() {
                tracing::warn!(what, "another hub has been at this for too long; the work is done beside it");
            }
            *patience = Duration::ZERO;
            Turn(None)
        }
    }
}

/// This hub's turn, if nobody else has it now: a backup may, and nothing may be removed meanwhile.
pub(super) async fn own_turn(hub: &Hub, what: &str, stop: &mut watch::Receiver<bool>) -> Option<Turn> {
    turn_within(hub, what, Duration::ZERO, stop).await
}

/// The same for one step alone, which nobody needs to stop.
pub(super) async fn free_turn(hub: &Hub, what: &str) -> Option<Turn> {
    let (_never_told, mut stop) = watch::channel(false);
    own_turn(hub, what, &mut stop).await
}

async fn turn_within(
    hub: &Hub,
    what: &str,
    patience: Duration,
    stop: &mut watch::Receiver<bool>,
) -> Option<Turn> {
    let path = hub.config.data.join("turns").join(what);
    let file = match File::create(&path) {
        Ok(file) => file,
        Err(error) => {
            tracing::warn!(%error, path = %path.display(), "hubs cannot take turns; each does all work");
            return Some(Turn(None));
        }
    };
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Some(Turn(Some(file))),
            Err(TryLockError::WouldBlock) if begun.elapsed() >= patience || *stop.borrow() => return None,
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => {
                tracing::warn!(%error, path = %path.display(), "hubs cannot take turns; each does all work");
                return Some(Turn(None));
            }
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = stop.changed() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use farm::ledger::Db;
    use farm::wire::Bus;

    use super::*;
    use crate::config::Config;

    #[tokio::test]
    async fn two_hubs_of_one_folder_take_turns() {
        let _chosen_before = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(&format!("sqlite:{}", dir.path().join("ledger.sqlite").display())).await.unwrap();
        let open = || {
            let config = Config { data: dir.path().to_owned(), ..Config::default() };
            Hub::open(db.clone(), Bus::local(), config).unwrap()
        };
        let (one, other) = (open(), open());
        let (stop, mut stopped) = watch::channel(false);
        let mut patience = PATIENCE;
        let first = turn(&one, "repos", &mut patience, &mut stopped.clone()).await;
        let elsewhere = turn(&other, "promotions", &mut patience, &mut stopped.clone()).await;
        assert!(first.0.is_some() && elsewhere.0.is_some());
        let mut impatience = LOOK;
        let beside = turn(&other, "repos", &mut impatience, &mut stopped.clone()).await;
        assert!(beside.0.is_none() && impatience.is_zero(), "who hangs is waited for once");
        assert!(own_turn(&other, "repos", &mut stopped.clone()).await.is_none());
        let second = tokio::spawn(async move { turn(&other, "repos", &mut patience, &mut stopped).await });
        tokio::time::sleep(LOOK * 5).await;
        assert!(!second.is_finished(), "it is not its turn");
        drop(first);
        assert!(second.await.unwrap().0.is_some());
        drop(stop);
    }
}
