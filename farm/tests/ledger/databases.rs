//! An empty ledger for each contract, thrown away afterwards.

use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use farm::ledger::Db;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

/// Names a PostgreSQL server where databases may be made: `postgres://user:password@host:port/database`.
const POSTGRES: &str = "GRANGE_TEST_POSTGRES";

pub(crate) async fn on_sqlite<F: Future<Output = ()>>(contract: impl FnOnce(Db) -> F) {
    let folder = tempfile::tempdir().unwrap();
    let db = Db::open(&format!("sqlite:{}", folder.path().join("ledger.db").display())).await.unwrap();
    contract(db.clone()).await;
    db.close().await;
}

pub(crate) async fn on_postgres<F: Future<Output = ()> + Send + 'static>(contract: impl FnOnce(Db) -> F) {
    let Some(server) = Server::named() else { return };
    let database = server.create().await;
    let db = Db::open(&server.url(&database)).await.unwrap();
    // In a task of its own, so that the database is removed even when the contract is broken.
    let held = tokio::spawn(contract(db.clone())).await;
    db.close().await;
    server.drop(&database).await;
    if let Err(broken) = held {
        std::panic::resume_unwind(broken.into_panic());
    }
}

/// A PostgreSQL server.
pub(crate) struct Server(String);

impl Server {
    /// The one the environment names. Without one the test says so: whoever runs the tests may count these lines.
    pub(crate) fn named() -> Option<Server> {
        match std::env::var(POSTGRES) {
            Ok(url) if !url.is_empty() => Some(Server(url)),
            Ok(_) | Err(_) => {
                eprintln!("SKIPPED: no {POSTGRES}");
                None
            }
        }
    }

    pub(crate) async fn create(&self) -> String {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let database = format!("grange_test_{}_{nanos}_{number}", std::process::id());
        self.execute(format!("CREATE DATABASE {database}")).await;
        database
    }

    pub(crate) async fn drop(&self, database: &str) {
        self.execute(format!("DROP DATABASE {database} WITH (FORCE)")).await;
    }

    pub(crate) fn url(&self, database: &str) -> String {
        let (server, _) = self.0.rsplit_once('/').unwrap();
        format!("{server}/{database}")
    }

    async fn execute(&self, sql: String) {
        let mut connection = PgConnection::connect(&self.0).await.unwrap();
        sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }
}
