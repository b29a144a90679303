//! The bound that `farm::dispatch` states, held.

use std::collections::BTreeMap;
use std::time::Duration;

use farm::arch::Arch;
use farm::dispatch::CLASS_SHARES;
use farm::job::Class;
use farm::sig::Share;
use proptest::prelude::*;

use crate::clockwork::{CLASSES, Clockwork, Dice, candidate, room};

const CHARGE: u64 = 500;

/// SIGs `a`, `b`, … with these weights, each with a queue that never ends in each of these classes.
fn farm(weights: &[u32], slots: &[u32], half_life: Duration) -> Clockwork {
    let rooms = slots.iter().enumerate().map(|(n, slots)| room(&format!("b{n}"), *slots)).collect();
    let shares: BTreeMap<String, Share> = weights
        .iter()
        .enumerate()
        .map(|(n, weight)| (name(n), Share { weight: *weight, cap: None }))
        .collect();
    let mut farm = Clockwork::new(rooms, shares, half_life);
    farm.rules.charge_ms = CHARGE;
    farm
}

fn name(number: usize) -> String {
    char::from(b'a' + u8::try_from(number).unwrap()).to_string()
}

fn refill(farm: &mut Clockwork, sig: &str, class: Class, longest: u64, dice: &mut Dice) {
    let key = (sig.to_owned(), Arch::X86_64, class);
    while farm.queues.get(&key).map_or(0, std::collections::VecDeque::len) < 30 {
        let (number, takes) = (dice.roll(), 1 + dice.below(longest));
        farm.submit(candidate(number, sig, class, farm.now), takes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the durations, and however the ticks fall: N * (L/w + c/v).
    #[test]
    fn sigs_that_always_have_work_stay_level(
        weights in prop::collection::vec(1..=5u32, 2..5),
        slots in prop::collection::vec(1..=4u32, 1..4),
        longest in 1_000..100_000u64,
        half_life in prop::sample::select(vec![0, 60, 3_600]),
        seed in any::<u64>(),
    ) {
        let mut dice = Dice(seed);
        let mut farm = farm(&weights, &slots, Duration::from_secs(half_life));
        let all: u64 = slots.iter().map(|slots| u64::from(*slots)).sum();
        for _ in 0..150 {
            for number in 0..weights.len() {
                // One SIG's jobs are short, another's long: their numbers differ, their machine time must not.
                let longest = if number == 0 { longest } else { longest / 10 };
                refill(&mut farm, &name(number), Class::Push, longest, &mut dice);
            }
            farm.tick();
            prop_assert!(farm.rooms.iter().all(|room| room.free == 0));
            farm.advance(1 + dice.below(longest / 2));
            let used = farm.used(0);
            let of = |n: usize| used.get(&(name(n), Arch::X86_64, Class::Push)).copied().unwrap_or(0) as f64;
            for (one, other) in (0..weights.len()).flat_map(|n| (0..weights.len()).map(move |m| (n, m))) {
                let (w, v) = (f64::from(weights[one]), f64::from(weights[other]));
                let ahead = of(one) / w - of(other) / v;
                let longest = if one == 0 { longest } else { longest / 10 } as f64;
                let bound = all as f64 * (longest / w + CHARGE as f64 / v);
                // Decayed sums are rounded to whole milliseconds at each end of a job.
                prop_assert!(ahead <= bound + 200.0, "{ahead} ms ahead, and the bound is {bound}");
            }
        }
    }

    /// The lowest class always gets some share.
    #[test]
    fn no_class_falls_behind_its_share(
        slots in prop::collection::vec(1..=4u32, 1..4),
        longest in 1_000..100_000u64,
        seed in any::<u64>(),
    ) {
        let mut dice = Dice(seed);
        let mut farm = farm(&[1, 1], &slots, Duration::from_secs(3_600));
        let all: u64 = slots.iter().map(|slots| u64::from(*slots)).sum();
        for _ in 0..300 {
            for class in CLASSES {
                refill(&mut farm, "a", class, longest, &mut dice);
            }
            refill(&mut farm, "b", Class::Release, longest, &mut dice);
            farm.tick();
            farm.advance(1 + dice.below(longest));
            let used = farm.used(0);
            let of = |class| used.get(&("a".to_owned(), Arch::X86_64, class)).copied().unwrap_or(0);
            let total: u64 = CLASSES.into_iter().map(of).sum();
            for class in CLASSES {
                let behind = (total / CLASS_SHARES).saturating_sub(of(class));
                let bound = (16 * CHARGE * (1 + all) + 4 * all * longest) / 13;
                prop_assert!(behind <= bound + 200, "{class:?} is {behind} ms behind; the bound is {bound}");
            }
        }
        let used = farm.used(0);
        let nightly = used[&("a".to_owned(), Arch::X86_64, Class::Nightly)];
        let release = used[&("a".to_owned(), Arch::X86_64, Class::Release)];
        prop_assert!(nightly > 0 && release > nightly, "urgent work comes first all the same");
    }

    /// However large and small jobs come, the large one begins: small ones do not take every slot that falls free.
    #[test]
    fn a_wide_job_is_not_kept_out_for_ever(
        slots in prop::collection::vec(2..=4u32, 1..4),
        longest in 1_000..300_000u64,
        others in 1..3usize,
        seed in any::<u64>(),
    ) {
        let mut dice = Dice(seed);
        let mut farm = farm(&vec![1; others], &slots, Duration::from_secs(3_600));
        let most = u64::from(*slots.iter().max().unwrap());
        let patience = farm.rules.reserve_after_ms + longest * most + 2 * longest;
        let mut wide = candidate(1, "a", Class::Nightly, farm.now);
        wide.memory_mb = 1_024 * most;
        farm.submit(wide.clone(), 10);
        let mut begun = false;
        let start = farm.now;
        while !begun {
            for number in 0..others {
                refill(&mut farm, &name(number), Class::Release, longest, &mut dice);
            }
            begun = farm.tick().iter().any(|job| job.job == wide.job);
            farm.advance(1 + dice.below(longest));
            let waited = (farm.now - start).as_millis();
            prop_assert!(waited <= u128::from(patience), "it has waited {waited} ms");
        }
    }
}
