//! People and their tokens.

use farm::ledger::{Db, Person};

use crate::on_both;
use crate::samples::{NOON, digest, later};

on_both!(contract_a_person_has_one_token);

async fn contract_a_person_has_one_token(db: Db) {
    let mut tx = db.write().await.unwrap();
    tx.put_person("bob", &digest("old"), false, NOON).await.unwrap();
    tx.put_person("alice", &digest("hers"), false, NOON).await.unwrap();
    tx.put_person("bob", &digest("new"), true, later(1)).await.unwrap();
    tx.commit().await.unwrap();

    let bob = Person { name: "bob".to_owned(), admin: true, created: NOON };
    let alice = Person { name: "alice".to_owned(), admin: false, created: NOON };
    let mut tx = db.write().await.unwrap();
    assert_eq!(tx.person_by_token(&digest("old")).await.unwrap(), None);
    assert_eq!(tx.person_by_token(&digest("new")).await.unwrap(), Some(bob.clone()));
    assert_eq!(tx.people().await.unwrap(), [alice.clone(), bob]);
    assert!(tx.remove_person("bob").await.unwrap());
    assert!(!tx.remove_person("bob").await.unwrap());
    assert_eq!(tx.person_by_token(&digest("new")).await.unwrap(), None);
    assert_eq!(tx.people().await.unwrap(), [alice]);
}
