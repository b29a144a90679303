//! The loops around the tick.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use farm::arch::Arch;
use farm::job::JobState;
use farm::stamp::Stamp;
use scheduler::{Config, run};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::bench::{Bench, SLOTS, job};

/// Far longer than anything here takes.
const LONG: Duration = Duration::from_secs(120);

fn now() -> Stamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Stamp::from_millis(i64::try_from(since.as_millis()).unwrap())
}

#[tokio::test]
async fn nudges_are_answered_long_before_the_next_scan() {
    let bench = Bench::new().await;
    let mut offers = bench.parts.bus.offers("b1", &Arch::ALL, SLOTS).await;
    let (stop, stopped) = watch::channel(false);
    let config = Config { tick_ms: 3_600_000, silent_ms: 600_000, ..Config::default() };
    let running = tokio::spawn(run(bench.parts.clone(), config, stopped));

    let mut early = job(1, "storage");
    early.state = JobState::Waiting { not_before: now() };
    bench.insert(std::slice::from_ref(&early)).await;
    bench.present("b1", 2, now()).await;
    bench.parts.bus.nudge().await;
    assert_eq!(timeout(LONG, offers.next()).await.unwrap().settled().await.job, early.id);

    let mut second = job(2, "storage");
    second.state = JobState::Waiting { not_before: now() };
    bench.insert(std::slice::from_ref(&second)).await;
    bench.parts.bus.nudge().await;
    assert_eq!(timeout(LONG, offers.next()).await.unwrap().settled().await.job, second.id);

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
