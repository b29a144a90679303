//! Two schedulers at once on one ledger, each with connections of its own, while builders are at work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use farm::arch::Arch;
use farm::digest::Digest;
use farm::job::Event;
use farm::ledger::{Db, LedgerError, StepError};
use farm::outcome::Outcome;
use farm::wire::Bus;
use scheduler::{Config, Parts, tick};
use tokio::task::JoinSet;

use crate::bench::{Bench, NOON, SLOTS, job, step};

const JOBS: u32 = 120;
const BUILDERS: [(&str, u32); 3] = [("b0", 1), ("b1", 2), ("b2", 4)];

/// Ticks until all is done.
async fn schedule(db: Db, bus: Bus, name: char, done: Arc<AtomicBool>) -> usize {
    let (parts, config) = (Parts { db, bus }, Config::default());
    let (mut given, mut offered) = (0, 0);
    while !done.load(Ordering::Relaxed) {
        let mut secret = || {
            given += 1;
            format!("{name}{given}")
        };
        offered += tick(&parts, &config, NOON, &mut secret).await.unwrap().offered;
        tokio::task::yield_now().await;
    }
    offered
}

/// Claims and finishes whatever is offered.
async fn build(db: Db, bus: Bus, name: &'static str, finished: Arc<AtomicU32>) {
    let mut offers = bus.offers(name, &Arch::ALL, SLOTS).await;
    loop {
        let offer = offers.next().await.settled().await;
        let token = Digest::of(offer.ticket.as_bytes());
        let claim = Event::Claim {
            turn: offer.turn,
            ticket: token.clone(),
            builder: name.to_owned(),
            token: token.clone(),
            born: ::farm::stamp::Stamp::ZERO,
        };
        step(&db, offer.job, claim, NOON).await.unwrap();
        let finish = Event::Finish { turn: offer.turn, token, outcome: Outcome::Passed };
        match step(&db, offer.job, finish, NOON).await {
            Ok(_) => finished.fetch_add(1, Ordering::Relaxed),
            Err(StepError::Ledger(LedgerError::LostRace { .. })) => {
                panic!("nobody else may touch this attempt")
            }
            Err(other) => panic!("{other}"),
        };
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_schedulers_never_give_more_than_the_free_slots() {
    let bench = Bench::new().await;
    let jobs: Vec<_> =
        (1..=u64::from(JOBS)).map(|number| job(number, &format!("sig{}", number % 3))).collect();
    bench.insert(&jobs).await;
    for (name, slots) in BUILDERS {
        bench.present(name, slots, NOON).await;
    }
    let (done, finished) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let bus = bench.parts.bus.clone();
    let mut builders = JoinSet::new();
    for (name, _) in BUILDERS {
        builders.spawn(build(bench.parts.db.clone(), bus.clone(), name, finished.clone()));
    }
    let mut schedulers = JoinSet::new();
    for name in ['x', 'y'] {
        let db = Db::open(&bench.url).await.unwrap();
        schedulers.spawn(schedule(db, bus.clone(), name, done.clone()));
    }
    while finished.load(Ordering::Relaxed) < JOBS {
        let held = bench.parts.db.read().await.unwrap().held_by_builder().await.unwrap();
        for (name, slots) in BUILDERS {
            let held = held.get(name).copied().unwrap_or(0);
            assert!(held <= slots, "{name} has {held} jobs in {slots} slots");
        }
        assert!(builders.try_join_next().is_none(), "a builder was refused what it was offered");
        assert!(schedulers.try_join_next().is_none(), "a scheduler failed");
    }
    done.store(true, Ordering::Relaxed);
    let offered: usize = schedulers.join_all().await.into_iter().sum();
    assert_eq!(offered, JOBS as usize, "each job was offered once");
    for job in &jobs {
        let job = bench.job(job).await;
        assert!(job.passed() && job.turn == 1 && job.tries == 1, "{job:?}");
    }
}
