//! Removing from the bucket what nobody is shown any more.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use farm::ids::SnapshotId;
use farm::stamp::Stamp;
use tokio::io::AsyncReadExt as _;

use super::files::{pool_key, snapshot_key};
use super::{PUBLIC, Shelf, ShelfError};
use crate::bucket::{Object, each};
use crate::files::blocking;
use crate::repos::manifest::{self, Listing, MANIFESTS, ManifestError, PACKAGES, is_package};

impl Shelf {
    /// The snapshots that the bucket has something of, and when the last of it was put there.
    ///
    /// # Errors
    /// When the bucket refuses.
    pub async fn snapshots(&self) -> Result<BTreeMap<SnapshotId, Stamp>, ShelfError> {
        let mut found = BTreeMap::new();
        for object in self.bucket.list(&format!("{PUBLIC}/snap")).await? {
            let id = object.key.split('/').nth(2).and_then(|id| id.parse().ok());
            if let Some(id) = id {
                let latest = found.entry(id).or_insert(object.put);
                *latest = object.put.max(*latest);
            }
        }
        Ok(found)
    }

    /// Removes a snapshot; its packages go with the next [sweep](Self::sweep). The caller knows that nobody needs it.
    ///
    /// # Errors
    /// When the bucket refuses; what is left is removed the next time.
    pub async fn take_out(&self, id: SnapshotId) -> Result<(), ShelfError> {
        let key = snapshot_key(id);
        let claims = format!("{key}/{MANIFESTS}/");
        let all = self.bucket.list(&key).await?;
        // What says which packages it needs goes last.
        let (last, first): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|object| object.key.starts_with(&claims));
        self.remove_all(first).await?;
        self.remove_all(last).await
    }

    async fn remove_all(&self, objects: Vec<Object>) -> Result<(), ShelfError> {
        let removed = each(objects, |object| {
            let bucket = self.bucket.clone();
            async move { bucket.remove(&object.key).await }
        });
        Ok(removed.await?)
    }

    /// Removes the packages that none of these snapshots, which are all that the bucket has, needs in the repo whose tag it
    /// has; gives their number.
    ///
    /// # Errors
    /// [`ShelfError::Manifest`] when one does not say what it needs; when the bucket refuses.
    pub async fn sweep(&self, all: &BTreeMap<SnapshotId, String>) -> Result<usize, ShelfError> {
        let mut needed = HashSet::new();
        for (id, tag) in all {
            let pool = pool_key(tag);
            needed.extend(self.needs(*id).await?.into_iter().map(|path| format!("{pool}/{path}")));
        }
        let between = format!("/{PACKAGES}/");
        let mut unneeded = self.bucket.list(&format!("{PUBLIC}/pool")).await?;
        unneeded.retain(|object| object.key.contains(&between) && !needed.contains(&object.key));
        let count = unneeded.len();
        self.remove_all(unneeded).await?;
        Ok(count)
    }

    /// The packages a snapshot needs, by their paths in it. One that has no manifest yet has no packages yet either.
    async fn needs(&self, id: SnapshotId) -> Result<Vec<String>, ShelfError> {
        let dir = self.root.join("snap").join(id.to_string());
        if dir.is_dir() {
            return blocking(move || needed_by(&dir, id)).await;
        }
        let copy = tempfile::tempdir()
            .map_err(|error| ManifestError::Broken { path: dir.join(MANIFESTS), why: error.to_string() })?;
        let key = format!("{}/{MANIFESTS}", snapshot_key(id));
        let broken =
            |why: std::io::Error| ManifestError::Broken { path: (&key).into(), why: why.to_string() };
        std::fs::create_dir(copy.path().join(MANIFESTS)).map_err(broken)?;
        for object in self.bucket.list(&key).await? {
            let Some(name) = Path::new(&object.key).file_name() else { continue };
            let Some(mut reader) = self.bucket.read(&object.key).await? else { continue };
            let mut text = Vec::new();
            reader.read_to_end(&mut text).await.map_err(broken)?;
            std::fs::write(copy.path().join(MANIFESTS).join(name), text).map_err(broken)?;
        }
        blocking(move || needed_by(copy.path(), id)).await
    }
}

fn needed_by(dir: &Path, id: SnapshotId) -> Result<Vec<String>, ShelfError> {
    let mut needed = Vec::new();
    for folder in manifest::folders_of(dir)? {
        let listing = Listing::read(dir, id, &folder)?;
        if !listing.is_whole() {
            // Who cannot say what it needs needs all.
            let path = dir.join(MANIFESTS).join(&folder);
            return Err(ManifestError::Broken { path, why: "a line is damaged".to_owned() }.into());
        }
        let packages = listing.files().filter(|listed| is_package(listed.path));
        needed.extend(packages.map(|listed| format!("{folder}/{}", listed.path)));
    }
    Ok(needed)
}
