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
mod bring;
mod files;
mod owner;
mod recall;
mod sweep;
mod whole;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use farm::ids::SnapshotId;

pub use address::Leads;
pub use owner::OwnerError;
pub use recall::RecallError;

use self::bring::Bringing;
use self::files::{Files, pool_key, snapshot_key};
use self::whole::Whole;
use crate::artifacts::{ArtifactError, Artifacts};
use crate::bucket::{Bucket, BucketError};
use crate::files::{FileError, blocking};
use crate::repos::manifest::{self, ManifestError};

/// The folder of what is published, in the bucket.
const PUBLIC: &str = "public";
/// Where the notes have what was fetched back, by tag.
const WHOLE: &str = "whole";

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
    /// A folder for what is to be remembered of the bucket.
    notes: Arc<Path>,
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
    /// The disk has something else than it had when it was put into the bucket.
    #[error("{} is not the file that was put into the bucket; it is damaged, and stays here", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The list of what a snapshot has cannot be read.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] FileError),
}

impl Shelf {
    /// The public part of a bucket, for the public tree whose root this is. `notes` is a folder for what is to
    /// be remembered of the bucket; it may be lost.
    #[must_use]
    pub fn new(
        bucket: Bucket,
        artifacts: &Artifacts,
        root: &Path,
        notes: &Path,
        public_url: Option<&str>,
    ) -> Self {
        Self {
            bucket,
            artifacts: artifacts.clone(),
            root: root.into(),
            public_url: public_url.map(Into::into),
            manifests: Arc::default(),
            notes: notes.into(),
        }
    }

    /// Puts a snapshot that is in the public tree, with its packages, where users fetch it, and fetches back what it has put
    /// there. Doing it again puts there what is missing, or was replaced since: the store calls each content by another name.
    /// The caller makes sure that nobody sweeps meanwhile.
    ///
    /// # Errors
    /// [`ShelfError`]: then not all of it is there, and no pointer may move to it.
    pub async fn bring(&self, tag: &str, id: SnapshotId) -> Result<(), ShelfError> {
        let (root, name) = (self.root.clone(), tag.to_owned());
        let files = blocking(move || Files::of(&root, &name, id)).await?;
        let mut there = HashMap::new();
        for folder in [snapshot_key(id), pool_key(tag)] {
            let objects = self.bucket.list(&folder).await?;
            there.extend(objects.into_iter().map(|object| (object.key.clone(), object)));
        }
        let (place, address) = (self.notes.join(WHOLE).join(tag), self.bucket.address().to_owned());
        let mut whole = blocking(move || Whole::read(place, &address)).await?;
        let snapshot = snapshot_key(id);
        whole.keep(|key| there.contains_key(key) || key.starts_with(&snapshot));
        let bringing = Arc::new(Bringing { shelf: self.clone(), there, whole: Mutex::new(whole) });
        let brought = bringing.clone().all(files).await;
        // What was fetched back need not be once more, however this ended.
        blocking(move || bringing.remember()).await?;
        brought
    }
}
