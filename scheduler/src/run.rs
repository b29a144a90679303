//! The scheduler's two loops: a tick now and then, with offers in between whenever somebody says that there is something to do;
//! and the outbox.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use farm::digest::Digest;
use farm::ids::JobId;
use farm::stamp::Stamp;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::tick::fill;
use crate::trouble::Trouble;
use crate::{Config, Outbox, Parts, Ticked, Told, tick};

/// However many nudges come in, a tick is not begun sooner than this after the end of the last: one that waits a moment
/// finds the work of many nudges at once. A nudge that comes later is followed at once.
const BREATH: Duration = Duration::from_millis(2);
/// Between two looks at what the bus has set aside.
const COUNT_EVERY: Duration = Duration::from_secs(15);

/// Schedules until `stop` becomes true (or its sender is gone).
///
/// # Errors
/// If the configuration makes no sense. Trouble with the ledger or the bus is waited out instead.
pub async fn run(parts: Parts, config: Config, stop: watch::Receiver<bool>) -> anyhow::Result<()> {
    anyhow::ensure!(
        config.tick_ms > 0,
        "a scheduler that never pauses would do nothing else: set `tick_ms` to 1 or more"
    );
    anyhow::ensure!(
        config.patience.max_tries > 0,
        "no job could ever start: set `patience.max_tries` to 1 or more"
    );
    anyhow::ensure!(
        config.outbox_ms > 0,
        "an outbox that never pauses would do nothing else: set `outbox_ms` to 1 or more"
    );
    // Beside the ticks and not in them, so that a bus that is slow to take changes delays no job.
    tokio::join!(
        keep_ticking(&parts, &config, stop.clone()),
        keep_telling(&parts, &config, stop.clone()),
        keep_counting(&parts, stop)
    );
    Ok(())
}

/// Looks now and then how many messages are set aside, for operators.
async fn keep_counting(parts: &Parts, mut stop: watch::Receiver<bool>) {
    loop {
        if let Some(count) = parts.bus.dead_letters().await {
            metrics::gauge!("grange_dead_letters").set(count);
        }
        tokio::select! {
            _true_or_gone = stop.wait_for(|stop| *stop) => return,
            () = sleep(COUNT_EVERY) => {}
        }
    }
}

async fn keep_ticking(parts: &Parts, config: &Config, mut stop: watch::Receiver<bool>) {
    let mut trouble = Trouble::none_with("the scheduler's tick");
    let mut unreadable = BTreeMap::new();
    let scan = Duration::from_millis(config.tick_ms);
    let mut next_whole = Instant::now();
    loop {
        let is_whole = Instant::now() >= next_whole;
        if let Some(ticked) = trouble.note(tick_now(parts, config, is_whole).await) {
            tell(ticked, is_whole, &mut unreadable);
        }
        if is_whole {
            next_whole = Instant::now() + scan;
        }
        tokio::select! {
            _true_or_gone = stop.wait_for(|stop| *stop) => return,
            () = rest(parts, next_whole, trouble.pause(scan)) => {}
        }
    }
}

async fn keep_telling(parts: &Parts, config: &Config, mut stop: watch::Receiver<bool>) {
    let pause = Duration::from_millis(config.outbox_ms);
    let mut trouble = Trouble::none_with("telling changes of state to the outside");
    let mut outbox = match Tickets::fresh() {
        Ok(mut tickets) => Outbox::new(tickets.next()),
        Err(error) => return tracing::error!(%error, "changes of state are not told"),
    };
    loop {
        let told = trouble.note(outbox.tell(parts, now()).await);
        let pause = match told {
            Some(Told::Some(_)) => Duration::ZERO,
            Some(Told::All | Told::NotMine) => pause,
            None => trouble.pause(pause).unwrap_or(pause),
        };
        tokio::select! {
            biased;
            _true_or_gone = stop.wait_for(|stop| *stop) => break,
            () = sleep(pause) => {}
        }
    }
    if let Err(error) = outbox.leave(parts).await {
        tracing::debug!(%error, "the duty of telling changes ends by itself");
    }
}

async fn tick_now(parts: &Parts, config: &Config, is_whole: bool) -> anyhow::Result<Ticked> {
    let mut tickets = Tickets::fresh()?;
    let mut secrets = || tickets.next();
    match is_whole {
        true => tick(parts, config, now(), &mut secrets).await,
        false => fill(parts, config, now(), &mut secrets).await,
    }
}

/// Waits until there may be something to do: a nudge comes, or the next whole look is due. After trouble it waits as long as that
/// says.
async fn rest(parts: &Parts, next_whole: Instant, pause: Option<Duration>) {
    match pause {
        // No nudge makes a database come back.
        Some(pause) => sleep(pause).await,
        None => {
            let earliest = Instant::now() + BREATH;
            tokio::select! {
                () = sleep_until(next_whole) => {}
                () = parts.bus.nudged() => {}
            }
            sleep_until(earliest).await;
        }
    }
}

/// Tells of unreadable jobs once, not at each tick.
fn tell(ticked: Ticked, is_whole: bool, told: &mut BTreeMap<JobId, String>) {
    for (job, error) in &ticked.unreadable {
        if !told.contains_key(job) {
            tracing::error!(%job, error, "a job is passed over because its row is unreadable");
        }
    }
    if is_whole {
        told.clear();
    }
    told.extend(ticked.unreadable);
}

/// Secrets for one tick's offers: digests of a key that only this tick knows and a number. Who learns one of them
/// learns nothing about the others.
struct Tickets {
    key: [u8; 32],
    given: u64,
}

impl Tickets {
    fn fresh() -> anyhow::Result<Self> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).context("the operating system gives no random numbers")?;
        Ok(Self { key, given: 0 })
    }

    fn next(&mut self) -> String {
        self.given += 1;
        Digest::of(&[&self.key[..], &self.given.to_be_bytes()].concat()).as_str().to_owned()
    }
}

/// The present moment by this machine's clock.
fn now() -> Stamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Stamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_are_long_and_never_the_same() {
        let (mut one, mut other) = (Tickets::fresh().unwrap(), Tickets::fresh().unwrap());
        let tickets = [one.next(), one.next(), other.next()];
        assert!(tickets.iter().all(|ticket| ticket.len() == 64));
        assert!(tickets[0] != tickets[1] && tickets[0] != tickets[2]);
    }
}
