//! Changes told to the outside.

use std::collections::BTreeSet;
use std::time::Duration;

use farm::arch::Arch;
use farm::event::{ChangeKind, StateChange};
use farm::wire::Changes;
use scheduler::{Outbox, Told};
use tokio::time::timeout;

use crate::bench::{Bench, NOON, SLOTS, job, later};

/// Everything that was told and not heard yet.
async fn heard(changes: &mut Changes) -> Vec<StateChange> {
    let mut heard = Vec::new();
    while let Ok(change) = timeout(Duration::from_millis(200), changes.next()).await {
        heard.push(change);
    }
    heard
}

#[tokio::test]
async fn every_change_is_told_in_order_and_then_forgotten() {
    let mut bench = Bench::new().await;
    let mut changes = bench.parts.bus.changes("job.#").await;
    let mut outbox = Outbox::new("one".to_owned());
    assert_eq!(outbox.tell(&bench.parts, NOON).await.unwrap(), Told::All);
    bench.insert(&[job(1, "storage"), job(2, "cloud")]).await;
    let _offers = bench.parts.bus.offers("b1", &Arch::ALL, SLOTS).await;
    bench.present("b1", 2, NOON).await;
    assert_eq!(bench.tick(NOON).await.offered, 2);
    assert_eq!(outbox.tell(&bench.parts, NOON).await.unwrap(), Told::Some(4));
    assert_eq!(outbox.tell(&bench.parts, NOON).await.unwrap(), Told::All);
    let heard = heard(&mut changes).await;
    assert_eq!(heard.iter().map(|change| change.id).collect::<BTreeSet<_>>().len(), 4);
    for one in [job(1, "storage"), job(2, "cloud")] {
        let told: Vec<_> = heard.iter().filter(|change| change.subject == one.id.to_string()).collect();
        assert_eq!(
            told.iter().map(|change| change.state.as_str()).collect::<Vec<_>>(),
            ["waiting", "offered"]
        );
        assert!(told.iter().all(|change| change.kind == ChangeKind::Job && change.sig == one.sig));
        assert_eq!(told[1].routing_key(), format!("job.{}.{}", one.sig, one.arch));
    }
}

#[tokio::test]
async fn what_was_told_by_one_who_died_before_forgetting_is_told_again_under_the_same_id_by_the_next() {
    let bench = Bench::new().await;
    let mut changes = bench.parts.bus.changes("#").await;
    bench.insert(&[job(1, "storage")]).await;
    // The first takes the duty and tells, and dies before it forgets.
    let mut tx = bench.parts.db.write().await.unwrap();
    assert!(tx.take_duty("outbox", "first", later(15_000), NOON).await.unwrap());
    let told = tx.events(10).await.unwrap();
    tx.commit().await.unwrap();
    bench.parts.bus.publish(&told).await.unwrap();

    let mut next = Outbox::new("next".to_owned());
    assert_eq!(next.tell(&bench.parts, NOON).await.unwrap(), Told::NotMine);
    assert_eq!(next.tell(&bench.parts, later(14_999)).await.unwrap(), Told::NotMine);
    assert_eq!(next.tell(&bench.parts, later(15_000)).await.unwrap(), Told::Some(1));
    let heard = heard(&mut changes).await;
    assert_eq!(heard, [told[0].clone(), told[0].clone()]);

    // Who leaves in order lets another go on at once.
    bench.insert(&[job(2, "storage")]).await;
    let mut third = Outbox::new("third".to_owned());
    assert_eq!(third.tell(&bench.parts, later(15_001)).await.unwrap(), Told::NotMine);
    next.leave(&bench.parts).await.unwrap();
    assert_eq!(third.tell(&bench.parts, later(15_001)).await.unwrap(), Told::Some(1));
}
