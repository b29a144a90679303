//! Jobs.

use std::collections::BTreeMap;

use farm::arch::Arch;
use farm::ids::{JobId, RequestId};
use farm::job::{Class, Effect, Event, JobState, Patience, Refused};
use farm::ledger::{Db, Held, StepError};
use farm::outcome::Outcome;

use crate::on_both;
use crate::samples::{NOON, claim, digest, id, insert, job, later, offer, step};

on_both!(
    contract_a_job_walks_from_the_backlog_to_its_end,
    contract_a_refused_step_writes_nothing,
    contract_the_backlog_is_cut_behind_the_most_urgent,
    contract_what_is_overdue_is_found,
    contract_a_cancelled_job_is_recalled_until_its_builder_confirms,
    contract_a_builder_that_does_not_take_offers_is_avoided,
    contract_jobs_the_farm_failed_are_found_among_the_newest,
);

async fn contract_a_job_walks_from_the_backlog_to_its_end(db: Db) {
    let request: RequestId = id(1);
    let (first, second) = (job(1, request), job(2, request));
    insert(&db, &[second.clone(), first.clone(), job(3, id(9))]).await;

    let mut tx = db.read().await.unwrap();
    assert_eq!(tx.job(first.id).await.unwrap().unwrap().value, first);
    assert_eq!(tx.job(id(77)).await.unwrap(), None);
    assert_eq!(tx.jobs_of(request).await.unwrap(), [first.clone(), second]);
    assert_eq!(tx.jobs_by_phase().await.unwrap(), BTreeMap::from([("waiting".to_owned(), 3)]));
    assert_eq!(tx.held_by_builder().await.unwrap(), BTreeMap::new());
    drop(tx);

    step(&db, &first, offer("b1"), NOON).await.unwrap();
    step(&db, &first, claim(1, "b1", "token"), NOON).await.unwrap();
    let beat = Event::Beat { turn: 1, token: digest("token") };
    step(&db, &first, beat, later(5_000)).await.unwrap();

    let mut tx = db.read().await.unwrap();
    let at_work = tx.job(first.id).await.unwrap().unwrap();
    assert_eq!((at_work.version, at_work.turn, at_work.tries), (3, 1, 1));
    assert!(at_work.admits(1, &digest("token")) && !at_work.admits(1, &digest("another")));
    assert_eq!(tx.held_by_builder().await.unwrap(), BTreeMap::from([("b1".to_owned(), 1)]));
    assert_eq!(tx.held_by("b1").await.unwrap(), Held { jobs: 1, memory_mb: 4_096, disk_mb: 3_072 });
    assert_eq!(
        tx.holdings().await.unwrap(),
        BTreeMap::from([("b1".to_owned(), tx.held_by("b1").await.unwrap())])
    );
    assert_eq!(tx.held_by("b2").await.unwrap(), Held::default());
    assert_eq!(tx.backlog(NOON, 9).await.unwrap().len(), 2);
    drop(tx);

    let finish = Event::Finish { turn: 1, token: digest("token"), outcome: Outcome::Passed };
    let stepped = step(&db, &first, finish.clone(), later(6_000)).await.unwrap();
    assert_eq!(stepped.effect, Some(Effect::Settled));
    let again = step(&db, &first, finish, later(6_001)).await.unwrap_err();
    assert!(matches!(again, StepError::Refused(Refused::Settled)));

    let mut tx = db.read().await.unwrap();
    assert!(tx.job(first.id).await.unwrap().unwrap().passed());
    assert_eq!(tx.held_by_builder().await.unwrap(), BTreeMap::new());
    assert_eq!(tx.holdings().await.unwrap(), BTreeMap::new());
    assert_eq!(
        tx.jobs_by_phase().await.unwrap(),
        BTreeMap::from([("waiting".to_owned(), 2), ("done".to_owned(), 1)])
    );
}

async fn contract_a_refused_step_writes_nothing(db: Db) {
    let one = job(1, id(1));
    insert(&db, std::slice::from_ref(&one)).await;
    assert!(matches!(step(&db, &job(2, id(1)), Event::Lapse, NOON).await, Err(StepError::Unknown(_))));
    assert!(matches!(step(&db, &one, Event::Lapse, NOON).await, Err(StepError::Refused(Refused::NotDue))));
    step(&db, &one, offer("b1"), NOON).await.unwrap();
    step(&db, &one, claim(1, "b1", "token"), NOON).await.unwrap();
    assert!(matches!(
        step(&db, &one, claim(1, "b2", "other"), NOON).await,
        Err(StepError::Refused(Refused::Stale))
    ));
    // The same claim again is answered as the first was, and leaves the row alone.
    let repeated = step(&db, &one, claim(1, "b1", "token"), later(50)).await.unwrap();
    assert_eq!(repeated.effect, None);
    assert_eq!(db.read().await.unwrap().job(one.id).await.unwrap().unwrap().version, 2);
}

async fn contract_the_backlog_is_cut_behind_the_most_urgent(db: Db) {
    let mut jobs = Vec::new();
    let classes = [Class::Nightly, Class::Scratch, Class::Push, Class::Release];
    for (number, class) in (1..).zip(classes.into_iter().cycle().take(12)) {
        let mut one = job(number, id(1));
        (one.class, one.arch) = (class, if number <= 8 { Arch::X86_64 } else { Arch::S390x });
        jobs.push(one);
    }
    let mut other = job(20, id(1));
    "cloud".clone_into(&mut other.sig);
    let mut tomorrow = job(21, id(1));
    tomorrow.state = JobState::Waiting { not_before: later(86_400_000) };
    jobs.extend([other, tomorrow]);
    insert(&db, &jobs).await;

    let mut tx = db.read().await.unwrap();
    let found = async |tx: &mut farm::ledger::Tx, each| {
        tx.backlog(NOON, each).await.unwrap().iter().map(|candidate| candidate.job).collect::<Vec<JobId>>()
    };
    // Of each class one, also of the lowest: 1 and 5 are nightly, 9 is so on the other architecture.
    let each: Vec<JobId> = [1, 2, 3, 4, 9, 10, 11, 12, 20].map(id).into();
    assert_eq!(found(&mut tx, 1).await, each);
    assert_eq!(found(&mut tx, 2).await.len(), 13);
    let all = tx.backlog(NOON, 99).await.unwrap();
    assert_eq!(all.len(), 13);
    let one = all.iter().find(|candidate| candidate.job == id(9)).unwrap();
    assert_eq!((one.class, one.arch, &*one.sig), (Class::Nightly, Arch::S390x, "storage"));
    assert_eq!((one.created, one.since, one.avoid.len()), (later(9), NOON, 0));
    assert_eq!((one.memory_mb, one.disk_mb, one.height), (4_096, 3_072, 0));
    drop(tx);

    let mut tall = job(30, id(1));
    (tall.class, tall.height) = (Class::Nightly, 3);
    let mut picky = job(31, id(1));
    (picky.class, picky.labels) = (Class::Nightly, ["big".to_owned(), "ssd".to_owned()].into());
    insert(&db, &[tall.clone(), picky.clone()]).await;
    let mut tx = db.read().await.unwrap();
    let found = tx.backlog(NOON, 1).await.unwrap();
    let nightly: Vec<_> =
        found.iter().filter(|one| (one.class, one.arch) == (Class::Nightly, Arch::X86_64)).collect();
    assert_eq!(nightly.len(), 2, "one that nobody may be able to take hides no other");
    assert_eq!((nightly[0].job, nightly[0].height), (tall.id, 3), "others wait for it: before older ones");
    assert_eq!((nightly[1].job, &nightly[1].labels), (picky.id, &picky.labels));
}

async fn contract_what_is_overdue_is_found(db: Db) {
    let jobs = [job(1, id(1)), job(2, id(1)), job(3, id(1))];
    insert(&db, &jobs).await;
    let Patience { offer_ms, lease_ms, .. } = Patience::default();
    let (offered, lease) = (i64::try_from(offer_ms).unwrap(), i64::try_from(lease_ms).unwrap());
    step(&db, &jobs[0], offer("b1"), NOON).await.unwrap();
    step(&db, &jobs[1], offer("b2"), NOON).await.unwrap();
    step(&db, &jobs[1], claim(1, "b2", "token"), NOON).await.unwrap();

    let mut tx = db.read().await.unwrap();
    assert_eq!(tx.overdue(later(offered - 1), true).await.unwrap(), []);
    assert_eq!(tx.overdue(later(offered), true).await.unwrap(), [jobs[0].id]);
    assert_eq!(tx.overdue(later(lease), true).await.unwrap(), [jobs[0].id, jobs[1].id]);
    assert_eq!(tx.overdue(later(lease), false).await.unwrap(), [jobs[0].id], "leases do not count");
    drop(tx);

    let lapsed = step(&db, &jobs[1], Event::Lapse, later(lease)).await.unwrap();
    assert_eq!(lapsed.effect, Some(Effect::Requeued));
    let mut tx = db.read().await.unwrap();
    assert_eq!(tx.overdue(later(lease), true).await.unwrap(), [jobs[0].id]);
    let backlog = tx.backlog(later(lease), 9).await.unwrap();
    assert_eq!(backlog.iter().map(|candidate| candidate.job).collect::<Vec<_>>(), [jobs[2].id]);
    let backlog = tx.backlog(later(lease + 60_000), 9).await.unwrap();
    assert_eq!(backlog[0].avoid, ["b2"], "the builder that fell silent is named");
}

async fn contract_a_cancelled_job_is_recalled_until_its_builder_confirms(db: Db) {
    let jobs = [job(1, id(1)), job(2, id(1))];
    insert(&db, &jobs).await;
    let cancel = || Event::Cancel { by: "alice".to_owned() };
    step(&db, &jobs[0], offer("b1"), NOON).await.unwrap();
    step(&db, &jobs[0], claim(1, "b1", "token"), NOON).await.unwrap();
    let stepped = step(&db, &jobs[0], cancel(), NOON).await.unwrap();
    assert_eq!(stepped.effect, Some(Effect::Stop { turn: 1 }));
    assert_eq!(step(&db, &jobs[1], cancel(), NOON).await.unwrap().effect, Some(Effect::Settled));

    let mut tx = db.read().await.unwrap();
    assert_eq!(tx.stopping().await.unwrap(), [(jobs[0].id, 1)]);
    assert_eq!(tx.held_by_builder().await.unwrap().get("b1"), Some(&1), "the slot is not free yet");
    drop(tx);
    let finish = Event::Finish {
        turn: 1,
        token: digest("token"),
        outcome: Outcome::Cancelled { by: "the farm".to_owned() },
    };
    let stepped = step(&db, &jobs[0], finish, later(9)).await.unwrap();
    assert_eq!(stepped.job.outcome(), Some(&Outcome::Cancelled { by: "alice".to_owned() }));
    assert_eq!(db.read().await.unwrap().stopping().await.unwrap(), []);
}

async fn contract_a_builder_that_does_not_take_offers_is_avoided(db: Db) {
    let one = job(1, id(1));
    insert(&db, std::slice::from_ref(&one)).await;
    step(&db, &one, offer("deaf"), NOON).await.unwrap();
    step(&db, &one, Event::Lapse, later(60_000)).await.unwrap();
    let backlog = db.read().await.unwrap().backlog(later(60_000), 9).await.unwrap();
    assert_eq!(backlog[0].avoid, ["deaf"], "or it would be offered to the same builder for ever");
}

async fn contract_jobs_the_farm_failed_are_found_among_the_newest(db: Db) {
    let jobs: Vec<_> = (1..=4).map(|number| job(number, id(9))).collect();
    insert(&db, &jobs).await;
    for failed in [&jobs[0], &jobs[1], &jobs[3]] {
        step(&db, failed, offer("b1"), NOON).await.unwrap();
        step(&db, failed, claim(1, "b1", "token"), NOON).await.unwrap();
        let outcome = Outcome::FailedByFarm { reason: "the disk is full".to_owned() };
        step(&db, failed, Event::Finish { turn: 1, token: digest("token"), outcome }, later(1))
            .await
            .unwrap();
    }
    let mut tx = db.read().await.unwrap();
    let mut found = async |among, most| {
        tx.troubled(among, most).await.unwrap().iter().map(|job| job.id).collect::<Vec<JobId>>()
    };
    assert_eq!(found(100, 100).await, [jobs[3].id, jobs[1].id, jobs[0].id]);
    assert_eq!(found(100, 2).await, [jobs[3].id, jobs[1].id]);
    assert_eq!(found(3, 100).await, [jobs[3].id, jobs[1].id], "the oldest is not looked at");
}
