//! What a builder must do for one job: image, inputs, repos, steps and limits. A recipe carries no secrets; whatever
//! it names is fetched from the hub with the attempt's own token.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::arch::Arch;
use crate::digest::Digest;
use crate::ids::SnapshotId;

/// One job's work, complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Recipe {
    /// The base image, as the engine names it (a tag or `name@sha256:…`).
    pub image: String,
    /// The architecture the container must have.
    pub arch: Arch,
    /// The work itself.
    pub work: Work,
    /// The repos dependencies come from, the most preferred first.
    pub repos: Vec<RepoSource>,
    /// rpm macros of the target (`dist`, `vendor`, …), given to rpmbuild with `--define`.
    pub macros: BTreeMap<String, String>,
    /// What the work may use.
    pub limits: Limits,
    /// With which other jobs it may share what a builder keeps for later; with none when absent.
    #[serde(default)]
    pub sharing: Option<Sharing>,
}

/// The circle within which builders reuse what a job left there (roots, and a ccache where the target asks for one).
///
/// Everybody in a circle may do harm to everybody else in it: a source package is read by root's tools while its root
/// is made. So the circle is one target, whose packagers trust each other anyway, and scratch builds, which are made of
/// anybody's sources, have one of their own.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Sharing {
    /// The target.
    pub target: String,
    /// Is it the circle of the target's scratch builds?
    pub scratch: bool,
    /// MiB of compilers' results (a ccache) that its builds may leave for one another; 0 for none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ccache_mb: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Sharing {
    /// The circle alone, without what its builds may do in it.
    #[must_use]
    pub fn circle(&self) -> Self {
        Self { target: self.target.clone(), scratch: self.scratch, ccache_mb: 0 }
    }
}

impl Recipe {
    /// MiB of a ccache that the work may have. None, whatever the recipe says, unless it is a build, and no scratch build:
    /// whoever writes what is compiled decides what is in the cache.
    #[must_use]
    pub fn ccache_mb(&self) -> u64 {
        match (&self.work, &self.sharing) {
            (Work::Build { srpm: _ }, Some(Sharing { target: _, scratch: false, ccache_mb })) => *ccache_mb,
            (Work::Srpm { .. } | Work::Build { .. } | Work::Test { .. }, _) => 0,
        }
    }
}

/// The kinds of work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Work {
    /// Make a source RPM of a dist-git tree (`rpmbuild -bs`). Expected output: exactly one `*.src.rpm`.
    Srpm {
        /// The tree at the commit, as an uncompressed tar.
        tree: Input,
        /// Where in the tree the spec is: `hello.spec`, or `SPECS/hello.spec` in the exploded layout.
        spec: String,
        /// Lookaside files, to be put beside the other sources under their `name`.
        sources: Vec<Input>,
    },
    /// Build a source RPM (`rpmbuild --rebuild`). Expected output: at least one binary `*.rpm`.
    Build {
        /// The source RPM.
        srpm: Input,
    },
    /// Install packages from the snapshot that would be published and run one suite on them.
    Test {
        /// The suite's name; `installs` is built in and needs no folder.
        suite: String,
        /// An uncompressed tar of the suite's folder, with `run.sh` at its top; `None` for a built-in suite.
        folder: Option<Input>,
        /// What to install first, as `name-version-release.arch`; all come from [`Recipe::repos`].
        packages: Vec<String>,
    },
}

impl Work {
    /// Every content-addressed file the work reads.
    #[must_use]
    pub fn inputs(&self) -> Vec<&Input> {
        match self {
            Work::Srpm { tree, sources, spec: _ } => std::iter::once(tree).chain(sources).collect(),
            Work::Build { srpm } => vec![srpm],
            Work::Test { folder, suite: _, packages: _ } => folder.iter().collect(),
        }
    }
}

/// A file in the hub's artifact store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Input {
    /// What the file is called where the work finds it: one path segment.
    pub name: String,
    /// Its SHA-256, by which it is fetched and checked.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// A repo the dependency step may install from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RepoSource {
    /// What people call it: letters, digits, `-`, `_` and `.`. Two repos outside the farm may have one name; dnf's id is it with
    /// the repo's place in the recipe before it.
    pub name: String,
    /// dnf's priority: the lowest number wins.
    pub priority: u32,
    /// Where its content is.
    pub origin: RepoOrigin,
}

/// Where a repo's content is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum RepoOrigin {
    /// An immutable snapshot, fetched from the hub and mounted read-only.
    Snapshot {
        /// Which one.
        id: SnapshotId,
    },
    /// A repo outside the farm. `file:///path` is mounted read-only from the builder's own disk; `http(s)://` gives
    /// the dependency step, and it alone, a network. `$basearch` is replaced by the architecture.
    External {
        /// dnf's `baseurl`.
        baseurl: String,
    },
}

/// What one job may use. Queue time is never counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Wall-clock seconds for each step in a container.
    pub seconds: u64,
    /// Memory in MiB, including what is written to the build's (in-memory) disk. There is no swap.
    pub memory_mb: u64,
    /// Size of the build's disk in MiB.
    pub disk_mb: u64,
    /// Processes and threads.
    pub pids: u64,
    /// Processor cores.
    pub cpus: u32,
    /// MiB kept of each log; the work is stopped when it writes more.
    pub log_mb: u64,
    /// MiB of all files that come out of the work.
    pub output_mb: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            seconds: 4 * 3600,
            memory_mb: 4096,
            disk_mb: 3072,
            pids: 512,
            cpus: 2,
            log_mb: 64,
            output_mb: 2048,
        }
    }
}
