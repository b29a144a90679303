//! The repos that dnf sees in a container.
//!
//! Names may be equal: SIGs that know nothing of each other name repos outside the farm, and a target has those of all that it
//! inherits. dnf would take sections of one name for one repo, and the last of them for all; so its ids begin with the repo's
//! place in the recipe.

use std::path::{Path, PathBuf};

use farm::arch::Arch;
use farm::gate::UNDER_TEST;
use farm::recipe::{RepoOrigin, RepoSource};

use super::bench::{Bench, Ran};
use crate::engine::{Mount, Profile};
use crate::halt::{Halt, OrFarm as _};
use crate::{reasons, snapshot, workspace};

/// Where containers find repos that come from disk.
const REPOS: &str = "/grange/repos";
/// Where dnf finds its configuration.
const REPO_FILE: &str = "/etc/yum.repos.d/grange.repo";

/// The repos of a recipe, ready to be mounted.
pub(super) struct Repos {
    mounts: Vec<Mount>,
    network: bool,
}

impl Repos {
    /// The repos and dnf's configuration for them.
    pub(super) fn mounts(&self) -> Vec<Mount> {
        self.mounts.clone()
    }

    /// The same and one more.
    pub(super) fn mounts_with(&self, other: Mount) -> Vec<Mount> {
        let mut mounts = self.mounts();
        mounts.push(other);
        mounts
    }

    /// What a container that installs from them may do.
    pub(super) fn profile(&self) -> Profile {
        Profile::Installer { network: self.network }
    }
}

/// Fetches snapshots, finds local repos and writes dnf's configuration.
pub(super) async fn lay_out(bench: &mut Bench<'_>) -> Result<Repos, Halt> {
    let recipe = bench.recipe.clone();
    let mut repos = Repos { mounts: Vec::new(), network: false };
    let mut file = String::new();
    for (index, source) in recipe.repos.iter().enumerate() {
        let id = id(index, source);
        let inside = format!("{REPOS}/{id}");
        let local = match &source.origin {
            RepoOrigin::Snapshot { id: snapshot } => {
                let snapshot = *snapshot;
                let folder = bench.workspace.repo(&id);
                bench.journal.note(&format!("Fetch: repo {} (snapshot {snapshot})", source.name)).await;
                let laid_out =
                    snapshot::lay_out(bench.client, &bench.tools.cache, snapshot, recipe.arch, &folder);
                if !bench.unless_interrupted(laid_out).await? {
                    let arch = recipe.arch;
                    if source.name == UNDER_TEST {
                        return Err(Halt::Farm(format!(
                            "what is under test, snapshot {snapshot}, has no {arch}"
                        )));
                    }
                    bench.journal.note(&format!("Repo {} has nothing for {arch}", source.name)).await;
                    continue;
                }
                Some(folder)
            }
            RepoOrigin::External { baseurl } => {
                let address = address(baseurl, recipe.arch);
                match address.strip_prefix("file://") {
                    Some(path) => Some(permitted(Path::new(path), &bench.tools.file_repos)?),
                    None if address.starts_with("http://") || address.starts_with("https://") => {
                        repos.network = true;
                        file.push_str(&section(&id, source, &address));
                        None
                    }
                    None => return Err(Halt::Farm(format!("no repo can be read from {address}"))),
                }
            }
        };
        if let Some(folder) = local {
            file.push_str(&section(&id, source, &format!("file://{inside}")));
            repos.mounts.push(Mount { from: folder, to: inside });
        }
    }
    workspace::write(&bench.workspace.repo_file(), &file)?;
    repos.mounts.push(Mount { from: bench.workspace.repo_file(), to: REPO_FILE.to_owned() });
    Ok(repos)
}

/// Where a repo outside the farm is for an architecture.
pub(super) fn address(baseurl: &str, arch: Arch) -> String {
    baseurl.replace("$basearch", arch.as_str())
}

/// The directory a `file://` repo really is in, if this builder may show it to containers.
pub(super) fn permitted(path: &Path, allowed: &[PathBuf]) -> Result<PathBuf, Halt> {
    let real = path.canonicalize().or_farm(&format!("read the repo {}", path.display()))?;
    let within = |root: &PathBuf| root.canonicalize().is_ok_and(|root| real.starts_with(root));
    if allowed.iter().any(within) {
        Ok(real)
    } else {
        Err(Halt::Farm(format!(
            "this builder is not configured to use the repo {} (file_repos)",
            path.display()
        )))
    }
}

/// What dnf calls the repo at this place of a recipe, and what its folder is called: no two have one id.
fn id(index: usize, source: &RepoSource) -> String {
    format!("{}-{}", index + 1, source.name)
}

fn section(id: &str, source: &RepoSource, address: &str) -> String {
    let RepoSource { name, priority, origin: _ } = source;
    // The metadata of repos from disk is as fresh as the disk; that of others must not outlive the container.
    format!(
        "[{id}]\nname={name}\nbaseurl={address}\npriority={priority}\nenabled=1\ngpgcheck=0\nskip_if_unavailable=0\n\n"
    )
}

/// Why dnf failed.
pub(super) fn failure(bench: &Bench<'_>, ran: &Ran, log: &str) -> Halt {
    match reasons::dnf(&ran.tail, log) {
        Ok(reason) => bench.failure(ran, |_| reason),
        Err(reason) => Halt::Farm(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_below_an_allowed_directory_is_shown_to_containers() {
        let folder = tempfile::tempdir().unwrap();
        let (allowed, other) = (folder.path().join("mirror"), folder.path().join("mirror-secret"));
        std::fs::create_dir_all(allowed.join("base")).unwrap();
        std::fs::create_dir_all(&other).unwrap();
        std::os::unix::fs::symlink(&other, allowed.join("link")).unwrap();
        let list = [allowed.clone()];
        assert!(permitted(&allowed.join("base"), &list).is_ok());
        for bad in [allowed.join("../mirror-secret"), allowed.join("link"), other, allowed.join("absent")] {
            assert!(matches!(permitted(&bad, &list), Err(Halt::Farm(_))), "{}", bad.display());
        }
        assert!(permitted(&allowed, &[]).is_err());
    }
}
