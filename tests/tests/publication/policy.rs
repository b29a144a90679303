//! What the SIG's template says, which changes while everything is under way; and what its tests depend on besides: the suite
//! repo, and a repo outside the farm.

use std::path::Path;

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
}

/// Commits another version of the suite `smoke` to the suite repo.
fn commit_suite(path: &Path, version: u64) -> Result<(), git2::Error> {
    let repo = match Repository::open(path) {
        Ok(repo) => repo,
        Err(_) => Repository::init_bare(path)?,
    };
    let script = repo.blob(format!("#!/bin/sh\n# version {version}\n").as_bytes())?;
    let folder = |name: &str, id, mode| -> Result<git2::Oid, git2::Error> {
        let mut folder = repo.treebuilder(None)?;
        folder.insert(name, id, mode)?;
        folder.write()
    };
    let smoke = folder("run.sh", script, 0o100_755)?;
    let tree = repo.find_tree(folder("smoke", smoke, 0o040_000)?)?;
    let parent = repo.find_reference("refs/heads/main").ok().and_then(|head| head.peel_to_commit().ok());
    let ada = Signature::new("Ada", "ada@example.org", &Time::new(0, 0))?;
    let parents: Vec<&git2::Commit<'_>> = parent.iter().collect();
    repo.commit(Some("refs/heads/main"), &ada, &ada, "Another version", &tree, &parents)?;
    Ok(())
}
