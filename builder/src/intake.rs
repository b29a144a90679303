//! Reads the tar stream that came out of a container. A stranger's code may have written every byte of it, so only
//! plain files are let in, under plain names of the kinds the step is there to make, each once. Nothing is unpacked:
//! a file is uploaded from where it lies in the stream.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use farm::digest::Digest;
use sha2::Digest as _;
use tar::EntryType;

use crate::check::is_plain;
use crate::client::Slice;
use crate::halt::{Halt, OrFarm as _};

/// More files than any package has RPMs, and as many as the hub takes.
const MOST_FILES: usize = 4096;
/// More bytes than any file name has; they come as an entry of their own.
const LONGEST_NAME: u64 = 4096;
const BUFFER: usize = 256 * 1024;

/// The files that came out of a container.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outputs {
    stream: PathBuf,
    pub(crate) files: Vec<OutputFile>,
}

/// One of them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OutputFile {
    pub(crate) name: String,
    pub(crate) size: u64,
    pub(crate) digest: Digest,
    offset: u64,
}

impl Outputs {
    /// Reads the stream kept at `stream`; files whose name does not end with one of `kinds` are refused.
    ///
    /// # Errors
    /// [`Halt::Package`] if it is not what it should be.
    pub(crate) async fn read(stream: PathBuf, kinds: &'static [&'static str]) -> Result<Self, Halt> {
        let path = stream.clone();
        let read = tokio::task::spawn_blocking(move || {
            let file = File::open(&path)?;
            if file.metadata()?.len() == 0 {
                return Ok(Ok(Vec::new()));
            }
            Ok(files(BufReader::with_capacity(BUFFER, file), kinds))
        });
        let read: io::Result<_> = read.await.or_farm("read what came out of a container")?;
        let files = read.or_farm("read what came out of a container")?;
        Ok(Self {
            stream,
            files: files.map_err(|why| Halt::Package(format!("the files it made were refused: {why}")))?,
        })
    }

    /// Where a file's bytes are.
    pub(crate) fn slice(&self, file: &OutputFile) -> Slice<'_> {
        Slice { file: &self.stream, offset: file.offset, size: file.size }
    }

    /// Copies a file out of the stream, to a place of the builder's choice.
    pub(crate) async fn extract(&self, file: &OutputFile, place: &Path) -> io::Result<()> {
        let (stream, place) = (self.stream.clone(), place.to_owned());
        let (offset, size) = (file.offset, file.size);
        let copied = tokio::task::spawn_blocking(move || {
            let mut from = section(&stream, offset, size)?;
            io::copy(&mut from, &mut File::create(place)?).map(drop)
        });
        copied.await.map_err(io::Error::other)?
    }

    /// Frees the disk.
    pub(crate) fn discard(self) -> io::Result<()> {
        std::fs::remove_file(self.stream)
    }

    /// The text of a file, as far as `limit` bytes.
    pub(crate) fn text(&self, file: &OutputFile, limit: u64) -> io::Result<String> {
        let mut bytes = Vec::new();
        section(&self.stream, file.offset, file.size.min(limit))?.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

fn section(stream: &Path, offset: u64, size: u64) -> io::Result<impl Read> {
    let mut file = File::open(stream)?;
    io::Seek::seek(&mut file, io::SeekFrom::Start(offset))?;
    Ok(file.take(size))
}

fn files(stream: impl Read, kinds: &[&str]) -> Result<Vec<OutputFile>, String> {
    let unreadable = |error: io::Error| format!("the archive of them is damaged: {error}");
    let mut archive = tar::Archive::new(stream);
    let (mut files, mut names) = (Vec::new(), BTreeSet::new());
    let mut long_name = None;
    // Raw entries: the ordinary ones would believe whatever an extension header says about names and sizes, and read
    // it into memory first.
    for entry in archive.entries().map_err(unreadable)?.raw(true) {
        let mut entry = entry.map_err(unreadable)?;
        let kind = entry.header().entry_type();
        if kind == EntryType::GNULongName && entry.size() <= LONGEST_NAME && long_name.is_none() {
            let mut name = Vec::new();
            entry.read_to_end(&mut name).map_err(unreadable)?;
            long_name = Some(name);
            continue;
        }
        let name = long_name.take().unwrap_or_else(|| entry.header().path_bytes().into_owned());
        let name = String::from_utf8_lossy(&name).trim_end_matches('\0').to_owned();
        if kind != EntryType::Regular {
            return Err(format!("{name:?} is not a regular file"));
        }
        if !is_plain(&name) || !kinds.iter().any(|kind| name.ends_with(kind)) {
            return Err(format!("{name:?} is not the name of a file this step makes"));
        }
        if !names.insert(name.clone()) {
            return Err(format!("{name:?} is there twice"));
        }
        if names.len() > MOST_FILES {
            return Err(format!("there are more than {MOST_FILES}"));
        }
        let (offset, announced) = (entry.raw_file_position(), entry.size());
        let (digest, size) = digest(&mut entry).map_err(unreadable)?;
        if size != announced {
            return Err(format!("{name:?} is cut off"));
        }
        files.push(OutputFile { name, size, digest, offset });
    }
    Ok(files)
}

fn digest(content: &mut impl Read) -> io::Result<(Digest, u64)> {
    let (mut hasher, mut size) = (sha2::Sha256::new(), 0);
    let mut buffer = vec![0; BUFFER];
    loop {
        match content.read(&mut buffer)? {
            0 => return Ok((Digest::from_bytes(&hasher.finalize()), size)),
            count => {
                hasher.update(&buffer[..count]);
                size += count as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(entries: &[(&str, EntryType, &[u8])]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for (name, kind, content) in entries {
            let mut header = tar::Header::new_gnu();
            // Written by hand, because the library refuses to write what the test is about.
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_size(content.len() as u64);
            header.set_cksum();
            archive.append(&header, *content).unwrap();
        }
        archive.into_inner().unwrap()
    }

    fn read(stream: &[u8]) -> Result<Vec<OutputFile>, String> {
        files(stream, &[".rpm", ".xml"])
    }

    #[tokio::test]
    async fn plain_files_come_in_where_they_lie() {
        let long = format!("{}.rpm", "long".repeat(40));
        let mut builder = tar::Builder::new(Vec::new());
        for (name, content) in [("a.rpm", "first"), (long.as_str(), "second"), ("c.xml", "")] {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            builder.append_data(&mut header, name, content.as_bytes()).unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        let stream = folder.path().join("out.tar");
        std::fs::write(&stream, builder.into_inner().unwrap()).unwrap();

        let outputs = Outputs::read(stream, &[".rpm", ".xml"]).await.unwrap();
        let names: Vec<&str> = outputs.files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["a.rpm", &long, "c.xml"]);
        let second = &outputs.files[1];
        assert_eq!((second.size, &second.digest), (6, &Digest::of(b"second")));
        assert_eq!(outputs.text(second, 100).unwrap(), "second");
        outputs.extract(second, &folder.path().join("copy")).await.unwrap();
        assert_eq!(std::fs::read(folder.path().join("copy")).unwrap(), b"second");
    }

    #[tokio::test]
    async fn nothing_at_all_is_no_file_and_noise_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let stream = folder.path().join("out.tar");
        std::fs::write(&stream, b"").unwrap();
        assert_eq!(Outputs::read(stream.clone(), &[".rpm"]).await.unwrap().files, []);
        std::fs::write(&stream, [b'x'; 700]).unwrap();
        let refused = Outputs::read(stream, &[".rpm"]).await;
        assert!(matches!(refused, Err(Halt::Package(why)) if why.contains("damaged")));
    }

    #[test]
    fn whatever_is_not_a_plain_file_of_a_known_kind_is_refused() {
        for (name, kind, complaint) in [
            ("../../etc/cron.d/x.rpm", EntryType::Regular, "not the name"),
            ("/etc/x.rpm", EntryType::Regular, "not the name"),
            ("sub/x.rpm", EntryType::Regular, "not the name"),
            ("-x.rpm", EntryType::Regular, "not the name"),
            ("passwd", EntryType::Regular, "not the name"),
            ("x.rpm", EntryType::Symlink, "not a regular file"),
            ("x.rpm", EntryType::Link, "not a regular file"),
            ("x.rpm", EntryType::Char, "not a regular file"),
            ("x.rpm", EntryType::Directory, "not a regular file"),
            ("x.rpm", EntryType::GNUSparse, "not a regular file"),
            ("x.rpm", EntryType::XHeader, "not a regular file"),
        ] {
            let why = read(&archive(&[(name, kind, b"x")])).unwrap_err();
            assert!(why.contains(complaint), "{name} {kind:?}: {why}");
        }
    }

    #[test]
    fn doubles_and_cut_off_streams_are_refused() {
        let twice = archive(&[("a.rpm", EntryType::Regular, b"x"), ("a.rpm", EntryType::Regular, b"y")]);
        assert!(read(&twice).unwrap_err().contains("twice"));
        let whole = archive(&[("a.rpm", EntryType::Regular, &[7; 2000])]);
        let cut = read(&whole[..1200]).unwrap_err();
        assert!(cut.contains("cut off") || cut.contains("damaged"), "{cut}");
        let huge_name = archive(&[("././@LongLink", EntryType::GNULongName, &[b'a'; 9000])]);
        assert!(read(&huge_name).unwrap_err().contains("not a regular file"));
    }
}
