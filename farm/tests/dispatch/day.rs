//! A day of a hundred SIGs on two hundred builders of four architectures.
//!
//! `GRANGE_SIM_SEEDS=50` plays as many days.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use farm::arch::Arch;
use farm::dispatch::{CLASS_SHARES, Candidate, Room};
use farm::job::Class;
use farm::sig::Share;

use crate::clockwork::{CLASSES, Clockwork, Dice, at, candidate, millis, room};

const MINUTE: u64 = 60_000;
/// Milliseconds from one tick to the next.
const STEP: u64 = 2 * MINUTE;
const TICKS: u64 = 24 * 60 * MINUTE / STEP;
const LONGEST: u64 = 4 * 60 * MINUTE;
const SIGS: usize = 100;
/// SIGs that have work in every class on every architecture all day long.
const FLOODS: usize = 5;
/// The flood with a cap.
const CAPPED: usize = 4;
const CAP: u32 = 10;
/// At noon a SIG queues 5,000 jobs, and ten minutes later another asks for its first build.
const NOON: u64 = TICKS / 2;
const QUIET: &str = "quiet";

fn name(number: usize) -> String {
    format!("sig{number:02}")
}

fn builders() -> Vec<Room> {
    let mut rooms = Vec::new();
    for (arch, count) in [(Arch::X86_64, 100), (Arch::Aarch64, 50), (Arch::Ppc64le, 30), (Arch::S390x, 20)] {
        for number in 0..count {
            let emulates = arch == Arch::X86_64 && number % 5 == 0;
            let emulated = if emulates { vec![Arch::S390x] } else { Vec::new() };
            rooms.push(Room { native: vec![arch], emulated, ..room(&format!("{arch}-{number}"), 2) });
        }
    }
    rooms
}

struct Day {
    farm: Clockwork,
    dice: Dice,
    numbers: u64,
    most_held: BTreeMap<(String, Arch), u32>,
    begun: usize,
    quiet_began: bool,
}

impl Day {
    fn new(seed: u64) -> Day {
        let mut dice = Dice(seed);
        let shares = (0..SIGS)
            .map(|number| {
                let weight = 1 + u32::try_from(dice.below(4)).unwrap();
                (name(number), Share { weight, cap: (number == CAPPED).then_some(CAP) })
            })
            .collect();
        let farm = Clockwork::new(builders(), shares, Duration::from_secs(6 * 3600));
        Day { farm, dice, numbers: 0, most_held: BTreeMap::new(), begun: 0, quiet_began: false }
    }

    fn submit(&mut self, sig: &str, class: Class, arch: Arch) {
        self.numbers += 1;
        let job = Candidate { arch, ..candidate(self.numbers, sig, class, self.farm.now) };
        let takes = self.dice.heavy(4 * MINUTE, LONGEST);
        self.farm.submit(job, takes);
    }

    fn arrive(&mut self, tick: u64) {
        for number in 0..SIGS {
            let sig = name(number);
            if number < FLOODS {
                for (class, arch) in CLASSES.into_iter().flat_map(|class| Arch::ALL.map(|arch| (class, arch)))
                {
                    let queued =
                        self.farm.queues.get(&(sig.clone(), arch, class)).map_or(0, |queue| queue.len());
                    (queued..20).for_each(|_| self.submit(&sig, class, arch));
                }
            } else if self.dice.below(4) == 0 {
                let class = CLASSES[usize::try_from(self.dice.below(4)).unwrap()];
                let arches = if self.dice.below(2) == 0 { &Arch::ALL[..1] } else { &Arch::ALL[..] };
                arches.iter().for_each(|arch| self.submit(&sig, class, *arch));
            }
        }
        if tick == NOON {
            (0..5_000).for_each(|_| self.submit(&name(FLOODS), Class::Push, Arch::X86_64));
        }
        if tick == NOON + 5 {
            self.submit(QUIET, Class::Scratch, Arch::X86_64);
        }
    }

    fn weight(&self, sig: &str) -> u64 {
        self.farm.shares.get(sig).map_or(1, |share| u64::from(share.weight))
    }

    fn used(&self, least: u64) -> BTreeMap<(String, Arch), u64> {
        let mut sums = BTreeMap::new();
        for ((sig, arch, _), ms) in self.farm.used(least) {
            *sums.entry((sig, arch)).or_default() += ms;
        }
        sums
    }

    /// Who has a job that waits and may have it done.
    fn waiting(&self, arch: Arch) -> Vec<String> {
        let held = self.farm.held();
        let may = |sig: &String| {
            let cap = self.farm.shares.get(sig).and_then(|share| share.cap);
            cap.is_none_or(|cap| held.get(&(sig.clone(), arch)).copied().unwrap_or(0) < cap)
        };
        let waits = self.farm.queues.iter().filter(|((_, on, _), queue)| *on == arch && !queue.is_empty());
        let sigs: BTreeSet<String> = waits.map(|((sig, ..), _)| sig.clone()).collect();
        sigs.into_iter().filter(may).collect()
    }

    fn tick(&mut self, tick: u64) {
        let charge = self.farm.rules.charge_ms;
        let mut used = self.used(charge);
        let before: BTreeMap<_, _> =
            self.farm.queues.iter().map(|(key, queue)| (key.clone(), queue.len())).collect();
        let begun = self.farm.tick();
        self.begun += begun.len();
        // Who was served at its turn: of all that wait on to the end, nobody had a lower level.
        let left: BTreeMap<Arch, Vec<String>> = Arch::ALL.map(|arch| (arch, self.waiting(arch))).into();
        for job in &begun {
            let key = |sig: &str| (sig.to_owned(), job.arch);
            // Such a one may have gone to a builder that emulates, where others may not go yet.
            let waited = millis(self.farm.now - job.since);
            if job.arch == Arch::S390x && waited >= self.farm.rules.emulate_after_ms {
                *used.entry(key(&job.sig)).or_default() += charge;
                continue;
            }
            let mine = used.get(&key(&job.sig)).copied().unwrap_or(0);
            for other in &left[&job.arch] {
                let theirs = used.get(&key(other)).copied().unwrap_or(0);
                // Levels are compared in thousandths of a millisecond.
                assert!(
                    mine * self.weight(other) <= theirs * self.weight(&job.sig) + self.weight(other),
                    "at tick {tick} {} had {mine} ms on {} and was served, {other} had {theirs} ms and waits",
                    job.sig,
                    job.arch,
                );
            }
            *used.entry(key(&job.sig)).or_default() += charge;
        }
        self.no_slot_is_idle();
        self.floods_are_level();
        if before.contains_key(&(QUIET.to_owned(), Arch::X86_64, Class::Scratch)) && !self.quiet_began {
            let mut on_x86 = begun.iter().filter(|job| job.arch == Arch::X86_64);
            if let Some(first) = on_x86.next() {
                assert_eq!(
                    first.sig, QUIET,
                    "the first slot that falls free is its own, whatever others have queued"
                );
                self.quiet_began = true;
            }
        }
    }

    fn no_slot_is_idle(&self) {
        for arch in Arch::ALL {
            let waiting = self.waiting(arch);
            let since = self
                .farm
                .queues
                .iter()
                .filter(|((sig, on, _), _)| *on == arch && waiting.contains(sig))
                .filter_map(|(_, queue)| queue.front().map(|(job, _)| job.since))
                .min();
            let Some(since) = since else { continue };
            let long = millis(self.farm.now - since) >= self.farm.rules.emulate_after_ms;
            let idle = self.farm.rooms.iter().find(|room| {
                room.free > 0 && (room.native.contains(&arch) || (long && room.emulated.contains(&arch)))
            });
            assert!(idle.is_none(), "{waiting:?} wait for {arch}, and {idle:?} is idle");
        }
    }

    /// The stated bound, with the slots each of them really held.
    fn floods_are_level(&mut self) {
        for (key, held) in self.farm.held() {
            let most = self.most_held.entry(key).or_default();
            *most = held.max(*most);
        }
        let charge = self.farm.rules.charge_ms as f64;
        let by_class = self.farm.used(0);
        let used = self.used(0);
        for arch in Arch::ALL {
            let of = |n: usize| used.get(&(name(n), arch)).copied().unwrap_or(0) as f64;
            let held = |n: usize| f64::from(self.most_held.get(&(name(n), arch)).copied().unwrap_or(0));
            assert!(held(CAPPED) <= f64::from(CAP));
            for one in 0..FLOODS {
                let total = of(one);
                for class in CLASSES {
                    let used = by_class.get(&(name(one), arch, class)).copied().unwrap_or(0) as f64;
                    let bound = (16.0 * charge * (1.0 + held(one)) + 4.0 * held(one) * LONGEST as f64) / 13.0;
                    assert!(
                        total / CLASS_SHARES as f64 - used <= bound + 1_000.0,
                        "{class:?} of {}",
                        name(one)
                    );
                }
                for other in (0..FLOODS).filter(|other| one != CAPPED && *other != CAPPED) {
                    let (w, v) = (self.weight(&name(one)) as f64, self.weight(&name(other)) as f64);
                    let bound = held(one) * LONGEST as f64 / w + held(other) * charge / v;
                    assert!(
                        of(one) / w - of(other) / v <= bound + 1_000.0,
                        "{one} is ahead of {other} on {arch}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_day_of_a_hundred_sigs() {
    let seeds = std::env::var("GRANGE_SIM_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    for seed in 1..=seeds {
        let began = Instant::now();
        let mut day = Day::new(seed);
        for tick in 0..TICKS {
            day.arrive(tick);
            day.tick(tick);
            day.farm.advance(STEP);
        }
        assert!(day.quiet_began, "its build never began");
        let classes: BTreeMap<_, u64> =
            day.farm.used(0).into_iter().fold(BTreeMap::new(), |mut sums, (key, ms)| {
                *sums.entry(key.2).or_default() += ms / MINUTE;
                sums
            });
        println!(
            "day {seed}: {} jobs asked for, {} begun, {} done, levels and idle slots looked at {TICKS} times, in {:.1} s; \
             decayed machine-minutes by class {classes:?}; it ended at {:?}",
            day.numbers,
            day.begun,
            day.farm.done,
            began.elapsed().as_secs_f64(),
            day.farm.now - at(0),
        );
        let flooded: Vec<f64> = (0..FLOODS)
            .filter(|number| *number != CAPPED)
            .map(|number| {
                let used = day.used(0);
                used[&(name(number), Arch::X86_64)] as f64 / (MINUTE * day.weight(&name(number))) as f64
            })
            .collect();
        println!("levels of the floods on x86_64 at the end, in machine-minutes: {flooded:.0?}");
    }
}
