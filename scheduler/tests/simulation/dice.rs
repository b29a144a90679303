//! Chance, as the seed has it.

use std::sync::{Arc, Mutex};

/// A SplitMix64 stream; clones draw from the same one.
#[derive(Debug, Clone)]
pub(crate) struct Dice(Arc<Mutex<u64>>);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(seed)))
    }

    pub(crate) fn roll(&self) -> u64 {
        let mut state = self.0.lock().unwrap();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// At least `low`, less than `high`.
    pub(crate) fn between(&self, low: i64, high: i64) -> i64 {
        let span = u64::try_from(high - low).unwrap();
        low + i64::try_from(self.roll() % span).unwrap()
    }

    pub(crate) fn chance(&self, percent: u64) -> bool {
        self.roll() % 100 < percent
    }

    pub(crate) fn secret(&self) -> String {
        (0..4).map(|_| format!("{:016x}", self.roll())).collect()
    }
}
