//! What follows from a builder's report, and from shutting one out: jobs that it does not have any more.

use std::time::Duration;

use super::{LedgerError, Result, StepError, Stepped, Tx, fetch, parsed};
use crate::builder::Builder;
use crate::digest::Digest;
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
    /// changes nothing, and what was said earlier, in this life or another, changes nothing when it arrives later.
    /// `None` when no builder of this name has the secret of this digest: it may have been removed while this was on its way.
    ///
    /// # Errors
    /// When the database fails. The builder will say it again.
    pub async fn report(
        &mut self,
        presence: Presence,
        secret: &Digest,
        now: Stamp,
        silent_after: Duration,
        patience: &Patience,
    ) -> Result<Option<Reported>> {
        self.lock_builder(&presence.builder).await?;
        let Some(before) =
            self.builder_by_secret(secret).await?.filter(|known| known.name == presence.builder)
        else {
            return Ok(None);
        };
        // By what the builder counts: the clocks of two hubs that hear it need not agree.
        if (presence.born, presence.count) < (before.born, before.count) {
            return Ok(Some(Reported { builder: before, hurry: false, forgotten: Vec::new() }));
        }
        let after = Builder::reported(presence, before.wish, now);
        self.keep_report(&after).await?;
        let event = Event::Forgotten { builder: after.name.clone(), born: after.born };
        let at_work = self.jobs_at(&after.name, AT_WORK).await?;
        let forgotten = self.take_back(at_work, &event, now, patience).await?;
        let room = |builder: &Builder| builder.room(now, silent_after);
        let more_room = room(&after) > room(&before);
        let other = (&before.arches, &before.emulated, &before.labels)
            != (&after.arches, &after.emulated, &after.labels);
        let hurry = other || more_room || !forgotten.is_empty();
        Ok(Some(Reported { builder: after, hurry, forgotten }))
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

    /// Takes each job the step that applies to it, then charges their SIGs: whoever ends one attempt changes its job first
    /// too, and two that went the other way round would wait for each other. A row that cannot be read must not stop the others.
    async fn take_back(
        &mut self,
        mut jobs: Vec<JobId>,
        event: &Event,
        now: Stamp,
        patience: &Patience,
    ) -> Result<Vec<Stepped>> {
        let mut taken = Vec::new();
        jobs.sort();
        for id in jobs {
            for _ in 0..RACES {
                match self.step_uncharged(id, event.clone(), now, patience).await {
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
        taken.sort_by_cached_key(|(before, _)| (before.sig.clone(), before.arch, before.class));
        for (before, stepped) in &taken {
            self.note_use(before, &stepped.job, now, patience).await?;
        }
        Ok(taken.into_iter().map(|(_, stepped)| stepped).collect())
    }
}

const AT_WORK: &str = "SELECT id FROM job WHERE phase = 'building' AND builder = $1 ORDER BY id";
const HELD: &str =
    "SELECT id FROM job WHERE phase IN ('offered', 'building', 'stopping') AND builder = $1 ORDER BY id";
