//! Changes that are still to be told.

use farm::ledger::Db;
use serde_json::Value;

use crate::on_both;
use crate::samples::{NOON, claim, id, insert, job, later, offer, step};

on_both!(contract_changes_of_a_subject_are_told_in_their_order_whatever_clocks_say);

async fn contract_changes_of_a_subject_are_told_in_their_order_whatever_clocks_say(db: Db) {
    let (one, other) = (job(1, id(1)), job(2, id(1)));
    insert(&db, &[one.clone(), other]).await;
    // By a scheduler whose clock is ahead, then by a hub whose clock is right.
    step(&db, &one, offer("b1"), later(5_000)).await.unwrap();
    step(&db, &one, claim(1, "b1", "token"), NOON).await.unwrap();
    let mut told = Vec::new();
    loop {
        let mut tx = db.write().await.unwrap();
        let batch = tx.events(1).await.unwrap();
        if batch.is_empty() {
            break;
        }
        tx.forget_events(&batch.iter().map(|change| change.id).collect::<Vec<_>>()).await.unwrap();
        tx.commit().await.unwrap();
        told.extend(batch.into_iter().filter(|change| change.subject == one.id.to_string()));
    }
    assert_eq!(
        told.iter().map(|change| change.state.as_str()).collect::<Vec<_>>(),
        ["waiting", "offered", "building"]
    );
    let versions: Vec<_> = told.iter().filter_map(|change| change.facts.get("version")).collect();
    assert_eq!(versions, [&Value::from(0), &Value::from(1), &Value::from(2)]);
}
