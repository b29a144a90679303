//! The hub's own git server: bare repos below `<data>/git`, served by git's own `http-backend`, guarded by the hooks.
//!
//! The door asks only who is there and whether a repo may be made; what a person may push where is decided by the
//! `update` hook from the policy file beside the repos, which stays right while the hub is down.

mod backend;
mod repo;

use anyhow::Context as _;
use farm::ledger::Person;
use farm::message::Policy;
use farm::sig::{Community, Role};

pub use backend::{Call, Reply, serve};
pub use repo::{RepoPath, make_ready};

use crate::files::blocking;
use crate::problem::{Answer, Problem};
use crate::state::Hub;

/// The policy file's name below the folder of repos.
const POLICY: &str = "policy.json";

/// Everything the update hook decides by, as it is now.
///
/// # Errors
/// When the ledger fails.
pub async fn policy(hub: &Hub) -> Answer<Policy> {
    let mut tx = hub.db.read().await?;
    let community = tx.community().await?;
    let people = tx.people().await?;
    let admins = people.into_iter().filter(|person| person.admin).map(|person| person.name).collect();
    Ok(Policy { community, admins })
}

/// Writes the policy to the file that the hooks of the hub's own repos read, unless it says so already.
///
/// # Errors
/// When the ledger or the disk fails.
pub async fn write_policy(hub: &Hub) -> Answer<()> {
    let folder = hub.config.data.join("git");
    // Two writers at once, in two hubs even, could leave the older policy: each reads and writes while it holds this.
    let _alone = hub.alone_at("policy").await?;
    let text = serde_json::to_vec(&policy(hub).await?).map_err(anyhow::Error::from)?;
    let written: anyhow::Result<()> = blocking(move || {
        let path = folder.join(POLICY);
        if std::fs::read(&path).is_ok_and(|known| known == text) {
            return Ok(());
        }
        let mut file = tempfile::NamedTempFile::new_in(&folder)?;
        std::io::Write::write_all(&mut file, &text)?;
        file.as_file().sync_all()?;
        file.persist(&path)?;
        std::fs::File::open(&folder)?.sync_all()?;
        Ok(())
    })
    .await;
    Ok(written.context("cannot write the policy file of the git hooks")?)
}

/// May this person make a repo of this path, by pushing to it for the first time?
///
/// # Errors
/// [`Problem::Forbidden`], saying who may.
pub fn may_create(community: &Community, person: &Person, repo: &RepoPath) -> Answer<()> {
    if person.admin {
        return Ok(());
    }
    let is_maintainer_of =
        |name: &str| community.sig(name).is_some_and(|sig| sig.has_role(&person.name, Role::Maintainer));
    match repo.folder() {
        "rpms" => {
            let owner = community.projects().find(|project| project.packages.contains(repo.name()));
            match owner {
                Some(project) if is_maintainer_of(&project.sig) => Ok(()),
                Some(project) => Err(Problem::forbidden(
                    format!(
                        "{} is no maintainer of SIG {}, which owns {}",
                        person.name,
                        project.sig,
                        repo.name()
                    ),
                    format!("a maintainer of {} makes the repo with the first push", project.sig),
                )),
                None => Err(Problem::forbidden(
                    format!("no SIG owns package {}", repo.name()),
                    "add it to the `packages` of a project and have the template applied; then push",
                )),
            }
        }
        "tests" | "metadata" => community
            .may_push_files(&person.name, person.admin, &repo.to_string())
            .map_err(|refused| Problem::forbidden(refused.what, refused.fix)),
        folder => Err(Problem::forbidden(
            format!("repos are made below rpms/, tests/ and metadata/, not below {folder}/"),
            "name the repo rpms/<package>, tests/<name> or metadata/<name>",
        )),
    }
}
