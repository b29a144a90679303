//! The keeper: takes everything unsettled one step on, again and again.
//!
//! Each loop looks at every open request, every candidate repo that is behind its tag, every unsettled promotion and
//! every pointer the disk does not show yet. A step is one transaction, guarded in the ledger, so that a keeper may die
//! between any two lines and several may run at once. Being woken only makes it look sooner.

mod alone;
mod beside;
mod builds;
mod closure;
mod draft;
mod import;
mod look;
mod outside;
mod promotions;
mod prune;
mod publish;
mod pulse;
mod reading;
mod recheck;
mod refused;
mod repos;
mod roots;
mod shelf;
mod suites;
mod tests;
mod tidy;
mod trial;
mod trouble;
mod versions;

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

pub(crate) use builds::{cancel_in, class_of, stop_tests, tell};
pub use reading::Readings;
pub(crate) use refused::take_out;
pub use trouble::Troubles;

use crate::problem::{Answer, Problem};
use crate::state::Hub;

/// However often a loop is hurried up, it does not look sooner than this after it found nothing to do: one that waits a moment
/// finds the work of many hurries at once.
const BREATH: Duration = Duration::from_millis(5);
/// The same for what composes and publishes, which takes longer than that, and has something to do for few of the hurries.
const LONG_BREATH: Duration = Duration::from_millis(50);

/// Did a step change anything?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Yes: there may be more to do at once.
    Made,
    /// No.
    None,
}

impl std::ops::BitOrAssign for Progress {
    fn bitor_assign(&mut self, other: Progress) {
        if other == Progress::Made {
            *self = Progress::Made;
        }
    }
}

/// Runs until told to stop.
pub async fn run(hub: Hub, stop: watch::Receiver<bool>) {
    // Composing and publishing take seconds; requests and their jobs must not wait for them.
    tokio::join!(
        every(&hub, stop.clone(), "requests", BREATH, || builds::step_all(&hub)),
        every(&hub, stop.clone(), "repos", LONG_BREATH, || repos::step_all(&hub)),
        every(&hub, stop.clone(), "promotions", LONG_BREATH, || promotions::step_all(&hub)),
        pulse::run(&hub, stop.clone()),
        recheck::run(&hub, stop.clone()),
        outside::run(&hub, stop.clone()),
        tidy::run(&hub, stop),
    );
    hub.readings.stop();
}

/// Takes everything one step on until nothing moves any more: for tests that drive the keeper by hand.
///
/// # Errors
/// The first fault of the farm.
pub async fn settle(hub: &Hub) -> Answer<()> {
    loop {
        let mut progress = builds::step_all(hub).await?;
        let beside = beside::step_all(hub, &mut beside::Seen::default()).await?;
        for made in [beside, repos::step_all(hub).await?, promotions::step_all(hub).await?] {
            progress |= made;
        }
        if progress == Progress::None {
            return Ok(());
        }
    }
}

async fn every<F>(
    hub: &Hub,
    mut stop: watch::Receiver<bool>,
    what: &'static str,
    breath: Duration,
    step: impl Fn() -> F,
) where
    F: Future<Output = Answer<Progress>>,
{
    let pause = Duration::from_millis(hub.config.keeper_ms);
    let mut hurries = hub.hurries();
    let mut patience = alone::PATIENCE;
    while !stopped(&stop) {
        let turn = alone::turn(hub, what, &mut patience, &mut stop).await;
        if stopped(&stop) {
            return;
        }
        hurries.mark_unchanged();
        let progress = step().await.unwrap_or_else(|problem| {
            log(what, &problem);
            Progress::None
        });
        drop(turn);
        if progress == Progress::Made {
            // What moved here may be what another loop waits for. Who makes jobs, or frees slots, tells the scheduler.
            hub.hurry_keepers();
            continue;
        }
        let earliest = Instant::now() + breath;
        let hurried = async {
            let heard = hurries.changed().await;
            sleep_until(earliest).await;
            heard
        };
        tokio::select! {
            () = sleep(pause) => {}
            _ = hurried => {}
            _ = stop.changed() => {}
        }
    }
}

/// Has the hub been told to stop?
fn stopped(stop: &watch::Receiver<bool>) -> bool {
    *stop.borrow()
}

/// Logs a fault at the boundary, with its cause. Somebody else being quicker is no fault.
pub(crate) fn log(what: &str, problem: &Problem) {
    match problem {
        Problem::Conflict { what: why, .. } => tracing::debug!(what, why, "somebody else was quicker"),
        Problem::NotYet { what: why } => tracing::debug!(what, why, "the keeper waits with {what}"),
        Problem::Internal(cause) => {
            tracing::error!(what, cause = format!("{cause:#}"), "the keeper could not go on with {what}")
        }
        other => tracing::error!(what, "the keeper could not go on with {what}: {other}"),
    }
}
