//! The simulated farm: its clock, its mail, its faults.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::{Arc, Mutex};

use farm::arch::Arch;
use farm::ids::{Minter, RequestId};
use farm::job::Patience;
use farm::ledger::Db;
use farm::message::{Offer, Presence, Stop};
use farm::stamp::Stamp;
use farm::wire::{Bus, Fate, Heard, Offers};
use scheduler::{Config, Parts};

use crate::builder::{Builder, after};
use crate::dice::Dice;
use crate::jobs::{FLOOD, SMALL};
use crate::watch::Watch;

/// How long faults go on, and how long after them everything must be settled, in milliseconds.
pub(crate) const TROUBLED: i64 = 150_000;
pub(crate) const SETTLED: i64 = 900_000;

/// What unwinds a scheduler that dies.
pub(crate) struct Died;

/// Steps that are left to a scheduler; `None` when it is to live.
pub(crate) type Doom = Arc<Mutex<Option<u64>>>;

/// A scheduler comes to a point at which it may die.
pub(crate) fn may_die(doom: &Doom) {
    let mut left = doom.lock().unwrap();
    match *left {
        Some(0) => {
            *left = None;
            drop(left);
            resume_unwind(Box::new(Died));
        }
        Some(steps) => *left = Some(steps - 1),
        None => {}
    }
}

pub(crate) enum Letter {
    Offer(usize, Box<Offer>),
    Stop(usize, Stop),
    Presence(Presence),
}

/// What happened, to see that the simulation is worth something.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) jobs: u64,
    pub(crate) passed: u64,
    pub(crate) cancelled: u64,
    pub(crate) lost: u64,
    pub(crate) ticks: u64,
    pub(crate) offered: u64,
    pub(crate) lapsed: u64,
    pub(crate) schedulers_died: u64,
    pub(crate) builders_failed: u64,
    pub(crate) stale_finishes: u64,
    pub(crate) refused_claims: u64,
    pub(crate) forgotten: u64,
    pub(crate) virtual_minutes: u64,
}

pub(crate) struct World {
    pub(crate) watch: Watch,
    pub(crate) tally: Tally,
    pub(crate) dice: Dice,
    pub(crate) doom: Doom,
    pub(crate) troubled: Arc<Mutex<bool>>,
    pub(crate) start: Stamp,
    pub(crate) now: Stamp,
    pub(crate) parts: Parts,
    pub(crate) config: Config,
    pub(crate) request: RequestId,
    pub(crate) minter: Minter,
    pub(crate) to_come: Vec<(Stamp, &'static str)>,
    pub(crate) builders: Vec<Builder>,
    pub(crate) queues: Vec<Offers>,
    pub(crate) stops: Heard<Stop>,
    pub(crate) presences: Heard<Presence>,
    pub(crate) mail: BTreeMap<(Stamp, u64), Letter>,
    pub(crate) letters: u64,
    /// A row of a job was written since the watch last looked.
    pub(crate) changed: bool,
    pub(crate) schedulers_back: [Stamp; 2],
    pub(crate) _folder: tempfile::TempDir,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Tally) {
        let Tally { jobs, passed, cancelled, lost, ticks, offered, lapsed, .. } = other;
        self.jobs += jobs;
        self.passed += passed;
        self.cancelled += cancelled;
        self.lost += lost;
        self.ticks += ticks;
        self.offered += offered;
        self.lapsed += lapsed;
        self.schedulers_died += other.schedulers_died;
        self.builders_failed += other.builders_failed;
        self.stale_finishes += other.stale_finishes;
        self.refused_claims += other.refused_claims;
        self.forgotten += other.forgotten;
        self.virtual_minutes += other.virtual_minutes;
    }

    pub(crate) fn assert_everything_happened(&self) {
        let Tally { passed, cancelled, lost, lapsed, schedulers_died, builders_failed, .. } = self;
        for count in [passed, cancelled, lost, lapsed, schedulers_died, builders_failed] {
            assert!(*count > 0, "{self:?}");
        }
        assert!(self.stale_finishes > 0 && self.refused_claims > 0 && self.forgotten > 0, "{self:?}");
    }
}

/// A folder in memory where there is one: what the simulation is about does not need a disk.
fn memory() -> std::path::PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}

impl World {
    pub(crate) async fn new(seed: u64) -> World {
        let dice = Dice::new(seed);
        let (doom, troubled) = (Doom::default(), Arc::new(Mutex::new(true)));
        let bus = Bus::faulty({
            let (dice, doom, troubled) = (dice.clone(), doom.clone(), troubled.clone());
            move || {
                may_die(&doom);
                match (*troubled.lock().unwrap(), dice.roll() % 100) {
                    (true, 0..20) => Fate::Lost,
                    (true, 20..30) => Fate::Doubled,
                    (true, _) | (false, _) => Fate::Arrives,
                }
            }
        });
        let folder = tempfile::tempdir_in(memory()).unwrap();
        let db = Db::open(&format!("sqlite:{}", folder.path().join("ledger.db").display())).await.unwrap();
        let now = Stamp::from_millis(1_800_000_000_000);
        let mut builders = Vec::new();
        let mut queues = Vec::new();
        for number in 0..dice.between(2, 5) {
            let arches = match number {
                0 => vec![Arch::X86_64, Arch::Aarch64],
                _ if dice.chance(50) => vec![Arch::X86_64],
                _ => vec![Arch::X86_64, Arch::Aarch64],
            };
            let slots = u32::try_from(dice.between(1, 4)).unwrap();
            builders.push(Builder::new(format!("b{number}"), arches, slots, now));
            queues.push(bus.offers(&format!("b{number}")).await);
        }
        let mut to_come: Vec<_> = (0..dice.between(8, 24)).map(|_| (now, FLOOD)).collect();
        to_come.extend((0..dice.between(1, 5)).map(|_| (after(now, dice.between(0, TROUBLED)), SMALL)));
        let mut minter = Minter::new(seed);
        World {
            watch: Watch::default(),
            tally: Tally::default(),
            stops: bus.stops().await,
            presences: bus.presences().await,
            parts: Parts { db, bus },
            // Few tries, so that some jobs are lost for good.
            config: Config {
                patience: Patience { max_tries: 3, ..Patience::default() },
                ..Config::default()
            },
            request: minter.mint(now),
            start: now,
            now,
            schedulers_back: [now, now],
            mail: BTreeMap::new(),
            letters: 0,
            changed: true,
            _folder: folder,
            dice,
            doom,
            troubled,
            minter,
            to_come,
            builders,
            queues,
        }
    }
}
