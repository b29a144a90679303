//! Composing: a snapshot becomes a directory of hard links with repository metadata, complete before it has its name.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use farm::arch::Arch;
use farm::ids::SnapshotId;
use farm::snapshot::{Rpm, Snapshot};
use tempfile::TempDir;
use tokio::process::Command;

use super::manifest;
use crate::artifacts::{ArtifactError, Artifacts};
use crate::files::{At as _, FileError, blocking, ensure_dir, remove_tree, sync_dir, sync_tree};

/// The end of the name of a snapshot that is not complete.
const PARTIAL: &str = ".partial";

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
    /// A package is not in the store.
    #[error("snapshot {id}: {file}: {why}")]
    Artifact {
        /// The snapshot.
        id: SnapshotId,
        /// The package's file name.
        file: String,
        /// Why.
        why: ArtifactError,
    },
    /// The metadata could not be made.
    #[error("createrepo_c failed for {folder} of snapshot {id}: {said}")]
    Createrepo {
        /// The snapshot.
        id: SnapshotId,
        /// The folder.
        folder: String,
        /// Its last words.
        said: String,
    },
    /// The metadata took too long.
    #[error("createrepo_c took longer than {seconds} s for {folder} of snapshot {id}")]
    TimedOut {
        /// The snapshot.
        id: SnapshotId,
        /// The folder.
        folder: String,
        /// The limit.
        seconds: u64,
    },
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] FileError),
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

/// Lays out `<staging>/<snapshot id>/<folder>/{Packages,repodata}` for each of [`manifest::folder_names`], and gives its
/// path. The metadata's revision is the snapshot's time in milliseconds. `timeout` is for each folder's metadata. It may be
/// repeated, also by two processes at once: a complete one is left as it is.
///
/// # Errors
/// [`ComposeError`]; nothing is left under the snapshot's name then.
pub async fn compose(
    staging: &Path,
    artifacts: &Artifacts,
    snapshot: &Snapshot,
    arches: &[Arch],
    timeout: Duration,
) -> Result<PathBuf, ComposeError> {
    let (id, complete) = (snapshot.id, staging.join(snapshot.id.to_string()));
    if complete.is_dir() {
        return Ok(complete);
    }
    let mut folders: BTreeMap<String, Vec<Rpm>> =
        manifest::folder_names(arches).map(|name| (name, Vec::new())).collect();
    for (name, rpms) in snapshot.folders(arches) {
        folders.entry(name).or_default().extend(rpms.into_iter().cloned());
    }
    let (staging, artifacts) = (staging.to_owned(), artifacts.clone());
    let (partial, folders) = blocking(move || {
        let partial = Partial::create(&staging, id)?;
        link_packages(partial.path(), &artifacts, id, &folders)?;
        Ok::<_, ComposeError>((partial, folders))
    })
    .await?;
    let revision = snapshot.created.millis().max(0).to_string();
    for name in folders.keys() {
        create_metadata(&partial.path().join(name), id, name, &revision, timeout).await?;
    }
    blocking(move || {
        manifest::write(partial.path(), id, &folders)?;
        // The packages were flushed when they entered the artifact store.
        sync_tree(partial.path(), &|path| path.extension().is_none_or(|extension| extension != "rpm"))?;
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
    fn create(staging: &Path, id: SnapshotId) -> Result<Self, FileError> {
        ensure_dir(staging)?;
        loop {
            // Another process that starts may take it for a leftover before it is locked, and remove it.
            let partial = Self::create_once(staging, id)?;
            if partial.path().is_dir() {
                return Ok(partial);
            }
        }
    }

    fn create_once(staging: &Path, id: SnapshotId) -> Result<Self, FileError> {
        let prefix = format!("{id}.");
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

fn link_packages(
    root: &Path,
    artifacts: &Artifacts,
    id: SnapshotId,
    folders: &BTreeMap<String, Vec<Rpm>>,
) -> Result<(), ComposeError> {
    for (name, rpms) in folders {
        let folder = root.join(name);
        ensure_dir(&folder)?;
        for rpm in rpms {
            let file = rpm.file.clone();
            if !rpm.nevra.is_sound() || rpm.nevra.file_name() != file {
                return Err(ComposeError::BadFile { id, file });
            }
            let path = folder.join(manifest::package_path(rpm));
            if path.exists() {
                return Err(ComposeError::TwoFiles { id, folder: name.clone(), file });
            }
            if let Some(parent) = path.parent() {
                ensure_dir(parent)?;
            }
            artifacts.link_to(&rpm.digest, &path).map_err(|why| ComposeError::Artifact { id, file, why })?;
        }
    }
    Ok(())
}

async fn create_metadata(
    folder: &Path,
    id: SnapshotId,
    name: &str,
    revision: &str,
    timeout: Duration,
) -> Result<(), ComposeError> {
    let mut command = Command::new("createrepo_c");
    command
        .args(["--quiet", "--no-database", "--checksum", "sha256", "--error-exit-val"])
        // Debian 12's createrepo_c knows no zstd, and every client reads gzip. Names with checksums keep the files of
        // one snapshot apart from those of the next in caches.
        .args(["--general-compress-type", "gz", "--unique-md-filenames"])
        .args(["--revision", revision, "--"])
        .arg(folder)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = match tokio::time::timeout(timeout, command.output()).await {
        Ok(output) => output.at("run createrepo_c in", folder)?,
        Err(_) => {
            let seconds = timeout.as_secs();
            return Err(ComposeError::TimedOut { id, folder: name.to_owned(), seconds });
        }
    };
    if output.status.success() && folder.join("repodata/repomd.xml").is_file() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let said = words.lines().last().unwrap_or("it gave no reason").chars().take(300).collect();
    Err(ComposeError::Createrepo { id, folder: name.to_owned(), said })
}

#[cfg(test)]
mod tests;
