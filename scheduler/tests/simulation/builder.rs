//! A builder, as a plain machine in virtual time. It does what the real one does, and the worst of what it might do:
//! it dies and forgets, freezes and goes on as if nothing had been, claims twice, and reports work nobody waits for.

use farm::arch::Arch;
use farm::digest::Digest;
use farm::ids::JobId;
use farm::job::Event;
use farm::message::{Offer, Presence, Stop};
use farm::outcome::Outcome;
use farm::stamp::Stamp;

use crate::dice::Dice;
use crate::jobs::{USUAL_MB, WIDE_MB};

/// Milliseconds between two beats, and between two presences.
const BEAT: i64 = 10_000;
const PRESENCE: i64 = 3_000;

#[derive(Debug)]
pub(crate) struct Builder {
    pub(crate) name: String,
    pub(crate) arches: Vec<Arch>,
    /// What it runs besides, slowly.
    pub(crate) emulated: Vec<Arch>,
    pub(crate) slots: u32,
    pub(crate) memory_mb: u64,
    pub(crate) attempts: Vec<Attempt>,
    /// It does nothing until then. When it `forgets`, it was dead; otherwise it stood still.
    pub(crate) absent: Option<(Stamp, bool)>,
    presence_due: Stamp,
    /// When its present life began.
    born: Stamp,
}

#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub(crate) job: JobId,
    pub(crate) turn: u32,
    pub(crate) token: Digest,
    ticket: Digest,
    phase: Phase,
    beat_due: Stamp,
    /// Goes on although it was told that the attempt is not its any more.
    stubborn: bool,
    born: Stamp,
}

#[derive(Debug, Clone)]
enum Phase {
    Claiming { until: Stamp },
    Working { done: Stamp },
    Reporting { outcome: Outcome },
}

impl Builder {
    pub(crate) fn new(
        name: String,
        (arches, emulated): (Vec<Arch>, Vec<Arch>),
        slots: u32,
        now: Stamp,
    ) -> Self {
        // Enough for as many usual jobs as it has slots, and for a wide one.
        let memory_mb = (u64::from(slots) * USUAL_MB).max(WIDE_MB);
        Self {
            name,
            arches,
            emulated,
            slots,
            memory_mb,
            attempts: Vec::new(),
            absent: None,
            presence_due: now,
            born: now,
        }
    }

    pub(crate) fn is_here(&mut self, now: Stamp) -> bool {
        match self.absent {
            Some((until, _)) if now < until => return false,
            Some((_, true)) => {
                self.attempts.clear();
                self.presence_due = now;
                self.born = now;
            }
            Some((_, false)) | None => {}
        }
        self.absent = None;
        true
    }

    pub(crate) fn presence(&mut self, now: Stamp) -> Option<Presence> {
        if now < self.presence_due {
            return None;
        }
        self.presence_due = after(now, PRESENCE);
        Some(Presence {
            builder: self.name.clone(),
            arches: self.arches.clone(),
            slots: self.slots,
            running: self.attempts.iter().map(|attempt| (attempt.job, attempt.turn)).collect(),
            draining: false,
            born: self.born,
            clock: now,
            count: 0,
            version: String::new(),
            emulated: self.emulated.clone(),
            memory_mb: self.memory_mb,
            disk_mb: 1 << 20,
            labels: std::collections::BTreeSet::new(),
        })
    }

    /// Takes an offer into a free slot. One that comes twice is claimed twice, each time with a token of its own.
    pub(crate) fn take(&mut self, offer: &Offer, dice: &Dice, now: Stamp) {
        if self.attempts.len() >= self.slots as usize {
            return;
        }
        self.attempts.push(Attempt {
            job: offer.job,
            turn: offer.turn,
            token: Digest::of(dice.secret().as_bytes()),
            ticket: Digest::of(offer.ticket.as_bytes()),
            phase: Phase::Claiming { until: offer.until },
            beat_due: now,
            stubborn: false,
            born: self.born,
        });
    }

    /// Hears that a turn should stop, and asks at once.
    pub(crate) fn hear(&mut self, stop: Stop, now: Stamp) {
        for attempt in &mut self.attempts {
            if (attempt.job, attempt.turn) == (stop.job, stop.turn) {
                attempt.beat_due = now;
            }
        }
    }
}

impl Attempt {
    /// What it says to the hub now, if anything. `None` in the second place: it gives up.
    pub(crate) fn says(&mut self, builder: &str, dice: &Dice, now: Stamp) -> Option<Event> {
        let (turn, token) = (self.turn, self.token.clone());
        if let Phase::Working { done } = self.phase
            && now >= done
        {
            let outcome = match dice.roll() % 10 {
                0 => Outcome::FailedByPackage { reason: "%build failed".to_owned() },
                1 | 2 => Outcome::FailedByFarm { reason: "disk full".to_owned() },
                _ => Outcome::Passed,
            };
            self.phase = Phase::Reporting { outcome };
        }
        match &self.phase {
            Phase::Claiming { .. } => {
                let (builder, ticket) = (builder.to_owned(), self.ticket.clone());
                Some(Event::Claim { turn, ticket, builder, token, born: self.born })
            }
            Phase::Working { .. } if now < self.beat_due => None,
            Phase::Working { .. } => Some(Event::Beat { turn, token }),
            Phase::Reporting { outcome } => Some(Event::Finish { turn, token, outcome: outcome.clone() }),
        }
    }

    /// Hears that it is so. `false` when the attempt is over.
    pub(crate) fn hears_yes(&mut self, stop: bool, dice: &Dice, now: Stamp) -> bool {
        match self.phase {
            Phase::Claiming { .. } => {
                self.phase = Phase::Working { done: after(now, dice.between(2_000, 50_000)) };
                self.beat_due = after(now, BEAT);
            }
            Phase::Working { .. } if stop => {
                let outcome = Outcome::Cancelled { by: "the farm".to_owned() };
                self.phase = Phase::Reporting { outcome };
            }
            Phase::Working { .. } => self.beat_due = after(now, BEAT),
            Phase::Reporting { .. } => return false,
        }
        true
    }

    /// Hears that it is refused. `false` when the attempt is over.
    pub(crate) fn hears_no(&mut self, dice: &Dice, now: Stamp, faults: bool) -> bool {
        self.beat_due = after(now, BEAT);
        self.stubborn = self.stubborn || (faults && dice.chance(30));
        self.stubborn && faults && matches!(self.phase, Phase::Working { .. })
    }

    /// Hears nothing, and will ask again. `false` when there is no use in it.
    pub(crate) fn hears_nothing(&self, now: Stamp) -> bool {
        match self.phase {
            Phase::Claiming { until } => now < after(until, 30_000),
            Phase::Working { .. } | Phase::Reporting { .. } => true,
        }
    }
}

pub(crate) fn after(now: Stamp, ms: i64) -> Stamp {
    Stamp::from_millis(now.millis() + ms)
}
