//! Machine time: what SIGs have used of it, written in the transaction in which an attempt ends.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::jobs::{class_in, class_out};
use super::{Result, Tx, execute, fetch, parsed, size_in, size_out};
use crate::dispatch::{Loads, decayed};
use crate::job::{Job, Patience};
use crate::sig::Share;
use crate::stamp::Stamp;

/// Of a SIG, what dispatch needs to know.
#[derive(Deserialize)]
struct Shared {
    #[serde(default)]
    share: Share,
}

impl Tx {
    /// Everything SIGs are weighed by: see [`Loads`]. A job that holds a slot counts as `charge_ms` at least.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn loads(&mut self, now: Stamp, half_life: Duration, charge_ms: u64) -> Result<Loads> {
        let mut loads = Loads { shares: self.shares().await?, ..Loads::default() };
        let sql = "SELECT sig, arch, class, milliseconds, at FROM usage";
        let rows = fetch!(fetch_all, self, (String, String, String, i64, i64), sql)?;
        for (sig, arch, class, ms, at) in rows {
            let left = decayed(size_out(ms), now - Stamp::from_millis(at), half_life);
            loads.used_ms.insert((sig, parsed("usage", &arch)?, class_out(&class)?), left);
        }
        let sql = "SELECT sig, arch, class, COUNT(*), CAST(SUM(
                       CASE WHEN began IS NOT NULL AND $1 - began > $2 THEN $1 - began ELSE $2 END
                   ) AS BIGINT) FROM job WHERE phase IN ('offered', 'building', 'stopping') GROUP BY sig, arch, class";
        type Row = (String, String, String, i64, i64);
        for (sig, arch, class, count, ms) in
            fetch!(fetch_all, self, Row, sql, now.millis(), size_in(charge_ms))?
        {
            let (arch, class) = (parsed("job", &arch)?, class_out(&class)?);
            *loads.used_ms.entry((sig.clone(), arch, class)).or_default() += size_out(ms);
            *loads.held.entry((sig, arch)).or_default() += u32::try_from(count).unwrap_or(u32::MAX);
        }
        Ok(loads)
    }

    /// Every SIG's share. One whose row cannot be read has the usual share, for it must not stop the others' work.
    async fn shares(&mut self) -> Result<BTreeMap<String, Share>> {
        let rows = fetch!(fetch_all, self, (String, String), "SELECT name, doc FROM sig")?;
        Ok(rows
            .into_iter()
            .filter_map(|(name, doc)| match serde_json::from_str::<Shared>(&doc) {
                Ok(shared) => Some((name, shared.share)),
                Err(error) => {
                    tracing::warn!(sig = name, %error, "a SIG's share cannot be read; it has the usual one");
                    None
                }
            })
            .collect())
    }

    /// Charges the job's SIG for the attempt that the step has ended, if it has ended one, and keeps how long it took
    /// when it passed.
    pub(super) async fn note_use(
        &mut self,
        before: &Job,
        after: &Job,
        now: Stamp,
        patience: &Patience,
    ) -> Result<()> {
        let Some(began) = before.began().filter(|_| after.began().is_none()) else { return Ok(()) };
        let took = now - began;
        self.charge(before, took, now, patience.usage_half_life()).await?;
        if after.passed() {
            self.note_timing(after, took, now).await?;
        }
        Ok(())
    }

    async fn charge(&mut self, job: &Job, took: Duration, now: Stamp, half_life: Duration) -> Result<()> {
        let (arch, class) = (job.arch.as_str(), class_in(job.class));
        // Written where it is read, so that two attempts that end at once do not both add to the same sum.
        let sql = "INSERT INTO usage (sig, arch, class, milliseconds, at) VALUES ($1, $2, $3, 0, $4)
                   ON CONFLICT (sig, arch, class) DO UPDATE SET at = usage.at RETURNING milliseconds, at";
        let (used, at) = fetch!(fetch_one, self, (i64, i64), sql, &job.sig, arch, class, now.millis())?;
        let took = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        // Another process's clock may be a little ahead of this one's: then this attempt is the older one.
        let (at, now) = (Stamp::from_millis(at), now.max(Stamp::from_millis(at)));
        let used = decayed(size_out(used), now - at, half_life).saturating_add(took);
        let sql = "UPDATE usage SET milliseconds = $4, at = $5 WHERE sig = $1 AND arch = $2 AND class = $3";
        execute!(self, sql, &job.sig, arch, class, size_in(used), now.millis())?;
        Ok(())
    }
}
