//! What the farm knows of a builder: facts it reported. Whether it is free, draining or silent is computed.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::arch::Arch;
use crate::ids::JobId;
use crate::message::Presence;
use crate::recipe::Limits;
use crate::stamp::Stamp;
use crate::why::span;

/// A builder, as it last reported itself, and what the farm's operators want of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Builder {
    /// Its name.
    pub name: String,
    /// When its present life began, by its own clock.
    #[serde(default)]
    pub born: Stamp,
    /// How often it had reported in this life before its last report, by its own count.
    #[serde(default)]
    pub count: u64,
    /// The version of its program.
    #[serde(default)]
    pub version: String,
    /// What it runs natively.
    pub arches: Vec<Arch>,
    /// What it runs under qemu-user emulation besides.
    #[serde(default)]
    pub emulated: Vec<Arch>,
    /// How many jobs it takes at once.
    pub slots: u32,
    /// MiB of memory all its jobs together may use.
    #[serde(default)]
    pub memory_mb: u64,
    /// MiB of disk all its jobs together may use.
    #[serde(default)]
    pub disk_mb: u64,
    /// What its operator says of it.
    #[serde(default)]
    pub labels: BTreeSet<String>,
    /// The attempts it had then: job and turn.
    pub running: Vec<(JobId, u32)>,
    /// It takes nothing new.
    pub draining: bool,
    /// How far its clock was ahead of the hub's, in milliseconds; negative when behind.
    #[serde(default)]
    pub ahead_ms: i64,
    /// When it reported, by the hub's clock.
    pub seen: Stamp,
    /// What the farm's operators want of it.
    #[serde(default)]
    pub wish: Wish,
}

/// What the farm's operators want of a builder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Wish {
    /// That it works.
    #[default]
    Work,
    /// That it ends what it has and takes nothing new.
    Drain,
    /// That it takes nothing new, and nothing it says counts any more: its secret is refused.
    Disabled,
}

impl Wish {
    /// One word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Wish::Work => "work",
            Wish::Drain => "drain",
            Wish::Disabled => "disabled",
        }
    }
}

impl std::str::FromStr for Wish {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        [Wish::Work, Wish::Drain, Wish::Disabled]
            .into_iter()
            .find(|wish| wish.as_str() == text)
            .ok_or_else(|| format!("there is no wish `{text}`"))
    }
}

/// Longest name of a builder.
const LONGEST_NAME: usize = 128;

/// Is this a name that the ledger, container engines and the bus all take for a builder?
#[must_use]
pub fn is_builder_name(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// How far a builder's clock may be off before it gets no work, in milliseconds. What it builds bears its time.
pub const CLOCK_TOLERANCE_MS: i64 = 5_000;

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
    /// Its clock is too far off: it gets no work.
    ClockOff {
        /// How far it is ahead, in milliseconds; negative when behind.
        ahead_ms: i64,
    },
    /// It has not reported for too long.
    Silent,
    /// An operator has shut it out.
    Disabled,
}

impl Builder {
    /// A builder that was let in and has not reported yet.
    #[must_use]
    pub fn expected(name: &str) -> Builder {
        Builder {
            name: name.to_owned(),
            born: Stamp::ZERO,
            count: 0,
            version: String::new(),
            arches: Vec::new(),
            emulated: Vec::new(),
            slots: 0,
            memory_mb: 0,
            disk_mb: 0,
            labels: BTreeSet::new(),
            running: Vec::new(),
            draining: false,
            ahead_ms: 0,
            seen: Stamp::ZERO,
            wish: Wish::Work,
        }
    }

    /// Did it ever report?
    #[must_use]
    pub fn has_reported(&self) -> bool {
        self.seen > Stamp::ZERO
    }

    /// The slots it says are free.
    #[must_use]
    pub fn room(&self, now: Stamp, silent_after: Duration) -> u32 {
        let running = u32::try_from(self.running.len()).unwrap_or(u32::MAX);
        match self.condition(running, now, silent_after) {
            Condition::Free { slots } => slots,
            Condition::Draining | Condition::ClockOff { .. } | Condition::Silent | Condition::Disabled => 0,
        }
    }

    /// A builder as it reports itself now; what operators want of it is not for it to say.
    #[must_use]
    pub fn reported(presence: Presence, wish: Wish, now: Stamp) -> Builder {
        let Presence {
            builder,
            born,
            count,
            clock,
            version,
            arches,
            emulated,
            slots,
            memory_mb,
            disk_mb,
            labels,
            running,
            draining,
        } = presence;
        let ahead_ms = clock.millis().saturating_sub(now.millis());
        Builder {
            name: builder,
            born,
            count,
            version,
            arches,
            emulated,
            slots,
            memory_mb,
            disk_mb,
            labels,
            running,
            draining,
            ahead_ms,
            seen: now,
            wish,
        }
    }

    /// Its state. `held` counts the jobs the ledger says it has, offered or at work: the ledger knows of an offer
    /// before the builder does.
    #[must_use]
    pub fn condition(&self, held: u32, now: Stamp, silent_after: Duration) -> Condition {
        if self.wish == Wish::Disabled {
            Condition::Disabled
        } else if now - self.seen > silent_after {
            Condition::Silent
        } else if self.draining || self.wish == Wish::Drain {
            Condition::Draining
        } else if self.ahead_ms.abs() > CLOCK_TOLERANCE_MS {
            Condition::ClockOff { ahead_ms: self.ahead_ms }
        } else {
            Condition::Free { slots: self.slots.saturating_sub(held) }
        }
    }

    /// What it runs, as people read it: `x86_64 s390x (emulated)`.
    #[must_use]
    pub fn arches_in_words(&self) -> String {
        let native = self.arches.iter().map(|arch| arch.as_str().to_owned());
        let emulated = self.emulated.iter().map(|arch| format!("{arch} (emulated)"));
        native.chain(emulated).collect::<Vec<_>>().join(" ")
    }

    /// Does it run this architecture, and how?
    #[must_use]
    pub fn runs(&self, arch: Arch) -> Option<Running> {
        if self.arches.contains(&arch) {
            Some(Running::Native)
        } else if self.emulated.contains(&arch) {
            Some(Running::Emulated)
        } else {
            None
        }
    }
}

/// How a builder runs an architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Running {
    /// On its own processor.
    Native,
    /// Under qemu-user, many times slower.
    Emulated,
}

/// Says that nobody builds for an architecture, and why: `None` as soon as one builder can, be it busy or not.
/// A builder counts when it carries all of `labels` and has the memory and disk of `limits`; after `silent_after` without a
/// report it is taken for gone.
#[must_use]
pub fn nobody_builds(
    arch: Arch,
    labels: &BTreeSet<String>,
    limits: &Limits,
    builders: &[Builder],
    now: Stamp,
    silent_after: Duration,
) -> Option<String> {
    let kind = match labels.iter().map(String::as_str).collect::<Vec<_>>().join(" and ") {
        none if none.is_empty() => format!("{arch} builder"),
        labels => format!("{arch} builder labelled {labels}"),
    };
    let able: Vec<(&Builder, Condition)> = builders
        .iter()
        .filter(|builder| builder.runs(arch).is_some() && labels.is_subset(&builder.labels))
        .map(|builder| (builder, builder.condition(0, now, silent_after)))
        .collect();
    let fits = |builder: &Builder| {
        // One that has not said what it has may have enough.
        (builder.memory_mb == 0 || builder.memory_mb >= limits.memory_mb)
            && (builder.disk_mb == 0 || builder.disk_mb >= limits.disk_mb)
    };
    if able.iter().any(|(builder, condition)| matches!(condition, Condition::Free { .. }) && fits(builder)) {
        return None;
    }
    if let Some((largest, _)) = able
        .iter()
        .filter(|(_, condition)| matches!(condition, Condition::Free { .. }))
        .max_by_key(|(builder, _)| (builder.memory_mb, builder.disk_mb))
    {
        let Limits { memory_mb, disk_mb, .. } = limits;
        return Some(format!(
            "no {kind} has {memory_mb} MiB of memory and {disk_mb} MiB of disk for one job; the largest, {}, has {} and {}",
            largest.name, largest.memory_mb, largest.disk_mb
        ));
    }
    let Some(last_seen) = able.iter().map(|(builder, _)| builder.seen).max() else {
        return Some(format!("no {kind} has ever joined"));
    };
    if able.iter().all(|(_, condition)| *condition == Condition::Silent) {
        return Some(format!("no {kind} has been seen for {}", span(now - last_seen)));
    }
    let away = |(builder, condition): &(&Builder, Condition)| condition.away(now - builder.seen);
    Some(match &able[..] {
        [only] => format!("the only {kind}, {}, {}", only.0.name, away(only)),
        several => {
            let said: Vec<_> = several.iter().map(|one| format!("{} {}", one.0.name, away(one))).collect();
            format!("no {kind} takes work: {}", said.join(", "))
        }
    })
}

/// Architectures in the order in which work that may be done on any of them is best done: where a builder that is here
/// runs them natively, then where one emulates them, then the others; otherwise in the order given.
#[must_use]
pub fn easiest_first(arches: &[Arch], builders: &[Builder], now: Stamp, silent_after: Duration) -> Vec<Arch> {
    let here = |builder: &&Builder| matches!(builder.condition(0, now, silent_after), Condition::Free { .. });
    let effort = |arch: &Arch| {
        let how = builders.iter().filter(here).filter_map(|builder| builder.runs(*arch));
        how.map(|how| match how {
            Running::Native => 0,
            Running::Emulated => 1,
        })
        .min()
        .unwrap_or(2)
    };
    let mut sorted = arches.to_vec();
    sorted.sort_by_key(effort);
    sorted
}

impl Condition {
    /// Why it takes nothing, as the rest of a sentence about a builder last heard of so long ago.
    fn away(self, unseen: Duration) -> String {
        match self {
            Condition::Free { .. } => "is here".to_owned(),
            Condition::Draining => "is draining".to_owned(),
            Condition::Disabled => "is disabled".to_owned(),
            Condition::Silent => format!("has not been seen for {}", span(unseen)),
            Condition::ClockOff { ahead_ms } => {
                let off = span(Duration::from_millis(ahead_ms.unsigned_abs()));
                format!("has a clock that is {off} {}", if ahead_ms < 0 { "behind" } else { "ahead" })
            }
        }
    }
}
