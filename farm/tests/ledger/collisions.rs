//! Transactions that stand in each other's way. Only on PostgreSQL: SQLite has one writer at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use farm::job::{Event, Job, Patience};
use farm::ledger::{Db, LedgerError, StepError, anew};
use farm::outcome::Outcome;
use tokio::sync::{Barrier, Notify};
use tokio::time::timeout;

use crate::databases::on_postgres;
use crate::samples::{NOON, claim, digest, id, insert, job, later, offer, step};

/// Long enough for another task to run into a lock: there is nothing else by which to see that it waits.
const A_WHILE: Duration = Duration::from_millis(300);
/// Far longer than a transaction takes.
const LONG: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_that_wait_for_each_other_one_is_undone_and_tried_anew() {
    on_postgres(two_that_wait_for_each_other).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutting_out_a_builder_and_ending_an_attempt_do_not_wait_for_each_other() {
    on_postgres(shutting_out_beside_an_end).await;
}

/// Jobs of one SIG, at work on these builders.
async fn at_work<const N: usize>(db: &Db, builders: [&str; N]) -> [Job; N] {
    let mut number = 0;
    let jobs = builders.map(|_| {
        number += 1;
        job(number, id(1))
    });
    insert(db, &jobs).await;
    for (job, builder) in jobs.iter().zip(builders) {
        step(db, job, offer(builder), NOON).await.unwrap();
        step(db, job, claim(1, builder, "token"), NOON).await.unwrap();
    }
    jobs
}

fn beat() -> Event {
    Event::Beat { turn: 1, token: digest("token") }
}

async fn two_that_wait_for_each_other(db: Db) {
    let [one, other] = at_work(&db, ["b1", "b1"]).await;
    let (meet, tries) = (Arc::new(Barrier::new(2)), Arc::new(AtomicU32::new(0)));
    let over = Notify::new();
    let walk = |first: Job, second: Job, now| {
        let (db, meet, tries, over) = (&db, &meet, &tries, &over);
        let is_first_try = AtomicBool::new(true);
        async move {
            anew(|| async {
                tries.fetch_add(1, Ordering::Relaxed);
                let is_first_try = is_first_try.swap(false, Ordering::Relaxed);
                if !is_first_try {
                    // Let the other one end, so that this one loses no race.
                    timeout(LONG, over.notified()).await.expect("only one of them is undone");
                }
                let mut tx = db.write().await?;
                tx.step_job(first.id, beat(), now, &Patience::default()).await?;
                if is_first_try {
                    meet.wait().await;
                }
                tx.step_job(second.id, beat(), now, &Patience::default()).await?;
                tx.commit().await?;
                over.notify_one();
                Ok::<_, StepError>(())
            })
            .await
        }
    };
    let (there, back) =
        tokio::join!(walk(one.clone(), other.clone(), later(1)), walk(other.clone(), one, later(2)));
    there.unwrap();
    back.unwrap();
    assert_eq!(tries.load(Ordering::Relaxed), 3, "one of them was tried twice");
    let mut tx = db.read().await.unwrap();
    assert_eq!(tx.job(other.id).await.unwrap().unwrap().version, 4, "an offer, a claim, and two beats");
}

async fn shutting_out_beside_an_end(db: Db) {
    let [_, second, third] = at_work(&db, ["b1", "b1", "b2"]).await;
    let patience = Patience::default();
    let mut ending = db.write().await.unwrap();
    ending.step_job(second.id, beat(), later(1), &patience).await.unwrap();
    let shutting_out = tokio::spawn({
        let db = db.clone();
        async move {
            let mut tx = db.write().await?;
            let taken = tx.shut_out("b1", "root", later(2), &Patience::default()).await?;
            tx.commit().await?;
            Ok::<_, LedgerError>(taken.len())
        }
    });
    // By now it has taken the first job, and waits for the second.
    tokio::time::sleep(A_WHILE).await;
    assert!(!shutting_out.is_finished());
    let passed = Event::Finish { turn: 1, token: digest("token"), outcome: Outcome::Passed };
    ending.step_job(third.id, passed, later(3), &patience).await.unwrap();
    ending.commit().await.unwrap();
    assert_eq!(shutting_out.await.unwrap().unwrap(), 2);
}
