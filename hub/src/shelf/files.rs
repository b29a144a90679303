//! What a snapshot of the public tree consists of, and where each of it is in the bucket.

use std::fs;
use std::path::{Path, PathBuf};

use farm::digest::Digest;
use farm::ids::SnapshotId;

use super::{PUBLIC, ShelfError};
use crate::files::{At as _, FileError};
use crate::repos::manifest::{self, Listing, MANIFESTS, ManifestError, is_package};

/// Something that belongs into the bucket.
#[derive(Debug)]
pub(super) struct Shelved<F> {
    /// Where in the bucket.
    pub(super) key: String,
    pub(super) digest: Digest,
    /// Its size in bytes.
    pub(super) size: u64,
    /// Where it is now.
    pub(super) from: F,
    /// Does it never change?
    pub(super) is_settled: bool,
}

/// A snapshot's files.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// Its manifests.
    pub(super) claims: Vec<Shelved<PathBuf>>,
    /// Its packages.
    pub(super) packages: Vec<Shelved<()>>,
    /// Where builds of its repo come from.
    pub(super) statements: Vec<Shelved<PathBuf>>,
    /// Everything else.
    pub(super) rest: Vec<Shelved<PathBuf>>,
}

impl Files {
    /// The files of the snapshot `id` of a tag in the public tree at `root`.
    pub(super) fn of(root: &Path, tag: &str, id: SnapshotId) -> Result<Files, ShelfError> {
        let dir = root.join("snap").join(id.to_string());
        let mut files = Files::default();
        let mut own = Vec::new();
        list(&dir, "", &mut own)?;
        for path in own {
            let key = format!("{}/{path}", snapshot_key(id));
            let shelved = shelved(key, dir.join(&path), true)?;
            let is_claim = Path::new(&path).starts_with(MANIFESTS);
            if is_claim {
                files.claims.push(shelved)
            } else {
                files.rest.push(shelved)
            };
        }
        for folder in manifest::folders_of(&dir)? {
            let listing = Listing::read(&dir, id, &folder)?;
            for listed in listing.files().filter(|listed| is_package(listed.path)) {
                let digest = listed.digest().ok_or_else(|| ManifestError::Broken {
                    path: dir.join(MANIFESTS).join(&folder),
                    why: "a line is damaged".to_owned(),
                })?;
                let key = format!("{}/{folder}/{}", pool_key(tag), listed.path);
                files.packages.push(Shelved { key, digest, size: listed.size, from: (), is_settled: true });
            }
        }
        let provenance = root.join("pool").join(tag).join(crate::provenance::PROVENANCE);
        let mut statements = Vec::new();
        if provenance.is_dir() {
            list(&provenance, "", &mut statements)?;
        }
        for name in statements {
            let key = format!("{}/{}/{name}", pool_key(tag), crate::provenance::PROVENANCE);
            files.statements.push(shelved(key, provenance.join(&name), false)?);
        }
        Ok(files)
    }
}

/// Where a snapshot is in the bucket.
pub(super) fn snapshot_key(id: SnapshotId) -> String {
    format!("{PUBLIC}/snap/{id}")
}

/// Where a tag's packages are in the bucket.
pub(super) fn pool_key(tag: &str) -> String {
    format!("{PUBLIC}/pool/{tag}")
}

fn shelved(key: String, from: PathBuf, is_settled: bool) -> Result<Shelved<PathBuf>, FileError> {
    let bytes = fs::read(&from).at("read", &from)?;
    Ok(Shelved { key, digest: Digest::of(&bytes), size: bytes.len() as u64, from, is_settled })
}

/// The files below a directory that are its own: what links lead to has a place of its own. None whose name begins with a dot:
/// nobody has finished it.
fn list(dir: &Path, inner: &str, found: &mut Vec<String>) -> Result<(), FileError> {
    for entry in fs::read_dir(dir).at("list the directory", dir)? {
        let entry = entry.at("list the directory", dir)?;
        let kind = entry.file_type().at("look at", &entry.path())?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.starts_with('.') {
            continue;
        }
        let path = if inner.is_empty() { name } else { format!("{inner}/{name}") };
        if kind.is_dir() {
            list(&entry.path(), &path, found)?;
        } else if kind.is_file() {
            found.push(path);
        }
    }
    Ok(())
}
