//! Files fetched from the hub, kept under their SHA-256 for later attempts.
//!
//! A file enters by a rename once its content is checked, so whatever is there is whole. Attempts get hard links:
//! what is evicted while somebody still reads it stays readable.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use farm::digest::Digest;
use futures_util::StreamExt as _;
use reqwest::Response;
use sha2::Digest as _;
use tokio::io::AsyncWriteExt as _;

use crate::client::ClientError;
use crate::halt::{Halt, OrFarm as _};

/// How often a file that arrives broken is fetched again.
const TRIES: u32 = 5;

/// The cache of one builder.
#[derive(Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
    limit: u64,
    index: Mutex<Index>,
}

#[derive(Debug, Default)]
struct Index {
    clock: u64,
    total: u64,
    entries: HashMap<Digest, Entry>,
}

#[derive(Debug)]
struct Entry {
    size: u64,
    used: u64,
}

impl Cache {
    /// Opens the cache in `folder`, which is made if it is not there, and lets it hold at most `limit` bytes.
    pub(crate) fn open(folder: PathBuf, limit: u64) -> io::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            let facts = entry.metadata()?;
            match entry.file_name().to_string_lossy().parse::<Digest>() {
                Ok(digest) => found.push((facts.modified()?, digest, facts.len())),
                // An earlier life ended in the middle of a download.
                Err(_) => std::fs::remove_file(entry.path())?,
            }
        }
        found.sort();
        let cache = Self { folder, limit, index: Mutex::default() };
        for (_, digest, size) in found {
            cache.enter(digest, size);
        }
        Ok(cache)
    }

    /// Puts the file with this content at `place`, which must be free, fetching it with `fetch` if it is not cached.
    pub(crate) async fn place<F: Future<Output = Result<Response, ClientError>>>(
        &self,
        digest: &Digest,
        size: u64,
        place: &Path,
        fetch: impl Fn() -> F,
    ) -> Result<(), Halt> {
        let mut trouble = String::new();
        for _ in 0..TRIES {
            if self.link(digest, place).or_farm("use its cache")? {
                return Ok(());
            }
            match self.download(digest, size, fetch().await?).await {
                Ok(()) => self.enter(digest.clone(), size),
                Err(error) => {
                    tracing::info!(%digest, %error, "a download came to nothing; trying again");
                    trouble = error.to_string();
                }
            }
        }
        Err(Halt::Farm(format!("the builder cannot fetch {digest}: {trouble}")))
    }

    fn link(&self, digest: &Digest, place: &Path) -> io::Result<bool> {
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        index.clock += 1;
        let now = index.clock;
        let Some(entry) = index.entries.get_mut(digest) else { return Ok(false) };
        entry.used = now;
        match std::fs::hard_link(self.path(digest), place) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.path(digest).exists() => {
                // Somebody cleared the folder by hand.
                if let Some(entry) = index.entries.remove(digest) {
                    index.total -= entry.size;
                }
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    async fn download(&self, digest: &Digest, size: u64, response: Response) -> io::Result<()> {
        let temporary = tempfile::Builder::new().prefix("fetching-").tempfile_in(&self.folder)?;
        let mut file = tokio::fs::File::from_std(temporary.reopen()?);
        let (mut hasher, mut received) = (sha2::Sha256::new(), 0);
        let mut body = response.bytes_stream();
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(io::Error::other)?;
            received += chunk.len() as u64;
            if received > size {
                return Err(io::Error::other(format!("there is more than the {size} bytes announced")));
            }
            hasher.update(&chunk);
            file.write_all(&chunk).await?;
        }
        file.flush().await?;
        if Digest::from_bytes(&hasher.finalize()) != *digest {
            return Err(io::Error::other("what arrived has another SHA-256"));
        }
        // The container's user must be able to read it.
        temporary.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
        temporary.persist(self.path(digest)).map(drop).map_err(|error| error.error)
    }

    /// Books a file that is there, and makes room if that is too much.
    fn enter(&self, digest: Digest, size: u64) {
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        index.clock += 1;
        let used = index.clock;
        if index.entries.insert(digest, Entry { size, used }).is_none() {
            index.total += size;
        }
        while index.total > self.limit && index.entries.len() > 1 {
            let oldest = index.entries.iter().min_by_key(|(_, entry)| entry.used);
            let Some(oldest) = oldest.map(|(digest, _)| digest.clone()) else { return };
            if let Some(entry) = index.entries.remove(&oldest) {
                index.total -= entry.size;
            }
            if let Err(error) = std::fs::remove_file(self.path(&oldest)) {
                tracing::warn!(digest = %oldest, %error, "cannot remove a file from the cache");
            }
        }
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(digest.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(body: &'static str) -> Response {
        Response::from(axum::http::Response::new(body))
    }

    async fn never() -> Result<Response, ClientError> {
        panic!("it is in the cache")
    }

    #[tokio::test]
    async fn what_was_fetched_once_is_linked_and_the_least_used_goes_first() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        let cache = Cache::open(place("cache"), 10).unwrap();
        let (one, two, three) = (Digest::of(b"one"), Digest::of(b"two"), Digest::of(b"three"));
        cache.place(&one, 3, &place("1"), || async { Ok(response("one")) }).await.unwrap();
        cache.place(&two, 3, &place("2"), || async { Ok(response("two")) }).await.unwrap();
        cache.place(&one, 3, &place("1 again"), never).await.unwrap();
        cache.place(&three, 5, &place("3"), || async { Ok(response("three")) }).await.unwrap();
        assert_eq!(std::fs::read(place("2")).unwrap(), b"two", "what is in use survives eviction");
        assert!(!cache.path(&two).exists() && cache.path(&one).exists());

        let reopened = Cache::open(place("cache"), 10).unwrap();
        reopened.place(&one, 3, &place("1 after restart"), never).await.unwrap();
    }

    #[tokio::test]
    async fn a_file_with_another_content_is_never_let_in() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path().join("cache"), 100).unwrap();
        let place = folder.path().join("x");
        for wrong in ["forged", "longer than announced"] {
            let halt = cache.place(&Digest::of(b"honest"), 6, &place, || async { Ok(response(wrong)) }).await;
            assert!(matches!(halt, Err(Halt::Farm(why)) if why.contains("cannot fetch")));
        }
        assert!(!place.exists());
    }
}
