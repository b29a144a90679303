//! The artifact store: every file the farm keeps, on the local disk, under the SHA-256 of its content.
//!
//! A file is written to `tmp/`, flushed, and renamed to `<first two digits>/<all 64 digits>`; so what has a name in the
//! store is complete and never changes, and storing the same content twice stores it once. With a bucket [behind] the disk,
//! the bucket has everything and the disk what was used last.

mod behind;

pub use behind::key;

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use farm::digest::Digest;
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use self::behind::Behind;
use crate::bucket::BucketError;
use crate::files::{At as _, FileError, blocking, ensure_dir, link_or_copy, sync_dir};

/// Bytes read and hashed at a time. What is no longer goes to the disk in one step: the way to another thread and back costs
/// more than writing it does.
const CHUNK: usize = 256 * 1024;
/// Everybody may read an artifact, nobody may change it: public repos are hard links to it.
const READ_ONLY: u32 = 0o444;

/// The artifact store. Clones are the same store.
#[derive(Debug, Clone)]
pub struct Artifacts {
    root: Arc<Path>,
    behind: Option<Behind>,
}

/// What was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The content's SHA-256, by which it is found again.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// Why a file could not be stored or found.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// There was more than the caller allows.
    #[error("the file is larger than the {max} bytes allowed here")]
    TooLarge {
        /// The limit in bytes.
        max: u64,
    },
    /// The content is not what was announced.
    #[error("the file's SHA-256 is {actual}, but {expected} was announced; send it again")]
    Mismatch {
        /// What was announced.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// The sender stopped in the middle.
    #[error("the file did not arrive completely ({0}); send it again")]
    Interrupted(io::Error),
    /// There is no such artifact.
    #[error("there is no artifact {0} in the store")]
    Missing(Digest),
    /// The store's own disk failed.
    #[error(transparent)]
    Disk(#[from] FileError),
    /// The bucket behind the disk failed.
    #[error(transparent)]
    Bucket(#[from] BucketError),
    /// The bucket has something else under an artifact's name.
    #[error("what {place} has as artifact {digest} is something else; it is not used")]
    Damaged {
        /// The artifact.
        digest: Digest,
        /// The bucket.
        place: String,
    },
}

impl Artifacts {
    /// Opens a store, creating it where there is none, and removes what writers that died have left. Several processes
    /// may have it open: a file another one is still writing is locked and stays.
    ///
    /// # Errors
    /// When the directory cannot be created or read.
    pub fn open(dir: &Path) -> Result<Self, FileError> {
        let temporary = dir.join("tmp");
        ensure_dir(&temporary)?;
        for entry in fs::read_dir(&temporary).at("list the directory", &temporary)? {
            let path = entry.at("list the directory", &temporary)?.path();
            // A writer may finish, and its file vanish, while we look.
            let Ok(file) = File::open(&path) else { continue };
            if file.try_lock().is_ok() {
                match fs::remove_file(&path) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    result => result.at("remove the leftover", &path)?,
                }
            }
        }
        Ok(Self { root: dir.into(), behind: None })
    }

    /// Stores what a reader gives, hashing it on the way. Nothing is stored unless all of it arrived, is at most
    /// `max_bytes` long and is what was expected. Dropping the future in the middle leaves nothing behind.
    ///
    /// # Errors
    /// [`ArtifactError::TooLarge`], [`ArtifactError::Mismatch`], [`ArtifactError::Interrupted`] when the reader fails,
    /// [`ArtifactError::Disk`] and [`ArtifactError::Bucket`] when the store does.
    pub async fn put_stream(
        &self,
        reader: impl AsyncRead + Unpin + Send,
        max_bytes: u64,
        expected: Option<&Digest>,
    ) -> Result<Stored, ArtifactError> {
        let stored = self.keep(reader, max_bytes, expected).await?;
        self.secure(&stored.digest).await?;
        Ok(stored)
    }

    /// The same on the disk alone.
    async fn keep(
        &self,
        mut reader: impl AsyncRead + Unpin + Send,
        max_bytes: u64,
        expected: Option<&Digest>,
    ) -> Result<Stored, ArtifactError> {
        let mut begun = None;
        let mut hasher = Sha256::new();
        let mut size = 0_u64;
        let mut piece = Vec::with_capacity(CHUNK);
        loop {
            let whole = fill(&mut piece, &mut reader).await.map_err(ArtifactError::Interrupted)?;
            size += piece.len() as u64;
            if size > max_bytes {
                return Err(ArtifactError::TooLarge { max: max_bytes });
            }
            hasher.update(&piece);
            if whole {
                break;
            }
            let (store, former) = (self.clone(), begun.take());
            let (temporary, spent) = blocking(move || store.append(former, piece)).await?;
            (begun, piece) = (Some(temporary), spent);
        }
        let actual = Digest::from_bytes(&hasher.finalize());
        if let Some(expected) = expected
            && *expected != actual
        {
            return Err(ArtifactError::Mismatch { expected: expected.clone(), actual });
        }
        let (store, digest) = (self.clone(), actual.clone());
        blocking(move || {
            let (temporary, _) = store.append(begun, piece)?;
            store.finish(temporary, &digest)
        })
        .await?;
        Ok(Stored { digest: actual, size })
    }

    /// Stores bytes the hub made itself.
    ///
    /// # Errors
    /// [`ArtifactError::Disk`] and [`ArtifactError::Bucket`] when the store fails.
    pub async fn put_bytes(&self, bytes: &[u8]) -> Result<Stored, ArtifactError> {
        self.put_stream(bytes, u64::MAX, None).await
    }

    /// Where an artifact is on this disk, or would be. With a bucket behind it, [`Self::local`] brings it there first.
    #[must_use]
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.root.join(&digest.as_str()[..2]).join(digest.as_str())
    }

    /// Opens an artifact for reading.
    ///
    /// # Errors
    /// [`ArtifactError::Missing`] when there is none; what [`Self::local`] says.
    pub async fn read(&self, digest: &Digest) -> Result<tokio::fs::File, ArtifactError> {
        let path = self.local(digest).await?;
        tokio::fs::File::open(&path).await.map_err(|error| missing_or("open", error, digest, &path))
    }

    /// Is there such an artifact on this disk?
    #[must_use]
    pub fn contains(&self, digest: &Digest) -> bool {
        self.path(digest).is_file()
    }

    /// Gives an artifact a second name outside the store, `to`, which must not exist: a hard link, or a copy where `to`
    /// is on another file system. It outlives the artifact's removal from the store. Call it where blocking is allowed.
    ///
    /// # Errors
    /// [`ArtifactError::Missing`] when there is none, [`ArtifactError::Disk`] when `to` cannot be made; what [`Self::local`]
    /// says.
    pub fn link_to(&self, digest: &Digest, to: &Path) -> Result<(), ArtifactError> {
        let path = self.local_now(digest)?;
        Ok(link_or_copy(&path, to)?)
    }

    /// Every artifact on this disk, in no order.
    fn on_disk(&self) -> Result<Vec<Digest>, FileError> {
        let mut found = Vec::new();
        for shard in fs::read_dir(&self.root).at("list the directory", &self.root)? {
            let shard = shard.at("list the directory", &self.root)?.path();
            if !shard.is_dir() {
                continue;
            }
            for entry in fs::read_dir(&shard).at("list the directory", &shard)? {
                let name = entry.at("list the directory", &shard)?.file_name();
                found.extend(name.to_str().and_then(|name| name.parse::<Digest>().ok()));
            }
        }
        Ok(found)
    }

    /// How long ago the artifact was last stored on this disk; `None` when there is none.
    #[must_use]
    pub fn age(&self, digest: &Digest) -> Option<Duration> {
        let modified = fs::metadata(self.path(digest)).ok()?.modified().ok()?;
        Some(SystemTime::now().duration_since(modified).unwrap_or_default())
    }

    /// Removes an artifact from this disk; says whether there was one. The caller knows that nothing in the ledger names it.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn remove(&self, digest: &Digest) -> Result<bool, FileError> {
        let path = self.path(digest);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).at("remove", &path),
        }
    }

    /// Removes an artifact from this disk that was last stored at least `fresh` ago; says whether it did.
    fn remove_stale_here(&self, digest: &Digest, fresh: Duration) -> Result<bool, FileError> {
        let path = self.path(digest);
        let Ok(file) = File::open(&path) else { return Ok(false) };
        file.lock().at("lock", &path)?;
        if self.age(digest).is_none_or(|age| age < fresh) {
            return Ok(false);
        }
        self.remove(digest)
    }

    /// A locked temporary file.
    fn begin(&self) -> Result<NamedTempFile, FileError> {
        let dir = self.root.join("tmp");
        let temporary = NamedTempFile::new_in(&dir).at("create a file in", &dir)?;
        temporary.as_file().lock().at("lock", temporary.path())?;
        Ok(temporary)
    }

    /// Writes the next piece to a temporary file, which is begun if it was not yet. Gives the piece's memory back.
    fn append(
        &self,
        begun: Option<NamedTempFile>,
        piece: Vec<u8>,
    ) -> Result<(NamedTempFile, Vec<u8>), FileError> {
        let mut temporary = match begun {
            Some(temporary) => temporary,
            None => self.begin()?,
        };
        temporary.as_file_mut().write_all(&piece).at("write", temporary.path())?;
        Ok((temporary, piece))
    }

    fn finish(&self, temporary: NamedTempFile, digest: &Digest) -> Result<(), FileError> {
        let path = self.path(digest);
        if let Ok(known) = File::open(&path) {
            // Whoever removes what nothing needs leaves alone what was stored just now and may be noted any moment. The lock
            // makes another process wait that has looked already; was it quicker, the content is stored anew.
            known.lock_shared().at("lock", &path)?;
            known.set_modified(SystemTime::now()).at("set the time of", &path)?;
            if path.is_file() {
                return Ok(());
            }
        }
        temporary.as_file().sync_all().at("flush", temporary.path())?;
        let shard = self.root.join(&digest.as_str()[..2]);
        ensure_dir(&shard)?;
        let permissions = Permissions::from_mode(READ_ONLY);
        temporary.as_file().set_permissions(permissions).at("set the mode of", temporary.path())?;
        temporary.persist(&path).map_err(|error| error.error).at("rename a file to", &path)?;
        sync_dir(&shard)
    }
}

/// Reads the next piece in place of the one before. Gives whether it was the last.
async fn fill(piece: &mut Vec<u8>, reader: &mut (impl AsyncRead + Unpin + Send)) -> io::Result<bool> {
    piece.clear();
    while piece.len() < CHUNK {
        if (&mut *reader).take((CHUNK - piece.len()) as u64).read_buf(piece).await? == 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

fn missing_or(doing: &'static str, error: io::Error, digest: &Digest, path: &Path) -> ArtifactError {
    match error.kind() {
        io::ErrorKind::NotFound => ArtifactError::Missing(digest.clone()),
        _ => ArtifactError::Disk(FileError { doing, path: path.to_owned(), source: error }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count_temporaries(dir: &Path) -> usize {
        fs::read_dir(dir.join("tmp")).unwrap().count()
    }

    #[tokio::test]
    async fn what_is_put_is_found_again_read_only_and_once() {
        let dir = tempfile::tempdir().unwrap();
        let store = Artifacts::open(dir.path()).unwrap();
        let stored = store.put_bytes(b"hello").await.unwrap();
        assert_eq!(stored, Stored { digest: Digest::of(b"hello"), size: 5 });
        assert_eq!(store.put_bytes(b"hello").await.unwrap(), stored);
        assert_eq!(fs::read(store.path(&stored.digest)).unwrap(), b"hello");
        assert_eq!(fs::metadata(store.path(&stored.digest)).unwrap().permissions().mode() & 0o777, READ_ONLY);
        assert_eq!(store.size(&stored.digest).unwrap(), 5);
        assert_eq!(count_temporaries(dir.path()), 0);

        let link = dir.path().join("link");
        store.link_to(&stored.digest, &link).unwrap();
        assert!(store.remove(&stored.digest).unwrap());
        assert!(!store.remove(&stored.digest).unwrap());
        assert_eq!(fs::read(link).unwrap(), b"hello");
        assert!(matches!(store.read(&stored.digest).await, Err(ArtifactError::Missing(_))));
    }

    #[tokio::test]
    async fn what_is_too_large_or_wrong_or_broken_off_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = Artifacts::open(dir.path()).unwrap();
        let exact = store.put_stream(&b"12345"[..], 5, None).await.unwrap();
        store.remove(&exact.digest).unwrap();
        assert!(matches!(
            store.put_stream(&b"123456"[..], 5, None).await,
            Err(ArtifactError::TooLarge { max: 5 })
        ));
        let other = Digest::of(b"other");
        let mismatch = store.put_stream(&b"hello"[..], 99, Some(&other)).await.unwrap_err();
        assert!(mismatch.to_string().contains(other.as_str()), "{mismatch}");
        let broken = tokio_util::io::StreamReader::new(tokio_stream::iter([
            Ok(&b"half"[..]),
            Err(io::Error::other("line cut")),
        ]));
        assert!(matches!(store.put_stream(broken, 99, None).await, Err(ArtifactError::Interrupted(_))));
        assert_eq!(count_temporaries(dir.path()), 0);
        assert!(!store.contains(&Digest::of(b"hello")));
    }

    #[tokio::test]
    async fn opening_removes_what_the_dead_left_and_nothing_of_the_living() {
        let dir = tempfile::tempdir().unwrap();
        let store = Artifacts::open(dir.path()).unwrap();
        fs::write(dir.path().join("tmp/dead"), "half").unwrap();
        let alive = store.begin().unwrap();
        Artifacts::open(dir.path()).unwrap();
        assert!(alive.path().exists());
        assert_eq!(count_temporaries(dir.path()), 1);
    }
}
