//! The job machine: one container's worth of work, from the backlog to its outcome.
//!
//! `Waiting -> Offered -> Building -> Done`, with `Stopping` between a cancel and its echo. [`Job::on`] decides every
//! step and does nothing else; the ledger writes what it returns. Two numbers, not one: `turn` grows with every offer
//! and fences every message and upload of an older one; `tries` counts real starts and is what the retry limit looks at.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::arch::Arch;
use crate::digest::Digest;
use crate::gate::suite_key;
use crate::ids::{JobId, RequestId};
use crate::outcome::Outcome;
use crate::recipe::Recipe;
use crate::stamp::Stamp;

/// One job, as the ledger keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// The request it is part of.
    pub request: RequestId,
    /// The SIG it is done for.
    pub sig: String,
    /// How urgent it is.
    pub class: Class,
    /// What kind of work it is, for people and dispatch; the work itself is in the recipe.
    pub kind: JobKind,
    /// The architecture it must run on.
    pub arch: Arch,
    /// Labels a builder must have to do it.
    #[serde(default)]
    pub labels: BTreeSet<String>,
    /// How many builds of its chain wait for it, one behind the other: the longer the row, the sooner it is done.
    #[serde(default)]
    pub height: u32,
    /// When it entered the backlog.
    pub created: Stamp,
    /// What to do.
    pub recipe: Recipe,
    /// The number of the newest offer; 0 before the first.
    pub turn: u32,
    /// How often a builder really started it.
    pub tries: u32,
    /// Where it stands.
    pub state: JobState,
    /// The attempts that ended without settling the job, oldest first.
    pub history: Vec<Attempt>,
}

/// What kind of work a job is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum JobKind {
    /// Makes the source RPM.
    Srpm,
    /// Builds it on one architecture.
    Build,
    /// Runs one suite on one architecture.
    Test {
        /// The suite's name.
        suite: String,
        /// The target of the layered project whose suite it is, if it is not the snapshot's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        on: Option<String>,
    },
}

impl JobKind {
    /// One word, and the suite's name where there is one.
    #[must_use]
    pub fn label(&self) -> String {
        match self {
            JobKind::Srpm => "srpm".to_owned(),
            JobKind::Build => "build".to_owned(),
            JobKind::Test { suite, on } => format!("test {}", suite_key(suite, on.as_deref())),
        }
    }
}

/// How urgent a job is, the most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Something is on its way to production and waits for it.
    Release,
    /// A push.
    Push,
    /// A scratch build.
    Scratch,
    /// A nightly rebuild or test.
    Nightly,
}

/// Where a job stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "kebab-case")]
pub enum JobState {
    /// In the backlog.
    Waiting {
        /// Not to be offered earlier than this (back-off after a failure of the farm).
        not_before: Stamp,
    },
    /// Offered to a builder that had a free slot.
    Offered {
        /// Which builder.
        builder: String,
        /// Digest of the ticket that came with the offer; who shows the ticket may claim the turn.
        ticket: Digest,
        /// When the offer lapses.
        until: Stamp,
    },
    /// A builder is at work.
    Building {
        /// Which builder.
        builder: String,
        /// Digest of the token that the builder made for this attempt.
        token: Digest,
        /// When the life of the builder began that took it up.
        #[serde(default)]
        born: Stamp,
        /// When it began.
        started: Stamp,
        /// When it counts as lost unless it beats before.
        lease: Stamp,
    },
    /// Somebody cancelled it while a builder was at work; the builder's echo is awaited.
    Stopping {
        /// Which builder.
        builder: String,
        /// Digest of the attempt's token.
        token: Digest,
        /// When it began.
        started: Stamp,
        /// When it counts as stopped without an echo.
        until: Stamp,
        /// Who cancelled it.
        by: String,
    },
    /// Settled for ever.
    Done {
        /// When.
        at: Stamp,
        /// When its last attempt began, if one did.
        started: Option<Stamp>,
        /// Who did its last attempt, if anyone.
        builder: Option<String>,
        /// How it ended.
        outcome: Outcome,
    },
}

/// An attempt that ended without settling its job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Attempt {
    /// Its turn.
    pub turn: u32,
    /// Who had it.
    pub builder: String,
    /// When it began; `None` if the offer was never taken.
    pub started: Option<Stamp>,
    /// When it ended.
    pub ended: Stamp,
    /// Why, in one sentence.
    pub why: String,
}

/// Something that happened to a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The scheduler found it a free slot.
    Offer {
        /// Whose slot.
        builder: String,
        /// Digest of the offer's ticket.
        ticket: Digest,
    },
    /// A builder took up an offer.
    Claim {
        /// The offer's turn.
        turn: u32,
        /// Digest of the ticket it showed.
        ticket: Digest,
        /// Who it is: the builder the turn was offered to, or the claim is refused.
        builder: String,
        /// When this life of the builder began.
        born: Stamp,
        /// Digest of the token it will use from now on.
        token: Digest,
    },
    /// The builder is still at work.
    Beat {
        /// Its turn.
        turn: u32,
        /// Digest of its token.
        token: Digest,
    },
    /// The builder is done.
    Finish {
        /// Its turn.
        turn: u32,
        /// Digest of its token.
        token: Digest,
        /// What came of it.
        outcome: Outcome,
    },
    /// The state's deadline may have passed.
    Lapse,
    /// The builder that had it began a new life, and knows nothing of it any more.
    Forgotten {
        /// Who.
        builder: String,
        /// When its new life began.
        born: Stamp,
    },
    /// An operator has shut out the builder that has it: whatever that builder says does not count any more.
    ShutOut {
        /// Which builder.
        builder: String,
        /// Who shut it out.
        by: String,
    },
    /// Somebody wants it stopped.
    Cancel {
        /// Who.
        by: String,
    },
}

/// What the caller must do once a step is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Tell the builder that has this turn to stop.
    Stop {
        /// The turn.
        turn: u32,
    },
    /// The job is settled: whoever waits for it can go on.
    Settled,
    /// The job is in the backlog again.
    Requeued,
}

/// An event that changes nothing. An ordinary answer, not a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It belongs to an older turn, or to somebody else's attempt.
    #[error("this attempt is no longer the job's current one")]
    Stale,
    /// The job is settled.
    #[error("the job is already settled")]
    Settled,
    /// Its time has not come, or the job is in no state for it.
    #[error("the job is in no state for this")]
    NotDue,
}

/// How long the farm waits for whom. All values are configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Patience {
    /// Milliseconds an offer stays open.
    pub offer_ms: u64,
    /// Milliseconds a builder may be silent before its job is given to another.
    pub lease_ms: u64,
    /// Milliseconds between a cancel and counting the builder as stopped without its echo.
    pub stop_ms: u64,
    /// Real starts before a job counts as lost.
    pub max_tries: u32,
    /// Milliseconds before the second try after a failure of the farm; doubled for each further one.
    pub backoff_ms: u64,
    /// Seconds after which machine time that a SIG has used counts half.
    pub usage_half_life_s: u64,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            offer_ms: 10_000,
            lease_ms: 30_000,
            stop_ms: 20_000,
            max_tries: 5,
            backoff_ms: 2_000,
            usage_half_life_s: 6 * 3600,
        }
    }
}

impl Patience {
    /// How long it takes until machine time that a SIG has used counts half.
    #[must_use]
    pub fn usage_half_life(&self) -> Duration {
        Duration::from_secs(self.usage_half_life_s)
    }

    fn backoff(&self, tries: u32) -> Duration {
        let doublings = tries.saturating_sub(1).min(10);
        Duration::from_millis(self.backoff_ms.saturating_mul(1 << doublings))
    }
}

impl Job {
    /// Decides what an event makes of the job. `Ok((job, None))` with an unchanged job answers a repeated event that
    /// was already taken in.
    ///
    /// # Errors
    /// [`Refused`] when the event changes nothing.
    pub fn on(
        &self,
        event: Event,
        now: Stamp,
        patience: &Patience,
    ) -> Result<(Job, Option<Effect>), Refused> {
        let ms = Duration::from_millis;
        let mut next = self.clone();
        let effect = match (event, &self.state) {
            (_, JobState::Done { .. }) => return Err(Refused::Settled),

            (Event::Offer { builder, ticket }, JobState::Waiting { not_before }) => {
                if now < *not_before {
                    return Err(Refused::NotDue);
                }
                next.turn += 1;
                next.state = JobState::Offered { builder, ticket, until: now + ms(patience.offer_ms) };
                None
            }
            (
                Event::Offer { .. },
                JobState::Offered { .. } | JobState::Building { .. } | JobState::Stopping { .. },
            ) => return Err(Refused::NotDue),

            (
                Event::Claim { turn, ticket, builder, born, token },
                JobState::Offered { ticket: expected, builder: chosen, .. },
            ) => {
                if turn != self.turn || ticket != *expected || builder != *chosen {
                    return Err(Refused::Stale);
                }
                next.tries += 1;
                next.state = JobState::Building {
                    builder,
                    token,
                    born,
                    started: now,
                    lease: now + ms(patience.lease_ms),
                };
                None
            }
            // The answer to the claim was lost and the same builder asks again: its own token proves that it is the same.
            (Event::Claim { turn, token, .. }, JobState::Building { token: current, .. }) => {
                if turn != self.turn || token != *current {
                    return Err(Refused::Stale);
                }
                None
            }
            (Event::Claim { .. }, JobState::Waiting { .. } | JobState::Stopping { .. }) => {
                return Err(Refused::Stale);
            }

            (
                Event::Beat { turn, token },
                JobState::Building { builder, token: current, born, started, .. },
            ) => {
                if turn != self.turn || token != *current {
                    return Err(Refused::Stale);
                }
                next.state = JobState::Building {
                    builder: builder.clone(),
                    token,
                    born: *born,
                    started: *started,
                    lease: now + ms(patience.lease_ms),
                };
                None
            }
            (Event::Beat { turn, token }, JobState::Stopping { token: current, .. }) => {
                if turn != self.turn || token != *current {
                    return Err(Refused::Stale);
                }
                Some(Effect::Stop { turn })
            }
            (Event::Beat { .. }, JobState::Waiting { .. } | JobState::Offered { .. }) => {
                return Err(Refused::Stale);
            }

            (
                Event::Finish { turn, token, outcome },
                JobState::Building { builder, token: current, started, .. },
            ) => {
                if turn != self.turn || token != *current {
                    return Err(Refused::Stale);
                }
                // Nobody has asked it to stop: a builder cannot cancel a job, nor say in whose name.
                let outcome = match outcome {
                    Outcome::Cancelled { .. } | Outcome::Lost { .. } => Outcome::FailedByFarm {
                        reason: format!("builder {builder} stopped without being asked to"),
                    },
                    Outcome::Passed | Outcome::FailedByPackage { .. } | Outcome::FailedByFarm { .. } => {
                        outcome
                    }
                };
                match outcome {
                    Outcome::FailedByFarm { reason } if self.tries < patience.max_tries => {
                        next.back_to_waiting(reason, now, patience)
                    }
                    outcome => next.settle(outcome, Some(*started), Some(builder.clone()), now),
                }
            }
            (
                Event::Finish { turn, token, outcome: _ },
                JobState::Stopping { builder, token: current, started, by, .. },
            ) => {
                if turn != self.turn || token != *current {
                    return Err(Refused::Stale);
                }
                // Whatever came of it: a cancelled job never passes, or what it was part of would go on.
                let outcome = Outcome::Cancelled { by: by.clone() };
                next.settle(outcome, Some(*started), Some(builder.clone()), now)
            }
            (Event::Finish { .. }, JobState::Waiting { .. } | JobState::Offered { .. }) => {
                return Err(Refused::Stale);
            }

            (Event::Lapse, JobState::Waiting { .. }) => return Err(Refused::NotDue),
            (Event::Lapse, JobState::Offered { until, .. }) => {
                if now < *until {
                    return Err(Refused::NotDue);
                }
                // Nobody began, so nobody is to blame and there is no back-off.
                next.record("the offer was not taken in time".to_owned(), now);
                next.state = JobState::Waiting { not_before: now };
                Some(Effect::Requeued)
            }
            (Event::Lapse, JobState::Building { builder, started, lease, .. }) => {
                if now < *lease {
                    return Err(Refused::NotDue);
                }
                next.lose(format!("builder {builder} fell silent"), builder, *started, now, patience)
            }
            (
                Event::Forgotten { builder: who, born: new },
                JobState::Building { builder, born, started, .. },
            ) => {
                if who != *builder || new <= *born {
                    return Err(Refused::NotDue);
                }
                next.lose(format!("builder {builder} was restarted"), builder, *started, now, patience)
            }
            (
                Event::Forgotten { .. },
                JobState::Waiting { .. } | JobState::Offered { .. } | JobState::Stopping { .. },
            ) => return Err(Refused::NotDue),

            (Event::ShutOut { .. }, JobState::Waiting { .. }) => return Err(Refused::NotDue),
            (
                Event::ShutOut { builder: who, by },
                JobState::Offered { builder, .. }
                | JobState::Building { builder, .. }
                | JobState::Stopping { builder, .. },
            ) => {
                if who != *builder {
                    return Err(Refused::NotDue);
                }
                next.shut_out(&self.state, &by, now, patience)
            }

            (Event::Lapse, JobState::Stopping { until, by, started, builder, .. }) => {
                if now < *until {
                    return Err(Refused::NotDue);
                }
                next.settle(Outcome::Cancelled { by: by.clone() }, Some(*started), Some(builder.clone()), now)
            }

            (Event::Cancel { by }, JobState::Waiting { .. } | JobState::Offered { .. }) => {
                next.settle(Outcome::Cancelled { by }, None, None, now)
            }
            (Event::Cancel { by }, JobState::Building { builder, token, started, .. }) => {
                next.state = JobState::Stopping {
                    builder: builder.clone(),
                    token: token.clone(),
                    started: *started,
                    until: now + ms(patience.stop_ms),
                    by,
                };
                Some(Effect::Stop { turn: self.turn })
            }
            (Event::Cancel { .. }, JobState::Stopping { .. }) => Some(Effect::Stop { turn: self.turn }),
        };
        Ok((next, effect))
    }

    /// The moment at which a scan must look at the job again, if it is waiting for one.
    #[must_use]
    pub fn due(&self) -> Option<Stamp> {
        match &self.state {
            JobState::Waiting { not_before } => Some(*not_before),
            JobState::Offered { until, .. } | JobState::Stopping { until, .. } => Some(*until),
            JobState::Building { lease, .. } => Some(*lease),
            JobState::Done { .. } => None,
        }
    }

    /// When the attempt began that is at work now, if one is.
    #[must_use]
    pub fn began(&self) -> Option<Stamp> {
        match &self.state {
            JobState::Building { started, .. } | JobState::Stopping { started, .. } => Some(*started),
            JobState::Waiting { .. } | JobState::Offered { .. } | JobState::Done { .. } => None,
        }
    }

    /// One word for the state.
    #[must_use]
    pub fn phase(&self) -> &'static str {
        match &self.state {
            JobState::Waiting { .. } => "waiting",
            JobState::Offered { .. } => "offered",
            JobState::Building { .. } => "building",
            JobState::Stopping { .. } => "stopping",
            JobState::Done { .. } => "done",
        }
    }

    /// The outcome, once there is one.
    #[must_use]
    pub fn outcome(&self) -> Option<&Outcome> {
        match &self.state {
            JobState::Done { outcome, .. } => Some(outcome),
            JobState::Waiting { .. }
            | JobState::Offered { .. }
            | JobState::Building { .. }
            | JobState::Stopping { .. } => None,
        }
    }

    /// Did it succeed?
    #[must_use]
    pub fn passed(&self) -> bool {
        self.outcome().is_some_and(Outcome::passed)
    }

    /// May this turn, showing a token with this digest, still read inputs and write logs and files?
    #[must_use]
    pub fn admits(&self, turn: u32, token: &Digest) -> bool {
        match &self.state {
            JobState::Building { token: current, .. } | JobState::Stopping { token: current, .. } => {
                turn == self.turn && token == current
            }
            JobState::Waiting { .. } | JobState::Offered { .. } | JobState::Done { .. } => false,
        }
    }

    /// Has the time run out within which the builder that is at work must be heard? Its token opens nothing then, until a beat
    /// has renewed it, which is possible for as long as nobody has given the turn up.
    #[must_use]
    pub fn is_overdue(&self, now: Stamp) -> bool {
        self.began().is_some() && self.due().is_some_and(|due| due <= now)
    }

    /// The builder that has it now, or had it last.
    #[must_use]
    pub fn builder(&self) -> Option<&str> {
        match &self.state {
            JobState::Offered { builder, .. }
            | JobState::Building { builder, .. }
            | JobState::Stopping { builder, .. } => Some(builder),
            JobState::Done { builder, .. } => builder.as_deref(),
            JobState::Waiting { .. } => None,
        }
    }

    fn record(&mut self, why: String, now: Stamp) {
        let (builder, started) = match &self.state {
            JobState::Offered { builder, .. } => (builder.clone(), None),
            JobState::Building { builder, started, .. } | JobState::Stopping { builder, started, .. } => {
                (builder.clone(), Some(*started))
            }
            JobState::Waiting { .. } | JobState::Done { .. } => return,
        };
        // An offer nobody takes may be repeated for as long as a builder is deaf: of each builder the newest is kept.
        if started.is_none() {
            self.history.retain(|attempt| attempt.started.is_some() || attempt.builder != builder);
        }
        self.history.push(Attempt { turn: self.turn, builder, started, ended: now, why });
    }

    /// The builder does not have it any more: once more elsewhere, or never again.
    fn lose(
        &mut self,
        why: String,
        builder: &str,
        started: Stamp,
        now: Stamp,
        patience: &Patience,
    ) -> Option<Effect> {
        if self.tries < patience.max_tries {
            return self.back_to_waiting(why, now, patience);
        }
        let lost = Outcome::Lost { tries: self.tries };
        self.settle(lost, Some(started), Some(builder.to_owned()), now)
    }

    /// The builder may not have it any more.
    fn shut_out(&mut self, from: &JobState, who: &str, now: Stamp, patience: &Patience) -> Option<Effect> {
        match from {
            JobState::Waiting { .. } | JobState::Done { .. } => None,
            JobState::Offered { builder, .. } => {
                self.record(format!("builder {builder} was disabled by {who}"), now);
                self.state = JobState::Waiting { not_before: now };
                Some(Effect::Requeued)
            }
            JobState::Building { builder, started, .. } => self.lose(
                format!("builder {builder} was disabled by {who}"),
                builder,
                *started,
                now,
                patience,
            ),
            // Nobody is left who could confirm it.
            JobState::Stopping { builder, started, by, .. } => {
                let cancelled = Outcome::Cancelled { by: by.clone() };
                self.settle(cancelled, Some(*started), Some(builder.clone()), now)
            }
        }
    }

    fn back_to_waiting(&mut self, why: String, now: Stamp, patience: &Patience) -> Option<Effect> {
        self.record(why, now);
        self.state = JobState::Waiting { not_before: now + patience.backoff(self.tries) };
        Some(Effect::Requeued)
    }

    fn settle(
        &mut self,
        outcome: Outcome,
        started: Option<Stamp>,
        builder: Option<String>,
        now: Stamp,
    ) -> Option<Effect> {
        self.state = JobState::Done { at: now, started, builder, outcome };
        Some(Effect::Settled)
    }
}
