//! How long work took, as a guess at how long work like it will take.

use std::time::Duration;

use super::{Result, Tx, execute, fetch, size_in, size_out};
use crate::arch::Arch;
use crate::job::Job;
use crate::stamp::Stamp;

/// How many attempts of each kind are remembered.
const REMEMBERED: i64 = 10;

impl Tx {
    /// How long such a job is likely to take: the median of the newest that passed. `label` is
    /// [`JobKind::label`](crate::job::JobKind::label). `None` when none has passed yet.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn expected(&mut self, package: &str, label: &str, arch: Arch) -> Result<Option<Duration>> {
        let sql = "SELECT milliseconds FROM timing WHERE package = $1 AND label = $2 AND arch = $3
                   ORDER BY milliseconds";
        let took = fetch!(fetch_all, self, (i64,), sql, package, label, arch.as_str())?;
        Ok(took.get(took.len() / 2).map(|(ms,)| Duration::from_millis(size_out(*ms))))
    }

    /// Remembers a job that passed, and forgets the oldest like it.
    pub(super) async fn note_timing(&mut self, job: &Job, took: Duration, now: Stamp) -> Result<()> {
        let request = job.request.to_string();
        let (label, arch) = (job.kind.label(), job.arch.as_str());
        let ms = size_in(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        let sql = "INSERT INTO timing (job, package, label, arch, milliseconds, at)
                   SELECT $1, package, $3, $4, $5, $6 FROM request WHERE id = $2
                   ON CONFLICT (job) DO NOTHING";
        execute!(self, sql, job.id.to_string(), &request, &label, arch, ms, now.millis())?;
        let sql = "DELETE FROM timing WHERE label = $2 AND arch = $3
                   AND package = (SELECT package FROM request WHERE id = $1) AND job NOT IN (
                       SELECT job FROM timing WHERE label = $2 AND arch = $3
                       AND package = (SELECT package FROM request WHERE id = $1)
                       ORDER BY at DESC, job DESC LIMIT $4
                   )";
        execute!(self, sql, &request, &label, arch, REMEMBERED)?;
        Ok(())
    }
}
