//! Duties: what only one process should do at a time.

use super::{Result, Tx, execute};
use crate::stamp::Stamp;

impl Tx {
    /// Takes a duty, or keeps it, until `until`. `false` while somebody else holds it. Who does not come back in time has
    /// lost it: two may then do it at once for a moment, so what a duty guards must be safe to do twice.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn take_duty(&mut self, name: &str, holder: &str, until: Stamp, now: Stamp) -> Result<bool> {
        let sql = "INSERT INTO duty (name, holder, until) VALUES ($1, $2, $3)
                   ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
                   WHERE duty.holder = excluded.holder OR duty.until <= $4";
        Ok(execute!(self, sql, name, holder, until.millis(), now.millis())? == 1)
    }

    /// Gives a duty up, so that another need not wait for its end. Nothing happens when somebody else holds it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn leave_duty(&mut self, name: &str, holder: &str) -> Result<()> {
        execute!(self, "DELETE FROM duty WHERE name = $1 AND holder = $2", name, holder)?;
        Ok(())
    }
}
