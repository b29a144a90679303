//! Artifacts, the lookaside, and which blobs are needed.

use farm::ledger::{Artifact, Db, LedgerError, LookasideFile};
use farm::request::RequestKind;

use crate::on_both;
use crate::samples::{NOON, digest, id, input, insert, job, request};

on_both!(
    contract_a_blob_is_held_until_nothing_needs_it,
    contract_an_attempts_file_has_one_content,
    contract_the_lookaside_finds_a_file_by_its_hash,
);

fn artifact(number: i64, turn: u32, name: &str, content: &str) -> Artifact {
    Artifact { job: id(number), turn, name: name.to_owned(), digest: digest(content), size: 5 }
}

async fn contract_a_blob_is_held_until_nothing_needs_it(db: Db) {
    // Job 1 and job 2 share `hello.tar` and a file they both produced; each has a tree of its own.
    let (one, other) = (request(1, RequestKind::Build), request(2, RequestKind::Build));
    insert(&db, &[job(1, one.id), job(2, other.id)]).await;
    let mut tx = db.write().await.unwrap();
    tx.insert_request(&one).await.unwrap();
    tx.insert_request(&other).await.unwrap();
    tx.put_artifact(&artifact(1, 1, "log", "same"), NOON).await.unwrap();
    tx.put_artifact(&artifact(2, 1, "log", "same"), NOON).await.unwrap();
    tx.put_artifact(&artifact(1, 1, "a.rpm", "alone"), NOON).await.unwrap();
    tx.put_artifact(&artifact(1, 1, "b.rpm", "imported"), NOON).await.unwrap();
    tx.hold("build:x", &digest("imported")).await.unwrap();
    tx.hold("build:x", &digest("imported")).await.unwrap();
    tx.commit().await.unwrap();

    let mut tx = db.write().await.unwrap();
    let mut freed = tx.forget_files_of(one.id).await.unwrap();
    freed.sort();
    let mut expected = vec![digest("alone"), input("tree-1").digest];
    expected.sort();
    assert_eq!(freed, expected);
    assert_eq!(tx.artifacts_of(id(1), 1).await.unwrap(), []);
    assert_eq!(tx.artifacts_of(id(2), 1).await.unwrap().len(), 1);
    for (content, held) in [("alone", false), ("imported", true), ("same", true), ("hello.tar", true)] {
        assert_eq!(tx.is_held(&digest(content)).await.unwrap(), held, "{content}");
    }
    assert_eq!(tx.forget_files_of(one.id).await.unwrap(), []);
    tx.commit().await.unwrap();
}

async fn contract_an_attempts_file_has_one_content(db: Db) {
    let mut tx = db.write().await.unwrap();
    let file = artifact(1, 1, "b.rpm", "content");
    tx.put_artifact(&file, NOON).await.unwrap();
    tx.put_artifact(&file, NOON).await.unwrap();
    let other = tx.put_artifact(&artifact(1, 1, "b.rpm", "other"), NOON).await.unwrap_err();
    assert!(matches!(other, LedgerError::Refused(why) if why.contains("b.rpm")));
    // Another attempt, or another name, is another file.
    let (newer, second) = (artifact(1, 2, "b.rpm", "other"), artifact(1, 1, "a.rpm", "content"));
    tx.put_artifact(&newer, NOON).await.unwrap();
    tx.put_artifact(&second, NOON).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = db.read().await.unwrap();
    assert_eq!(tx.artifacts_of(id(1), 1).await.unwrap(), [second, file]);
    assert_eq!(tx.artifacts_of(id(1), 2).await.unwrap(), [newer]);
}

async fn contract_the_lookaside_finds_a_file_by_its_hash(db: Db) {
    let stored = LookasideFile { digest: digest("tar"), size: u64::from(u32::MAX) * 8 };
    let mut tx = db.write().await.unwrap();
    for kind in ["sha512", "md5", "md5"] {
        tx.put_lookaside("hello", "hello.tar", kind, "abc", &stored, "alice", NOON).await.unwrap();
    }
    tx.commit().await.unwrap();
    let mut tx = db.read().await.unwrap();
    assert_eq!(tx.lookaside("hello", "hello.tar", "md5", "abc").await.unwrap(), Some(stored.clone()));
    assert_eq!(tx.lookaside("hello", "hello.tar", "sha512", "abc").await.unwrap(), Some(stored.clone()));
    assert_eq!(tx.lookaside("hello", "hello.tar", "md5", "abd").await.unwrap(), None);
    assert_eq!(tx.lookaside("bye", "hello.tar", "md5", "abc").await.unwrap(), None);
    assert!(tx.is_held(&stored.digest).await.unwrap());
}
