//! All SIGs together: what one of them alone cannot answer.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{ExternalRepo, Project, Role, Sig, Stage, split_tag};

/// Every applied SIG.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Community {
    /// In the order of their names.
    pub sigs: Vec<Sig>,
}

/// One layer of what a build may install from, the most preferred first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Layer {
    /// A tag of this farm.
    Tag {
        /// Its name.
        tag: String,
    },
    /// A repo outside the farm.
    External(ExternalRepo),
}

/// A layer and the project that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inherited {
    /// The layer.
    pub layer: Layer,
    /// The target of the project whose template has it in `inherit` or `external`, or whose own candidate it is.
    pub by: String,
}

/// Two SIGs, or two parts of one, that cannot both be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}; {fix}")]
pub struct Clash {
    /// The name in the template that the trouble is about, to find its line by.
    pub name: String,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub fix: String,
}

impl Clash {
    fn new(name: &str, what: String, fix: impl Into<String>) -> Self {
        Self { name: name.to_owned(), what, fix: fix.into() }
    }
}

/// Why a push is refused: shown to the person who pushed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} ({fix})")]
pub struct PushRefused {
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub fix: String,
}

impl Community {
    /// The SIG of this name.
    #[must_use]
    pub fn sig(&self, name: &str) -> Option<&Sig> {
        self.sigs.iter().find(|sig| sig.name == name)
    }

    /// Every project of every SIG.
    pub fn projects(&self) -> impl Iterator<Item = &Project> {
        self.sigs.iter().flat_map(|sig| &sig.projects)
    }

    /// The project that owns a target.
    #[must_use]
    pub fn target(&self, name: &str) -> Option<&Project> {
        self.projects().find(|project| project.target() == name)
    }

    /// The project and stage behind a stage tag.
    #[must_use]
    pub fn tag(&self, name: &str) -> Option<(&Project, Stage)> {
        let (stem, stage) = split_tag(name)?;
        self.projects().find(|project| project.stem() == stem).map(|project| (project, stage))
    }

    /// The project a branch is built for.
    #[must_use]
    pub fn branch(&self, branch: &str) -> Option<&Project> {
        self.projects().find(|project| project.branches.contains(branch))
    }

    /// The SIG whose members may push a branch: `c<dist>-sig-<sig>` or `c<dist>-sig-<sig>-…`. Where the names of two SIGs
    /// fit (`a` and `a-b`), the longer one owns it, so that `sig-a` never pushes what belongs to `sig-a-b`.
    #[must_use]
    pub fn owner(&self, branch: &str) -> Option<&Sig> {
        let (dist, tail) = branch.strip_prefix('c')?.split_once("-sig-")?;
        if !super::is_dist(dist) {
            return None;
        }
        self.sigs
            .iter()
            .filter(|sig| {
                tail.strip_prefix(&*sig.name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
            })
            .max_by_key(|sig| sig.name.len())
    }

    /// May this person push this branch of this package's repo?
    ///
    /// # Errors
    /// [`PushRefused`] with what is wrong and what to do.
    pub fn may_push(
        &self,
        person: &str,
        admin: bool,
        package: &str,
        branch: &str,
    ) -> Result<(), PushRefused> {
        let refuse = |what: String, fix: String| Err(PushRefused { what, fix });
        let Some(sig) = self.owner(branch) else {
            return refuse(
                format!("branch {branch} belongs to no SIG"),
                "distribution branches are import-only; SIG branches are named c<dist>-sig-<sig>-<project>, such as c9s-sig-storage-gluster".into(),
            );
        };
        if !admin && !sig.has_role(person, Role::Maintainer) {
            return refuse(
                format!("{person} is not a maintainer of SIG {}, which owns branch {branch}", sig.name),
                format!("a maintainer of {} can add you to its template", sig.name),
            );
        }
        match self.branch(branch) {
            Some(project) if !project.packages.contains(package) => refuse(
                format!("package {package} is not in project {} of SIG {}", project.folder(), sig.name),
                format!("add \"{package}\" to the project's `packages` and apply the template"),
            ),
            Some(_) | None => Ok(()),
        }
    }

    /// May this person push to this repo of suites (`tests/storage`) or of what is published beside packages
    /// (`metadata/storage`)? Whoever changes a suite decides what passes it: so the maintainers of the SIGs that take from the
    /// repo may, and nobody else's. Every branch is theirs.
    ///
    /// # Errors
    /// [`PushRefused`] with what is wrong and what to do.
    pub fn may_push_files(&self, person: &str, admin: bool, repo: &str) -> Result<(), PushRefused> {
        let takes = |project: &Project| {
            [&project.suites, &project.metadata].into_iter().flatten().any(|from| from.repo == repo)
        };
        let takers: Vec<&Sig> = self.sigs.iter().filter(|sig| sig.projects.iter().any(takes)).collect();
        if admin || takers.iter().any(|sig| sig.has_role(person, Role::Maintainer)) {
            return Ok(());
        }
        if takers.is_empty() {
            return Err(PushRefused {
                what: format!("no SIG takes suites or metadata from {repo}"),
                fix: format!(
                    "name it in your SIG's template, in a project's [project.tests]: suites = {{ repo = \"{repo}\", \
                     branch = \"main\" }}, or in the project: metadata = {{ … }}; have that applied, then push"
                ),
            });
        }
        let names = takers.iter().map(|sig| &*sig.name).collect::<Vec<_>>().join(" or ");
        Err(PushRefused {
            what: format!(
                "{person} is not a maintainer of SIG {names}, which takes suites or metadata from {repo}"
            ),
            fix: format!("a maintainer of {names} can add you to its template"),
        })
    }

    /// What a target's builds may install from, in order: its own candidate, the tags it inherits with their own
    /// layers behind them, then the external repos of all of these. A tag that appears twice counts where it appears first.
    #[must_use]
    pub fn layers(&self, project: &Project) -> Vec<Layer> {
        self.inheritance(project).into_iter().map(|inherited| inherited.layer).collect()
    }

    /// [`Community::layers`] with the reason why each is there.
    #[must_use]
    pub fn inheritance(&self, project: &Project) -> Vec<Inherited> {
        let mut tags = vec![(project.tag(Stage::Candidate), project.target())];
        let mut external = Vec::new();
        let mut seen = BTreeSet::new();
        self.collect(project, &mut tags, &mut external, &mut seen);
        let tags = tags.into_iter().map(|(tag, by)| Inherited { layer: Layer::Tag { tag }, by });
        let external = external.into_iter().map(|(repo, by)| Inherited { layer: Layer::External(repo), by });
        tags.chain(external).collect()
    }

    /// The layers below a stage of a project: what its users have besides the repo itself.
    #[must_use]
    pub fn layers_below(&self, project: &Project) -> Vec<Layer> {
        let own = project.tag(Stage::Candidate);
        self.layers(project)
            .into_iter()
            .filter(|layer| !matches!(layer, Layer::Tag { tag } if *tag == own))
            .collect()
    }

    /// The projects whose users have this tag's repo below their own, directly or through another layer.
    #[must_use]
    pub fn layered_on(&self, tag: &str) -> Vec<&Project> {
        self.projects()
            .filter(|project| {
                let below = self.layers_below(project);
                below.iter().any(|layer| matches!(layer, Layer::Tag { tag: known } if known == tag))
            })
            .collect()
    }

    fn collect(
        &self,
        project: &Project,
        tags: &mut Vec<(String, String)>,
        external: &mut Vec<(ExternalRepo, String)>,
        seen: &mut BTreeSet<String>,
    ) {
        if !seen.insert(project.stem()) {
            return;
        }
        for repo in &project.external {
            if !external.iter().any(|(known, _)| known.baseurl == repo.baseurl) {
                external.push((repo.clone(), project.target()));
            }
        }
        for tag in &project.inherit {
            if !tags.iter().any(|(known, _)| known == tag) {
                tags.push((tag.clone(), project.target()));
            }
            if let Some((below, _)) = self.tag(tag) {
                self.collect(below, tags, external, seen);
            }
        }
    }

    /// The same community with one SIG put in place of its older self.
    #[must_use]
    pub fn with(&self, sig: Sig) -> Community {
        let mut sigs: BTreeMap<String, Sig> = self.sigs.iter().map(|s| (s.name.clone(), s.clone())).collect();
        sigs.insert(sig.name.clone(), sig);
        Community { sigs: sigs.into_values().collect() }
    }

    /// Do all SIGs fit together?
    ///
    /// # Errors
    /// Every [`Clash`]: a branch, package or tag with two owners, an inherited tag that does not exist, a loop.
    pub fn check(&self) -> Result<(), Vec<Clash>> {
        let mut clashes = Vec::new();
        self.check_owners(&mut clashes);
        self.check_inheritance(&mut clashes);
        if clashes.is_empty() { Ok(()) } else { Err(clashes) }
    }

    fn check_owners(&self, clashes: &mut Vec<Clash>) {
        let mut branches: BTreeMap<&str, &Project> = BTreeMap::new();
        let mut packages: BTreeMap<&str, &str> = BTreeMap::new();
        let mut stems: BTreeMap<String, &Project> = BTreeMap::new();
        for project in self.projects() {
            if let Some(other) = stems.insert(project.stem(), project) {
                clashes.push(Clash::new(
                    &project.name,
                    format!(
                        "SIG {} and SIG {} would both own the tags {}-*",
                        other.sig,
                        project.sig,
                        project.stem()
                    ),
                    "rename one project, release or SIG",
                ));
            }
            for branch in &project.branches {
                if let Some(other) = branches.insert(branch, project) {
                    clashes.push(Clash::new(
                        branch,
                        format!(
                            "branch {branch} is claimed by {} and by {}",
                            other.target(),
                            project.target()
                        ),
                        "a branch is built for one target: name other branches in `branches`",
                    ));
                }
                match self.owner(branch) {
                    Some(owner) if owner.name == project.sig => {}
                    owner => clashes.push(Clash::new(
                        branch,
                        format!(
                            "branch {branch} does not belong to SIG {}{}",
                            project.sig,
                            owner.map_or_else(String::new, |sig| format!(" but to SIG {}", sig.name))
                        ),
                        format!("its branches are named c{}-sig-{}-…", project.dist, project.sig),
                    )),
                }
            }
            for package in &project.packages {
                if let Some(other) = packages.insert(package, &project.sig)
                    && other != project.sig
                {
                    clashes.push(Clash::new(
                        package,
                        format!("package {package} is claimed by SIG {other} and by SIG {}", project.sig),
                        "one SIG owns a package; the other inherits the owner's tag",
                    ));
                }
            }
        }
    }

    fn check_inheritance(&self, clashes: &mut Vec<Clash>) {
        for project in self.projects() {
            for tag in &project.inherit {
                if self.tag(tag).is_none() {
                    clashes.push(Clash::new(
                        tag,
                        format!("{} inherits tag {tag}, which no applied SIG has", project.target()),
                        "apply the SIG that owns it first, or mend the name (<sig><dist>-<project>-<release>-<stage>)",
                    ));
                }
            }
            if let Some(path) = self.path_back_to(project, project, &mut BTreeSet::new()) {
                clashes.push(Clash::new(
                    project.inherit.first().map_or(&project.name, |tag| tag),
                    format!(
                        "inheritance goes round in a circle: {} -> {}",
                        project.stem(),
                        path.join(" -> ")
                    ),
                    "remove one of these from an `inherit` list",
                ));
            }
        }
    }

    fn path_back_to(
        &self,
        from: &Project,
        goal: &Project,
        seen: &mut BTreeSet<String>,
    ) -> Option<Vec<String>> {
        for (next, _) in from.inherit.iter().filter_map(|tag| self.tag(tag)) {
            if next.stem() == goal.stem() {
                return Some(vec![goal.stem()]);
            }
            if seen.insert(next.stem())
                && let Some(mut path) = self.path_back_to(next, goal, seen)
            {
                path.insert(0, next.stem());
                return Some(path);
            }
        }
        None
    }
}
