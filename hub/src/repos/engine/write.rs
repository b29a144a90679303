//! Writing a repo's `repodata`: what its buckets have, one behind the other, and `repomd.xml` last.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use farm::digest::Digest;
use farm::extras::Extra;
use sha2::{Digest as _, Sha256};

use super::compression::Compression;
use super::members::{Bucket, Document, at_once};
use super::repomd::{self, Record};
use super::{Engine, EngineError, Entry, Written, buckets};
use crate::files::{At as _, FileError};

impl Document {
    /// How it begins, but for the number of packages, and how it ends.
    fn frame(self) -> (&'static str, &'static str) {
        match self {
            Self::Primary => (
                "<metadata xmlns=\"http://linux.duke.edu/metadata/common\" \
                 xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\"",
                "</metadata>",
            ),
            Self::Filelists => {
                ("<filelists xmlns=\"http://linux.duke.edu/metadata/filelists\"", "</filelists>")
            }
            Self::Other => ("<otherdata xmlns=\"http://linux.duke.edu/metadata/other\"", "</otherdata>"),
        }
    }
}

impl Engine {
    /// Writes `<folder>/repodata/` for these packages, and gives what it wrote. Names of files contain their digests, so
    /// equal names are equal files; `repomd.xml` comes last. `revision` is the time in milliseconds. The folder is made;
    /// nothing is flushed to the disk: whoever makes the folder known does that before.
    ///
    /// It reads and compresses: call it on a blocking thread.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn write(
        &self,
        folder: &Path,
        packages: &[Entry],
        extras: &[Extra],
        revision: i64,
        compression: Compression,
    ) -> Result<Vec<Written>, EngineError> {
        let buckets = buckets::cut(packages);
        if let Some(twice) = buckets::called_alike(&buckets) {
            return Err(EngineError::CalledAlike { file: twice.file().to_owned() });
        }
        let repodata = folder.join("repodata");
        fs::create_dir_all(&repodata).at("create the directory", &repodata)?;
        let buckets = self.members.prepare(buckets, compression)?;
        let mut records = at_once(&Document::ALL, |document| {
            self.write_document(&repodata, *document, &buckets, packages.len(), compression)
        })?;
        for extra in extras {
            records.push(self.write_extra(&repodata, extra, compression)?);
        }
        let text = repomd::text(revision, &records);
        let path = repodata.join("repomd.xml");
        fs::write(&path, &text).at("write", &path)?;
        let mut written: Vec<Written> = records.into_iter().map(|record| record.file).collect();
        written.push(Written {
            name: "repomd.xml".to_owned(),
            digest: Digest::of(text.as_bytes()),
            size: text.len() as u64,
        });
        Ok(written)
    }

    fn write_document(
        &self,
        repodata: &Path,
        document: Document,
        buckets: &[Bucket<'_>],
        packages: usize,
        compression: Compression,
    ) -> Result<Record, EngineError> {
        let (kind, (opening, ending)) = (document.as_str(), document.frame());
        let mut output = Output::create(repodata, kind, &format!("{kind}.xml"), compression)?;
        let head =
            format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{opening} packages=\"{packages}\">\n");
        output.compress(&head, compression)?;
        for bucket in buckets {
            let member = self.members.read(bucket, document, compression)?;
            output.append(member.bytes(), member.open_size())?;
        }
        output.compress(ending, compression)?;
        Ok(output.finish()?)
    }

    /// Carries a file through as it is in the artifact store, byte for byte, but for the compression.
    fn write_extra(
        &self,
        repodata: &Path,
        extra: &Extra,
        compression: Compression,
    ) -> Result<Record, EngineError> {
        let name = extra.kind.file_name();
        let unusable = |why| EngineError::Extra { name, why };
        let place = self.store.artifacts().local_now(&extra.digest);
        let place = place.map_err(|error| unusable(io::Error::other(error)))?;
        let bytes = fs::read(place).map_err(unusable)?;
        if Digest::of(&bytes) != extra.digest {
            return Err(unusable(io::Error::other("the artifact store has another file under its digest")));
        }
        let mut output = Output::create(repodata, extra.kind.as_str(), name, compression)?;
        let member = compression.member([bytes.as_slice()]).map_err(unusable)?;
        output.append(&member.bytes, member.open_size)?;
        Ok(output.finish()?)
    }
}

/// A file of metadata at work. It gets its name when its digest is known.
struct Output {
    kind: &'static str,
    /// What stands behind the digest in its name.
    name: String,
    path: PathBuf,
    file: File,
    hasher: Sha256,
    size: u64,
    open_size: u64,
}

impl Output {
    fn create(
        repodata: &Path,
        kind: &'static str,
        name: &str,
        compression: Compression,
    ) -> Result<Self, FileError> {
        let name = format!("{name}.{}", compression.suffix());
        let path = repodata.join(format!(".{name}"));
        let file = File::create(&path).at("create", &path)?;
        Ok(Self { kind, name, path, file, hasher: Sha256::new(), size: 0, open_size: 0 })
    }

    fn compress(&mut self, text: &str, compression: Compression) -> Result<(), FileError> {
        let member = compression.member([text.as_bytes()]).at("compress", &self.path)?;
        self.append(&member.bytes, member.open_size)
    }

    fn append(&mut self, member: &[u8], open_size: u64) -> Result<(), FileError> {
        self.file.write_all(member).at("write", &self.path)?;
        self.hasher.update(member);
        self.size += member.len() as u64;
        self.open_size += open_size;
        Ok(())
    }

    fn finish(self) -> Result<Record, FileError> {
        let digest = Digest::from_bytes(&self.hasher.finalize());
        let name = format!("{digest}-{}", self.name);
        let path = self.path.with_file_name(&name);
        fs::rename(&self.path, &path).at("rename a file to", &path)?;
        let file = Written { name, digest, size: self.size };
        Ok(Record { kind: self.kind, file, open_size: self.open_size })
    }
}
