//! Keeping a file from outside, if it is what its repo says it is.

use std::io::{self, Write as _};
use std::path::Path;

use farm::digest::hex;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use crate::closure::repomd::Index;

/// Bytes of an index as it is fetched.
const LARGEST_INDEX: u64 = 1 << 30;

/// A file that is written and summed up.
pub(super) struct Sink {
    file: tempfile::NamedTempFile,
    sum: Sum,
    expected: Index,
    size: u64,
}

enum Sum {
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
}

impl Sink {
    /// A sink for an index, in the folder in which it will be kept.
    pub(super) fn new(shelf: &Path, index: &Index) -> io::Result<Self> {
        let sum = match index.kind.as_str() {
            "sha256" => Sum::Sha256(Sha256::new()),
            "sha384" => Sum::Sha384(Sha384::new()),
            "sha512" => Sum::Sha512(Sha512::new()),
            other => {
                return Err(io::Error::other(format!(
                    "its repomd.xml has checksums of a kind not trusted: {other:.20}"
                )));
            }
        };
        bounded(index.size.unwrap_or(0), LARGEST_INDEX)?;
        let file = tempfile::NamedTempFile::new_in(shelf)?;
        Ok(Self { file, sum, expected: index.clone(), size: 0 })
    }

    /// Takes a part, unless that makes it larger than it may be.
    pub(super) fn write(&mut self, part: &[u8]) -> io::Result<()> {
        self.size += part.len() as u64;
        bounded(self.size, self.expected.size.unwrap_or(LARGEST_INDEX))?;
        match &mut self.sum {
            Sum::Sha256(sum) => sum.update(part),
            Sum::Sha384(sum) => sum.update(part),
            Sum::Sha512(sum) => sum.update(part),
        }
        self.file.write_all(part)
    }

    /// Keeps the file, if it is what it should be.
    pub(super) fn finish(self, kept: &Path) -> io::Result<()> {
        let sum = match self.sum {
            Sum::Sha256(sum) => hex(&sum.finalize()),
            Sum::Sha384(sum) => hex(&sum.finalize()),
            Sum::Sha512(sum) => hex(&sum.finalize()),
        };
        if sum != self.expected.checksum {
            let what = format!(
                "{} is not what repomd.xml says; it may have changed in this moment",
                self.expected.href
            );
            return Err(io::Error::other(what));
        }
        self.file.as_file().sync_all()?;
        self.file.persist(kept).map_err(|error| error.error)?;
        Ok(())
    }
}

/// Refuses what is larger.
pub(super) fn bounded(size: u64, limit: u64) -> io::Result<()> {
    if size <= limit { Ok(()) } else { Err(io::Error::other("a file of it is larger than it may be")) }
}
