//! One farm for one folder.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow};

/// The file whose lock the farm of this folder holds. The kernel lets go of it whatever becomes of the process.
const LOCK_FILE: &str = "lock";

/// How often, and how far apart, a lock is tried that another holds. A program that was being started just as the other farm
/// ended holds it a moment longer, until it has become that program.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(50);

/// Takes the folder for this process.
pub(super) fn take(data: &Path) -> anyhow::Result<File> {
    let path = data.join(LOCK_FILE);
    let file = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    for _ in 0..TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
            Err(TryLockError::Error(error)) => {
                return Err(anyhow::Error::new(error).context(format!("cannot lock {}", path.display())));
            }
        }
    }
    Err(anyhow!("another grange is running on the data folder {}", data.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_taken_once() {
        let folder = tempfile::tempdir().unwrap();
        let first = take(folder.path()).unwrap();
        assert!(take(folder.path()).unwrap_err().to_string().contains("another grange"));
        drop(first);
        take(folder.path()).unwrap();
    }
}
