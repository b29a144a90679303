//! What the names that people know lead to now.

use std::fs;
use std::io;
use std::path::{Component, Path};

use farm::digest::Digest;
use farm::ids::SnapshotId;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::Shelf;
use crate::artifacts::ArtifactError;
use crate::files::blocking;
use crate::repos::manifest::{self, ManifestError};

/// What an address need not escape in a path.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Where what somebody asks for is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leads {
    /// At this address in the bucket, which never shows anything else.
    Elsewhere(String),
    /// A package that is not in the tree on the disk, but in the artifact store.
    Package(Digest),
    /// The disk has it, or nobody.
    Here,
}

impl Shelf {
    /// What a path below the public root leads to now.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn leads(&self, path: &Path) -> io::Result<Leads> {
        let (shelf, path) = (self.clone(), path.to_owned());
        blocking(move || shelf.resolve(&path)).await
    }

    /// Brings a package to the disk.
    ///
    /// # Errors
    /// When it is not to be had.
    pub async fn package(&self, digest: &Digest) -> Result<std::path::PathBuf, ArtifactError> {
        self.artifacts.local(digest).await
    }

    fn resolve(&self, path: &Path) -> io::Result<Leads> {
        let root = fs::canonicalize(&self.root)?;
        let mut parts = path.components();
        let mut folder = self.root.to_path_buf();
        for part in parts.by_ref() {
            if part.as_os_str() == manifest::PACKAGES {
                let inner = Path::new(manifest::PACKAGES).join(parts.as_path());
                return self.package_at(&root, &folder, &inner);
            }
            folder.push(part);
        }
        let Some(file) = found(fs::canonicalize(&folder))? else { return Ok(Leads::Here) };
        let Ok(inner) = file.strip_prefix(&root) else { return Ok(Leads::Here) };
        // Everything else at the root, such as keys, is the hub's to tell.
        let is_shelved = inner.starts_with("snap") || inner.starts_with("pool");
        Ok(if is_shelved && file.is_file() { self.elsewhere(inner) } else { Leads::Here })
    }

    /// Where a package of a folder is, if the snapshot that the folder belongs to has it.
    fn package_at(&self, root: &Path, folder: &Path, inner: &Path) -> io::Result<Leads> {
        let (Some(folder), Some(inner)) = (found(fs::canonicalize(folder))?, inner.to_str()) else {
            return Ok(Leads::Here);
        };
        let below = folder.strip_prefix(root).unwrap_or(Path::new("")).components().collect::<Vec<_>>();
        let [Component::Normal(snap), Component::Normal(id), Component::Normal(name)] = below[..] else {
            return Ok(Leads::Here);
        };
        let (Some(id), Some(name)) =
            (id.to_str().and_then(|id| id.parse::<SnapshotId>().ok()), name.to_str())
        else {
            return Ok(Leads::Here);
        };
        let dir = root.join(snap).join(id.to_string());
        let listing = match self.manifests.get(&dir, id, name) {
            Err(ManifestError::NoFolder { .. }) => return Ok(Leads::Here),
            Err(error) => return Err(io::Error::other(error)),
            Ok(listing) => listing,
        };
        let Some(digest) = listing.find(inner).and_then(|listed| listed.digest()) else {
            return Ok(Leads::Here);
        };
        let Some(pool) = found(fs::read_link(folder.join(manifest::PACKAGES)))? else {
            return Ok(Leads::Here);
        };
        let tag = pool.iter().skip_while(|part| *part == "..").nth(1).and_then(|tag| tag.to_str());
        match (tag, &self.public_url) {
            (Some(tag), Some(_)) => Ok(self.elsewhere(Path::new(&format!("pool/{tag}/{name}/{inner}")))),
            (Some(_) | None, _) if folder.join(inner).exists() => Ok(Leads::Here),
            (Some(_) | None, _) => Ok(Leads::Package(digest)),
        }
    }

    fn elsewhere(&self, inner: &Path) -> Leads {
        match (&self.public_url, inner.to_str()) {
            (Some(base), Some(inner)) => {
                Leads::Elsewhere(format!("{base}/{}", utf8_percent_encode(inner, PLAIN)))
            }
            (Some(_) | None, _) => Leads::Here,
        }
    }
}

fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        result => result.map(Some),
    }
}
