//! Transactions that the database has undone because they stood in the way of others, and how they are tried anew.

use super::{LedgerError, StepError};

/// By these codes (SQLSTATE) PostgreSQL says that it has undone a transaction, which may succeed when it is tried anew:
/// it could not be put in a row with others, or it and another one waited for each other.
const CODES: [&str; 2] = ["40001", "40P01"];
/// How often a transaction is tried.
const TRIES: u32 = 5;

impl From<sqlx::Error> for LedgerError {
    fn from(error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(|error| error.code());
        match code {
            Some(code) if CODES.contains(&code.as_ref()) => LedgerError::Undone,
            Some(_) | None => LedgerError::Sql(error),
        }
    }
}

/// An error that may say that the transaction was undone.
pub trait Undone {
    /// Does it?
    fn is_undone(&self) -> bool;
}

impl Undone for LedgerError {
    fn is_undone(&self) -> bool {
        matches!(self, LedgerError::Undone)
    }
}

impl Undone for StepError {
    fn is_undone(&self) -> bool {
        matches!(self, StepError::Ledger(LedgerError::Undone))
    }
}

/// Does what one transaction is for, from [`super::Db::write`] to [`super::Tx::commit`], and does it anew a few times when the
/// database undoes it.
///
/// # Errors
/// What the last try came to.
pub async fn anew<T, E: Undone, F: Future<Output = Result<T, E>>>(
    mut transaction: impl FnMut() -> F,
) -> Result<T, E> {
    for _ in 1..TRIES {
        match transaction().await {
            Err(error) if error.is_undone() => tracing::debug!("a transaction was undone; it is tried anew"),
            done => return done,
        }
    }
    transaction().await
}
