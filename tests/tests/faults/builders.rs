//! Builders are killed and held, at work and in the middle of an upload.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use farm::stamp::Stamp;
use tests::Weather;
use tests::processes::yard::LARGE;
use tests::processes::{Account, Ground, ProcessFarm, Setup, rounds};

use crate::moment;

/// Jobs at work when a builder dies.
const JOBS: usize = 8;
/// Bytes a second that a builder's uploads may have when they are to take a while.
const UPLOAD_RATE: u64 = LARGE as u64 / 20;

/// Packages that a builder has started.
fn started_by(farm: &ProcessFarm, builder: &str) -> BTreeSet<String> {
    let starts = farm.land.yard.starts().into_iter();
    starts.filter(|start| start.builder == builder).map(|start| start.package).collect()
}

/// Waits until all of these were started by this builder.
async fn taken_over(farm: &ProcessFarm, packages: &BTreeSet<String>, builder: &str) {
    farm.until("another builder has taken over", async |farm| {
        started_by(farm, builder).is_superset(packages).then_some(())
    })
    .await;
}

/// Was this the reason why what a builder had was given up?
async fn all_given_up(farm: &ProcessFarm, packages: &BTreeSet<String>, why: &str) {
    for package in packages {
        let given_up = farm.given_up(package).await;
        assert!(given_up.iter().any(|reason| reason == why), "{package}: {given_up:?}");
    }
}

/// When the life of the first builder began that the farm knows of.
async fn born(farm: &ProcessFarm) -> Stamp {
    farm.until("the first builder is known", async |farm| {
        Some(farm.db.read().await.ok()?.builder("b1").await.ok()??.born)
    })
    .await
}

/// Waits until the first builder has said that it lives again; gives when that life began.
async fn back(farm: &ProcessFarm, before: Stamp) -> Stamp {
    farm.until("the first builder is back", async |farm| {
        let builder = farm.db.read().await.ok()?.builder("b1").await.ok()??;
        (builder.born != before).then_some(builder.born)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_jobs_of_a_killed_builder_run_elsewhere_once() {
    for _ in 0..rounds() {
        let Some(ground) = Ground::shared() else { return };
        // Each has room for all: what was lost on one is done by the other.
        let mut farm = ProcessFarm::new(ground, Setup { slots: 3 * JOBS as u32, ..Setup::default() }).await;
        farm.start().await;
        farm.many_at_work("s", JOBS).await;
        let lost = started_by(&farm, "b1");
        assert!(!lost.is_empty(), "the first builder has nothing to do");
        let begun = Instant::now();
        farm.builders[0].kill();
        taken_over(&farm, &lost, "b2").await;
        let noticed = begun.elapsed();
        println!("FIGURES killed builder: {} jobs run elsewhere after {noticed:?}", lost.len());
        // Noticed by its lease, and not by anything it said.
        all_given_up(&farm, &lost, "builder b1 fell silent").await;

        let first_life = born(&farm).await;
        farm.builders[0].start();
        let second_life = back(&farm, first_life).await;
        farm.many_at_work("t", JOBS).await;
        let again: BTreeSet<String> =
            started_by(&farm, "b1").into_iter().filter(|package| package.starts_with('t')).collect();
        assert!(!again.is_empty(), "the first builder got nothing to do");
        // A builder that is back at once says so itself, and nobody waits for a lease.
        let fresh = farm.lease() * 3 / 5;
        farm.leases_last(fresh).await;
        let begun = Instant::now();
        farm.builders[0].kill();
        farm.builders[0].start();
        back(&farm, second_life).await;
        let was_at_once = begun.elapsed() < fresh;
        farm.until("what it had runs again", async |farm| {
            let twice = |package: &String| {
                farm.land.yard.starts().iter().filter(|start| start.package == *package).count() == 2
            };
            again.iter().all(twice).then_some(())
        })
        .await;
        println!("FIGURES builder back at once: {} jobs run again after {:?}", again.len(), begun.elapsed());
        // On a machine that needs longer than a lease to start a program, the lease was quicker.
        if was_at_once {
            all_given_up(&farm, &again, "builder b1 was restarted").await;
        }
        farm.land.yard.go();
        let rerun = lost.union(&again).cloned().collect::<BTreeSet<_>>();
        let figures =
            farm.ends_well("builder killed", Account { rerun: rerun.clone(), ..Account::default() }).await;
        assert_eq!((figures.reruns, figures.lost), (rerun.len(), 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_builder_that_was_held_in_mid_upload_is_refused_by_turn() {
    for _ in 0..rounds() {
        let Some(ground) = Ground::shared() else { return };
        let mut farm = ProcessFarm::new(ground, Setup { slots: 4, ..Setup::default() }).await;
        let mut other = farm.builders.pop().unwrap();
        farm.start().await;
        // One uploads, the other still builds.
        farm.scratch("large-melon").await;
        farm.at_work("large", 1).await;
        farm.back.turns(Weather::Slow { delay: Duration::ZERO, rate: UPLOAD_RATE });
        farm.land.yard.go();
        uploading(&farm, "large-melon-1").await;
        farm.land.yard.wait();
        farm.scratch("s1").await;
        farm.at_work("s1", 1).await;
        let held = started_by(&farm, "b1");
        assert_eq!(held.len(), 2);
        farm.builders[0].hold();
        farm.back.turns(Weather::Fair);
        other.start();
        farm.builders.push(other);
        let begun = Instant::now();
        taken_over(&farm, &held, "b2").await;
        println!("FIGURES held builder: its jobs run elsewhere after {:?}", begun.elapsed());
        let begun = Instant::now();
        farm.builders[0].go_on();
        farm.until("its late words are refused", async |farm| {
            (farm.land.yard.containers("b1") == Some(0)
                && farm.builders[0].log().contains("gave up a job without a report"))
            .then_some(())
        })
        .await;
        println!(
            "FIGURES held builder: gave up and stopped its containers {:?} after it went on",
            begun.elapsed()
        );
        farm.land.yard.go();
        let figures =
            farm.ends_well("builder held in mid-upload", Account { rerun: held, ..Account::default() });
        assert_eq!(figures.await.lost, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_builder_that_is_killed_in_mid_upload_loses_nothing() {
    for _ in 0..rounds() {
        let Some(ground) = Ground::shared() else { return };
        let mut farm = ProcessFarm::new(ground, Setup { slots: 4, ..Setup::default() }).await;
        farm.start().await;
        farm.push("large-melon", "1").await;
        farm.at_work("large", 1).await;
        let at = usize::from(started_by(&farm, "b2").contains("large-melon-1"));
        farm.back.turns(Weather::Slow { delay: Duration::ZERO, rate: UPLOAD_RATE });
        farm.land.yard.go();
        uploading(&farm, "large-melon-1").await;
        farm.builders[at].kill();
        farm.back.turns(Weather::Fair);
        let rerun = BTreeSet::from(["large-melon-1".to_owned()]);
        let figures =
            farm.ends_well("builder killed in mid-upload", Account { rerun, ..Account::default() }).await;
        assert_eq!((figures.reruns, figures.lost), (1, 0));
    }
}

/// Waits until a package's build is over and its files are on their way.
async fn uploading(farm: &ProcessFarm, package: &str) {
    farm.until("the upload has begun", async |farm| {
        let jobs = farm.jobs().await;
        let job = jobs.iter().find(|job| {
            job.recipe
                .work
                .inputs()
                .iter()
                .any(|input| input.name.starts_with(package) && input.name.ends_with(".src.rpm"))
        })?;
        let log =
            farm.land.data.join("logs").join(job.id.to_string()).join(job.turn.to_string()).join("state.log");
        std::fs::read_to_string(log).ok()?.contains(&format!("Upload: {package}")).then_some(())
    })
    .await;
    moment().await;
}
