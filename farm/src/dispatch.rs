//! Who gets what next: fair between SIGs first, then by class, then by age.
//!
//! A SIG that floods the farm waits behind its own work: each offer goes to the SIG with the fewest jobs at work among
//! those that have one the builder can do.

use std::collections::BTreeMap;

use crate::arch::Arch;
use crate::ids::JobId;
use crate::job::Class;
use crate::stamp::Stamp;

/// A job in the backlog, as far as dispatch looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its id.
    pub job: JobId,
    /// Its SIG.
    pub sig: String,
    /// Its class.
    pub class: Class,
    /// What it must run on.
    pub arch: Arch,
    /// When it entered the backlog.
    pub created: Stamp,
    /// Builders on which the farm has failed it before: others are preferred.
    pub avoid: Vec<String>,
}

/// A builder's free slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// The builder.
    pub builder: String,
    /// What it runs.
    pub arches: Vec<Arch>,
    /// How many jobs it can take now.
    pub free: u32,
}

/// One job for one builder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// The job.
    pub job: JobId,
    /// The builder.
    pub builder: String,
}

/// Fills free slots from the backlog. `running` counts each SIG's jobs that are offered or at work now.
#[must_use]
pub fn assign(backlog: &[Candidate], rooms: &[Room], running: &BTreeMap<String, u32>) -> Vec<Match> {
    let mut queues: BTreeMap<&str, Vec<&Candidate>> = BTreeMap::new();
    for candidate in backlog {
        queues.entry(&candidate.sig).or_default().push(candidate);
    }
    for queue in queues.values_mut() {
        queue.sort_by_key(|candidate| (candidate.class, candidate.created, candidate.job));
    }
    let mut load: BTreeMap<&str, u32> =
        queues.keys().map(|sig| (*sig, running.get(*sig).copied().unwrap_or(0))).collect();
    let mut rooms = rooms.to_vec();
    let mut matches = Vec::new();
    while let Some((sig, index, room)) = pick(&queues, &load, &rooms) {
        let Some(candidate) = queues.get_mut(sig).map(|queue| queue.remove(index)) else { break };
        *load.entry(sig).or_default() += 1;
        rooms[room].free -= 1;
        matches.push(Match { job: candidate.job, builder: rooms[room].builder.clone() });
    }
    matches
}

/// The next offer: the least loaded SIG that has a job some room can take; that job's place in its queue, and the room.
fn pick<'a>(
    queues: &BTreeMap<&'a str, Vec<&'a Candidate>>,
    load: &BTreeMap<&'a str, u32>,
    rooms: &[Room],
) -> Option<(&'a str, usize, usize)> {
    let mut sigs: Vec<(&'a str, &Vec<&Candidate>)> =
        queues.iter().map(|(sig, queue)| (*sig, queue)).collect();
    sigs.sort_by_key(|(sig, queue)| {
        let first = queue.first().map(|candidate| (candidate.class, candidate.created));
        (load.get(sig).copied().unwrap_or(0), first.is_none(), first)
    });
    sigs.into_iter().find_map(|(sig, queue)| {
        queue
            .iter()
            .enumerate()
            .find_map(|(index, candidate)| best_room(candidate, rooms).map(|room| (sig, index, room)))
    })
}

/// A room for the job: one that has not failed it before if there is one, then the emptiest.
fn best_room(candidate: &Candidate, rooms: &[Room]) -> Option<usize> {
    rooms
        .iter()
        .enumerate()
        .filter(|(_, room)| room.free > 0 && room.arches.contains(&candidate.arch))
        .min_by_key(|(_, room)| (candidate.avoid.contains(&room.builder), std::cmp::Reverse(room.free)))
        .map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::Minter;

    fn candidate(n: u64, sig: &str, class: Class, created: i64) -> Candidate {
        let job = Minter::new(n).mint(Stamp::from_millis(created));
        Candidate {
            job,
            sig: sig.into(),
            class,
            arch: Arch::X86_64,
            created: Stamp::from_millis(created),
            avoid: vec![],
        }
    }

    fn room(builder: &str, free: u32) -> Room {
        Room { builder: builder.into(), arches: vec![Arch::X86_64], free }
    }

    #[test]
    fn a_flood_waits_behind_itself() {
        let mut backlog: Vec<_> = (0..5_000).map(|n| candidate(n, "flood", Class::Push, 1)).collect();
        let small = candidate(9_999, "small", Class::Push, 2);
        backlog.push(small.clone());
        let running = BTreeMap::from([("flood".to_owned(), 4)]);
        assert_eq!(assign(&backlog, &[room("b", 1)], &running)[0].job, small.job);
    }

    #[test]
    fn within_a_sig_class_then_age_decide() {
        let old = candidate(1, "s", Class::Scratch, 1);
        let release = candidate(2, "s", Class::Release, 9);
        let push = candidate(3, "s", Class::Push, 5);
        let order: Vec<_> =
            assign(&[old.clone(), push.clone(), release.clone()], &[room("b", 3)], &BTreeMap::new())
                .into_iter()
                .map(|m| m.job)
                .collect();
        assert_eq!(order, [release.job, push.job, old.job]);
    }

    #[test]
    fn a_builder_that_failed_it_is_the_last_choice() {
        let mut job = candidate(1, "s", Class::Push, 1);
        job.avoid = vec!["bad".into()];
        let both = assign(&[job.clone()], &[room("bad", 9), room("good", 1)], &BTreeMap::new());
        assert_eq!(both[0].builder, "good");
        assert_eq!(assign(&[job], &[room("bad", 1)], &BTreeMap::new())[0].builder, "bad");
    }

    proptest! {
        #[test]
        fn no_slot_is_used_twice_and_none_stays_free_needlessly(
            jobs in prop::collection::vec((0..4u8, 0..4u8, 0..50i64), 0..40),
            slots in prop::collection::vec(0..4u32, 0..5),
        ) {
            let backlog: Vec<_> = jobs.iter().enumerate().map(|(n, (sig, class, at))| {
                let class = [Class::Release, Class::Push, Class::Scratch, Class::Nightly][*class as usize];
                candidate(n as u64, &format!("s{sig}"), class, *at)
            }).collect();
            let rooms: Vec<_> = slots.iter().enumerate().map(|(n, free)| room(&format!("b{n}"), *free)).collect();
            let matches = assign(&backlog, &rooms, &BTreeMap::new());
            let total: u32 = slots.iter().sum();
            prop_assert_eq!(matches.len(), backlog.len().min(total as usize));
            for room in &rooms {
                prop_assert!(matches.iter().filter(|m| m.builder == room.builder).count() <= room.free as usize);
            }
            let unique: std::collections::BTreeSet<_> = matches.iter().map(|m| m.job).collect();
            prop_assert_eq!(unique.len(), matches.len());
        }
    }
}
