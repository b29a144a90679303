//! Compressed buckets on disk: each made when one of its packages changes, and read ever after.
//!
//! They are at `<root>/<first two digits>/<key>.<document>`, where the key is a digest over everything that goes into the bytes.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use farm::digest::Digest;

use super::compression::Compression;
use super::sealed::{self, Sealed};
use super::store::{Store, Stored, files_below, remove};
use super::{EngineError, Entry, xml};
use crate::files::{At as _, FileError};

/// Raised when equal packages give other bytes than before.
const FORMAT: &str = "members 1";
/// The documents of a repo, each with a member in every bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Document {
    Primary,
    Filelists,
    Other,
}

/// A member's file has the member, and the bytes it has when it is unpacked.
const PARTS: usize = 2;
/// How long a bucket is kept that no repo had: who goes back to an old snapshot finds it.
const UNUSED: Duration = Duration::from_secs(7 * 24 * 3600);

/// The compressed buckets.
#[derive(Debug, Clone)]
pub(super) struct Members {
    root: PathBuf,
    store: Store,
}

/// The packages of one bucket, and where its members are.
pub(super) struct Bucket<'a> {
    entries: Vec<&'a Entry>,
    key: PathBuf,
}

/// A member as it was read.
pub(super) struct Kept(Sealed);

impl Document {
    pub(super) const ALL: [Self; 3] = [Self::Primary, Self::Filelists, Self::Other];

    /// The name of its type in `repomd.xml`.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Filelists => "filelists",
            Self::Other => "other",
        }
    }
}

impl Bucket<'_> {
    fn path(&self, document: Document) -> PathBuf {
        self.key.with_extension(document.as_str())
    }
}

impl Kept {
    /// The member.
    pub(super) fn bytes(&self) -> &[u8] {
        self.0.part(0)
    }

    /// Bytes it has when it is unpacked.
    pub(super) fn open_size(&self) -> u64 {
        self.0.part(1).try_into().map_or(0, u64::from_be_bytes)
    }
}

impl Members {
    pub(super) fn new(root: PathBuf, store: Store) -> Self {
        Self { root, store }
    }

    /// Makes the members of these buckets as far as there are none, as many at a time as there are processors.
    ///
    /// # Errors
    /// [`EngineError`].
    pub(super) fn prepare<'a>(
        &self,
        buckets: Vec<Vec<&'a Entry>>,
        compression: Compression,
    ) -> Result<Vec<Bucket<'a>>, EngineError> {
        let buckets: Vec<Bucket<'a>> =
            buckets.into_iter().map(|entries| self.bucket(entries, compression)).collect();
        let missing: Vec<&Bucket<'a>> =
            buckets.iter().filter(|bucket| !bucket.path(Document::Primary).exists()).collect();
        let next = AtomicUsize::new(0);
        let work = || -> Result<(), EngineError> {
            while let Some(bucket) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                self.make(bucket, compression)?;
            }
            Ok(())
        };
        if missing.len() < 2 {
            // Most changes are of one bucket; to ask how many processors there are reads several files.
            work()?;
        } else {
            let processors = thread::available_parallelism().map_or(1, usize::from);
            at_once(&vec![(); processors.min(missing.len())], |()| work())?;
        }
        Ok(buckets)
    }

    /// A member of a bucket that was prepared. Is it not whole, it is made again.
    ///
    /// # Errors
    /// [`EngineError`].
    pub(super) fn read(
        &self,
        bucket: &Bucket<'_>,
        document: Document,
        compression: Compression,
    ) -> Result<Kept, EngineError> {
        let path = bucket.path(document);
        if let Some(known) = sealed::read(&path, PARTS)? {
            return Ok(Kept(known));
        }
        self.make(bucket, compression)?;
        let gone = || std::io::Error::other("it was written just now, but is not whole");
        Ok(Kept(sealed::read(&path, PARTS)?.ok_or_else(gone).at("read", &path)?))
    }

    /// Removes what no repo has used for long; says how many buckets.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(super) fn tidy(&self) -> Result<usize, FileError> {
        let mut gone = 0;
        for path in files_below(&self.root)? {
            if sealed::unused_for(&path).is_some_and(|unused| unused > UNUSED) {
                remove(&path)?;
                gone += 1;
            }
        }
        Ok(gone)
    }

    fn bucket<'a>(&self, entries: Vec<&'a Entry>, compression: Compression) -> Bucket<'a> {
        let mut content = format!("{FORMAT} {}\n", compression.suffix());
        for entry in &entries {
            for part in [entry.digest.as_str(), " ", entry.href.as_str(), "\n"] {
                content.push_str(part);
            }
        }
        let key = Digest::of(content.as_bytes());
        Bucket { entries, key: self.root.join(&key.as_str()[..2]).join(key.as_str()) }
    }

    fn make(&self, bucket: &Bucket<'_>, compression: Compression) -> Result<(), EngineError> {
        let fragments = bucket
            .entries
            .iter()
            .map(|entry| self.store.get(&entry.digest))
            .collect::<Result<Vec<Stored>, _>>()?;
        let hrefs: Vec<String> = bucket.entries.iter().map(|entry| quoted_href(&entry.href)).collect();
        let member = |document: Document| match document {
            Document::Primary => {
                compression.member(hrefs.iter().zip(&fragments).flat_map(|(href, fragment)| {
                    [fragment.before_href(), href.as_bytes(), fragment.after_href()]
                }))
            }
            Document::Filelists => compression.member(fragments.iter().map(Stored::filelists)),
            Document::Other => compression.member(fragments.iter().map(Stored::other)),
        };
        at_once(&Document::ALL, |document| {
            let path = bucket.path(*document);
            let member = member(*document).at("compress", &path)?;
            sealed::write(&path, &[&member.bytes, &member.open_size.to_be_bytes()])
        })?;
        Ok(())
    }
}

/// Does some work for each of these at the same time; gives what comes out, in their order.
pub(super) fn at_once<T: Sync, R: Send, E: Send>(
    each: &[T],
    work: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let work = &work;
    thread::scope(|scope| {
        let running: Vec<_> = each.iter().map(|one| scope.spawn(move || work(one))).collect();
        running
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

fn quoted_href(href: &str) -> String {
    let mut quoted = String::with_capacity(href.len());
    xml::quoted(&mut quoted, href);
    quoted
}
