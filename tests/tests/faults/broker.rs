//! RabbitMQ is away, killed and wiped.

use std::collections::BTreeSet;
use std::time::Instant;

use tests::processes::{Account, Broker, Ground, ProcessFarm, Setup, rounds};

use crate::{JOBS, moment};

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_is_killed_and_wiped_and_nothing_is_lost() {
    for _ in 0..rounds() {
        let Some(ground) = Ground::shared() else { return };
        let mut broker = Broker::new();
        let mut farm = ProcessFarm::new(ground.with_broker(broker.url()), Setup::default()).await;
        // The roles start without it.
        farm.start().await;
        farm.push("apple", "1").await;
        for number in 1..=5 {
            farm.scratch(&format!("s{number}")).await;
        }
        moment().await;
        assert!(farm.land.yard.starts().is_empty(), "who told the builders?");
        broker.start().await;
        let begun = Instant::now();
        farm.at_work("", 6).await;
        println!("FIGURES broker started late: 6 jobs at work after {:?}", begun.elapsed());

        farm.many_at_work("t", JOBS - 6).await;
        broker.kill();
        // What nobody can be told of is found out by the next beat.
        let cancelled = farm.scratch("late").await;
        let stopped = cancel_one(&farm, "t1").await;
        println!("FIGURES cancelled while the broker is down: its container is gone after {stopped:?}");
        broker.start().await;
        let begun = Instant::now();
        farm.at_work("late", 1).await;
        println!("FIGURES broker killed: back at work {:?} after it takes connections", begun.elapsed());
        let _keeps_running = cancelled;

        broker.kill();
        for number in 1..=3 {
            farm.scratch(&format!("u{number}")).await;
        }
        broker.wipe();
        broker.start().await;
        let begun = Instant::now();
        farm.at_work("u", 3).await;
        println!("FIGURES broker wiped: back at work {:?} after it takes connections", begun.elapsed());
        farm.land.yard.go();
        let account = Account { cancelled: BTreeSet::from(["t1-1".to_owned()]), ..Account::default() };
        let figures = farm.ends_well("broker killed and wiped", account).await;
        assert_eq!((figures.reruns, figures.lost), (0, 0));
    }
}

/// Cancels a build that runs, and waits until one container less runs.
async fn cancel_one(farm: &ProcessFarm, package: &str) -> std::time::Duration {
    let containers = |farm: &ProcessFarm| -> usize {
        ["b1", "b2"].iter().filter_map(|builder| farm.land.yard.containers(builder)).sum()
    };
    // Builders say now and then how many containers they have; none of the builds has ended so far.
    let before = farm
        .until("the builders say that all builds have their container", async |farm| {
            let begun = farm.land.yard.starts().iter().filter(|start| start.work == "build").count();
            Some(containers(farm)).filter(|count| *count == begun)
        })
        .await;
    let request = farm
        .until("the build is known", async |farm| {
            let jobs = farm.jobs().await;
            let source = format!("{package}-1-1.src.rpm");
            let of =
                |job: &&farm::job::Job| job.recipe.work.inputs().iter().any(|input| input.name == source);
            jobs.iter().find(of).map(|job| job.request)
        })
        .await;
    let begun = Instant::now();
    farm.cancel(request).await;
    farm.until("its container is gone", async |farm| (containers(farm) < before).then_some(())).await;
    begun.elapsed()
}
