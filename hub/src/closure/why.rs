//! Why a package cannot be installed, in a sentence a packager can do something with.

use std::collections::HashSet;

use super::LONGEST_WHY;
use super::data::Kind;
use super::formula::Formula;
use super::goal::{TooHard, solve};
use super::judge::Judge;
use super::universe::{Pkg, Time, Wanted, wanted};

/// Links of a chain of needs that are told.
const LONGEST_CHAIN: usize = 5;
/// Packages that are named where several provide something.
pub(super) const MOST_PROVIDERS: usize = 2;

/// Why something cannot be installed.
pub(super) struct Cause {
    /// The sentence.
    pub(super) text: String,
    /// What is at the bottom of it, without versions of packages: equal for what is broken in the same way.
    pub(super) root: String,
}

/// One need of a package.
pub(super) struct Need {
    pub(super) written: String,
    pub(super) formula: Formula,
    /// It is a name and no boolean expression.
    plain: Option<String>,
}

impl Judge<'_, '_> {
    /// Why a package that cannot be installed cannot.
    pub(super) fn why_not(&self, pkg: Pkg, time: Time) -> Result<Cause, TooHard> {
        let (mut text, mut seen, mut current) = (String::new(), HashSet::new(), pkg);
        loop {
            seen.insert(current);
            let needs = self.needs(current);
            let nevra = self.universe.nevra(current);
            if let Some(cause) = self.missing(current, time, &needs)? {
                text.push_str(&cause.text);
                return Ok(Cause { text: shortened(text), root: cause.root });
            }
            let Some((need, next)) = self.broken_need(current, time, &needs, &seen)? else {
                let cause = self.clash(current, time, &needs)?;
                text.push_str(&cause.text);
                return Ok(Cause { text: shortened(text), root: cause.root });
            };
            let provider = self.universe.nevra(next);
            if seen.len() <= LONGEST_CHAIN {
                text.push_str(&format!("{nevra} needs {need}, which {provider} provides; "));
            } else if seen.len() == LONGEST_CHAIN + 1 {
                text.push_str("and so on; ");
            }
            current = next;
        }
    }

    pub(super) fn needs(&self, pkg: Pkg) -> Vec<Need> {
        let Some(seen) = self.universe.at(pkg) else { return Vec::new() };
        let needs = seen.relations(Kind::Requires).iter().map(|relation| Need {
            written: seen.data().written(relation),
            formula: Formula::of(self.universe, pkg, seen, Kind::Requires, relation),
            plain: match wanted(seen, relation) {
                Wanted::Plain(name, _) => Some(name.to_owned()),
                Wanted::Rich(_) | Wanted::Unreadable => None,
            },
        });
        needs.filter(|need| !matches!(&need.formula, Formula::Any(found) if found.contains(&pkg))).collect()
    }

    pub(super) fn there(&self, pkgs: &[Pkg], time: Time) -> Vec<Pkg> {
        let mut there: Vec<Pkg> =
            pkgs.iter().copied().filter(|pkg| self.universe.is_at(*pkg, time)).collect();
        there.sort_by(|one, other| self.universe.prefer(*one, *other));
        there
    }

    /// A need that nothing meets.
    fn missing(&self, pkg: Pkg, time: Time, needs: &[Need]) -> Result<Option<Cause>, TooHard> {
        let nevra = self.universe.nevra(pkg);
        for need in needs {
            let written = &need.written;
            let root = format!("{} needs {written}", self.universe.name(pkg));
            match &need.formula {
                Formula::Any(found) if need.plain.is_some() => {
                    if self.there(found, time).is_empty() {
                        let mut text = format!("{nevra} needs {written}, which nothing provides");
                        text.push_str(&self.instead_of(need, found, time));
                        return Ok(Some(Cause { text, root }));
                    }
                }
                formula => {
                    let alone = std::slice::from_ref(formula);
                    if solve(self.encoding, time, &self.nothing, alone)?.is_none() {
                        let text = format!("{nevra} needs {written}, which nothing meets");
                        return Ok(Some(Cause { text, root }));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Who provided it before, or what is there of another version.
    fn instead_of(&self, need: &Need, found: &[Pkg], time: Time) -> String {
        if time == Time::After {
            let before = self.there(found, Time::Before);
            if !before.is_empty() {
                return format!("; it was provided by {} before", self.listed(&before));
            }
        }
        let Some(name) = &need.plain else { return String::new() };
        let others = self.universe.providers(name, super::evr::Range::ANY);
        match self.there(&others, time).as_slice() {
            [] => String::new(),
            others => format!("; there is only {}", self.listed(others)),
        }
    }

    fn listed(&self, pkgs: &[Pkg]) -> String {
        let named: Vec<String> =
            pkgs.iter().take(MOST_PROVIDERS).map(|pkg| self.universe.nevra(*pkg)).collect();
        let more = pkgs.len() - named.len();
        let mut text = named.join(", ");
        if more > 0 {
            text.push_str(&format!(" and {more} more"));
        }
        text
    }

    /// A need whose every provider cannot be installed itself, and the one that would be chosen.
    fn broken_need(
        &self,
        pkg: Pkg,
        time: Time,
        needs: &[Need],
        seen: &HashSet<Pkg>,
    ) -> Result<Option<(String, Pkg)>, TooHard> {
        for need in needs {
            let Formula::Any(found) = &need.formula else { continue };
            let there = self.there(found, time);
            let mut sound = false;
            for provider in &there {
                sound |= *provider == pkg || self.is_installable(*provider, time)?;
            }
            let next = there.into_iter().find(|provider| !seen.contains(provider));
            if let (false, Some(next)) = (sound, next) {
                return Ok(Some((need.written.clone(), next)));
            }
        }
        Ok(None)
    }

    /// Every need can be met, but not all of them together.
    fn clash(&self, pkg: Pkg, time: Time, needs: &[Need]) -> Result<Cause, TooHard> {
        let nevra = self.universe.nevra(pkg);
        let mut left: Vec<&Need> = needs.iter().filter(|need| need.formula != Formula::TRUE).collect();
        let possible = |needs: &[&Need], more: Option<&Formula>| {
            let formulas: Vec<Formula> =
                needs.iter().map(|need| need.formula.clone()).chain(more.cloned()).collect();
            Ok(solve(self.encoding, time, &self.nothing, &formulas)?.is_some())
        };
        if possible(&left, None)? {
            let aversions = self.aversions(pkg);
            for need in needs {
                if !possible(&[need], Some(&aversions))? {
                    let text =
                        format!("{nevra} needs {0}, and conflicts with whatever provides it", need.written);
                    return Ok(Cause {
                        text,
                        root: format!("{} and {}", self.universe.name(pkg), need.written),
                    });
                }
            }
            let text = format!("{nevra} cannot be installed together with what it needs");
            return Ok(Cause { text, root: format!("{} and its needs", self.universe.name(pkg)) });
        }
        // Leaving out one after the other leaves those that are in each other's way.
        let mut at = 0;
        while at < left.len() {
            let mut without = left.clone();
            without.remove(at);
            if possible(&without, None)? {
                at += 1;
            } else {
                left = without;
            }
        }
        let told: Vec<String> = left
            .iter()
            .map(|need| match &need.formula {
                Formula::Any(found) => match self.there(found, time).first() {
                    Some(best) => format!("{} ({})", need.written, self.universe.nevra(*best)),
                    None => need.written.clone(),
                },
                Formula::None(_) | Formula::All(_) | Formula::Either(_) => need.written.clone(),
            })
            .collect();
        let mut roots: Vec<&str> = left.iter().map(|need| need.written.as_str()).collect();
        roots.sort_unstable();
        let text = format!("{nevra} needs {}, which cannot be installed together", told.join(" and "));
        Ok(Cause { text, root: format!("{}: {}", self.universe.name(pkg), roots.join(" and ")) })
    }

    /// What a package cannot be beside.
    fn aversions(&self, pkg: Pkg) -> Formula {
        let conflicts = self.universe.at(pkg).into_iter().flat_map(|seen| {
            let relations = seen.relations(Kind::Conflicts).iter();
            relations.map(move |relation| Formula::of(self.universe, pkg, seen, Kind::Conflicts, relation))
        });
        let mut parts: Vec<Formula> = conflicts.collect();
        parts.push(Formula::None(self.universe.obsoleted(pkg)));
        let mut same = self.universe.named(self.universe.name(pkg));
        same.retain(|other| {
            *other != pkg && self.universe.is_foreign(*other) == self.universe.is_foreign(pkg)
        });
        parts.push(Formula::None(same));
        Formula::All(parts)
    }
}

/// At most [`LONGEST_WHY`] letters of it.
pub(super) fn shortened(text: String) -> String {
    if text.chars().count() <= LONGEST_WHY {
        return text;
    }
    text.chars().take(LONGEST_WHY - 1).chain(['…']).collect()
}
