//! What is published, in a bucket: from there users fetch it.
//!
//! ```text
//! public/snap/<snapshot id>/…                                          what that folder of the public tree has
//! public/pool/<tag>/<folder>/Packages/<letter>/<digest>/<package>      each package once for each repo
//! public/pool/<tag>/provenance/<nvr>.dsse.json
//! ```
//!
//! A bucket has no links and moves nothing in one step. So what is in it has a name that never means anything else, all of a
//! snapshot is there, and was fetched back, before the ledger's pointer moves to it; and the hub alone says what the names
//! that people know lead to now.

mod address;
mod files;
mod recall;
mod sweep;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use farm::digest::Digest;
use farm::ids::SnapshotId;

pub use address::Leads;
pub use recall::RecallError;

use self::files::{Files, Shelved};
use crate::artifacts::{self, ArtifactError, Artifacts};
use crate::bucket::{Bucket, BucketError, each};
use crate::files::{FileError, blocking};
use crate::repos::manifest::{self, ManifestError};

/// The folder of what is published, in the bucket.
const PUBLIC: &str = "public";

/// The part of the bucket that users see. Clones are the same.
#[derive(Debug, Clone)]
pub struct Shelf {
    bucket: Bucket,
    artifacts: Artifacts,
    /// The public tree on the disk.
    root: Arc<Path>,
    /// Where everybody can fetch what is below `public/`.
    public_url: Option<Arc<str>>,
    manifests: Arc<manifest::Cache>,
}

/// Why a snapshot is not where users fetch it.
#[derive(Debug, thiserror::Error)]
pub enum ShelfError {
    /// The bucket failed.
    #[error(transparent)]
    Bucket(#[from] BucketError),
    /// A package is not to be had.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// The bucket gives something else than what was put there.
    #[error("the bucket {address} gives something else at `{key}` than what was put there")]
    Other {
        /// The bucket.
        address: String,
        /// Where.
        key: String,
    },
    /// The list of what a snapshot has cannot be read.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] FileError),
}

impl Shelf {
    /// The public part of a bucket, for the public tree whose root this is.
    #[must_use]
    pub fn new(bucket: Bucket, artifacts: &Artifacts, root: &Path, public_url: Option<&str>) -> Self {
        Self {
            bucket,
            artifacts: artifacts.clone(),
            root: root.into(),
            public_url: public_url.map(Into::into),
            manifests: Arc::default(),
        }
    }

    /// Puts a snapshot that is in the public tree, with its packages, where users fetch it, and fetches back what it has put
    /// there. Doing it again puts there what is missing or damaged. The caller makes sure that nobody sweeps meanwhile.
    ///
    /// # Errors
    /// [`ShelfError`]: then not all of it is there, and no pointer may move to it.
    pub async fn bring(&self, tag: &str, id: SnapshotId) -> Result<(), ShelfError> {
        let (root, name) = (self.root.clone(), tag.to_owned());
        let Files { claims, packages, statements, rest } =
            blocking(move || Files::of(&root, &name, id)).await?;
        // First what says which packages it needs, so that nobody removes them.
        self.put_all(claims).await?;
        let there: HashMap<String, u64> = self
            .bucket
            .list(&format!("{PUBLIC}/pool/{tag}"))
            .await?
            .into_iter()
            .map(|object| (object.key, object.size))
            .collect();
        let missing = packages.into_iter().filter(|package| there.get(&package.key) != Some(&package.size));
        each(missing.collect(), |package| {
            let shelf = self.clone();
            async move { shelf.put_package(&package.key, &package.digest).await }
        })
        .await?;
        let missing = statements.into_iter().filter(|file| there.get(&file.key) != Some(&file.size));
        self.put_all(missing.collect()).await?;
        self.put_all(rest).await
    }

    async fn put_all(&self, files: Vec<Shelved<PathBuf>>) -> Result<(), ShelfError> {
        each(files, |file| {
            let shelf = self.clone();
            async move { shelf.put(&file).await }
        })
        .await
    }

    /// Puts a file there, unless just that is there.
    async fn put(&self, file: &Shelved<PathBuf>) -> Result<(), ShelfError> {
        if self.bucket.digest(&file.key).await?.as_ref() == Some(&file.digest) {
            return Ok(());
        }
        self.bucket.put(&file.key, &file.from).await?;
        self.must_be(&file.key, &file.digest).await
    }

    /// Puts a package there: the bucket has it already, under its digest.
    async fn put_package(&self, key: &str, digest: &Digest) -> Result<(), ShelfError> {
        if !self.bucket.copy(&artifacts::key(digest), key).await? {
            self.artifacts.secure(digest).await?;
            self.bucket.copy(&artifacts::key(digest), key).await?;
        }
        self.must_be(key, digest).await
    }

    /// Does whoever fetches it get this?
    async fn must_be(&self, key: &str, digest: &Digest) -> Result<(), ShelfError> {
        if self.bucket.digest(key).await?.as_ref() == Some(digest) {
            return Ok(());
        }
        // So that the next try does not take it for what is missing.
        self.bucket.remove(key).await?;
        Err(ShelfError::Other { address: self.bucket.address().to_owned(), key: key.to_owned() })
    }
}
