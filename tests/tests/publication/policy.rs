//! What the SIG's template says, which changes while everything is under way; and what its tests depend on besides: the suite
//! repo, what is published beside the packages, and a repo outside the farm.

use std::path::Path;

use farm::extras::ExtraKind;
use git2::{Repository, Signature, Time};
use tests::{demo_sig, outside_repo};

use crate::dice::Dice;

/// The parts of the template that change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Policy {
    /// Is the suite `smoke` required besides `installs`?
    smoke: bool,
    /// Must two release managers agree, or one?
    two_approvers: bool,
    /// Is there a repo outside the farm below?
    outside: bool,
    /// Is everything for aarch64 too?
    two_arches: bool,
}

impl Policy {
    /// The usual one, but two release managers must agree.
    pub(crate) fn of_two() -> Policy {
        Policy { two_approvers: true, ..Policy::default() }
    }

    /// Another one, which differs in one thing.
    pub(crate) fn another(self, dice: &mut Dice) -> Policy {
        match dice.roll(4) {
            0 => Policy { smoke: !self.smoke, ..self },
            1 => Policy { two_approvers: !self.two_approvers, ..self },
            2 => Policy { outside: !self.outside, ..self },
            _ => Policy { two_arches: !self.two_arches, ..self },
        }
    }

    /// The template.
    pub(crate) fn template(self, packages: &[String], data: &Path) -> String {
        let arches = if self.two_arches { r#"["x86_64", "aarch64"]"# } else { r#"["x86_64"]"# };
        let required = if self.smoke { r#"["installs", "smoke"]"# } else { r#"["installs"]"# };
        let approvers = if self.two_approvers { 2 } else { 1 };
        let outside = match self.outside {
            true => format!(
                "[[project.external-repo]]\nname = \"outside\"\nbaseurl = \"file://{}\"\n",
                data.join(OUTSIDE).display()
            ),
            false => String::new(),
        };
        demo_sig(&format!(
            r#"
[[member]]
name = "rita"
roles = ["release-manager"]
[[project]]
name = "fruit"
release = "1"
dist = "9s"
arches = {arches}
packages = {packages:?}
metadata = {{ repo = "metadata/demo", branch = "main" }}
[project.tests]
required = {required}
suites = {{ repo = "tests/demo", branch = "main" }}
[project.promotion]
approvers = {approvers}
[[project.stack]]
name = "basket"
{outside}"#
        ))
    }
}

/// Where the repo outside is, below the data folder.
pub(crate) const OUTSIDE: &str = "outside";

/// What tests depend on is in another state from now on.
pub(crate) fn move_surroundings(data: &Path, state: u64) {
    outside_repo(&data.join(OUTSIDE), &format!("state-{state}"));
    commit_suite(&data.join("git/tests/demo.git"), state).unwrap();
    commit_beside(data, &beside(state));
}

/// What is to be published beside the packages in each state.
pub(crate) fn beside(state: u64) -> Vec<(ExtraKind, String)> {
    let mut files = vec![(ExtraKind::Group, format!("<comps><group><id>group-{state}</id></group></comps>"))];
    if state % 2 == 1 {
        files.push((ExtraKind::Updateinfo, format!("<updates><!-- {state} --></updates>")));
    }
    files
}

/// Half of what lies at the head of the branch is no good for a while.
pub(crate) fn break_beside(data: &Path, state: u64) {
    let updates = format!("<updates><!-- broken beside, {state} --></updates>");
    commit_beside(data, &[(ExtraKind::Group, "<comps>".to_owned()), (ExtraKind::Updateinfo, updates)]);
}

fn commit_beside(data: &Path, files: &[(ExtraKind, String)]) {
    let files: Vec<(&str, &[u8])> =
        files.iter().map(|(kind, text)| (kind.file_name(), text.as_bytes())).collect();
    commit_files(&data.join("git/metadata/demo.git"), &files).unwrap();
}

/// Commits these files, and nothing else.
fn commit_files(path: &Path, files: &[(&str, &[u8])]) -> Result<(), git2::Error> {
    let repo = open(path)?;
    let mut tree = repo.treebuilder(None)?;
    for (name, bytes) in files {
        tree.insert(name, repo.blob(bytes)?, 0o100_644)?;
    }
    let tree = tree.write()?;
    commit(&repo, tree)
}

fn open(path: &Path) -> Result<Repository, git2::Error> {
    Repository::open(path).or_else(|_| Repository::init_bare(path))
}

fn commit(repo: &Repository, tree: git2::Oid) -> Result<(), git2::Error> {
    let tree = repo.find_tree(tree)?;
    let parent = repo.find_reference("refs/heads/main").ok().and_then(|head| head.peel_to_commit().ok());
    let ada = Signature::new("Ada", "ada@example.org", &Time::new(0, 0))?;
    let parents: Vec<&git2::Commit<'_>> = parent.iter().collect();
    repo.commit(Some("refs/heads/main"), &ada, &ada, "Another version", &tree, &parents)?;
    Ok(())
}

/// Commits another version of the suite `smoke` to the suite repo.
fn commit_suite(path: &Path, version: u64) -> Result<(), git2::Error> {
    let repo = open(path)?;
    let script = repo.blob(format!("#!/bin/sh\n# version {version}\n").as_bytes())?;
    let folder = |name: &str, id, mode| -> Result<git2::Oid, git2::Error> {
        let mut folder = repo.treebuilder(None)?;
        folder.insert(name, id, mode)?;
        folder.write()
    };
    let smoke = folder("run.sh", script, 0o100_755)?;
    let tree = folder("smoke", smoke, 0o040_000)?;
    commit(&repo, tree)
}
