//! An independent audit of a public tree: is everything that users can fetch what a signed decision let through?
//!
//! It has a code path of its own. It speaks HTTP or reads a disk, trusts the public keys it was given and nothing else, and
//! shares nothing with the hub but the forms that are published: it takes the metadata and the statements apart itself. What
//! it cannot read is a violation, not an excuse.

mod extras;
mod folder;
mod keys;
mod memory;
mod metadata;
mod package;
mod place;
mod provenance;
mod repo;
mod statement;
mod walk;

use std::path::PathBuf;

use serde::Serialize;

pub use keys::Keys;
pub use place::Place;
pub use walk::audit;

/// How an audit is done.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Is every package read from its first byte to its last, or only asked for its size?
    pub deep: bool,
    /// The tag that the repo must be, where the address does not say.
    pub tag: Option<String>,
    /// Where the newest revision that was seen of each repo is remembered, so that an older one is not believed later.
    pub memory: Option<PathBuf>,
}

/// What an audit found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Was every package read as a whole?
    pub deep: bool,
    /// Each repo that was looked at.
    pub repos: Vec<RepoReport>,
    /// What is wrong with the tree, besides what is wrong with one of its repos.
    pub violations: Vec<Violation>,
}

/// What an audit found in one repo.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RepoReport {
    /// Where it is, below the address that was given.
    pub at: String,
    /// Its tag, as its signed decision says.
    pub tag: Option<String>,
    /// Its revision.
    pub revision: Option<i64>,
    /// The revision that its metadata names, by which clients know what is newer.
    pub metadata_revision: Option<i64>,
    /// Its snapshot.
    pub snapshot: Option<String>,
    /// The folders that were looked at.
    pub folders: Vec<String>,
    /// Packages that its metadata lists, each once for each folder.
    pub packages: usize,
    /// Those of them that were read as a whole.
    pub read: usize,
    /// Builds whose provenance was looked at.
    pub builds: usize,
    /// What is wrong.
    pub violations: Vec<Violation>,
}

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// The file, below the address that was given.
    pub file: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Violation {
    fn new(file: impl Into<String>, reason: impl Into<String>) -> Self {
        Violation { file: file.into(), reason: reason.into() }
    }
}

impl Report {
    /// Everything that is wrong.
    pub fn all_violations(&self) -> impl Iterator<Item = &Violation> {
        self.violations.iter().chain(self.repos.iter().flat_map(|repo| &repo.violations))
    }
}
