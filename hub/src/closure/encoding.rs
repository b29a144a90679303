//! The universe in the solver's terms, made as far as somebody asks and kept for all goals of a check.
//!
//! The solver knows names, of which one package each may be installed, and sets of packages of one name. So a requirement,
//! which in an RPM may be met by packages of many names, becomes a union of such sets; what must not be installed becomes
//! a constraint; and a choice between things of which some are absences becomes a name of our own, whose packages are the
//! choices. Nothing depends on whether a package is there before or after: that is a goal's view.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use resolvo::{
    ConditionalRequirement, KnownDependencies, NameId, Requirement, SolvableId, VersionSetId,
    VersionSetUnionId,
};

use super::formula::Formula;
use super::universe::{Pkg, Universe};

/// See the module.
pub(super) struct Encoding<'u> {
    pub(super) universe: &'u Universe,
    memo: RefCell<Memo>,
}

/// Packages of one name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Set {
    pub(super) name: NameId,
    members: Rc<[Pkg]>,
    /// It is all the others of that name.
    inverse: bool,
}

impl Set {
    pub(super) fn contains(&self, pkg: Pkg) -> bool {
        self.members.binary_search(&pkg).is_ok() != self.inverse
    }
}

#[derive(Default)]
struct Memo {
    names: HashMap<(String, bool), NameId>,
    /// Of each name, its label and its packages in the order in which they are tried.
    members: Vec<(String, Rc<[Pkg]>)>,
    name_of: HashMap<Pkg, NameId>,
    sets: Vec<Set>,
    set_ids: HashMap<Set, VersionSetId>,
    unions: Vec<Rc<[VersionSetId]>>,
    union_ids: HashMap<Rc<[VersionSetId]>, VersionSetUnionId>,
    /// Choices, which are numbered behind the packages.
    choices: Vec<(NameId, KnownDependencies)>,
    known: HashMap<Pkg, KnownDependencies>,
}

impl<'u> Encoding<'u> {
    pub(super) fn new(universe: &'u Universe) -> Self {
        Self { universe, memo: RefCell::default() }
    }

    /// The packages of a name.
    pub(super) fn members(&self, name: NameId) -> Rc<[Pkg]> {
        let memo = self.memo.borrow();
        memo.members
            .get(name.into_raw() as usize)
            .map_or_else(|| Rc::from([]), |(_, members)| members.clone())
    }

    pub(super) fn label(&self, name: NameId) -> String {
        let memo = self.memo.borrow();
        memo.members.get(name.into_raw() as usize).map_or_else(String::new, |(label, _)| label.clone())
    }

    pub(super) fn set(&self, set: VersionSetId) -> Set {
        let nothing = || Set { name: NameId::from_raw(0), members: Rc::from([]), inverse: false };
        self.memo.borrow().sets.get(set.0 as usize).cloned().unwrap_or_else(nothing)
    }

    pub(super) fn union(&self, union: VersionSetUnionId) -> Rc<[VersionSetId]> {
        self.memo.borrow().unions.get(union.0 as usize).cloned().unwrap_or_else(|| Rc::from([]))
    }

    /// Is it one of our own choices and no package?
    pub(super) fn is_choice(&self, pkg: Pkg) -> bool {
        pkg >= self.universe.total()
    }

    /// The name under which a package excludes others: its own, apart for packages of another architecture.
    pub(super) fn name_of(&self, pkg: Pkg) -> NameId {
        if let Some(choice) = pkg.checked_sub(self.universe.total()) {
            let memo = self.memo.borrow();
            return memo.choices.get(choice as usize).map_or(NameId::from_raw(0), |(name, _)| *name);
        }
        if let Some(known) = self.memo.borrow().name_of.get(&pkg) {
            return *known;
        }
        let key = (self.universe.name(pkg).to_owned(), self.universe.is_foreign(pkg));
        let known = self.memo.borrow().names.get(&key).copied();
        let name = known.unwrap_or_else(|| {
            let mut members = self.universe.named(&key.0);
            members.retain(|other| self.universe.is_foreign(*other) == key.1);
            members.sort_by(|one, other| self.universe.prefer(*one, *other));
            let name = self.new_name(key.0.clone(), members.into());
            self.memo.borrow_mut().names.insert(key, name);
            name
        });
        self.memo.borrow_mut().name_of.insert(pkg, name);
        name
    }

    fn new_name(&self, label: String, members: Rc<[Pkg]>) -> NameId {
        let mut memo = self.memo.borrow_mut();
        memo.members.push((label, members));
        NameId::from_raw(index(memo.members.len() - 1))
    }

    /// What a package needs and excludes.
    pub(super) fn dependencies(&self, pkg: Pkg) -> KnownDependencies {
        if let Some(choice) = pkg.checked_sub(self.universe.total()) {
            let memo = self.memo.borrow();
            return memo.choices.get(choice as usize).map(|(_, known)| known.clone()).unwrap_or_default();
        }
        if let Some(known) = self.memo.borrow().known.get(&pkg) {
            return known.clone();
        }
        let mut known = KnownDependencies::default();
        for formula in Formula::all_of(self.universe, pkg) {
            // What a package needs and provides itself is there.
            if !matches!(&formula, Formula::Any(members) if members.contains(&pkg)) {
                self.encode(&formula, &mut known);
            }
        }
        known.requirements.sort_unstable();
        known.requirements.dedup();
        known.constrains.sort_unstable();
        known.constrains.dedup();
        self.memo.borrow_mut().known.insert(pkg, known.clone());
        known
    }

    /// Adds a formula to what is demanded.
    pub(super) fn encode(&self, formula: &Formula, known: &mut KnownDependencies) {
        match formula {
            Formula::Any(members) => {
                let sets = self.by_name(members).into_iter();
                let sets: Vec<_> = sets.map(|(name, members)| self.set_id(name, members, false)).collect();
                known.requirements.push(self.requirement(sets));
            }
            Formula::None(members) => {
                for (name, members) in self.by_name(members) {
                    known.constrains.push(self.set_id(name, members, true));
                }
            }
            Formula::All(parts) => parts.iter().for_each(|part| self.encode(part, known)),
            Formula::Either(parts) => self.encode_choice(parts, known),
        }
    }

    fn encode_choice(&self, parts: &[Formula], known: &mut KnownDependencies) {
        let (mut merged, mut others) = (Vec::new(), Vec::new());
        for part in parts {
            match part {
                Formula::Any(members) => merged.extend_from_slice(members),
                Formula::All(parts) if parts.is_empty() => return,
                Formula::None(members) if members.is_empty() => return,
                other => others.push(other.clone()),
            }
        }
        if others.is_empty() {
            return self.encode(&Formula::Any(merged), known);
        }
        // Absences first: what need not be installed is not.
        if !merged.is_empty() {
            others.push(Formula::Any(merged));
        }
        let name = self.new_name("a choice".to_owned(), Rc::from([]));
        let mut members = Vec::new();
        for part in others {
            let mut inner = KnownDependencies::default();
            self.encode(&part, &mut inner);
            let mut memo = self.memo.borrow_mut();
            members.push(self.universe.total() + index(memo.choices.len()));
            memo.choices.push((name, inner));
        }
        let set = self.set_id(name, members.clone(), false);
        if let Some(place) = self.memo.borrow_mut().members.get_mut(name.into_raw() as usize) {
            place.1 = members.into();
        }
        known.requirements.push(self.requirement(vec![set]));
    }

    /// A set without packages, of a name without packages.
    fn nothing(&self) -> VersionSetId {
        let key = (String::new(), false);
        let known = self.memo.borrow().names.get(&key).copied();
        let name = known.unwrap_or_else(|| {
            let name = self.new_name("nothing".to_owned(), Rc::from([]));
            self.memo.borrow_mut().names.insert(key, name);
            name
        });
        self.set_id(name, Vec::new(), false)
    }

    fn by_name(&self, members: &[Pkg]) -> BTreeMap<NameId, Vec<Pkg>> {
        let mut by_name: BTreeMap<NameId, Vec<Pkg>> = BTreeMap::new();
        for pkg in members {
            by_name.entry(self.name_of(*pkg)).or_default().push(*pkg);
        }
        by_name
    }

    fn set_id(&self, name: NameId, mut members: Vec<Pkg>, inverse: bool) -> VersionSetId {
        members.sort_unstable();
        members.dedup();
        let set = Set { name, members: members.into(), inverse };
        let mut memo = self.memo.borrow_mut();
        if let Some(known) = memo.set_ids.get(&set) {
            return *known;
        }
        let id = VersionSetId(index(memo.sets.len()));
        memo.sets.push(set.clone());
        memo.set_ids.insert(set, id);
        id
    }

    /// A requirement that one of the sets meets; they are tried in the order in which the package manager would.
    fn requirement(&self, mut sets: Vec<VersionSetId>) -> ConditionalRequirement {
        match sets.as_slice() {
            [] => return Requirement::Single(self.nothing()).into(),
            [only] => return Requirement::Single(*only).into(),
            [_, ..] => {}
        }
        let first = |set: &VersionSetId| {
            let members = self.set(*set).members;
            members.iter().copied().min_by(|one, other| self.universe.prefer(*one, *other))
        };
        let mut ranked: Vec<_> = sets.into_iter().map(|set| (first(&set), set)).collect();
        ranked.sort_by(|(one, _), (other, _)| match (one, other) {
            (Some(one), Some(other)) => {
                let name = |pkg: &Pkg| self.universe.name(*pkg);
                let rank = self.universe.rank(*one).cmp(&self.universe.rank(*other));
                rank.then_with(|| name(one).len().cmp(&name(other).len()))
                    .then_with(|| name(one).cmp(name(other)))
            }
            (one, other) => one.cmp(other),
        });
        sets = ranked.into_iter().map(|(_, set)| set).collect();
        let sets: Rc<[VersionSetId]> = sets.into();
        let mut memo = self.memo.borrow_mut();
        let known = memo.union_ids.get(&sets).copied();
        let id = known.unwrap_or_else(|| {
            let id = VersionSetUnionId(index(memo.unions.len()));
            memo.unions.push(sets.clone());
            memo.union_ids.insert(sets, id);
            id
        });
        Requirement::Union(id).into()
    }
}

fn index(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// A package by the solver's number, and back.
pub(super) fn solvable(pkg: Pkg) -> SolvableId {
    SolvableId::from_raw(pkg)
}
