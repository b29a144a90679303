//! Composing: a snapshot becomes a directory with the metadata of its repos and a list of their packages, complete before it
//! has its name. The packages themselves stay in the artifact store.
//!
//! ```text
//! <staging>/<name>/<folder>/repodata/…
//! <staging>/<name>/manifests/<folder>
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use farm::arch::Arch;
use farm::digest::Digest;
use farm::extras::{Extra, files};
use farm::ids::SnapshotId;
use farm::nvr::Nevra;
use farm::sig::Project;
use farm::snapshot::{Rpm, Snapshot};
use tempfile::TempDir;

use super::engine::{Compression, Engine, EngineError, Entry};
use super::manifest;
use crate::files::{At as _, FileError, blocking, ensure_dir, remove_tree, sync_dir, sync_tree};

/// The end of the name of a snapshot that is not complete.
const PARTIAL: &str = ".partial";
/// The end of the name of a snapshot as the public gets it, with signatures.
const PUBLIC: &str = ".public";

/// What is to be composed.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The name of its directory below the staging directory.
    pub name: String,
    /// The snapshot.
    pub id: SnapshotId,
    /// The metadata's revision: a time in milliseconds, more than that of everything the repo showed before.
    pub revision: i64,
    /// How the metadata is compressed.
    pub compression: Compression,
    /// Every folder, by name.
    pub folders: BTreeMap<String, Folder>,
}

/// What is in one folder.
#[derive(Debug, Clone, Default)]
pub struct Folder {
    /// Its packages.
    pub packages: Vec<Entry>,
    /// What stands in its metadata besides them.
    pub extras: Vec<Extra>,
}

/// The file of a package that is shipped: the one that was built, or the same with a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shipped {
    /// SHA-256 of it, under which the artifact store has it.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// Why a snapshot could not be composed.
#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    /// Two packages in one folder have one file name.
    #[error("snapshot {id} has two packages called {file} in {folder}; remove one of the builds")]
    TwoFiles {
        /// The snapshot.
        id: SnapshotId,
        /// The folder.
        folder: String,
        /// Their name.
        file: String,
    },
    /// A package's file name is not the one its header gives it.
    #[error("snapshot {id} has a package whose file is called `{file}`, which is not its own name")]
    BadFile {
        /// The snapshot.
        id: SnapshotId,
        /// The file.
        file: String,
    },
    /// There is no file to ship of a package.
    #[error("snapshot {id}: there is no file of {file} that may be shipped")]
    NotShipped {
        /// The snapshot.
        id: SnapshotId,
        /// The package's file name.
        file: String,
    },
    /// A package is not in the store, or is none.
    #[error("snapshot {id}: {file}: {why}")]
    Package {
        /// The snapshot.
        id: SnapshotId,
        /// The package's file name.
        file: String,
        /// Why.
        why: EngineError,
    },
    /// The metadata could not be made.
    #[error("snapshot {id}: {folder}: {why}")]
    Metadata {
        /// The snapshot.
        id: SnapshotId,
        /// The folder.
        folder: String,
        /// Why.
        why: EngineError,
    },
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] FileError),
}

impl Plan {
    /// The snapshot with the files that were built, as builds and tests get it: `<staging>/<snapshot id>`.
    ///
    /// # Errors
    /// [`ComposeError::BadFile`].
    pub fn built(snapshot: &Snapshot, arches: &[Arch]) -> Result<Self, ComposeError> {
        let as_built = |rpm: &Rpm| Some(Shipped { digest: rpm.digest.clone(), size: rpm.size });
        Self::of(snapshot.id.to_string(), snapshot, arches, as_built)
    }

    /// The snapshot with the files that `signed` gives, as the public gets it: `<staging>/<snapshot id>.public`.
    ///
    /// # Errors
    /// [`ComposeError::BadFile`], [`ComposeError::NotShipped`] where `signed` gives none.
    pub fn public(
        snapshot: &Snapshot,
        arches: &[Arch],
        signed: impl Fn(&Rpm) -> Option<Shipped>,
    ) -> Result<Self, ComposeError> {
        Self::of(public_name(snapshot.id), snapshot, arches, signed)
    }

    fn of(
        name: String,
        snapshot: &Snapshot,
        arches: &[Arch],
        shipped: impl Fn(&Rpm) -> Option<Shipped>,
    ) -> Result<Self, ComposeError> {
        let id = snapshot.id;
        let mut folders: BTreeMap<String, Folder> =
            manifest::folder_names(arches).map(|name| (name, Folder::default())).collect();
        for (name, rpms) in snapshot.folders(arches) {
            let folder = folders.entry(name).or_default();
            for rpm in rpms {
                if !rpm.nevra.is_sound() || !is_file_of(&rpm.file, &rpm.nevra) {
                    return Err(ComposeError::BadFile { id, file: rpm.file.clone() });
                }
                let none = || ComposeError::NotShipped { id, file: rpm.file.clone() };
                let Shipped { digest, size } = shipped(rpm).ok_or_else(none)?;
                folder.packages.push(Entry::called(&rpm.nevra, &rpm.file, digest, size));
            }
        }
        for arch in arches {
            let folder = folders.entry(arch.to_string()).or_default();
            folder.extras = files(snapshot.extras.as_ref()).to_vec();
        }
        let revision = snapshot.revision();
        Ok(Self { name, id, revision, compression: Compression::default(), folders })
    }

    /// The same, with metadata that is compressed as the project wants it.
    #[must_use]
    pub fn compressed_for(self, project: &Project) -> Self {
        let compression = if project.zstd { Compression::Zstd } else { Compression::Gzip };
        Self { compression, ..self }
    }

    fn write(&self, root: &Path, engine: &Engine) -> Result<(), ComposeError> {
        for (name, folder) in &self.folders {
            let (packages, extras) = (&folder.packages, &folder.extras);
            let place = root.join(name);
            let (written, lines) = std::thread::scope(|scope| {
                let lines = scope.spawn(|| manifest::package_lines(packages));
                let written = engine.write(&place, packages, extras, self.revision, self.compression);
                (written, lines.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            });
            let written = written.map_err(|why| self.failed(name, folder, why))?;
            manifest::write(root, self.id, name, &lines, &written)?;
        }
        Ok(())
    }

    fn failed(&self, name: &str, folder: &Folder, why: EngineError) -> ComposeError {
        let id = self.id;
        let called = |digest: &Digest| {
            let entry = folder.packages.iter().find(|entry| entry.digest() == digest);
            entry.map(|entry| entry.file().to_owned())
        };
        let file = match &why {
            EngineError::Missing(digest) | EngineError::Package { digest, .. } => called(digest),
            EngineError::CalledAlike { .. } | EngineError::Extra { .. } | EngineError::Disk(_) => None,
        };
        match (file, why) {
            (Some(file), why) => ComposeError::Package { id, file, why },
            (None, EngineError::CalledAlike { file }) => {
                ComposeError::TwoFiles { id, folder: name.to_owned(), file }
            }
            (None, EngineError::Disk(error)) => ComposeError::Disk(error),
            (None, why) => ComposeError::Metadata { id, folder: name.to_owned(), why },
        }
    }
}

/// Is it called [as it should be](Nevra::file_name)? Every package of a repo is asked with each change of it.
fn is_file_of(file: &str, nevra: &Nevra) -> bool {
    let parts = [&nevra.name, "-", &nevra.version, "-", &nevra.release, ".", &nevra.arch, ".rpm"];
    parts.into_iter().try_fold(file, |rest, part| rest.strip_prefix(part)) == Some("")
}

/// The name of the directory of a snapshot as the public gets it, below the staging directory.
#[must_use]
pub fn public_name(id: SnapshotId) -> String {
    format!("{id}{PUBLIC}")
}

/// The snapshot a directory below the staging directory is of, complete as it is; `None` for what is none.
#[must_use]
pub fn staged_id(name: &str) -> Option<SnapshotId> {
    name.strip_suffix(PUBLIC).unwrap_or(name).parse().ok()
}

/// Removes a composed snapshot from the staging directory. What is left when that is broken off is not taken for complete.
///
/// # Errors
/// When the disk refuses.
pub fn discard(staged: &Path) -> Result<(), FileError> {
    let mut name = staged.file_name().unwrap_or_default().to_owned();
    name.push(PARTIAL);
    let partial = staged.with_file_name(name);
    remove_tree(&partial)?;
    match fs::rename(staged, &partial) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        result => result.at("rename a directory to", &partial).and_then(|()| remove_tree(&partial)),
    }
}

/// Removes what composers that died have left in the staging directory. What a living one, of this process or another, is
/// at work on is locked and stays.
///
/// # Errors
/// When the disk refuses.
pub fn clean(staging: &Path) -> Result<(), FileError> {
    ensure_dir(staging)?;
    for entry in fs::read_dir(staging).at("list the directory", staging)? {
        let path = entry.at("list the directory", staging)?.path();
        if path.to_string_lossy().ends_with(PARTIAL)
            && File::open(&path).is_ok_and(|dir| dir.try_lock().is_ok())
        {
            remove_tree(&path)?;
        }
    }
    Ok(())
}

/// Lays out `<staging>/<name>` as planned, flushed to the disk, and gives its path. It may be repeated, also by two processes
/// at once: a complete one is left as it is.
///
/// # Errors
/// [`ComposeError`]; nothing is left under the name then.
pub async fn compose(staging: &Path, engine: &Engine, plan: Plan) -> Result<PathBuf, ComposeError> {
    let (staging, engine) = (staging.to_owned(), engine.clone());
    blocking(move || {
        let complete = staging.join(&plan.name);
        if complete.is_dir() {
            return Ok(complete);
        }
        let partial = Partial::create(&staging, &plan.name)?;
        plan.write(partial.path(), &engine)?;
        sync_tree(partial.path())?;
        partial.complete(&complete)?;
        Ok(complete)
    })
    .await
}

/// A snapshot at work: locked, and removed when dropped.
struct Partial {
    dir: TempDir,
    _lock: File,
}

impl Partial {
    fn create(staging: &Path, name: &str) -> Result<Self, FileError> {
        ensure_dir(staging)?;
        loop {
            // Another process that starts may take it for a leftover before it is locked, and remove it.
            let partial = Self::create_once(staging, name)?;
            if partial.path().is_dir() {
                return Ok(partial);
            }
        }
    }

    fn create_once(staging: &Path, name: &str) -> Result<Self, FileError> {
        let prefix = format!("{name}.");
        let dir = tempfile::Builder::new()
            .prefix(&prefix)
            .suffix(PARTIAL)
            .permissions(Permissions::from_mode(0o755))
            .tempdir_in(staging)
            .at("create a directory in", staging)?;
        let lock = File::open(dir.path()).at("open", dir.path())?;
        lock.lock().at("lock", dir.path())?;
        Ok(Self { dir, _lock: lock })
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Gives it its name. Another process may have been quicker: then its one counts.
    fn complete(self, complete: &Path) -> Result<(), FileError> {
        match fs::rename(self.path(), complete) {
            Err(_) if complete.is_dir() => return Ok(()),
            result => result.at("rename a directory to", complete)?,
        }
        let _ = self.dir.keep();
        sync_dir(complete.parent().unwrap_or(complete))
    }
}

#[cfg(test)]
mod tests;
