//! People and their tokens. Only a token's digest is kept.

use super::{Result, Tx, execute, fetch};
use crate::digest::Digest;
use crate::stamp::Stamp;

/// A person who may do something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Their name, as SIG templates use it.
    pub name: String,
    /// May do everything a maintainer of any SIG may, and apply templates. Being an admin makes nobody a release manager.
    pub admin: bool,
    /// Since when.
    pub created: Stamp,
}

fn person((name, admin, created): (String, i64, i64)) -> Person {
    Person { name, admin: admin != 0, created: Stamp::from_millis(created) }
}

impl Tx {
    /// Makes a person, or gives one a new token in place of the old.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_person(&mut self, name: &str, token: &Digest, admin: bool, now: Stamp) -> Result<()> {
        let sql = "INSERT INTO person (name, token, admin, created) VALUES ($1, $2, $3, $4)
                   ON CONFLICT (name) DO UPDATE SET token = excluded.token, admin = excluded.admin";
        execute!(self, sql, name, token.as_str(), i64::from(admin), now.millis())?;
        Ok(())
    }

    /// Removes a person, and with them their token. `false` when there was none of this name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn remove_person(&mut self, name: &str) -> Result<bool> {
        Ok(execute!(self, "DELETE FROM person WHERE name = $1", name)? == 1)
    }

    /// Whose token has this digest?
    ///
    /// # Errors
    /// When the database fails.
    pub async fn person_by_token(&mut self, token: &Digest) -> Result<Option<Person>> {
        let sql = "SELECT name, admin, created FROM person WHERE token = $1";
        let row = fetch!(fetch_optional, self, (String, i64, i64), sql, token.as_str())?;
        Ok(row.map(person))
    }

    /// Is there a person of this name?
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_person(&mut self, name: &str) -> Result<bool> {
        let row = fetch!(fetch_optional, self, (String,), "SELECT name FROM person WHERE name = $1", name)?;
        Ok(row.is_some())
    }

    /// Everybody, by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn people(&mut self) -> Result<Vec<Person>> {
        let rows = fetch!(
            fetch_all,
            self,
            (String, i64, i64),
            "SELECT name, admin, created FROM person ORDER BY name"
        )?;
        Ok(rows.into_iter().map(person).collect())
    }
}
