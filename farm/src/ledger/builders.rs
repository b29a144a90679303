//! Builders: as they last reported themselves, the digests of their secrets, and what operators want of them.

use super::{Held, LedgerError, Result, Tx, execute, fetch, from_doc, parsed, to_doc};
use crate::builder::{Builder, Wish};
use crate::digest::Digest;

/// A row: what the builder said, and what operators want of it.
type Row = (String, String);

/// What operators want is not for the builder to say: the column counts.
fn builder((doc, wish): Row) -> Result<Builder> {
    let reported: Builder = from_doc("builder", &doc)?;
    Ok(Builder { wish: parsed("builder", &wish)?, ..reported })
}

impl Tx {
    /// Keeps what a builder that is let in says of itself.
    pub(super) async fn keep_report(&mut self, builder: &Builder) -> Result<()> {
        let sql = "UPDATE builder SET seen = $2, doc = $3 WHERE name = $1";
        execute!(
            self,
            sql,
            &builder.name,
            builder.seen.millis(),
            to_doc("builder", &builder.name, builder)?
        )?;
        Ok(())
    }

    /// A builder, if it was ever let in.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn builder(&mut self, name: &str) -> Result<Option<Builder>> {
        let row = fetch!(fetch_optional, self, Row, "SELECT doc, wish FROM builder WHERE name = $1", name)?;
        row.map(builder).transpose()
    }

    /// The builder whose secret has this digest. One that is disabled is given too: it is for the caller to refuse it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn builder_by_secret(&mut self, secret: &Digest) -> Result<Option<Builder>> {
        let sql = "SELECT doc, wish FROM builder WHERE secret = $1";
        fetch!(fetch_optional, self, Row, sql, secret.as_str())?.map(builder).transpose()
    }

    /// Lets in a builder that shows this secret from now on; one it had before is worth nothing any more, and what the
    /// builder said of itself is forgotten with it. What operators want of the name stays.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn admit_builder(&mut self, name: &str, secret: &Digest) -> Result<()> {
        let sql = "INSERT INTO builder (name, seen, doc, secret) VALUES ($1, 0, $2, $3)
                   ON CONFLICT (name) DO UPDATE SET seen = 0, doc = excluded.doc, secret = excluded.secret";
        let blank = to_doc("builder", &name, &Builder::expected(name))?;
        execute!(self, sql, name, blank, secret.as_str())?;
        Ok(())
    }

    /// Notes what operators want of a builder. `false` if there is none of this name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn wish_of_builder(&mut self, name: &str, wish: Wish) -> Result<bool> {
        // The scheduler counts slots under this lock: once it is held, no offer is made on an older wish.
        self.lock_builder(name).await?;
        let changed = execute!(self, "UPDATE builder SET wish = $2 WHERE name = $1", name, wish.as_str())?;
        Ok(changed == 1)
    }

    /// Removes a builder and its secret. `false` if there is none of this name.
    ///
    /// # Errors
    /// [`LedgerError::Refused`] while it has jobs.
    pub async fn remove_builder(&mut self, name: &str) -> Result<bool> {
        if let Some((_, Held { jobs: held @ 1.., .. })) = self.builder_locked(name).await? {
            return Err(LedgerError::Refused(format!("builder {name} still has {held} of the farm's jobs")));
        }
        Ok(execute!(self, "DELETE FROM builder WHERE name = $1", name)? == 1)
    }

    /// A builder and what it holds. Until this transaction ends nobody else is told, so that
    /// a free slot is not given away twice.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn builder_locked(&mut self, name: &str) -> Result<Option<(Builder, Held)>> {
        self.lock_builder(name).await?;
        let Some(builder) = self.builder(name).await? else { return Ok(None) };
        Ok(Some((builder, self.held_by(name).await?)))
    }

    /// Every builder that was ever let in, by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn builders(&mut self) -> Result<Vec<Builder>> {
        let rows = fetch!(fetch_all, self, Row, "SELECT doc, wish FROM builder ORDER BY name")?;
        rows.into_iter().map(builder).collect()
    }

    /// Waits until nobody else decides about this builder's slots, and decides alone until the end of the transaction.
    pub(super) async fn lock_builder(&mut self, name: &str) -> Result<()> {
        self.lock(&format!("builder {name}")).await
    }
}
