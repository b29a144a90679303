//! Tells changes of state to the outside: each at least once, those of one thing in order, by one process at a time.
//!
//! A change is noted in the ledger by the transaction that makes it and forgotten here only once the bus answers for it.
//! Who is killed between the two tells it again, under the same id.

use std::time::Duration;

use anyhow::Context as _;
use farm::ids::EventId;
use farm::stamp::Stamp;

use crate::Parts;

/// The duty that who tells changes holds.
const DUTY: &str = "outbox";
/// How long it is taken for. Another takes over this long after its holder died.
const DUTY_FOR: Duration = Duration::from_secs(15);
/// Changes told, and forgotten, at once.
const BATCH: u32 = 200;

/// Tells changes, while it holds the duty.
#[derive(Debug)]
pub struct Outbox {
    holder: String,
    mine_until: Stamp,
}

/// What came of one look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// So many were told, and there may be more.
    Some(usize),
    /// There is nothing more to tell now.
    All,
    /// Another process has the duty.
    NotMine,
}

impl Outbox {
    /// `holder` must be another for each process.
    #[must_use]
    pub fn new(holder: String) -> Self {
        Self { holder, mine_until: Stamp::ZERO }
    }

    /// Tells the oldest changes, if it is for this process to do. Can be run by hand with any `now`.
    ///
    /// # Errors
    /// When the ledger or the bus fails: nothing is forgotten then, and the next look tells them again.
    pub async fn tell(&mut self, parts: &Parts, now: Stamp) -> anyhow::Result<Told> {
        let changes = parts.db.glance().await.context("cannot look for changes to tell")?.events(BATCH).await;
        let changes = changes.context("cannot look for changes to tell")?;
        if changes.is_empty() {
            return Ok(Told::All);
        }
        if !self.has_duty(parts, now).await.context("cannot take the duty of telling changes")? {
            return Ok(Told::NotMine);
        }
        parts.bus.publish(&changes).await.context("cannot tell changes")?;
        let told: Vec<EventId> = changes.iter().map(|change| change.id).collect();
        let mut tx = parts.db.write().await.context("cannot forget changes that were told")?;
        tx.forget_events(&told).await.context("cannot forget changes that were told")?;
        tx.commit().await.context("cannot forget changes that were told")?;
        Ok(Told::Some(told.len()))
    }

    /// Lets another process go on at once.
    ///
    /// # Errors
    /// When the ledger fails: then the duty ends by itself.
    pub async fn leave(&mut self, parts: &Parts) -> farm::ledger::Result<()> {
        if self.mine_until == Stamp::ZERO {
            return Ok(());
        }
        self.mine_until = Stamp::ZERO;
        let mut tx = parts.db.write().await?;
        tx.leave_duty(DUTY, &self.holder).await?;
        tx.commit().await
    }

    /// Most looks cost no write: the duty is renewed when half of it is over.
    async fn has_duty(&mut self, parts: &Parts, now: Stamp) -> farm::ledger::Result<bool> {
        if self.mine_until - now > DUTY_FOR / 2 {
            return Ok(true);
        }
        let until = now + DUTY_FOR;
        let mut tx = parts.db.write().await?;
        let mine = tx.take_duty(DUTY, &self.holder, until, now).await?;
        tx.commit().await?;
        self.mine_until = if mine { until } else { Stamp::ZERO };
        Ok(mine)
    }
}
