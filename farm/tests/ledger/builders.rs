//! Builders.

use std::time::Duration;

use farm::arch::Arch;
use farm::builder::{Builder, Condition, Wish};
use farm::digest::Digest;
use farm::job::{Event, JobState, Patience, Refused};
use farm::ledger::{Db, Enrolling, Held, LedgerError, Reported, StepError, Tx};
use farm::message::Presence;
use farm::outcome::Outcome;
use farm::stamp::Stamp;

use crate::on_both;
use crate::samples::{NOON, claim, digest, id, insert, job, later, offer, step};

const SILENT: Duration = Duration::from_secs(15);

on_both!(
    contract_the_newest_report_stays,
    contract_a_builders_jobs_are_counted,
    contract_room_that_was_not_there_before_hurries,
    contract_a_new_life_gives_back_what_the_one_before_had,
    contract_a_wish_outlives_reports_and_enrolments,
    contract_what_a_removed_builder_still_says_brings_nothing_back,
    contract_of_two_machines_with_one_token_one_is_let_in,
);

pub(crate) fn builder(name: &str, slots: u32) -> Builder {
    Builder {
        name: name.to_owned(),
        arches: vec![Arch::X86_64],
        slots,
        running: vec![(id(1), 4)],
        draining: false,
        seen: NOON,
        born: ::farm::stamp::Stamp::ZERO,
        count: 0,
        version: String::new(),
        emulated: Vec::new(),
        memory_mb: 1 << 20,
        disk_mb: 1 << 20,
        labels: std::collections::BTreeSet::new(),
        ahead_ms: 0,
        wish: ::farm::builder::Wish::Work,
    }
}

/// The builder, let in with its own name for a secret, says this of itself to a hub whose clock shows `seen`.
pub(crate) async fn report(db: &Db, builder: &Builder) {
    let Builder { name, born, count, version, arches, emulated, slots, .. } = builder.clone();
    let Builder { memory_mb, disk_mb, labels, running, draining, seen, .. } = builder.clone();
    let presence = Presence {
        builder: name,
        born,
        count,
        clock: seen,
        version,
        arches,
        emulated,
        slots,
        memory_mb,
        disk_mb,
        labels,
        running,
        draining,
    };
    present(db, presence, seen).await;
}

async fn contract_the_newest_report_stays(db: Db) {
    let b2 = builder("b2", 2);
    // The hub that hears the newer one has a clock that is behind.
    let newer =
        Builder { draining: true, count: 1, seen: Stamp::from_millis(NOON.millis() - 1), ..b2.clone() };
    let b1 = builder("b1", 1);
    for said in [&b2, &newer, &b1, &b2] {
        report(&db, said).await;
    }
    let mut tx = db.read().await.unwrap();
    assert_eq!(tx.builders().await.unwrap(), [b1.clone(), newer]);
    assert_eq!(tx.builder("b1").await.unwrap(), Some(b1));
    assert_eq!(tx.builder("b3").await.unwrap(), None);
}

async fn contract_a_builders_jobs_are_counted(db: Db) {
    report(&db, &builder("b1", 3)).await;
    let jobs = [job(1, id(1)), job(2, id(1)), job(3, id(1))];
    insert(&db, &jobs).await;
    step(&db, &jobs[0], offer("b1"), NOON).await.unwrap();
    step(&db, &jobs[1], offer("b1"), NOON).await.unwrap();
    step(&db, &jobs[2], offer("b2"), NOON).await.unwrap();
    let mut tx = db.write().await.unwrap();
    let limits = &jobs[0].recipe.limits;
    let held = Held { jobs: 2, memory_mb: 2 * limits.memory_mb, disk_mb: 2 * limits.disk_mb };
    assert_eq!(tx.builder_locked("b1").await.unwrap(), Some((builder("b1", 3), held)));
    assert_eq!(tx.builder_locked("b2").await.unwrap(), None, "it never reported");
}

fn presence(slots: u32, running: u64) -> Presence {
    Presence {
        builder: "b1".to_owned(),
        born: NOON,
        count: 0,
        clock: NOON,
        version: String::new(),
        arches: vec![Arch::X86_64],
        emulated: Vec::new(),
        slots,
        memory_mb: 1 << 20,
        disk_mb: 1 << 20,
        labels: std::collections::BTreeSet::new(),
        running: (0..running).map(|number| (id(i64::try_from(number).unwrap()), 1)).collect(),
        draining: false,
    }
}

/// The builder, let in when it never was, says this at this moment, with a clock that is right.
async fn present(db: &Db, presence: Presence, now: Stamp) -> Reported {
    let secret = digest(&presence.builder);
    let mut tx = db.write().await.unwrap();
    if tx.builder(&presence.builder).await.unwrap().is_none() {
        tx.admit_builder(&presence.builder, &secret).await.unwrap();
    }
    let presence = Presence { clock: now, ..presence };
    let reported = tx.report(presence, &secret, now, SILENT, &Patience::default()).await.unwrap();
    tx.commit().await.unwrap();
    reported.unwrap()
}

async fn contract_what_a_removed_builder_still_says_brings_nothing_back(db: Db) {
    let (old, new) = (digest("b1"), digest("another"));
    present(&db, presence(2, 0), NOON).await;
    let mut tx = db.write().await.unwrap();
    assert!(tx.remove_builder("b1").await.unwrap());
    let late = async |tx: &mut Tx| {
        tx.report(presence(9, 0), &old, later(1), SILENT, &Patience::default()).await.unwrap()
    };
    assert_eq!(late(&mut tx).await, None);
    assert_eq!(tx.builders().await.unwrap(), []);
    // Nor does it speak for another machine that was given its name.
    tx.admit_builder("b1", &new).await.unwrap();
    assert_eq!(late(&mut tx).await, None);
    assert!(!tx.builder("b1").await.unwrap().unwrap().has_reported());
}

async fn contract_room_that_was_not_there_before_hurries(db: Db) {
    for (slots, running, seconds, hurries, why) in [
        (2, 0, 0, true, "a new builder"),
        (2, 0, 3, false, "nothing new"),
        (2, 2, 6, false, "busy now"),
        (2, 1, 9, true, "a slot fell free"),
        (4, 1, 12, true, "more slots"),
        (4, 1, 60, true, "back after a silence"),
    ] {
        let at = NOON + Duration::from_secs(seconds);
        assert_eq!(present(&db, presence(slots, running), at).await.hurry, hurries, "{why}");
    }
    let emulating = Presence { emulated: vec![Arch::S390x], ..presence(4, 1) };
    assert!(present(&db, emulating, NOON + Duration::from_secs(61)).await.hurry, "it runs more");
}

async fn contract_a_new_life_gives_back_what_the_one_before_had(db: Db) {
    let (earlier, later_life) = (later(10), later(20));
    let jobs = [job(1, id(1)), job(2, id(1)), job(3, id(1))];
    insert(&db, &jobs).await;
    for job in &jobs[..2] {
        step(&db, job, offer("b1"), NOON).await.unwrap();
        step(&db, job, claim(1, "b1", "token"), NOON).await.unwrap();
    }
    step(&db, &jobs[2], offer("b2"), NOON).await.unwrap();
    step(&db, &jobs[2], claim(1, "b2", "token"), NOON).await.unwrap();
    let finish = |turn| Event::Finish { turn, token: digest("token"), outcome: Outcome::Passed };

    let reported = present(&db, Presence { born: earlier, ..presence(2, 0) }, later(11)).await;
    assert_eq!(reported.forgotten.len(), 2, "what a life had that began before any report");
    assert!(reported.hurry);
    for job in &jobs[..2] {
        let mut tx = db.read().await.unwrap();
        let now = tx.job(job.id).await.unwrap().unwrap().value;
        assert_eq!((now.phase(), now.history.len()), ("waiting", 1));
        drop(tx);
        let late = step(&db, job, finish(1), later(12)).await;
        assert!(matches!(late, Err(StepError::Refused(Refused::Stale))), "{late:?}");
    }
    assert_eq!(
        db.read().await.unwrap().job(jobs[2].id).await.unwrap().unwrap().phase(),
        "building",
        "another builder's job stays"
    );

    // The same life says it again, and then takes a job.
    assert!(present(&db, Presence { born: earlier, ..presence(2, 0) }, later(12)).await.forgotten.is_empty());
    let due = later(60_000);
    step(&db, &jobs[0], offer("b1"), due).await.unwrap();
    let taken = Event::Claim {
        turn: 2,
        ticket: digest("ticket"),
        builder: "b1".to_owned(),
        born: earlier,
        token: digest("second"),
    };
    step(&db, &jobs[0], taken, due).await.unwrap();
    assert!(present(&db, Presence { born: earlier, ..presence(2, 1) }, due).await.forgotten.is_empty());
    assert_eq!(present(&db, Presence { born: later_life, ..presence(2, 0) }, due).await.forgotten.len(), 1);
    // What the earlier life says late changes nothing.
    let late = present(&db, Presence { born: earlier, draining: true, ..presence(9, 0) }, due).await;
    assert_eq!((late.builder.slots, late.builder.draining, late.hurry), (2, false, false));
}

async fn contract_a_wish_outlives_reports_and_enrolments(db: Db) {
    let secret = digest("b1");
    let mut tx = db.write().await.unwrap();
    assert!(!tx.wish_of_builder("b1", Wish::Drain).await.unwrap(), "nobody knows it");
    tx.admit_builder("b1", &secret).await.unwrap();
    let expected = tx.builder_by_secret(&secret).await.unwrap().unwrap();
    assert!(!expected.has_reported() && expected.condition(0, NOON, SILENT) == Condition::Silent);
    assert!(tx.wish_of_builder("b1", Wish::Drain).await.unwrap());
    tx.commit().await.unwrap();
    let reported = present(&db, presence(2, 0), NOON).await;
    assert_eq!(reported.builder.wish, Wish::Drain);
    let mut tx = db.write().await.unwrap();
    assert_eq!(tx.builders().await.unwrap()[0].condition(0, NOON, SILENT), Condition::Draining);
    tx.admit_builder("b1", &digest("another")).await.unwrap();
    assert_eq!(tx.builder_by_secret(&secret).await.unwrap(), None);
    assert_eq!(tx.builder("b1").await.unwrap().unwrap().wish, Wish::Drain);
    tx.commit().await.unwrap();

    let one = job(1, id(1));
    insert(&db, std::slice::from_ref(&one)).await;
    step(&db, &one, offer("b1"), NOON).await.unwrap();
    let mut tx = db.write().await.unwrap();
    assert!(matches!(tx.remove_builder("b1").await, Err(LedgerError::Refused(_))), "it has a job");
    let taken = tx.shut_out("b1", "root", NOON, &Patience::default()).await.unwrap();
    assert!(matches!(taken[0].job.state, JobState::Waiting { .. }));
    assert!(tx.remove_builder("b1").await.unwrap());
    assert!(!tx.remove_builder("b1").await.unwrap());
    tx.commit().await.unwrap();
}

async fn contract_of_two_machines_with_one_token_one_is_let_in(db: Db) {
    let token = digest("token");
    let mut tx = db.write().await.unwrap();
    tx.put_enrolment(&token, "b1", "root", later(1_000), NOON).await.unwrap();
    tx.commit().await.unwrap();
    let show = async |secret: Digest| {
        let mut tx = db.write().await.unwrap();
        let answer = tx.enrol(&token, &secret, later(1)).await.unwrap();
        tx.commit().await.unwrap();
        answer
    };
    let (one, other) = (digest("one"), digest("other"));
    let (first, second) = tokio::join!(show(one.clone()), show(other.clone()));
    let let_in = |answer: &Enrolling| matches!(answer, Enrolling::Done { builder } if builder == "b1");
    assert!(let_in(&first) != let_in(&second), "{first:?} {second:?}");
    let (lucky, unlucky) = if let_in(&first) { (one, other) } else { (other, one) };
    assert!(let_in(&show(lucky).await), "the answer was lost");
    assert_eq!(show(unlucky).await, Enrolling::Used { builder: "b1".to_owned() });
}
