//! The simulated farm: its clock, its mail, its faults.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::{Arc, Mutex};

use farm::arch::Arch;
use farm::dispatch::Rules;
use farm::ids::{Minter, RequestId};
use farm::job::Patience;
use farm::ledger::Db;
use farm::message::{Offer, Presence, Stop};
use farm::sig::{Share, Sig};
use farm::stamp::Stamp;
use farm::wire::{Bus, Fate, Heard, Offers};
use scheduler::{Config, Parts};

use crate::builder::{Builder, after};
use crate::dice::Dice;
use crate::jobs::{FLOOD, SMALL};
use crate::watch::Watch;

/// More offers than any builder leaves lying: these may be given to more than its slots.
const MOST_OFFERS: u32 = 1_000;

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
    pub(crate) emulated: u64,
    pub(crate) outages: u64,
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
    pub(crate) mail: BTreeMap<(Stamp, u64), Letter>,
    pub(crate) letters: u64,
    /// A row of a job was written since the watch last looked.
    pub(crate) changed: bool,
    pub(crate) schedulers_back: [Stamp; 2],
    /// From when to when no hub is there, or was at last.
    pub(crate) outage: Option<(Stamp, Stamp)>,
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
        self.emulated += other.emulated;
        self.outages += other.outages;
        self.virtual_minutes += other.virtual_minutes;
    }

    pub(crate) fn assert_everything_happened(&self) {
        let Tally { passed, cancelled, lost, lapsed, schedulers_died, builders_failed, .. } = self;
        for count in [passed, cancelled, lost, lapsed, schedulers_died, builders_failed] {
            assert!(*count > 0, "{self:?}");
        }
        assert!(self.emulated > 0 && self.outages > 0, "{self:?}");
        assert!(self.stale_finishes > 0 && self.refused_claims > 0 && self.forgotten > 0, "{self:?}");
    }
}

/// Limits how many jobs the flood may have at work at once on each architecture.
async fn cap(db: &Db, cap: u32, now: Stamp) {
    let share = Share { weight: 1, cap: Some(cap) };
    let sig = Sig {
        name: FLOOD.to_owned(),
        title: FLOOD.to_owned(),
        members: BTreeMap::new(),
        projects: Vec::new(),
        share,
    };
    let mut tx = db.write().await.unwrap();
    tx.apply_sig(&sig, "", "root", now).await.unwrap().unwrap();
    tx.commit().await.unwrap();
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
            // The first one does everything, so that nothing waits for ever.
            let (x86, arm) = (Arch::X86_64, Arch::Aarch64);
            let arches = match number {
                0 if dice.chance(50) => (vec![x86], vec![arm]),
                0 => (vec![x86, arm], vec![]),
                _ if dice.chance(30) => (vec![arm], vec![]),
                _ if dice.chance(30) => (vec![x86], vec![]),
                _ => (vec![x86, arm], vec![]),
            };
            let all = [&arches.0[..], &arches.1[..]].concat();
            let slots = u32::try_from(dice.between(1, 4)).unwrap();
            queues.push(bus.offers(&format!("b{number}"), &all, MOST_OFFERS).await);
            builders.push(Builder::new(format!("b{number}"), arches, slots, now));
        }
        cap(&db, u32::try_from(dice.between(2, 9)).unwrap(), now).await;
        let mut to_come: Vec<_> = (0..dice.between(8, 24)).map(|_| (now, FLOOD)).collect();
        to_come.extend((0..dice.between(1, 5)).map(|_| (after(now, dice.between(0, TROUBLED)), SMALL)));
        let mut minter = Minter::new(seed);
        World {
            watch: Watch::default(),
            tally: Tally::default(),
            stops: bus.stops().await,
            parts: Parts { db, bus },
            // Few tries, so that some jobs are lost for good.
            config: Config {
                patience: Patience { max_tries: 2, ..Patience::default() },
                dispatch: Rules {
                    charge_ms: 5_000,
                    emulate_after_ms: 60_000,
                    elsewhere_after_ms: 60_000,
                    reserve_after_ms: 60_000,
                    ..Rules::default()
                },
                ..Config::default()
            },
            request: minter.mint(now),
            start: now,
            now,
            schedulers_back: [now, now],
            outage: None,
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
