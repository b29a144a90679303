//! Keeps the log readable while something is away: a fault is told once when it begins and once when it is over.

use std::time::Duration;

/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// A fault that may pass.
#[derive(Debug)]
pub(crate) struct Trouble {
    what: &'static str,
    failures: u32,
}

impl Trouble {
    /// No trouble yet with this.
    pub(crate) fn none_with(what: &'static str) -> Self {
        Self { what, failures: 0 }
    }

    /// Takes in how a try ended; gives what it gave.
    pub(crate) fn note<T>(&mut self, tried: anyhow::Result<T>) -> Option<T> {
        match tried {
            Ok(value) => {
                if self.failures > 0 {
                    tracing::info!(failures = self.failures, "{} works again", self.what);
                }
                self.failures = 0;
                Some(value)
            }
            Err(error) => {
                if self.failures == 0 {
                    tracing::error!(error = format!("{error:#}"), "{} fails; it is tried again", self.what);
                } else {
                    tracing::debug!(error = format!("{error:#}"), "{} still fails", self.what);
                }
                self.failures = self.failures.saturating_add(1);
                None
            }
        }
    }

    /// How long to wait before the next try: doubled with each failure, `None` while all is well.
    pub(crate) fn pause(&self, first: Duration) -> Option<Duration> {
        let doublings = self.failures.checked_sub(1)?.min(10);
        Some(first.saturating_mul(1 << doublings).min(LONGEST_PAUSE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_end_with_the_trouble() {
        let first = Duration::from_millis(500);
        let mut trouble = Trouble::none_with("a test");
        assert_eq!(trouble.pause(first), None);
        let mut pauses = Vec::new();
        for _ in 0..30 {
            assert_eq!(trouble.note::<()>(Err(anyhow::anyhow!("away"))), None);
            pauses.extend(trouble.pause(first));
        }
        assert_eq!(pauses[..3], [first, first * 2, first * 4]);
        assert_eq!(pauses[29], LONGEST_PAUSE);
        assert_eq!(trouble.note(Ok(7)), Some(7));
        assert_eq!(trouble.pause(first), None);
    }
}
