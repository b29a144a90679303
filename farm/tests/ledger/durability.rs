//! What stays, what does not, and which schemas are refused.

use farm::ledger::{Db, LedgerError};
use farm::request::RequestKind;

use crate::databases::Server;
use crate::on_both;
use crate::samples::{NOON, build, digest, id, insert, job, offer, request, step};

on_both!(
    contract_a_dropped_transaction_leaves_nothing,
    contract_a_newer_schema_is_refused,
    contract_a_reader_sees_only_what_is_committed,
);

async fn contract_a_dropped_transaction_leaves_nothing(db: Db) {
    let one = job(1, id(1));
    insert(&db, std::slice::from_ref(&one)).await;
    let mut tx = db.write().await.unwrap();
    tx.insert_request(&request(1, RequestKind::Build)).await.unwrap();
    tx.insert_build(&build(1, "a", "1")).await.unwrap();
    tx.step_job(one.id, offer("b1"), NOON, &farm::job::Patience::default()).await.unwrap();
    drop(tx);
    let mut tx = db.read().await.unwrap();
    assert_eq!(tx.open_requests().await.unwrap(), []);
    assert_eq!(tx.build(id(1)).await.unwrap(), None);
    assert!(!tx.is_held(&build(1, "a", "1").rpms[0].digest).await.unwrap());
    let job = tx.job(one.id).await.unwrap().unwrap();
    assert_eq!((job.version, &job.value), (0, &one));
    drop(tx);
    // And the writer is free again.
    step(&db, &one, offer("b1"), NOON).await.unwrap();
}

async fn contract_a_reader_sees_only_what_is_committed(db: Db) {
    let mut writing = db.write().await.unwrap();
    writing.put_person("alice", &digest("token"), false, NOON).await.unwrap();
    assert_eq!(db.read().await.unwrap().people().await.unwrap().len(), 0);
    writing.commit().await.unwrap();
    assert_eq!(db.read().await.unwrap().people().await.unwrap().len(), 1);
}

async fn contract_a_newer_schema_is_refused(db: Db) {
    let sql = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
               SELECT 9999, 'from the future', success, checksum, 0 FROM _sqlx_migrations WHERE version = 1";
    let url = match &db {
        Db::Lite { writer, .. } => {
            sqlx::query(sql).execute(writer).await.unwrap();
            format!("sqlite:{}", writer.connect_options().get_filename().display())
        }
        Db::Pg(pool) => {
            sqlx::query(sql).execute(pool).await.unwrap();
            Server::named().unwrap().url(pool.connect_options().get_database().unwrap())
        }
    };
    let known = Db::known_schema();
    for refused in [Db::open(&url).await.unwrap_err(), Db::open_known(&url).await.unwrap_err()] {
        assert!(
            matches!(&refused, LedgerError::OtherSchema { found: 9999, known: ours, .. } if *ours == known),
            "{refused}"
        );
        let said = refused.to_string();
        assert!(said.contains("schema 9999") && said.contains(&format!("knows {known}")), "{said}");
    }
}

async fn fill(db: &Db) {
    let one = job(1, id(1));
    insert(db, std::slice::from_ref(&one)).await;
    step(db, &one, offer("b1"), NOON).await.unwrap();
    let mut tx = db.write().await.unwrap();
    tx.insert_request(&request(1, RequestKind::Build)).await.unwrap();
    tx.insert_build(&build(1, "a", "1")).await.unwrap();
    tx.put_person("alice", &digest("token"), false, NOON).await.unwrap();
    tx.commit().await.unwrap();
}

async fn check(db: &Db) {
    let mut tx = db.read().await.unwrap();
    assert_eq!(tx.open_requests().await.unwrap(), [id(1)]);
    assert_eq!(tx.build(id(1)).await.unwrap(), Some(build(1, "a", "1")));
    assert_eq!(tx.people().await.unwrap().len(), 1);
    assert_eq!(tx.job(id(1)).await.unwrap().unwrap().phase(), "offered");
}

/// The folder is copied while the ledger is open and never closed properly: what a killed process leaves behind.
#[tokio::test]
async fn what_was_committed_survives_a_kill() {
    let (folder, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let db = Db::open(&format!("sqlite:{}", folder.path().join("ledger.db").display())).await.unwrap();
    fill(&db).await;
    let mut unfinished = db.write().await.unwrap();
    unfinished.put_person("bob", &digest("his"), true, NOON).await.unwrap();
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    let reopened = Db::open(&format!("sqlite:{}", copy.path().join("ledger.db").display())).await.unwrap();
    check(&reopened).await;
    reopened.close().await;
}

#[tokio::test]
async fn a_filled_ledger_is_migrated_again_without_harm() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("ledger.db").display());
    for round in 0..2 {
        let db = Db::open(&url).await.unwrap();
        if round == 0 {
            fill(&db).await;
        }
        check(&db).await;
        db.close().await;
    }
    let Some(server) = Server::named() else { return };
    let database = server.create().await;
    let first = Db::open(&server.url(&database)).await.unwrap();
    fill(&first).await;
    let second = Db::open(&server.url(&database)).await.unwrap();
    check(&second).await;
    first.close().await;
    second.close().await;
    server.drop(&database).await;
}

/// Two hubs that are started at once on a new database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_database_may_be_opened_twice_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("ledger.db").display());
    open_twice(&url).await;
    let Some(server) = Server::named() else { return };
    let database = server.create().await;
    open_twice(&server.url(&database)).await;
    server.drop(&database).await;
}

async fn open_twice(url: &str) {
    let (one, other) = tokio::join!(Db::open(url), Db::open(url));
    let (one, other) = (one.unwrap(), other.unwrap());
    fill(&one).await;
    check(&other).await;
    one.close().await;
    other.close().await;
}
