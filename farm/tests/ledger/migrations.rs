//! Every migration is applied to filled tables, and what an older program wrote stays readable.

use std::borrow::Cow;
use std::str::FromStr as _;

use farm::ledger::{Db, LedgerError, Migrated};
use serde_json::Value;
use sqlx::migrate::Migrator;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, PgConnection, SqliteConnection};

use crate::databases::Server;
use crate::samples::{NOON, build, id, job, request};

/// The schema of the first release alone.
fn first() -> Migrator {
    let mut migrator = sqlx::migrate!("./migrations");
    migrator.migrations = Cow::Owned(migrator.iter().filter(|one| one.version == 1).cloned().collect());
    migrator
}

/// What the first release wrote of a job and a request: without the keys that came later.
fn older(value: impl serde::Serialize, newer: &[&str]) -> String {
    let mut value = serde_json::to_value(value).unwrap();
    let row: &mut serde_json::Map<String, Value> = value.as_object_mut().unwrap();
    for key in newer {
        row.remove(*key);
    }
    value.to_string()
}

/// Statements that fill the tables of the first schema.
fn rows() -> Vec<(&'static str, Vec<String>)> {
    let (job, request, build) =
        (job(1, id(1)), request(1, farm::request::RequestKind::Build), build(1, "a", "1"));
    vec![
        (
            "INSERT INTO job (id, version, request, sig, class, arch, phase, due, builder, avoid, created, doc)
             VALUES ($1, 0, $2, 'storage', 'push', 'x86_64', 'waiting', 0, NULL, '', 0, $3)",
            vec![job.id.to_string(), job.request.to_string(), older(&job, &["labels", "height"])],
        ),
        (
            "INSERT INTO request (id, version, sig, target, package, kind, asked_by, open, expires, doc)
             VALUES ($1, 0, 'storage', 't', 'a', 'build', 'ada', 1, NULL, $2)",
            vec![request.id.to_string(), older(&request, &["chain"])],
        ),
        (
            "INSERT INTO build (id, nvr, package, sig, target, request, doc) VALUES ($1, 'a-1-1', 'a', 's', 't', $2, $3)",
            vec![build.id.to_string(), build.request.to_string(), older(&build, &["roots"])],
        ),
        (
            "INSERT INTO builder (name, seen, doc) VALUES ('b1', 5, $1)",
            vec![
                r#"{"name":"b1","arches":["x86_64"],"slots":2,"running":[],"draining":false,"seen":5}"#.to_owned(),
            ],
        ),
        ("INSERT INTO person (name, token, admin, created) VALUES ('ada', $1, 1, 0)", vec!["digest".to_owned()]),
    ]
}

async fn is_readable(db: &Db) {
    let mut tx = db.read().await.unwrap();
    assert_eq!(tx.job(id(1)).await.unwrap().unwrap().value, job(1, id(1)));
    assert_eq!(tx.open_requests().await.unwrap(), [id(1)]);
    assert!(tx.request(id(1)).await.unwrap().unwrap().chain.is_none());
    assert_eq!(tx.build(id(1)).await.unwrap().unwrap().nvr, build(1, "a", "1").nvr);
    assert_eq!(tx.builders().await.unwrap()[0].slots, 2);
    assert_eq!(tx.people().await.unwrap()[0].name, "ada");
    assert_eq!(tx.backlog(NOON, 10).await.unwrap().len(), 1);
    assert_eq!(tx.queues().await.unwrap()[0].jobs, 1);
}

async fn comes_up_to_date(url: &str) {
    let refused = Db::open_known(url).await.unwrap_err();
    assert!(matches!(refused, LedgerError::OtherSchema { found: 1, .. }), "{refused}");
    assert!(refused.to_string().contains("grange admin migrate"), "{refused}");
    // Two at once: one waits for the other.
    let (one, other) = tokio::join!(Db::open_migrated(url), Db::open_migrated(url));
    let ((one, first), (other, second)) = (one.unwrap(), other.unwrap());
    let to = Db::known_schema();
    for migrated in [first, second] {
        assert!([Migrated { from: 1, to }, Migrated { from: to, to }].contains(&migrated), "{migrated:?}");
    }
    is_readable(&one).await;
    one.close().await;
    other.close().await;
    let known = Db::open_known(url).await.unwrap();
    is_readable(&known).await;
    known.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_the_first_release_are_readable_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("ledger.db").display());
    let options = SqliteConnectOptions::from_str(&url).unwrap().create_if_missing(true);
    let mut old = SqliteConnection::connect_with(&options).await.unwrap();
    first().run_direct(None, &mut old, false).await.unwrap();
    for (sql, values) in rows() {
        let mut query = sqlx::query(sql);
        for value in values {
            query = query.bind(value);
        }
        query.execute(&mut old).await.unwrap();
    }
    old.close().await.unwrap();
    comes_up_to_date(&url).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_the_first_release_are_readable_postgres() {
    let Some(server) = Server::named() else { return };
    let database = server.create().await;
    let url = server.url(&database);
    let mut old = PgConnection::connect(&url).await.unwrap();
    first().run_direct(None, &mut old, false).await.unwrap();
    for (sql, values) in rows() {
        let mut query = sqlx::query(sql);
        for value in values {
            query = query.bind(value);
        }
        query.execute(&mut old).await.unwrap();
    }
    old.close().await.unwrap();
    let told = url.clone();
    let held = tokio::spawn(async move { comes_up_to_date(&told).await }).await;
    server.drop(&database).await;
    if let Err(broken) = held {
        std::panic::resume_unwind(broken.into_panic());
    }
}
