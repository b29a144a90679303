//! Builders.

use farm::arch::Arch;
use farm::builder::Builder;
use farm::ledger::Db;

use crate::on_both;
use crate::samples::{NOON, id, insert, job, later, offer, step};

on_both!(contract_the_newest_report_stays, contract_a_builders_jobs_are_counted);

pub(crate) fn builder(name: &str, slots: u32) -> Builder {
    Builder {
        name: name.to_owned(),
        arches: vec![Arch::X86_64],
        slots,
        running: vec![(id(1), 4)],
        draining: false,
        seen: NOON,
    }
}

pub(crate) async fn report(db: &Db, builder: &Builder) {
    let mut tx = db.write().await.unwrap();
    tx.report_builder(builder).await.unwrap();
    tx.commit().await.unwrap();
}

async fn contract_the_newest_report_stays(db: Db) {
    let b2 = builder("b2", 2);
    let (newer, b1) = (Builder { draining: true, seen: later(1), ..b2.clone() }, builder("b1", 1));
    for seen in [&newer, &b1, &b2] {
        report(&db, seen).await;
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
    assert_eq!(tx.builder_locked("b1").await.unwrap(), Some((builder("b1", 3), 2)));
    assert_eq!(tx.builder_locked("b2").await.unwrap(), None, "it never reported");
}
