//! Applied SIGs.

use farm::ledger::Db;

use crate::on_both;
use crate::samples::{NOON, sig};

on_both!(contract_a_sig_is_applied_whole_or_not_at_all);

async fn contract_a_sig_is_applied_whole_or_not_at_all(db: Db) {
    let storage = sig("storage");
    let mut tx = db.write().await.unwrap();
    assert!(!tx.apply_sig(&storage, "text 1", "root", NOON).await.unwrap().unwrap().is_empty());
    assert!(tx.apply_sig(&storage, "text 1", "root", NOON).await.unwrap().unwrap().is_empty());
    let mut renamed = storage.clone();
    "Another title".clone_into(&mut renamed.title);
    assert_eq!(tx.apply_sig(&renamed, "text 2", "root", NOON).await.unwrap().unwrap().len(), 1);
    tx.commit().await.unwrap();

    let mut thief = sig("cloud");
    thief.projects[0].packages.clone_from(&storage.projects[0].packages);
    let mut tx = db.write().await.unwrap();
    let clashes = tx.apply_sig(&thief, "text", "root", NOON).await.unwrap().unwrap_err();
    assert!(clashes[0].to_string().contains("storage-hello"), "{clashes:?}");
    tx.commit().await.unwrap();

    let mut tx = db.read().await.unwrap();
    assert_eq!(tx.community().await.unwrap().sigs, [renamed]);
    assert_eq!(tx.sig_template("storage").await.unwrap().as_deref(), Some("text 2"));
    assert_eq!(tx.sig_template("cloud").await.unwrap(), None);
}
