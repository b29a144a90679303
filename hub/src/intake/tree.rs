//! Reading a commit of a dist-git repo: where the spec is, which sources and suites there are. All of it blocks: call it
//! on a blocking thread.

mod error;

use std::path::Path;

use farm::nvr::is_package_name;
use farm::sig::template::is_suite;
use git2::{ErrorCode, ObjectType, Oid, Repository, TreeEntry};

pub use error::TreeError;

use super::sources::{SourceRef, parse_metadata, parse_sources};

/// Largest list of sources that is read, in bytes.
const MAX_LIST: usize = 1024 * 1024;

/// A dist-git repo on the local disk, bare or not.
pub struct DistGit {
    pub(super) repo: Repository,
    pub(super) name: String,
}

/// How a repo is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// The spec and the patches in the root.
    Flat,
    /// `SPECS/` and `SOURCES/`.
    Exploded,
}

/// What one commit holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkout {
    /// The full commit id.
    pub commit: String,
    /// The commit message's first line.
    pub subject: String,
    /// How it is laid out.
    pub layout: Layout,
    /// The spec's path: `hello.spec`, or `SPECS/hello.spec`.
    pub spec: String,
    /// The files it has in the lookaside.
    pub sources: Vec<SourceRef>,
    /// The suites it brings, sorted: every `tests/<suite>/run.sh`.
    pub suites: Vec<String>,
}

impl DistGit {
    /// Opens a repo on the local disk. `name` is what people call it, such as `rpms/hello`; errors name it so.
    ///
    /// # Errors
    /// [`TreeError::NoRepo`].
    pub fn open(path: &Path, name: &str) -> Result<Self, TreeError> {
        match Repository::open(path) {
            Ok(repo) => Ok(Self { repo, name: name.to_owned() }),
            Err(error) => {
                Err(TreeError::NoRepo { name: name.to_owned(), reason: error.message().to_owned() })
            }
        }
    }

    /// The commit a branch is at; `None` when there is no such branch.
    ///
    /// # Errors
    /// [`TreeError::Broken`].
    pub fn head(&self, branch: &str) -> Result<Option<String>, TreeError> {
        match self.repo.refname_to_id(&format!("refs/heads/{branch}")) {
            Ok(id) => Ok(Some(id.to_string())),
            Err(error) if matches!(error.code(), ErrorCode::NotFound | ErrorCode::InvalidSpec) => Ok(None),
            Err(error) => Err(self.broken(&self.name, &error)),
        }
    }

    /// Every branch with the commit it is at, in the order of names. Branches whose names are not UTF-8 are left out.
    ///
    /// # Errors
    /// [`TreeError::Broken`].
    pub fn branches(&self) -> Result<Vec<(String, String)>, TreeError> {
        let broken = |error: git2::Error| self.broken(&self.name, &error);
        let mut branches = Vec::new();
        for reference in self.repo.references_glob("refs/heads/*").map_err(broken)? {
            let reference = reference.map_err(broken)?;
            let name = reference.name().ok().and_then(|name| name.strip_prefix("refs/heads/"));
            if let (Some(name), Some(id)) = (name, reference.target()) {
                branches.push((name.to_owned(), id.to_string()));
            }
        }
        branches.sort();
        Ok(branches)
    }

    /// Reads what a commit (a full id) holds, as the package `package`.
    ///
    /// # Errors
    /// [`TreeError`], for the maintainer.
    pub fn read(&self, commit: &str, package: &str) -> Result<Checkout, TreeError> {
        let (at, commit) = self.commit(commit)?;
        let root = commit.tree().map_err(|error| self.broken(&at, &error))?;
        let (layout, spec) = self.find_spec(&at, &root, package)?;
        Ok(Checkout {
            commit: commit.id().to_string(),
            subject: commit.summary().ok().flatten().unwrap_or_default().to_owned(),
            layout,
            spec,
            sources: self.sources(&at, &root, package)?,
            suites: match self.folder(&at, &root, "tests")? {
                Some(folder) => self.suites_in(&folder),
                None => Vec::new(),
            },
        })
    }

    /// The suites in a folder of a commit, sorted: every `<folder>/<suite>/run.sh`. The folder "" is the root.
    ///
    /// # Errors
    /// [`TreeError`].
    pub fn suites(&self, commit: &str, folder: &str) -> Result<Vec<String>, TreeError> {
        let (at, commit) = self.commit(commit)?;
        let root = commit.tree().map_err(|error| self.broken(&at, &error))?;
        if folder.is_empty() {
            return Ok(self.suites_in(&root));
        }
        Ok(self.folder(&at, &root, folder)?.map(|folder| self.suites_in(&folder)).unwrap_or_default())
    }

    /// A regular file at the top of a commit (a full id), if it has one, of at most so many bytes.
    ///
    /// # Errors
    /// [`TreeError`], for whoever pushed it.
    pub fn file(&self, commit: &str, name: &str, max_bytes: u64) -> Result<Option<Vec<u8>>, TreeError> {
        let (at, commit) = self.commit(commit)?;
        let broken = |error: git2::Error| self.broken(&at, &error);
        let root = commit.tree().map_err(broken)?;
        let Some(entry) = root.get_name(name) else { return Ok(None) };
        let refuse = |why| TreeError::Entry { at: at.clone(), path: name.to_owned(), why };
        if !is_file(&entry) {
            return Err(refuse("is no regular file; links and folders are not followed"));
        }
        let (size, _) = self.repo.odb().and_then(|odb| odb.read_header(entry.id())).map_err(broken)?;
        if size as u64 > max_bytes {
            return Err(TreeError::LargeFile { at, path: name.to_owned(), max_bytes });
        }
        let blob = self.repo.find_blob(entry.id()).map_err(broken)?;
        Ok(Some(blob.content().to_vec()))
    }

    /// The commit, and how errors call it: `rpms/hello at 1234abcd`.
    pub(super) fn commit(&self, id: &str) -> Result<(String, git2::Commit<'_>), TreeError> {
        let missing =
            || TreeError::NoCommit { name: self.name.clone(), commit: id.chars().take(40).collect() };
        // git would complete a shorter id, and what is built must be named completely.
        let oid = Oid::from_str(id).ok().filter(|_| id.len() == 40).ok_or_else(missing)?;
        let commit = self.repo.find_commit(oid).map_err(|_| missing())?;
        Ok((format!("{} at {}", self.name, &id[..8]), commit))
    }

    /// A folder of a tree, if there is one.
    pub(super) fn folder<'a>(
        &'a self,
        at: &str,
        root: &git2::Tree<'_>,
        path: &str,
    ) -> Result<Option<git2::Tree<'a>>, TreeError> {
        match root.get_path(Path::new(path)) {
            Ok(entry) if entry.kind() == Some(ObjectType::Tree) => {
                self.repo.find_tree(entry.id()).map(Some).map_err(|error| self.broken(at, &error))
            }
            Ok(_) => Ok(None),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
            Err(error) => Err(self.broken(at, &error)),
        }
    }

    pub(super) fn broken(&self, at: &str, error: &git2::Error) -> TreeError {
        TreeError::Broken { at: at.to_owned(), reason: error.message().to_owned() }
    }

    fn find_spec(
        &self,
        at: &str,
        root: &git2::Tree<'_>,
        package: &str,
    ) -> Result<(Layout, String), TreeError> {
        let exploded = self.folder(at, root, "SPECS")?;
        let candidates = [(Layout::Flat, "", Some(root)), (Layout::Exploded, "SPECS/", exploded.as_ref())];
        for (layout, prefix, folder) in candidates {
            let specs: Vec<String> = folder.map(specs_in).unwrap_or_default();
            let preferred = format!("{package}.spec");
            let spec = match specs.as_slice() {
                [] => continue,
                [only] => only,
                _ if specs.contains(&preferred) => &preferred,
                _ => {
                    let found = specs.iter().map(|spec| format!("{prefix}{spec}")).collect::<Vec<_>>();
                    let (at, package) = (at.to_owned(), package.to_owned());
                    return Err(TreeError::ManySpecs { at, found: found.join(", "), package });
                }
            };
            let path = format!("{prefix}{spec}");
            if !is_package_name(spec) {
                return Err(TreeError::SpecName { at: at.to_owned(), found: path });
            }
            return Ok((layout, path));
        }
        Err(TreeError::NoSpec { at: at.to_owned() })
    }

    /// `sources` is what today's tools write; where it exists, an older `.<package>.metadata` is a leftover.
    fn sources(&self, at: &str, root: &git2::Tree<'_>, package: &str) -> Result<Vec<SourceRef>, TreeError> {
        let metadata = format!(".{package}.metadata");
        let parsed = if let Some(text) = self.list(at, root, "sources")? {
            parse_sources(&text)
        } else if let Some(text) = self.list(at, root, &metadata)? {
            parse_metadata(&metadata, &text)
        } else {
            Ok(Vec::new())
        };
        parsed.map_err(|why| TreeError::Sources { at: at.to_owned(), why })
    }

    fn list(&self, at: &str, root: &git2::Tree<'_>, name: &str) -> Result<Option<String>, TreeError> {
        let Some(entry) = root.get_name(name).filter(|entry| is_file(entry)) else { return Ok(None) };
        let refuse = |why| TreeError::Entry { at: at.to_owned(), path: name.to_owned(), why };
        let blob = self.repo.find_blob(entry.id()).map_err(|error| self.broken(at, &error))?;
        if blob.size() > MAX_LIST {
            return Err(refuse("is larger than 1 MiB; a list of sources is not"));
        }
        let text = String::from_utf8(blob.content().to_vec());
        text.map(Some).map_err(|_| refuse("is not UTF-8 text; write it again with your dist-git client"))
    }

    fn suites_in(&self, folder: &git2::Tree<'_>) -> Vec<String> {
        let mut suites: Vec<String> = folder
            .iter()
            .filter(|entry| entry.kind() == Some(ObjectType::Tree))
            .filter(|entry| {
                let suite = self.repo.find_tree(entry.id());
                suite.is_ok_and(|suite| suite.get_name("run.sh").is_some_and(|run| is_file(&run)))
            })
            .filter_map(|entry| entry.name().ok().filter(|name| is_suite(name)).map(str::to_owned))
            .collect();
        suites.sort();
        suites
    }
}

/// A regular file, executable or not: no symlink, no submodule, no folder.
pub(super) fn is_file(entry: &TreeEntry<'_>) -> bool {
    entry.kind() == Some(ObjectType::Blob) && entry.filemode() & 0o170_000 == 0o100_000
}

fn specs_in(folder: &git2::Tree<'_>) -> Vec<String> {
    let files = folder.iter().filter(is_file);
    files
        .filter_map(|entry| entry.name().ok().map(str::to_owned))
        .filter(|name| name.ends_with(".spec"))
        .collect()
}

#[cfg(test)]
mod tests;
