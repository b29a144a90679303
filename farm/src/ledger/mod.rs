//! The ledger: everything the farm has promised, in SQL. All SQL of Grange is in this folder.
//!
//! One text serves SQLite and PostgreSQL. Every change of state goes through [`advance`]: it names the version it has
//! seen, and either exactly one row changes or the change did not happen. A caller opens a transaction with
//! [`Db::write`] or [`Db::read`], calls the methods of [`Tx`], and commits; a transaction that is dropped leaves nothing.
//!
//! # Contract
//! - SQLite has one writer at a time; [`Db::write`] waits for its turn. Never hold a [`Tx`] across other waiting.
//! - [`LedgerError::LostRace`] means that somebody else was quicker: read again and decide again.

mod advance;
mod artifacts;
mod builders;
mod builds;
mod jobs;
mod people;
mod promotions;
mod repos;
mod requests;
mod results;
mod sigs;

use std::ops::Deref;
use std::str::FromStr;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{PgPool, Postgres, Sqlite, SqlitePool, Transaction};

pub use artifacts::{Artifact, LookasideFile};
pub use builds::BuildFilter;
pub use jobs::{StepError, Stepped};
pub use people::Person;
pub use promotions::PromotionFilter;
pub use repos::Repo;
pub use requests::{PushSeen, RequestFilter};

/// How long a connection attempt, or a wait for SQLite's write lock, may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Connections that read from SQLite at once.
const LITE_READERS: u32 = 4;
/// SQLite's code for a file that is busy.
const LITE_BUSY: &str = "5";
/// Between two tries to open a file that is busy.
const LITE_RETRY: Duration = Duration::from_millis(20);
/// Connections to PostgreSQL.
const PG_CONNECTIONS: u32 = 16;

/// The ledger's database.
#[derive(Clone, Debug)]
pub enum Db {
    /// A file.
    Lite {
        /// The one connection that writes.
        writer: SqlitePool,
        /// Read-only connections.
        readers: SqlitePool,
    },
    /// A server.
    Pg(PgPool),
}

/// A transaction; dropped without [`Tx::commit`] it leaves nothing behind.
#[derive(Debug)]
pub enum Tx {
    /// On a file.
    Lite(Transaction<'static, Sqlite>),
    /// On a server.
    Pg(Transaction<'static, Postgres>),
}

/// Something read, with the version that guards its next change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept<T> {
    /// It.
    pub value: T,
    /// Its version.
    pub version: i64,
}

impl<T> Deref for Kept<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

/// What can go wrong with the ledger.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The database is away, full, or refuses.
    #[error("the database failed: {0}")]
    Sql(#[from] sqlx::Error),
    /// The schema could not be brought up to date, or is newer than this program.
    #[error("the database's schema does not fit this program: {0}")]
    Schema(#[from] sqlx::migrate::MigrateError),
    /// A row does not hold what this program wrote.
    #[error("row {id} of table {table} is unreadable: {why}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The row.
        id: String,
        /// Why.
        why: String,
    },
    /// Somebody else changed the row first.
    #[error("{table} {id} was changed by somebody else meanwhile")]
    LostRace {
        /// The table.
        table: &'static str,
        /// The row.
        id: String,
    },
    /// The caller asked for something the ledger never does.
    #[error("{0}")]
    Refused(String),
}

/// Shorthand for the ledger's results.
pub type Result<T, E = LedgerError> = std::result::Result<T, E>;

/// Runs one statement on whichever database the transaction is on; gives the number of changed rows.
macro_rules! execute {
    ($tx:expr, $sql:expr $(, $arg:expr)* $(,)?) => {
        match $tx {
            $crate::ledger::Tx::Lite(tx) => {
                sqlx::query($sql)$(.bind($arg))*.execute(&mut **tx).await.map(|done| done.rows_affected())
            }
            $crate::ledger::Tx::Pg(tx) => {
                sqlx::query($sql)$(.bind($arg))*.execute(&mut **tx).await.map(|done| done.rows_affected())
            }
        }
    };
}

/// Reads rows as tuples.
macro_rules! fetch {
    ($method:ident, $tx:expr, $row:ty, $sql:expr $(, $arg:expr)* $(,)?) => {
        match $tx {
            $crate::ledger::Tx::Lite(tx) => {
                sqlx::query_as::<_, $row>($sql)$(.bind($arg))*.$method(&mut **tx).await
            }
            $crate::ledger::Tx::Pg(tx) => {
                sqlx::query_as::<_, $row>($sql)$(.bind($arg))*.$method(&mut **tx).await
            }
        }
    };
}

pub(crate) use {execute, fetch};

impl Db {
    /// Opens `sqlite:<path>` (made when it does not exist) or `postgres://…` and brings the schema up to date.
    ///
    /// # Errors
    /// When the database cannot be reached, or has a newer schema than this program knows.
    pub async fn open(url: &str) -> Result<Db> {
        let migrations = sqlx::migrate!("./migrations");
        if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            let options = PgConnectOptions::from_str(url)?;
            let pool = PgPoolOptions::new()
                .max_connections(PG_CONNECTIONS)
                .acquire_timeout(PATIENCE)
                .connect_with(options)
                .await?;
            migrations.run(&pool).await?;
            return Ok(Db::Pg(pool));
        }
        let options = SqliteConnectOptions::from_str(url)?
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(PATIENCE)
            .foreign_keys(true);
        let writer = lite_writer(options.clone().create_if_missing(true)).await?;
        // SQLite has no lock for migrations of its own: without this one, two processes that are started at once would
        // both make the tables.
        let mut alone = writer.begin_with("BEGIN IMMEDIATE").await?;
        migrations.run_direct(None, &mut *alone, false).await?;
        alone.commit().await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(LITE_READERS)
            .acquire_timeout(PATIENCE)
            .connect_with(options.read_only(true))
            .await?;
        Ok(Db::Lite { writer, readers })
    }

    /// Begins a transaction that may write. On SQLite it takes the write lock at once: one that reads first and takes
    /// the lock later fails when another has written in between.
    ///
    /// # Errors
    /// When no connection is to be had.
    pub async fn write(&self) -> Result<Tx> {
        Ok(match self {
            Db::Lite { writer, .. } => Tx::Lite(writer.begin_with("BEGIN IMMEDIATE").await?),
            Db::Pg(pool) => Tx::Pg(pool.begin().await?),
        })
    }

    /// Begins a transaction that only reads.
    ///
    /// # Errors
    /// When no connection is to be had.
    pub async fn read(&self) -> Result<Tx> {
        Ok(match self {
            Db::Lite { readers, .. } => Tx::Lite(readers.begin().await?),
            Db::Pg(pool) => Tx::Pg(pool.begin().await?),
        })
    }

    /// Closes every connection, waiting for open transactions.
    pub async fn close(&self) {
        match self {
            Db::Lite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Db::Pg(pool) => pool.close().await,
        }
    }
}

/// Opens the one connection that writes to a file. When two processes open a new file at once, one is told that it is
/// busy without being made to wait for the other: SQLite does so while a file becomes a WAL database.
async fn lite_writer(options: SqliteConnectOptions) -> Result<SqlitePool> {
    let begun = Instant::now();
    loop {
        let pool = SqlitePoolOptions::new().max_connections(1).acquire_timeout(PATIENCE);
        match pool.connect_with(options.clone()).await {
            Err(sqlx::Error::Database(error))
                if error.code().as_deref() == Some(LITE_BUSY) && begun.elapsed() < PATIENCE =>
            {
                tokio::time::sleep(LITE_RETRY).await;
            }
            opened => return Ok(opened?),
        }
    }
}

impl Tx {
    /// Makes everything done in the transaction so.
    ///
    /// # Errors
    /// When the database does not confirm it; then nothing was done.
    pub async fn commit(self) -> Result<()> {
        match self {
            Tx::Lite(tx) => tx.commit().await?,
            Tx::Pg(tx) => tx.commit().await?,
        }
        Ok(())
    }

    /// Waits until no other transaction holds this lock, and holds it until the end of this one.
    pub(crate) async fn lock(&mut self, name: &str) -> Result<()> {
        let sql = "INSERT INTO lock (name, version) VALUES ($1, 0)
                   ON CONFLICT (name) DO UPDATE SET version = lock.version + 1";
        execute!(self, sql, name)?;
        Ok(())
    }
}

/// A row as JSON.
fn to_doc<T: Serialize>(table: &'static str, id: &impl ToString, value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|why| LedgerError::Corrupt {
        table,
        id: id.to_string(),
        why: why.to_string(),
    })
}

/// A row from JSON.
fn from_doc<T: DeserializeOwned>(table: &'static str, doc: &str) -> Result<T> {
    serde_json::from_str(doc).map_err(|why| LedgerError::Corrupt {
        table,
        id: doc.chars().take(60).collect(),
        why: why.to_string(),
    })
}

/// A column from its text.
fn parsed<T: FromStr<Err: ToString>>(table: &'static str, text: &str) -> Result<T> {
    text.parse().map_err(|why: T::Err| LedgerError::Corrupt {
        table,
        id: text.to_owned(),
        why: why.to_string(),
    })
}

/// Rows of `(version, doc)`.
fn kept<T: DeserializeOwned>(table: &'static str, rows: Vec<(i64, String)>) -> Result<Vec<Kept<T>>> {
    rows.into_iter().map(|(version, doc)| Ok(Kept { value: from_doc(table, &doc)?, version })).collect()
}

/// A size as the database keeps it.
fn size_in(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// A size as the database kept it.
fn size_out(bytes: i64) -> u64 {
    u64::try_from(bytes).unwrap_or(0)
}
