//! From a commit to what its first job needs: the tree in the artifact store, the spec, and every lookaside file.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use farm::nvr::is_package_name;
use farm::recipe::Input;
use farm::sig::template::{is_branch, is_repo_path};

use super::fetch::{FetchError, Want, fetch};
use super::sources::SourceRef;
use super::tree::{Checkout, DistGit};
use crate::problem::{Answer, Problem};
use crate::state::Hub;

/// Largest tree that is built from, in bytes: dist-git holds specs and patches; tarballs belong in the lookaside.
const MAX_TREE: u64 = 64 << 20;
/// How long another git server may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(120);

/// A commit that is on the local disk.
#[derive(Debug, Clone)]
pub(super) struct Commit {
    /// The repo on the local disk.
    pub(super) path: PathBuf,
    /// The repo as it is recorded: its path on the farm's own server, or its URL.
    pub(super) repo: String,
    /// The package: the last part of the repo's name.
    pub(super) package: String,
    /// The full commit id.
    pub(super) id: String,
}

/// Everything the first job needs.
#[derive(Debug, Clone)]
pub(super) struct Prepared {
    /// The tree as a tar.
    pub(super) tree: Input,
    /// Where the spec is in it.
    pub(super) spec: String,
    /// The lookaside files.
    pub(super) sources: Vec<Input>,
}

/// Where the farm's own server keeps a repo.
pub(crate) fn own_path(hub: &Hub, repo: &str) -> PathBuf {
    hub.config.data.join("git").join(format!("{repo}.git"))
}

/// Is this a clone URL, not a path on the farm's own server?
pub(super) fn is_url(repo: &str) -> bool {
    repo.contains("://")
}

/// The package a repo is for.
pub(super) fn package_of(repo: &str) -> Answer<String> {
    let last = repo.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let name = last.strip_suffix(".git").unwrap_or(last);
    if is_package_name(name) {
        Ok(name.to_owned())
    } else {
        Err(Problem::invalid(
            format!("{repo} does not end in a package's name"),
            "name the repo after its package",
        ))
    }
}

/// Finds a branch or commit of a repo and makes sure that it is on the local disk.
pub(super) async fn locate(hub: &Hub, repo: &str, revision: &str) -> Answer<Commit> {
    let package = package_of(repo)?;
    let is_commit = revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit());
    // git writes ids in lower case; people need not.
    let revision = &if is_commit { revision.to_ascii_lowercase() } else { revision.to_owned() };
    if !is_commit && !is_branch(revision) {
        return Err(Problem::invalid(
            format!("`{revision}` is neither a full commit id nor a branch"),
            "give the 40 digits of `git rev-parse HEAD`, or the branch's name",
        ));
    }
    if is_url(repo) {
        let want = if is_commit { Want::Commit(revision) } else { Want::Branch(revision) };
        let cache = hub.config.data.join("git-cache");
        let fetched = fetch(repo, &hub.config.git_prefixes, &cache, want, FETCH_TIMEOUT).await;
        let fetched = fetched.map_err(|error| match error {
            FetchError::Disk(error) => Problem::Internal(error.into()),
            FetchError::Git { .. } | FetchError::TimedOut { .. } => Problem::unavailable(
                error.to_string(),
                "check the URL, the branch or commit, and that the server answers; then try again",
            ),
            FetchError::BadUrl { .. } | FetchError::NotAllowed { .. } | FetchError::BadWant(_) => {
                Problem::invalid(error.to_string(), "check the URL, and the branch or commit")
            }
        })?;
        return Ok(Commit { path: fetched.repo, repo: repo.to_owned(), package, id: fetched.commit });
    }
    let repo = repo.strip_suffix(".git").unwrap_or(repo).to_owned();
    if !is_repo_path(&repo) {
        return Err(Problem::invalid(
            format!("`{repo}` is no repo"),
            "give a path on the farm's git server, such as rpms/hello, or a clone URL",
        ));
    }
    let path = own_path(hub, &repo);
    if !path.is_dir() {
        let clone_url = format!("{}/git/{repo}.git", hub.config.public_url);
        return Err(Problem::NotFound {
            what: format!(
                "there is no repo {repo} on this git server; push it first: git push {clone_url} BRANCH"
            ),
        });
    }
    let (at, name, revision) = (path.clone(), repo.clone(), revision.to_owned());
    let id = blocking(move || {
        let git = DistGit::open(&at, &name).map_err(|error| Problem::Internal(error.into()))?;
        if is_commit {
            return Ok(revision);
        }
        match git.head(&revision) {
            Ok(Some(id)) => Ok(id),
            Ok(None) => Err(Problem::not_found("branch", format!("{revision} in {name}"))),
            Err(error) => Err(Problem::Internal(error.into())),
        }
    })
    .await?;
    Ok(Commit { path, repo, package, id })
}

/// Reads a commit and stores its tree. `Ok(Err(reason))` is for the maintainer: nothing can be built from it as it is.
pub(super) async fn prepare(hub: &Hub, commit: &Commit) -> Answer<Result<Prepared, String>> {
    let wanted = commit.clone();
    let read = blocking(move || {
        let read = || -> Result<(Checkout, Vec<u8>), super::tree::TreeError> {
            let git = DistGit::open(&wanted.path, &wanted.repo)?;
            let checkout = git.read(&wanted.id, &wanted.package)?;
            let tar = git.tar(&wanted.id, MAX_TREE)?;
            Ok((checkout, tar))
        };
        Ok(read().map_err(|error| error.to_string()))
    })
    .await?;
    let (checkout, tar) = match read {
        Ok(read) => read,
        Err(reason) => return Ok(Err(reason)),
    };
    let sources = match lookaside(hub, &commit.package, &checkout.sources).await? {
        Ok(sources) => sources,
        Err(reason) => return Ok(Err(reason)),
    };
    let stored = hub.artifacts.put_bytes(&tar).await.context("cannot store the tree")?;
    let tree = Input { name: "tree.tar".to_owned(), digest: stored.digest, size: stored.size };
    Ok(Ok(Prepared { tree, spec: checkout.spec, sources }))
}

/// Every source in the lookaside, or the names of those that are missing.
async fn lookaside(hub: &Hub, package: &str, wanted: &[SourceRef]) -> Answer<Result<Vec<Input>, String>> {
    let mut tx = hub.db.read().await?;
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for source in wanted {
        match tx.lookaside(package, &source.file, source.hash.as_str(), &source.hex).await? {
            Some(file) => {
                found.push(Input { name: source.file.clone(), digest: file.digest, size: file.size })
            }
            None => missing.push(format!(
                "{} ({} {})",
                source.file,
                source.hash.as_str().to_uppercase(),
                source.hex
            )),
        }
    }
    if missing.is_empty() {
        return Ok(Ok(found));
    }
    Ok(Err(format!(
        "missing from the lookaside: {}; upload with `grange lookaside upload {package} FILE`, then `grange retry`",
        missing.join(", ")
    )))
}

/// Runs file and git work away from the async threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Answer<T> + Send + 'static,
) -> Answer<T> {
    tokio::task::spawn_blocking(work).await.context("a task of the hub ended early")?
}
