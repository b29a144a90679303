//! Whose turn it is: one lane for each SIG and architecture.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};

use super::rooms::Hall;
use super::{CLASS_SHARES, Candidate, Loads, Rules};
use crate::arch::Arch;
use crate::ids::JobId;
use crate::job::Class;
use crate::stamp::Stamp;

/// The most urgent first.
const CLASSES: [Class; 4] = [Class::Release, Class::Push, Class::Scratch, Class::Nightly];

/// Machine time by weight, in millionths of a second.
type Level = u64;

struct Lane<'a> {
    arch: Arch,
    weight: u64,
    /// How many more jobs it may have at once.
    left: u32,
    used_ms: [u64; CLASSES.len()],
    queues: [VecDeque<&'a Candidate>; CLASSES.len()],
}

/// The backlog, in the order in which it is served.
pub(super) struct Lanes<'a> {
    lanes: BTreeMap<(&'a str, Arch), Lane<'a>>,
    charge_ms: u64,
    slack: Level,
    reserve_after_ms: u64,
}

fn place_of(class: Class) -> usize {
    match class {
        Class::Release => 0,
        Class::Push => 1,
        Class::Scratch => 2,
        Class::Nightly => 3,
    }
}

impl<'a> Lane<'a> {
    fn new(sig: &str, arch: Arch, loads: &Loads) -> Self {
        let share = loads.share(sig);
        let held = loads.held.get(&(sig.to_owned(), arch)).copied().unwrap_or(0);
        let used = |class| loads.used_ms.get(&(sig.to_owned(), arch, class)).copied().unwrap_or(0);
        Self {
            arch,
            weight: u64::from(share.weight.max(1)),
            left: share.cap.map_or(u32::MAX, |cap| cap.saturating_sub(held)),
            used_ms: CLASSES.map(used),
            queues: Default::default(),
        }
    }

    fn total_ms(&self) -> u64 {
        self.used_ms.iter().fold(0, |sum: u64, ms| sum.saturating_add(*ms))
    }

    fn level(&self) -> Level {
        self.total_ms().saturating_mul(1_000) / self.weight
    }

    fn is_waiting(&self) -> bool {
        self.left > 0 && self.queues.iter().any(|queue| !queue.is_empty())
    }

    /// Classes in the order in which they are served now.
    fn turns(&self, charge_ms: u64) -> [usize; CLASSES.len()] {
        let total = self.total_ms();
        let mut turns = [0, 1, 2, 3];
        turns.sort_by_key(|&class| {
            let owed = self.used_ms[class].saturating_add(charge_ms).saturating_mul(CLASS_SHARES) < total;
            if owed { (0, self.used_ms[class], class) } else { (1, 0, class) }
        });
        turns
    }

    /// What is served next of this lane, to tell lanes of one level apart.
    fn head(&self) -> Option<(Class, Stamp, JobId)> {
        let first = self.queues.iter().find_map(|queue| queue.front())?;
        Some((first.class, first.created, first.job))
    }

    /// Takes the first job that has a place. Those before it have none in this round, and are dropped.
    fn next(&mut self, hall: &mut Hall<'a>, charge_ms: u64) -> Option<(&'a Candidate, usize)> {
        for class in self.turns(charge_ms) {
            while let Some(candidate) = self.queues[class].pop_front() {
                if let Some(room) = hall.find(candidate) {
                    self.charge(class, charge_ms);
                    return Some((candidate, room));
                }
            }
        }
        None
    }

    fn charge(&mut self, class: usize, charge_ms: u64) {
        self.left = self.left.saturating_sub(1);
        self.used_ms[class] = self.used_ms[class].saturating_add(charge_ms);
    }
}

impl<'a> Lanes<'a> {
    pub(super) fn new(backlog: &'a [Candidate], loads: &Loads, rules: &Rules) -> Self {
        let mut sorted: Vec<&Candidate> = backlog.iter().collect();
        sorted.sort_by_key(|candidate| (Reverse(candidate.height), candidate.created, candidate.job));
        let mut lanes = BTreeMap::new();
        for candidate in sorted {
            let (sig, arch) = (candidate.sig.as_str(), candidate.arch);
            let lane = lanes.entry((sig, arch)).or_insert_with(|| Lane::new(sig, arch, loads));
            lane.queues[place_of(candidate.class)].push_back(candidate);
        }
        Self {
            lanes,
            charge_ms: rules.charge_ms,
            slack: rules.slack_ms.saturating_mul(1_000),
            reserve_after_ms: rules.reserve_after_ms,
        }
    }

    /// The next job and its place: of the lane with the lowest level that has one.
    pub(super) fn next(&mut self, hall: &mut Hall<'a>) -> Option<(&'a Candidate, usize)> {
        loop {
            let lane = self
                .lanes
                .values_mut()
                .filter(|lane| lane.is_waiting())
                .min_by_key(|lane| (lane.level(), lane.head()))?;
            if let Some(found) = lane.next(hall, self.charge_ms) {
                return Some(found);
            }
        }
    }

    /// Of each architecture the wide job that has waited longest, if too long, and its SIG is not too far ahead.
    pub(super) fn overdue_wide(&self, hall: &mut Hall<'a>, now: Stamp) -> Vec<&'a Candidate> {
        let mut lowest: BTreeMap<Arch, Level> = BTreeMap::new();
        for lane in self.lanes.values().filter(|lane| lane.is_waiting()) {
            let level = lowest.entry(lane.arch).or_insert(Level::MAX);
            *level = lane.level().min(*level);
        }
        let mut chosen: BTreeMap<Arch, &'a Candidate> = BTreeMap::new();
        for lane in self.lanes.values().filter(|lane| lane.is_waiting()) {
            let lowest = lowest.get(&lane.arch).copied().unwrap_or(0);
            if lane.level() > lowest.saturating_add(self.slack) {
                continue;
            }
            for candidate in lane.queues.iter().flatten().copied() {
                if candidate.has_waited(now, self.reserve_after_ms)
                    && chosen
                        .get(&lane.arch)
                        .is_none_or(|best| (candidate.since, candidate.job) < (best.since, best.job))
                    && hall.is_wide(candidate)
                {
                    chosen.insert(lane.arch, candidate);
                }
            }
        }
        chosen.into_values().collect()
    }

    /// Takes a job out of its lane; when it was `placed`, it counts as the lane's.
    pub(super) fn remove(&mut self, job: &'a Candidate, placed: bool) {
        let Some(lane) = self.lanes.get_mut(&(job.sig.as_str(), job.arch)) else { return };
        let class = place_of(job.class);
        lane.queues[class].retain(|other| other.job != job.job);
        if placed {
            lane.charge(class, self.charge_ms);
        }
    }
}
