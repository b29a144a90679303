//! Taking out of a tree what nobody is shown any more. Every step may be broken off anywhere: the next sweep goes on.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use farm::ids::SnapshotId;
use farm::stamp::Stamp;

use super::pool::{self, Place};
use super::{PARTIAL, PublishError, SnapshotTree, names_in};
use crate::files::{At as _, FileError, blocking, remove_tree, sync_parent};

/// The beginning of the name of a snapshot that was taken out.
const GONE: &str = ".gone-";

/// A tree in which nothing is brought in, moved or taken out by anybody else until this is dropped.
#[derive(Debug)]
pub struct Hold {
    tree: SnapshotTree,
    _lock: File,
}

impl Hold {
    /// Takes out a snapshot that is not live; its packages go with the next [`SnapshotTree::sweep`]. Clients act on metadata
    /// they fetched days ago: the caller has waited, and looked once more whether anything needs it since the tree is held.
    ///
    /// # Errors
    /// [`PublishError::Live`], [`PublishError::Disk`].
    pub async fn take_out(self, id: SnapshotId) -> Result<(), PublishError> {
        blocking(move || {
            let tags = names_in(&self.tree.root.join("live"))?;
            if let Some(tag) = tags.into_iter().find(|tag| self.tree.live(tag) == Some(id)) {
                return Err(PublishError::Live { id, tag });
            }
            let dir = self.tree.dir(id);
            let gone = dir.with_file_name(format!("{GONE}{id}"));
            match fs::rename(&dir, &gone) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                result => result.at("rename a directory to", &gone),
            }?;
            Ok(sync_parent(&gone)?)
        })
        .await
    }
}

impl SnapshotTree {
    /// Waits until nobody changes the tree, in this process or another; nobody does until what this gives is dropped.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn hold(&self) -> Result<Hold, FileError> {
        let tree = self.clone();
        blocking(move || {
            let lock = tree.lock()?;
            Ok(Hold { tree, _lock: lock })
        })
        .await
    }

    /// The tag whose packages a snapshot has; `None` when it is not there, or has none.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn tag_of(&self, id: SnapshotId) -> Result<Option<String>, FileError> {
        pool::tag_of(&self.dir(id))
    }

    /// When a snapshot was last shown, if it ever was and is not now; else when it was made. `None` when it is not there.
    #[must_use]
    pub fn touched(&self, id: SnapshotId) -> Option<Stamp> {
        let at = self.dir(id).metadata().ok()?.modified().ok()?;
        let since = at.duration_since(UNIX_EPOCH).ok()?;
        Some(Stamp::from_millis(i64::try_from(since.as_millis()).ok()?))
    }

    /// Removes what was taken out, packages that no snapshot has, links to metadata that has gone, and what those have left who
    /// died. Gives the number of packages. It stays away from what it cannot understand.
    ///
    /// # Errors
    /// [`PublishError::Manifest`] when a snapshot does not say what it consists of, [`PublishError::Disk`].
    pub async fn sweep(&self) -> Result<usize, PublishError> {
        let tree = self.clone();
        blocking(move || {
            let mut removed = 0;
            for tag in pool::tags(&tree.root)? {
                // One after the other, so that publishing waits for one at most.
                let _lock = tree.lock()?;
                let kept = tree.snapshots_of(&tag)?;
                tree.drop_carried(&tag, &kept)?;
                let kept: Vec<Place<'_>> = kept.iter().map(|(id, dir)| Place { id: *id, dir }).collect();
                removed += pool::sweep(&tree.root, &tag, &kept)?;
            }
            let _lock = tree.lock()?;
            let snap = tree.root.join("snap");
            for name in names_in(&snap)? {
                let is_partial = name.rsplit_once('.').is_some_and(|(_, end)| end == PARTIAL);
                if is_partial || name.starts_with(GONE) {
                    remove_tree(&snap.join(name))?;
                }
            }
            Ok(removed)
        })
        .await
    }

    /// Notes that a snapshot is shown until now.
    pub(super) fn touch(&self, id: SnapshotId) -> Result<(), FileError> {
        let dir = self.dir(id);
        File::open(&dir).and_then(|dir| dir.set_modified(SystemTime::now())).at("set the time of", &dir)
    }

    /// The snapshots of one tag.
    fn snapshots_of(&self, tag: &str) -> Result<Vec<(SnapshotId, PathBuf)>, FileError> {
        let mut found = Vec::new();
        for id in self.snapshots()? {
            let dir = self.dir(id);
            if pool::tag_of(&dir)?.as_deref() == Some(tag) {
                found.push((id, dir));
            }
        }
        Ok(found)
    }
}
