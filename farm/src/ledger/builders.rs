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

    /// Every builder that ever reported, by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn builders(&mut self) -> Result<Vec<Builder>> {
        let rows = fetch!(fetch_all, self, (String,), "SELECT doc FROM builder ORDER BY name")?;
        rows.into_iter().map(|(doc,)| from_doc("builder", &doc)).collect()
    }
}
