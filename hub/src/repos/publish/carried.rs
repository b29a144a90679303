//! Old metadata at the paths people know. Those lead to what is live now, and a client that has read the list of what was live
//! before asks there for what that list names.
//!
//! ```text
//! snap/<snapshot id>/<folder>/repodata/<index>  -> ../../../<former snapshot>/<folder>/repodata/<index>
//! ```
//!
//! An index has the digest of its bytes in its name, so a name means the same in every snapshot. No manifest and no list names
//! what a link leads to, and it leads nowhere as soon as the snapshot that has it is taken out.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use farm::ids::SnapshotId;
use farm::sig::{Stage, split_tag};

use super::{SnapshotTree, names_in};
use crate::files::{At as _, FileError};
use crate::repos::manifest;

/// The folder of a repo's folder that has the metadata.
const REPODATA: &str = "repodata";
/// How the list of the metadata is called, and the signature of that; both are another file in every snapshot.
const LIST: &str = "repomd.xml";
/// For so long somebody may be on the way through a snapshot that is not shown any more.
const ON_THE_WAY: Duration = Duration::from_secs(60);

impl SnapshotTree {
    /// Lets what a public tag shows now be found through a snapshot in the tree that it shows next: its indexes, and those that
    /// are found through it. Gives the directories that are to be flushed for it. Doing it again changes nothing.
    pub(super) fn carry(&self, tag: &str, next: SnapshotId) -> Result<BTreeSet<PathBuf>, FileError> {
        let mut changed = BTreeSet::new();
        // Builds and tests name snapshots, so nobody comes back to a candidate by its tag.
        let is_public = split_tag(tag).is_some_and(|(_, stage)| stage != Stage::Candidate);
        let shown = self.live(tag).filter(|shown| is_public && *shown != next && self.contains(*shown));
        let Some(shown) = shown else { return Ok(changed) };
        for folder in manifest::folders_of(&self.dir(next))? {
            let [from, to] = [shown, next].map(|id| self.dir(id).join(&folder).join(REPODATA));
            if !from.is_dir() || !to.is_dir() {
                continue;
            }
            for name in names_in(&from)?.into_iter().filter(|name| !name.starts_with(LIST)) {
                let file = from.join(&name);
                let target = match fs::read_link(&file) {
                    Ok(target) if file.exists() => target,
                    Ok(_) => continue,
                    Err(_) => format!("../../../{shown}/{folder}/{REPODATA}/{name}").into(),
                };
                lead(&to.join(&name), &target)?;
                // Also when it led there already: whoever saw to that may have died before it was flushed.
                changed.insert(to.clone());
            }
        }
        Ok(changed)
    }

    /// Removes from these snapshots of a tag, which are all that it has, the links to indexes that have gone, and every link
    /// from those that it does not show.
    pub(super) fn drop_carried(&self, tag: &str, kept: &[(SnapshotId, PathBuf)]) -> Result<(), FileError> {
        let live = self.live(tag);
        for (id, dir) in kept {
            let is_in_use = live == Some(*id) || self.is_on_the_way(*id);
            for folder in manifest::folders_of(dir)? {
                let repodata = dir.join(folder).join(REPODATA);
                if !repodata.is_dir() {
                    continue;
                }
                for entry in fs::read_dir(&repodata).at("list the directory", &repodata)? {
                    let entry = entry.at("list the directory", &repodata)?;
                    let path = entry.path();
                    let is_link = entry.file_type().at("look at", &path)?.is_symlink();
                    if is_link && !(is_in_use && path.exists()) {
                        fs::remove_file(&path).at("remove the link", &path)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Was a snapshot shown, or made, only just now?
    fn is_on_the_way(&self, id: SnapshotId) -> bool {
        let touched = self.dir(id).metadata().and_then(|meta| meta.modified());
        // A time to come is one of a clock that was set back since.
        touched.is_ok_and(|at| at.elapsed().is_ok_and(|since| since < ON_THE_WAY))
    }
}

/// Makes a link in a snapshot that nothing leads to yet. A file of its own that is called so has the same bytes, and stays.
fn lead(link: &Path, target: &Path) -> Result<(), FileError> {
    match symlink(target, link) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        result => return result.at("create the link", link),
    }
    if fs::read_link(link).is_ok_and(|leads_to| leads_to != target) {
        fs::remove_file(link).at("remove the link", link)?;
        symlink(target, link).at("create the link", link)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
