//! What a SIG is: its people, its projects, and the tags, targets, branches and packages that follow from them.
//!
//! A template ([`template`]) is turned into a [`Sig`]; [`plan`](plan::plan) compares two of them; a [`Community`] is all of them
//! together and answers what one alone cannot: who owns a branch, what a target inherits, whether two collide.
//! The names follow the conventions of the CentOS community build service.

mod community;
pub mod plan;
pub mod template;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

pub use community::{Clash, Community, Inherited, Layer, PushRefused};

use crate::arch::Arch;
use crate::recipe::Limits;

/// A special interest group, as applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Sig {
    /// Lower-case letters, digits and single hyphens: `storage`.
    pub name: String,
    /// One line for people.
    pub title: String,
    /// Who belongs to it, and as what.
    pub members: BTreeMap<String, BTreeSet<Role>>,
    /// What it makes.
    pub projects: Vec<Project>,
    /// Its share of the farm.
    #[serde(default)]
    pub share: Share,
}

/// A SIG's share of the farm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Share {
    /// Machine time is divided between the SIGs that want it in the ratio of their weights; 1 to 100.
    pub weight: u32,
    /// Jobs it may have at work at once on each architecture; no limit when absent.
    pub cap: Option<u32>,
}

impl Default for Share {
    fn default() -> Self {
        Self { weight: 1, cap: None }
    }
}

/// What a member may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Pushes the SIG's branches, asks for builds, proposes promotions.
    Maintainer,
    /// Approves promotions to production.
    ReleaseManager,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Maintainer => "maintainer",
            Role::ReleaseManager => "release-manager",
        })
    }
}

/// One release of one project for one distribution: the owner of three stage tags, a build tag and a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Project {
    /// The SIG it belongs to.
    pub sig: String,
    /// `gluster`
    pub name: String,
    /// `11`
    pub release: String,
    /// The distribution it is built for: `9`, `9s`, `10s`.
    pub dist: String,
    /// The architectures every build must succeed on.
    pub arches: Vec<Arch>,
    /// The packages it may build.
    pub packages: BTreeSet<String>,
    /// The base image; `$arch` in it is replaced by the architecture.
    pub image: String,
    /// rpm macros of its builds, besides `dist`.
    pub macros: BTreeMap<String, String>,
    /// The branches that are built for it.
    pub branches: BTreeSet<String>,
    /// Tags its builds may use, after its own candidate, in order of preference.
    pub inherit: Vec<String>,
    /// Repos outside the farm, after all tags, in order of preference.
    pub external: Vec<ExternalRepo>,
    /// The suites that must pass before anything of it is published.
    pub required: Vec<String>,
    /// A git repo whose top-level folders are suites that packages do not bring themselves.
    pub suites: Option<RepoBranch>,
    /// A git repo with what is published beside the packages: `comps.xml`, `updateinfo.xml`, `modules.yaml`.
    #[serde(default)]
    pub metadata: Option<RepoBranch>,
    /// Are the suites run every night on what is live, whether or not anything has changed?
    #[serde(default)]
    pub nightly: bool,
    /// How many release managers must approve a promotion to production; at least 1.
    #[serde(default = "one")]
    pub approvers: u32,
    /// Sets of its packages that are promoted by name.
    #[serde(default)]
    pub stacks: BTreeMap<String, Stack>,
    /// Is its metadata compressed with zstd rather than gzip, which every client reads?
    #[serde(default)]
    pub zstd: bool,
    /// How long the results of scratch builds are kept.
    pub scratch_days: u32,
    /// MiB of compilers' results (a ccache) that its builds leave on a builder for later ones; 0 for none. Scratch builds
    /// have none.
    #[serde(default)]
    pub ccache_mb: u64,
    /// What one job may use.
    pub limits: Limits,
    /// Labels a builder must have to do its jobs.
    #[serde(default)]
    pub labels: BTreeSet<String>,
}

fn one() -> u32 {
    1
}

/// A set of packages that is promoted by name: whatever of it has changed goes together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Stack {
    /// Its packages; empty for all of the project's.
    #[serde(default)]
    pub packages: BTreeSet<String>,
}

/// A repo outside the farm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ExternalRepo {
    /// Its id in dnf.
    pub name: String,
    /// `file:///…`, `http://…` or `https://…`; may contain `$basearch`.
    pub baseurl: String,
}

/// A branch of a git repo on the farm's own git server, whose head is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RepoBranch {
    /// The repo's path: `tests/storage`.
    pub repo: String,
    /// The branch.
    pub branch: String,
}

/// How far published content has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Built; seen by builds and tests only.
    Candidate,
    /// Tested; public as buildlogs.
    Testing,
    /// Promoted; public as production.
    Release,
}

impl Stage {
    /// All of them, in the order in which content walks through them.
    pub const ALL: [Stage; 3] = [Stage::Candidate, Stage::Testing, Stage::Release];

    /// The last part of the tag's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Stage::Candidate => "candidate",
            Stage::Testing => "testing",
            Stage::Release => "release",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Project {
    /// `storage9s-gluster-11`: what its tags begin with.
    #[must_use]
    pub fn stem(&self) -> String {
        format!("{}{}-{}-{}", self.sig, self.dist, self.name, self.release)
    }

    /// `storage9s-gluster-11-candidate`
    #[must_use]
    pub fn tag(&self, stage: Stage) -> String {
        format!("{}-{stage}", self.stem())
    }

    /// `el9s`
    #[must_use]
    pub fn disttag(&self) -> String {
        format!("el{}", self.dist)
    }

    /// `storage9s-gluster-11-el9s-build`: the tag buildroots are made from.
    #[must_use]
    pub fn build_tag(&self) -> String {
        format!("{}-build", self.target())
    }

    /// `storage9s-gluster-11-el9s`: what a build is asked for.
    #[must_use]
    pub fn target(&self) -> String {
        format!("{}-{}", self.stem(), self.disttag())
    }

    /// The packages of a stack, if the template has it.
    #[must_use]
    pub fn stack(&self, name: &str) -> Option<&BTreeSet<String>> {
        self.stacks
            .get(name)
            .map(|stack| if stack.packages.is_empty() { &self.packages } else { &stack.packages })
    }

    /// `gluster-11`: the last folder of its public paths.
    #[must_use]
    pub fn folder(&self) -> String {
        format!("{}-{}", self.name, self.release)
    }

    /// `9-stream` for `9s`, `9` for `9`: the first folder of its public paths.
    #[must_use]
    pub fn dist_folder(&self) -> String {
        self.dist.strip_suffix('s').map_or_else(|| self.dist.clone(), |major| format!("{major}-stream"))
    }

    /// `c9s-sig-storage-gluster`: the branch that is built for it by default.
    #[must_use]
    pub fn default_branch(&self) -> String {
        format!("c{}-sig-{}-{}", self.dist, self.sig, self.name)
    }

    /// The image for one architecture.
    #[must_use]
    pub fn image_for(&self, arch: Arch) -> String {
        self.image.replace("$arch", arch.as_str())
    }

    /// Every macro its builds get.
    #[must_use]
    pub fn all_macros(&self) -> BTreeMap<String, String> {
        let mut macros = self.macros.clone();
        macros.entry("dist".to_owned()).or_insert_with(|| format!(".{}", self.disttag()));
        macros
    }
}

impl Sig {
    /// Has this person this role here?
    #[must_use]
    pub fn has_role(&self, person: &str, role: Role) -> bool {
        self.members.get(person).is_some_and(|roles| roles.contains(&role))
    }
}

/// Is this a name a SIG or project may have: lower-case letters, digits and single inner hyphens, at most 40 long,
/// beginning with a letter?
#[must_use]
pub fn is_name(text: &str) -> bool {
    (1..=40).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && !text.ends_with('-')
        && !text.contains("--")
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

/// Is this a distribution: digits, then perhaps an `s` for Stream?
#[must_use]
pub fn is_dist(text: &str) -> bool {
    let digits = text.strip_suffix('s').unwrap_or(text);
    (1..=3).contains(&digits.len()) && digits.chars().all(|c| c.is_ascii_digit())
}

/// Has this name the form of a stage tag, `<sig><dist>-<project>-<release>-<stage>`, whether there is such a tag or not?
#[must_use]
pub fn is_tag_like(text: &str) -> bool {
    let Some((stem, _)) = split_tag(text) else { return false };
    let mut parts = stem.rsplit('-').skip(2);
    parts.any(|part| part.strip_suffix('s').unwrap_or(part).ends_with(|c: char| c.is_ascii_digit()))
}

/// Takes a stage tag's name apart into stem and stage.
#[must_use]
pub fn split_tag(tag: &str) -> Option<(&str, Stage)> {
    Stage::ALL.into_iter().find_map(|stage| {
        tag.strip_suffix(stage.as_str()).and_then(|rest| rest.strip_suffix('-')).map(|stem| (stem, stage))
    })
}
