//! Keeps an attempt's lease alive, and learns from the answers whether it should go on.

use std::time::Duration;

use farm::message::Lease;
use tokio::time::{Instant, sleep};

use crate::attempt::{Interrupt, Interrupts};
use crate::client::AttemptClient;

/// Beats per lease: two may be lost without harm.
const BEATS: u32 = 3;
/// Without an answer for this many leases nobody will ask for the result any more. Not sooner: while no hub is there no lease
/// runs out, so that an outage reruns nothing, and that a job is somebody else's by now the first answer says.
const PATIENCE: u32 = 120;
/// Between two tries while the hub is out of reach.
const RETRY: Duration = Duration::from_secs(1);

/// Beats until the attempt is lost; the caller drops this when it is over.
pub(crate) async fn keep(client: AttemptClient, interrupts: Interrupts, mut lease: Lease) {
    let mut answered = Instant::now();
    let mut pause = Duration::ZERO;
    loop {
        let span = Duration::from_millis(lease.lease_ms.max(1));
        if pause.is_zero() {
            pause = span / BEATS;
        }
        tokio::select! {
            () = sleep(pause) => {}
            () = interrupts.doubted() => {}
        }
        let asked = Instant::now();
        match client.beat(span / BEATS).await {
            Ok(Some(renewed)) => {
                // Counted from the question: the hub's clock started no later than that.
                answered = asked;
                pause = Duration::ZERO;
                if renewed.stop {
                    interrupts.raise(Interrupt::Cancelled);
                }
                lease = renewed;
            }
            Ok(None) if answered.elapsed() < span * PATIENCE => pause = RETRY.min(span / BEATS),
            Ok(None) => {
                tracing::warn!("the hub has been out of reach for too long; the attempt is given up");
                return interrupts.raise(Interrupt::Lost);
            }
            Err(error) => {
                tracing::info!(%error, "the attempt is over for the hub");
                return interrupts.raise(Interrupt::Lost);
            }
        }
    }
}
