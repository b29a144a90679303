//! The rules, one by one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use farm::arch::Arch;
use farm::dispatch::{Candidate, Loads, Match, Room, Rules, Space, assign};
use farm::job::Class;
use farm::sig::Share;
use proptest::prelude::*;

use crate::clockwork::{CLASSES, at, candidate, room};

const NOW: u64 = 1_000_000;
const X86: Arch = Arch::X86_64;

fn share(weight: u32, cap: Option<u32>) -> Share {
    Share { weight, cap }
}

fn given(backlog: &[Candidate], rooms: &[Room], loads: &Loads) -> Vec<Match> {
    assign(backlog, rooms, loads, &Rules::default(), at(NOW))
}

/// Which of the backlog is begun, in order, as numbers from 0.
fn begun(backlog: &[Candidate], rooms: &[Room], loads: &Loads) -> Vec<usize> {
    let matches = given(backlog, rooms, loads);
    matches.iter().map(|m| backlog.iter().position(|job| job.job == m.job).unwrap()).collect()
}

fn used(entries: &[(&str, Class, u64)]) -> Loads {
    let used_ms = entries.iter().map(|(sig, class, ms)| (((*sig).to_owned(), X86, *class), *ms)).collect();
    Loads { used_ms, ..Loads::default() }
}

fn job(number: u64, sig: &str) -> Candidate {
    // Young enough to wait for native builders.
    candidate(number, sig, Class::Push, at(NOW - 100_000 + number))
}

#[test]
fn a_flood_waits_behind_itself() {
    let mut backlog: Vec<_> = (0..5_000).map(|n| job(n, "flood")).collect();
    backlog.push(job(9_999, "small"));
    let flood_is_at_work = used(&[("flood", Class::Push, 1)]);
    assert_eq!(begun(&backlog, &[room("b", 1)], &flood_is_at_work), [5_000]);
}

#[test]
fn the_least_used_by_weight_comes_first_and_one_round_is_fair() {
    let backlog: Vec<_> = (0..8).map(|n| job(n, if n < 4 { "a" } else { "b" })).collect();
    let minute = 60_000;
    let mut loads = used(&[("a", Class::Push, 6 * minute), ("b", Class::Push, 4 * minute)]);
    assert_eq!(begun(&backlog, &[room("r", 4)], &loads), [4, 5, 0, 6], "b until it is level, then in turn");
    loads.shares.insert("a".into(), share(3, None));
    assert_eq!(begun(&backlog, &[room("r", 4)], &loads), [0, 1, 2, 3], "6/3 is less than 4");
}

#[test]
fn architectures_are_weighed_by_themselves() {
    let mut foreign = job(0, "a");
    foreign.arch = Arch::S390x;
    let backlog = [foreign, job(1, "a"), job(2, "b")];
    let both = Room { native: vec![X86, Arch::S390x], ..room("r", 2) };
    assert_eq!(begun(&backlog, &[both], &used(&[("a", Class::Push, 9_000_000)])), [0, 2]);
}

#[test]
fn a_sig_at_its_cap_is_passed_over() {
    let backlog = [job(0, "a"), job(1, "a"), job(2, "a"), job(3, "b")];
    let mut loads = used(&[("b", Class::Push, 9_000_000)]);
    loads.shares.insert("a".into(), share(1, Some(3)));
    loads.held.insert(("a".into(), X86), 1);
    assert_eq!(begun(&backlog, &[room("r", 9)], &loads), [0, 1, 3]);
    loads.held.insert(("a".into(), X86), 5);
    assert_eq!(begun(&backlog, &[room("r", 9)], &loads), [3]);
}

#[test]
fn within_a_sig_class_then_height_then_age_decide() {
    let mut backlog: Vec<_> = (0..5).map(|n| job(n, "s")).collect();
    backlog[0].class = Class::Scratch;
    backlog[3].height = 2;
    backlog[4].class = Class::Release;
    assert_eq!(begun(&backlog, &[room("b", 5)], &Loads::default()), [4, 3, 1, 2, 0]);
}

#[test]
fn a_class_below_its_share_goes_first() {
    let mut nightly = job(1, "s");
    nightly.class = Class::Nightly;
    let backlog = [job(0, "s"), nightly];
    let after = |push, nightly| {
        let loads = used(&[("s", Class::Push, push), ("s", Class::Nightly, nightly)]);
        begun(&backlog, &[room("b", 1)], &loads)
    };
    // One charge is a minute: the nightly class is owed when 16 * (used + 1 min) is less than the whole.
    let minute = 60_000;
    assert_eq!(after(16 * minute, 0), [0]);
    assert_eq!(after(16 * minute + 1, 0), [1]);
    assert_eq!(after(100 * minute, 10 * minute), [0]);
}

#[test]
fn a_builder_that_failed_it_is_used_only_if_nobody_else_could_or_after_long() {
    let mut failed = job(1, "s");
    failed.avoid = vec!["bad".into()];
    let to = |job: &Candidate, rooms: &[Room]| {
        given(std::slice::from_ref(job), rooms, &Loads::default()).pop().map(|m| m.builder)
    };
    assert_eq!(to(&failed, &[room("bad", 9), room("good", 1)]).as_deref(), Some("good"));
    assert_eq!(to(&failed, &[room("bad", 1)]).as_deref(), Some("bad"), "nobody else is here");
    let busy = Room { free: 0, ..room("good", 1) };
    assert_eq!(to(&failed, &[room("bad", 9), busy.clone()]), None, "somebody else will be free");
    failed.since = at(NOW - 600_000);
    assert_eq!(to(&failed, &[room("bad", 9), busy]).as_deref(), Some("bad"), "it has waited long enough");
}

#[test]
fn a_native_builder_is_waited_for_a_while() {
    let native = room("native", 1);
    let emulating =
        Room { native: vec![Arch::Aarch64], emulated: vec![X86, Arch::S390x], ..room("emulating", 8) };
    let to = |job: &Candidate, rooms: &[Room]| {
        given(std::slice::from_ref(job), rooms, &Loads::default()).pop().map(|m| m.builder)
    };
    let mut one = job(1, "s");
    let full = Room { free: 0, ..native.clone() };
    assert_eq!(to(&one, &[emulating.clone(), native]).as_deref(), Some("native"));
    assert_eq!(to(&one, &[emulating.clone(), full.clone()]), None);
    assert_eq!(
        to(&one, std::slice::from_ref(&emulating)).as_deref(),
        Some("emulating"),
        "no native one is here"
    );
    let unfit = Room { whole: Space::said(1, 1), ..full.clone() };
    assert_eq!(
        to(&one, &[emulating.clone(), unfit]).as_deref(),
        Some("emulating"),
        "nor one that could ever"
    );
    one.since = at(NOW - 600_000);
    assert_eq!(to(&one, &[emulating, full]).as_deref(), Some("emulating"), "it has waited long enough");
}

#[test]
fn labels_memory_and_disk_must_fit() {
    let plain = room("plain", 4);
    let ssd = Room { labels: ["ssd".to_owned()].into(), free: 1, ..room("ssd", 4) };
    let mut picky = job(1, "s");
    picky.labels = BTreeSet::from(["ssd".to_owned()]);
    let found = given(&[picky.clone(), job(0, "s")], &[ssd.clone(), plain.clone()], &Loads::default());
    let builders: BTreeMap<_, _> = found.into_iter().map(|m| (m.job, m.builder)).collect();
    assert_eq!(builders[&picky.job], "ssd", "which is left for those who need it: {builders:?}");
    assert_eq!(builders.len(), 2);
    picky.labels.insert("big".into());
    assert_eq!(given(&[picky], &[ssd, plain.clone()], &Loads::default()), []);

    let large = |memory_mb, disk_mb| Candidate { memory_mb, disk_mb, ..job(1, "s") };
    for (fits, one) in [(true, large(4_096, 4_096)), (false, large(4_097, 1)), (false, large(1, 4_097))] {
        assert_eq!(given(&[one], std::slice::from_ref(&plain), &Loads::default()).len(), usize::from(fits));
    }
    let has_not_said = Room { whole: Space::said(0, 0), left: Space::said(0, 0), ..plain };
    assert_eq!(given(&[large(1 << 40, 1 << 40)], &[has_not_said], &Loads::default()).len(), 1);
}

#[test]
fn a_builder_is_kept_for_a_wide_job_that_has_waited_long() {
    let mut wide = Candidate { memory_mb: 4_096, ..job(1, "s") };
    let small: Vec<_> = (2..9).map(|n| job(n, "other")).collect();
    // On `half` two slots are free and half the memory is left; on `full` one slot.
    let half = Room { free: 2, left: Space::said(2_048, 2_048), ..room("half", 4) };
    let full = Room { free: 1, left: Space::said(1_024, 1_024), ..room("full", 4) };
    let given = |wide: &Candidate, rooms: &[Room], loads: &Loads| {
        let backlog: Vec<_> = small.iter().cloned().chain([wide.clone()]).collect();
        let found = given(&backlog, rooms, loads);
        let to = |builder| found.iter().filter(|m| m.builder == builder).count();
        (to("half"), to("full"), found.first().is_some_and(|m| m.job == wide.job))
    };
    let rooms = [half.clone(), full.clone()];
    assert_eq!(given(&wide, &rooms, &Loads::default()), (2, 1, false), "it has not waited long");
    wide.since = at(NOW - 600_000);
    assert_eq!(given(&wide, &rooms, &Loads::default()), (0, 1, false), "where least is missing, it is kept");
    let far_ahead = used(&[("s", Class::Push, 3_600_001)]);
    assert_eq!(given(&wide, &rooms, &far_ahead), (2, 1, false), "but not for a SIG that has had much");
    let empty = Room { free: 4, ..room("half", 4) };
    let some = used(&[("s", Class::Push, 3_000_000)]);
    assert_eq!(given(&wide, &[empty, full], &some), (1, 1, true), "and when it fits, it goes first");
}

proptest! {
    #[test]
    fn no_slot_is_used_twice_and_none_stays_free_needlessly(
        jobs in prop::collection::vec((0..4u8, 0..4u8, 0..50u64, 0..3u64, 0..3u8), 0..40),
        slots in prop::collection::vec((0..4u32, any::<bool>()), 0..5),
        cap in prop::option::of(1..4u32),
    ) {
        let backlog: Vec<_> = jobs.iter().enumerate().map(|(n, (sig, class, age, memory, avoid))| {
            let mut job = candidate(n as u64, &format!("s{sig}"), CLASSES[*class as usize], at(NOW - age));
            job.memory_mb = 512 * memory;
            if *avoid == 0 { job.avoid.push("b0".to_owned()); }
            job
        }).collect();
        let rooms: Vec<_> = slots.iter().enumerate().map(|(n, (free, emulates))| {
            let mut room = Room { free: *free, ..room(&format!("b{n}"), 4) };
            if *emulates { std::mem::swap(&mut room.native, &mut room.emulated); }
            room
        }).collect();
        let shares = BTreeMap::from([("s0".to_owned(), share(1, cap))]);
        let matches = given(&backlog, &rooms, &Loads { shares, ..Loads::default() });

        let unique: BTreeSet<_> = matches.iter().map(|m| m.job).collect();
        prop_assert_eq!(unique.len(), matches.len());
        let placed = |room: &Room| -> Vec<&Candidate> {
            let here = matches.iter().filter(|m| m.builder == room.builder);
            here.map(|m| backlog.iter().find(|job| job.job == m.job).unwrap()).collect()
        };
        let mut of_s0 = 0;
        for room in &rooms {
            let jobs = placed(room);
            prop_assert!(jobs.len() <= room.free as usize);
            prop_assert!(jobs.iter().map(|job| job.memory_mb).sum::<u64>() <= room.left.memory_mb);
            of_s0 += jobs.iter().filter(|job| job.sig == "s0").count();
        }
        prop_assert!(cap.is_none_or(|cap| of_s0 <= cap as usize));
        // Whoever is left has no room: said again in the plainest words.
        let native = rooms.iter().any(|room| !room.native.is_empty());
        for job in backlog.iter().filter(|job| !unique.contains(&job.job)) {
            if job.sig == "s0" && cap.is_some_and(|cap| of_s0 == cap as usize) {
                continue;
            }
            let suits = |room: &Room| !(native && room.native.is_empty());
            let others = rooms.iter().any(|room| room.builder != "b0" && suits(room));
            for room in rooms.iter().filter(|room| suits(room)) {
                if job.avoid.contains(&room.builder) && others {
                    continue;
                }
                let jobs = placed(room);
                let memory: u64 = jobs.iter().map(|job| job.memory_mb).sum();
                prop_assert!(
                    jobs.len() == room.free as usize || memory + job.memory_mb > room.left.memory_mb,
                    "{job:?} could go to {room:?}, where {jobs:?} went"
                );
            }
        }
    }
}

#[test]
fn a_long_backlog_is_no_burden() {
    let jobs: Vec<_> = (0..25_000)
        .map(|n| Candidate { class: CLASSES[(n % 4) as usize], ..job(n, &format!("sig{}", n % 100)) })
        .collect();
    let rooms: Vec<_> = (0..300).map(|n| room(&format!("b{n}"), 4)).collect();
    let begun = std::time::Instant::now();
    assert_eq!(given(&jobs, &rooms, &Loads::default()).len(), 1_200);
    println!("1,200 of 25,000 jobs given to 300 builders in {:?}", begun.elapsed());
    let full: Vec<_> = rooms.into_iter().map(|room| Room { left: Space::said(1, 1), ..room }).collect();
    let begun = std::time::Instant::now();
    assert_eq!(given(&jobs, &full, &Loads::default()), []);
    println!("25,000 jobs that fit none of 300 builders looked at in {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(20));
}
