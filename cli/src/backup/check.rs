//! Looks whether what was put back is whole: every file the ledger names, every snapshot a repo points to, every git repo.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use farm::digest::Digest;
use farm::ids::SnapshotId;
use farm::ledger::Repo;
use hub::repos::manifest::{self, Listing};
use tokio::process::Command;

/// How many of the things that are missing are named.
const NAMED: usize = 20;

/// What was found whole.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Checked {
    /// Files of the artifact store that the ledger names: each is there. Their content was not read.
    pub(crate) artifacts: usize,
    /// Snapshots that repos point to: each file of their manifests is there in its size.
    pub(crate) snapshots: usize,
    /// Git repos that `git fsck` has gone through.
    pub(crate) git_repos: usize,
}

/// Every file of the artifact store is there, or among those that are `stored` elsewhere.
pub(super) fn artifacts(
    data: &Path,
    held: &BTreeSet<Digest>,
    stored: &BTreeSet<Digest>,
) -> anyhow::Result<usize> {
    let artifacts = data.join("artifacts");
    let missing: Vec<String> = held
        .iter()
        .filter(|digest| !stored.contains(digest))
        .filter(|digest| !artifacts.join(&digest.as_str()[..2]).join(digest.as_str()).is_file())
        .map(ToString::to_string)
        .collect();
    if !missing.is_empty() {
        let count = missing.len();
        bail!("{count} of {} files that the ledger names are missing: {}", held.len(), some(&missing));
    }
    Ok(held.len())
}

/// Every snapshot that a repo points to is on the disk, and whole; or, where snapshots are elsewhere too, whole but for its
/// packages, if it is on the disk: a hub brings back what is not.
pub(super) fn snapshots(data: &Path, repos: &[Repo], is_elsewhere: bool) -> anyhow::Result<usize> {
    let mut broken = Vec::new();
    let mut whole = 0;
    for (tag, id) in repos.iter().filter_map(|repo| repo.current.map(|id| (&repo.tag, id))) {
        let Some(place) = place_of(data, id) else {
            if is_elsewhere {
                continue;
            }
            broken.push(format!("{tag}: snapshot {id} is nowhere"));
            continue;
        };
        let missing = missing_in(&place, id, is_elsewhere)
            .with_context(|| format!("cannot check {}", place.display()))?;
        if missing.is_empty() {
            whole += 1;
        } else {
            broken.push(format!("{tag}: snapshot {id} lacks {}", some(&missing)));
        }
    }
    if !broken.is_empty() {
        bail!(
            "of {} snapshots that repos point to, {} are broken: {}",
            whole + broken.len(),
            broken.len(),
            some(&broken)
        );
    }
    Ok(whole)
}

/// Where a snapshot is. One whose pointer the disk does not show yet is still staged.
fn place_of(data: &Path, id: SnapshotId) -> Option<PathBuf> {
    let places = ["public/snap", "candidate/snap", "staging"];
    places.iter().map(|place| data.join(place).join(id.to_string())).find(|place| place.is_dir())
}

/// The files of a snapshot's manifests that are not there, or not in their size.
fn missing_in(snapshot: &Path, id: SnapshotId, is_elsewhere: bool) -> anyhow::Result<Vec<String>> {
    let folders = manifest::folders_of(snapshot)?;
    if folders.is_empty() {
        return Ok(vec!["its manifests".to_owned()]);
    }
    let mut missing = Vec::new();
    for folder in folders {
        let listing = Listing::read(snapshot, id, &folder)?;
        let looked_at = |path| !(is_elsewhere && manifest::is_package(path));
        for listed in listing.files().filter(|listed| looked_at(listed.path)) {
            let file = manifest::file_in(snapshot, &folder, listed.path);
            let size = file.and_then(|file| std::fs::metadata(file).ok()).map(|meta| meta.len());
            if size != Some(listed.size) {
                missing.push(format!("{folder}/{}", listed.path));
            }
        }
    }
    Ok(missing)
}

/// Every git repo below `git` is whole: what its refs name is there, and reads as it was written.
pub(super) async fn git(data: &Path) -> anyhow::Result<usize> {
    let repos = bare_repos(&data.join("git")).context("cannot look for the git repos")?;
    for repo in &repos {
        let output = Command::new("git")
            .arg("--git-dir")
            .arg(repo)
            .args(["fsck", "--full", "--no-dangling", "--no-progress"])
            .output()
            .await
            .context("cannot run git")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("the git repo {} is broken: {}", repo.display(), said.trim());
        }
    }
    Ok(repos.len())
}

/// Bare repos at any depth, in the order of their paths.
fn bare_repos(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut todo = vec![folder.to_owned()];
    while let Some(folder) = todo.pop() {
        if folder.join("HEAD").is_file() && folder.join("objects").is_dir() {
            found.push(folder);
            continue;
        }
        if !folder.is_dir() {
            continue;
        }
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                todo.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The first of them, and how many more there are.
fn some(what: &[String]) -> String {
    let named = what.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    match what.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named}, and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use farm::ids::Minter;
    use farm::stamp::Stamp;

    use super::*;

    #[test]
    fn a_snapshot_that_a_repo_points_to_must_be_there_and_whole() {
        let data = tempfile::tempdir().unwrap();
        let id: SnapshotId = Minter::new(1).mint(Stamp::from_millis(1));
        let tag = "demo9s-hello-1-release".to_owned();
        let repo = Repo { tag, current: Some(id), revision: 1, wanted: 0, composed: 0 };
        let check =
            || snapshots(data.path(), std::slice::from_ref(&repo), false).map_err(|error| error.to_string());
        assert!(check().unwrap_err().ends_with("is nowhere"));
        assert_eq!(snapshots(data.path(), std::slice::from_ref(&repo), true).unwrap(), 0);

        let place = data.path().join("public/snap").join(id.to_string());
        std::fs::create_dir_all(place.join("manifests")).unwrap();
        assert!(check().unwrap_err().ends_with("lacks its manifests"));
        let digest = Digest::of(b"x");
        let listing = format!("grange-manifest 1 {id}\n{digest} 4 repodata/repomd.xml\n");
        std::fs::write(place.join("manifests/x86_64"), listing).unwrap();
        assert!(check().unwrap_err().ends_with("lacks x86_64/repodata/repomd.xml"));
        std::fs::create_dir_all(place.join("x86_64/repodata")).unwrap();
        std::fs::write(place.join("x86_64/repodata/repomd.xml"), "cut").unwrap();
        assert!(check().unwrap_err().contains("1 are broken"), "it is shorter than it was");
        std::fs::write(place.join("x86_64/repodata/repomd.xml"), "full").unwrap();
        assert_eq!(check(), Ok(1));
    }
}
