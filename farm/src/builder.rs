//! What the farm knows of a builder: facts it reported. Whether it is free, draining or silent is computed.

use serde::{Deserialize, Serialize};

use crate::arch::Arch;
use crate::ids::JobId;
use crate::message::Presence;
use crate::stamp::Stamp;

/// A builder, as it last reported itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Builder {
    /// Its name.
    pub name: String,
    /// What it runs.
    pub arches: Vec<Arch>,
    /// How many jobs it takes at once.
    pub slots: u32,
    /// The attempts it had then: job and turn.
    pub running: Vec<(JobId, u32)>,
    /// It takes nothing new.
    pub draining: bool,
    /// When it reported.
    pub seen: Stamp,
}

/// A builder's state, computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Condition {
    /// It can take this many more jobs; 0 means that it is busy.
    Free {
        /// Slots.
        slots: u32,
    },
    /// It takes nothing new.
    Draining,
    /// It has not reported for too long.
    Silent,
}

impl Builder {
    /// Takes in a report.
    #[must_use]
    pub fn reported(presence: Presence, now: Stamp) -> Builder {
        let Presence { builder, arches, slots, running, draining } = presence;
        Builder { name: builder, arches, slots, running, draining, seen: now }
    }

    /// Its state. `held` counts the jobs the ledger says it has, offered or at work: the ledger knows of an offer
    /// before the builder does.
    #[must_use]
    pub fn condition(&self, held: u32, now: Stamp, silent_after: std::time::Duration) -> Condition {
        if now - self.seen > silent_after {
            Condition::Silent
        } else if self.draining {
            Condition::Draining
        } else {
            Condition::Free { slots: self.slots.saturating_sub(held) }
        }
    }
}
