//! What SIGs have used, how long work took, and whether hubs were there.

use std::time::Duration;

use farm::arch::Arch;
use farm::dispatch::Loads;
use farm::ids::RequestId;
use farm::job::{Class, Event, Job, Patience};
use farm::ledger::Db;
use farm::outcome::Outcome;
use farm::request::RequestKind;
use farm::sig::Share;

use crate::on_both;
use crate::samples::{NOON, claim, digest, id, insert, job, later, offer, request, sig, step};

on_both!(
    contract_machine_time_is_charged_when_an_attempt_ends,
    contract_it_decays,
    contract_attempts_that_end_at_once_are_all_charged,
    contract_shares_are_those_of_the_templates,
    contract_the_newest_timings_are_kept,
    contract_a_gap_in_the_hubs_pulse_is_remembered,
);

const CHARGE: u64 = 1_000;
const MINUTE: i64 = 60_000;

async fn loads(db: &Db, ms: i64) -> Loads {
    let half_life = Patience::default().usage_half_life();
    db.read().await.unwrap().loads(later(ms), half_life, CHARGE).await.unwrap()
}

/// What the SIG has used, running jobs included.
async fn used(db: &Db, ms: i64) -> u64 {
    let key = ("storage".to_owned(), Arch::X86_64, Class::Push);
    loads(db, ms).await.used_ms.get(&key).copied().unwrap_or(0)
}

async fn begin(db: &Db, job: &Job, turn: u32, ms: i64) {
    step(db, job, offer("b1"), later(ms)).await.unwrap();
    step(db, job, claim(turn, "b1", "token"), later(ms)).await.unwrap();
}

fn finish(turn: u32, outcome: Outcome) -> Event {
    Event::Finish { turn, token: digest("token"), outcome }
}

async fn contract_machine_time_is_charged_when_an_attempt_ends(db: Db) {
    let one = job(1, id(1));
    insert(&db, std::slice::from_ref(&one)).await;
    assert_eq!(loads(&db, 0).await, Loads::default());
    step(&db, &one, offer("b1"), later(0)).await.unwrap();
    assert_eq!(used(&db, 0).await, CHARGE, "an offer counts as one charge");
    assert_eq!(loads(&db, 0).await.held[&("storage".to_owned(), Arch::X86_64)], 1);
    step(&db, &one, claim(1, "b1", "token"), later(10)).await.unwrap();
    assert_eq!(used(&db, 500).await, CHARGE);
    assert_eq!(used(&db, 5_010).await, 5_000, "and then what it has taken so far");
    step(&db, &one, Event::Beat { turn: 1, token: digest("token") }, later(5_010)).await.unwrap();
    assert_eq!(used(&db, 6_010).await, 6_000, "a beat ends nothing");

    // A fault of the farm, a lease that ran out, a restart and a cancel: each attempt is charged once.
    step(&db, &one, finish(1, Outcome::FailedByFarm { reason: "disk full".into() }), later(7_010))
        .await
        .unwrap();
    assert_eq!(used(&db, 7_010).await, 7_000);
    assert_eq!(loads(&db, 7_010).await.held.len(), 0);
    begin(&db, &one, 2, 20_000).await;
    step(&db, &one, Event::Lapse, later(50_000)).await.unwrap();
    assert_eq!(used(&db, 50_000).await / 100, 369, "30 s more, and a little decayed");
    begin(&db, &one, 3, 80_000).await;
    let restarted = Event::Forgotten { builder: "b1".into(), born: later(81_000) };
    step(&db, &one, restarted, later(90_000)).await.unwrap();
    assert_eq!(used(&db, 90_000).await / 100, 469);
    begin(&db, &one, 4, 100_000).await;
    step(&db, &one, Event::Cancel { by: "alice".into() }, later(102_000)).await.unwrap();
    assert_eq!(used(&db, 105_000).await / 100, 519, "its builder is still at it");
    step(&db, &one, finish(4, Outcome::Passed), later(110_000)).await.unwrap();
    assert_eq!(used(&db, 110_000).await / 100, 569);
    assert!(step(&db, &one, finish(4, Outcome::Passed), later(120_000)).await.is_err());
    assert_eq!(used(&db, 120_000).await / 100, 568, "what is settled is charged no more");
}

async fn contract_it_decays(db: Db) {
    let jobs = [job(1, id(1)), job(2, id(1))];
    insert(&db, &jobs).await;
    let hour = 60 * MINUTE;
    begin(&db, &jobs[0], 1, 0).await;
    begin(&db, &jobs[1], 1, 0).await;
    step(&db, &jobs[0], finish(1, Outcome::Passed), later(hour)).await.unwrap();
    assert_eq!(used(&db, hour).await, 7_200_000, "one has taken an hour, one still runs");
    // Another process's clock is behind: nothing is lost, nothing grows.
    step(&db, &jobs[1], finish(1, Outcome::Passed), later(hour - 1_000)).await.unwrap();
    assert_eq!(used(&db, hour).await, 7_199_000);
    assert_eq!(used(&db, 7 * hour).await, 3_599_500, "half of it after six hours");
    assert_eq!(used(&db, 13 * hour).await, 1_799_750);
}

async fn contract_attempts_that_end_at_once_are_all_charged(db: Db) {
    let jobs: Vec<Job> = (1..=12).map(|number| job(number, id(1))).collect();
    insert(&db, &jobs).await;
    for job in &jobs {
        begin(&db, job, 1, 0).await;
    }
    let ended: Vec<_> = jobs
        .into_iter()
        .map(|job| {
            let db = db.clone();
            tokio::spawn(
                async move { step(&db, &job, finish(1, Outcome::Passed), later(10_000)).await.unwrap() },
            )
        })
        .collect();
    for one in ended {
        one.await.unwrap();
    }
    assert_eq!(used(&db, 10_000).await, 120_000);
}

async fn contract_shares_are_those_of_the_templates(db: Db) {
    let mut storage = sig("storage");
    storage.share = Share { weight: 3, cap: Some(2) };
    let mut tx = db.write().await.unwrap();
    tx.apply_sig(&storage, "template", "rita", NOON).await.unwrap().unwrap();
    tx.commit().await.unwrap();
    let loads = loads(&db, 0).await;
    assert_eq!(loads.share("storage"), storage.share);
    assert_eq!(loads.share("unheard-of"), Share::default());
}

async fn contract_the_newest_timings_are_kept(db: Db) {
    let mut tx = db.write().await.unwrap();
    tx.insert_request(&request(1, RequestKind::Build)).await.unwrap();
    tx.commit().await.unwrap();
    let of: RequestId = id(1);
    let expected =
        async |label: &str, arch| db.read().await.unwrap().expected("hello", label, arch).await.unwrap();
    assert_eq!(expected("srpm", Arch::X86_64).await, None);
    for number in 1..=15 {
        let one = job(number, of);
        insert(&db, std::slice::from_ref(&one)).await;
        begin(&db, &one, 1, 0).await;
        // The first five took hours, the newest ten 6 to 15 s.
        let took = if number <= 5 { 600 * MINUTE } else { number * 1_000 };
        step(&db, &one, finish(1, Outcome::Passed), later(took)).await.unwrap();
        if number == 1 {
            assert_eq!(expected("srpm", Arch::X86_64).await, Some(Duration::from_secs(36_000)));
        }
    }
    // By when they ended the first five are the newest; they were finished hours later.
    let median = expected("srpm", Arch::X86_64).await.unwrap();
    assert_eq!(median, Duration::from_secs(36_000));
    for number in 16..=25 {
        let one = job(number, of);
        insert(&db, std::slice::from_ref(&one)).await;
        begin(&db, &one, 1, 700 * MINUTE).await;
        step(&db, &one, finish(1, Outcome::Passed), later(700 * MINUTE + number * 1_000)).await.unwrap();
    }
    assert_eq!(expected("srpm", Arch::X86_64).await, Some(Duration::from_secs(21)), "of 16 to 25");
    let failed = job(30, of);
    insert(&db, std::slice::from_ref(&failed)).await;
    begin(&db, &failed, 1, 800 * MINUTE).await;
    let event = finish(1, Outcome::FailedByPackage { reason: "no".into() });
    step(&db, &failed, event, later(900 * MINUTE)).await.unwrap();
    assert_eq!(
        expected("srpm", Arch::X86_64).await,
        Some(Duration::from_secs(21)),
        "what failed does not count"
    );
    assert_eq!(expected("srpm", Arch::S390x).await, None);
    assert_eq!(expected("build", Arch::X86_64).await, None);
}

async fn contract_a_gap_in_the_hubs_pulse_is_remembered(db: Db) {
    let (gap, lease) = (Duration::from_secs(15), Duration::from_secs(30));
    let heard = async |ms: i64| {
        let pulse = db.read().await.unwrap().hubs_pulse().await.unwrap();
        pulse.map(|pulse| pulse.covers(lease, later(ms), gap))
    };
    assert_eq!(heard(0).await, None);
    let pulse = async |ms: i64| {
        let mut tx = db.write().await.unwrap();
        tx.pulse(later(ms), gap).await.unwrap();
        tx.commit().await.unwrap();
    };
    for ms in [0, 5_000, 4_000, 20_000, 30_000] {
        pulse(ms).await;
    }
    assert_eq!(heard(29_999).await, Some(false), "not for all of a lease yet");
    assert_eq!(heard(30_000).await, Some(true));
    assert_eq!(heard(45_000).await, Some(true));
    assert_eq!(heard(45_001).await, Some(false), "the hubs are away");
    pulse(60_000).await;
    assert_eq!(heard(60_000).await, Some(false), "they were");
    for ms in [70_000, 80_000, 90_000] {
        assert_eq!(heard(ms - 1).await, Some(false));
        pulse(ms).await;
    }
    assert_eq!(heard(90_000).await, Some(true));
}
