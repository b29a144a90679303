//! Who gets what next: fair between SIGs with a stated bound, then by class, then by what waits for it, then by age.
//!
//! # The order
//! On each architecture by itself, the next free slot goes to the SIG with the lowest *level*: the machine time it has
//! used there lately ([`Loads`]: what ended attempts took, decayed, plus what running ones have taken so far), divided
//! by its weight. A job that holds a slot counts as [`Rules::charge_ms`] at least, so that one round is fair too. A SIG
//! at its cap is passed over. Within the SIG: release, push, scratch, nightly; but a class that waits and has less than
//! one part in [`CLASS_SHARES`] of its SIG's time there, by more than one charge, goes first. Then `height`, then age.
//!
//! # The bound
//! Take two SIGs with weights *w* and *v* that both have, without a break, a job that any of an architecture's slots may
//! take, and are both below their caps. Let *N* be the most slots of it that one SIG holds at once, *L* the longest any
//! attempt takes, *c* the charge and *s* the slack ([`Rules::slack_ms`]; 0 where no job is wide). From a moment at which
//! they are level, the level of the first, as really used, is never above the other's by more than
//!
//! > *N* · (*L*/*w* + *c*/*v*) + *s*
//!
//! and where they were further apart when both began to have work, by no more than they were then. For the first got
//! its last slot when its level, unspent charges included, was not above the other's (for a wide job: not by more than
//! *s*), and since then only the at most *N* jobs it had then have added to it, at most *L* each. Decay moves both closer.
//!
//! In the same way a class that waits is behind its share by no more than (16·*c*·(1 + *N*) + 4·*N*·*L*)/13, where the
//! other classes of its SIG that wait have waited as long. So the lowest class always gets some share.
//!
//! # Rooms
//! A job goes to a builder that has all its labels, memory and disk for it, natively if any builder that is here and could
//! ever do it is a native one, emulated otherwise or after [`Rules::emulate_after_ms`]. It is kept from builders that
//! failed it while another that is here could do it, for [`Rules::elsewhere_after_ms`]. Apart from that, a slot is never
//! left free while a job waits that suits it, with one exception: a *wide* job, one that needs more memory or disk than
//! a slot's equal part of any builder that could do it, would wait for ever if small ones took every slot that falls free. The one of an
//! architecture that has waited longest, if longer than [`Rules::reserve_after_ms`] and its SIG's level is at most
//! the slack above the lowest, gets a builder kept for it, where what is left can only grow until it is enough, and
//! then goes first. At most one builder per architecture is kept.

mod lanes;
mod rooms;
mod usage;

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::arch::Arch;
use crate::ids::JobId;
use crate::job::Class;
use crate::stamp::Stamp;

pub use usage::{Loads, decayed};

use lanes::Lanes;
use rooms::Hall;

/// A class with waiting work gets at least one part in this many of its SIG's machine time on an architecture.
pub const CLASS_SHARES: u64 = 16;

/// What dispatch goes by, besides the facts. All values are configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rules {
    /// Milliseconds of machine time that a job counts as while it holds a slot, even if it took it a moment ago.
    pub charge_ms: u64,
    /// Milliseconds after which a job no longer waits for a native builder.
    pub emulate_after_ms: u64,
    /// Milliseconds after which a job no longer waits for a builder that has not failed it yet.
    pub elsewhere_after_ms: u64,
    /// Milliseconds after which a builder is kept for a job that needs much of one.
    pub reserve_after_ms: u64,
    /// Milliseconds of machine time per weight by which the SIG of such a job may be above the lowest.
    pub slack_ms: u64,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            charge_ms: 60_000,
            emulate_after_ms: 600_000,
            elsewhere_after_ms: 600_000,
            reserve_after_ms: 600_000,
            slack_ms: 3_600_000,
        }
    }
}

/// A job in the backlog, as far as dispatch looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its id.
    pub job: JobId,
    /// Its SIG.
    pub sig: String,
    /// Its class.
    pub class: Class,
    /// What it must run on.
    pub arch: Arch,
    /// Labels a builder must have to do it.
    pub labels: BTreeSet<String>,
    /// MiB of memory it may use.
    pub memory_mb: u64,
    /// MiB of disk it may use.
    pub disk_mb: u64,
    /// How many builds of its chain wait for it, one behind the other.
    pub height: u32,
    /// When it was asked for.
    pub created: Stamp,
    /// Since when it could be offered.
    pub since: Stamp,
    /// Builders on which the farm has failed it before.
    pub avoid: Vec<String>,
}

impl Candidate {
    fn has_waited(&self, now: Stamp, ms: u64) -> bool {
        now - self.since >= Duration::from_millis(ms)
    }
}

/// A builder that is here and takes work: one that is silent, disabled, draining or off the time is none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Room {
    /// The builder.
    pub builder: String,
    /// What it runs on its own processor.
    pub native: Vec<Arch>,
    /// What it runs under emulation.
    pub emulated: Vec<Arch>,
    /// What its operator says of it.
    pub labels: BTreeSet<String>,
    /// How many jobs it takes at once.
    pub slots: u32,
    /// How many more it can take now; a builder without a free slot is named too, for others may wait for it.
    pub free: u32,
    /// MiB all its jobs together may use.
    pub whole: Space,
    /// MiB that its jobs leave now.
    pub left: Space,
}

impl Room {
    /// Does it have a free slot, and memory and disk for the job?
    #[must_use]
    pub fn takes(&self, job: &Candidate) -> bool {
        self.free > 0 && self.left.holds(job)
    }
}

/// Memory and disk, in MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Space {
    /// Memory.
    pub memory_mb: u64,
    /// Disk.
    pub disk_mb: u64,
}

impl Default for Space {
    fn default() -> Self {
        Self::said(0, 0)
    }
}

impl Space {
    /// What a builder says it has; one that says 0 has not said, and is not limited.
    #[must_use]
    pub fn said(memory_mb: u64, disk_mb: u64) -> Self {
        let or_all = |mb| if mb == 0 { u64::MAX } else { mb };
        Self { memory_mb: or_all(memory_mb), disk_mb: or_all(disk_mb) }
    }

    /// What is left of it.
    #[must_use]
    pub fn less(self, memory_mb: u64, disk_mb: u64) -> Self {
        let less = |all: u64, used: u64| if all == u64::MAX { all } else { all.saturating_sub(used) };
        Self { memory_mb: less(self.memory_mb, memory_mb), disk_mb: less(self.disk_mb, disk_mb) }
    }

    /// Is there so much of it?
    #[must_use]
    pub fn covers(self, memory_mb: u64, disk_mb: u64) -> bool {
        memory_mb <= self.memory_mb && disk_mb <= self.disk_mb
    }

    fn holds(self, job: &Candidate) -> bool {
        self.covers(job.memory_mb, job.disk_mb)
    }

    /// Does the job need more than one of `slots` equal parts?
    fn is_crowded_by(self, job: &Candidate, slots: u32) -> bool {
        let part = |all: u64| all / u64::from(slots.max(1));
        job.memory_mb > part(self.memory_mb) || job.disk_mb > part(self.disk_mb)
    }
}

/// One job for one builder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// The job.
    pub job: JobId,
    /// The builder.
    pub builder: String,
}

/// Fills free slots from the backlog, in the order in which the offers should be made.
#[must_use]
pub fn assign(backlog: &[Candidate], rooms: &[Room], loads: &Loads, rules: &Rules, now: Stamp) -> Vec<Match> {
    let mut hall = Hall::new(rooms, rules, now);
    let mut lanes = Lanes::new(backlog, loads, rules);
    let mut matches = Vec::new();
    for wide in lanes.overdue_wide(&mut hall, now) {
        match hall.find(wide) {
            Some(room) => matches.push(hall.take(room, wide)),
            None => hall.keep_for(wide),
        }
        lanes.remove(wide, matches.last().is_some_and(|found| found.job == wide.job));
    }
    while hall.has_room()
        && let Some((candidate, room)) = lanes.next(&mut hall)
    {
        matches.push(hall.take(room, candidate));
    }
    matches
}
