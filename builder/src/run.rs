//! The builder's loop: offers into free slots, presence to the hub, and a tidy end.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use farm::arch::Arch;
use farm::builder::{Wish, is_builder_name};
use farm::message::Presence;
use farm::stamp::Stamp;
use farm::wire::{Bus, Delivery};
use tokio::sync::watch;
use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use crate::attempt::{Interrupt, Interrupts, Key};
use crate::cache::Cache;
use crate::capacity::{self, Capacity};
use crate::ccache::Ccaches;
use crate::client::Hub;
use crate::engine::Engine;
use crate::identity::{self, Identity};
use crate::presence::{Herald, Standing, State};
use crate::roots::{self, Roots};
use crate::slot::{self, Tools, now};
use crate::{Config, emulation, workspace};

/// How long killed attempts may take to report. What is not reported then lapses.
const REPORT_GRACE: Duration = Duration::from_secs(10);
/// Between two tries to reach a container engine that was not there at the start.
const ENGINE_RETRY: Duration = Duration::from_secs(5);

/// How often, and how far apart, a data directory is tried that another process holds. A program that was being started
/// just as an earlier life ended holds its lock a moment longer, until it has become that program.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

const MIB: u64 = 1024 * 1024;

/// What a builder is given from outside: the only things in which a farm in one process and one of many differ.
#[derive(Debug)]
pub struct Parts {
    /// The bus that brings offers.
    pub bus: Bus,
    /// What runs containers.
    pub engine: Engine,
    /// Who the builder is, which the ledger must know.
    pub identity: Identity,
}

/// Works until `stop` becomes true (or its sender is gone). Then nothing new is taken, what still runs after
/// [`Config::drain_seconds`] is killed and given back to the farm, and this returns.
///
/// # Errors
/// If the configuration makes no sense or the data directory cannot be used. Trouble with the hub, the bus or the
/// container engine is waited out instead.
pub async fn run(parts: Parts, config: Config, mut stop: watch::Receiver<bool>) -> anyhow::Result<()> {
    let Parts { bus, engine, identity } = parts;
    let name = identity.name();
    anyhow::ensure!(
        is_builder_name(name),
        "`{name}` is no name for a builder: use letters, digits, -, _ and ."
    );
    anyhow::ensure!(config.slots > 0, "a builder without slots has nothing to do: set `slots` to 1 or more");
    // Held until the end: two builders in one directory would remove each other's workspaces.
    let Prepared { tools, capacity, _lock } = prepare(&config, engine, &identity).await?;
    let mut offers = bus.offers(name, &runs(&config), config.slots).await;
    tokio::select! {
        () = clear_engine(&tools) => {}
        () = told(&mut stop) => return Ok(()),
    }
    let every = Duration::from_millis(config.presence_ms.max(1));
    let herald = Herald::start(tools.hub.clone(), facts(&config, &tools, capacity), every);
    let mut crew =
        Crew { tools, config, capacity, herald, attempts: JoinSet::new(), running: BTreeMap::new() };
    let mut stops = bus.stops().await;
    let mut tick = interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut well = true;
    loop {
        let free = well && crew.is_wanted() && crew.running.len() < crew.config.slots as usize;
        tokio::select! {
            biased;
            () = told(&mut stop) => break,
            Some(ended) = crew.attempts.join_next_with_id() => crew.ended(ended).await,
            () = crew.herald.changed() => crew.heed(),
            delivery = offers.next(), if free => crew.take(delivery).await,
            heard = stops.next() => crew.doubt(Key { job: heard.job, turn: heard.turn }),
            _ = tick.tick() => well = crew.engine_is_well(well).await,
        }
        crew.announce(!well);
    }
    crew.wind_up().await;
    Ok(())
}

/// Waits for the end: the value becomes true, or nobody is left who could set it.
async fn told(stop: &mut watch::Receiver<bool>) {
    let _true_or_gone = stop.wait_for(|stop| *stop).await;
}

struct Prepared {
    tools: Arc<Tools>,
    capacity: Capacity,
    _lock: File,
}

async fn prepare(config: &Config, engine: Engine, identity: &Identity) -> anyhow::Result<Prepared> {
    let doing = || format!("cannot use the data directory {}", config.data.display());
    workspace::make_folder(&config.data).with_context(doing)?;
    let data = config.data.canonicalize().with_context(doing)?;
    let lock = take(&data).await.with_context(doing)?;
    let born = birth(&data).with_context(doing)?;
    let work = data.join("work");
    workspace::clear(&work).with_context(doing)?;
    let free = capacity::free_disk(&data).context("cannot find out what this machine has")?;
    let capacity = Capacity::of(config, free).context("cannot find out what this machine has")?;
    let kept_bytes = |wished| capacity::may_keep(wished, free).saturating_mul(MIB);
    let cache = Cache::open(data.join("cache"), kept_bytes(config.cache_mb)).with_context(doing)?;
    let roots = roots::folder(&data);
    let roots = Roots::open(identity.name(), roots, kept_bytes(config.roots_mb)).with_context(doing)?;
    let ccaches = Ccaches::open(data.join("ccache"), kept_bytes(config.ccache_mb)).with_context(doing)?;
    tracing::info!(
        memory_mb = capacity.memory_mb,
        disk_mb = capacity.disk_mb,
        free_disk_mb = free,
        "what there is to give"
    );
    let hub = Hub::new(config.hub.clone(), identity.secret().clone()).context("cannot set up HTTP")?;
    let tools = Tools {
        name: identity.name().to_owned(),
        born,
        engine,
        hub,
        cache,
        roots,
        ccaches,
        work,
        file_repos: config.file_repos.clone(),
    };
    Ok(Prepared { tools: Arc::new(tools), capacity, _lock: lock })
}

/// Takes the data directory for this life of the builder.
async fn take(data: &Path) -> anyhow::Result<File> {
    let file = File::create(data.join("lock"))?;
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => tokio::time::sleep(LOCK_PAUSE).await,
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
    }
    anyhow::bail!("another builder uses it")
}

/// When this life begins: later than every one before, even if the clock was set back meanwhile.
fn birth(data: &Path) -> std::io::Result<Stamp> {
    let path = data.join("born");
    let earlier = std::fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
    let born =
        now().max(earlier.map_or(Stamp::ZERO, |earlier: i64| Stamp::from_millis(earlier.saturating_add(1))));
    identity::keep(&path, &born.millis().to_string())?;
    Ok(born)
}

/// Every architecture it runs, one way or the other.
fn runs(config: &Config) -> Vec<Arch> {
    config.arches.iter().chain(&config.emulated).copied().collect()
}

/// What the builder says of itself for all its life.
fn facts(config: &Config, tools: &Tools, capacity: Capacity) -> Presence {
    let runs = |arch: &Arch| match emulation::check(*arch) {
        Ok(()) => true,
        Err(why) => {
            tracing::error!(builder = tools.name, %arch, why, "an architecture is not offered to the farm");
            false
        }
    };
    Presence {
        builder: tools.name.clone(),
        born: tools.born,
        clock: tools.born,
        count: 0,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        arches: config.arches.clone(),
        emulated: config.emulated.iter().copied().filter(runs).collect(),
        slots: capacity.slots,
        memory_mb: capacity.memory_mb,
        disk_mb: capacity.disk_mb,
        labels: config.labels.clone(),
        running: Vec::new(),
        draining: false,
    }
}

/// Removes what an earlier life left in the engine, however long the engine takes to be there.
async fn clear_engine(tools: &Tools) {
    while let Err(error) = tools.engine.reap_all(&tools.name, &tools.roots.kept()).await {
        tracing::warn!(builder = tools.name, %error, "the container engine is not ready; trying again");
        tokio::time::sleep(ENGINE_RETRY).await;
    }
    tools.roots.recount(&tools.engine).await;
}

struct Crew {
    tools: Arc<Tools>,
    config: Config,
    capacity: Capacity,
    herald: Herald,
    attempts: JoinSet<()>,
    running: BTreeMap<Key, Running>,
}

/// An attempt at work.
struct Running {
    task: Id,
    interrupts: Interrupts,
    takes: Capacity,
}

impl Crew {
    /// Puts an offer into a free slot.
    async fn take(&mut self, delivery: Delivery) {
        let Delivery { offer, receipt } = delivery;
        let key = Key { job: offer.job, turn: offer.turn };
        if self.running.contains_key(&key) {
            tracing::debug!(job = %key.job, turn = key.turn, builder = self.tools.name, "an offer came twice");
            return receipt.settle().await;
        }
        let now = now();
        if offer.until < now {
            let late_ms = now.millis().saturating_sub(offer.until.millis());
            tracing::warn!(
                job = %key.job, turn = key.turn, builder = self.tools.name, late_ms,
                "an offer came too late and is dropped: the bus is slow, or this machine's clock is ahead of the farm's"
            );
            return receipt.settle().await;
        }
        let takes = Capacity::taken_by(&offer.recipe.limits);
        if !self.capacity.has_room(self.running.values().map(|running| running.takes), takes) {
            let (memory_mb, disk_mb) = (takes.memory_mb, takes.disk_mb);
            tracing::warn!(
                job = %key.job, turn = key.turn, builder = self.tools.name, memory_mb, disk_mb,
                "an offer is not taken: there is no room for it here"
            );
            return receipt.settle().await;
        }
        let interrupts = Interrupts::default();
        let handle = self.attempts.spawn(slot::work(
            self.tools.clone(),
            Delivery { offer, receipt },
            interrupts.clone(),
        ));
        self.running.insert(key, Running { task: handle.id(), interrupts, takes });
    }

    fn doubt(&self, key: Key) {
        if let Some(running) = self.running.get(&key) {
            running.interrupts.doubt();
        }
    }

    /// Frees the slot of an attempt that ended.
    async fn ended(&mut self, ended: Result<(Id, ()), tokio::task::JoinError>) {
        let (id, broke) = match ended {
            Ok((id, ())) => (id, None),
            Err(error) => (error.id(), Some(error)),
        };
        let key = self.running.iter().find(|(_, running)| running.task == id).map(|(key, _)| *key);
        let Some(key) = key else { return };
        self.running.remove(&key);
        if let Some(error) = broke {
            tracing::error!(job = %key.job, turn = key.turn, builder = self.tools.name, %error, "an attempt broke down; its lease will lapse");
            let owner =
                crate::engine::Owner { builder: self.tools.name.clone(), job: key.job, turn: key.turn };
            if let Err(error) = self.tools.engine.reap(&owner, &self.tools.roots.kept()).await {
                tracing::error!(job = %key.job, turn = key.turn, builder = self.tools.name, %error, "containers or images may be left over");
            }
        }
    }

    /// A builder whose engine is away must not draw jobs only to fail them.
    async fn engine_is_well(&self, was: bool) -> bool {
        let answer = self.tools.engine.ping().await;
        match (&answer, was) {
            (Err(error), true) => {
                tracing::error!(builder = self.tools.name, %error, "no work is taken until the container engine is back")
            }
            (Ok(()), false) => tracing::info!(builder = self.tools.name, "the container engine is back"),
            (Ok(()), true) | (Err(_), false) => {}
        }
        answer.is_ok()
    }

    fn is_wanted(&self) -> bool {
        self.herald.standing() == Standing::Wanted(Wish::Work)
    }

    /// Gives up everything when the hub does not take this builder's word any more: its attempts are others' now.
    fn heed(&self) {
        if self.herald.standing() == Standing::Refused {
            for running in self.running.values() {
                running.interrupts.raise(Interrupt::Lost);
            }
        }
    }

    fn announce(&self, draining: bool) {
        let running = self.running.keys().map(|key| (key.job, key.turn)).collect();
        self.herald.tell(State { running, draining });
    }

    /// Lets attempts end by themselves, then kills them, then gives up those that cannot report.
    async fn wind_up(mut self) {
        self.announce(true);
        let drained = Instant::now() + Duration::from_secs(self.config.drain_seconds);
        for (until, then) in [(drained, Interrupt::ShuttingDown), (drained + REPORT_GRACE, Interrupt::Lost)] {
            while let Ok(Some(ended)) = timeout_at(until, self.attempts.join_next_with_id()).await {
                self.ended(ended).await;
                self.announce(true);
            }
            for running in self.running.values() {
                running.interrupts.raise(then);
            }
        }
        while let Some(ended) = self.attempts.join_next_with_id().await {
            self.ended(ended).await;
        }
        self.announce(true);
        self.herald.farewell().await;
    }
}
