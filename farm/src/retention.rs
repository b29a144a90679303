//! How long a snapshot can be fetched that is not shown any more.

use std::time::Duration;

use crate::ids::SnapshotId;
use crate::stamp::Stamp;

/// What is known of a snapshot in a tree of repos.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// It.
    pub id: SnapshotId,
    /// It is what a repo shows, or something that is not settled names it.
    pub is_needed: bool,
    /// When the ledger put another one in its place; `None` when it was never shown, or no ledger knows.
    pub replaced: Option<Stamp>,
    /// When the disk showed it last, or when it was made.
    pub touched: Stamp,
}

impl Held {
    /// May it be removed? Clients act on metadata they have for `keep`, and the disk may have shown it for longer than the
    /// ledger says: the latest of all times counts. A time that is still to come, because a clock went back, is recent.
    #[must_use]
    pub fn may_go(&self, keep: Duration, now: Stamp) -> bool {
        let latest = self.id.minted().max(self.touched).max(self.replaced.unwrap_or(Stamp::ZERO));
        !self.is_needed && now - latest > keep
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Minter;

    #[test]
    fn only_what_nobody_needs_and_nobody_saw_for_long_may_go() {
        const KEEP: Duration = Duration::from_millis(100);
        let now = Stamp::from_millis(1_000);
        let cases = [
            // minted, replaced, touched, needed, may go
            (0, Some(899), 899, false, true),
            (0, Some(900), 0, false, false),
            (0, Some(0), 900, false, false),
            (900, Some(0), 0, false, false),
            (0, None, 0, false, true),
            (0, None, 950, false, false),
            (0, Some(0), 0, true, false),
            (0, None, 0, true, false),
            // The clock went back.
            (5_000, None, 0, false, false),
            (0, Some(5_000), 0, false, false),
            (0, Some(0), 5_000, false, false),
        ];
        for (minted, replaced, touched, is_needed, may_go) in cases {
            let id = Minter::new(1).mint(Stamp::from_millis(minted));
            let (replaced, touched) = (replaced.map(Stamp::from_millis), Stamp::from_millis(touched));
            let held = Held { id, is_needed, replaced, touched };
            assert_eq!(held.may_go(KEEP, now), may_go, "{held:?}");
        }
    }
}
