//! Everything that is or was there: the packages of all repos, before and after, under one numbering.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use farm::arch::Arch;

use super::data::{Kind, Package, Relation, RepoData, is_in_main_index};
use super::evr::{Evr, Range, Sense};
use super::rich::Rich;
use super::{Layer, World};

/// One package among all.
pub(super) type Pkg = u32;

/// A point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Time {
    Before,
    After,
}

/// A name and a range that somebody asked for.
type Asked = (String, Sense, String);

/// The packages of all repos.
pub(super) struct Universe {
    repos: Vec<Placed>,
    total: u32,
    machine: &'static [&'static str],
    pub(super) world: World,
    /// Paths that packages require and no main index would name.
    deep_paths: BTreeSet<String>,
    providers: RefCell<HashMap<Asked, Rc<[Pkg]>>>,
    /// What could not be read while something was looked for: the answer is then worth nothing.
    failure: RefCell<Option<io::Error>>,
}

struct Placed {
    data: Arc<RepoData>,
    first: u32,
    priority: u32,
    before: bool,
    after: bool,
}

/// One package's place.
#[derive(Clone, Copy)]
pub(super) struct Seen<'u> {
    placed: &'u Placed,
    pub(super) package: &'u Package,
}

impl<'u> Seen<'u> {
    pub(super) fn data(self) -> &'u RepoData {
        &self.placed.data
    }
    pub(super) fn name(self) -> &'u str {
        self.data().strings.get(self.package.name)
    }
    pub(super) fn arch(self) -> &'u str {
        self.data().strings.get(self.package.arch)
    }
    pub(super) fn evr(self) -> Evr<'u> {
        self.data().evr(self.package.evr)
    }
    pub(super) fn relations(self, kind: Kind) -> &'u [Relation] {
        self.data().relations(self.package, kind)
    }
    fn is_at(self, time: Time) -> bool {
        match time {
            Time::Before => self.placed.before,
            Time::After => self.placed.after,
        }
    }
}

/// What a machine installs besides packages of its own architecture.
fn accepts(arch: Arch) -> &'static [&'static str] {
    match arch {
        Arch::X86_64 => &["x86_64", "noarch", "i686", "i586", "i486", "i386"],
        Arch::Aarch64 => &["aarch64", "noarch"],
        Arch::Ppc64le => &["ppc64le", "noarch"],
        Arch::S390x => &["s390x", "noarch"],
    }
}

impl Universe {
    pub(super) fn new(arch: Arch, before: &[Layer], after: &[Layer], world: World) -> Self {
        let mut repos: Vec<Placed> = Vec::new();
        let mut total = 0;
        for (layers, time) in [(before, Time::Before), (after, Time::After)] {
            for layer in layers {
                let known = repos.iter_mut().find(|placed| {
                    Arc::ptr_eq(&placed.data, &layer.data) && placed.priority == layer.priority
                });
                let is_before = time == Time::Before;
                match known {
                    Some(placed) if is_before => placed.before = true,
                    Some(placed) => placed.after = true,
                    None => {
                        repos.push(Placed {
                            data: layer.data.clone(),
                            first: total,
                            priority: layer.priority,
                            before: is_before,
                            after: !is_before,
                        });
                        total = total.saturating_add(u32::try_from(layer.data.len()).unwrap_or(u32::MAX));
                    }
                }
            }
        }
        let deep_paths = repos.iter().flat_map(|placed| {
            let data = &placed.data;
            let paths = data.required.keys().map(|text| data.strings.get(text));
            paths.filter(|path| path.starts_with('/') && !is_in_main_index(path)).map(str::to_owned)
        });
        let deep_paths = deep_paths.collect();
        Self {
            total,
            machine: accepts(arch),
            world,
            deep_paths,
            providers: RefCell::default(),
            failure: RefCell::default(),
            repos,
        }
    }

    /// How many packages there are; numbers from here on are free for others.
    pub(super) fn total(&self) -> u32 {
        self.total
    }

    /// The error that makes every answer worthless, if there was one.
    pub(super) fn failure(&self) -> Option<io::Error> {
        self.failure.borrow_mut().take()
    }

    pub(super) fn at(&self, pkg: Pkg) -> Option<Seen<'_>> {
        let place = self.repos.partition_point(|placed| placed.first <= pkg).checked_sub(1)?;
        // Empty repos begin where the next one does.
        let placed = self.repos.get(place)?;
        Some(Seen { placed, package: placed.data.package(pkg - placed.first)? })
    }

    /// Every package that this architecture can install and that is there at that time.
    pub(super) fn all(&self, time: Time) -> impl Iterator<Item = Pkg> + '_ {
        (0..self.total).filter(move |pkg| self.is_at(*pkg, time) && self.is_installable(*pkg))
    }

    /// Is it there at that time?
    pub(super) fn is_at(&self, pkg: Pkg, time: Time) -> bool {
        self.at(pkg).is_some_and(|seen| seen.is_at(time))
    }

    fn is_installable(&self, pkg: Pkg) -> bool {
        self.at(pkg).is_some_and(|seen| self.machine.contains(&seen.arch()))
    }

    /// Is it of an architecture that this one can install beside its own?
    pub(super) fn is_foreign(&self, pkg: Pkg) -> bool {
        self.at(pkg).is_some_and(|seen| {
            let own = self.machine.iter().take(2);
            !own.copied().any(|arch| arch == seen.arch())
        })
    }

    /// `name-version-release.arch`
    pub(super) fn nevra(&self, pkg: Pkg) -> String {
        self.at(pkg).map_or_else(String::new, |seen| {
            format!("{}-{}.{}", seen.name(), seen.evr().written(), seen.arch())
        })
    }

    pub(super) fn name(&self, pkg: Pkg) -> &str {
        self.at(pkg).map_or("", Seen::name)
    }

    /// Which of two packages is newer.
    pub(super) fn compare(&self, one: Pkg, other: Pkg) -> Ordering {
        match (self.at(one), self.at(other)) {
            (Some(one), Some(other)) => one.evr().compare(other.evr()),
            (one, other) => one.is_some().cmp(&other.is_some()),
        }
    }

    /// In the order in which the package manager tries them: a better repo first, then its own architecture, then the newest.
    pub(super) fn prefer(&self, one: Pkg, other: Pkg) -> Ordering {
        self.rank(one).cmp(&self.rank(other)).then_with(|| self.compare(other, one)).then(one.cmp(&other))
    }

    /// The priority of its repo, and whether it is for another architecture: the lesser the better.
    pub(super) fn rank(&self, pkg: Pkg) -> (u32, bool) {
        (self.at(pkg).map_or(u32::MAX, |seen| seen.placed.priority), self.is_foreign(pkg))
    }

    /// Everything called `name`, of any version and time.
    pub(super) fn named(&self, name: &str) -> Vec<Pkg> {
        self.collect(|data| data.strings.find(name).map(|text| data.named.of(text)))
    }

    /// Everything that obsoletes something called `name`, whatever the version.
    pub(super) fn obsoleters_of_name(&self, name: &str) -> Vec<Pkg> {
        self.collect(|data| data.strings.find(name).map(|text| data.obsoleted.of(text)))
    }

    /// Everything that requires `name`, whatever the version, also within a boolean dependency.
    pub(super) fn requirers(&self, name: &str) -> Vec<Pkg> {
        self.collect(|data| data.strings.find(name).map(|text| data.required.of(text)))
    }

    fn collect<'u, I: Iterator<Item = u32> + 'u>(
        &'u self,
        of: impl Fn(&'u RepoData) -> Option<I>,
    ) -> Vec<Pkg> {
        let all = self.repos.iter().flat_map(|placed| {
            let first = placed.first;
            of(&placed.data).into_iter().flatten().map(move |local| first + local)
        });
        all.filter(|pkg| self.is_installable(*pkg)).collect()
    }

    /// Everything that meets a name and range: packages that provide it, or have it as a file. Sorted.
    pub(super) fn providers(&self, name: &str, range: Range<'_>) -> Rc<[Pkg]> {
        let key = (name.to_owned(), range.sense, range.evr.written());
        if let Some(known) = self.providers.borrow().get(&key) {
            return known.clone();
        }
        let mut found = BTreeSet::new();
        for placed in &self.repos {
            let data = &placed.data;
            if let Some(text) = data.strings.find(name) {
                for at in data.provided.of(text) {
                    let Some(relation) = data.relations.get(at as usize) else { continue };
                    if data.range(relation).meets(range) {
                        found.insert(placed.first + relation.package);
                    }
                }
                found.extend(data.paths.of(text).map(|local| placed.first + local));
            }
            if name.starts_with('/') && !is_in_main_index(name) {
                match data.owners(name, &self.deep_paths) {
                    Ok(owners) => found.extend(owners.into_iter().map(|local| placed.first + local)),
                    Err(error) => *self.failure.borrow_mut() = Some(error),
                }
            }
        }
        let found: Rc<[Pkg]> = found.into_iter().filter(|pkg| self.is_installable(*pkg)).collect();
        self.providers.borrow_mut().insert(key, found.clone());
        found
    }

    /// The paths that others require of this package and its repo's main index does not name.
    pub(super) fn deep_paths_of(&self, pkg: Pkg) -> Vec<String> {
        let Some(seen) = self.at(pkg) else { return Vec::new() };
        let local = pkg - seen.placed.first;
        let has = |path: &&String| {
            let owners = seen.data().owners(path, &self.deep_paths);
            owners
                .map_err(|error| self.failure.replace(Some(error)))
                .is_ok_and(|owners| owners.contains(&local))
        };
        self.deep_paths.iter().filter(has).cloned().collect()
    }

    /// Does this world leave the name to the image, as nobody here ever provided it?
    pub(super) fn is_left_to_the_image(&self, name: &str) -> bool {
        match self.world {
            World::Complete => false,
            World::ImageIsTheRest => self.providers(name, Range::ANY).is_empty(),
        }
    }

    /// The packages that an obsoletes-relation means: those with that very name.
    pub(super) fn obsoleted(&self, by: Pkg) -> Vec<Pkg> {
        let Some(seen) = self.at(by) else { return Vec::new() };
        let mut found = Vec::new();
        for relation in seen.relations(Kind::Obsoletes) {
            let wanted = seen.data().range(relation);
            let named = self.named(seen.data().strings.get(relation.name));
            found.extend(named.into_iter().filter(|other| {
                *other != by && self.at(*other).is_some_and(|other| Range::exactly(other.evr()).meets(wanted))
            }));
        }
        found
    }

    /// Does one obsolete the other?
    pub(super) fn obsoletes(&self, one: Pkg, other: Pkg) -> bool {
        self.obsoleted(one).contains(&other)
    }
}

/// The name and range of a relation; a boolean one is a [`Rich`].
pub(super) enum Wanted<'a> {
    Plain(&'a str, Range<'a>),
    Rich(Rich<'a>),
    /// A boolean dependency nobody can read.
    Unreadable,
}

/// Reads a relation.
pub(super) fn wanted<'u>(seen: Seen<'u>, relation: &Relation) -> Wanted<'u> {
    let name = seen.data().strings.get(relation.name);
    match Rich::parse(name) {
        Some(rich) => Wanted::Rich(rich),
        None if name.starts_with('(') => Wanted::Unreadable,
        None => Wanted::Plain(name, seen.data().range(relation)),
    }
}
