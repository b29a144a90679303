//! Publishing: a composed snapshot is moved to `snap/<id>`, and `live/<tag>` is made to point there, in one step. Every
//! step may be repeated: after a crash between any two of them, doing all again leads to the same end.
//!
//! ```text
//! snap/<snapshot id>/<folder>/repodata                      and in it, while it is live, links to that of former ones
//! snap/<snapshot id>/<folder>/Packages                      -> ../../../pool/<tag>/<folder>/Packages
//! pool/<tag>/<folder>/Packages/<letter>/<digest>/<package>
//! pool/<tag>/elsewhere/<snapshot id>                         it was brought in while packages were not kept here
//! live/<tag>                                                -> ../snap/<snapshot id>
//! buildlogs/centos/<dist>/<sig>/<folder>/<project>-<release> -> ../../../../../live/<testing tag>/<folder>
//! mirror/SIGs/<dist>/<sig>/<folder>/<project>-<release>      -> ../../../../../live/<release tag>/<folder>
//! ```

mod carried;
mod error;
mod pool;
mod removal;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use farm::arch::Arch;
use farm::gate::Approved;
use farm::ids::SnapshotId;
use farm::sig::{Project, Stage, split_tag};

pub use error::PublishError;
pub use removal::Hold;

use self::pool::Place;
use super::dotrepo::public_path;
use super::manifest::{self, folder_names};
use crate::artifacts::Artifacts;
use crate::files::{
    At as _, FileError, blocking, ensure_dir, link_or_copy, remove_beside, remove_tree, swap_link, sync_tree,
};

/// The extension of a snapshot that is being copied.
const PARTIAL: &str = "partial";

/// A directory of live snapshots: the public root, or the candidate repos that builds and tests use. Clones are the same
/// one. It is the only writer below its root.
#[derive(Debug, Clone)]
pub struct SnapshotTree {
    root: Arc<Path>,
    /// What has the packages; `None` when they are not in the tree.
    artifacts: Option<Artifacts>,
}

impl SnapshotTree {
    /// Opens a tree whose packages are in this store, creating it where there is none.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn open(root: &Path, artifacts: &Artifacts) -> Result<Self, FileError> {
        ensure_dir(&root.join("snap"))?;
        ensure_dir(&root.join("live"))?;
        Ok(Self { root: root.into(), artifacts: Some(artifacts.clone()) })
    }

    /// The same tree, to which packages are not brought from now on: they can be fetched elsewhere.
    #[must_use]
    pub fn without_packages(self) -> Self {
        Self { artifacts: None, ..self }
    }

    /// Its root, to be served to whom it is for.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a snapshot is, or would be.
    #[must_use]
    pub fn dir(&self, id: SnapshotId) -> PathBuf {
        self.root.join("snap").join(id.to_string())
    }

    /// Is the snapshot in the tree, live or not any more?
    #[must_use]
    pub fn contains(&self, id: SnapshotId) -> bool {
        self.dir(id).is_dir()
    }

    /// What a tag points to; `None` when nothing was ever published for it.
    #[must_use]
    pub fn live(&self, tag: &str) -> Option<SnapshotId> {
        let target = fs::read_link(self.pointer(tag)).ok()?;
        target.file_name()?.to_str()?.parse().ok()
    }

    /// Makes a composed snapshot live for a candidate tag. `staged` is where [`compose`](super::compose::compose) put it.
    ///
    /// # Errors
    /// [`PublishError::NotCandidate`], [`PublishError::NotComposed`], [`PublishError::Disk`].
    pub async fn enter(&self, tag: &str, id: SnapshotId, staged: &Path) -> Result<(), PublishError> {
        if split_tag(tag).is_none_or(|(_, stage)| stage != Stage::Candidate) {
            return Err(PublishError::NotCandidate { tag: tag.to_owned() });
        }
        let (tree, tag, staged) = (self.clone(), tag.to_owned(), staged.to_owned());
        blocking(move || {
            let _lock = tree.lock()?;
            tree.bring(&tag, id, &staged)?;
            Ok(tree.point(&tag, id)?)
        })
        .await
    }

    /// Brings an approved snapshot into the tree, where nothing points to it yet, if what is live now is what it was
    /// composed on (or already it). `staged` is where [`compose`](super::compose::compose) put it. [`Self::follow`] makes
    /// it live once the ledger says so.
    ///
    /// # Errors
    /// [`PublishError`]; users see nothing of it then.
    pub async fn admit(
        &self,
        approved: &Approved,
        project: &Project,
        stage: Stage,
        staged: &Path,
    ) -> Result<(), PublishError> {
        let tag = project.tag(stage);
        if approved.tag() != tag {
            return Err(PublishError::WrongTag { approved: approved.tag().to_owned(), tag });
        }
        let (tree, staged) = (self.clone(), staged.to_owned());
        let (id, base) = (approved.snapshot(), approved.base());
        blocking(move || {
            let _lock = tree.lock()?;
            let live = tree.live(&tag);
            if live != base && live != Some(id) {
                return Err(PublishError::Moved { tag, base: shown(base), live: shown(live) });
            }
            tree.bring(&tag, id, &staged)
        })
        .await
    }

    /// Brings a snapshot back that was in the tree before, and is what the ledger's pointer shows. `staged` is where it is,
    /// without its packages. [`Self::follow`] makes it live again.
    ///
    /// # Errors
    /// [`PublishError`]; users see nothing of it then.
    pub async fn readmit(
        &self,
        project: &Project,
        stage: Stage,
        id: SnapshotId,
        staged: &Path,
    ) -> Result<(), PublishError> {
        let (tree, project, staged) = (self.clone(), project.clone(), staged.to_owned());
        blocking(move || {
            let _lock = tree.lock()?;
            tree.bring(&project.tag(stage), id, &staged)?;
            Ok(tree.link_public_paths(id, &project, stage)?)
        })
        .await
    }

    /// Makes a tag point to a snapshot that is in the tree already, and so was approved before: what is live on disk follows
    /// the ledger's pointer. The paths people know lead there, unless its project is no more and nobody can say which they are.
    ///
    /// # Errors
    /// [`PublishError::NotComposed`] when the snapshot is not in the tree, [`PublishError::Foreign`] when it was brought in for
    /// another tag, [`PublishError::Disk`].
    pub async fn follow(
        &self,
        tag: &str,
        id: SnapshotId,
        project: Option<(&Project, Stage)>,
    ) -> Result<(), PublishError> {
        let (tree, tag) = (self.clone(), tag.to_owned());
        let project = project.map(|(project, stage)| (project.clone(), stage));
        blocking(move || {
            let _lock = tree.lock()?;
            if !tree.contains(id) {
                return Err(PublishError::NotComposed(id));
            }
            // What it was brought in for lies on the disk, where no row of the ledger changes it.
            let of = pool::tag_of(&tree.dir(id))?.unwrap_or_default();
            if of != tag {
                return Err(PublishError::Foreign { id, tag, of });
            }
            // Before the pointer: whoever dies in between finds it where it was, and does all of this again.
            if let Some((project, stage)) = &project {
                tree.link_public_paths(id, project, *stage)?;
            }
            Ok(tree.point(&tag, id)?)
        })
        .await
    }

    /// Every snapshot in the tree, the oldest first.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn snapshots(&self) -> Result<Vec<SnapshotId>, FileError> {
        let mut ids: Vec<SnapshotId> =
            names_in(&self.root.join("snap"))?.iter().filter_map(|name| name.parse().ok()).collect();
        ids.sort();
        Ok(ids)
    }

    fn pointer(&self, tag: &str) -> PathBuf {
        self.root.join("live").join(tag)
    }

    /// Held while a pointer is compared and moved; other processes respect it too.
    fn lock(&self) -> Result<File, FileError> {
        let dir = self.root.join("live");
        let file = File::open(&dir).at("open", &dir)?;
        file.lock().at("lock", &dir)?;
        Ok(file)
    }

    /// Step 1: the snapshot is in the tree with its packages, durably. Until this has come to its end nothing may point at it:
    /// a power cut in the middle leaves whatever the disk liked to keep, and all of it is done again.
    fn bring(&self, tag: &str, id: SnapshotId, staged: &Path) -> Result<(), PublishError> {
        let dir = self.dir(id);
        let place = if dir.is_dir() { &dir } else { staged };
        if !place.is_dir() {
            return Err(PublishError::NotComposed(id));
        }
        let live = self.live(tag).filter(|live| self.contains(*live)).map(|live| (live, self.dir(live)));
        let base = live.as_ref().map(|(id, dir)| Place { id: *id, dir });
        let mut changed =
            pool::stock(&self.root, self.artifacts.as_ref(), tag, Place { id, dir: place }, base)?;
        tracing::trace!(target: "steps", "{tag}: its packages are in the pool");
        if !dir.is_dir() {
            match fs::rename(staged, &dir) {
                Ok(()) => changed.extend(staged.parent().map(Path::to_owned)),
                Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                    let partial = dir.with_extension(PARTIAL);
                    remove_tree(&partial)?;
                    copy_tree(staged, &partial)?;
                    sync_tree(&partial)?;
                    fs::rename(&partial, &dir).at("rename a directory to", &dir)?;
                }
                Err(error) => Err(error).at("rename a directory to", &dir)?,
            }
        }
        tracing::trace!(target: "steps", "{tag}: in the tree");
        changed.extend(self.carry(tag, id)?);
        tracing::trace!(target: "steps", "{tag}: what was shown before is found through it");
        changed.extend(manifest::folders_of(&dir)?.iter().map(|folder| dir.join(folder)));
        changed.extend(dir.parent().map(Path::to_owned));
        pool::flush(&self.root, &changed)?;
        tracing::trace!(target: "steps", "{tag}: in the tree for good");
        // A copy across file systems, or a compose repeated after the move, leaves the staged one.
        Ok(remove_tree(staged)?)
    }

    /// Step 2: the paths people know lead to the tag's pointer: one for each folder that the snapshot has, and none that would
    /// lead nowhere. They are made when the pointer is about to move, so that a snapshot which never becomes live leaves none.
    fn link_public_paths(&self, id: SnapshotId, project: &Project, stage: Stage) -> Result<(), FileError> {
        let tag = project.tag(stage);
        let has = names_in(&self.dir(id))?;
        for folder in folder_names(&Arch::ALL) {
            let Some(path) = public_path(project, stage, &folder) else { continue };
            let link = self.root.join(&path);
            let up = "../".repeat(path.matches('/').count());
            let target = PathBuf::from(format!("{up}live/{tag}/{folder}"));
            if has.contains(&folder) {
                if let Some(parent) = link.parent() {
                    ensure_dir(parent)?;
                }
                swap(&link, &target)?;
            } else if fs::read_link(&link).is_ok_and(|led| led == target) {
                fs::remove_file(&link).at("remove the link", &link)?;
            }
        }
        Ok(())
    }

    /// Step 3: the tag points to it.
    fn point(&self, tag: &str, id: SnapshotId) -> Result<(), FileError> {
        if let Some(before) = self.live(tag).filter(|before| *before != id && self.contains(*before)) {
            self.touch(before)?;
        }
        // Again, since the tag may have shown something else when this one was brought in.
        pool::flush(&self.root, &self.carry(tag, id)?)?;
        tracing::trace!(target: "steps", "{tag}: the link is about to move");
        swap(&self.pointer(tag), &Path::new("../snap").join(id.to_string()))?;
        tracing::trace!(target: "steps", "{tag}: the link has moved");
        Ok(())
    }
}

/// Where a snapshot is: staged, or in one of the trees.
#[must_use]
pub fn locate(id: SnapshotId, staging: &Path, trees: &[&SnapshotTree]) -> Option<PathBuf> {
    // In the order in which it walks, and the first place again: it may move on while we look.
    let staged = || Some(staging.join(id.to_string())).filter(|dir| dir.is_dir());
    staged().or_else(|| trees.iter().find(|tree| tree.contains(id)).map(|tree| tree.dir(id))).or_else(staged)
}

/// Swaps a link while the tree is locked: nobody else is at it, so what lies beside it was left by somebody who died.
fn swap(link: &Path, target: &Path) -> Result<(), FileError> {
    remove_beside(link)?;
    swap_link(link, target)
}

fn shown(id: Option<SnapshotId>) -> String {
    id.map_or_else(|| "nothing".to_owned(), |id| id.to_string())
}

fn names_in(dir: &Path) -> Result<Vec<String>, FileError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).at("list the directory", dir)? {
        names.push(entry.at("list the directory", dir)?.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}

fn copy_tree(from: &Path, to: &Path) -> Result<(), FileError> {
    ensure_dir(to)?;
    for name in names_in(from)? {
        let (source, target) = (from.join(&name), to.join(&name));
        if let Ok(leads_to) = fs::read_link(&source) {
            symlink(leads_to, &target).at("create the link", &target)?;
        } else if source.is_dir() {
            copy_tree(&source, &target)?;
        } else {
            link_or_copy(&source, &target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
