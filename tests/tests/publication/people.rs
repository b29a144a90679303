//! What people do: release managers who promote, approve, waive, take back, withdraw and go back, whatever comes of it.

use std::sync::Arc;
use std::time::Duration;

use farm::api::{NewPromotion, NewRollback, NewWaiver, NewWithdrawal};
use farm::gate::{CLOSURE, Waiver, WaiverScope};
use farm::ids::PromotionId;
use farm::ledger::{BuildFilter, Person, PromotionFilter};
use farm::promotion::{Course, Promotion, PromotionState};
use farm::sig::Stage;
use farm::snapshot::Snapshot;
use farm::stamp::Stamp;
use hub::promotions;

use crate::world::{RELEASE, TARGET, TESTING, World};

/// A release manager.
pub(crate) fn rex() -> Person {
    Person { name: "rex".into(), admin: false, created: Stamp::ZERO }
}

/// Another one.
pub(crate) fn rita() -> Person {
    Person { name: "rita".into(), admin: false, created: Stamp::ZERO }
}

/// What a person asks for who names builds and nothing else.
pub(crate) fn promotion_of(nvrs: Vec<String>, to: Stage) -> NewPromotion {
    NewPromotion { nvrs, to, target: None, stack: None, remove: Vec::new(), confirm: false }
}

const REASON: &str = "somebody in a simulation wants it so";

impl World {
    /// A release manager promotes what is in testing, or any build, whatever became of its tests: one, several, the stack, or a
    /// package that is to go.
    pub(crate) async fn promote(&mut self) {
        let mut tx = self.db.read().await.unwrap();
        let filter = BuildFilter { limit: 50, ..Default::default() };
        let any: Vec<String> =
            tx.builds(&filter).await.unwrap().into_iter().map(|build| build.nvr.to_string()).collect();
        let tested = tx.live(TESTING).await.unwrap();
        let shown = tx.live(RELEASE).await.unwrap();
        drop(tx);
        let members = |snapshot: Option<Arc<Snapshot>>| {
            snapshot.iter().flat_map(|snapshot| snapshot.members.clone()).collect::<Vec<_>>()
        };
        let tested: Vec<String> = members(tested).into_iter().map(|member| member.nvr).collect();
        let to = if self.dice.roll(6) == 0 { Stage::Testing } else { Stage::Release };
        let confirm = self.dice.roll(2) == 0;
        let new = match self.dice.roll(8) {
            0 => NewPromotion {
                stack: Some("basket".into()),
                target: Some(TARGET.into()),
                confirm,
                ..promotion_of(Vec::new(), to)
            },
            1 => {
                let packages: Vec<String> = members(shown).into_iter().map(|member| member.package).collect();
                let Some(package) = self.dice.pick(&packages) else { return };
                NewPromotion {
                    remove: vec![package],
                    target: Some(TARGET.into()),
                    confirm: true,
                    ..promotion_of(Vec::new(), Stage::Release)
                }
            }
            2 | 3 => promotion_of(tested, to),
            _ => {
                let from = if self.dice.roll(4) == 0 || tested.is_empty() { any } else { tested };
                let Some(nvr) = self.dice.pick(&from) else { return };
                promotion_of(vec![nvr], to)
            }
        };
        let person = if self.dice.roll(4) == 0 { rita() } else { rex() };
        let _refused_or_not = promotions::open(&self.first.hub, &person, new).await;
    }

    /// One release manager agrees to a promotion that is under way, or both do.
    pub(crate) async fn approve(&mut self) {
        let Some(promotion) = self.some_promotion(true).await else { return };
        let people = if self.dice.roll(2) == 0 { vec![rita()] } else { vec![rex(), rita()] };
        for person in people {
            let _refused_or_not = promotions::approve(&self.first.hub, &person, promotion.id).await;
        }
    }

    /// Both release managers agree to everything.
    pub(crate) async fn approve_all(&self) {
        let open = self.db.read().await.unwrap().unsettled_promotions().await.unwrap();
        for promotion in open {
            for person in [rex(), rita()] {
                let _refused_or_not = promotions::approve(&self.first.hub, &person, promotion.id).await;
            }
        }
    }

    /// A release manager waives a result. What was refused for want of it is asked for again.
    pub(crate) async fn waive(&mut self) {
        let Some(promotion) = self.waivable().await else { return };
        let new = NewWaiver {
            suite: self.some_suite(),
            arch: None,
            on: None,
            nvr: if self.dice.roll(4) == 0 { None } else { self.dice.pick(&promotion.nvrs) },
            reason: REASON.into(),
            days: 1,
        };
        if promotions::waive(&self.first.hub, &rex(), promotion.id, new).await.is_ok() {
            self.tally.count("gave a waiver");
            self.ask_again(promotion).await;
        }
    }

    /// A waiver that ends in a moment. People cannot give such a short one, so it is put into the ledger as if its days were over.
    pub(crate) async fn waive_for_a_moment(&mut self) {
        let Some(promotion) = self.waivable().await else { return };
        let (Some(build), Some(nvr)) = (promotion.builds.first(), promotion.nvrs.first()) else { return };
        let now = self.first.hub.now();
        let waiver = Waiver {
            id: self.first.hub.mint(),
            target: TARGET.into(),
            suite: self.some_suite(),
            arch: None,
            on: None,
            scope: WaiverScope::Build { build: *build, nvr: nvr.clone() },
            by: "rex".into(),
            reason: REASON.into(),
            made: now,
            until: now + Duration::from_millis(1 << (4 + self.dice.roll(8))),
            revoked: None,
        };
        let mut tx = self.db.write().await.unwrap();
        tx.insert_waiver(&waiver).await.unwrap();
        tx.commit().await.unwrap();
        self.tally.count("gave a fleeting waiver");
        self.ask_again(promotion).await;
    }

    async fn ask_again(&mut self, promotion: Promotion) {
        if matches!(promotion.state, PromotionState::Rejected { .. }) {
            let new = promotion_of(promotion.nvrs, promotion.to);
            let _refused_or_not = promotions::open(&self.first.hub, &rex(), new).await;
        }
    }

    /// A waiver is taken back.
    pub(crate) async fn revoke(&mut self) {
        let waivers = self.db.read().await.unwrap().waivers(TARGET).await.unwrap();
        let Some(waiver) = self.dice.pick(&waivers) else { return };
        let revoked = promotions::revoke(&self.first.hub, &rex(), waiver.id).await;
        self.tally.count_if(revoked.is_ok(), "took a waiver back");
    }

    /// A promotion is taken back.
    pub(crate) async fn withdraw(&mut self) {
        let Some(promotion) = self.some_promotion(true).await else { return };
        let withdrawn = promotions::withdraw(&self.first.hub, &rex(), promotion.id).await;
        self.tally.count_if(withdrawn.is_ok(), "withdrew a promotion");
    }

    /// A build is withdrawn for good: one that is on its way, or any.
    pub(crate) async fn withdraw_build(&mut self) {
        let is_open = self.dice.roll(3) > 0;
        let promotion = self.some_promotion(is_open).await;
        let Some(nvr) = promotion.and_then(|promotion| self.dice.pick(&promotion.nvrs)) else { return };
        let new = NewWithdrawal { nvr, reason: REASON.into() };
        let withdrawn = promotions::withdraw_build(&self.first.hub, &rex(), new).await;
        self.tally.count_if(withdrawn.is_ok(), "withdrew a build");
    }

    /// A build is withdrawn that the gate has let through, and that is not published yet.
    pub(crate) async fn withdraw_approved(&mut self) {
        let open = self.db.read().await.unwrap().unsettled_of(TARGET).await.unwrap();
        let approved = open.into_iter().filter(|one| matches!(one.state, PromotionState::Approved { .. }));
        let nvrs: Vec<String> = approved.flat_map(|promotion| promotion.nvrs).collect();
        let Some(nvr) = self.dice.pick(&nvrs) else { return };
        let new = NewWithdrawal { nvr, reason: REASON.into() };
        let withdrawn = promotions::withdraw_build(&self.first.hub, &rex(), new).await;
        self.tally.count_if(withdrawn.is_ok(), "withdrew a build");
    }

    /// Everything that is in testing is released, as the stack that it is.
    pub(crate) async fn release_all(&self) {
        let new = NewPromotion {
            stack: Some("basket".into()),
            target: Some(TARGET.into()),
            ..promotion_of(Vec::new(), Stage::Release)
        };
        promotions::open(&self.first.hub, &rex(), new).await.unwrap();
    }

    /// A repo goes back to what it showed before, or to any revision.
    pub(crate) async fn roll_back(&mut self) {
        let tag = self.dice.pick(&[TESTING, RELEASE]).unwrap();
        let history = self.db.read().await.unwrap().publications(tag, 100).await.unwrap();
        let some = self.dice.pick(&history).map(|publication| publication.revision);
        let new = NewRollback {
            tag: tag.to_owned(),
            revision: if self.dice.roll(2) == 0 { None } else { some },
            reason: REASON.into(),
            confirm: self.dice.roll(2) == 0,
        };
        let _refused_or_not = promotions::rollback(&self.first.hub, &rex(), new).await;
    }

    fn some_suite(&mut self) -> String {
        self.dice.pick(&["installs", "installs", "installs", "smoke", CLOSURE]).unwrap().to_owned()
    }

    /// One of the last promotions that a waiver could help.
    async fn waivable(&mut self) -> Option<Promotion> {
        let filter = PromotionFilter { limit: 10, ..Default::default() };
        let mut last = self.db.read().await.unwrap().promotions(&filter).await.unwrap();
        last.retain(|promotion| {
            promotion.course == Course::Forward
                && !matches!(
                    promotion.state,
                    PromotionState::Published { .. } | PromotionState::Withdrawn { .. }
                )
        });
        // Where it helps most: what was refused.
        let refused: Vec<Promotion> =
            last.iter().filter(|one| matches!(one.state, PromotionState::Rejected { .. })).cloned().collect();
        self.dice.pick(if refused.is_empty() { &last } else { &refused })
    }

    /// One of the promotions that are under way, or any.
    async fn some_promotion(&mut self, is_open: bool) -> Option<Promotion> {
        let settled = is_open.then_some(false);
        let filter = PromotionFilter { settled, limit: 20, ..Default::default() };
        let found = self.db.read().await.unwrap().promotions(&filter).await.unwrap();
        self.dice.pick(&found)
    }

    /// What a promotion is now, by its id: to see what becomes of it.
    pub(crate) async fn phases(&self) -> std::collections::BTreeMap<PromotionId, &'static str> {
        let filter = PromotionFilter { limit: 10_000, ..Default::default() };
        let all = self.db.read().await.unwrap().promotions(&filter).await.unwrap();
        all.iter().map(|promotion| (promotion.id, promotion.phase())).collect()
    }
}
