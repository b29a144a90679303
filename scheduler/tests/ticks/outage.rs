//! Leases while no hub can take a beat.

use std::time::Duration;

use farm::digest::Digest;
use farm::job::{Event, Job};

use crate::bench::{Bench, NOON, SLOTS, job, later};

const JOBS: u64 = 20;
const SECOND: i64 = 1_000;
const GAP: Duration = Duration::from_secs(15);

async fn pulse(bench: &Bench, seconds: i64) {
    let mut tx = bench.parts.db.write().await.unwrap();
    tx.pulse(later(seconds * SECOND), GAP).await.unwrap();
    tx.commit().await.unwrap();
}

/// Twenty jobs at work, begun at noon.
async fn at_work(bench: &mut Bench) -> Vec<Job> {
    let jobs: Vec<Job> = (1..=JOBS).map(|number| job(number, "storage")).collect();
    bench.insert(&jobs).await;
    bench.present("b1", u32::try_from(JOBS).unwrap(), NOON).await;
    let mut offers = bench.parts.bus.offers("b1", &farm::arch::Arch::ALL, SLOTS).await;
    assert_eq!(bench.tick(NOON).await.offered, jobs.len());
    for _ in &jobs {
        let offer = offers.next().await.settled().await;
        let ticket = Digest::of(offer.ticket.as_bytes());
        let claim = Event::Claim {
            turn: offer.turn,
            ticket: ticket.clone(),
            builder: "b1".to_owned(),
            born: farm::stamp::Stamp::ZERO,
            token: ticket,
        };
        let mut tx = bench.parts.db.write().await.unwrap();
        tx.step_job(offer.job, claim, NOON, &bench.config.patience).await.unwrap();
        tx.commit().await.unwrap();
    }
    jobs
}

#[tokio::test]
async fn an_outage_of_the_hubs_reruns_nothing() {
    let mut bench = Bench::new().await;
    for seconds in (-60..=0).step_by(5) {
        pulse(&bench, seconds).await;
    }
    let jobs = at_work(&mut bench).await;
    // For five minutes no hub is there, and the scheduler looks on; then hubs are there again, but the builders' beats
    // still take a while.
    for seconds in (5..=300).step_by(5) {
        assert_eq!(bench.tick(later(seconds * SECOND)).await.lapsed, 0, "after {seconds} s");
    }
    for seconds in (300..330).step_by(5) {
        pulse(&bench, seconds).await;
        assert_eq!(bench.tick(later((seconds + 4) * SECOND)).await.lapsed, 0, "after {seconds} s");
    }
    for job in &jobs[1..] {
        let kept = bench.job(job).await;
        let farm::job::JobState::Building { token, .. } = &kept.state else { panic!("{kept:?}") };
        let beat = Event::Beat { turn: 1, token: token.clone() };
        bench.step(job, beat, later(325 * SECOND)).await.unwrap();
    }
    // The one builder that did not come back loses its job, a lease's length after the hubs were there again.
    for seconds in [330, 335, 340] {
        pulse(&bench, seconds).await;
    }
    assert_eq!(bench.tick(later(340 * SECOND)).await.lapsed, 1);
    assert_eq!(bench.job(&jobs[0]).await.phase(), "waiting");
    for job in &jobs[1..] {
        let kept = bench.job(job).await;
        assert_eq!((kept.phase(), kept.turn, kept.tries), ("building", 1, 1));
    }
}

#[tokio::test]
async fn where_hubs_give_no_sign_of_life_leases_count_as_ever() {
    let mut bench = Bench::new().await;
    at_work(&mut bench).await;
    assert_eq!(bench.tick(later(31 * SECOND)).await.lapsed, usize::try_from(JOBS).unwrap());
}
