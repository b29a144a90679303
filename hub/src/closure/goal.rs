//! Asking the solver whether a set of demands can be met at a time.

use std::any::Any;
use std::cell::Cell;
use std::collections::HashSet;
use std::fmt::Display;

use resolvo::{
    Candidates, Condition, ConditionId, Dependencies, DependencyProvider, Interner, KnownDependencies,
    NameId, Problem, SolvableId, Solver, SolverCache, StringId, UnsolvableOrCancelled, VersionSetId,
    VersionSetUnionId,
};

use super::encoding::{Encoding, solvable};
use super::formula::Formula;
use super::universe::{Pkg, Time};

/// Rounds of thought after which a goal is given up. A goal that can be decided takes some thousands.
const PATIENCE: u64 = 2_000_000;

/// The solver gave up.
#[derive(Debug, Clone, Copy)]
pub(super) struct TooHard;

/// What can be installed: all packages of a time, and some that already are.
pub(super) struct View<'e, 'u> {
    encoding: &'e Encoding<'u>,
    time: Time,
    installed: &'e HashSet<Pkg>,
    rounds: Cell<u64>,
}

/// A set of packages that meets all the demands, and all that its packages demand; `None` if there is none.
pub(super) fn solve(
    encoding: &Encoding<'_>,
    time: Time,
    installed: &HashSet<Pkg>,
    demands: &[Formula],
) -> Result<Option<HashSet<Pkg>>, TooHard> {
    let mut wanted = KnownDependencies::default();
    demands.iter().for_each(|demand| encoding.encode(demand, &mut wanted));
    let view = View { encoding, time, installed, rounds: Cell::new(0) };
    let problem = Problem::new().requirements(wanted.requirements).constraints(wanted.constrains);
    match Solver::new(view).solve(problem) {
        Ok(chosen) => {
            let packages = chosen.into_iter().map(SolvableId::into_raw);
            Ok(Some(packages.filter(|pkg| !encoding.is_choice(*pkg)).collect()))
        }
        Err(UnsolvableOrCancelled::Unsolvable(_)) => Ok(None),
        Err(UnsolvableOrCancelled::Cancelled(_)) => Err(TooHard),
    }
}

impl View<'_, '_> {
    fn is_there(&self, pkg: Pkg) -> bool {
        self.encoding.is_choice(pkg)
            || self.encoding.universe.is_at(pkg, self.time)
            || self.installed.contains(&pkg)
    }
}

impl Interner for View<'_, '_> {
    type NameId = NameId;
    type SolvableId = SolvableId;

    fn display_solvable(&self, solvable: SolvableId) -> impl Display + '_ {
        self.encoding.universe.nevra(solvable.into_raw())
    }
    fn display_name(&self, name: NameId) -> impl Display + '_ {
        self.encoding.label(name)
    }
    fn display_version_set(&self, _: VersionSetId) -> impl Display + '_ {
        ""
    }
    fn display_string(&self, _: StringId) -> impl Display + '_ {
        ""
    }
    fn version_set_name(&self, set: VersionSetId) -> NameId {
        self.encoding.set(set).name
    }
    fn solvable_name(&self, solvable: SolvableId) -> NameId {
        self.encoding.name_of(solvable.into_raw())
    }
    fn version_sets_in_union(&self, union: VersionSetUnionId) -> impl Iterator<Item = VersionSetId> {
        let sets = self.encoding.union(union);
        (0..sets.len()).filter_map(move |at| sets.get(at).copied())
    }
    fn resolve_condition(&self, _: ConditionId) -> Condition {
        // No requirement of ours has a condition.
        Condition::Requirement(VersionSetId(0))
    }
}

impl DependencyProvider for View<'_, '_> {
    async fn filter_candidates(
        &self,
        candidates: &[SolvableId],
        set: VersionSetId,
        inverse: bool,
    ) -> Vec<SolvableId> {
        let set = self.encoding.set(set);
        let is_in = |candidate: &&SolvableId| set.contains(candidate.into_raw()) != inverse;
        candidates.iter().filter(is_in).copied().collect()
    }

    async fn get_candidates(&self, name: NameId) -> Option<Candidates> {
        let members = self.encoding.members(name);
        let there = members.iter().copied().filter(|pkg| self.is_there(*pkg));
        Some(Candidates { candidates: there.map(solvable).collect(), ..Candidates::default() })
    }

    async fn sort_candidates(&self, _: &SolverCache<Self>, solvables: &mut [SolvableId]) {
        solvables.sort_by(|one, other| {
            let (one, other) = (one.into_raw(), other.into_raw());
            match (self.encoding.is_choice(one), self.encoding.is_choice(other)) {
                (false, false) => self.encoding.universe.prefer(one, other),
                _ => one.cmp(&other),
            }
        });
    }

    async fn get_dependencies(&self, solvable: SolvableId) -> Dependencies {
        Dependencies::Known(self.encoding.dependencies(solvable.into_raw()))
    }

    fn should_cancel_with_value(&self) -> Option<Box<dyn Any>> {
        self.rounds.set(self.rounds.get() + 1);
        (self.rounds.get() > PATIENCE).then(|| Box::new(TooHard) as Box<dyn Any>)
    }
}
