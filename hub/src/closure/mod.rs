//! The built-in check `repoclosure`: what would a change of a repo break, for who installs from it and for who has it installed?
//!
//! ```text
//! let report = check(&Question { arch, before: &[live, layers…], after: &[candidate, layers…], world })?;
//! ```
//!
//! A [`Layer`] is a repo as the package manager sees it. What did not change must be the same [`RepoData`] in both lists (the
//! [`Cache`] sees to that); a check then costs what the change and its dependents cost, however large the layers are.
//!
//! Of every package that changed, and of everything that depends on it, is asked:
//! - can it be installed after? If not, and it could before, or could not for another reason, it is *broken*.
//! - can who has it installed, with all it needs, go on to what is there after, so that everything newer is taken and nothing
//!   must be removed? If not, it is *broken* too. This is asked as well of what is gone. (Who has two packages of which
//!   neither needs the other is not asked: there is no end of such pairs.)
//!
//! What counts is what dnf would do (tests ask hawkey, dnf's own solver, about the same packages): versions and ranges,
//! provides, files, conflicts, obsoletes, boolean dependencies, packages of a second architecture of the machine. Weak
//! dependencies and `rpmlib(…)` do not count. A repo's priority decides what is tried first, and no more: dnf too takes what a
//! need asks for from a worse repo when the better one has only another version. Not looked at are modules, vendors,
//! files of two packages that are in each other's way, and packages of which several versions may be installed (kernels
//! are upgraded like all others here). Of a machine's second architecture libsolv wants the first one's package of the same
//! version beside it, where there is one; here that is no demand.
//!
//! All of it is blocking and may take seconds: call it on a blocking thread. Anything that cannot be read or decided is an
//! error, never a silent yes.

mod affected;
mod cache;
mod changes;
mod compressed;
mod data;
mod encoding;
mod evr;
mod filelists;
mod formula;
mod goal;
mod judge;
mod parse;
pub(crate) mod repomd;
mod rich;
mod strings;
mod stuck;
mod universe;
mod why;
mod xml;

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use farm::arch::Arch;
use farm::digest::Digest;
use serde::{Deserialize, Serialize};

pub use cache::Cache;
pub use data::{Filelists, RepoData};

/// Packages that are named in each list of a report.
const MOST_NAMED: usize = 100;
/// Letters of a reason.
const LONGEST_WHY: usize = 600;

/// A repo, and how the package manager ranks it.
#[derive(Debug, Clone)]
pub struct Layer {
    /// dnf's `priority`: the lesser is tried first.
    pub priority: u32,
    /// Its packages.
    pub data: Arc<RepoData>,
}

impl Layer {
    /// A repo of the farm's own, which lies in `folder` (that has `repodata/repomd.xml`) and is read if `cache` does not have it.
    ///
    /// # Errors
    /// When it is not there, or not what it should be. The main index's size is bounded, its checksum is not looked at: what is
    /// on our own disk is ours.
    pub fn on_disk(folder: &Path, priority: u32, cache: &Cache) -> io::Result<Self> {
        let bytes = std::fs::read(folder.join("repodata/repomd.xml"))?;
        let repomd = repomd::Repomd::parse(&bytes)?;
        let data = cache.get_or_read(Digest::of(&bytes).as_str(), || {
            let data = RepoData::read(File::open(folder.join(&repomd.primary.href))?)?;
            let Some(filelists) = &repomd.filelists else { return Ok(data) };
            // Opened now, as the folder may be moved before somebody asks for them.
            let filelists = Arc::new(File::open(folder.join(&filelists.href))?);
            Ok(data
                .with_filelists(Box::new(move || Ok(Box::new(FromStart { file: filelists.clone(), at: 0 })))))
        })?;
        Ok(Self { priority, data })
    }
}

/// Reads an open file from its start, whoever else reads it.
struct FromStart {
    file: Arc<File>,
    at: u64,
}

impl Read for FromStart {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// Is everything known that may be installed?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum World {
    /// The layers are all there is: what none of them provides is missing.
    Complete,
    /// There is also an image, whose packages are not known here: a name that no layer provides, neither before nor after,
    /// is taken to be the image's. The suite `installs` sees whether it is.
    ImageIsTheRest,
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// For machines of which architecture. Packages of others, and sources, are not looked at.
    pub arch: Arch,
    /// The live snapshot and all below it.
    pub before: &'a [Layer],
    /// The candidate and all below it.
    pub after: &'a [Layer],
    /// What is not known.
    pub world: World,
}

/// One package that is broken, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breakage {
    /// `name-[epoch:]version-release.arch`
    pub nevra: String,
    /// The package's own architecture, which may be `noarch`.
    pub arch: String,
    /// A sentence for a packager: what needs what, and what became of it.
    pub why: String,
}

/// The answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// How many packages were looked at: those that changed and those that depend on them.
    pub checked: usize,
    /// What the change breaks. One of them is enough to refuse it.
    pub broken: Vec<Breakage>,
    /// What cannot be installed, and could not before for the same reason.
    pub was_broken: Vec<Breakage>,
    /// What is older after than before. It breaks nothing, but who has the newer one keeps it.
    pub downgrades: Vec<Breakage>,
    /// There is more than is named here.
    pub cut_short: bool,
}

/// Why there is no answer. It counts as no.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// Metadata that was needed on the way.
    #[error("cannot read a repo's filelists: {0}")]
    Filelists(#[source] io::Error),
    /// The solver gave up.
    #[error("the solver found no answer within its bounds")]
    TooHard,
    /// The solver has a fault.
    #[error("the solver failed: {0}")]
    Solver(String),
}

/// Says what the change from `before` to `after` breaks.
///
/// # Errors
/// When there is no answer, which counts as no.
pub fn check(question: &Question<'_>) -> Result<Report, CheckError> {
    let Question { arch, before, after, world } = *question;
    let answer = catch_unwind(AssertUnwindSafe(|| {
        let universe = universe::Universe::new(arch, before, after, world);
        let changes = universe.changes();
        let encoding = encoding::Encoding::new(&universe);
        let report = judge::Judge::new(&encoding, &changes).report();
        match universe.failure() {
            Some(error) => Err(CheckError::Filelists(error)),
            None => report.map_err(|goal::TooHard| CheckError::TooHard),
        }
    }));
    answer.unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().cloned();
        let said = said.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(CheckError::Solver(said.unwrap_or_else(|| "it does not say why".to_owned())))
    })
}

#[cfg(test)]
mod tests;
