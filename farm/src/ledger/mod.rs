//! The ledger: everything the farm has promised, in SQL. All SQL of Grange is in this folder.
//!
//! One text serves SQLite and PostgreSQL. Every change of state goes through [`advance`]: it names the version it has
//! seen, and either exactly one row changes or the change did not happen. A caller opens a transaction with
//! [`Db::write`] or [`Db::read`], calls the methods of [`Tx`], and commits; a transaction that is dropped leaves nothing.
//! Who reads one thing only, or several that need not fit together, takes [`Db::glance`].
//!
//! # Contract
//! - SQLite has one writer at a time; [`Db::write`] waits for its turn. Never hold a [`Tx`] across other waiting.
//! - [`LedgerError::LostRace`] means that somebody else was quicker: read again and decide again.
//! - [`LedgerError::Undone`] means that the database has undone everything in the transaction: begin another ([`anew`]).
//! - Rows that several transactions change are changed in one order, so that two do not wait for each other: locks by name,
//!   then jobs by id, then what SIGs have used.

mod advance;
mod artifacts;
mod builders;
mod builds;
mod counted;
mod db;
mod duty;
mod enrolments;
mod events;
mod figures;
mod jobs;
mod lanes;
mod people;
mod pg;
mod presences;
mod promotions;
mod provenance;
mod publications;
mod pulse;
mod rechecks;
mod repos;
mod requests;
mod results;
mod signing;
mod sigs;
mod sources;
mod timing;
mod undone;
mod usage;
mod waivers;

use std::ops::{Deref, DerefMut};
use std::str::FromStr;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::pool::PoolConnection;
use sqlx::{Database, Postgres, Sqlite, Transaction};

pub use artifacts::{Artifact, LookasideFile};
pub use builds::BuildFilter;
pub use db::{Db, Migrated, is_postgres};
pub use enrolments::Enrolling;
pub use figures::{Outbox, Queue};
pub use jobs::{Held, StepError, Stepped};
pub use people::Person;
pub use presences::Reported;
pub use promotions::PromotionFilter;
pub use publications::Publication;
pub use pulse::Pulse;
pub use rechecks::{Outside, Surrounding};
pub use repos::{LayerState, Repo};
pub use requests::{PushSeen, RequestFilter};
pub use sources::Concerned;
pub use undone::{Undone, anew};
pub use waivers::Withdrawal;

/// A transaction; dropped without [`Tx::commit`] it leaves nothing behind.
#[derive(Debug)]
pub enum Tx {
    /// On a file.
    Lite(Line<Sqlite>),
    /// On a server.
    Pg(Line<Postgres>),
}

/// How statements reach a database.
#[derive(Debug)]
pub enum Line<D: Database> {
    /// Together, as one transaction.
    Whole(Transaction<'static, D>),
    /// Each by itself.
    Each(PoolConnection<D>),
}

impl<D: Database> Deref for Line<D> {
    type Target = D::Connection;
    fn deref(&self) -> &D::Connection {
        match self {
            Self::Whole(tx) => tx,
            Self::Each(connection) => connection,
        }
    }
}

impl<D: Database> DerefMut for Line<D> {
    fn deref_mut(&mut self) -> &mut D::Connection {
        match self {
            Self::Whole(tx) => tx,
            Self::Each(connection) => connection,
        }
    }
}

impl<D: Database> Line<D> {
    async fn commit(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Whole(tx) => tx.commit().await,
            Self::Each(_) => Ok(()),
        }
    }
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
    Sql(#[source] sqlx::Error),
    /// The database has undone the transaction, because it and another one stood in each other's way: everything in it
    /// may be tried anew. See [`anew`].
    #[error("the database has undone a change that stood in the way of another one: try again")]
    Undone,
    /// The schema could not be brought up to date.
    #[error("the database's schema could not be brought up to date: {0}")]
    Schema(#[from] sqlx::migrate::MigrateError),
    /// The schema is another than the one this program knows.
    #[error("the ledger has schema {found}, this program knows {known}: {fix}")]
    OtherSchema {
        /// The ledger's.
        found: i64,
        /// This program's.
        known: i64,
        /// What to do.
        fix: &'static str,
    },
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
                let done = sqlx::query($sql)$(.bind($arg))*.execute(&mut **tx);
                $crate::ledger::pg::answered(done).await.map(|done| done.rows_affected())
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
                let rows = sqlx::query_as::<_, $row>($sql)$(.bind($arg))*.$method(&mut **tx);
                $crate::ledger::pg::answered(rows).await
            }
        }
    };
}

pub(crate) use {execute, fetch};

impl Tx {
    /// Makes everything done in the transaction so.
    ///
    /// # Errors
    /// When the database does not confirm it; then nothing was done.
    pub async fn commit(self) -> Result<()> {
        match self {
            Tx::Lite(tx) => tx.commit().await?,
            Tx::Pg(tx) => pg::answered(tx.commit()).await?,
        }
        Ok(())
    }

    /// Waits until no other transaction holds this lock, and holds it until the end of this one.
    pub(crate) async fn lock(&mut self, name: &str) -> Result<()> {
        if let Tx::Lite(Line::Whole(_)) = self {
            // A file has one writer at a time, so whoever may write at all holds every lock there is.
            return Ok(());
        }
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
