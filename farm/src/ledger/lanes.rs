//! What stands between a waiting job and a slot, for an estimate.

use std::time::Duration;

use super::{Result, Tx, fetch, size_out};
use crate::arch::Arch;
use crate::job::Job;

impl Tx {
    /// How many jobs of its architecture were there before this one and still wait. Who gets a slot first is decided by
    /// more than age; this is what a person in a queue would count.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn ahead_of(&mut self, job: &Job) -> Result<u32> {
        let sql = "SELECT COUNT(*) FROM job WHERE phase = 'waiting' AND arch = $1 AND id < $2";
        let (count,) = fetch!(fetch_one, self, (i64,), sql, job.arch.as_str(), job.id.to_string())?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// How many jobs are at work on an architecture.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn at_work_on(&mut self, arch: Arch) -> Result<u32> {
        let sql = "SELECT COUNT(*) FROM job WHERE phase IN ('offered', 'building', 'stopping') AND arch = $1";
        let (count,) = fetch!(fetch_one, self, (i64,), sql, arch.as_str())?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// How long jobs of any kind took on an architecture, on average; `None` when none has passed there yet.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn usual_on(&mut self, arch: Arch) -> Result<Option<Duration>> {
        let sql = "SELECT CAST(AVG(milliseconds) AS BIGINT) FROM timing WHERE arch = $1";
        let (mean,) = fetch!(fetch_one, self, (Option<i64>,), sql, arch.as_str())?;
        Ok(mean.map(|ms| Duration::from_millis(size_out(ms))))
    }
}
