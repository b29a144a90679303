//! What SIGs have used lately, and what they hold now.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Candidate;
use crate::arch::Arch;
use crate::job::Class;
use crate::sig::Share;

/// What dispatch weighs SIGs by.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Loads {
    /// Milliseconds of machine time each SIG has used on each architecture for each class: what ended attempts took,
    /// decayed to now, and for each job that holds a slot what it has taken so far, or the charge if that is more.
    pub used_ms: BTreeMap<(String, Arch, Class), u64>,
    /// How many jobs each SIG has offered or at work on each architecture.
    pub held: BTreeMap<(String, Arch), u32>,
    /// Each SIG's share; one that is not named has the usual one.
    pub shares: BTreeMap<String, Share>,
}

impl Loads {
    /// Takes in that a job was offered just now.
    pub fn charge(&mut self, job: &Candidate, charge_ms: u64) {
        *self.used_ms.entry((job.sig.clone(), job.arch, job.class)).or_default() += charge_ms;
        *self.held.entry((job.sig.clone(), job.arch)).or_default() += 1;
    }

    /// A SIG's share.
    #[must_use]
    pub fn share(&self, sig: &str) -> Share {
        self.shares.get(sig).copied().unwrap_or_default()
    }
}

/// What is left of `ms` after a time, when half is left after each half-life. Never decays when that is zero.
#[must_use]
pub fn decayed(ms: u64, after: Duration, half_life: Duration) -> u64 {
    if half_life.is_zero() || after.is_zero() {
        return ms;
    }
    let halves = after.as_secs_f64() / half_life.as_secs_f64();
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "machine time of a century fits with room to spare, and is not negative"
    )]
    let left = (ms as f64 * (-halves).exp2()).round() as u64;
    left.min(ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_is_left_after_a_half_life() {
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        assert_eq!(decayed(1_000, hours(0), hours(6)), 1_000);
        assert_eq!(decayed(1_000, hours(6), hours(6)), 500);
        assert_eq!(decayed(1_000, hours(18), hours(6)), 125);
        assert_eq!(decayed(1_000, hours(6_000), hours(6)), 0);
        assert_eq!(decayed(1_000, hours(6), Duration::ZERO), 1_000);
    }
}
