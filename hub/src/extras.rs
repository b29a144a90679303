//! What a SIG publishes beside its packages: read from the head of a branch, checked, and stored.
//!
//! The files belong to a snapshot like its packages do: they are read when it is composed, and from then on known by digest.

mod check;

use std::path::Path;

use anyhow::Context as _;
use farm::extras::{Extra, ExtraKind, Extras, LARGEST, at};
use farm::sig::{Project, RepoBranch};

use crate::files::blocking;
use crate::intake::own_path;
use crate::intake::tree::{DistGit, TreeError};
use crate::problem::{Answer, Problem};
use crate::state::Hub;

/// Why what is at the head of a branch cannot be published: a sentence that names file, repo, commit and line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unfit(pub(crate) String);

impl From<Unfit> for Problem {
    fn from(Unfit(why): Unfit) -> Self {
        Problem::unavailable(
            why,
            "push a commit that mends it; until then nothing is composed with these files, and what is published stays",
        )
    }
}

impl From<TreeError> for Unfit {
    fn from(error: TreeError) -> Self {
        Unfit(error.to_string())
    }
}

/// The commit that the branch is at; `None` while nobody has made the repo.
///
/// # Errors
/// [`Unfit`] when the repo has no such branch, or cannot be read.
pub(crate) async fn head(hub: &Hub, from: &RepoBranch) -> Result<Option<String>, Unfit> {
    let (path, from) = (own_path(hub, &from.repo), from.clone());
    blocking(move || Ok(open(&path, &from)?.map(|(_, commit)| commit))).await
}

/// What a project publishes beside its packages now. The outer error is a fault of the farm; the inner one, of the files.
///
/// # Errors
/// When the disk fails.
pub(crate) async fn read(hub: &Hub, project: &Project) -> Answer<Result<Option<Extras>, Unfit>> {
    let Some(from) = &project.metadata else { return Ok(Ok(None)) };
    let (commit, found) = match at_head(hub, from).await {
        Ok(None) => return Ok(Ok(None)),
        Ok(Some(found)) => found,
        Err(unfit) => return Ok(Err(unfit)),
    };
    let mut files = Vec::new();
    for (kind, bytes) in found {
        let stored = hub.artifacts.put_bytes(&bytes).await.context("cannot store a file of a SIG")?;
        files.push(Extra { kind, digest: stored.digest, size: stored.size });
    }
    Ok(Ok(Some(Extras { repo: from.repo.clone(), commit, files })))
}

/// What is wrong with the head of a branch, for who has just pushed it.
pub(crate) async fn judge(hub: &Hub, from: &RepoBranch) -> Result<Vec<ExtraKind>, Unfit> {
    let read = at_head(hub, from).await?;
    Ok(read.map(|(_, files)| files.into_iter().map(|(kind, _)| kind).collect()).unwrap_or_default())
}

async fn at_head(hub: &Hub, from: &RepoBranch) -> Result<Option<(String, Files)>, Unfit> {
    let (path, from) = (own_path(hub, &from.repo), from.clone());
    blocking(move || read_head(&path, &from)).await
}

fn open(path: &Path, from: &RepoBranch) -> Result<Option<(DistGit, String)>, Unfit> {
    if !path.is_dir() {
        return Ok(None);
    }
    let git = DistGit::open(path, &from.repo)?;
    match git.head(&from.branch)? {
        Some(commit) => Ok(Some((git, commit))),
        None => Err(Unfit(format!(
            "{} has no branch {}, which the template names in `metadata`",
            from.repo, from.branch
        ))),
    }
}

type Files = Vec<(ExtraKind, Vec<u8>)>;

/// The commit a branch is at, and its files, each of which is what it should be.
fn read_head(path: &Path, from: &RepoBranch) -> Result<Option<(String, Files)>, Unfit> {
    let Some((git, commit)) = open(path, from)? else { return Ok(None) };
    let mut files = Vec::new();
    for kind in ExtraKind::ALL {
        let name = kind.file_name();
        let Some(bytes) = git.file(&commit, name, LARGEST)? else { continue };
        if let Err(wrong) = check::check(kind, &bytes) {
            let line = wrong.line.map_or_else(String::new, |line| format!(", line {line}"));
            return Err(Unfit(format!("{name} in {}{line}: {}", at(&from.repo, &commit), wrong.what)));
        }
        files.push((kind, bytes));
    }
    Ok(Some((commit, files)))
}
