//! Tells the hub that the builder is here and what it has, and learns what operators want of it.
//!
//! It runs beside the builder's loop, which never waits for a hub that does not answer.

use std::time::Duration;

use farm::builder::{CLOCK_TOLERANCE_MS, Wish};
use farm::ids::JobId;
use farm::message::{Presence, Welcome};
use farm::stamp::Stamp;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::client::{Hub, Unwelcome};
use crate::slot::now;

/// How long a call may take before it is made anew.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the last call may take.
const FAREWELL: Duration = Duration::from_secs(3);
/// A builder that is not wanted asks this many times more seldom whether it is again.
const SHUNNED: u32 = 5;

/// What changes from one presence to the next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// The attempts the builder has.
    pub(crate) running: Vec<(JobId, u32)>,
    /// It takes nothing new.
    pub(crate) draining: bool,
}

/// How the builder stands with the farm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The hub has answered, or has not been reached: then the last answer holds.
    Wanted(Wish),
    /// The hub does not take its word any more: it was disabled, removed, or enrolled anew on another machine.
    Refused,
}

/// Speaks for the builder.
#[derive(Debug)]
pub(crate) struct Herald {
    state: watch::Sender<State>,
    standing: watch::Receiver<Standing>,
    task: JoinHandle<()>,
}

impl Herald {
    /// Begins to tell of the builder: `facts`, and whatever is [told](Herald::tell) later.
    pub(crate) fn start(hub: Hub, facts: Presence, every: Duration) -> Herald {
        let (state, states) = watch::channel(State::default());
        let (standings, standing) = watch::channel(Standing::Wanted(Wish::Work));
        let voice = Voice { hub, facts, standings, count: 0, clock_is_off: false, away: false };
        Herald { state, standing, task: tokio::spawn(voice.speak(states, every)) }
    }

    /// What is told next. A builder that begins or ceases to drain says so at once.
    pub(crate) fn tell(&self, next: State) {
        self.state.send_if_modified(|state| {
            let urgent = state.draining != next.draining;
            *state = next;
            urgent
        });
    }

    /// How the builder stands with the farm.
    pub(crate) fn standing(&self) -> Standing {
        *self.standing.borrow()
    }

    /// Waits until that changes.
    pub(crate) async fn changed(&mut self) {
        if self.standing.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Says the last word, and that it was the last.
    pub(crate) async fn farewell(self) {
        let Herald { state, standing: _, mut task } = self;
        drop(state);
        if timeout(FAREWELL, &mut task).await.is_err() {
            task.abort();
        }
    }
}

struct Voice {
    hub: Hub,
    facts: Presence,
    standings: watch::Sender<Standing>,
    /// How often it has spoken.
    count: u64,
    clock_is_off: bool,
    away: bool,
}

impl Voice {
    async fn speak(mut self, mut states: watch::Receiver<State>, every: Duration) {
        loop {
            let state = states.borrow_and_update().clone();
            let pause = match self.say(state).await {
                Standing::Wanted(_) => every,
                Standing::Refused => every * SHUNNED,
            };
            tokio::select! {
                changed = states.changed() => if changed.is_err() { break },
                () = sleep(pause) => {}
            }
        }
        let last = State { draining: true, ..states.borrow().clone() };
        self.say(last).await;
    }

    async fn say(&mut self, State { running, draining }: State) -> Standing {
        let asked = now();
        let presence = Presence { clock: asked, count: self.count, running, draining, ..self.facts.clone() };
        self.count += 1;
        let answer = timeout(PATIENCE, self.hub.presence(&presence)).await;
        let answer = answer.unwrap_or_else(|_| Err(Unwelcome::Away("it did not answer in time".to_owned())));
        let before = *self.standings.borrow();
        let standing = match answer {
            Ok(welcome) => {
                if std::mem::take(&mut self.away) {
                    tracing::info!(builder = self.facts.builder, "the hub answers again");
                }
                self.compare_clocks(asked, welcome);
                self.note(before, welcome.wish)
            }
            Err(Unwelcome::Away(why)) => {
                if !std::mem::replace(&mut self.away, true) {
                    tracing::warn!(builder = self.facts.builder, why, "the hub does not answer");
                }
                before
            }
            Err(Unwelcome::Refused { why }) => {
                if before != Standing::Refused {
                    tracing::error!(
                        builder = self.facts.builder,
                        why,
                        "the hub does not take this builder's word any more; it asks now and then"
                    );
                }
                Standing::Refused
            }
        };
        self.standings.send_if_modified(|known| std::mem::replace(known, standing) != standing);
        standing
    }

    fn note(&self, before: Standing, wish: Wish) -> Standing {
        let standing = match wish {
            Wish::Work | Wish::Drain => Standing::Wanted(wish),
            Wish::Disabled => Standing::Refused,
        };
        if standing != before {
            tracing::info!(
                builder = self.facts.builder,
                wish = wish.as_str(),
                "an operator has told this builder what to do"
            );
        }
        standing
    }

    /// Warns once when the clocks part, and says when they agree again.
    fn compare_clocks(&mut self, asked: Stamp, welcome: Welcome) {
        // The hub looked at its clock between question and answer.
        let between = i64::midpoint(asked.millis(), now().millis());
        let ahead_ms = between.saturating_sub(welcome.clock.millis());
        let is_off = ahead_ms.saturating_abs() > CLOCK_TOLERANCE_MS;
        if is_off && !self.clock_is_off {
            tracing::warn!(
                builder = self.facts.builder,
                ahead_ms,
                "this machine's clock is too far from the hub's: it gets no work until they agree; look at its time service"
            );
        } else if !is_off && self.clock_is_off {
            tracing::info!(
                builder = self.facts.builder,
                ahead_ms,
                "this machine's clock agrees with the hub's again"
            );
        }
        self.clock_is_off = is_off;
    }
}
