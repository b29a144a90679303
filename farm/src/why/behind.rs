//! A repo that does not show yet what it should.

use super::{Why, WhyCode};

/// A repo of the farm's own whose tag holds more than it shows, and that something waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoBehind {
    /// Its tag.
    pub tag: String,
    /// What went wrong when it was to be composed, if that failed last time.
    pub trouble: Option<String>,
}

impl RepoBehind {
    /// For people, of whatever waits: `waits until the repo storage9s-gluster-11-candidate shows what was built last`.
    #[must_use]
    pub fn phrase(&self) -> String {
        let waits = format!("waits until the repo {} shows what was built last", self.tag);
        match &self.trouble {
            Some(trouble) => {
                format!("{waits}, and that cannot go on: {trouble}; it is tried again and again")
            }
            None => waits,
        }
    }

    /// Why `subject`, which waits for it, is not moving.
    pub(super) fn why(&self, subject: &str) -> Why {
        let code = if self.trouble.is_some() { WhyCode::BackingOff } else { WhyCode::WaitingForRepo };
        Why::new(code, format!("{subject} {}", self.phrase())).root(format!("tag {}", self.tag))
    }
}
