//! Hubs and schedulers are killed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use farm::event::{ChangeKind, StateChange};
use farm::wire::Bus;
use tests::processes::{Account, Ground, ProcessFarm, Setup, rounds};
use tokio::time::sleep;

use crate::{JOBS, moment};

#[tokio::test(flavor = "multi_thread")]
async fn hubs_and_schedulers_are_killed_and_no_job_notices() {
    for _ in 0..rounds() {
        let Some(ground) = Ground::shared() else { return };
        let mut farm = ProcessFarm::new(ground, Setup::default()).await;
        let heard = listen(&farm).await;
        farm.start().await;
        farm.push("apple", "1").await;
        farm.many_at_work("s", JOBS).await;
        // One of two, while logs come in.
        for number in 0..2 {
            farm.hubs[number].kill();
            moment().await;
            farm.hubs[number].start();
            // Else both would be away at once, for less than what counts as none being there.
            farm.hub_answers(number).await;
        }
        for number in 0..2 {
            farm.schedulers[number].kill();
            moment().await;
            farm.schedulers[number].start();
        }
        // Both, for longer than two leases: nobody can say that a job is still at work. Their last sign of life counts for half a
        // lease, so no lease may run out so soon.
        farm.leases_last(farm.lease() * 3 / 5).await;
        for hub in &mut farm.hubs {
            hub.kill();
        }
        sleep(farm.lease() * 9 / 4).await;
        for process in farm.schedulers.iter_mut().chain(&mut farm.hubs) {
            process.kill();
            process.start();
        }
        // A lease that ran out wrongly would be noticed by now.
        sleep(farm.lease() / 2).await;
        farm.land.yard.go();
        farm.settles().await;
        everything_was_heard(&farm, &heard).await;
        let figures = farm.ends_well("hubs and schedulers killed", Account::default()).await;
        assert_eq!((figures.reruns, figures.lost), (0, 0));
    }
}

type Heard = Arc<Mutex<Vec<StateChange>>>;

async fn listen(farm: &ProcessFarm) -> Heard {
    let bus = Bus::connect(&farm.bus()).unwrap();
    let mut changes = bus.changes("#").await;
    let heard = Heard::default();
    let kept = heard.clone();
    tokio::spawn(async move {
        let _kept_open = bus;
        loop {
            let change = changes.next().await;
            kept.lock().unwrap().push(change);
        }
    });
    heard
}

/// Every change of every job was told, each under one id.
async fn everything_was_heard(farm: &ProcessFarm, heard: &Heard) {
    let missing = farm.until("every change is told", async |farm| {
        let told = farm.db.read().await.ok()?.events(1).await.ok()?.is_empty();
        let until_now = heard.lock().unwrap().clone();
        let missing = missing(farm, &until_now).await;
        (told && missing.is_empty()).then_some(missing)
    });
    assert!(missing.await.is_empty());
    let (mut ids, mut changes) = (BTreeMap::new(), BTreeMap::new());
    let heard = heard.lock().unwrap();
    for change in heard.iter() {
        let what = (change.kind.as_str(), change.subject.clone(), change.facts["version"].to_string());
        assert_eq!(ids.entry(change.id).or_insert_with(|| what.clone()), &what, "one id for two changes");
        assert_eq!(changes.entry(what).or_insert(change.id), &change.id, "two ids for one change");
    }
    println!("FIGURES events: {} heard, {} of them different", heard.len(), ids.len());
}

/// Jobs of which not every offer, start and end was heard.
async fn missing(farm: &ProcessFarm, heard: &[StateChange]) -> Vec<String> {
    let mut states: BTreeMap<&str, BTreeSet<(i64, &str)>> = BTreeMap::new();
    for change in heard.iter().filter(|change| change.kind == ChangeKind::Job) {
        let version = change.facts["version"].as_i64().unwrap();
        states.entry(&change.subject).or_default().insert((version, &change.state));
    }
    let jobs = farm.jobs().await;
    let complete = |id: &str, turn: u32, tries: u32| {
        let count = |state: &str| {
            let told = states.get(id).into_iter().flatten();
            u32::try_from(told.filter(|(_, told)| *told == state).count()).unwrap()
        };
        count("offered") == turn && count("building") == tries && count("done") == 1 && count("waiting") >= 1
    };
    let missing = jobs.iter().filter(|job| !complete(&job.id.to_string(), job.turn, job.tries));
    missing.map(|job| format!("{}: {:?}", job.id, states.get(&*job.id.to_string()))).collect()
}
