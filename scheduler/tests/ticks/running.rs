//! The loops around the tick.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use farm::job::JobState;
use farm::stamp::Stamp;
use scheduler::{Config, run};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::bench::{Bench, job, presence};

/// Far longer than anything here takes.
const LONG: Duration = Duration::from_secs(20);

fn now() -> Stamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Stamp::from_millis(i64::try_from(since.as_millis()).unwrap())
}

#[tokio::test]
async fn presences_and_nudges_are_answered_long_before_the_next_scan() {
    let bench = Bench::new().await;
    let mut offers = bench.parts.bus.offers("b1").await;
    let (stop, stopped) = watch::channel(false);
    let config = Config { tick_ms: 3_600_000, ..Config::default() };
    let running = tokio::spawn(run(bench.parts.clone(), config, stopped));

    let mut early = job(1, "storage");
    early.state = JobState::Waiting { not_before: now() };
    bench.insert(std::slice::from_ref(&early)).await;
    // The scheduler may not listen yet, so the builder says it more than once, as builders do.
    let offer = timeout(LONG, async {
        loop {
            bench.parts.bus.presence(presence("b1", 2)).await;
            tokio::select! {
                offer = offers.next() => return offer,
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
            }
        }
    });
    assert_eq!(offer.await.unwrap().job, early.id);

    let mut second = job(2, "storage");
    second.state = JobState::Waiting { not_before: now() };
    bench.insert(std::slice::from_ref(&second)).await;
    bench.parts.bus.nudge().await;
    assert_eq!(timeout(LONG, offers.next()).await.unwrap().job, second.id);

    stop.send_replace(true);
    timeout(LONG, running).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_ledger_that_is_away_does_not_end_it() {
    let bench = Bench::new().await;
    let (stop, stopped) = watch::channel(false);
    let config = Config { tick_ms: 1, ..Config::default() };
    bench.parts.db.close().await;
    let mut running = tokio::spawn(run(bench.parts.clone(), config, stopped));
    bench.parts.bus.presence(presence("b1", 2)).await;
    assert!(timeout(Duration::from_millis(200), &mut running).await.is_err(), "it gave up");
    drop(stop);
    timeout(LONG, running).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_configuration_by_which_nothing_could_run_is_refused() {
    let bench = Bench::new().await;
    let (_stop, stopped) = watch::channel(false);
    let config = Config { tick_ms: 0, ..Config::default() };
    assert!(run(bench.parts.clone(), config, stopped).await.is_err());
}
