//! Steps on the file system that survive a power cut, with errors that name the path.

use std::borrow::Cow;
use std::fs::{self, File, TryLockError};
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A step on the file system that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} {}: {source}", path.display())]
pub struct FileError {
    /// What was tried, as it reads after "cannot".
    pub doing: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// What the operating system said.
    pub source: io::Error,
}

/// Gives an I/O result the name of what was done to which path.
pub(crate) trait At<T> {
    fn at(self, doing: &'static str, path: &Path) -> Result<T, FileError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, doing: &'static str, path: &Path) -> Result<T, FileError> {
        self.map_err(|source| FileError { doing, path: path.to_owned(), source })
    }
}

/// Runs file or processor work on tokio's blocking threads. A panic of the work goes on in the caller.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The runtime is shutting down and will not poll this task again.
        Err(_) => std::future::pending().await,
    }
}

/// A lock that other threads and other processes respect, until it is dropped.
#[derive(Debug)]
pub(crate) struct FileLock(#[allow(dead_code, reason = "held, not read")] File);

/// Files that are flushed at the same time: the disk takes them together.
const SYNCED_AT_ONCE: usize = 8;

/// Between two looks whether a lock is free.
const LOCK_LOOK: Duration = Duration::from_millis(20);

/// How a lock is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    /// By nobody else.
    Alone,
    /// By others too who hold it so.
    Together,
}

/// Waits for the lock of a file, which is made when there is none, but no longer than `patience`: who holds it may hang.
/// `None` when it was not to be had within that time.
pub(crate) async fn lock_file(
    path: &Path,
    held: Held,
    patience: Duration,
) -> Result<Option<FileLock>, FileError> {
    // To be held together it must be open for reading, and to be held alone for writing, where the disk is another machine's.
    let open = File::options().read(true).write(true).create(true).truncate(false).open(path);
    let file = open.at("open the lock", path)?;
    let begun = Instant::now();
    loop {
        let locked = match held {
            Held::Alone => file.try_lock(),
            Held::Together => file.try_lock_shared(),
        };
        match locked {
            Ok(()) => return Ok(Some(FileLock(file))),
            Err(TryLockError::WouldBlock) if begun.elapsed() >= patience => return Ok(None),
            Err(TryLockError::WouldBlock) => tokio::time::sleep(LOCK_LOOK).await,
            Err(TryLockError::Error(error)) => return Err(error).at("lock", path),
        }
    }
}

/// Creates a directory and its parents; it is no error when they exist.
pub(crate) fn ensure_dir(dir: &Path) -> Result<(), FileError> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent()
        && !parent.as_os_str().is_empty()
    {
        ensure_dir(parent)?;
    }
    match fs::create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        result => result.at("create the directory", dir),
    }?;
    sync_parent(dir)
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), FileError> {
    File::open(dir).and_then(|dir| dir.sync_all()).at("flush the directory", dir)
}

/// Makes the name of this file or directory durable.
pub(crate) fn sync_parent(path: &Path) -> Result<(), FileError> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => sync_dir(Path::new(".")),
        Some(parent) => sync_dir(parent),
        None => Ok(()),
    }
}

/// Makes a directory and everything in it durable. Flushed at the same time, files wait for the disk together.
pub(crate) fn sync_tree(root: &Path) -> Result<(), FileError> {
    let mut all = Vec::new();
    list_tree(root, &mut all)?;
    sync_all(&all)
}

fn list_tree(root: &Path, all: &mut Vec<PathBuf>) -> Result<(), FileError> {
    for entry in fs::read_dir(root).at("list the directory", root)? {
        let entry = entry.at("list the directory", root)?;
        let kind = entry.file_type().at("look at", &entry.path())?;
        if kind.is_dir() {
            list_tree(&entry.path(), all)?;
        } else if kind.is_file() {
            all.push(entry.path());
        }
    }
    all.push(root.to_owned());
    Ok(())
}

/// Makes files and directories durable, several at the same time.
pub(crate) fn sync_all<P: AsRef<Path> + Sync>(paths: &[P]) -> Result<(), FileError> {
    let next = AtomicUsize::new(0);
    let work = || -> Result<(), FileError> {
        while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
            let path = path.as_ref();
            File::open(path).and_then(|file| file.sync_all()).at("flush", path)?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let running: Vec<_> = (0..paths.len().min(SYNCED_AT_ONCE)).map(|_| scope.spawn(work)).collect();
        running.into_iter().try_for_each(|worker| match worker.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })
}

/// Makes `link` a symbolic link to `target`, in one step: a reader sees the old target or the new one, never none.
/// Doing it again changes nothing.
pub(crate) fn swap_link(link: &Path, target: &Path) -> Result<(), FileError> {
    match fs::read_link(link) {
        Ok(now) if now == target => return sync_parent(link),
        Err(error) if error.kind() == io::ErrorKind::NotFound && symlink(target, link).is_ok() => {
            return sync_parent(link);
        }
        Ok(_) | Err(_) => {}
    }
    let temporary = temporary_beside(link);
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).at("remove the leftover", &temporary);
        }
        Ok(()) | Err(_) => {}
    }
    symlink(target, &temporary).at("create the link", &temporary)?;
    tracing::trace!(target: "steps", "{}: the link is made, and not in its place", name_of(link));
    fs::rename(&temporary, link).at("replace the link", link)?;
    sync_parent(link)
}

/// A name in the same directory that is nobody else's: two processes, of two machines even, may be at the same path.
fn temporary_beside(path: &Path) -> PathBuf {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let name = name_of(path);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    let here = RandomState::new().hash_one(count);
    path.with_file_name(format!(".{name}.{}.{here:x}", std::process::id()))
}

fn name_of(path: &Path) -> Cow<'_, str> {
    path.file_name().unwrap_or_default().to_string_lossy()
}

/// Removes what was written beside this path to take its place, by who died before it did. The caller knows that nobody is at
/// it now.
pub(crate) fn remove_beside(path: &Path) -> Result<(), FileError> {
    let (dir, prefix) = (path.parent().unwrap_or(Path::new(".")), format!(".{}.", name_of(path)));
    for entry in fs::read_dir(dir).at("list the directory", dir)? {
        let entry = entry.at("list the directory", dir)?;
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            fs::remove_file(entry.path()).at("remove the leftover", &entry.path())?;
        }
    }
    Ok(())
}

/// Removes a directory and all that is in it; it is no error when there is none.
pub(crate) fn remove_tree(dir: &Path) -> Result<(), FileError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.at("remove the directory", dir),
    }
}

/// Gives a file a second name, or copies it where that is impossible: across file systems, on one without hard
/// links, or when the file has as many names as the file system allows.
pub(crate) fn link_or_copy(from: &Path, to: &Path) -> Result<(), FileError> {
    use io::ErrorKind::{CrossesDevices, PermissionDenied, TooManyLinks, Unsupported};
    match fs::hard_link(from, to) {
        Err(error)
            if matches!(error.kind(), CrossesDevices | PermissionDenied | TooManyLinks | Unsupported) =>
        {
            // Complete before it has its name: whoever finds it need not look what is in it.
            let partial = temporary_beside(to);
            let copied = fs::copy(from, &partial).at("copy a file to", &partial).and_then(|_| {
                File::open(&partial).and_then(|file| file.sync_all()).at("flush", &partial)?;
                fs::rename(&partial, to).at("rename a file to", to)
            });
            if copied.is_err() {
                let _ = fs::remove_file(&partial);
            }
            copied
        }
        result => result.at("link a file to", to),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_swapped_and_swapping_again_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("live");
        for target in ["a", "b", "b"] {
            swap_link(&link, Path::new(target)).unwrap();
            assert_eq!(fs::read_link(&link).unwrap(), Path::new(target));
        }
        symlink("c", dir.path().join(".live.1.2")).unwrap();
        remove_beside(&link).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary link is left");
    }

    #[tokio::test]
    async fn a_lock_is_not_waited_for_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let lock = |held, patience| lock_file(&path, held, patience);
        let held = lock(Held::Alone, Duration::ZERO).await.unwrap();
        assert!(held.is_some());
        for other in [Held::Alone, Held::Together] {
            assert!(lock(other, LOCK_LOOK * 2).await.unwrap().is_none(), "who holds it hangs");
        }
        let (waits, ()) = tokio::join!(lock(Held::Alone, Duration::from_secs(60)), async { drop(held) });
        assert!(waits.unwrap().is_some());
    }

    #[tokio::test]
    async fn some_hold_a_lock_together_and_keep_out_who_wants_it_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let lock = |held| lock_file(&path, held, Duration::ZERO);
        let (one, other) = (lock(Held::Together).await.unwrap(), lock(Held::Together).await.unwrap());
        assert!(one.is_some() && other.is_some());
        drop(one);
        assert!(lock(Held::Alone).await.unwrap().is_none());
        drop(other);
        assert!(lock(Held::Alone).await.unwrap().is_some());
    }

    #[test]
    fn an_error_names_the_path() {
        let error = sync_dir(Path::new("/nonexistent/x")).unwrap_err().to_string();
        assert!(error.starts_with("cannot flush the directory /nonexistent/x: "), "{error}");
    }
}
