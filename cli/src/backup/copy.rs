//! Copies folders that others write to meanwhile. Files with several names keep them, so that a copy is no larger than what
//! it is of.

use std::collections::HashMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

/// What was copied.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Copied {
    /// Files, each counted once however many names it has.
    pub(crate) files: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
}

/// Copies these folders and files of `from`, as far as they are there, to `to`.
///
/// # Errors
/// When something cannot be read or written. What vanishes meanwhile is no error: it was being replaced.
pub(super) fn folders(from: &Path, to: &Path, folders: &[&str], files: &[&str]) -> io::Result<Copied> {
    fs::create_dir_all(to)?;
    let mut copy = Copy::default();
    for name in folders {
        copy.anything(&from.join(name), &to.join(name))?;
    }
    for name in files {
        copy.anything(&from.join(name), &to.join(name))?;
    }
    Ok(copy.copied)
}

#[derive(Default)]
struct Copy {
    /// Where a file that has several names was copied first, by device and inode.
    known: HashMap<(u64, u64), PathBuf>,
    copied: Copied,
}

impl Copy {
    fn anything(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        match self.try_anything(from, to) {
            Err(error) if error.kind() == ErrorKind::NotFound && fs::symlink_metadata(from).is_err() => {
                Ok(())
            }
            Err(error) => Err(io::Error::new(error.kind(), format!("{}: {error}", from.display()))),
            Ok(()) => Ok(()),
        }
    }

    fn try_anything(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let meta = fs::symlink_metadata(from)?;
        if meta.is_symlink() {
            return symlink(fs::read_link(from)?, to);
        }
        if meta.is_dir() {
            fs::create_dir(to)?;
            let mut names = Vec::new();
            for entry in fs::read_dir(from)? {
                names.push(entry?.file_name());
            }
            // Of a git repo its refs before its objects, of a tree of repos its snapshots before the pool of their packages:
            // what is named is there by then, and is copied too.
            names.sort_by_key(|name| (name == "objects" || name == "pool", name.clone()));
            for name in names {
                if !is_unfinished(&name.to_string_lossy()) {
                    self.anything(&from.join(&name), &to.join(&name))?;
                }
            }
            return fs::set_permissions(to, meta.permissions());
        }
        if !meta.is_file() {
            return Ok(());
        }
        if meta.nlink() > 1 {
            if let Some(first) = self.known.get(&(meta.dev(), meta.ino())) {
                return fs::hard_link(first, to);
            }
            self.known.insert((meta.dev(), meta.ino()), to.to_owned());
        }
        self.copied.bytes += fs::copy(from, to)?;
        self.copied.files += 1;
        Ok(())
    }
}

/// What a writer has not given its name yet.
fn is_unfinished(name: &str) -> bool {
    name == "tmp" || name.ends_with(".partial") || name.starts_with(".new-") || name.starts_with(".tmp")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_links_and_modes_stay_and_the_unfinished_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("a/sub")).unwrap();
        fs::create_dir_all(from.join("a/x.partial")).unwrap();
        fs::write(from.join("a/one"), "content").unwrap();
        fs::hard_link(from.join("a/one"), from.join("a/sub/two")).unwrap();
        symlink("../one", from.join("a/sub/three")).unwrap();
        fs::write(from.join("secret"), "s").unwrap();
        fs::write(from.join("other"), "o").unwrap();
        let copied = folders(&from, &to, &["a", "b"], &["secret", "none"]).unwrap();
        assert_eq!(copied, Copied { files: 2, bytes: 8 });
        assert_eq!(
            fs::metadata(to.join("a/sub/two")).unwrap().ino(),
            fs::metadata(to.join("a/one")).unwrap().ino()
        );
        assert_eq!(fs::read_to_string(to.join("a/sub/three")).unwrap(), "content");
        assert!(!to.join("a/x.partial").exists() && !to.join("other").exists());
    }
}
