//! What differs between before and after.

use std::collections::{HashMap, HashSet};

use super::universe::{Pkg, Time, Universe};

/// The difference between before and after.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// There only after.
    pub(super) added: Vec<Pkg>,
    /// There only before.
    pub(super) removed: Vec<Pkg>,
    /// The same package under its number before, by its number after.
    pub(super) twins: HashMap<Pkg, Pkg>,
}

impl Universe {
    /// What changed: packages that are there only after, and those that were there only before. A package that is there at
    /// both times with another signature is no change.
    pub(super) fn changes(&self) -> Changes {
        let of = |time: Time| self.all(time);
        let is_shared = |pkg: &Pkg| self.is_at(*pkg, Time::Before) && self.is_at(*pkg, Time::After);
        let print = |pkg: Pkg| self.at(pkg).map_or(0, |seen| seen.package.fingerprint);
        let before: HashMap<u64, Pkg> = of(Time::Before).map(|pkg| (print(pkg), pkg)).collect();
        let after: HashSet<u64> = of(Time::After).map(print).collect();
        let mut changes = Changes::default();
        for pkg in of(Time::After).filter(|pkg| !is_shared(pkg)) {
            match before.get(&print(pkg)) {
                Some(twin) => {
                    changes.twins.insert(pkg, *twin);
                }
                None => changes.added.push(pkg),
            }
        }
        changes.removed =
            of(Time::Before).filter(|pkg| !is_shared(pkg) && !after.contains(&print(*pkg))).collect();
        changes
    }
}
