//! What a builder has to give, and how much of it is left. It never gives more, whatever it is offered.

use std::path::Path;

use farm::recipe::Limits;

use crate::Config;

const MIB: u64 = 1024 * 1024;

/// Slots, memory and disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Capacity {
    pub(crate) slots: u32,
    pub(crate) memory_mb: u64,
    pub(crate) disk_mb: u64,
}

impl Capacity {
    /// What the configuration says, and where it is silent what the machine has: all its memory, and of the `free_mb` of
    /// disk what is left once the caches are as full as [`may_keep`] lets them be.
    pub(crate) fn of(config: &Config, free_mb: u64) -> std::io::Result<Capacity> {
        let memory_mb = match config.memory_mb {
            Some(said) => said,
            None => memory_in(&std::fs::read_to_string("/proc/meminfo")?).unwrap_or(u64::MAX),
        };
        let disk_mb = match config.disk_mb {
            Some(said) => said,
            None => free_mb
                .saturating_sub(may_keep(config.cache_mb, free_mb))
                .saturating_sub(may_keep(config.ccache_mb, free_mb)),
        };
        Ok(Capacity { slots: config.slots, memory_mb, disk_mb })
    }

    /// What one job takes.
    pub(crate) fn taken_by(limits: &Limits) -> Capacity {
        Capacity { slots: 1, memory_mb: limits.memory_mb, disk_mb: limits.disk_mb }
    }

    /// Is there room for this beside what is taken?
    pub(crate) fn has_room(self, taken: impl Iterator<Item = Capacity>, more: Capacity) -> bool {
        let sum = taken.fold(more, |sum, one| Capacity {
            slots: sum.slots.saturating_add(one.slots),
            memory_mb: sum.memory_mb.saturating_add(one.memory_mb),
            disk_mb: sum.disk_mb.saturating_add(one.disk_mb),
        });
        sum.slots <= self.slots && sum.memory_mb <= self.memory_mb && sum.disk_mb <= self.disk_mb
    }
}

/// MiB that may be kept for later jobs where so much is wished for and so much is free: on a small disk a quarter of what
/// is free, so that what is kept never takes the room of the jobs it is kept for.
pub(crate) fn may_keep(wished_mb: u64, free_mb: u64) -> u64 {
    wished_mb.min(free_mb / 4)
}

/// MiB of memory that `/proc/meminfo` tells of.
fn memory_in(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib / 1024)
}

/// MiB that are free where a folder is.
pub(crate) fn free_disk(folder: &Path) -> std::io::Result<u64> {
    let facts = rustix::fs::statvfs(folder)?;
    Ok(facts.f_bavail.saturating_mul(facts.f_frsize) / MIB)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_slots_nor_memory_nor_disk_are_given_twice() {
        let all = Capacity { slots: 2, memory_mb: 8, disk_mb: 100 };
        let one = Capacity { slots: 1, memory_mb: 5, disk_mb: 10 };
        assert!(all.has_room([].into_iter(), one));
        assert!(!all.has_room([one].into_iter(), one), "the memory is taken");
        let small = Capacity { memory_mb: 1, ..one };
        assert!(all.has_room([one].into_iter(), small));
        assert!(!all.has_room([one, small].into_iter(), small), "the slots are taken");
        assert!(!all.has_room([one].into_iter(), Capacity { disk_mb: 91, ..small }), "the disk is taken");
    }

    #[test]
    fn what_is_kept_leaves_room_for_jobs_on_a_small_disk() {
        assert_eq!(may_keep(10_240, 100_000), 10_240);
        assert_eq!(may_keep(10_240, 8_000), 2_000);
        assert_eq!(may_keep(0, 8_000), 0);
    }

    #[test]
    fn the_machine_is_asked_for_what_is_not_said() {
        assert_eq!(memory_in("MemTotal:       24684000 kB\nMemFree: 1 kB\n"), Some(24105));
        assert_eq!(memory_in("nothing"), None);
        let free = free_disk(&std::env::temp_dir()).unwrap();
        let measured = Capacity::of(&Config { cache_mb: 0, ..Config::default() }, free).unwrap();
        assert!(measured.memory_mb > 0 && measured.disk_mb > 0, "{measured:?}");
        let said = Config { memory_mb: Some(7), disk_mb: Some(9), slots: 3, ..Config::default() };
        assert_eq!(Capacity::of(&said, free).unwrap(), Capacity { slots: 3, memory_mb: 7, disk_mb: 9 });
    }
}
