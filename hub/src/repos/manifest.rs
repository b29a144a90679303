//! What a snapshot's folder consists of, file by file, so that a builder can fetch and check it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use farm::arch::Arch;
use farm::digest::Digest;
use farm::ids::SnapshotId;
use farm::message::{Manifest, ManifestFile};
use farm::snapshot::Rpm;

use crate::files::{At as _, FileError};
use crate::lookaside::hash_all;

/// The folder of a snapshot that has the manifests of the others.
const MANIFESTS: &str = "manifests";

/// Why there is no manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// A snapshot has no such folder.
    #[error("snapshot {id} has no folder `{folder}`")]
    NoFolder {
        /// The snapshot.
        id: SnapshotId,
        /// The folder.
        folder: String,
    },
    /// The file with it cannot be understood.
    #[error("the manifest {} cannot be read: {why}", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// Why.
        why: serde_json::Error,
    },
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] FileError),
}

/// The folders of every snapshot for these architectures: `x86_64`, `debug-x86_64`, …, `source`.
pub fn folder_names(arches: &[Arch]) -> impl Iterator<Item = String> {
    let both = arches.iter().flat_map(|arch| [arch.to_string(), format!("debug-{arch}")]);
    both.chain(["source".to_owned()])
}

/// Is this the name of a folder some snapshot could have?
#[must_use]
pub fn is_folder(text: &str) -> bool {
    folder_names(&Arch::ALL).any(|name| name == text)
}

/// Where an RPM is below its folder: `Packages/h/hello-….rpm`.
#[must_use]
pub fn package_path(rpm: &Rpm) -> String {
    let letter = rpm.file.chars().next().unwrap_or('_').to_ascii_lowercase();
    format!("Packages/{letter}/{}", rpm.file)
}

/// Where a file of a snapshot is on the disk. `None` when the folder or the path is none a snapshot could have, so that
/// what a stranger asks for stays within the snapshot.
#[must_use]
pub fn file_in(snapshot: &Path, folder: &str, path: &str) -> Option<PathBuf> {
    let mut parts = Path::new(path).components().peekable();
    let sound = parts.peek().is_some() && parts.all(|part| matches!(part, Component::Normal(_)));
    (is_folder(folder) && sound).then(|| snapshot.join(folder).join(path))
}

/// The manifest of one folder of the snapshot in `snapshot`, as [`write`] left it.
///
/// # Errors
/// [`ManifestError`].
pub fn read(snapshot: &Path, id: SnapshotId, folder: &str) -> Result<Manifest, ManifestError> {
    let missing = || ManifestError::NoFolder { id, folder: folder.chars().take(64).collect() };
    if !is_folder(folder) {
        return Err(missing());
    }
    let path = snapshot.join(MANIFESTS).join(format!("{folder}.json"));
    match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|why| ManifestError::Broken { path, why }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(missing()),
        Err(error) => Ok(Err(error).at("read", &path)?),
    }
}

/// Writes the manifests of all folders into a snapshot being composed. RPMs are known; the metadata is hashed.
pub(super) fn write(
    snapshot: &Path,
    id: SnapshotId,
    folders: &BTreeMap<String, Vec<Rpm>>,
) -> Result<(), FileError> {
    let manifests = snapshot.join(MANIFESTS);
    fs::create_dir(&manifests).at("create the directory", &manifests)?;
    for (folder, rpms) in folders {
        let mut files: Vec<ManifestFile> = rpms
            .iter()
            .map(|rpm| ManifestFile { path: package_path(rpm), digest: rpm.digest.clone(), size: rpm.size })
            .collect();
        let repodata = snapshot.join(folder).join("repodata");
        for entry in fs::read_dir(&repodata).at("list the directory", &repodata)? {
            let entry = entry.at("list the directory", &repodata)?;
            let (digest, size) = digest_of(&entry.path())?;
            files.push(ManifestFile {
                path: format!("repodata/{}", entry.file_name().to_string_lossy()),
                digest,
                size,
            });
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let path = manifests.join(format!("{folder}.json"));
        let bytes = serde_json::to_vec(&Manifest { id, files }).map_err(std::io::Error::other);
        bytes.and_then(|bytes| fs::write(&path, bytes)).at("write", &path)?;
    }
    Ok(())
}

fn digest_of(path: &Path) -> Result<(Digest, u64), FileError> {
    hash_all(path).map(|hashes| (hashes.sha256, hashes.size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stranger_asks_for_stays_within_the_snapshot() {
        let root = Path::new("/s");
        let inside = Some(PathBuf::from("/s/x86_64/repodata/repomd.xml"));
        assert_eq!(file_in(root, "x86_64", "repodata/repomd.xml"), inside);
        assert!(file_in(root, "debug-aarch64", "Packages/h/hello.rpm").is_some());
        for (folder, path) in [
            ("x86_64", "../../etc/passwd"),
            ("x86_64", "/etc/passwd"),
            ("x86_64", ""),
            ("x86_64", "./x"),
            ("x86_64", "a/../../x"),
            ("..", "x"),
            ("manifests", "x86_64.json"),
        ] {
            assert_eq!(file_in(root, folder, path), None, "{folder} {path}");
        }
    }
}
