//! The schedulers of the simulated farm: real ticks, cut short by death.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, resume_unwind};

use farm::ids::JobId;
use farm::job::Job;
use futures_util::FutureExt as _;
use scheduler::tick;

use crate::builder::after;
use crate::order::{Order, rooms};
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

    /// A tick has ended well.
    async fn check_tick(&mut self, before: &BTreeMap<JobId, Job>) {
        self.look().await;
        let mut tx = self.parts.db.read().await.unwrap();
        let builders = tx.builders().await.unwrap();
        let (half_life, charge) = (self.config.patience.usage_half_life(), self.config.dispatch.charge_ms);
        let loads = tx.loads(self.now, half_life, charge).await.unwrap();
        drop(tx);
        let jobs = self.watch.jobs();
        let rooms = rooms(jobs, &builders, &self.config, self.now);
        let (config, now) = (&self.config, self.now);
        let order = Order { before, jobs, builders: &builders, loads: &loads, config, now, rooms };
        self.tally.emulated += order.check();
        if self.is_in_the_wake_of_an_outage() {
            assert_eq!(order.fell_silent(), None, "nobody could hear its beats");
        }
    }
}
