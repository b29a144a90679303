//! Fragments on disk: each made once, at `<root>/<first two digits>/<SHA-256 of the file>`.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::Duration;

use farm::digest::Digest;

use super::EngineError;
use super::fragment::Fragment;
use super::sealed::{self, Sealed};
use crate::artifacts::{ArtifactError, Artifacts};
use crate::files::{At as _, FileError};
use crate::rpms::{RpmError, read_front};

/// How many parts a fragment's file has, and which is which.
const PARTS: usize = 4;
const BEFORE_HREF: usize = 0;
const AFTER_HREF: usize = 1;
const FILELISTS: usize = 2;
const OTHER: usize = 3;

/// Longer than anybody is at work on one file.
const LONGEST_WRITE: Duration = Duration::from_secs(3600);

/// The fragments of packages in an artifact store.
#[derive(Debug, Clone)]
pub(super) struct Store {
    root: PathBuf,
    artifacts: Artifacts,
}

/// A fragment as it was read.
pub(super) struct Stored(Sealed);

impl Stored {
    /// The primary metadata up to where the package is.
    pub(super) fn before_href(&self) -> &[u8] {
        self.0.part(BEFORE_HREF)
    }

    /// The rest of the primary metadata.
    pub(super) fn after_href(&self) -> &[u8] {
        self.0.part(AFTER_HREF)
    }

    /// The list of files.
    pub(super) fn filelists(&self) -> &[u8] {
        self.0.part(FILELISTS)
    }

    /// The changelog.
    pub(super) fn other(&self) -> &[u8] {
        self.0.part(OTHER)
    }
}

impl Store {
    pub(super) fn new(root: PathBuf, artifacts: Artifacts) -> Self {
        Self { root, artifacts }
    }

    /// Where the packages are.
    pub(super) fn artifacts(&self) -> &Artifacts {
        &self.artifacts
    }

    /// The fragment of a package, made when there is none yet.
    ///
    /// # Errors
    /// [`EngineError`].
    pub(super) fn get(&self, digest: &Digest) -> Result<Stored, EngineError> {
        let path = self.path(digest);
        if let Some(known) = sealed::read(&path, PARTS)? {
            return Ok(Stored(known));
        }
        let made = self.make(digest)?;
        let parts =
            [&made.before_href, &made.after_href, &made.filelists, &made.other].map(|part| part.as_bytes());
        sealed::write(&path, &parts)?;
        let gone = || std::io::Error::other("it was written just now, but is not whole");
        Ok(Stored(sealed::read(&path, PARTS)?.ok_or_else(gone).at("read", &path)?))
    }

    /// Forgets the fragments of packages that are not stored any more; says how many.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(super) fn tidy(&self) -> Result<usize, FileError> {
        let mut gone = 0;
        let stored = self.artifacts.list_now().map_err(|error| unfetched(&self.root, error))?;
        let stored: HashSet<Digest> = stored.into_iter().collect();
        for path in files_below(&self.root)? {
            let digest = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
            // A writer may be at work on a file that has no such name yet.
            let forlorn = || sealed::unused_for(&path).is_some_and(|unused| unused > LONGEST_WRITE);
            if digest.map_or_else(forlorn, |digest| !stored.contains(&digest)) {
                remove(&path)?;
                gone += 1;
            }
        }
        Ok(gone)
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.root.join(&digest.as_str()[..2]).join(digest.as_str())
    }

    fn make(&self, digest: &Digest) -> Result<Fragment, EngineError> {
        let path = self.artifacts.local_now(digest).map_err(|error| match error {
            ArtifactError::Missing(digest) => EngineError::Missing(digest),
            error => EngineError::Disk(unfetched(&self.artifacts.path(digest), error)),
        })?;
        let file = match File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(EngineError::Missing(digest.clone()));
            }
            file => file.at("open", &path)?,
        };
        let size = file.metadata().at("look at", &path)?.len();
        let unreadable = |why: RpmError| match why {
            RpmError::Disk(error) => EngineError::Disk(error),
            why => EngineError::Package { digest: digest.clone(), why },
        };
        let front = read_front(&mut BufReader::new(file)).map_err(unreadable)?;
        Fragment::of(&front, digest, size).map_err(unreadable)
    }
}

fn unfetched(path: &Path, error: ArtifactError) -> FileError {
    FileError { doing: "have what belongs at", path: path.to_owned(), source: std::io::Error::other(error) }
}

/// The files in the folders of `root`; none when there is no such folder.
///
/// # Errors
/// When the disk refuses.
pub(super) fn files_below(root: &Path) -> Result<Vec<PathBuf>, FileError> {
    let mut found = Vec::new();
    let folders = match fs::read_dir(root) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(found),
        folders => folders.at("list the directory", root)?,
    };
    for folder in folders {
        let folder = folder.at("list the directory", root)?.path();
        for entry in fs::read_dir(&folder).at("list the directory", &folder)? {
            found.push(entry.at("list the directory", &folder)?.path());
        }
    }
    Ok(found)
}

/// Removes a file; it is no error when it is gone.
///
/// # Errors
/// When the disk refuses.
pub(super) fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        result => result.at("remove", path),
    }
}
