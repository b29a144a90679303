//! Compilers' results that builds left for later ones: a ccache for each target and architecture, as the tar that came out
//! of the build that was the last to have something new.
//!
//! # With whom it is shared
//! Whoever compiles something decides what is found here under its name, so a cache is what a circle of builds that trust one
//! another has, and nobody else: the builds of one target on one architecture ([`farm::recipe::Recipe::ccache_mb`]), scratch
//! builds not among them. It never leaves this machine.
//!
//! # What is on disk
//! `<target>.<arch>.tar` comes into being by a rename once [`archive::check`] has read all of it. Builds get a hard link, which
//! they can only read: of two that leave something at a time the last wins. The time of the file is when it was used last.

pub(crate) mod archive;

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use farm::arch::Arch;

use crate::intake::{OutputFile, Outputs};

/// The caches of one builder.
#[derive(Debug)]
pub(crate) struct Ccaches {
    folder: PathBuf,
    limit: u64,
}

/// Why a build's cache was not kept. The one from before stays.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotKept {
    /// It is not what a ccache consists of.
    #[error("it was refused: {0}")]
    Refused(String),
    /// It is larger than all caches of this builder may be.
    #[error("it has {size} bytes, and this builder keeps {limit} of all targets")]
    TooLarge { size: u64, limit: u64 },
    /// The builder's disk.
    #[error("the builder cannot write it: {0}")]
    Disk(#[from] io::Error),
}

impl Ccaches {
    /// Opens what is kept in `folder`, which is made if it is not there, and lets all of it take `limit` bytes; nothing is
    /// kept or given out if that is 0.
    pub(crate) fn open(folder: PathBuf, limit: u64) -> io::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            // An earlier life ended while it wrote.
            if path.extension().is_none_or(|kind| kind != "tar") {
                std::fs::remove_file(path)?;
            }
        }
        let caches = Self { folder, limit };
        caches.make_room()?;
        Ok(caches)
    }

    /// Is anything kept at all?
    pub(crate) fn are_kept(&self) -> bool {
        self.limit > 0
    }

    /// Puts what is kept of a target at `place`, which must be free; `None` if there is nothing, or its bytes.
    pub(crate) fn lend(&self, target: &str, arch: Arch, place: &Path) -> io::Result<Option<u64>> {
        match std::fs::hard_link(self.path(target, arch), place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
            Ok(()) => {
                let touched = File::options()
                    .append(true)
                    .open(place)
                    .and_then(|file| file.set_modified(SystemTime::now()));
                if let Err(error) = touched {
                    tracing::warn!(place = %place.display(), %error, "cannot note that a ccache was used");
                }
                Ok(Some(std::fs::metadata(place)?.len()))
            }
        }
    }

    /// Keeps what a build of a target left, at most `most` bytes of it, instead of what was kept before.
    pub(crate) async fn keep(
        &self,
        target: &str,
        arch: Arch,
        most: u64,
        (outputs, file): (&Outputs, &OutputFile),
    ) -> Result<(), NotKept> {
        if file.size > self.limit {
            return Err(NotKept::TooLarge { size: file.size, limit: self.limit });
        }
        if file.size > most {
            return Err(NotKept::Refused(format!("it has {} bytes, more than {most}", file.size)));
        }
        let fresh = tempfile::Builder::new().prefix("writing-").tempfile_in(&self.folder)?;
        outputs.extract(file, fresh.path()).await?;
        let path = fresh.path().to_owned();
        let checked = tokio::task::spawn_blocking(move || archive::check(File::open(path)?)).await;
        checked.map_err(io::Error::other)??.map_err(NotKept::Refused)?;
        // The container's user must be able to read it.
        fresh.as_file().set_permissions(Permissions::from_mode(0o644))?;
        fresh.as_file().set_modified(SystemTime::now())?;
        fresh.persist(self.path(target, arch)).map_err(|error| error.error)?;
        Ok(self.make_room()?)
    }

    /// Removes the caches that were not used for longest until the rest fits.
    fn make_room(&self) -> io::Result<()> {
        let mut all = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            let facts = entry.metadata()?;
            if entry.path().extension().is_some_and(|kind| kind == "tar") {
                all.push((facts.modified()?, entry.path(), facts.len()));
            }
        }
        all.sort();
        let mut total: u64 = all.iter().map(|(.., size)| size).sum();
        for (_, path, size) in all {
            if total <= self.limit {
                break;
            }
            tracing::info!(file = %path.display(), "a ccache makes room for others");
            match std::fs::remove_file(path) {
                // Somebody else made room at the same time.
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => total -= size,
            }
        }
        Ok(())
    }

    fn path(&self, target: &str, arch: Arch) -> PathBuf {
        self.folder.join(format!("{target}.{arch}.tar"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const X86: Arch = Arch::X86_64;
    const MIB: u64 = 1024 * 1024;

    /// What a container put out: its only file is this.
    async fn outputs(folder: &Path, content: &[u8]) -> Outputs {
        let mut outer = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        outer.append_data(&mut header, "ccache.tar", content).unwrap();
        let stream = folder.join("out.tar");
        std::fs::write(&stream, outer.into_inner().unwrap()).unwrap();
        Outputs::read(stream, &[".tar"]).await.unwrap()
    }

    async fn keep(caches: &Ccaches, folder: &Path, target: &str, content: &[u8]) -> Result<(), NotKept> {
        let outputs = outputs(folder, content).await;
        caches.keep(target, X86, MIB, (&outputs, &outputs.files[0])).await
    }

    fn lent(caches: &Ccaches, folder: &Path, target: &str, arch: Arch) -> Option<Vec<u8>> {
        let place = folder.join("lent");
        let size = caches.lend(target, arch, &place).unwrap()?;
        let content = std::fs::read(&place).unwrap();
        std::fs::remove_file(place).unwrap();
        assert_eq!(size, content.len() as u64);
        Some(content)
    }

    #[tokio::test]
    async fn one_cache_for_each_target_and_architecture_and_the_one_used_last_stays() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        let (one, two) = (archive::sample(&[("0/1/aR", b"one")]), archive::sample(&[("0/1/aR", b"two")]));
        let limit = 2 * one.len() as u64;
        let caches = Ccaches::open(at.join("ccache"), limit).unwrap();
        keep(&caches, at, "a", &one).await.unwrap();
        assert_eq!(lent(&caches, at, "a", X86), Some(one.clone()));
        assert_eq!(lent(&caches, at, "a", Arch::S390x), None);
        assert_eq!(lent(&caches, at, "b", X86), None);
        keep(&caches, at, "b", &one).await.unwrap();
        keep(&caches, at, "a", &two).await.unwrap();

        std::fs::write(at.join("ccache/writing-x"), "half").unwrap();
        let caches = Ccaches::open(at.join("ccache"), limit).unwrap();
        assert!(!at.join("ccache/writing-x").exists());
        assert_eq!(lent(&caches, at, "a", X86), Some(two), "the last wins");
        keep(&caches, at, "c", &one).await.unwrap();
        assert_eq!(lent(&caches, at, "b", X86), None, "it was not used for longest");
        assert!(lent(&caches, at, "a", X86).is_some() && lent(&caches, at, "c", X86).is_some());
        let emptied = Ccaches::open(at.join("ccache"), 0).unwrap();
        assert!(!emptied.are_kept() && lent(&emptied, at, "a", X86).is_none());
    }

    #[tokio::test]
    async fn what_is_refused_leaves_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        let caches = Ccaches::open(at.join("ccache"), 2 * MIB).unwrap();
        let good = archive::sample(&[("0/1/aR", b"one")]);
        keep(&caches, at, "a", &good).await.unwrap();
        let cases = [
            (vec![0; 3 * MIB as usize], "keeps"),
            (vec![0; MIB as usize + 1], "more than"),
            (vec![7; 700], "refused"),
        ];
        for (bad, complaint) in cases {
            let why = keep(&caches, at, "a", &bad).await.unwrap_err().to_string();
            assert!(why.contains(complaint), "{why}");
            assert_eq!(lent(&caches, at, "a", X86), Some(good.clone()));
        }
        assert_eq!(std::fs::read_dir(at.join("ccache")).unwrap().count(), 1, "nothing half-written is left");
    }
}
