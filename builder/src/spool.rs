//! A bounded file that one task writes and others read while it grows: a log on its way to the hub, or the tar stream
//! that comes out of a container.
//!
//! The disk stands between the container and the hub on purpose: a slow or absent hub never holds up a container, and
//! no byte is lost.
//!
//! The pieces are small, and a write that ends in the page cache takes less time than handing it to another thread and
//! waiting for that one: so files are written here, and read, where it is asked for.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;

/// The writing end. Dropping it closes the spool.
#[derive(Debug)]
pub struct Spool {
    path: PathBuf,
    file: File,
    limit: u64,
    size: watch::Sender<u64>,
}

/// Whether everything written so far was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// All of it.
    Enough,
    /// The limit was reached; the bytes beyond it were dropped.
    Exhausted,
}

/// Tells how far a spool has grown.
#[derive(Debug, Clone)]
pub(crate) struct Growth {
    path: PathBuf,
    size: watch::Receiver<u64>,
}

impl Spool {
    /// Creates the file, which must not exist yet, and lets it grow to at most `limit` bytes.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub async fn create(path: impl Into<PathBuf>, limit: u64) -> io::Result<Self> {
        let path = path.into();
        let file = File::options().append(true).create_new(true).open(&path)?;
        Ok(Self { path, file, limit, size: watch::Sender::new(0) })
    }

    /// Appends as much of these bytes as fits. What was written is readable when this returns.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub async fn append(&mut self, bytes: &[u8]) -> io::Result<Room> {
        let size = *self.size.borrow();
        let room = usize::try_from(self.limit - size).unwrap_or(usize::MAX);
        let kept = &bytes[..bytes.len().min(room)];
        if !kept.is_empty() {
            self.file.write_all(kept)?;
            self.size.send_replace(size + kept.len() as u64);
        }
        Ok(if kept.len() < bytes.len() { Room::Exhausted } else { Room::Enough })
    }

    /// Where the bytes are.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes kept so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        *self.size.borrow()
    }

    pub(crate) fn growth(&self) -> Growth {
        Growth { path: self.path.clone(), size: self.size.subscribe() }
    }
}

impl Growth {
    /// Where the bytes are.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes there now.
    pub(crate) fn size(&self) -> u64 {
        *self.size.borrow()
    }

    /// Waits until there are more than `seen` bytes (true) or the spool is closed without any more (false).
    pub(crate) async fn beyond(&mut self, seen: u64) -> bool {
        self.size.wait_for(|size| *size > seen).await.is_ok()
    }

    /// Waits until nothing more will be written, but no longer than this.
    pub(crate) async fn closed_within(&mut self, patience: Duration) {
        let closed = async { while self.size.changed().await.is_ok() {} };
        let _closed_or_not = tokio::time::timeout(patience, closed).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_spool_keeps_what_fits_and_says_when_it_is_full() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::create(folder.path().join("a.log"), 10).await.unwrap();
        let mut growth = spool.growth();
        assert_eq!(spool.append(b"12345678").await.unwrap(), Room::Enough);
        assert!(growth.beyond(0).await);
        assert_eq!(spool.append(b"90").await.unwrap(), Room::Enough);
        assert_eq!(spool.append(b"too much").await.unwrap(), Room::Exhausted);
        assert_eq!(spool.append(b"").await.unwrap(), Room::Enough);
        assert_eq!(std::fs::read(spool.path()).unwrap(), b"1234567890");
        drop(spool);
        assert!(!growth.beyond(10).await);
        assert!(growth.beyond(9).await, "what was written before the end is still announced");
        growth.closed_within(Duration::from_secs(60)).await;
    }
}
