//! What the names that people know lead to now.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use farm::digest::Digest;
use farm::ids::SnapshotId;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::io::AsyncRead;

use super::{PUBLIC, Shelf};
use crate::artifacts::ArtifactError;
use crate::bucket::BucketError;
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
    /// Under this key of the bucket, if it is anywhere: the hub fetches it for users.
    Stored(String),
    /// To something of a snapshot that the disk does not have. See [`Shelf::leads_in_lost`].
    Lost(SnapshotId),
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

    /// What a path below the public root leads to that is in a snapshot of this tag which the disk has lost. The bucket keeps a
    /// former snapshot for as long as clients ask for it.
    #[must_use]
    pub fn leads_in_lost(&self, path: &Path, tag: &str) -> Leads {
        let parts: Vec<&str> = path.iter().filter_map(|part| part.to_str()).collect();
        match parts[..] {
            ["snap", _, folder, manifest::PACKAGES, ref inner @ ..] => {
                self.shelved(&pool_path(tag, folder, &Path::new(manifest::PACKAGES).join(inner.join("/"))))
            }
            ["snap", _, _, ..] => self.shelved(path),
            _ => Leads::Here,
        }
    }

    /// Opens what is stored under a key of the bucket, and gives its size in bytes. `None` when nothing is.
    ///
    /// # Errors
    /// When the bucket refuses.
    pub async fn open(
        &self,
        key: &str,
    ) -> Result<Option<(u64, impl AsyncRead + Unpin + Send + use<>)>, BucketError> {
        let Some(object) = self.bucket.look(key).await? else { return Ok(None) };
        Ok(self.bucket.read(key).await?.map(|reader| (object.size, reader)))
    }

    /// Brings a package to the disk.
    ///
    /// # Errors
    /// When it is not to be had.
    pub async fn package(&self, digest: &Digest) -> Result<PathBuf, ArtifactError> {
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
        let Some(file) = found(fs::canonicalize(&folder))? else { return Ok(self.missed(path)) };
        let Ok(inner) = file.strip_prefix(&root) else { return Ok(Leads::Here) };
        // Everything else at the root, such as keys, is the hub's to tell.
        let is_shelved = inner.starts_with("snap") || inner.starts_with("pool");
        Ok(if is_shelved && file.is_file() { self.elsewhere(inner) } else { Leads::Here })
    }

    /// Where a package of a folder is: one that the snapshot which the folder belongs to has, or one that a former snapshot of
    /// its repo had.
    fn package_at(&self, root: &Path, folder: &Path, inner: &Path) -> io::Result<Leads> {
        let Some(place) = found(fs::canonicalize(folder))? else {
            let asked = folder.strip_prefix(&self.root).unwrap_or(Path::new("")).join(inner);
            return Ok(self.missed(&asked));
        };
        let below = place.strip_prefix(root).unwrap_or(Path::new("")).iter();
        let below: Vec<&str> = below.filter_map(|part| part.to_str()).collect();
        let (snap, id, name) = match below[..] {
            ["pool", tag, name] => return Ok(self.pooled(tag, name, inner)),
            [snap, id, name] => (snap, id, name),
            _ => return Ok(Leads::Here),
        };
        let (Ok(id), Some(wanted)) = (id.parse::<SnapshotId>(), inner.to_str()) else {
            return Ok(Leads::Here);
        };
        let dir = root.join(snap).join(id.to_string());
        let listing = match self.manifests.get(&dir, id, name) {
            Err(ManifestError::NoFolder { .. }) => return Ok(Leads::Here),
            Err(error) => return Err(io::Error::other(error)),
            Ok(listing) => listing,
        };
        let digest = listing.find(wanted).and_then(|listed| listed.digest());
        let Some(pool) = found(fs::read_link(place.join(manifest::PACKAGES)))? else {
            return Ok(Leads::Here);
        };
        let tag = pool.iter().skip_while(|part| *part == "..").nth(1).and_then(|tag| tag.to_str());
        Ok(match (tag, digest) {
            (Some(tag), Some(_)) if self.public_url.is_some() => self.pooled(tag, name, inner),
            _ if place.join(inner).exists() => Leads::Here,
            (_, Some(digest)) => Leads::Package(digest),
            (Some(tag), None) => self.pooled(tag, name, inner),
            (None, None) => Leads::Here,
        })
    }

    /// A package in the pool of a tag. Folders are the disk's to show.
    fn pooled(&self, tag: &str, folder: &str, inner: &Path) -> Leads {
        // `Packages/<letter>/<digest>/<package>`
        let is_package = inner.components().count() == 4;
        if is_package { self.shelved(&pool_path(tag, folder, inner)) } else { Leads::Here }
    }

    /// What the disk does not have, and the bucket may.
    fn missed(&self, path: &Path) -> Leads {
        let parts: Vec<&str> = path.iter().filter_map(|part| part.to_str()).collect();
        match parts[..] {
            ["snap", id, _, ..] if !self.root.join("snap").join(id).is_dir() => {
                id.parse().map_or(Leads::Here, Leads::Lost)
            }
            ["pool", _, _, ..] => self.shelved(path),
            _ => Leads::Here,
        }
    }

    /// Where something is that users get from the bucket.
    fn shelved(&self, inner: &Path) -> Leads {
        match (self.elsewhere(inner), inner.to_str()) {
            (Leads::Here, Some(inner)) => Leads::Stored(format!("{PUBLIC}/{inner}")),
            (leads, _) => leads,
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

fn pool_path(tag: &str, folder: &str, inner: &Path) -> PathBuf {
    Path::new("pool").join(tag).join(folder).join(inner)
}

fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        result => result.map(Some),
    }
}

#[cfg(test)]
mod tests;
