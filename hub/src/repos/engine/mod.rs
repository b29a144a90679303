//! Repository metadata, made so that a change costs what has changed.
//!
//! - [`fragment`]: what the metadata says of one package, made once, byte for byte as createrepo_c writes it;
//! - [`store`]: fragments on disk;
//! - [`buckets`]: which packages share a bucket;
//! - [`members`]: each bucket, compressed, on disk;
//! - [`write`]: the buckets one behind the other, with a head and an end, are the metadata; [`repomd`] lists it.
//!
//! gzip and zstd files may consist of members that stand one behind the other, each complete in itself; clients read them
//! as one. So a new package costs its fragment and the compression of its bucket, and everything else is copied. Nothing
//! is kept in memory: a process that has just started is as quick as any other.

mod buckets;
mod changes;
mod compression;
mod deps;
mod files;
mod fragment;
mod header;
mod members;
mod repomd;
mod sealed;
mod store;
#[cfg(test)]
mod tests;
mod write;
mod xml;

use std::io;
use std::path::Path;

use farm::digest::Digest;
use farm::nvr::Nevra;

pub use compression::Compression;

use crate::artifacts::Artifacts;
use crate::files::{FileError, ensure_dir};
use crate::rpms::RpmError;

/// Digits of a file's digest in its path: enough that no two files of one name have the same.
const PATH_DIGITS: usize = 16;

/// Makes repository metadata. Clones are the same engine, and so are those of other processes in the same folder.
#[derive(Debug, Clone)]
pub struct Engine {
    store: store::Store,
    members: members::Members,
}

/// A package of a repo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// SHA-256 of its file.
    digest: Digest,
    /// Where it is below the repo's folder.
    href: String,
    /// Where in that the name of its file begins.
    file_at: usize,
    /// Size of its file in bytes.
    size: u64,
    spot: u64,
}

/// A file below `repodata` that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Its name.
    pub name: String,
    /// SHA-256 of it.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// Why metadata could not be made.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A package is not in the artifact store.
    #[error("there is no artifact {0} in the store")]
    Missing(Digest),
    /// A file is no package, or none whose header can be understood.
    #[error("artifact {digest} cannot be listed in a repo: {why}")]
    Package {
        /// The file.
        digest: Digest,
        /// Why.
        why: RpmError,
    },
    /// Two packages have one name: who downloads them could not tell them apart.
    #[error("two packages are called {file}")]
    CalledAlike {
        /// Their name.
        file: String,
    },
    /// A file beside the packages is not in the artifact store, or is another one there.
    #[error("{name} cannot be put into the repo: {why}")]
    Extra {
        /// What it is.
        name: &'static str,
        /// Why.
        why: io::Error,
    },
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] FileError),
}

impl Engine {
    /// An engine that keeps what it has made below `root`, for packages in this store.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn open(root: &Path, artifacts: &Artifacts) -> Result<Self, FileError> {
        let store = store::Store::new(root.join("fragments"), artifacts.clone());
        let members = members::Members::new(root.join("members"), store.clone());
        ensure_dir(root)?;
        Ok(Self { store, members })
    }

    /// Makes what the metadata will say of a package, so that writing a repo with it is quick. Doing it again changes
    /// nothing. It reads a file: call it on a blocking thread.
    ///
    /// # Errors
    /// [`EngineError`]: `Missing`, `Package` or `Disk`.
    pub fn learn(&self, digest: &Digest) -> Result<(), EngineError> {
        self.store.get(digest).map(drop)
    }

    /// Removes what is not needed any more, and what a writer that died has left; says how many files. What is removed
    /// too early is made again.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn tidy(&self) -> Result<usize, FileError> {
        Ok(self.store.tidy()? + self.members.tidy()?)
    }
}

impl Entry {
    /// The package of this name in the file with this digest and size in bytes.
    #[must_use]
    pub fn new(nevra: &Nevra, digest: &Digest, size: u64) -> Self {
        Self::called(nevra, &nevra.file_name(), digest.clone(), size)
    }

    /// The same where the name of its file, which follows from its own, is known.
    pub(super) fn called(nevra: &Nevra, file: &str, digest: Digest, size: u64) -> Self {
        let (spot, href) = (buckets::spot(&nevra.name, &nevra.arch), package_path(file, &digest));
        Self { digest, file_at: href.len() - file.len(), href, size, spot }
    }

    /// SHA-256 of its file.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Where it is below the repo's folder.
    #[must_use]
    pub fn href(&self) -> &str {
        &self.href
    }

    /// Size of its file in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The name of its file.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.href[self.file_at..]
    }
}

/// Where an RPM is below its folder: `Packages/h/0123456789abcdef/hello-….rpm`. Another file, such as the same package with
/// another signature, has another path, so what is at a path never changes.
#[must_use]
pub fn package_path(file: &str, digest: &Digest) -> String {
    let letter = file.chars().next().unwrap_or('_').to_ascii_lowercase();
    // A repo has tens of thousands of them, so no formatting.
    let mut path = String::with_capacity("Packages/?//".len() + PATH_DIGITS + file.len());
    path.push_str("Packages/");
    path.push(letter);
    path.push('/');
    path.push_str(&digest.as_str()[..PATH_DIGITS]);
    path.push('/');
    path.push_str(file);
    path
}
