//! What follows from a builder's report, and from shutting one out: jobs that it does not have any more.

use std::time::Duration;

use super::{LedgerError, Result, StepError, Stepped, Tx, fetch, parsed};
use crate::builder::Builder;
use crate::ids::JobId;
use crate::job::{Event, Patience};
use crate::message::Presence;
use crate::stamp::Stamp;

/// How often a step is decided anew when somebody else is quicker each time.
const RACES: u32 = 8;

/// What a report changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reported {
    /// The builder as the ledger has it now.
    pub builder: Builder,
    /// There is room that was not there before, or a job to be placed anew: the scheduler should look soon.
    pub hurry: bool,
    /// Jobs that an earlier life of the builder had, after they were taken back.
    pub forgotten: Vec<Stepped>,
}

impl Tx {
    /// Takes in what a builder says of itself, and takes back at once what an earlier life of it had. Repeating it
    /// changes nothing, and what an earlier life says after a later one changes nothing either.
    ///
    /// # Errors
    /// When the database fails. The builder will say it again.
    pub async fn report(
        &mut self,
        presence: Presence,
        now: Stamp,
        silent_after: Duration,
        patience: &Patience,
    ) -> Result<Reported> {
        self.lock_builder(&presence.builder).await?;
        let before = self.builder(&presence.builder).await?;
        if let Some(before) = &before
            && presence.born < before.born
        {
            return Ok(Reported { builder: before.clone(), hurry: false, forgotten: Vec::new() });
        }
        let wish = before.as_ref().map_or_else(Default::default, |before| before.wish);
        let after = Builder::reported(presence, wish, now);
        self.report_builder(&after).await?;
        let event = Event::Forgotten { builder: after.name.clone(), born: after.born };
        let at_work = self.jobs_at(&after.name, AT_WORK).await?;
        let forgotten = self.take_back(at_work, &event, now, patience).await?;
        let room = |builder: &Builder| builder.room(now, silent_after);
        let more_room = room(&after) > before.as_ref().map_or(0, room);
        let other = before.is_none_or(|before| {
            (&before.arches, &before.emulated, &before.labels)
                != (&after.arches, &after.emulated, &after.labels)
        });
        Ok(Reported { hurry: other || more_room || !forgotten.is_empty(), builder: after, forgotten })
    }

    /// Takes every job from a builder: what it says of them does not count any more. To be called in the transaction
    /// that disables it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn shut_out(
        &mut self,
        name: &str,
        by: &str,
        now: Stamp,
        patience: &Patience,
    ) -> Result<Vec<Stepped>> {
        self.lock_builder(name).await?;
        let event = Event::ShutOut { builder: name.to_owned(), by: by.to_owned() };
        let held = self.jobs_at(name, HELD).await?;
        self.take_back(held, &event, now, patience).await
    }

    async fn jobs_at(&mut self, builder: &str, sql: &'static str) -> Result<Vec<JobId>> {
        let rows = fetch!(fetch_all, self, (String,), sql, builder)?;
        rows.into_iter().map(|(id,)| parsed("job", &id)).collect()
    }

    /// Takes each job the step that applies to it. A row that cannot be read must not stop the others.
    async fn take_back(
        &mut self,
        jobs: Vec<JobId>,
        event: &Event,
        now: Stamp,
        patience: &Patience,
    ) -> Result<Vec<Stepped>> {
        let mut taken = Vec::new();
        for id in jobs {
            for _ in 0..RACES {
                match self.step_job(id, event.clone(), now, patience).await {
                    Ok(stepped) => taken.push(stepped),
                    Err(StepError::Ledger(LedgerError::LostRace { .. })) => continue,
                    Err(
                        StepError::Refused(_)
                        | StepError::Unknown(_)
                        | StepError::Ledger(LedgerError::Corrupt { .. }),
                    ) => {}
                    Err(StepError::Ledger(error)) => return Err(error),
                }
                break;
            }
        }
        Ok(taken)
    }
}

const AT_WORK: &str = "SELECT id FROM job WHERE phase = 'building' AND builder = $1 ORDER BY id";
const HELD: &str =
    "SELECT id FROM job WHERE phase IN ('offered', 'building', 'stopping') AND builder = $1 ORDER BY id";
