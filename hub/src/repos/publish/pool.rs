//! The packages of a tree, each once for each repo, however many snapshots have it.
//!
//! `pool/<tag>/<folder>/Packages/…` is what `snap/<id>/<folder>/Packages` leads to, for every snapshot of the tag. What is at
//! a path never changes, so packages are only ever added, before the first snapshot with them is in the tree, and removed
//! after the last one.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};

use farm::digest::Digest;
use farm::ids::SnapshotId;

use super::{PublishError, names_in};
use crate::artifacts::{ArtifactError, Artifacts};
use crate::files::{At as _, FileError, sync_all};
use crate::repos::manifest::{self, Listed, Listing, ManifestError, PACKAGES, is_folder, is_package};

/// The folder of a tree that has the packages.
const POOL: &str = "pool";
/// The folder beside a tag's folders that names each snapshot which was brought in without its packages.
const ELSEWHERE: &str = "elsewhere";
/// More directories than this are not flushed one by one, but with everything on the file system.
const FLUSHED_SINGLY: usize = 64;

/// A snapshot on disk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) id: SnapshotId,
    pub(super) dir: &'a Path,
}

/// Puts into the pool of a tag what a composed snapshot has and `base`, which is in the tree, has not; and lets the snapshot
/// lead there. Gives the directories that are then to be [flushed](flush), but for the snapshot's own. Doing it again changes
/// nothing. Without `artifacts` the packages are somewhere else.
pub(super) fn stock(
    root: &Path,
    artifacts: Option<&Artifacts>,
    tag: &str,
    staged: Place<'_>,
    base: Option<Place<'_>>,
) -> Result<BTreeSet<PathBuf>, PublishError> {
    let mut changed = BTreeSet::new();
    let elsewhere = root.join(POOL).join(tag).join(ELSEWHERE);
    // What was brought in while packages were elsewhere does not say what is here.
    let base = base.filter(|base| !elsewhere.join(base.id.to_string()).exists());
    for folder in manifest::folders_of(staged.dir)? {
        let listing = Listing::read(staged.dir, staged.id, &folder)?;
        let before = match base.map(|base| Listing::read(base.dir, base.id, &folder)).transpose() {
            Err(ManifestError::NoFolder { .. }) => None,
            before => before?,
        };
        let pool = root.join(POOL).join(tag).join(&folder);
        make_dirs(&pool.join(PACKAGES), root, &mut changed)?;
        let new: Vec<Listed<'_>> = match &before {
            Some(before) => listing.not_in(before).collect(),
            None => listing.files().collect(),
        };
        let new = new.into_iter().filter(|listed| is_package(listed.path));
        for (listed, artifacts) in new.filter_map(|listed| Some((listed, artifacts?))) {
            let digest = listed.digest().ok_or_else(|| damaged(staged.dir, &folder))?;
            add(artifacts, &digest, &pool.join(listed.path), root, &mut changed)?;
            tracing::trace!(target: "steps", "{tag}: a package is in the pool");
        }
        lead(staged.dir, tag, &folder)?;
    }
    if artifacts.is_none() {
        make_dirs(&elsewhere, root, &mut changed)?;
        let mark = elsewhere.join(staged.id.to_string());
        File::create(&mark).at("create", &mark)?;
        changed.insert(elsewhere);
    }
    Ok(changed)
}

fn damaged(dir: &Path, folder: &str) -> ManifestError {
    ManifestError::Broken { path: dir.join(folder), why: "a line is damaged".to_owned() }
}

/// Adds a package, and notes the directories that are to be flushed.
fn add(
    artifacts: &Artifacts,
    digest: &Digest,
    path: &Path,
    root: &Path,
    changed: &mut BTreeSet<PathBuf>,
) -> Result<(), PublishError> {
    let parent = path.parent().unwrap_or(path);
    if path.exists() {
        // Whoever added it may have died before it was flushed.
        changed.insert(parent.to_owned());
        return Ok(());
    }
    make_dirs(parent, root, changed)?;
    match artifacts.link_to(digest, path) {
        // It is complete: it got its name only then.
        Err(ArtifactError::Disk(error)) if error.source.kind() == io::ErrorKind::AlreadyExists => {}
        Err(why) => return Err(PublishError::Artifact { path: path.to_owned(), why }),
        Ok(()) => {}
    }
    changed.insert(parent.to_owned());
    Ok(())
}

/// Makes a directory below `root`, and notes those that are to be flushed for it.
fn make_dirs(dir: &Path, root: &Path, changed: &mut BTreeSet<PathBuf>) -> Result<(), FileError> {
    match fs::create_dir(dir) {
        Ok(()) => {
            changed.insert(dir.parent().unwrap_or(root).to_owned());
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound && dir.starts_with(root) && dir != root => {
            make_dirs(dir.parent().unwrap_or(root), root, changed)?;
            make_dirs(dir, root, changed)
        }
        Err(error) => Err(error).at("create the directory", dir),
    }
}

/// `<folder>/Packages` of a snapshot leads to the pool, from where it will be in the tree.
fn lead(staged: &Path, tag: &str, folder: &str) -> Result<(), FileError> {
    let link = staged.join(folder).join(PACKAGES);
    let target = format!("../../../{POOL}/{tag}/{folder}/{PACKAGES}");
    match symlink(&target, &link) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result.at("create the link", &link),
    }
}

/// Makes directories of a tree durable.
pub(super) fn flush(root: &Path, changed: &BTreeSet<PathBuf>) -> Result<(), FileError> {
    if changed.len() <= FLUSHED_SINGLY {
        return sync_all(&changed.iter().collect::<Vec<_>>());
    }
    let all = || -> io::Result<()> { Ok(rustix::fs::syncfs(File::open(root)?)?) };
    all().at("flush the file system of", root)
}

/// The tag in whose pool a snapshot has its packages; `None` when it has none.
pub(super) fn tag_of(dir: &Path) -> Result<Option<String>, FileError> {
    let folders = manifest::folders_of(dir)?;
    let target = folders.iter().find_map(|folder| fs::read_link(dir.join(folder).join(PACKAGES)).ok());
    let tag = target.and_then(|target| {
        let mut parts = target.components().skip_while(|part| *part == Component::ParentDir).skip(1);
        parts.next().and_then(|part| part.as_os_str().to_str()).map(str::to_owned)
    });
    Ok(tag)
}

/// The tags that have a pool.
pub(super) fn tags(root: &Path) -> Result<Vec<String>, FileError> {
    let pool = root.join(POOL);
    if pool.is_dir() { names_in(&pool) } else { Ok(Vec::new()) }
}

/// Removes from a tag's pool what none of its snapshots, which are all of them, has. Gives the number of packages.
pub(super) fn sweep(root: &Path, tag: &str, kept: &[Place<'_>]) -> Result<usize, PublishError> {
    let pool = root.join(POOL).join(tag);
    let elsewhere = pool.join(ELSEWHERE);
    if elsewhere.is_dir() {
        let marks = names_in(&elsewhere)?;
        for gone in marks.iter().filter(|mark| !kept.iter().any(|place| place.id.to_string() == **mark)) {
            fs::remove_file(elsewhere.join(gone)).at("remove a file from", &elsewhere)?;
        }
    }
    let mut removed = 0;
    // Beside the folders lies where builds come from.
    for folder in names_in(&pool)?.into_iter().filter(|name| is_folder(name)) {
        let mut needed = HashSet::new();
        for place in kept {
            match Listing::read(place.dir, place.id, &folder) {
                // Who cannot say what it needs needs all.
                Ok(listing) if !listing.is_whole() => return Err(damaged(place.dir, &folder).into()),
                Ok(listing) => {
                    for listed in listing.files().filter(|listed| is_package(listed.path)) {
                        if !needed.contains(listed.path) {
                            needed.insert(listed.path.to_owned());
                        }
                    }
                }
                Err(ManifestError::NoFolder { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        removed += sweep_dir(&pool.join(&folder), PACKAGES, &needed)?;
    }
    Ok(removed)
}

/// Removes what is not needed in a directory below `top`, and below it directories that are empty then.
fn sweep_dir(top: &Path, inner: &str, needed: &HashSet<String>) -> Result<usize, FileError> {
    let dir = top.join(inner);
    let mut removed = 0;
    for entry in fs::read_dir(&dir).at("list the directory", &dir)? {
        let entry = entry.at("list the directory", &dir)?;
        let (path, name) = (entry.path(), entry.file_name());
        let inner = format!("{inner}/{}", name.to_string_lossy());
        if entry.file_type().at("look at", &path)?.is_dir() {
            removed += sweep_dir(top, &inner, needed)?;
            // One that is not empty stays.
            let _ = fs::remove_dir(&path);
        } else if !needed.contains(&inner) {
            match fs::remove_file(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                result => result.at("remove", &path)?,
            }
            removed += 1;
        }
    }
    Ok(removed)
}
