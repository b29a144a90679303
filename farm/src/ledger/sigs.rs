//! Applied SIGs.

use super::{Kept, LedgerError, Result, Tx, execute, fetch, from_doc, kept, to_doc};
use crate::sig::plan::{Change, plan};
use crate::sig::{Clash, Community, Sig};
use crate::stamp::Stamp;

impl Tx {
    /// Every applied SIG.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn community(&mut self) -> Result<Community> {
        let rows = fetch!(fetch_all, self, (String,), "SELECT doc FROM sig ORDER BY name")?;
        let sigs = rows.into_iter().map(|(doc,)| from_doc("sig", &doc)).collect::<Result<Vec<Sig>>>()?;
        Ok(Community { sigs })
    }

    /// Applies a SIG: all of it or nothing. Gives what changed; an empty list when it was applied already.
    ///
    /// # Errors
    /// `Ok(Err(clashes))` when it does not fit the other SIGs; nothing was written then.
    pub async fn apply_sig(
        &mut self,
        sig: &Sig,
        template: &str,
        by: &str,
        now: Stamp,
    ) -> Result<std::result::Result<Vec<Change>, Vec<Clash>>> {
        // Two templates that each fit alone may clash together, so they are applied one after the other.
        self.lock("sigs").await?;
        if let Err(clashes) = self.community().await?.with(sig.clone()).check() {
            return Ok(Err(clashes));
        }
        let sql = "SELECT version, doc FROM sig WHERE name = $1";
        let row = fetch!(fetch_optional, self, (i64, String), sql, &sig.name)?;
        let before: Option<Kept<Sig>> = kept("sig", row.into_iter().collect())?.pop();
        let changes = plan(before.as_deref(), sig);
        if changes.is_empty() {
            return Ok(Ok(changes));
        }
        let version = before.as_ref().map_or(0, |before| before.version + 1);
        match before {
            Some(before) => self.advance_sig(before.version, sig, template, by, now).await?,
            None => {
                let sql = "INSERT INTO sig (name, version, applied_at, applied_by, template, doc)
                           VALUES ($1, 0, $2, $3, $4, $5) ON CONFLICT (name) DO NOTHING";
                let doc = to_doc("sig", &sig.name, sig)?;
                if execute!(self, sql, &sig.name, now.millis(), by, template, doc)? != 1 {
                    return Err(LedgerError::LostRace { table: "sig", id: sig.name.clone() });
                }
            }
        }
        self.note_sig(&sig.name, by, version, now).await?;
        Ok(Ok(changes))
    }

    /// The template a SIG was applied from.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sig_template(&mut self, name: &str) -> Result<Option<String>> {
        let row = fetch!(fetch_optional, self, (String,), "SELECT template FROM sig WHERE name = $1", name)?;
        Ok(row.map(|(template,)| template))
    }
}
