//! What a repo's metadata says of its packages, in a compact form that many checks share.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Read};
use std::ops::Range as Span;
use std::sync::{Mutex, PoisonError};

use super::evr::{Evr, Range, Sense};
use super::filelists::owners_in;
use super::strings::{Strings, Text};

/// Stands where a number would be and there is none.
pub(super) const NONE: u32 = u32::MAX;

/// Opens a repo's filelists, compressed or not. It is asked only when a package requires a path that the main index leaves out.
pub type Filelists = Box<dyn Fn() -> io::Result<Box<dyn Read + Send>> + Send + Sync>;

/// The packages of one repo: what they provide, require, conflict with and obsolete. Immutable, and shared by checks.
pub struct RepoData {
    pub(super) strings: Strings,
    /// Epoch, version and release; each is kept once.
    pub(super) evrs: Vec<[Text; 3]>,
    pub(super) packages: Vec<Package>,
    /// Of all packages, one after the other, and within a package one [`Kind`] after the other.
    pub(super) relations: Vec<Relation>,
    /// The paths the main index names, of all packages one after the other.
    pub(super) files: Vec<Text>,
    /// From a package's name to the packages.
    pub(super) named: Postings,
    /// From a provided name to the relation.
    pub(super) provided: Postings,
    /// From a path in the main index to the package.
    pub(super) paths: Postings,
    /// From a required name, also within boolean dependencies, to the package.
    pub(super) required: Postings,
    /// From an obsoleted name to the package.
    pub(super) obsoleted: Postings,
    pub(super) filelists: Option<Filelists>,
    pub(super) found: Mutex<HashMap<Box<str>, Vec<u32>>>,
}

/// One package.
#[derive(Debug, Clone)]
pub(super) struct Package {
    pub(super) name: Text,
    pub(super) arch: Text,
    pub(super) evr: u32,
    /// Where its relations of each kind begin, and where the last end.
    pub(super) relations: [u32; KINDS + 1],
    pub(super) files: Span<u32>,
    /// Names its contents in the other indexes, as a hash.
    pub(super) pkgid: u64,
    /// Equal for packages between which no check can tell a difference, whether signed or not.
    pub(super) fingerprint: u64,
}

/// How a package is bound to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Provides,
    Requires,
    Conflicts,
    Obsoletes,
}

/// How many kinds there are.
pub(super) const KINDS: usize = 4;

/// A name and a range of versions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Relation {
    pub(super) name: Text,
    /// [`NONE`] for every version.
    pub(super) evr: u32,
    pub(super) sense: Sense,
    pub(super) package: u32,
}

/// A sorted list of pairs: what is looked for, and where it is.
#[derive(Debug, Default)]
pub(super) struct Postings(Vec<(Text, u32)>);

impl Postings {
    pub(super) fn new(mut pairs: Vec<(Text, u32)>) -> Self {
        pairs.sort_unstable();
        pairs.dedup();
        pairs.shrink_to_fit();
        Self(pairs)
    }

    /// Where it is.
    pub(super) fn of(&self, text: Text) -> impl Iterator<Item = u32> + '_ {
        let start = self.0.partition_point(|(key, _)| *key < text);
        self.0.iter().skip(start).take_while(move |(key, _)| *key == text).map(|(_, at)| *at)
    }

    /// Everything that can be looked for, once each.
    pub(super) fn keys(&self) -> impl Iterator<Item = Text> + '_ {
        self.0.chunk_by(|one, other| one.0 == other.0).filter_map(|chunk| Some(chunk.first()?.0))
    }

    fn weight(&self) -> usize {
        8 * self.0.len()
    }
}

impl RepoData {
    /// Says how its filelists are opened. Without them a required path outside of `/etc` and `bin` is found nowhere.
    #[must_use]
    pub fn with_filelists(mut self, filelists: Filelists) -> Self {
        self.filelists = Some(filelists);
        self
    }

    /// How many packages it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.packages.len()
    }

    /// Has it none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.packages.is_empty()
    }

    /// Bytes of memory it takes, about.
    #[must_use]
    pub fn weight(&self) -> usize {
        let lists = [&self.named, &self.provided, &self.paths, &self.required, &self.obsoleted];
        self.strings.weight()
            + lists.iter().map(|list| list.weight()).sum::<usize>()
            + size_of_val(self.evrs.as_slice())
            + size_of_val(self.packages.as_slice())
            + size_of_val(self.relations.as_slice())
            + size_of_val(self.files.as_slice())
    }

    pub(super) fn package(&self, at: u32) -> Option<&Package> {
        self.packages.get(at as usize)
    }

    pub(super) fn evr(&self, at: u32) -> Evr<'_> {
        let [epoch, version, release] = self.evrs.get(at as usize).copied().unwrap_or([NONE; 3]);
        Evr {
            epoch: self.strings.get(epoch),
            version: self.strings.get(version),
            release: self.strings.get(release),
        }
    }

    pub(super) fn range(&self, relation: &Relation) -> Range<'_> {
        match relation.evr {
            NONE => Range::ANY,
            at => Range { sense: relation.sense, evr: self.evr(at) },
        }
    }

    /// A package's relations of one kind.
    pub(super) fn relations(&self, package: &Package, kind: Kind) -> &[Relation] {
        let [start, end] = [package.relations[kind as usize], package.relations[kind as usize + 1]];
        self.relations.get(start as usize..end as usize).unwrap_or_default()
    }

    /// A relation as specs write it.
    pub(super) fn written(&self, relation: &Relation) -> String {
        format!("{}{}", self.strings.get(relation.name), self.range(relation).written())
    }

    /// The packages that have a file the main index does not name. The first question reads the filelists once for all of
    /// `wanted`; the answers are kept.
    ///
    /// # Errors
    /// When the filelists cannot be had, or are not what they should be.
    pub(super) fn owners(&self, path: &str, wanted: &BTreeSet<String>) -> io::Result<Vec<u32>> {
        let Some(filelists) = &self.filelists else { return Ok(Vec::new()) };
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(owners) = found.get(path) {
            return Ok(owners.clone());
        }
        let mut missing: HashMap<Box<str>, Vec<u32>> = wanted
            .iter()
            .map(String::as_str)
            .chain([path])
            .filter(|path| !found.contains_key(*path))
            .map(|path| (path.into(), Vec::new()))
            .collect();
        owners_in(filelists()?, &self.packages, &mut missing)?;
        let owners = missing.get(path).cloned().unwrap_or_default();
        found.extend(missing);
        Ok(owners)
    }
}

impl std::fmt::Debug for RepoData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RepoData").field("packages", &self.packages.len()).finish_non_exhaustive()
    }
}

/// Does every repo's main index name this path, if a package in it has it?
pub(super) fn is_in_main_index(path: &str) -> bool {
    path.starts_with("/etc/") || path.contains("bin/") || path == "/usr/lib/sendmail"
}
