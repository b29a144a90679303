//! The builder's loop: offers into free slots, presence to the schedulers, and a tidy end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use farm::message::{Offer, Presence};
use farm::wire::Bus;
use tokio::sync::watch;
use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use crate::attempt::{Interrupt, Interrupts, Key};
use crate::cache::Cache;
use crate::client::Hub;
use crate::engine::Engine;
use crate::slot::{self, Tools, now};
use crate::{Config, check, workspace};

/// How long killed attempts may take to report. What is not reported then lapses.
const REPORT_GRACE: Duration = Duration::from_secs(10);
/// Between two tries to reach a container engine that was not there at the start.
const ENGINE_RETRY: Duration = Duration::from_secs(5);

const MIB: u64 = 1024 * 1024;

/// What a builder is given from outside: the only things in which a farm in one process and one of many differ.
#[derive(Debug)]
pub struct Parts {
    /// The bus that brings offers and takes presences.
    pub bus: Bus,
    /// What runs containers.
    pub engine: Engine,
}

/// Works until `stop` becomes true (or its sender is gone). Then nothing new is taken, what still runs after
/// [`Config::drain_seconds`] is killed and given back to the farm, and this returns.
///
/// # Errors
/// If the configuration makes no sense or the data directory cannot be used. Trouble with the hub, the bus or the
/// container engine is waited out instead.
pub async fn run(parts: Parts, config: Config, mut stop: watch::Receiver<bool>) -> anyhow::Result<()> {
    let Parts { bus, engine } = parts;
    anyhow::ensure!(
        check::is_builder_name(&config.name),
        "`{}` is no name for a builder: use letters, digits, -, _ and .",
        config.name
    );
    anyhow::ensure!(config.slots > 0, "a builder without slots has nothing to do: set `slots` to 1 or more");
    // Held until the end: two builders in one directory would remove each other's workspaces.
    let (tools, _lock) = prepare(&config, engine)?;
    let mut offers = bus.offers(&config.name).await;
    tokio::select! {
        () = clear_engine(&tools) => {}
        () = told(&mut stop) => return Ok(()),
    }
    let mut crew = Crew { bus, tools, config, attempts: JoinSet::new(), running: BTreeMap::new() };
    let mut stops = crew.bus.stops().await;
    let mut tick = interval(Duration::from_millis(crew.config.presence_ms.max(1)));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut well = true;
    loop {
        let free = well && crew.running.len() < crew.config.slots as usize;
        tokio::select! {
            biased;
            () = told(&mut stop) => break,
            Some(ended) = crew.attempts.join_next_with_id() => {
                crew.ended(ended).await;
                crew.announce(!well).await;
            }
            offer = offers.next(), if free => crew.take(offer),
            heard = stops.next() => crew.doubt(Key { job: heard.job, turn: heard.turn }),
            _ = tick.tick() => {
                well = crew.engine_is_well(well).await;
                crew.announce(!well).await;
            }
        }
    }
    crew.wind_up().await;
    Ok(())
}

/// Waits for the end: the value becomes true, or nobody is left who could set it.
async fn told(stop: &mut watch::Receiver<bool>) {
    let _true_or_gone = stop.wait_for(|stop| *stop).await;
}

fn prepare(config: &Config, engine: Engine) -> anyhow::Result<(Arc<Tools>, std::fs::File)> {
    let doing = || format!("cannot use the data directory {}", config.data.display());
    workspace::make_folder(&config.data).with_context(doing)?;
    let data = config.data.canonicalize().with_context(doing)?;
    let lock = std::fs::File::create(data.join("lock")).with_context(doing)?;
    lock.try_lock().with_context(|| format!("another builder uses the data directory {}", data.display()))?;
    let work = data.join("work");
    workspace::clear(&work).with_context(doing)?;
    let cache = Cache::open(data.join("cache"), config.cache_mb.saturating_mul(MIB)).with_context(doing)?;
    let hub = Hub::new(config.hub.clone()).context("cannot set up HTTP")?;
    let tools =
        Tools { name: config.name.clone(), engine, hub, cache, work, file_repos: config.file_repos.clone() };
    Ok((Arc::new(tools), lock))
}

/// Removes what an earlier life left in the engine, however long the engine takes to be there.
async fn clear_engine(tools: &Tools) {
    while let Err(error) = tools.engine.reap_all(&tools.name).await {
        tracing::warn!(builder = tools.name, %error, "the container engine is not ready; trying again");
        tokio::time::sleep(ENGINE_RETRY).await;
    }
}

struct Crew {
    bus: Bus,
    tools: Arc<Tools>,
    config: Config,
    attempts: JoinSet<()>,
    running: BTreeMap<Key, (Id, Interrupts)>,
}

impl Crew {
    /// Puts an offer into a free slot.
    fn take(&mut self, offer: Offer) {
        let key = Key { job: offer.job, turn: offer.turn };
        if self.running.contains_key(&key) {
            return tracing::debug!(job = %key.job, turn = key.turn, "an offer came twice");
        }
        if offer.until < now() {
            return tracing::debug!(job = %key.job, turn = key.turn, "an offer came too late");
        }
        let interrupts = Interrupts::default();
        let handle = self.attempts.spawn(slot::work(self.tools.clone(), offer, interrupts.clone()));
        self.running.insert(key, (handle.id(), interrupts));
    }

    fn doubt(&self, key: Key) {
        if let Some((_, interrupts)) = self.running.get(&key) {
            interrupts.doubt();
        }
    }

    /// Frees the slot of an attempt that ended.
    async fn ended(&mut self, ended: Result<(Id, ()), tokio::task::JoinError>) {
        let (id, broke) = match ended {
            Ok((id, ())) => (id, None),
            Err(error) => (error.id(), Some(error)),
        };
        let key = self.running.iter().find(|(_, (task, _))| *task == id).map(|(key, _)| *key);
        let Some(key) = key else { return };
        self.running.remove(&key);
        if let Some(error) = broke {
            tracing::error!(job = %key.job, turn = key.turn, %error, "an attempt broke down; its lease will lapse");
            let owner =
                crate::engine::Owner { builder: self.tools.name.clone(), job: key.job, turn: key.turn };
            if let Err(error) = self.tools.engine.reap(&owner).await {
                tracing::error!(job = %key.job, %error, "containers or images may be left over");
            }
        }
    }

    /// A builder whose engine is away must not draw jobs only to fail them.
    async fn engine_is_well(&self, was: bool) -> bool {
        let answer = self.tools.engine.ping().await;
        match (&answer, was) {
            (Err(error), true) => {
                tracing::error!(%error, "no work is taken until the container engine is back")
            }
            (Ok(()), false) => tracing::info!("the container engine is back"),
            (Ok(()), true) | (Err(_), false) => {}
        }
        answer.is_ok()
    }

    async fn announce(&self, draining: bool) {
        let presence = Presence {
            builder: self.tools.name.clone(),
            arches: self.config.arches.clone(),
            slots: self.config.slots,
            running: self.running.keys().map(|key| (key.job, key.turn)).collect(),
            draining,
        };
        self.bus.presence(presence).await;
    }

    /// Lets attempts end by themselves, then kills them, then gives up those that cannot report.
    async fn wind_up(&mut self) {
        self.announce(true).await;
        let drained = Instant::now() + Duration::from_secs(self.config.drain_seconds);
        for (until, then) in [(drained, Interrupt::ShuttingDown), (drained + REPORT_GRACE, Interrupt::Lost)] {
            while let Ok(Some(ended)) = timeout_at(until, self.attempts.join_next_with_id()).await {
                self.ended(ended).await;
            }
            for (_, interrupts) in self.running.values() {
                interrupts.raise(then);
            }
        }
        while let Some(ended) = self.attempts.join_next_with_id().await {
            self.ended(ended).await;
        }
        self.announce(true).await;
    }
}
