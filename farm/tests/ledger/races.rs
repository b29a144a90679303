//! What stays true when many want the same thing at once.

use std::future::Future;
use std::time::Duration;

use farm::job::{Patience, Refused};
use farm::ledger::{Db, LedgerError, StepError};
use farm::request::{Closed, RequestKind, Verdict};
use farm::sig::Stage;
use tokio::task::JoinSet;

use crate::builders::{builder, report};
use crate::on_both;
use crate::repos::approved;
use crate::samples::{
    CANDIDATE, NOON, TESTING, build, claim, id, insert, job, offer, pass, promotion, request, sig, snapshot,
    step,
};

on_both!(
    contract_one_of_twenty_claims_wins,
    contract_a_free_slot_is_given_away_once,
    contract_of_two_clashing_sigs_one_is_applied,
    contract_an_nvr_has_one_winner,
    contract_a_push_has_one_winner,
    contract_a_request_has_one_closer,
    contract_a_new_public_repo_has_one_first_snapshot,
    contract_every_tagging_counts,
    contract_policy_stands_still_while_the_gate_decides,
);

/// Long enough for another task to run into a lock: there is nothing else by which to see that it waits.
const A_WHILE: Duration = Duration::from_millis(150);

/// What each of `count` tasks, begun together, came to.
async fn together<T, F>(count: i64, task: impl Fn(i64) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    for number in 1..=count {
        tasks.spawn(task(number));
    }
    tasks.join_all().await
}

async fn contract_one_of_twenty_claims_wins(db: Db) {
    let one = job(1, id(1));
    insert(&db, std::slice::from_ref(&one)).await;
    step(&db, &one, offer("b1"), NOON).await.unwrap();
    let answers = together(20, |number| {
        let (db, one) = (db.clone(), one.clone());
        async move { step(&db, &one, claim(1, "b1", &format!("token {number}")), NOON).await }
    })
    .await;
    let won = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(won, 1, "{answers:?}");
    for answer in answers {
        assert!(matches!(
            answer,
            Ok(_) | Err(StepError::Refused(Refused::Stale) | StepError::Ledger(LedgerError::LostRace { .. }))
        ));
    }
    assert_eq!(db.read().await.unwrap().job(one.id).await.unwrap().unwrap().tries, 1);
}

async fn contract_a_free_slot_is_given_away_once(db: Db) {
    report(&db, &builder("b1", 3)).await;
    let jobs: Vec<_> = (1..=20).map(|number| job(number, id(1))).collect();
    insert(&db, &jobs).await;
    let given = together(20, |number| {
        let (db, job) = (db.clone(), id(number));
        async move {
            let mut tx = db.write().await.unwrap();
            let (builder, held) = tx.builder_locked("b1").await.unwrap().unwrap();
            if held.jobs < builder.slots {
                tx.step_job(job, offer("b1"), NOON, &Patience::default()).await.unwrap();
                tx.commit().await.unwrap();
                return true;
            }
            false
        }
    })
    .await;
    assert_eq!(given.into_iter().filter(|given| *given).count(), 3);
    assert_eq!(db.read().await.unwrap().held_by_builder().await.unwrap().get("b1"), Some(&3));
}

async fn contract_of_two_clashing_sigs_one_is_applied(db: Db) {
    let answers = together(8, |number| {
        let db = db.clone();
        async move {
            let mut one = sig(&format!("sig{number}"));
            one.projects[0].packages = ["shared".to_owned()].into();
            let mut tx = db.write().await.unwrap();
            let applied = tx.apply_sig(&one, "", "root", NOON).await.unwrap().is_ok();
            tx.commit().await.unwrap();
            applied
        }
    })
    .await;
    assert_eq!(answers.into_iter().filter(|applied| *applied).count(), 1);
    assert_eq!(db.read().await.unwrap().community().await.unwrap().sigs.len(), 1);
}

async fn contract_an_nvr_has_one_winner(db: Db) {
    let answers = together(8, |number| {
        let db = db.clone();
        async move {
            let mut tx = db.write().await.unwrap();
            let imported = tx.insert_build(&build(number, "hello", "1")).await.unwrap();
            tx.commit().await.unwrap();
            imported
        }
    })
    .await;
    assert_eq!(answers.into_iter().filter(|imported| *imported).count(), 1);
}

async fn contract_a_push_has_one_winner(db: Db) {
    let answers = together(8, |number| {
        let db = db.clone();
        async move {
            let mut tx = db.write().await.unwrap();
            let noted = tx.note_push("rpms/a", "main", "c1", Some(id(number)), "", NOON).await.unwrap();
            tx.commit().await.unwrap();
            noted
        }
    })
    .await;
    assert_eq!(answers.into_iter().filter(|noted| *noted).count(), 1);
}

async fn contract_a_request_has_one_closer(db: Db) {
    let one = request(1, RequestKind::Build);
    let mut tx = db.write().await.unwrap();
    tx.insert_request(&one).await.unwrap();
    tx.commit().await.unwrap();
    let answers = together(8, |_| {
        let (db, request) = (db.clone(), one.id);
        async move {
            let mut tx = db.write().await.unwrap();
            tx.lock_request(request).await.unwrap();
            let before = tx.request(request).await.unwrap().unwrap();
            if before.closed.is_some() {
                return false;
            }
            let closed = Closed { at: NOON, verdict: Verdict::Complete { build: None } };
            tx.close_request(&before, closed).await.unwrap();
            tx.commit().await.unwrap();
            true
        }
    })
    .await;
    assert_eq!(answers.into_iter().filter(|closed| *closed).count(), 1);
}

async fn contract_a_new_public_repo_has_one_first_snapshot(db: Db) {
    let snapshots =
        [1, 2].map(|number| snapshot(number, TESTING, None, &build(number, &format!("p{number}"), "1")));
    let first = approved(&db, 1, &snapshots[0]).await;
    let second = approved(&db, 2, &snapshots[1]).await;
    let mut tx = db.write().await.unwrap();
    tx.publish(&first, id(1), NOON).await.unwrap();
    let late = tokio::spawn({
        let db = db.clone();
        async move {
            let mut tx = db.write().await.unwrap();
            let published = tx.publish(&second, id(2), NOON).await;
            tx.commit().await.unwrap();
            published
        }
    });
    tokio::time::sleep(A_WHILE).await;
    tx.commit().await.unwrap();
    let late = late.await.unwrap();
    assert!(matches!(late, Err(LedgerError::LostRace { table: "repo", .. })), "{late:?}");
    let live = db.read().await.unwrap().live(TESTING).await.unwrap();
    assert_eq!(live, Some(snapshots[0].clone().into()));
}

async fn contract_every_tagging_counts(db: Db) {
    let answers = together(8, |number| {
        let db = db.clone();
        async move {
            let one = build(number, &format!("p{number}"), "1");
            let mut tx = db.write().await.unwrap();
            tx.insert_build(&one).await.unwrap();
            match tx.tag_build(CANDIDATE, &one, NOON).await {
                Ok(()) => tx.commit().await.map(|()| 1).unwrap(),
                Err(LedgerError::LostRace { .. }) => 0,
                Err(other) => panic!("{other}"),
            }
        }
    })
    .await;
    let tagged: i64 = answers.iter().sum();
    assert!(tagged >= 1);
    let mut tx = db.read().await.unwrap();
    assert_eq!(tx.repo(CANDIDATE).await.unwrap().wanted, tagged);
    assert_eq!(i64::try_from(tx.tagged(CANDIDATE).await.unwrap().len()).unwrap(), tagged);
}

async fn contract_policy_stands_still_while_the_gate_decides(db: Db) {
    let shown = snapshot(1, TESTING, None, &build(1, "a", "1"));
    let mut tx = db.write().await.unwrap();
    tx.apply_sig(&sig("storage"), "", "root", NOON).await.unwrap().unwrap();
    tx.insert_snapshot(&shown).await.unwrap();
    pass(&mut tx, 1, &shown).await;
    tx.commit().await.unwrap();

    let mut tx = db.write().await.unwrap();
    let decision = tx.ask_gate(&promotion(1, Stage::Testing, &shown), NOON).await.unwrap();
    assert!(matches!(decision, farm::gate::Decision::Approved(_)));
    let stricter = tokio::spawn({
        let db = db.clone();
        async move {
            let mut stricter = sig("storage");
            stricter.projects[0].required.push("upgrades".to_owned());
            let mut tx = db.write().await.unwrap();
            tx.apply_sig(&stricter, "", "root", NOON).await.unwrap().unwrap();
            tx.commit().await.unwrap();
        }
    });
    tokio::time::sleep(A_WHILE).await;
    assert!(!stricter.is_finished(), "a policy changed between the gate's answer and what is done about it");
    tx.commit().await.unwrap();
    stricter.await.unwrap();
}
