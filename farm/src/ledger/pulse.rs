//! Whether hubs have been there to hear builders: a lease must not run out because nobody could take a beat.

use std::time::Duration;

use super::{Result, Tx, execute, fetch};
use crate::stamp::Stamp;

/// Since when, and until when, hubs are known to have taken in what builders say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pulse {
    /// The end of the last gap.
    pub since: Stamp,
    /// The last sign of life.
    pub last: Stamp,
}

impl Pulse {
    /// Has a hub been there for all of `span` before `now`? Two signs of life no further than `gap` apart count as
    /// life between them.
    #[must_use]
    pub fn covers(&self, span: Duration, now: Stamp, gap: Duration) -> bool {
        now - self.last <= gap && self.since + span <= now
    }
}

impl Tx {
    /// A hub says that it is there and can write. To be called every few seconds, more than twice in each `gap`.
    ///
    /// # Errors
    /// When the database fails. Then it was no sign of life.
    pub async fn pulse(&mut self, now: Stamp, gap: Duration) -> Result<()> {
        let sql = "INSERT INTO pulse (id, since, last) VALUES (0, $1, $1)
                   ON CONFLICT (id) DO UPDATE SET
                       since = CASE WHEN excluded.last - pulse.last > $2 THEN excluded.since ELSE pulse.since END,
                       last = CASE WHEN excluded.last > pulse.last THEN excluded.last ELSE pulse.last END";
        execute!(self, sql, now.millis(), i64::try_from(gap.as_millis()).unwrap_or(i64::MAX))?;
        Ok(())
    }

    /// The hubs' signs of life; `None` when there never was one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn hubs_pulse(&mut self) -> Result<Option<Pulse>> {
        let row = fetch!(fetch_optional, self, (i64, i64), "SELECT since, last FROM pulse WHERE id = 0")?;
        Ok(row
            .map(|(since, last)| Pulse { since: Stamp::from_millis(since), last: Stamp::from_millis(last) }))
    }
}
