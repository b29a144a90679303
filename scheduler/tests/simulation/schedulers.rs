//! The schedulers of the simulated farm: real ticks, cut short by death.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::time::Duration;

use farm::builder::Condition;
use farm::stamp::Stamp;
use futures_util::FutureExt as _;
use scheduler::tick;

use crate::builder::after;
use crate::world::{Died, World, may_die};

impl World {
    /// Two schedulers, each of which may die within its tick.
    pub(crate) async fn schedule(&mut self) {
        for scheduler in 0..self.schedulers_back.len() {
            if self.now < self.schedulers_back[scheduler] || self.dice.chance(30) {
                continue;
            }
            let before = self.watch.jobs().clone();
            let dies = self.is_troubled() && self.dice.chance(20);
            *self.doom.lock().unwrap() = dies.then(|| self.dice.roll() % 5);
            let (doom, dice) = (self.doom.clone(), self.dice.clone());
            let mut secrets = || {
                may_die(&doom);
                dice.secret()
            };
            let ticking = tick(&self.parts, &self.config, self.now, &mut secrets);
            let ticked = AssertUnwindSafe(ticking).catch_unwind().await;
            *self.doom.lock().unwrap() = None;
            self.collect();
            self.changed = !matches!(&ticked, Ok(Ok(ticked)) if ticked.offered + ticked.lapsed == 0);
            match ticked {
                Ok(ticked) => {
                    let ticked = ticked.unwrap();
                    self.tally.ticks += 1;
                    self.tally.offered += ticked.offered as u64;
                    self.tally.lapsed += ticked.lapsed as u64;
                    self.check_tick(&before).await;
                }
                Err(died) if died.is::<Died>() => {
                    self.look().await;
                    self.tally.schedulers_died += 1;
                    self.schedulers_back[scheduler] = after(self.now, self.dice.between(0, 30_000));
                }
                Err(broken) => resume_unwind(broken),
            }
        }
    }

    async fn check_tick(&mut self, before: &BTreeMap<farm::ids::JobId, farm::job::Job>) {
        self.look().await;
        let reports = self.parts.db.read().await.unwrap().builders().await.unwrap();
        let (now, silent): (Stamp, _) = (self.now, Duration::from_millis(self.config.silent_ms));
        self.watch.ticked(before, now, &self.builders, |builder, held| {
            let held = u32::try_from(held).unwrap();
            let report = reports.iter().find(|report| report.name == builder.name);
            match report.map(|report| report.condition(held, now, silent)) {
                Some(Condition::Free { slots }) => slots,
                Some(Condition::Draining | Condition::Silent) | None => 0,
            }
        });
    }
}
