//! Manifests in memory: a builder that lays out a repo asks for one file after the other.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use farm::ids::SnapshotId;

use super::{Listing, ManifestError, file_of};

/// Bytes all of them may take; the latest one stays whatever it takes.
const LARGEST: usize = 32 * 1024 * 1024;

/// The manifests that were read lately. A snapshot never changes, so what was read stays true.
#[derive(Debug, Default)]
pub struct Cache(Mutex<Vec<(PathBuf, Arc<Listing>)>>);

impl Cache {
    /// The manifest of one folder of the snapshot in `snapshot`. It may read a file: call it on a blocking thread.
    ///
    /// # Errors
    /// [`ManifestError`].
    pub fn get(&self, snapshot: &Path, id: SnapshotId, folder: &str) -> Result<Arc<Listing>, ManifestError> {
        let key = file_of(snapshot, folder);
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let mut kept = lock();
            if let Some(position) = kept.iter().position(|(path, _)| *path == key) {
                let found = kept.remove(position);
                let listing = found.1.clone();
                kept.push(found);
                return Ok(listing);
            }
        }
        let listing = Arc::new(Listing::read(snapshot, id, folder)?);
        let mut kept = lock();
        kept.retain(|(path, _)| *path != key);
        kept.push((key, listing.clone()));
        while kept.len() > 1 && kept.iter().map(|(_, listing)| listing.weight()).sum::<usize>() > LARGEST {
            kept.remove(0);
        }
        Ok(listing)
    }
}

#[cfg(test)]
mod tests {
    use farm::ids::Minter;
    use farm::stamp::Stamp;

    use super::*;
    use crate::repos::engine::Written;
    use crate::repos::manifest;

    #[test]
    fn what_is_asked_for_again_is_not_read_again_and_the_oldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        let mut minter = Minter::new(1);
        let name = "x".repeat(LARGEST / 2);
        let written = Written { name, digest: farm::digest::Digest::of(b""), size: 0 };
        let cache = Cache::default();
        let snapshots: Vec<_> = (0..3)
            .map(|number| {
                let (place, id) = (dir.path().join(number.to_string()), minter.mint(Stamp::ZERO));
                manifest::write(&place, id, "source", "", std::slice::from_ref(&written)).unwrap();
                (place, id)
            })
            .collect();
        let read = |(place, id): &(PathBuf, SnapshotId)| cache.get(place, *id, "source");
        read(&snapshots[0]).unwrap();
        std::fs::remove_dir_all(&snapshots[0].0).unwrap();
        read(&snapshots[0]).unwrap();
        read(&snapshots[1]).unwrap();
        read(&snapshots[2]).unwrap();
        assert!(matches!(read(&snapshots[0]), Err(ManifestError::NoFolder { .. })), "it has gone");
        assert_eq!(cache.0.lock().unwrap().len(), 1);
    }
}
