//! Sums over the ledger, for operators.

use std::collections::BTreeSet;

use super::{Result, Tx, fetch, from_doc, parsed};
use crate::arch::Arch;
use crate::digest::Digest;
use crate::ids::JobId;
use crate::job::Job;
use crate::stamp::Stamp;

/// What waits for one architecture on behalf of one SIG.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// The SIG.
    pub sig: String,
    /// The architecture.
    pub arch: Arch,
    /// How many jobs.
    pub jobs: i64,
    /// When the oldest of them entered the backlog.
    pub oldest: Stamp,
}

/// Changes that are still to be told to the outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outbox {
    /// How many.
    pub events: i64,
    /// When the oldest of them happened.
    pub oldest: Option<Stamp>,
}

impl Tx {
    /// What waits for which architecture on behalf of which SIG.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn queues(&mut self) -> Result<Vec<Queue>> {
        let sql = "SELECT sig, arch, COUNT(*), MIN(created) FROM job WHERE phase = 'waiting'
                   GROUP BY sig, arch ORDER BY sig, arch";
        let rows = fetch!(fetch_all, self, (String, String, i64, i64), sql)?;
        rows.into_iter()
            .map(|(sig, arch, jobs, oldest)| {
                Ok(Queue { sig, arch: parsed("job", &arch)?, jobs, oldest: Stamp::from_millis(oldest) })
            })
            .collect()
    }

    /// Of the newest `among` jobs those that had an attempt which came to nothing for a reason of the farm's own, newest
    /// first, at most `most`. Bounded, because everybody may ask for it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn troubled(&mut self, among: u32, most: u32) -> Result<Vec<Job>> {
        let sql = "SELECT doc FROM job WHERE id IN (
                       SELECT id FROM (SELECT id, avoid FROM job ORDER BY id DESC LIMIT $1) AS newest WHERE avoid <> ''
                   ) ORDER BY id DESC LIMIT $2";
        let rows = fetch!(fetch_all, self, (String,), sql, i64::from(among), i64::from(most))?;
        rows.into_iter().map(|(doc,)| from_doc("job", &doc)).collect()
    }

    /// Every job with its newest turn.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn turns(&mut self) -> Result<Vec<(JobId, u32)>> {
        let rows = fetch!(fetch_all, self, (String,), "SELECT doc FROM job")?;
        rows.into_iter().map(|(doc,)| from_doc::<Job>("job", &doc).map(|job| (job.id, job.turn))).collect()
    }

    /// Every blob of the artifact store that something needs.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn held(&mut self) -> Result<BTreeSet<Digest>> {
        let rows = fetch!(fetch_all, self, (String,), "SELECT DISTINCT digest FROM holding")?;
        rows.into_iter().map(|(digest,)| parsed("holding", &digest)).collect()
    }

    /// What is still to be told to the outside.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn outbox(&mut self) -> Result<Outbox> {
        let sql = "SELECT COUNT(*), MIN(at) FROM event";
        let (events, oldest) = fetch!(fetch_one, self, (i64, Option<i64>), sql)?;
        Ok(Outbox { events, oldest: oldest.map(Stamp::from_millis) })
    }
}
