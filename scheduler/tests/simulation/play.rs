//! What happens in the simulated farm, one step of virtual time after the other.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use farm::digest::Digest;
use farm::job::{Effect, Event};
use farm::message::Presence;
use farm::outcome::Outcome;

use crate::builder::after;
use crate::hub::{Answer, call};
use crate::jobs::job;
use crate::world::{Letter, SETTLED, TROUBLED, World};

/// What a future gives if it is ready now.
fn ready<T>(future: impl Future<Output = T>) -> Option<T> {
    // Outside tokio's budget, which would let a full queue seem empty now and then.
    let future = pin!(tokio::task::unconstrained(future));
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

impl World {
    pub(crate) fn is_troubled(&self) -> bool {
        *self.troubled.lock().unwrap()
    }

    pub(crate) fn hub_is_away(&self) -> bool {
        self.outage.is_some_and(|(from, to)| self.now >= from && self.now < to)
    }

    /// From when an outage must have been noticed until builders have had a lease's length to be heard again.
    pub(crate) fn is_in_the_wake_of_an_outage(&self) -> bool {
        let ms = |ms: u64| i64::try_from(ms).unwrap();
        self.outage.is_some_and(|(from, to)| {
            self.now > after(from, ms(self.config.hub_gap_ms))
                && self.now < after(to, ms(self.config.patience.lease_ms))
        })
    }

    /// Plays until everything is settled.
    pub(crate) async fn play(&mut self) {
        while self.is_troubled() || !self.to_come.is_empty() || !self.watch.is_settled() {
            self.step().await;
            let waited = self.now.millis() - self.start.millis();
            assert!(waited < TROUBLED + SETTLED, "some jobs are never settled: {:#?}", self.watch.jobs());
        }
        self.watch.closed();
        let mut tx = self.parts.db.read().await.unwrap();
        assert_eq!(tx.held_by_builder().await.unwrap(), BTreeMap::new());
        drop(tx);
        self.parts.db.close().await;
        for job in self.watch.jobs().values() {
            self.tally.jobs += 1;
            match job.outcome() {
                Some(Outcome::Passed) => self.tally.passed += 1,
                Some(Outcome::Cancelled { .. }) => self.tally.cancelled += 1,
                Some(Outcome::Lost { .. }) => self.tally.lost += 1,
                Some(Outcome::FailedByPackage { .. } | Outcome::FailedByFarm { .. }) | None => {}
            }
        }
        self.tally.virtual_minutes = (self.now - self.start).as_secs() / 60;
    }

    async fn step(&mut self) {
        self.now = after(self.now, self.dice.between(500, 6_000));
        if self.now >= after(self.start, TROUBLED) && self.is_troubled() {
            *self.troubled.lock().unwrap() = false;
            for builder in &mut self.builders {
                builder.absent = builder.absent.map(|(_, forgets)| (self.now, forgets));
            }
        }
        self.arrive().await;
        if !self.hub_is_away() {
            let gap = Duration::from_millis(self.config.hub_gap_ms);
            let mut tx = self.parts.db.write().await.unwrap();
            tx.pulse(self.now, gap).await.unwrap();
            tx.commit().await.unwrap();
        }
        if self.is_troubled() {
            self.befall().await;
        }
        self.look().await;
        let first = self.dice.roll() % 3;
        for turn in 0..3 {
            match (first + turn) % 3 {
                0 => self.deliver().await,
                1 => self.work().await,
                _ => self.schedule().await,
            }
        }
    }

    pub(crate) async fn look(&mut self) {
        if !std::mem::take(&mut self.changed) {
            return;
        }
        let jobs = self.parts.db.read().await.unwrap().jobs_of(self.request).await.unwrap();
        self.watch.look(jobs, &self.builders, &self.config.patience);
    }

    /// Jobs whose time has come enter the backlog.
    async fn arrive(&mut self) {
        if self.to_come.iter().all(|(at, _)| *at > self.now) {
            return;
        }
        let mut tx = self.parts.db.write().await.unwrap();
        for (_, sig) in self.to_come.extract_if(.., |(at, _)| *at <= self.now) {
            let job = job(&mut self.minter, &self.dice, self.request, sig, self.now);
            tx.insert_job(&job).await.unwrap();
            self.changed = true;
        }
        tx.commit().await.unwrap();
    }

    /// A builder fails, or somebody cancels a job.
    async fn befall(&mut self) {
        for builder in &mut self.builders {
            if builder.absent.is_none() && self.dice.chance(3) {
                let until = after(self.now, self.dice.between(2_000, 70_000));
                builder.absent = Some((until, self.dice.chance(50)));
                self.tally.builders_failed += 1;
            }
        }
        if self.dice.chance(2) && !self.is_in_the_wake_of_an_outage() && !self.hub_is_away() {
            // Longer than the gap that is noticed.
            self.outage = Some((self.now, after(self.now, self.dice.between(25_000, 60_000))));
            self.tally.outages += 1;
        }
        let jobs: Vec<_> = self.watch.jobs().keys().copied().collect();
        if self.dice.chance(5) && !jobs.is_empty() {
            let chosen = jobs[usize::try_from(self.dice.roll()).unwrap() % jobs.len()];
            let by = "alice".to_owned();
            let cancel = Event::Cancel { by: by.clone() };
            let (patience, dice) = (&self.config.patience, Some(&self.dice));
            let away = self.hub_is_away();
            let called = call(&self.parts.db, chosen, cancel, self.now, patience, dice, away).await;
            self.changed |= called.written.is_some();
            if let Some(job) = called.written {
                self.watch.cancel(&job, &by);
            }
        }
    }

    fn post(&mut self, letter: Letter) {
        let late = self.is_troubled() && self.dice.chance(20);
        let delay = if late { self.dice.between(1_000, 25_000) } else { self.dice.between(0, 200) };
        self.letters += 1;
        self.mail.insert((after(self.now, delay), self.letters), letter);
    }

    /// A builder calls the hub: the call may be lost, late, or made twice.
    fn call_in(&mut self, presence: &Presence) {
        let copies = match (self.is_troubled(), self.dice.roll() % 100) {
            (true, 0..20) => 0,
            (true, 20..30) => 2,
            (true, _) | (false, _) => 1,
        };
        for _ in 0..copies {
            self.post(Letter::Presence(presence.clone()));
        }
    }

    /// Takes everything off the bus.
    pub(crate) fn collect(&mut self) {
        for builder in 0..self.queues.len() {
            while let Some(delivery) = ready(self.queues[builder].next()) {
                let offer = ready(delivery.settled()).expect("nobody needs to be waited for");
                self.post(Letter::Offer(builder, Box::new(offer)));
            }
        }
        while let Some(stop) = ready(self.stops.next()) {
            for builder in 0..self.builders.len() {
                self.post(Letter::Stop(builder, stop));
            }
        }
    }

    async fn deliver(&mut self) {
        let later = self.mail.split_off(&(self.now, u64::MAX));
        for letter in std::mem::replace(&mut self.mail, later).into_values() {
            match letter {
                Letter::Offer(builder, offer) => {
                    if self.builders[builder].is_here(self.now) {
                        self.builders[builder].take(&offer, &self.dice, self.now);
                    }
                }
                Letter::Stop(builder, stop) => {
                    if self.builders[builder].is_here(self.now) {
                        self.builders[builder].hear(stop, self.now);
                    }
                }
                Letter::Presence(_) if self.hub_is_away() => {}
                Letter::Presence(presence) => {
                    // What was sent at one moment is taken in at another: the clocks of the simulation agree.
                    let presence = Presence { clock: self.now, ..presence };
                    let silent = Duration::from_millis(self.config.silent_ms);
                    let mut tx = self.parts.db.write().await.unwrap();
                    let secret = Digest::of(presence.builder.as_bytes());
                    if tx.builder(&presence.builder).await.unwrap().is_none() {
                        tx.admit_builder(&presence.builder, &secret).await.unwrap();
                    }
                    let reported =
                        tx.report(presence, &secret, self.now, silent, &self.config.patience).await;
                    let reported = reported.unwrap().unwrap();
                    tx.commit().await.unwrap();
                    self.tally.forgotten += reported.forgotten.len() as u64;
                    self.changed |= !reported.forgotten.is_empty();
                }
            }
        }
    }

    /// Every builder that is here does what is due.
    async fn work(&mut self) {
        for index in 0..self.builders.len() {
            if !self.builders[index].is_here(self.now) {
                continue;
            }
            if let Some(presence) = self.builders[index].presence(self.now) {
                self.call_in(&presence);
            }
            let mut attempts = std::mem::take(&mut self.builders[index].attempts);
            let mut kept = Vec::new();
            for mut attempt in attempts.drain(..) {
                if self.converse(index, &mut attempt).await {
                    kept.push(attempt);
                }
            }
            self.builders[index].attempts = kept;
        }
        self.collect();
        self.look().await;
    }

    /// One call of one attempt. `false` when the attempt is over.
    async fn converse(&mut self, builder: usize, attempt: &mut crate::builder::Attempt) -> bool {
        let troubled = self.is_troubled();
        let Some(event) = attempt.says(&self.builders[builder].name, &self.dice, self.now) else {
            return true;
        };
        let faults = troubled.then_some(&self.dice);
        let (patience, away) = (&self.config.patience, self.hub_is_away());
        let called = call(&self.parts.db, attempt.job, event.clone(), self.now, patience, faults, away).await;
        self.changed |= called.written.is_some();
        if let (Event::Finish { turn, outcome, .. }, Some(job)) = (&event, &called.written) {
            self.watch.finish(job, *turn, outcome.clone());
        }
        match called.answer {
            Answer::Done(effect) => {
                if let (Event::Claim { .. } | Event::Beat { .. }, Some(job)) = (&event, &called.written) {
                    assert!(job.admits(attempt.turn, &attempt.token), "a yes to {attempt:?}, and {job:?}");
                }
                attempt.hears_yes(matches!(effect, Some(Effect::Stop { .. })), &self.dice, self.now)
            }
            Answer::Refused => {
                match event {
                    Event::Finish { .. } => self.tally.stale_finishes += 1,
                    Event::Claim { .. } => self.tally.refused_claims += 1,
                    Event::Offer { .. }
                    | Event::Beat { .. }
                    | Event::Lapse
                    | Event::Forgotten { .. }
                    | Event::ShutOut { .. }
                    | Event::Cancel { .. } => {}
                }
                attempt.hears_no(&self.dice, self.now, troubled)
            }
            Answer::Silence => attempt.hears_nothing(self.now),
        }
    }
}
