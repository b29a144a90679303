//! Whom a change may break: who depends on what changed, and who depends on them.

use std::collections::HashSet;

use super::changes::Changes;
use super::data::Kind;
use super::formula::Formula;
use super::universe::{Pkg, Time, Universe};

/// The packages that did not change themselves, and of whose needs one can no longer be met by exactly what met it before.
///
/// A need that also something else meets, before and after and untouched, is taken to be met by that: this leaves out the
/// rare package that cannot be installed together with it. Of several versions in one repo set only the one that the
/// package manager would choose counts.
pub(super) fn dependents(universe: &Universe, changes: &Changes) -> Vec<Pkg> {
    let mut touched: HashSet<Pkg> = changes.added.iter().chain(&changes.removed).copied().collect();
    for pkg in &changes.added {
        // Whoever has what is obsoleted or overtaken loses it, though it may be there still.
        touched.extend(universe.obsoleted(*pkg));
        touched.extend(universe.named(universe.name(*pkg)));
    }
    let mut queue: Vec<Pkg> = touched.iter().copied().collect();
    let mut found = Vec::new();
    while let Some(pkg) = queue.pop() {
        for name in offers(universe, pkg) {
            for dependent in universe.requirers(&name) {
                let is_candidate = !touched.contains(&dependent)
                    && universe.is_at(dependent, Time::After)
                    && is_best(universe, dependent)
                    && loses(universe, changes, &touched, dependent);
                if is_candidate {
                    touched.insert(dependent);
                    // It may be known by its number before as well.
                    if let Some(twin) = changes.twins.get(&dependent) {
                        touched.insert(*twin);
                        queue.push(*twin);
                    }
                    queue.push(dependent);
                    found.push(dependent);
                }
            }
        }
    }
    found.sort_unstable();
    found
}

/// Every name by which a package may be required.
fn offers(universe: &Universe, pkg: Pkg) -> Vec<String> {
    let Some(seen) = universe.at(pkg) else { return Vec::new() };
    let data = seen.data();
    let provides =
        seen.relations(Kind::Provides).iter().map(|relation| data.strings.get(relation.name).to_owned());
    let own = data.files.get(seen.package.files.start as usize..seen.package.files.end as usize);
    let files = own.unwrap_or_default().iter().map(|path| data.strings.get(*path).to_owned());
    provides.chain(files).chain(universe.deep_paths_of(pkg)).collect()
}

/// Is it what the package manager would choose by its name?
fn is_best(universe: &Universe, pkg: Pkg) -> bool {
    let foreign = universe.is_foreign(pkg);
    let others = universe.named(universe.name(pkg)).into_iter();
    let mut others =
        others.filter(|other| universe.is_at(*other, Time::After) && universe.is_foreign(*other) == foreign);
    !others.any(|other| universe.prefer(other, pkg).is_lt())
}

/// Is there a need of its that nothing untouched meets at both times, though something touched does or did?
fn loses(universe: &Universe, changes: &Changes, touched: &HashSet<Pkg>, pkg: Pkg) -> bool {
    let Some(seen) = universe.at(pkg) else { return false };
    let stays = |pkg: &Pkg| {
        !touched.contains(pkg)
            && universe.is_at(*pkg, Time::After)
            && (universe.is_at(*pkg, Time::Before) || changes.twins.contains_key(pkg))
    };
    seen.relations(Kind::Requires).iter().any(|relation| {
        match Formula::of(universe, pkg, seen, Kind::Requires, relation) {
            Formula::Any(members) => {
                members.iter().any(|member| touched.contains(member)) && !members.iter().any(stays)
            }
            other => mentions(&other, touched),
        }
    })
}

fn mentions(formula: &Formula, touched: &HashSet<Pkg>) -> bool {
    match formula {
        Formula::Any(members) | Formula::None(members) => {
            members.iter().any(|member| touched.contains(member))
        }
        Formula::All(parts) | Formula::Either(parts) => parts.iter().any(|part| mentions(part, touched)),
    }
}
