//! A commit's tree, or one folder of it, as a tar that is the same bytes for the same content: sorted, without times,
//! owners or compression.

use std::collections::BTreeMap;

use git2::{FileMode, ObjectType, Oid};
use tar::{Builder, EntryType, Header};

use super::tree::{DistGit, TreeError};

/// Most files and folders one tree may have.
pub const MAX_FILES: u64 = 50_000;
/// Deepest folder one tree may have.
const MAX_DEPTH: usize = 64;

/// One thing in a tree.
enum Node {
    Folder,
    File { id: Oid, executable: bool },
    Link { target: String },
}

impl DistGit {
    /// The whole tree of a commit (a full id) as a tar. Its files together may have `max_bytes`.
    ///
    /// # Errors
    /// [`TreeError`], for the maintainer: submodules, links that leave the tree, names that no build can use.
    pub fn tar(&self, commit: &str, max_bytes: u64) -> Result<Vec<u8>, TreeError> {
        let (at, commit) = self.commit(commit)?;
        let root = commit.tree().map_err(|error| self.broken(&at, &error))?;
        Collector::new(self, &at, max_bytes).tar(&root)
    }

    /// One folder of a commit as a tar with the folder's content at its top, such as `tests/smoke`.
    ///
    /// # Errors
    /// As [`DistGit::tar`], and [`TreeError::NoFolder`].
    pub fn tar_folder(&self, commit: &str, folder: &str, max_bytes: u64) -> Result<Vec<u8>, TreeError> {
        let (at, commit) = self.commit(commit)?;
        let root = commit.tree().map_err(|error| self.broken(&at, &error))?;
        let found = self.folder(&at, &root, folder)?;
        let Some(tree) = found else { return Err(TreeError::NoFolder { at, folder: folder.to_owned() }) };
        Collector::new(self, &format!("{folder} of {at}"), max_bytes).tar(&tree)
    }
}

struct Collector<'a> {
    git: &'a DistGit,
    at: String,
    max_bytes: u64,
    bytes: u64,
    nodes: BTreeMap<String, Node>,
}

impl<'a> Collector<'a> {
    fn new(git: &'a DistGit, at: &str, max_bytes: u64) -> Self {
        Self { git, at: at.to_owned(), max_bytes, bytes: 0, nodes: BTreeMap::new() }
    }

    fn tar(mut self, root: &git2::Tree<'_>) -> Result<Vec<u8>, TreeError> {
        self.collect(root, "", 0)?;
        let mut builder = Builder::new(Vec::new());
        for (path, node) in &self.nodes {
            let mut header = Header::new_gnu();
            header.set_mtime(0);
            header.set_uid(0);
            header.set_gid(0);
            header.set_size(0);
            header.set_mode(0o644);
            let written = match node {
                Node::Folder => {
                    header.set_entry_type(EntryType::Directory);
                    header.set_mode(0o755);
                    builder.append_data(&mut header, format!("{path}/"), std::io::empty())
                }
                Node::File { id, executable } => {
                    let blob =
                        self.git.repo.find_blob(*id).map_err(|error| self.git.broken(&self.at, &error))?;
                    header.set_entry_type(EntryType::Regular);
                    header.set_mode(if *executable { 0o755 } else { 0o644 });
                    header.set_size(blob.size() as u64);
                    builder.append_data(&mut header, path, blob.content())
                }
                Node::Link { target } => {
                    header.set_entry_type(EntryType::Symlink);
                    header.set_mode(0o777);
                    builder.append_link(&mut header, path, target)
                }
            };
            written.map_err(|_| self.refuse(path, "has a name that does not fit into a tar; rename it"))?;
        }
        builder
            .into_inner()
            .map_err(|error| TreeError::Broken { at: self.at.clone(), reason: error.to_string() })
    }

    fn collect(&mut self, tree: &git2::Tree<'_>, prefix: &str, depth: usize) -> Result<(), TreeError> {
        if depth > MAX_DEPTH {
            return Err(self.refuse(prefix, "is nested too deep; use fewer folders"));
        }
        for entry in tree {
            let bytes = entry.name_bytes();
            let shown = format!("{prefix}{}", String::from_utf8_lossy(bytes));
            let Some(name) = entry.name().ok().filter(|name| is_sound(name)) else {
                return Err(self.refuse(&shown, "has a name that a build cannot use safely; rename it"));
            };
            let path = format!("{prefix}{name}");
            let node = match (entry.kind(), entry.filemode()) {
                (Some(ObjectType::Tree), _) => {
                    let git = self.git;
                    let folder =
                        git.repo.find_tree(entry.id()).map_err(|error| git.broken(&self.at, &error))?;
                    self.add(path.clone(), Node::Folder)?;
                    self.collect(&folder, &format!("{path}/"), depth + 1)?;
                    continue;
                }
                (Some(ObjectType::Blob), mode) if mode == i32::from(FileMode::Link) => {
                    self.link(entry.id(), &path, depth)?
                }
                (Some(ObjectType::Blob), mode) => {
                    self.count(entry.id())?;
                    Node::File { id: entry.id(), executable: mode & 0o111 != 0 }
                }
                (Some(ObjectType::Commit), _) => {
                    return Err(
                        self.refuse(&path, "is a submodule; put its files into the repo or the lookaside")
                    );
                }
                _ => return Err(self.refuse(&path, "is neither a file nor a folder; remove it")),
            };
            self.add(path, node)?;
        }
        Ok(())
    }

    fn add(&mut self, path: String, node: Node) -> Result<(), TreeError> {
        self.nodes.insert(path, node);
        if self.nodes.len() as u64 > MAX_FILES {
            return Err(TreeError::TooLarge { at: self.at.clone(), max: MAX_FILES, what: "files" });
        }
        Ok(())
    }

    /// Adds a file's size to the sum before its content is read.
    fn count(&mut self, id: Oid) -> Result<u64, TreeError> {
        let git = self.git;
        let size = git.repo.odb().and_then(|odb| odb.read_header(id)).map(|(size, _)| size as u64);
        let size = size.map_err(|error| git.broken(&self.at, &error))?;
        self.bytes = self.bytes.saturating_add(size);
        if self.bytes > self.max_bytes {
            return Err(TreeError::TooLarge { at: self.at.clone(), max: self.max_bytes, what: "bytes" });
        }
        Ok(size)
    }

    fn link(&mut self, id: Oid, path: &str, depth: usize) -> Result<Node, TreeError> {
        self.count(id)?;
        let blob = self.git.repo.find_blob(id).map_err(|error| self.git.broken(&self.at, &error))?;
        let target = std::str::from_utf8(blob.content()).ok().filter(|target| stays_inside(target, depth));
        match target {
            Some(target) => Ok(Node::Link { target: target.to_owned() }),
            None => Err(self.refuse(
                path,
                "is a symlink that leaves the tree; link to a file within it by a relative path",
            )),
        }
    }

    fn refuse(&self, path: &str, why: &'static str) -> TreeError {
        let path = path.chars().map(|c| if c.is_control() { '?' } else { c }).take(200).collect();
        TreeError::Entry { at: self.at.clone(), path, why }
    }
}

/// git itself refuses some of these names, but a repo may have been written by something else.
fn is_sound(name: &str) -> bool {
    !name.is_empty()
        && !matches!(name, "." | "..")
        && !name.eq_ignore_ascii_case(".git")
        && !name.contains(|c: char| c == '/' || c == '\\' || c.is_control())
}

/// Does a link, in a folder this deep, stay in the tree whatever other links do? `..` is allowed only at the beginning: a
/// folder on the way could itself be a link, and `..` behind it would lead elsewhere than it seems.
fn stays_inside(target: &str, depth: usize) -> bool {
    let up = target.split('/').take_while(|part| *part == "..").count();
    !target.is_empty()
        && !target.starts_with('/')
        && !target.contains(char::is_control)
        && up <= depth
        && target.split('/').skip(up).all(|part| part != "..")
}
