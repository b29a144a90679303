//! What dice seldom give, one after the other and on purpose, in the middle of everything else: a waiver that counts, a release
//! that two people agree to, a package that goes, and the way back from that.

use farm::api::{NewPromotion, NewRollback, NewWaiver};
use farm::ids::PromotionId;
use farm::ledger::PromotionFilter;
use farm::promotion::{Promotion, PromotionState};
use farm::sig::Stage;
use hub::promotions;

use crate::builders::Taste;
use crate::people::{promotion_of, rex};
use crate::policy::Policy;
use crate::world::{RELEASE, TARGET, World};

/// So many steps it takes.
pub(crate) const STEPS: u64 = 4;
/// What happens in them, as it is counted.
pub(crate) const CLAIMS: [&str; 4] = ["waived", "needed two approvers", "removed a package", "went back"];
/// The package that it happens to.
const PACKAGE: &str = "apple";
const REASON: &str = "this story is about it";

impl World {
    /// The next of these steps.
    pub(crate) async fn certain_step(&mut self, number: u64) -> &'static str {
        if number == 0 {
            self.is_well().await;
        }
        let hub = self.first.hub.clone();
        match number {
            0 => {
                self.taste = Taste::Spoilt(PACKAGE);
                self.build_of(PACKAGE).await;
                self.goes_on().await;
                let refused = self.last_of(PACKAGE).await;
                assert_eq!(refused.phase(), "rejected", "{refused:?}");
                let waiver = NewWaiver {
                    suite: "installs".into(),
                    arch: None,
                    on: None,
                    nvr: refused.nvrs.first().cloned(),
                    reason: REASON.into(),
                    days: 1,
                };
                promotions::waive(&hub, &rex(), refused.id, waiver).await.unwrap();
                let again = promotion_of(refused.nvrs, Stage::Testing);
                let again = promotions::open(&hub, &rex(), again).await.unwrap();
                self.is_published(again.id).await;
                self.taste = Taste::Spoilt("no package");
                "a waiver that counts"
            }
            1 => {
                let tested = self.last_of(PACKAGE).await;
                let release = promotion_of(tested.nvrs, Stage::Release);
                let release = promotions::open(&hub, &rex(), release).await.unwrap();
                self.is_published(release.id).await;
                "a release that two agree to"
            }
            2 => {
                let removal = NewPromotion {
                    remove: vec![PACKAGE.into()],
                    target: Some(TARGET.into()),
                    confirm: true,
                    ..promotion_of(Vec::new(), Stage::Release)
                };
                let removal = promotions::open(&hub, &rex(), removal).await.unwrap();
                self.is_published(removal.id).await;
                "a removal"
            }
            _ => {
                let back =
                    NewRollback { tag: RELEASE.into(), revision: None, reason: REASON.into(), confirm: true };
                let back = promotions::rollback(&hub, &rex(), back).await.unwrap();
                self.is_published(back.id).await;
                self.taste = Taste::Dice;
                "the way back from it"
            }
        }
    }

    /// Nothing is under way, broken or waived, and two people must agree.
    async fn is_well(&mut self) {
        self.another_hub().await;
        let waivers = self.db.read().await.unwrap().waivers(TARGET).await.unwrap();
        for waiver in waivers {
            let _was_taken_back_before = promotions::revoke(&self.first.hub, &rex(), waiver.id).await;
        }
        self.move_below();
        self.apply(Policy::of_two()).await;
        self.taste = Taste::Spoilt("no package");
        self.goes_on().await;
    }

    /// The last promotion of a build of this package.
    async fn last_of(&self, package: &str) -> Promotion {
        let nvr = format!("{package}-{}-1", self.version);
        let filter = PromotionFilter { limit: 20, ..Default::default() };
        let last = self.db.read().await.unwrap().promotions(&filter).await.unwrap();
        last.into_iter().find(|promotion| promotion.nvrs == [nvr.clone()]).unwrap()
    }

    async fn is_published(&mut self, id: PromotionId) {
        self.goes_on().await;
        let promotion = self.db.read().await.unwrap().promotion(id).await.unwrap().unwrap();
        assert!(matches!(promotion.state, PromotionState::Published { .. }), "{:?}", promotion.state);
    }
}
