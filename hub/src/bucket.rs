//! A bucket of an S3-compatible store: what the farm keeps there, under keys that read like paths.
//!
//! A call is retried a few times within half a minute, and then fails with an error that names the store; whoever called
//! tries again later. What is read is not believed: its digest is checked by the reader.

mod error;
mod place;

use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use farm::digest::Digest;
use farm::stamp::Stamp;
use futures_util::TryStreamExt as _;
use object_store::aws::AmazonS3;
use object_store::path::Path;
use object_store::{Error, GetResult, ObjectMeta, ObjectStore as _, ObjectStoreExt as _, WriteMultipart};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::task::JoinSet;
use tokio_util::io::StreamReader;

pub use error::BucketError;
pub use place::S3;

/// A file of more bytes is sent in parts of so many.
const PART: usize = 8 << 20;
/// Parts of one file on their way at a time.
const PARTS_AT_ONCE: usize = 4;

/// The bucket. Clones are the same one.
#[derive(Clone)]
pub struct Bucket {
    store: Arc<AmazonS3>,
    /// What stands before every key, with a slash at its end, or nothing.
    prefix: Arc<str>,
    /// The address of it, for people.
    address: Arc<str>,
}

/// What the bucket says of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its key, without the prefix of the bucket's configuration.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it was put there.
    pub put: Stamp,
    /// What the store calls this content of it, if it does: another content is called otherwise.
    pub version: Option<String>,
}

impl Object {
    /// How long ago it was put there, by this machine's clock.
    #[must_use]
    pub fn age(&self, now: Stamp) -> Duration {
        now - self.put
    }
}

/// Shows no secret.
impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Bucket").field(&self.address).finish()
    }
}

impl Bucket {
    /// Its address, for people.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What is at a key; `None` when nothing is.
    ///
    /// # Errors
    /// [`BucketError`].
    pub async fn look(&self, key: &str) -> Result<Option<Object>, BucketError> {
        match self.store.head(&self.path(key)?).await {
            Ok(meta) => Ok(Some(self.object(&meta))),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed("look at", key, error)),
        }
    }

    /// Puts a file there, in place of what is there. Nobody sees a part of it.
    ///
    /// # Errors
    /// [`BucketError`], also when the file cannot be read.
    pub async fn put(&self, key: &str, from: &FilePath) -> Result<(), BucketError> {
        let unread = |error| self.failed_locally("read the file for", key, error);
        let mut file = tokio::fs::File::open(from).await.map_err(unread)?;
        let size = file.metadata().await.map_err(unread)?.len();
        let path = self.path(key)?;
        let failed = |error| self.failed("put", key, error);
        if size <= PART as u64 {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).await.map_err(unread)?;
            return self.put_bytes(key, bytes).await;
        }
        let upload = self.store.put_multipart(&path).await.map_err(failed)?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, PART);
        let mut chunk = vec![0; PART];
        loop {
            let sent = match file.read(&mut chunk).await {
                Ok(0) => break,
                Ok(count) => upload.wait_for_capacity(PARTS_AT_ONCE).await.map(|()| count).map_err(failed),
                Err(error) => Err(unread(error)),
            };
            match sent {
                Ok(count) => upload.write(&chunk[..count]),
                Err(error) => {
                    // Parts that stay behind cost their keeper; that they do is no reason to hide why.
                    let _ = upload.abort().await;
                    return Err(error);
                }
            }
        }
        upload.finish().await.map(|_| ()).map_err(failed)
    }

    /// Puts a few bytes there, in place of what is there.
    ///
    /// # Errors
    /// [`BucketError`].
    pub async fn put_bytes(&self, key: &str, bytes: Vec<u8>) -> Result<(), BucketError> {
        let put = self.store.put(&self.path(key)?, bytes.into()).await;
        put.map(|_| ()).map_err(|error| self.failed("put", key, error))
    }

    /// Makes the store copy an object to another key of the bucket; says whether there was one.
    ///
    /// # Errors
    /// [`BucketError`].
    pub async fn copy(&self, from: &str, to: &str) -> Result<bool, BucketError> {
        match self.store.copy(&self.path(from)?, &self.path(to)?).await {
            Ok(()) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(self.failed("copy", from, error)),
        }
    }

    /// An object, as it comes; `None` when there is none.
    ///
    /// # Errors
    /// [`BucketError`]; what goes wrong later is an error of the reader.
    pub async fn read(
        &self,
        key: &str,
    ) -> Result<Option<impl AsyncRead + Unpin + Send + use<>>, BucketError> {
        Ok(self.get(key).await?.map(reader_of))
    }

    async fn get(&self, key: &str) -> Result<Option<GetResult>, BucketError> {
        match self.store.get(&self.path(key)?).await {
            Ok(found) => Ok(Some(found)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed("get", key, error)),
        }
    }

    /// SHA-256 of what whoever fetches an object gets, and what the store calls that; `None` when there is none.
    ///
    /// # Errors
    /// [`BucketError`].
    pub async fn digest(&self, key: &str) -> Result<Option<(Digest, Option<String>)>, BucketError> {
        let Some(found) = self.get(key).await? else { return Ok(None) };
        let version = version_of(&found.meta);
        let mut reader = reader_of(found);
        let (mut hasher, mut chunk) = (Sha256::new(), vec![0; 64 * 1024]);
        loop {
            match reader.read(&mut chunk).await {
                Ok(0) => return Ok(Some((Digest::from_bytes(&hasher.finalize()), version))),
                Ok(count) => hasher.update(&chunk[..count]),
                Err(error) => return Err(self.cut_off(key, error)),
            }
        }
    }

    /// Every object whose key begins with this folder (`artifacts`, `public/snap`), in no order.
    ///
    /// # Errors
    /// [`BucketError`].
    pub async fn list(&self, folder: &str) -> Result<Vec<Object>, BucketError> {
        let path = self.path(folder)?;
        let listed = self.store.list(Some(&path)).map_ok(|meta| self.object(&meta));
        listed.try_collect().await.map_err(|error| self.failed("list", folder, error))
    }

    /// Removes an object; it is no error when there is none.
    ///
    /// # Errors
    /// [`BucketError`].
    pub async fn remove(&self, key: &str) -> Result<(), BucketError> {
        match self.store.delete(&self.path(key)?).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed("remove", key, error)),
        }
    }

    /// A reader of an object failed in the middle.
    pub(crate) fn cut_off(&self, key: &str, cause: std::io::Error) -> BucketError {
        self.failed_locally("get all of", key, cause)
    }

    fn path(&self, key: &str) -> Result<Path, BucketError> {
        let whole = format!("{}{key}", self.prefix);
        Path::parse(&whole).map_err(|error| self.failed("name", key, error.into()))
    }

    fn object(&self, meta: &ObjectMeta) -> Object {
        let whole = meta.location.as_ref();
        let key = whole.strip_prefix(&*self.prefix).unwrap_or(whole).to_owned();
        let put = Stamp::from_millis(meta.last_modified.timestamp_millis());
        Object { key, size: meta.size, put, version: version_of(meta) }
    }

    fn failed(&self, doing: &'static str, key: &str, error: Error) -> BucketError {
        BucketError::new(doing, &self.address, key, error.into())
    }

    fn failed_locally(&self, doing: &'static str, key: &str, error: std::io::Error) -> BucketError {
        BucketError::new(doing, &self.address, key, error.into())
    }
}

fn reader_of(found: GetResult) -> impl AsyncRead + Unpin + Send + use<> {
    StreamReader::new(found.into_stream().map_err(std::io::Error::other))
}

/// Listings and headers may quote it differently.
fn version_of(meta: &ObjectMeta) -> Option<String> {
    meta.e_tag.as_ref().map(|tag| tag.trim_matches('"').to_owned())
}

/// Does all of it, so many at a time; the first failure ends it.
///
/// # Errors
/// The first.
pub(crate) async fn each<T, E, F>(all: Vec<T>, work: impl Fn(T) -> F) -> Result<(), E>
where
    E: Send + 'static,
    F: Future<Output = Result<(), E>> + Send + 'static,
{
    /// Calls to the store at a time.
    const AT_ONCE: usize = 8;
    let mut running = JoinSet::new();
    for one in all {
        if running.len() >= AT_ONCE {
            next_of(&mut running).await?;
        }
        running.spawn(work(one));
    }
    while !running.is_empty() {
        next_of(&mut running).await?;
    }
    Ok(())
}

async fn next_of<E: Send + 'static>(running: &mut JoinSet<Result<(), E>>) -> Result<(), E> {
    match running.join_next().await {
        Some(Ok(result)) => result,
        Some(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The runtime is shutting down and will not poll this task again.
        Some(Err(_)) => std::future::pending().await,
        None => Ok(()),
    }
}
