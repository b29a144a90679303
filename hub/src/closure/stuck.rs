//! Why who has a package cannot go on to what is there after.

use std::collections::HashSet;

use super::formula::Formula;
use super::goal::{TooHard, solve};
use super::judge::{Demand, Judge};
use super::universe::{Pkg, Time};
use super::why::{MOST_PROVIDERS, Need, shortened};

impl Judge<'_, '_> {
    /// Why who has `before`, and with it `installed`, cannot go on.
    pub(super) fn why_stuck(&self, before: Pkg, installed: &HashSet<Pkg>) -> Result<String, TooHard> {
        let demands = self.demands(installed);
        let (musts, keeps): (Vec<Demand>, Vec<Demand>) = demands.into_iter().partition(|demand| demand.must);
        let possible = |musts: &[&Demand], keeps: &[&Demand]| {
            let formulas: Vec<Formula> = musts.iter().chain(keeps).map(|demand| demand.formula()).collect();
            Ok(solve(self.encoding, Time::After, installed, &formulas)?.is_some())
        };
        let (mut musts, mut keeps): (Vec<&Demand>, Vec<&Demand>) =
            (musts.iter().collect(), keeps.iter().collect());
        // Leave out what is not in the way; the rest cannot be had together.
        let mut at = 0;
        while at < keeps.len() {
            let mut without = keeps.clone();
            without.remove(at);
            if possible(&musts, &without)? {
                at += 1;
            } else {
                keeps = without;
            }
        }
        // What those that stay need themselves is left out last: it is what a packager looks for.
        let needs: Vec<Need> = keeps.iter().flat_map(|keep| self.needs(keep.installed)).collect();
        musts.sort_by_key(|must| {
            needs
                .iter()
                .any(|need| matches!(&need.formula, Formula::Any(found) if found.contains(&must.installed)))
        });
        let mut at = 0;
        while at < musts.len() {
            let mut without = musts.clone();
            without.remove(at);
            if possible(&without, &keeps)? {
                at += 1;
            } else {
                musts = without;
            }
        }
        let nevra = |pkg: Pkg| self.universe.nevra(pkg);
        let goes = |demand: &&Demand| {
            let to = self.there(&demand.instead, Time::After).first().map(|to| nevra(*to));
            let to = to.unwrap_or_default();
            if nevra(demand.installed) == nevra(before) {
                format!("it cannot be upgraded to {to}")
            } else {
                format!("{} cannot be upgraded to {to}", nevra(demand.installed))
            }
        };
        let upgrades: Vec<String> = musts.iter().take(MOST_PROVIDERS).map(goes).collect();
        let mut text =
            format!("where {} is installed, {}", nevra(before), upgrades.join(", nor at the same time "));
        if let Some(keep) = keeps.first() {
            text.push_str(&format!(" without removing {}", self.universe.nevra(keep.installed)));
            let demanded: Vec<Formula> = musts.iter().map(|demand| demand.formula()).collect();
            for need in self.needs(keep.installed) {
                let mut with = demanded.clone();
                with.push(need.formula.clone());
                if solve(self.encoding, Time::After, installed, &with)?.is_none() {
                    text.push_str(&format!(", which needs {}", need.written));
                    if self.same_after(keep.installed) {
                        break;
                    }
                    text.push_str(" and has no successor");
                    break;
                }
            }
        }
        Ok(shortened(text))
    }

    fn same_after(&self, pkg: Pkg) -> bool {
        let named = self.universe.named(self.universe.name(pkg));
        named.into_iter().any(|other| self.universe.is_at(other, Time::After))
    }
}
