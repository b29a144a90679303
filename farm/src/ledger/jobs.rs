//! Jobs: the backlog, what is at work, and what became of it.

use std::collections::BTreeMap;

use super::{Kept, LedgerError, Result, Tx, execute, fetch, from_doc, kept, parsed, to_doc};
use crate::dispatch::Candidate;
use crate::ids::{JobId, RequestId};
use crate::job::{Class, Effect, Event, Job, Patience, Refused};
use crate::stamp::Stamp;

/// A job after a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stepped {
    /// The job as it is now.
    pub job: Job,
    /// What the caller must do once the transaction is committed.
    pub effect: Option<Effect>,
}

/// Why a step was not taken.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// There is no such job.
    #[error("there is no job {0}")]
    Unknown(JobId),
    /// The machine refused the event.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl From<sqlx::Error> for StepError {
    fn from(error: sqlx::Error) -> Self {
        StepError::Ledger(error.into())
    }
}

/// The builders on which an attempt failed or that did not take an offer, as the `avoid` column has them. One that
/// reports free slots but never takes an offer would otherwise get the same job again and again.
pub(super) fn avoided(job: &Job) -> String {
    let mut names: Vec<&str> = job.history.iter().map(|attempt| attempt.builder.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names.join(",")
}

fn class_in(class: Class) -> &'static str {
    match class {
        Class::Release => "release",
        Class::Push => "push",
        Class::Scratch => "scratch",
        Class::Nightly => "nightly",
    }
}

fn class_out(text: &str) -> Result<Class> {
    from_doc("job", &format!("\"{text}\""))
}

impl Tx {
    /// Puts a new job into the backlog.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn insert_job(&mut self, job: &Job) -> Result<()> {
        let sql = "INSERT INTO job (id, version, request, sig, class, arch, phase, due, builder, avoid, created, doc)
                   VALUES ($1, 0, $2, $3, $4, $5, $6, $7, NULL, '', $8, $9)";
        execute!(
            self,
            sql,
            job.id.to_string(),
            job.request.to_string(),
            &job.sig,
            class_in(job.class),
            job.arch.as_str(),
            job.phase(),
            job.due().map(Stamp::millis),
            job.created.millis(),
            to_doc("job", &job.id, job)?,
        )?;
        for input in job.recipe.work.inputs() {
            self.hold(&format!("job:{}", job.id), &input.digest).await?;
        }
        Ok(())
    }

    /// A job.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn job(&mut self, id: JobId) -> Result<Option<Kept<Job>>> {
        let row = fetch!(
            fetch_optional,
            self,
            (i64, String),
            "SELECT version, doc FROM job WHERE id = $1",
            id.to_string()
        )?;
        Ok(kept("job", row.into_iter().collect())?.pop())
    }

    /// A request's jobs, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn jobs_of(&mut self, request: RequestId) -> Result<Vec<Job>> {
        let rows = fetch!(
            fetch_all,
            self,
            (i64, String),
            "SELECT version, doc FROM job WHERE request = $1 ORDER BY id",
            request.to_string()
        )?;
        Ok(kept::<Job>("job", rows)?.into_iter().map(|job| job.value).collect())
    }

    /// Takes a job one step on: the one way a job changes.
    ///
    /// # Errors
    /// [`StepError::Refused`] when the machine refuses the event; nothing was written then.
    pub async fn step_job(
        &mut self,
        id: JobId,
        event: Event,
        now: Stamp,
        patience: &Patience,
    ) -> Result<Stepped, StepError> {
        let before = self.job(id).await?.ok_or(StepError::Unknown(id))?;
        let (job, effect) = before.on(event, now, patience)?;
        if job != before.value {
            self.advance_job(before.version, &job).await?;
        }
        Ok(Stepped { job, effect })
    }

    /// Jobs that may be offered now: of each SIG and architecture the most urgent, then the oldest, at most `each`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn backlog(&mut self, now: Stamp, each: u32) -> Result<Vec<Candidate>> {
        let sql = "SELECT id, sig, class, arch, avoid, created FROM (
                       SELECT id, sig, class, arch, avoid, created, ROW_NUMBER() OVER (
                           PARTITION BY sig, arch ORDER BY CASE class
                               WHEN 'release' THEN 0 WHEN 'push' THEN 1 WHEN 'scratch' THEN 2 ELSE 3 END, created, id
                       ) AS place FROM job WHERE phase = 'waiting' AND due <= $1
                   ) AS ranked WHERE place <= $2 ORDER BY id";
        let rows = fetch!(
            fetch_all,
            self,
            (String, String, String, String, String, i64),
            sql,
            now.millis(),
            i64::from(each)
        )?;
        rows.into_iter()
            .map(|(id, sig, class, arch, avoid, created)| {
                Ok(Candidate {
                    job: parsed("job", &id)?,
                    sig,
                    class: class_out(&class)?,
                    arch: parsed("job", &arch)?,
                    created: Stamp::from_millis(created),
                    avoid: avoid.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
                })
            })
            .collect()
    }

    /// Jobs whose deadline has passed: offers nobody took, leases nobody renewed, stops nobody confirmed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn overdue(&mut self, now: Stamp) -> Result<Vec<JobId>> {
        let rows = fetch!(
            fetch_all,
            self,
            (String,),
            "SELECT id FROM job WHERE phase IN ('offered', 'building', 'stopping') AND due <= $1 ORDER BY due",
            now.millis()
        )?;
        rows.into_iter().map(|(id,)| parsed("job", &id)).collect()
    }

    /// Every job that is not settled.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn unsettled_jobs(&mut self) -> Result<Vec<Job>> {
        let rows =
            fetch!(fetch_all, self, (i64, String), "SELECT version, doc FROM job WHERE phase <> 'done'")?;
        Ok(kept::<Job>("job", rows)?.into_iter().map(|job| job.value).collect())
    }

    /// Jobs that were cancelled and whose builder has not confirmed it: job, turn.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn stopping(&mut self) -> Result<Vec<(JobId, u32)>> {
        let rows =
            fetch!(fetch_all, self, (i64, String), "SELECT version, doc FROM job WHERE phase = 'stopping'")?;
        Ok(kept::<Job>("job", rows)?.into_iter().map(|job| (job.id, job.turn)).collect())
    }

    /// How many jobs each builder holds, offered or at work.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn held_by_builder(&mut self) -> Result<BTreeMap<String, u32>> {
        let sql = "SELECT builder, COUNT(*) FROM job
                   WHERE phase IN ('offered', 'building', 'stopping') AND builder IS NOT NULL GROUP BY builder";
        let rows = fetch!(fetch_all, self, (String, i64), sql)?;
        Ok(rows.into_iter().map(|(name, count)| (name, u32::try_from(count).unwrap_or(u32::MAX))).collect())
    }

    /// How many jobs each SIG has offered or at work.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn running_by_sig(&mut self) -> Result<BTreeMap<String, u32>> {
        let sql =
            "SELECT sig, COUNT(*) FROM job WHERE phase IN ('offered', 'building', 'stopping') GROUP BY sig";
        let rows = fetch!(fetch_all, self, (String, i64), sql)?;
        Ok(rows.into_iter().map(|(name, count)| (name, u32::try_from(count).unwrap_or(u32::MAX))).collect())
    }

    /// How many jobs are in each phase.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn jobs_by_phase(&mut self) -> Result<BTreeMap<String, i64>> {
        let rows = fetch!(fetch_all, self, (String, i64), "SELECT phase, COUNT(*) FROM job GROUP BY phase")?;
        Ok(rows.into_iter().collect())
    }
}
