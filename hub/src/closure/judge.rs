//! The verdict on each package: can it be installed after, and can who has it today go on to what is there after?

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use super::affected;
use super::changes::Changes;
use super::encoding::Encoding;
use super::formula::Formula;
use super::goal::{TooHard, solve};
use super::universe::{Pkg, Time, Universe};
use super::{Breakage, MOST_NAMED, Report};

/// Packages that are tried together: a set of which all can be installed at once needs no second look.
const TOGETHER: usize = 32;

/// A package to be looked at: as it is after, and as people have it today.
#[derive(Debug, Clone, Copy)]
struct Subject {
    after: Option<Pkg>,
    before: Option<Pkg>,
}

/// See the module.
pub(super) struct Judge<'e, 'u> {
    pub(super) universe: &'u Universe,
    pub(super) encoding: &'e Encoding<'u>,
    changes: &'e Changes,
    added: HashSet<Pkg>,
    installable: RefCell<HashMap<(Pkg, Time), bool>>,
    pub(super) nothing: HashSet<Pkg>,
}

/// What stands for an installed package in an upgrade.
#[derive(Debug, Clone)]
pub(super) struct Demand {
    /// The installed package.
    pub(super) installed: Pkg,
    /// What may be there instead of it, itself included unless it must go on.
    pub(super) instead: Vec<Pkg>,
    /// It must go on to something newer.
    pub(super) must: bool,
}

impl Demand {
    pub(super) fn formula(&self) -> Formula {
        Formula::Any(self.instead.clone())
    }
}

impl<'e, 'u> Judge<'e, 'u> {
    pub(super) fn new(encoding: &'e Encoding<'u>, changes: &'e Changes) -> Self {
        Self {
            universe: encoding.universe,
            encoding,
            changes,
            added: changes.added.iter().copied().collect(),
            installable: RefCell::default(),
            nothing: HashSet::new(),
        }
    }

    /// Looks at everything that changed and everything that depends on it.
    pub(super) fn report(&self) -> Result<Report, TooHard> {
        let mut report = Report::default();
        let subjects = self.subjects();
        report.checked = subjects.len();
        for pkg in &self.changes.added {
            if let Some(before) = self.counterpart(*pkg)
                && self.universe.compare(*pkg, before).is_lt()
            {
                let (new, old) = (self.universe.nevra(*pkg), self.universe.nevra(before));
                let why = format!(
                    "{new} is older than {old}: who has that keeps it until it is downgraded by hand"
                );
                report.downgrades.push(self.breakage(*pkg, why));
            }
        }
        for chunk in subjects.chunks(TOGETHER) {
            self.settle(chunk, &mut report)?;
            if report.broken.len() >= MOST_NAMED {
                report.cut_short = true;
                break;
            }
        }
        if report.was_broken.len() > MOST_NAMED || report.downgrades.len() > MOST_NAMED {
            report.was_broken.truncate(MOST_NAMED);
            report.downgrades.truncate(MOST_NAMED);
            report.cut_short = true;
        }
        Ok(report)
    }

    fn subjects(&self) -> Vec<Subject> {
        let dependents = affected::dependents(self.universe, self.changes);
        let after = self.changes.added.iter().chain(&dependents);
        let mut subjects: Vec<Subject> =
            after.map(|pkg| Subject { after: Some(*pkg), before: self.counterpart(*pkg) }).collect();
        // Of what is gone for good, whoever has it must still be able to go on.
        let gone = self.changes.removed.iter().filter(|pkg| self.same_name(**pkg, Time::After).is_empty());
        subjects.extend(gone.map(|pkg| Subject { after: None, before: Some(*pkg) }));
        subjects
    }

    /// Packages of the same name that would take this one's place, best first.
    fn same_name(&self, pkg: Pkg, time: Time) -> Vec<Pkg> {
        let foreign = self.universe.is_foreign(pkg);
        let mut found = self.universe.named(self.universe.name(pkg));
        found
            .retain(|other| self.universe.is_at(*other, time) && self.universe.is_foreign(*other) == foreign);
        found.sort_by(|one, other| self.universe.prefer(*one, *other));
        found
    }

    /// What people have today where this package is after.
    fn counterpart(&self, pkg: Pkg) -> Option<Pkg> {
        if self.universe.is_at(pkg, Time::Before) {
            return Some(pkg);
        }
        self.changes.twins.get(&pkg).copied().or_else(|| self.same_name(pkg, Time::Before).first().copied())
    }

    /// Can it be installed alone?
    pub(super) fn is_installable(&self, pkg: Pkg, time: Time) -> Result<bool, TooHard> {
        if let Some(known) = self.installable.borrow().get(&(pkg, time)) {
            return Ok(*known);
        }
        let found = solve(self.encoding, time, &self.nothing, &[Formula::Any(vec![pkg])])?.is_some();
        self.installable.borrow_mut().insert((pkg, time), found);
        Ok(found)
    }

    fn settle(&self, subjects: &[Subject], report: &mut Report) -> Result<(), TooHard> {
        match subjects {
            [] => Ok(()),
            [only] => self.settle_one(*only, report),
            several => match self.are_all_fine(several) {
                Ok(true) => Ok(()),
                Ok(false) | Err(TooHard) => {
                    let (one, other) = several.split_at(several.len() / 2);
                    self.settle(one, report)?;
                    self.settle(other, report)
                }
            },
        }
    }

    /// Can they all be installed together, and can who has them all go on? Then each of them can alone.
    fn are_all_fine(&self, subjects: &[Subject]) -> Result<bool, TooHard> {
        let one_of = |pkg: Pkg| Formula::Any(vec![pkg]);
        let after: Vec<Formula> = subjects.iter().filter_map(|subject| subject.after).map(one_of).collect();
        if solve(self.encoding, Time::After, &self.nothing, &after)?.is_none() {
            return Ok(false);
        }
        let before: Vec<Formula> = subjects.iter().filter_map(|subject| subject.before).map(one_of).collect();
        let Some(installed) = solve(self.encoding, Time::Before, &self.nothing, &before)? else {
            return Ok(false);
        };
        self.can_go_on(&installed)
    }

    fn settle_one(&self, subject: Subject, report: &mut Report) -> Result<(), TooHard> {
        let had = match subject.before {
            Some(before) => solve(self.encoding, Time::Before, &self.nothing, &[Formula::Any(vec![before])])?,
            None => None,
        };
        if let Some(after) = subject.after
            && !self.is_installable(after, Time::After)?
        {
            let cause = self.why_not(after, Time::After)?;
            let was = match subject.before {
                Some(before) if had.is_none() => Some(self.why_not(before, Time::Before)?),
                Some(_) | None => None,
            };
            let breakage = self.breakage(after, cause.text);
            if was.is_some_and(|was| was.root == cause.root) {
                report.was_broken.push(breakage);
            } else {
                report.broken.push(breakage);
            }
            return Ok(());
        }
        if let (Some(before), Some(installed)) = (subject.before, had)
            && !self.can_go_on(&installed)?
        {
            let why = self.why_stuck(before, &installed)?;
            report.broken.push(self.breakage(subject.after.unwrap_or(before), why));
        }
        Ok(())
    }

    /// Can who has these installed go on?
    pub(super) fn can_go_on(&self, installed: &HashSet<Pkg>) -> Result<bool, TooHard> {
        let demands: Vec<Formula> = self.demands(installed).iter().map(Demand::formula).collect();
        Ok(solve(self.encoding, Time::After, installed, &demands)?.is_some())
    }

    /// What an upgrade has to achieve where these are installed: nothing goes without something in its place, and whatever
    /// the change offers something newer for is replaced by something newer.
    pub(super) fn demands(&self, installed: &HashSet<Pkg>) -> Vec<Demand> {
        let mut sorted: Vec<Pkg> = installed.iter().copied().collect();
        sorted.sort_unstable();
        let demand = |pkg: Pkg| {
            let same = self.same_name(pkg, Time::After);
            let is_newer = |other: &Pkg| self.universe.compare(*other, pkg).is_gt();
            // An upgrade is offered by the best repo that has the package at all, and by no other.
            let best = same.iter().map(|other| self.universe.rank(*other).0).min();
            let offered = same.iter().copied().filter(|other| Some(self.universe.rank(*other).0) == best);
            let mut obsoleting = self.universe.obsoleters_of_name(self.universe.name(pkg));
            obsoleting.retain(|other| {
                self.universe.is_at(*other, Time::After) && self.universe.obsoletes(*other, pkg)
            });
            let mut instead: Vec<Pkg> = offered.filter(is_newer).chain(obsoleting).collect();
            let must = instead.iter().any(|other| self.added.contains(other));
            if !must {
                instead
                    .extend(same.iter().copied().filter(|other| self.universe.compare(*other, pkg).is_ge()));
                instead.push(pkg);
            }
            instead.sort_unstable();
            instead.dedup();
            Demand { installed: pkg, instead, must }
        };
        sorted.into_iter().map(demand).collect()
    }

    fn breakage(&self, pkg: Pkg, why: String) -> Breakage {
        let arch = self.universe.at(pkg).map_or_else(String::new, |seen| seen.arch().to_owned());
        Breakage { nevra: self.universe.nevra(pkg), arch, why }
    }
}
