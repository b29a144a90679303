//! Bringing back to the disk what only the bucket has: a hub that has lost its disk goes on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use farm::digest::Digest;
use farm::ids::SnapshotId;
use tokio::io::AsyncReadExt as _;

use super::files::{pool_key, snapshot_key};
use super::whole::Whole;
use super::{Shelf, ShelfError, WHOLE};
use crate::bucket::each;
use crate::files::{At as _, blocking, ensure_dir, remove_tree};
use crate::repos::manifest::{self, Listing, is_package};
use crate::signing::publish::put;

/// Bytes that one file of a snapshot, packages apart, may have.
const LARGEST: u64 = 4 << 30;

/// Why a snapshot does not come back.
#[derive(Debug, thiserror::Error)]
pub enum RecallError {
    /// The bucket has none, or not all of it.
    #[error("the bucket {address} has no whole snapshot {id}")]
    NotThere {
        /// The bucket.
        address: String,
        /// The snapshot.
        id: SnapshotId,
    },
    /// It is not what was signed.
    #[error("what the bucket {address} has of snapshot {id} is not what was signed: {what} is another file")]
    Other {
        /// The bucket.
        address: String,
        /// The snapshot.
        id: SnapshotId,
        /// The file.
        what: String,
    },
    /// The bucket or the disk failed.
    #[error(transparent)]
    Shelf(#[from] ShelfError),
}

impl Shelf {
    /// Fetches a snapshot, packages apart, to `staged`, and the provenance of its repo into the public tree. `signed` is the
    /// SHA-256 of the `repomd.xml` of each of its folders.
    ///
    /// # Errors
    /// [`RecallError`]: then nothing is at `staged`.
    pub async fn recall(
        &self,
        tag: &str,
        id: SnapshotId,
        signed: &BTreeMap<String, Digest>,
        staged: &Path,
    ) -> Result<(), RecallError> {
        let partial = staged.with_extension("recalled");
        let gone = partial.clone();
        blocking(move || remove_tree(&gone)).await.map_err(ShelfError::from)?;
        self.fetch_folder(&snapshot_key(id), &partial).await?;
        let there = partial.clone();
        let read = blocking(move || fetched(&there, id)).await?;
        let other = |what: String| RecallError::Other { address: self.bucket.address().to_owned(), id, what };
        if read.is_empty() || !signed.keys().eq(read.keys()) {
            return Err(RecallError::NotThere { address: self.bucket.address().to_owned(), id });
        }
        for (folder, (repomd, damaged)) in &read {
            if let Some(path) = damaged {
                return Err(other(format!("{folder}/{path}")));
            }
            if signed.get(folder) != repomd.as_ref() {
                return Err(other(format!("{folder}/repodata/repomd.xml")));
            }
        }
        let provenance = crate::provenance::PROVENANCE;
        let to = self.root.join("pool").join(tag).join(provenance);
        self.fetch_folder(&format!("{}/{provenance}", pool_key(tag)), &to).await?;
        let (tag, staged, notes) = (tag.to_owned(), staged.to_owned(), self.notes.join(WHOLE).join(tag));
        blocking(move || {
            // The disk may have what the ledger has in place of what came back.
            Whole::forget(&notes)?;
            crate::provenance::lead_there(&tag, &partial)?;
            remove_tree(&staged)?;
            std::fs::rename(&partial, &staged).at("rename a directory to", &staged)
        })
        .await
        .map_err(|error| ShelfError::from(error).into())
    }

    /// Fetches everything below a key into a folder.
    async fn fetch_folder(&self, key: &str, to: &Path) -> Result<(), ShelfError> {
        let objects = self.bucket.list(key).await?;
        each(objects, |object| {
            let inner = object.key.strip_prefix(key).unwrap_or_default().trim_start_matches('/');
            let is_plain = |part: &str| !part.is_empty() && !part.starts_with('.');
            let path = inner.split('/').all(is_plain).then(|| to.join(inner));
            let shelf = self.clone();
            async move {
                match path.filter(|_| object.size <= LARGEST) {
                    Some(path) => shelf.fetch(&object.key, path).await,
                    None => Ok(()),
                }
            }
        })
        .await
    }

    async fn fetch(&self, key: &str, to: PathBuf) -> Result<(), ShelfError> {
        let Some(reader) = self.bucket.read(key).await? else { return Ok(()) };
        let mut bytes = Vec::new();
        let read = reader.take(LARGEST).read_to_end(&mut bytes).await;
        read.map_err(|error| self.bucket.cut_off(key, error))?;
        let write = move || {
            ensure_dir(to.parent().unwrap_or(&to))?;
            put(&to, &bytes)
        };
        Ok(blocking(write).await?)
    }
}

/// For each folder of a fetched snapshot the SHA-256 of its `repomd.xml`, and the first file besides packages that its manifest
/// does not have so.
type Fetched = BTreeMap<String, (Option<Digest>, Option<String>)>;

fn fetched(dir: &Path, id: SnapshotId) -> Result<Fetched, ShelfError> {
    let mut all = Fetched::new();
    for folder in manifest::folders_of(dir)? {
        let listing = Listing::read(dir, id, &folder)?;
        let (mut repomd, mut damaged) = (None, None);
        for listed in listing.files().filter(|listed| !is_package(listed.path)) {
            let path = manifest::file_in(dir, &folder, listed.path);
            let digest = path.and_then(|path| std::fs::read(path).ok()).map(|bytes| Digest::of(&bytes));
            if digest.is_none() || digest != listed.digest() {
                damaged = Some(listed.path.to_owned());
            } else if listed.path == "repodata/repomd.xml" {
                repomd = digest;
            }
        }
        all.insert(folder, (repomd, damaged));
    }
    Ok(all)
}
