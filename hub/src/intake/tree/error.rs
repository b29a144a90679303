//! Why a commit cannot be built, as sentences.

use crate::intake::sources::BadSources;

/// Why a commit cannot be built. Every message is for the maintainer who pushed it.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// There is no repo.
    #[error("there is no git repo {name}: {reason}")]
    NoRepo {
        /// The repo, as people call it.
        name: String,
        /// What git said.
        reason: String,
    },
    /// There is no such commit.
    #[error("there is no commit {commit} in {name}; push it first")]
    NoCommit {
        /// The repo.
        name: String,
        /// What was asked for.
        commit: String,
    },
    /// Nothing to build.
    #[error("no .spec file in the root or in SPECS/ of {at}")]
    NoSpec {
        /// Repo and commit.
        at: String,
    },
    /// More than one thing to build.
    #[error("more than one .spec file in {at}: {found}; keep one, or call one {package}.spec")]
    ManySpecs {
        /// Repo and commit.
        at: String,
        /// Their paths.
        found: String,
        /// The package.
        package: String,
    },
    /// The spec's name could confuse a tool.
    #[error("the .spec file of {at} is called `{found}`; use only letters, digits and _.+- in its name")]
    SpecName {
        /// Repo and commit.
        at: String,
        /// Its path.
        found: String,
    },
    /// Its sources cannot be understood.
    #[error("{at}: {why}")]
    Sources {
        /// Repo and commit.
        at: String,
        /// Why.
        why: BadSources,
    },
    /// A file in it that a build may not see.
    #[error("`{path}` in {at} {why}")]
    Entry {
        /// Repo and commit.
        at: String,
        /// The file.
        path: String,
        /// What is wrong with it, and what to do.
        why: &'static str,
    },
    /// Too much in it.
    #[error("{at} holds more than {max} {what}; keep large files in the lookaside, not in git")]
    TooLarge {
        /// Repo and commit.
        at: String,
        /// The limit.
        max: u64,
        /// Of what: `bytes` or `files`.
        what: &'static str,
    },
    /// One file is too large.
    #[error("`{path}` in {at} has more than the {} MiB that it may have", .max_bytes >> 20)]
    LargeFile {
        /// Repo and commit.
        at: String,
        /// The file.
        path: String,
        /// The limit in bytes.
        max_bytes: u64,
    },
    /// There is no such folder.
    #[error("there is no folder `{folder}` in {at}")]
    NoFolder {
        /// Repo and commit.
        at: String,
        /// The folder.
        folder: String,
    },
    /// The repo is broken.
    #[error("{at} cannot be read: {reason}")]
    Broken {
        /// Repo, or repo and commit.
        at: String,
        /// What git said.
        reason: String,
    },
}
