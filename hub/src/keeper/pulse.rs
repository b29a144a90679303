//! The hub's sign of life in the ledger: while no hub is there to hear builders, their leases do not run out.

use std::time::Duration;

use tokio::sync::watch;

use crate::problem::Answer;
use crate::state::Hub;

pub(super) async fn run(hub: &Hub, mut stop: watch::Receiver<bool>) {
    let pause = Duration::from_millis(hub.config.pulse_ms.max(1));
    while !super::stopped(&stop) {
        if let Err(problem) = beat(hub).await {
            super::log("the hub's pulse", &problem);
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stop.changed() => {}
        }
    }
}

async fn beat(hub: &Hub) -> Answer<()> {
    let mut tx = hub.db.write().await?;
    tx.pulse(hub.now(), Duration::from_millis(hub.config.hub_gap_ms)).await?;
    tx.commit().await?;
    Ok(())
}
