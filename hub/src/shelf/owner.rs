//! Whose the bucket is: one data folder's. What its ledger does not name is removed from the bucket, so a second farm there, or
//! a copy of this one that was put back to try a backup, would remove what the first one has.

use std::path::Path;
use std::sync::Arc;

use tokio::io::AsyncReadExt as _;

use super::Shelf;
use crate::bucket::{Bucket, BucketError};
use crate::files::{blocking, ensure_dir};
use crate::state::kept_secret;

/// Where the bucket says whose it is, and where a data folder has who it is: backups do not copy that.
const OWNER: &str = "owner";
/// No owner's name is longer.
const LONGEST: u64 = 1024;

/// Why nothing may be removed from the bucket.
#[derive(Debug, thiserror::Error)]
pub enum OwnerError {
    /// It is another data folder's.
    #[error(
        "the bucket {address} is another data folder's, and this one removes nothing from it; two farms need a `prefix` each, and if the other folder is gone for good, remove the object `{OWNER}` from the bucket"
    )]
    Another {
        /// The bucket.
        address: String,
    },
    /// The bucket failed.
    #[error(transparent)]
    Bucket(#[from] BucketError),
    /// The disk failed.
    #[error("cannot say who this data folder is: {0:#}")]
    Unknown(anyhow::Error),
}

impl Shelf {
    /// Makes sure that the bucket is this data folder's: one that is nobody's becomes it.
    ///
    /// # Errors
    /// [`OwnerError`]: then nothing may be removed from it.
    pub async fn must_be_ours(&self) -> Result<(), OwnerError> {
        let notes: Arc<Path> = self.notes.clone();
        let named = move || {
            ensure_dir(&notes)?;
            kept_secret(&notes.join(OWNER))
        };
        let us = blocking(named).await.map_err(OwnerError::Unknown)?;
        if owner_of(&self.bucket).await?.is_none() {
            self.bucket.put_bytes(OWNER, us.clone().into_bytes()).await?;
        }
        // Another one may have been quicker, or later.
        if owner_of(&self.bucket).await?.as_deref() == Some(us.as_bytes()) {
            return Ok(());
        }
        Err(OwnerError::Another { address: self.bucket.address().to_owned() })
    }
}

async fn owner_of(bucket: &Bucket) -> Result<Option<Vec<u8>>, BucketError> {
    let Some(reader) = bucket.read(OWNER).await? else { return Ok(None) };
    let mut name = Vec::new();
    let read = reader.take(LONGEST).read_to_end(&mut name).await;
    read.map_err(|error| bucket.cut_off(OWNER, error))?;
    Ok(Some(name))
}
