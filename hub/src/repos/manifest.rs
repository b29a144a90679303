//! What a snapshot's folder consists of, file by file, so that a builder can fetch and check it.
//!
//! `manifests/<folder>` of a snapshot has one line for each file below `<folder>`, in the order of their paths:
//! `<SHA-256> <size> <path>`.

mod cache;

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use farm::arch::Arch;
use farm::digest::Digest;
use farm::ids::SnapshotId;
use farm::message::{Manifest, ManifestFile};

pub use cache::Cache;

use super::engine::{Entry, Written};
use crate::files::{At as _, FileError};

/// The folder of a snapshot that has the manifests of the others.
pub(crate) const MANIFESTS: &str = "manifests";
/// The folder of a repo's folder that has the packages.
pub(crate) const PACKAGES: &str = "Packages";
/// What a manifest begins with. The snapshot's id follows.
const FORMAT: &str = "grange-manifest 1 ";
/// Bytes of the line of a package with a name of usual length.
const TYPICAL_LINE: usize = 160;

/// Why there is no manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// A snapshot has no such folder.
    #[error("snapshot {id} has no folder `{folder}`")]
    NoFolder {
        /// The snapshot.
        id: SnapshotId,
        /// The folder.
        folder: String,
    },
    /// The file with it cannot be understood.
    #[error("the manifest {} cannot be read: {why}", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] FileError),
}

/// One file of a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed<'a> {
    /// Its path below the folder.
    pub path: &'a str,
    digest: &'a str,
    /// Its size in bytes.
    pub size: u64,
}

/// A manifest in memory, as compact as on disk.
#[derive(Debug)]
pub struct Listing {
    text: String,
    /// Where each line begins, and where the last one ends.
    lines: Vec<usize>,
}

/// The folders of every snapshot for these architectures: `x86_64`, `debug-x86_64`, …, `source`.
pub fn folder_names(arches: &[Arch]) -> impl Iterator<Item = String> {
    let both = arches.iter().flat_map(|arch| [arch.to_string(), format!("debug-{arch}")]);
    both.chain(["source".to_owned()])
}

/// Is this the name of a folder some snapshot could have?
#[must_use]
pub fn is_folder(text: &str) -> bool {
    folder_names(&Arch::ALL).any(|name| name == text)
}

/// Is this the path of a package, rather than of metadata?
#[must_use]
pub fn is_package(path: &str) -> bool {
    path.strip_prefix(PACKAGES).is_some_and(|rest| rest.starts_with('/'))
}

/// Where a file of a snapshot is on the disk. `None` when the folder or the path is none a snapshot could have, so that
/// what a stranger asks for stays within the snapshot.
#[must_use]
pub fn file_in(snapshot: &Path, folder: &str, path: &str) -> Option<PathBuf> {
    let mut parts = Path::new(path).components().peekable();
    let sound = parts.peek().is_some() && parts.all(|part| matches!(part, Component::Normal(_)));
    (is_folder(folder) && sound).then(|| snapshot.join(folder).join(path))
}

/// The manifest of one folder of the snapshot in `snapshot`.
///
/// # Errors
/// [`ManifestError`].
pub fn read(snapshot: &Path, id: SnapshotId, folder: &str) -> Result<Manifest, ManifestError> {
    let listing = Listing::read(snapshot, id, folder)?;
    let files = listing.files().map(|listed| {
        let Listed { path, size, .. } = listed;
        listed.digest().map(|digest| ManifestFile { path: path.to_owned(), digest, size })
    });
    let broken =
        || ManifestError::Broken { path: file_of(snapshot, folder), why: "a line is damaged".into() };
    Ok(Manifest { id, files: files.collect::<Option<_>>().ok_or_else(broken)? })
}

/// The folders of the snapshot in `snapshot`, by its manifests.
///
/// # Errors
/// When the disk refuses.
pub fn folders_of(snapshot: &Path) -> Result<Vec<String>, FileError> {
    let manifests = snapshot.join(MANIFESTS);
    let entries = match fs::read_dir(&manifests) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.at("list the directory", &manifests)?,
    };
    let mut folders = Vec::new();
    for entry in entries {
        let name = entry.at("list the directory", &manifests)?.file_name();
        folders.extend(name.to_str().filter(|name| is_folder(name)).map(str::to_owned));
    }
    folders.sort();
    Ok(folders)
}

impl Listing {
    /// Reads the manifest of one folder of the snapshot in `snapshot`.
    ///
    /// # Errors
    /// [`ManifestError`].
    pub fn read(snapshot: &Path, id: SnapshotId, folder: &str) -> Result<Self, ManifestError> {
        let missing = || ManifestError::NoFolder { id, folder: folder.chars().take(64).collect() };
        if !is_folder(folder) {
            return Err(missing());
        }
        let path = file_of(snapshot, folder);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing()),
            text => text.at("read", &path)?,
        };
        let broken = |why: &str| ManifestError::Broken { path: path.clone(), why: why.to_owned() };
        let of = text.lines().next().and_then(|line| line.strip_prefix(FORMAT));
        if of.and_then(|id| id.parse().ok()) != Some(id) {
            return Err(broken(&format!("it does not begin with `{FORMAT}{id}`")));
        }
        if !text.ends_with('\n') {
            return Err(broken("it is cut off"));
        }
        let lines = text.match_indices('\n').map(|(at, _)| at + 1).collect();
        Ok(Self { text, lines })
    }

    /// Every file, in the order of their paths. A line that is damaged ends them.
    pub fn files(&self) -> impl Iterator<Item = Listed<'_>> {
        (0..self.count()).map_while(|index| self.line(index))
    }

    /// The file at this path.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<Listed<'_>> {
        let (mut from, mut to) = (0, self.count());
        while from < to {
            let middle = from + (to - from) / 2;
            let listed = self.line(middle)?;
            match listed.path.cmp(path) {
                std::cmp::Ordering::Equal => return Some(listed),
                std::cmp::Ordering::Less => from = middle + 1,
                std::cmp::Ordering::Greater => to = middle,
            }
        }
        None
    }

    /// The files that another manifest does not have, or has with another content.
    pub fn not_in<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = Listed<'a>> {
        let mut at = 0;
        (0..self.count()).filter_map(move |index| {
            // Nearly all lines are the same, and need not be understood.
            if self.text_of(index)? == other.text_of(at).unwrap_or_default() {
                at += 1;
                return None;
            }
            let ours = self.line(index)?;
            while other.line(at).is_some_and(|theirs| theirs.path < ours.path) {
                at += 1;
            }
            Some(ours).filter(|ours| other.line(at) != Some(*ours))
        })
    }

    /// Can every line of it be read?
    #[must_use]
    pub fn is_whole(&self) -> bool {
        (0..self.count()).all(|index| self.line(index).is_some())
    }

    fn count(&self) -> usize {
        self.lines.len().saturating_sub(1)
    }

    fn text_of(&self, index: usize) -> Option<&str> {
        self.text.get(*self.lines.get(index)?..*self.lines.get(index + 1)?)
    }

    fn line(&self, index: usize) -> Option<Listed<'_>> {
        let mut words = self.text_of(index)?.trim_end_matches('\n').splitn(3, ' ');
        let (digest, size, path) = (words.next()?, words.next()?.parse().ok()?, words.next()?);
        Some(Listed { path, digest, size })
    }

    /// Bytes it takes in memory.
    fn weight(&self) -> usize {
        self.text.len() + self.lines.len() * size_of::<usize>()
    }
}

impl Listed<'_> {
    /// SHA-256 of the file; `None` when the manifest is damaged.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        self.digest.parse().ok()
    }
}

/// The lines of a folder's packages, which stand before those of its metadata.
pub(super) fn package_lines(packages: &[Entry]) -> String {
    let mut sorted: Vec<&Entry> = packages.iter().collect();
    sorted.sort_unstable_by_key(|entry| entry.href());
    let mut lines = String::with_capacity(sorted.len() * TYPICAL_LINE);
    for entry in sorted {
        add_line(&mut lines, entry.href(), entry.digest(), entry.size());
    }
    lines
}

/// Writes the manifest of one folder into a snapshot that is being composed.
pub(super) fn write(
    snapshot: &Path,
    id: SnapshotId,
    folder: &str,
    package_lines: &str,
    metadata: &[Written],
) -> Result<(), FileError> {
    let mut sorted: Vec<&Written> = metadata.iter().collect();
    sorted.sort_unstable_by_key(|written| &written.name);
    let mut text = format!("{FORMAT}{id}\n{package_lines}");
    for written in sorted {
        add_line(&mut text, &format!("repodata/{}", written.name), &written.digest, written.size);
    }
    let path = file_of(snapshot, folder);
    fs::create_dir_all(snapshot.join(MANIFESTS)).at("create the directory", snapshot)?;
    fs::write(&path, text).at("write", &path)
}

fn add_line(text: &mut String, path: &str, digest: &Digest, size: u64) {
    for word in [digest.as_str(), " ", &size.to_string(), " ", path, "\n"] {
        text.push_str(word);
    }
}

fn file_of(snapshot: &Path, folder: &str) -> PathBuf {
    snapshot.join(MANIFESTS).join(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stranger_asks_for_stays_within_the_snapshot() {
        let root = Path::new("/s");
        let inside = Some(PathBuf::from("/s/x86_64/repodata/repomd.xml"));
        assert_eq!(file_in(root, "x86_64", "repodata/repomd.xml"), inside);
        assert!(file_in(root, "debug-aarch64", "Packages/h/hello.rpm").is_some());
        for (folder, path) in [
            ("x86_64", "../../etc/passwd"),
            ("x86_64", "/etc/passwd"),
            ("x86_64", ""),
            ("x86_64", "./x"),
            ("x86_64", "a/../../x"),
            ("..", "x"),
            ("manifests", "x86_64"),
        ] {
            assert_eq!(file_in(root, folder, path), None, "{folder} {path}");
        }
    }

    #[test]
    fn what_is_written_is_found_again_and_what_is_damaged_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let id = farm::ids::Minter::new(1).mint(farm::stamp::Stamp::ZERO);
        let entry = |name: &str| {
            let (version, release, arch) = ("1".to_owned(), "1".to_owned(), "noarch".to_owned());
            let nevra = farm::nvr::Nevra { name: name.to_owned(), epoch: 0, version, release, arch };
            Entry::new(&nevra, &Digest::of(name.as_bytes()), name.len() as u64)
        };
        let packages = ["zebra", "ant", "bee", "Cow"].map(entry);
        let repomd = Written { name: "repomd.xml".into(), digest: Digest::of(b"m"), size: 9 };
        write(dir.path(), id, "x86_64", &package_lines(&packages), std::slice::from_ref(&repomd)).unwrap();
        let listing = Listing::read(dir.path(), id, "x86_64").unwrap();
        for package in &packages {
            let found = listing.find(package.href()).unwrap();
            assert_eq!((found.digest().as_ref(), found.size), (Some(package.digest()), package.size()));
        }
        assert_eq!(listing.find("repodata/repomd.xml").unwrap().size, 9);
        let elsewhere = dir.path().join("elsewhere");
        let repomd_then = Written { size: 8, ..repomd.clone() };
        let then = package_lines(&[packages[1].clone(), entry("gone")]);
        write(&elsewhere, id, "x86_64", &then, &[repomd_then]).unwrap();
        let earlier = Listing::read(&elsewhere, id, "x86_64").unwrap();
        let new: Vec<&str> = listing.not_in(&earlier).map(|listed| listed.path).collect();
        assert_eq!(new.len(), 4, "{new:?}");
        assert!(!new.contains(&packages[1].href()) && new.contains(&"repodata/repomd.xml"));
        assert_eq!(listing.not_in(&listing).count(), 0);
        for absent in ["", "Packages", "Packages/z/other", "~"] {
            assert_eq!(listing.find(absent), None);
        }
        let manifest = super::read(dir.path(), id, "x86_64").unwrap();
        assert!(manifest.files.is_sorted_by_key(|file| file.path.clone()));
        assert_eq!(manifest.files.len(), 5);
        assert_eq!(folders_of(dir.path()).unwrap(), ["x86_64"]);

        let path = file_of(dir.path(), "x86_64");
        let whole = fs::read_to_string(&path).unwrap();
        for damaged in [&whole[..whole.len() - 3], "", &whole.replace(' ', "")] {
            fs::write(&path, damaged).unwrap();
            let read = super::read(dir.path(), id, "x86_64");
            assert!(matches!(read, Err(ManifestError::Broken { .. })), "{damaged}");
        }
        let other = farm::ids::Minter::new(2).mint(farm::stamp::Stamp::ZERO);
        fs::write(&path, whole).unwrap();
        assert!(matches!(super::read(dir.path(), other, "x86_64"), Err(ManifestError::Broken { .. })));
    }
}
