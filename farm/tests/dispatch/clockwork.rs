//! A farm in virtual time that consists of nothing but slots and queues.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use farm::arch::Arch;
use farm::dispatch::{Candidate, Loads, Match, Room, Rules, Space, assign, decayed};
use farm::ids::Minter;
use farm::job::Class;
use farm::sig::Share;
use farm::stamp::Stamp;

pub(crate) const CLASSES: [Class; 4] = [Class::Release, Class::Push, Class::Scratch, Class::Nightly];
/// Rows the ledger reads of each queue beyond the free slots.
const SPARE: usize = 2;

pub(crate) fn at(ms: u64) -> Stamp {
    Stamp::from_millis(1_800_000_000_000 + i64::try_from(ms).unwrap())
}

pub(crate) fn candidate(number: u64, sig: &str, class: Class, created: Stamp) -> Candidate {
    Candidate {
        job: Minter::new(number).mint(created),
        sig: sig.to_owned(),
        class,
        arch: Arch::X86_64,
        labels: BTreeSet::new(),
        memory_mb: 1_024,
        disk_mb: 1_024,
        height: 0,
        created,
        since: created,
        avoid: Vec::new(),
    }
}

pub(crate) fn room(builder: &str, slots: u32) -> Room {
    let whole = Space::said(1_024 * u64::from(slots), 1_024 * u64::from(slots));
    Room {
        builder: builder.to_owned(),
        native: vec![Arch::X86_64],
        slots,
        free: slots,
        whole,
        left: whole,
        ..Room::default()
    }
}

struct Running {
    job: Candidate,
    room: usize,
    began: Stamp,
    ends: Stamp,
}

pub(crate) type Key = (String, Arch, Class);

pub(crate) struct Clockwork {
    pub(crate) rooms: Vec<Room>,
    pub(crate) queues: BTreeMap<Key, VecDeque<(Candidate, u64)>>,
    pub(crate) shares: BTreeMap<String, Share>,
    pub(crate) rules: Rules,
    pub(crate) half_life: Duration,
    pub(crate) now: Stamp,
    pub(crate) done: usize,
    running: Vec<Running>,
    used: BTreeMap<Key, (u64, Stamp)>,
}

impl Clockwork {
    pub(crate) fn new(rooms: Vec<Room>, shares: BTreeMap<String, Share>, half_life: Duration) -> Self {
        let rules = Rules::default();
        let (queues, used, running) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        Self { rooms, queues, shares, rules, half_life, now: at(0), done: 0, running, used }
    }

    pub(crate) fn submit(&mut self, job: Candidate, takes_ms: u64) {
        let key = (job.sig.clone(), job.arch, job.class);
        self.queues.entry(key).or_default().push_back((job, takes_ms));
    }

    /// Lets time go on; what ends, ends.
    pub(crate) fn advance(&mut self, ms: u64) {
        self.now = self.now + Duration::from_millis(ms);
        let (ended, running) =
            std::mem::take(&mut self.running).into_iter().partition(|running| running.ends <= self.now);
        self.running = running;
        let mut ended: Vec<Running> = ended;
        ended.sort_by_key(|running| running.ends);
        for Running { job, room, began, ends } in ended {
            let room = &mut self.rooms[room];
            room.free += 1;
            room.left.memory_mb += job.memory_mb;
            room.left.disk_mb += job.disk_mb;
            let (used, since) = self.used.entry((job.sig, job.arch, job.class)).or_insert((0, ends));
            *used = decayed(*used, ends - *since, self.half_life) + millis(ends - began);
            *since = ends;
            self.done += 1;
        }
    }

    /// What every SIG has used for every class, running jobs so far included; each running job counts as `least`.
    pub(crate) fn used(&self, least: u64) -> BTreeMap<Key, u64> {
        let mut sums: BTreeMap<Key, u64> = self
            .used
            .iter()
            .map(|(key, (ms, since))| (key.clone(), decayed(*ms, self.now - *since, self.half_life)))
            .collect();
        for running in &self.running {
            let job = &running.job;
            let so_far = millis(self.now - running.began).max(least);
            *sums.entry((job.sig.clone(), job.arch, job.class)).or_default() += so_far;
        }
        sums
    }

    pub(crate) fn held(&self) -> BTreeMap<(String, Arch), u32> {
        let mut held = BTreeMap::new();
        for running in &self.running {
            *held.entry((running.job.sig.clone(), running.job.arch)).or_default() += 1;
        }
        held
    }

    /// One round. Gives what was begun, in order.
    pub(crate) fn tick(&mut self) -> Vec<Candidate> {
        let free: usize = self.rooms.iter().map(|room| room.free as usize).sum();
        if free == 0 {
            return Vec::new();
        }
        let backlog: Vec<Candidate> = self
            .queues
            .values()
            .flat_map(|queue| queue.iter().take(free + SPARE).map(|(job, _)| job.clone()))
            .collect();
        let used_ms = self.used(self.rules.charge_ms);
        let loads = Loads { used_ms, held: self.held(), shares: self.shares.clone() };
        let matches = assign(&backlog, &self.rooms, &loads, &self.rules, self.now);
        let names: BTreeMap<String, usize> =
            self.rooms.iter().enumerate().map(|(index, room)| (room.builder.clone(), index)).collect();
        let known: BTreeMap<_, _> = backlog.into_iter().map(|job| (job.job, job)).collect();
        matches
            .into_iter()
            .map(|Match { job, builder }| {
                let job = known[&job].clone();
                self.begin(&job, names[&builder]);
                job
            })
            .collect()
    }

    fn begin(&mut self, job: &Candidate, index: usize) {
        let queue = self.queues.get_mut(&(job.sig.clone(), job.arch, job.class)).unwrap();
        let place = queue.iter().position(|(queued, _)| queued.job == job.job).unwrap();
        let (_, takes_ms) = queue.remove(place).unwrap();
        let room = &mut self.rooms[index];
        assert!(room.free > 0, "{} has no free slot", room.builder);
        assert!(job.memory_mb <= room.left.memory_mb && job.disk_mb <= room.left.disk_mb, "{room:?}");
        room.free -= 1;
        room.left = room.left.less(job.memory_mb, job.disk_mb);
        let ends = self.now + Duration::from_millis(takes_ms);
        self.running.push(Running { job: job.clone(), room: index, began: self.now, ends });
    }
}

pub(crate) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap()
}

/// A SplitMix64 stream.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.roll() % end
    }

    /// Most are short, some very long: `least` at least, `most` at most.
    pub(crate) fn heavy(&mut self, least: u64, most: u64) -> u64 {
        let fraction = 1_000_000.0 / f64::from(u32::try_from(1 + self.below(1_000_000)).unwrap());
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and 2^14")]
        let times = (fraction.powf(0.7) * 1_000.0) as u64;
        (least * times / 1_000).min(most)
    }
}
