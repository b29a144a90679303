//! Builders, as they last reported themselves.

use super::{Result, Tx, execute, fetch, from_doc, to_doc};
use crate::builder::Builder;

impl Tx {
    /// Keeps a builder's report, unless a newer one is there.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn report_builder(&mut self, builder: &Builder) -> Result<()> {
        let sql = "INSERT INTO builder (name, seen, doc) VALUES ($1, $2, $3)
                   ON CONFLICT (name) DO UPDATE SET seen = excluded.seen, doc = excluded.doc
                   WHERE builder.seen <= excluded.seen";
        execute!(
            self,
            sql,
            &builder.name,
            builder.seen.millis(),
            to_doc("builder", &builder.name, builder)?
        )?;
        Ok(())
    }

    /// A builder, if it ever reported.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn builder(&mut self, name: &str) -> Result<Option<Builder>> {
        let row = fetch!(fetch_optional, self, (String,), "SELECT doc FROM builder WHERE name = $1", name)?;
        row.map(|(doc,)| from_doc("builder", &doc)).transpose()
    }

    /// A builder and how many jobs it has, offered or at work. Until this transaction ends nobody else is told, so that
    /// a free slot is not given away twice.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn builder_locked(&mut self, name: &str) -> Result<Option<(Builder, u32)>> {
        self.lock(&format!("builder {name}")).await?;
        let Some(builder) = self.builder(name).await? else { return Ok(None) };
        let sql =
            "SELECT COUNT(*) FROM job WHERE phase IN ('offered', 'building', 'stopping') AND builder = $1";
        let (held,) = fetch!(fetch_one, self, (i64,), sql, name)?;
        Ok(Some((builder, u32::try_from(held).unwrap_or(u32::MAX))))
    }

    /// Every builder that ever reported, by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn builders(&mut self) -> Result<Vec<Builder>> {
        let rows = fetch!(fetch_all, self, (String,), "SELECT doc FROM builder ORDER BY name")?;
        rows.into_iter().map(|(doc,)| from_doc("builder", &doc)).collect()
    }
}
