//! How promotions stand: how many there are, how many cannot go on, and for how long the oldest is on its way.

use farm::ledger::Tx;
use farm::promotion::Promotion;
use farm::sig::Community;
use farm::stamp::Stamp;

use super::standing::Page;
use crate::problem::Answer;
use crate::promotions::{needs_word, trouble};
use crate::state::Hub;

/// What the figures are made of.
#[derive(Default)]
pub(super) struct Promotions {
    open: usize,
    stuck: usize,
    /// Since when the oldest of those is on its way that do not wait for a person.
    oldest: Option<Stamp>,
}

impl Promotions {
    pub(super) async fn read(hub: &Hub, tx: &mut Tx, community: &Community) -> Answer<Promotions> {
        let mut promotions = Promotions::default();
        for promotion in tx.unsettled_promotions().await? {
            let is_stuck = trouble(hub, tx, community, &promotion).await?.is_some();
            promotions.count(&promotion, is_stuck, needs_word(community, &promotion));
        }
        Ok(promotions)
    }

    fn count(&mut self, promotion: &Promotion, is_stuck: bool, needs_word: bool) {
        self.open += 1;
        self.stuck += usize::from(is_stuck);
        if !needs_word {
            // What it waited for a person's word is not the farm's time.
            let said = promotion.approvals.iter().map(|approval| approval.at).max();
            let since = said.map_or(promotion.created, |said| said.max(promotion.created));
            self.oldest = Some(self.oldest.map_or(since, |oldest| oldest.min(since)));
        }
    }

    pub(super) fn tell(&self, page: &mut Page, now: Stamp) {
        page.family("grange_promotions_open", "Promotions that are not settled");
        page.figure(&[], self.open);
        page.family("grange_promotions_stuck", "Promotions that the hub cannot take on now, and tries again");
        page.figure(&[], self.stuck);
        page.family(
            "grange_promotions_age_seconds",
            "For how long the oldest promotion is on its way that does not wait for a person",
        );
        page.figure(&[], self.oldest.map_or(0, |oldest| (now - oldest).as_secs()));
    }
}

#[cfg(test)]
mod tests {
    use farm::ids::{Minter, PromotionId};
    use farm::promotion::{Approval, Course, PromotionState};
    use farm::sig::Stage;

    use super::*;

    #[test]
    fn what_waits_for_a_person_is_not_old_and_what_has_its_word_is_as_old_as_that() {
        let at = |seconds: i64| Stamp::from_millis(seconds * 1_000);
        let promotion = |created: i64, approved: Option<i64>| Promotion {
            id: Minter::new(1).mint::<PromotionId>(at(created)),
            sig: "demo".to_owned(),
            target: "demo9s-hello-1-el9s".to_owned(),
            to: Stage::Release,
            builds: Vec::new(),
            nvrs: Vec::new(),
            remove: Vec::new(),
            stack: None,
            brings: None,
            course: Course::Forward,
            confirmed: false,
            by: "ada".to_owned(),
            approvals: approved
                .map(|seconds| Approval { by: "rex".to_owned(), at: at(seconds) })
                .into_iter()
                .collect(),
            suites: Default::default(),
            base: None,
            created: at(created),
            state: PromotionState::Composing,
        };
        let mut promotions = Promotions::default();
        promotions.count(&promotion(10, None), false, true);
        promotions.count(&promotion(20, Some(900)), true, false);
        promotions.count(&promotion(950, None), false, false);
        let mut page = Page::default();
        promotions.tell(&mut page, at(1_000));
        let figures: Vec<&str> = page.text().lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            figures,
            ["grange_promotions_open 3", "grange_promotions_stuck 1", "grange_promotions_age_seconds 100"]
        );
    }
}
