//! Jobs: the backlog, what is at work, and what became of it.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Kept, LedgerError, Result, Tx, counted, execute, fetch, from_doc, kept, parsed, size_in, size_out, to_doc,
};
use crate::arch::Arch;
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

pub(super) fn class_in(class: Class) -> &'static str {
    match class {
        Class::Release => "release",
        Class::Push => "push",
        Class::Scratch => "scratch",
        Class::Nightly => "nightly",
    }
}

pub(super) fn class_out(text: &str) -> Result<Class> {
    from_doc("job", &format!("\"{text}\""))
}

/// What jobs take of a builder together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// How many there are, offered or at work.
    pub jobs: u32,
    /// MiB of memory they may use.
    pub memory_mb: u64,
    /// MiB of disk they may use.
    pub disk_mb: u64,
}

fn held_out((jobs, memory_mb, disk_mb): (i64, i64, i64)) -> Held {
    Held {
        jobs: u32::try_from(jobs).unwrap_or(u32::MAX),
        memory_mb: size_out(memory_mb),
        disk_mb: size_out(disk_mb),
    }
}

/// The words of a list that is kept as one text.
fn words<T: FromIterator<String>>(text: &str) -> T {
    text.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

impl Tx {
    /// Puts a new job into the backlog.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn insert_job(&mut self, job: &Job) -> Result<()> {
        let sql =
            "INSERT INTO job (id, version, request, sig, class, arch, phase, due, builder, avoid, created,
                       labels, height, memory_mb, disk_mb, doc)
                   VALUES ($1, 0, $2, $3, $4, $5, $6, $7, NULL, '', $8, $9, $10, $11, $12, $13)";
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
            job.labels.iter().map(String::as_str).collect::<Vec<_>>().join(","),
            i64::from(job.height),
            size_in(job.recipe.limits.memory_mb),
            size_in(job.recipe.limits.disk_mb),
            to_doc("job", &job.id, job)?,
        )?;
        for input in job.recipe.work.inputs() {
            self.hold(&format!("job:{}", job.id), &input.digest).await?;
        }
        self.note_job(job, 0, job.created).await
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
        let (before, stepped) = self.step_uncharged(id, event, now, patience).await?;
        self.note_use(&before, &stepped.job, now, patience).await?;
        Ok(stepped)
    }

    /// Takes a job one step on and leaves it to the caller to charge its SIG; gives the job as it was, too.
    pub(super) async fn step_uncharged(
        &mut self,
        id: JobId,
        event: Event,
        now: Stamp,
        patience: &Patience,
    ) -> Result<(Job, Stepped), StepError> {
        let before = self.job(id).await?.ok_or(StepError::Unknown(id))?;
        let trouble = counted::trouble(&event, &before.state);
        let (job, effect) = before.on(event, now, patience)?;
        if job != before.value {
            self.advance_job(before.version, &job).await?;
            // A beat is no change that anybody needs to hear of.
            if job.phase() != before.phase() {
                self.note_job(&job, before.version + 1, now).await?;
            }
            counted::job(&before, &job, trouble, now);
        }
        Ok((before.value, Stepped { job, effect }))
    }

    /// Jobs that may be offered now: of each SIG, architecture, class and needs (labels, memory, disk) those with the
    /// longest row behind them, then the oldest, at most `each`. So jobs that nobody here can take hide no others.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn backlog(&mut self, now: Stamp, each: u32) -> Result<Vec<Candidate>> {
        type Row = (String, String, String, String, String, String, i64, i64, i64, i64, i64);
        // The places are given by the index alone; the rows themselves are read for those that are wanted. `+due` keeps
        // SQLite from the index by `due`, which would have it sort every row that waits.
        let sql =
            "SELECT job.id, sig, class, arch, avoid, labels, height, memory_mb, disk_mb, created, due FROM (
                       SELECT id AS ranked_id, ROW_NUMBER() OVER (
                           PARTITION BY sig, arch, class, labels, memory_mb, disk_mb ORDER BY height DESC, created, id
                       ) AS place FROM job WHERE phase = 'waiting' AND +due <= $1
                   ) AS ranked JOIN job ON job.id = ranked_id WHERE place <= $2 ORDER BY job.id";
        let rows = fetch!(fetch_all, self, Row, sql, now.millis(), i64::from(each))?;
        rows.into_iter()
            .map(|(id, sig, class, arch, avoid, labels, height, memory_mb, disk_mb, created, due)| {
                Ok(Candidate {
                    job: parsed("job", &id)?,
                    sig,
                    class: class_out(&class)?,
                    arch: parsed("job", &arch)?,
                    labels: words::<BTreeSet<String>>(&labels),
                    memory_mb: size_out(memory_mb),
                    disk_mb: size_out(disk_mb),
                    height: u32::try_from(height).unwrap_or(0),
                    created: Stamp::from_millis(created),
                    since: Stamp::from_millis(due),
                    avoid: words::<Vec<String>>(&avoid),
                })
            })
            .collect()
    }

    /// Jobs whose deadline has passed: offers nobody took, stops nobody confirmed, and, if `leases` count, leases
    /// nobody renewed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn overdue(&mut self, now: Stamp, leases: bool) -> Result<Vec<JobId>> {
        let sql = "SELECT id FROM job WHERE due <= $1 AND (
                       phase IN ('offered', 'stopping') OR (phase = 'building' AND $2 = 1)
                   ) ORDER BY due";
        let rows = fetch!(fetch_all, self, (String,), sql, now.millis(), i64::from(leases))?;
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

    /// What each builder holds.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn holdings(&mut self) -> Result<BTreeMap<String, Held>> {
        let sql = "SELECT builder, COUNT(*), CAST(SUM(memory_mb) AS BIGINT), CAST(SUM(disk_mb) AS BIGINT) FROM job
                   WHERE phase IN ('offered', 'building', 'stopping') AND builder IS NOT NULL GROUP BY builder";
        let rows = fetch!(fetch_all, self, (String, i64, i64, i64), sql)?;
        Ok(rows
            .into_iter()
            .map(|(name, jobs, memory, disk)| (name, held_out((jobs, memory, disk))))
            .collect())
    }

    /// What one builder holds.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn held_by(&mut self, builder: &str) -> Result<Held> {
        let sql = "SELECT COUNT(*), CAST(COALESCE(SUM(memory_mb), 0) AS BIGINT),
                       CAST(COALESCE(SUM(disk_mb), 0) AS BIGINT)
                   FROM job WHERE phase IN ('offered', 'building', 'stopping') AND builder = $1";
        Ok(held_out(fetch!(fetch_one, self, (i64, i64, i64), sql, builder)?))
    }

    /// How many jobs a SIG has offered or at work on an architecture. Until this transaction ends nobody else is told,
    /// so that its cap is not passed by two at once.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn held_by_sig_locked(&mut self, sig: &str, arch: Arch) -> Result<u32> {
        self.lock(&format!("cap {sig} {arch}")).await?;
        let sql = "SELECT COUNT(*) FROM job
                   WHERE phase IN ('offered', 'building', 'stopping') AND sig = $1 AND arch = $2";
        let (held,) = fetch!(fetch_one, self, (i64,), sql, sig, arch.as_str())?;
        Ok(u32::try_from(held).unwrap_or(u32::MAX))
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
