//! The bucket behind the disk: it has every artifact, and the disk those that were used last.
//!
//! What is stored is in the bucket before its caller hears of it; so what the ledger names is there, and a hub that has lost
//! its disk goes on. What comes back is hashed before it is used.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use farm::digest::Digest;
use tokio::runtime::Handle;

use super::{ArtifactError, Artifacts};
use crate::bucket::{Bucket, BucketError};
use crate::files::{At as _, FileError, blocking, ensure_dir};

/// The folder of the artifacts in the bucket.
const FOLDER: &str = "artifacts";
/// An artifact that is read is noted as used, unless that was noted less than this ago.
const NOTED: Duration = Duration::from_secs(600);
/// How long the bucket may take to remove something: the ledger waits for it.
const REMOVAL: Duration = Duration::from_secs(10);

#[derive(Debug, Clone)]
pub(super) struct Behind {
    bucket: Bucket,
    /// Bytes that artifacts may have on the disk that nothing else has there.
    cache: u64,
    /// For those who ask from a thread that may block.
    runtime: Handle,
}

/// An artifact's key in the bucket.
#[must_use]
pub fn key(digest: &Digest) -> String {
    format!("{FOLDER}/{}/{digest}", &digest.as_str()[..2])
}

impl Artifacts {
    /// The same store with a bucket behind its disk, on which it keeps no more than so many bytes that it could fetch again.
    /// Call it within the runtime.
    #[must_use]
    pub fn behind(self, bucket: Bucket, cache: u64) -> Self {
        Self { behind: Some(Behind { bucket, cache, runtime: Handle::current() }), ..self }
    }

    /// Where an artifact is on this disk, to which it is fetched first if need be. It stays there for as long as anything
    /// takes that is done with it at once.
    ///
    /// # Errors
    /// [`ArtifactError::Missing`], [`ArtifactError::Damaged`], [`ArtifactError::Bucket`], [`ArtifactError::Disk`].
    pub async fn local(&self, digest: &Digest) -> Result<PathBuf, ArtifactError> {
        let path = self.path(digest);
        let missing = || ArtifactError::Missing(digest.clone());
        let Some(behind) = &self.behind else {
            let there = tokio::fs::try_exists(&path).await.unwrap_or(false);
            return if there { Ok(path) } else { Err(missing()) };
        };
        if self.age(digest).is_some_and(|age| age < NOTED) {
            return Ok(path);
        }
        let here = path.clone();
        let noted = move || {
            // Who removes what was not used for long holds the lock from its look at the time to the end.
            let file = File::open(&here)?;
            file.lock_shared()?;
            file.set_modified(SystemTime::now())?;
            Ok::<bool, std::io::Error>(here.is_file())
        };
        if blocking(noted).await.unwrap_or(false) {
            return Ok(path);
        }
        let reader = behind.bucket.read(&key(digest)).await?.ok_or_else(missing)?;
        match self.keep(reader, u64::MAX, Some(digest)).await {
            Ok(_) => Ok(path),
            Err(ArtifactError::Mismatch { .. }) => Err(ArtifactError::Damaged {
                digest: digest.clone(),
                place: behind.bucket.address().to_owned(),
            }),
            Err(ArtifactError::Interrupted(cause)) => Err(behind.bucket.cut_off(&key(digest), cause).into()),
            Err(error) => Err(error),
        }
    }

    /// The same for a thread that may block.
    pub(crate) fn local_now(&self, digest: &Digest) -> Result<PathBuf, ArtifactError> {
        match &self.behind {
            _ if self.contains(digest) => Ok(self.path(digest)),
            Some(behind) => behind.runtime.block_on(self.local(digest)),
            None => Err(ArtifactError::Missing(digest.clone())),
        }
    }

    /// An artifact's size in bytes. Call it where blocking is allowed.
    ///
    /// # Errors
    /// [`ArtifactError::Missing`] when there is none, [`ArtifactError::Bucket`].
    pub fn size(&self, digest: &Digest) -> Result<u64, ArtifactError> {
        if let Ok(meta) = fs::metadata(self.path(digest)) {
            return Ok(meta.len());
        }
        let found = match &self.behind {
            Some(behind) => behind.runtime.block_on(behind.bucket.look(&key(digest)))?,
            None => None,
        };
        found.map(|object| object.size).ok_or_else(|| ArtifactError::Missing(digest.clone()))
    }

    /// Every artifact in the store, in no order.
    ///
    /// # Errors
    /// When the disk or the bucket refuses.
    pub async fn list(&self) -> Result<Vec<Digest>, ArtifactError> {
        let mut all = self.listed_on_disk().await?;
        if let Some(behind) = &self.behind {
            all.extend(in_bucket(&behind.bucket).await?);
            all.sort_unstable();
            all.dedup();
        }
        Ok(all)
    }

    /// The same for a thread that may block.
    pub(crate) fn list_now(&self) -> Result<Vec<Digest>, ArtifactError> {
        match &self.behind {
            Some(behind) => behind.runtime.block_on(self.list()),
            None => Ok(self.on_disk()?),
        }
    }

    /// What only the disk has, although there is a bucket: what was stored before there was one, or before the hub died.
    ///
    /// # Errors
    /// When the disk or the bucket refuses.
    pub async fn only_here(&self) -> Result<Vec<Digest>, ArtifactError> {
        let Some(behind) = &self.behind else { return Ok(Vec::new()) };
        // The disk first: what is stored meanwhile is nobody's to care for.
        let mut here = self.listed_on_disk().await?;
        let mut there = in_bucket(&behind.bucket).await?;
        there.sort_unstable();
        here.retain(|digest| there.binary_search(digest).is_err());
        Ok(here)
    }

    /// Makes sure that the bucket, if there is one, has what the disk has.
    ///
    /// # Errors
    /// [`ArtifactError::Bucket`], [`ArtifactError::Disk`].
    pub async fn secure(&self, digest: &Digest) -> Result<(), ArtifactError> {
        let Some(behind) = &self.behind else { return Ok(()) };
        // Who removes what nothing needs waits, or is waited for; and then sees that it was stored just now.
        let _lock = self.shard(digest, Use::Store).await?;
        let path = self.path(digest);
        let size = tokio::fs::metadata(&path).await.map(|meta| meta.len());
        let size = size.map_err(|error| super::missing_or("look at", error, digest, &path))?;
        let key = key(digest);
        if behind.bucket.look(&key).await?.is_none_or(|object| object.size != size) {
            behind.bucket.put(&key, &path).await?;
        }
        Ok(())
    }

    /// Puts into the bucket what the disk has, in place of what is there: that turned out to be something else.
    ///
    /// # Errors
    /// [`ArtifactError::Bucket`].
    pub(crate) async fn put_anew(&self, digest: &Digest) -> Result<(), ArtifactError> {
        let Some(behind) = &self.behind else { return Ok(()) };
        let _lock = self.shard(digest, Use::Store).await?;
        Ok(behind.bucket.put(&key(digest), &self.path(digest)).await?)
    }

    /// Was the artifact last stored at least `fresh` ago, here and in the bucket?
    ///
    /// # Errors
    /// When the bucket refuses.
    pub async fn is_stale(&self, digest: &Digest, fresh: Duration) -> Result<bool, ArtifactError> {
        if self.age(digest).is_some_and(|age| age < fresh) {
            return Ok(false);
        }
        let Some(behind) = &self.behind else { return Ok(true) };
        let there = behind.bucket.look(&key(digest)).await?;
        Ok(there.is_none_or(|object| object.age(crate::state::now()) >= fresh))
    }

    /// Removes an artifact that was last stored at least `fresh` ago; says whether it did. The caller knows that nothing in
    /// the ledger names it. One whose neighbour is just being stored stays for now.
    ///
    /// # Errors
    /// When the disk or the bucket refuses, or the bucket takes too long.
    pub async fn remove_stale(&self, digest: &Digest, fresh: Duration) -> Result<bool, ArtifactError> {
        let Some(behind) = &self.behind else {
            let (store, digest) = (self.clone(), digest.clone());
            return Ok(blocking(move || store.remove_stale_here(&digest, fresh)).await?);
        };
        let Some(_lock) = self.shard(digest, Use::Remove).await? else { return Ok(false) };
        let removal = async {
            if !self.is_stale(digest, fresh).await? {
                return Ok(false);
            }
            behind.bucket.remove(&key(digest)).await?;
            // What is stored again just now stays here: who stores it waits for the lock, and then brings it into the bucket.
            let (store, digest) = (self.clone(), digest.clone());
            blocking(move || store.remove_stale_here(&digest, fresh)).await?;
            Ok(true)
        };
        // It is tried again with the next sweep.
        let slow = || behind.bucket.cut_off(&key(digest), std::io::ErrorKind::TimedOut.into()).into();
        tokio::time::timeout(REMOVAL, removal).await.unwrap_or_else(|_elapsed| Err(slow()))
    }

    /// Removes from the disk what was used longest ago and the bucket has, until the rest fits; gives the number of files.
    /// What was used less than `fresh` ago stays, and so does what has other names: removing one would free nothing.
    ///
    /// # Errors
    /// When the disk or the bucket refuses.
    pub async fn trim(&self, fresh: Duration) -> Result<usize, ArtifactError> {
        let Some(behind) = &self.behind else { return Ok(0) };
        let mut files = Vec::new();
        let mut total = 0_u64;
        for digest in self.listed_on_disk().await? {
            let Ok(meta) = tokio::fs::metadata(self.path(&digest)).await else { continue };
            if meta.nlink() > 1 {
                continue;
            }
            total += meta.len();
            files.push((meta.modified().unwrap_or(SystemTime::UNIX_EPOCH), digest, meta.len()));
        }
        files.sort();
        let mut removed = 0;
        for (_, digest, size) in files {
            if total <= behind.cache {
                break;
            }
            let found = behind.bucket.look(&key(&digest)).await?;
            if found.is_some_and(|object| object.size == size) {
                let (store, digest) = (self.clone(), digest.clone());
                if blocking(move || store.remove_stale_here(&digest, fresh)).await? {
                    removed += 1;
                    total -= size;
                }
            }
        }
        Ok(removed)
    }

    async fn listed_on_disk(&self) -> Result<Vec<Digest>, FileError> {
        let store = self.clone();
        blocking(move || store.on_disk()).await
    }

    /// Held while something of one folder of the store is put into the bucket or removed from it. Who removes does not wait for
    /// who stores, which may take long: `None` then. A file of its own, because a network's file system may keep the lock of
    /// a folder, or of what is not open for writing, from other machines.
    async fn shard(&self, digest: &Digest, use_: Use) -> Result<Option<File>, FileError> {
        let locks = self.root.join("locks");
        let path = locks.join(&digest.as_str()[..2]);
        blocking(move || {
            ensure_dir(&locks)?;
            let file = File::options().create(true).append(true).read(true).open(&path).at("open", &path)?;
            match use_ {
                Use::Store => file.lock_shared().at("lock", &path)?,
                Use::Remove => match file.try_lock() {
                    Ok(()) => {}
                    Err(TryLockError::WouldBlock) => return Ok(None),
                    Err(TryLockError::Error(error)) => return Err(error).at("lock", &path),
                },
            }
            Ok(Some(file))
        })
        .await
    }
}

#[derive(Debug, Clone, Copy)]
enum Use {
    Store,
    Remove,
}

async fn in_bucket(bucket: &Bucket) -> Result<Vec<Digest>, BucketError> {
    let objects = bucket.list(FOLDER).await?;
    let named = |key: &str| key.rsplit('/').next().and_then(|name| name.parse().ok());
    Ok(objects.iter().filter_map(|object| named(&object.key)).collect())
}
