//! Opening the database: which one, and whether its schema is the one this program knows.

use std::str::FromStr;
use std::time::{Duration, Instant};

use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Executor as _, PgPool, SqlitePool};

use super::{LedgerError, Line, Result, Tx, fetch, pg};

/// How long opening a file, or a wait for SQLite's write lock, may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Connections that read from SQLite at once.
const LITE_READERS: u32 = 4;
/// SQLite's code for a file that is busy.
const LITE_BUSY: &str = "5";
/// Between two tries to open a file that is busy.
const LITE_RETRY: Duration = Duration::from_millis(20);
/// How long connections that are closed may take to say goodbye.
const CLOSING: Duration = Duration::from_secs(5);

/// Every schema there ever was, the newest last.
static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

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

/// What bringing a schema up to date did. 0 is the schema of an empty database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migrated {
    /// The schema before.
    pub from: i64,
    /// The schema now.
    pub to: i64,
}

impl Db {
    /// The schema this program knows.
    #[must_use]
    pub fn known_schema() -> i64 {
        MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0)
    }

    /// Opens `sqlite:<path>` (made when it does not exist) or `postgres://…` and brings the schema up to date.
    ///
    /// # Errors
    /// When the database cannot be reached, or has a newer schema than this program knows.
    pub async fn open(url: &str) -> Result<Db> {
        Ok(Self::open_migrated(url).await?.0)
    }

    /// Does what [`Db::open`] does, and says what became of the schema. Two at once are safe: one waits for the other.
    ///
    /// # Errors
    /// As [`Db::open`].
    pub async fn open_migrated(url: &str) -> Result<(Db, Migrated)> {
        let db = Self::connect(url, true).await?;
        let from = db.schema().await?;
        if from > Self::known_schema() {
            return Err(Self::other_schema(from));
        }
        match &db {
            Db::Pg(pool) => {
                // A migration takes as long as it takes, and so does another process's that is waited for.
                let mut patient = pool.acquire().await?;
                patient.execute("SET statement_timeout = 0").await?;
                MIGRATIONS.run_direct(None, &mut *patient, false).await?;
                patient.close().await?;
            }
            Db::Lite { writer, .. } => {
                // SQLite has no lock for migrations of its own: without this one, two processes that are started at
                // once would both make the tables.
                let mut alone = writer.begin_with("BEGIN IMMEDIATE").await?;
                MIGRATIONS.run_direct(None, &mut *alone, false).await?;
                alone.commit().await?;
            }
        }
        let to = db.schema().await?;
        Ok((db, Migrated { from, to }))
    }

    /// Opens a database that is there and has the schema this program knows, and changes nothing.
    ///
    /// # Errors
    /// [`LedgerError::OtherSchema`], naming both versions and what to do; when the database cannot be reached.
    pub async fn open_known(url: &str) -> Result<Db> {
        let db = Self::connect(url, false).await?;
        match db.schema().await? {
            found if found == Self::known_schema() => Ok(db),
            found => {
                db.close().await;
                Err(Self::other_schema(found))
            }
        }
    }

    fn other_schema(found: i64) -> LedgerError {
        let known = Self::known_schema();
        let fix = if found < known {
            "run `grange admin migrate` of this program first; older ones that are at work go on"
        } else {
            "start a grange as new as the one that has migrated it"
        };
        LedgerError::OtherSchema { found, known, fix }
    }

    async fn connect(url: &str, create: bool) -> Result<Db> {
        if is_postgres(url) {
            return Ok(Db::Pg(pg::connect(url).await?));
        }
        let options = SqliteConnectOptions::from_str(url)?
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(PATIENCE)
            .foreign_keys(true);
        let writer = lite_writer(options.clone().create_if_missing(create)).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(LITE_READERS)
            .test_before_acquire(false)
            .acquire_timeout(PATIENCE)
            .connect_with(options.read_only(true))
            .await?;
        Ok(Db::Lite { writer, readers })
    }

    /// The database's schema; 0 when nothing was ever made in it.
    async fn schema(&self) -> Result<i64> {
        let mut tx = self.read().await?;
        let known = match &tx {
            Tx::Lite(_) => "SELECT COUNT(*) FROM sqlite_master WHERE name = '_sqlx_migrations'",
            Tx::Pg(_) => "SELECT COUNT(to_regclass('_sqlx_migrations'))",
        };
        let (tables,) = fetch!(fetch_one, &mut tx, (i64,), known)?;
        if tables == 0 {
            return Ok(0);
        }
        let sql = "SELECT COALESCE(MAX(version), 0) FROM _sqlx_migrations WHERE success";
        let (version,) = fetch!(fetch_one, &mut tx, (i64,), sql)?;
        Ok(version)
    }

    /// Is nothing in the database yet, not even a schema?
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn is_empty(url: &str) -> Result<bool> {
        let db = Self::connect(url, false).await?;
        let schema = db.schema().await;
        db.close().await;
        Ok(schema? == 0)
    }

    /// Copies a SQLite ledger, as it is at one moment, to a file that must not exist.
    ///
    /// # Errors
    /// [`LedgerError::Refused`] for a PostgreSQL ledger, which has programs of its own for this; when the disk refuses.
    pub async fn copy_to(&self, file: &std::path::Path) -> Result<()> {
        match self {
            Db::Lite { readers, .. } => {
                sqlx::query("VACUUM INTO $1")
                    .bind(file.to_string_lossy().into_owned())
                    .execute(readers)
                    .await?;
                Ok(())
            }
            Db::Pg(_) => Err(LedgerError::Refused("a PostgreSQL ledger is copied with pg_dump".to_owned())),
        }
    }

    /// Does the database answer now?
    ///
    /// # Errors
    /// When it does not.
    pub async fn answers(&self) -> Result<()> {
        let mut tx = self.read().await?;
        let (_one,) = fetch!(fetch_one, &mut tx, (i64,), "SELECT COUNT(*) FROM pulse")?;
        Ok(())
    }

    /// Begins a transaction that may write. On SQLite it takes the write lock at once: one that reads first and takes
    /// the lock later fails when another has written in between.
    ///
    /// # Errors
    /// When no connection is to be had.
    pub async fn write(&self) -> Result<Tx> {
        Ok(match self {
            Db::Lite { writer, .. } => Tx::Lite(Line::Whole(writer.begin_with("BEGIN IMMEDIATE").await?)),
            Db::Pg(pool) => Tx::Pg(Line::Whole(pg::answered(pool.begin()).await?)),
        })
    }

    /// Begins a transaction that only reads.
    ///
    /// # Errors
    /// When no connection is to be had.
    pub async fn read(&self) -> Result<Tx> {
        Ok(match self {
            Db::Lite { readers, .. } => Tx::Lite(Line::Whole(readers.begin().await?)),
            Db::Pg(pool) => Tx::Pg(Line::Whole(pg::answered(pool.begin()).await?)),
        })
    }

    /// For reading one thing, or several that need not be of one moment: each statement sees what is so when it runs. A
    /// transaction costs two more waits for the database, which for one statement is three times as much.
    ///
    /// # Errors
    /// When no connection is to be had.
    pub async fn glance(&self) -> Result<Tx> {
        Ok(match self {
            Db::Lite { readers, .. } => Tx::Lite(Line::Each(readers.acquire().await?)),
            Db::Pg(pool) => Tx::Pg(Line::Each(pg::answered(pool.acquire()).await?)),
        })
    }

    /// Closes every connection, waiting for open transactions.
    /// A server that does not answer any more is not waited for.
    pub async fn close(&self) {
        let _whoever_is_gone = tokio::time::timeout(CLOSING, self.close_all()).await;
    }

    async fn close_all(&self) {
        match self {
            Db::Lite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Db::Pg(pool) => pool.close().await,
        }
    }
}

/// Does this address name a PostgreSQL server? Otherwise it names a SQLite file.
#[must_use]
pub fn is_postgres(url: &str) -> bool {
    url.starts_with("postgres:") || url.starts_with("postgresql:")
}

/// Opens the one connection that writes to a file. When two processes open a new file at once, one is told that it is
/// busy without being made to wait for the other: SQLite does so while a file becomes a WAL database.
async fn lite_writer(options: SqliteConnectOptions) -> Result<SqlitePool> {
    let begun = Instant::now();
    loop {
        // A file does not hang up, so its connections are not asked each time whether they still work; nor are the readers'.
        let pool =
            SqlitePoolOptions::new().max_connections(1).test_before_acquire(false).acquire_timeout(PATIENCE);
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
