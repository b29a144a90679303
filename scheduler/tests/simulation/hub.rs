//! The hub, as far as builders and people see it: each call one step in the ledger. It may die before it has written
//! the step, or after that and before it has answered.

use farm::ids::JobId;
use farm::job::{Effect, Event, Job, Patience};
use farm::ledger::{Db, StepError};
use farm::stamp::Stamp;

use crate::dice::Dice;

/// What the caller hears.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It is so.
    Done(Option<Effect>),
    /// It is refused.
    Refused,
    /// Nothing: the hub died, or the line did.
    Silence,
}

/// What a call did, whatever the caller hears.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) answer: Answer,
    pub(crate) written: Option<Job>,
}

/// One call. With `faults` it may go wrong; when the hub `is_away`, nobody hears it.
pub(crate) async fn call(
    db: &Db,
    job: JobId,
    event: Event,
    now: Stamp,
    patience: &Patience,
    faults: Option<&Dice>,
    is_away: bool,
) -> Call {
    if is_away {
        return Call { answer: Answer::Silence, written: None };
    }
    let fails = |percent| faults.is_some_and(|dice| dice.chance(percent));
    let mut tx = db.write().await.unwrap();
    let stepped = match tx.step_job(job, event, now, patience).await {
        Ok(stepped) => stepped,
        Err(StepError::Refused(_)) => return Call { answer: Answer::Refused, written: None },
        Err(other) => panic!("{other}"),
    };
    if fails(4) {
        return Call { answer: Answer::Silence, written: None };
    }
    tx.commit().await.unwrap();
    let written = Some(stepped.job.clone());
    if fails(8) {
        return Call { answer: Answer::Silence, written };
    }
    Call { answer: Answer::Done(stepped.effect), written }
}
