//! Relations between packages as formulas over "this package is installed".

use super::data::{Kind, Relation};
use super::evr::Range;
use super::rich::Rich;
use super::universe::{Pkg, Seen, Universe, Wanted, wanted};

/// What has to hold of a set of installed packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Formula {
    /// At least one of these is installed. Of none, it never holds.
    Any(Vec<Pkg>),
    /// None of these is installed.
    None(Vec<Pkg>),
    /// All of them hold. Of none, it always holds.
    All(Vec<Formula>),
    /// At least one of them holds.
    Either(Vec<Formula>),
}

impl Formula {
    /// Holds always.
    pub(super) const TRUE: Formula = Formula::All(Vec::new());
    /// Holds never.
    pub(super) const FALSE: Formula = Formula::Any(Vec::new());

    /// What one relation of `of` demands when `of` is installed. Provides demand nothing.
    pub(super) fn of(
        universe: &Universe,
        of: Pkg,
        seen: Seen<'_>,
        kind: Kind,
        relation: &Relation,
    ) -> Formula {
        match kind {
            Kind::Provides => Formula::TRUE,
            Kind::Requires => match wanted(seen, relation) {
                Wanted::Plain(name, range) => Reader { universe, own: None }.atom(name, range, true),
                Wanted::Rich(rich) => Reader { universe, own: None }.read(&rich, true),
                Wanted::Unreadable => Formula::FALSE,
            },
            // No package is in its own way.
            Kind::Conflicts => match wanted(seen, relation) {
                Wanted::Plain(name, range) => Reader { universe, own: Some(of) }.atom(name, range, false),
                Wanted::Rich(rich) => Reader { universe, own: Some(of) }.read(&rich, false),
                Wanted::Unreadable => Formula::FALSE,
            },
            Kind::Obsoletes => Formula::TRUE,
        }
    }

    /// Everything that has to hold when `of` is installed.
    pub(super) fn all_of(universe: &Universe, of: Pkg) -> Vec<Formula> {
        let Some(seen) = universe.at(of) else { return vec![Formula::FALSE] };
        let mut all = Vec::new();
        for kind in [Kind::Requires, Kind::Conflicts] {
            all.extend(
                seen.relations(kind).iter().map(|relation| Formula::of(universe, of, seen, kind, relation)),
            );
        }
        all.push(Formula::None(universe.obsoleted(of)));
        all.push(Formula::None(beside(universe, of, seen)));
        all
    }
}

/// Packages of the same name that cannot be beside this one though they are for another architecture: those of another
/// version. (Those of this architecture exclude each other by their name alone.)
fn beside(universe: &Universe, of: Pkg, seen: Seen<'_>) -> Vec<Pkg> {
    let foreign = universe.is_foreign(of);
    let others = universe.named(seen.name()).into_iter();
    others
        .filter(|other| {
            universe.is_foreign(*other) != foreign
                && universe.compare(of, *other) != std::cmp::Ordering::Equal
        })
        .collect()
}

struct Reader<'u> {
    universe: &'u Universe,
    /// The package whose conflicts are read.
    own: Option<Pkg>,
}

impl Reader<'_> {
    fn atom(&self, name: &str, range: Range<'_>, holds: bool) -> Formula {
        if self.universe.is_left_to_the_image(name) {
            return Formula::TRUE;
        }
        let mut found = self.universe.providers(name, range).to_vec();
        if holds {
            return Formula::Any(found);
        }
        found.retain(|pkg| Some(*pkg) != self.own);
        Formula::None(found)
    }

    /// The formula for `rich`, or for its opposite.
    fn read(&self, rich: &Rich<'_>, holds: bool) -> Formula {
        let either = |one: Formula, other: Formula| Formula::Either(vec![one, other]);
        let both = |one: Formula, other: Formula| Formula::All(vec![one, other]);
        let is = |part: &Rich<'_>| self.read(part, true);
        let is_not = |part: &Rich<'_>| self.read(part, false);
        match rich {
            Rich::Atom(name, range) => self.atom(name, *range, holds),
            Rich::And(parts) | Rich::Or(parts) => {
                let each = parts.iter().map(|part| self.read(part, holds)).collect();
                if matches!(rich, Rich::And(_)) == holds { Formula::All(each) } else { Formula::Either(each) }
            }
            Rich::If(pair, other) => {
                let [then, condition] = &**pair;
                match (holds, other) {
                    (true, None) => either(is_not(condition), is(then)),
                    (true, Some(other)) => {
                        both(either(is_not(condition), is(then)), either(is(condition), is(other)))
                    }
                    (false, None) => both(is(condition), is_not(then)),
                    (false, Some(other)) => {
                        either(both(is(condition), is_not(then)), both(is_not(condition), is_not(other)))
                    }
                }
            }
            Rich::Unless(pair, other) => {
                let [then, condition] = &**pair;
                match (holds, other) {
                    (true, None) => both(is(then), is_not(condition)),
                    (true, Some(other)) => {
                        either(both(is(then), is_not(condition)), both(is(other), is(condition)))
                    }
                    (false, None) => either(is_not(then), is(condition)),
                    (false, Some(other)) => {
                        both(either(is_not(then), is(condition)), either(is_not(other), is_not(condition)))
                    }
                }
            }
            Rich::With(_) | Rich::Without(_) => match self.set(rich) {
                None => Formula::TRUE,
                Some(found) if holds => Formula::Any(found),
                Some(mut found) => {
                    found.retain(|pkg| Some(*pkg) != self.own);
                    Formula::None(found)
                }
            },
        }
    }

    /// The packages that are what `rich` says of one package; `None` where the image may have one.
    fn set(&self, rich: &Rich<'_>) -> Option<Vec<Pkg>> {
        Some(match rich {
            Rich::Atom(name, range) => {
                if self.universe.is_left_to_the_image(name) {
                    return None;
                }
                self.universe.providers(name, *range).to_vec()
            }
            Rich::With(parts) | Rich::And(parts) => {
                let mut sets = parts.iter().map(|part| self.set(part));
                let mut found = sets.next()??;
                for set in sets {
                    let set = set?;
                    found.retain(|pkg| set.contains(pkg));
                }
                found
            }
            Rich::Or(parts) => {
                let mut found = Vec::new();
                for part in parts {
                    found.extend(self.set(part)?);
                }
                found
            }
            Rich::Without(pair) => {
                let [first, second] = &**pair;
                let mut found = self.set(first)?;
                // What the image alone has, none of these packages is.
                let second = self.set(second).unwrap_or_default();
                found.retain(|pkg| !second.contains(pkg));
                found
            }
            Rich::If(..) | Rich::Unless(..) => Vec::new(),
        })
    }
}
