//! What a source package says it needs, read from its header: enough to tell whether two need the same.
//!
//! This is no reader for packages. It looks at six tags, trusts no number in the file, and where it does not
//! understand something it says so, which costs a build nothing but a root made anew.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use farm::digest::Digest;

/// Size of the lead, the part before the signature header.
const LEAD: u64 = 96;
/// What every header begins with, and four bytes that say nothing.
const MAGIC: [u8; 4] = [0x8e, 0xad, 0xe8, 0x01];
const INTRODUCTION: usize = 16;
/// Bytes of an entry in a header's index.
const ENTRY: usize = 16;
/// Entries and bytes a header may have: more than any source package's has.
const MOST_ENTRIES: usize = 64 * 1024;
const LARGEST: usize = 64 * 1024 * 1024;

const REQUIRE_NAME: u32 = 1049;
/// `Requires` and `Conflicts`: names, flags and versions.
const TAGS: [u32; 6] = [1048, REQUIRE_NAME, 1050, 1053, 1054, 1055];
const INT32: u32 = 4;
const STRING_ARRAY: u32 = 8;

/// What a source package, or the list a build made of its own needs, asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Needs {
    /// Over everything it requires and conflicts with, and nothing else.
    pub(crate) digest: Digest,
    /// The names of what it requires.
    pub(crate) names: HashSet<String>,
}

impl Needs {
    /// Reads them from the package at `path`.
    ///
    /// # Errors
    /// If the file cannot be read, or is not understood.
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        let mut file = BufReader::new(File::open(path)?);
        io::copy(&mut (&mut file).take(LEAD), &mut io::sink())?;
        let (entries, size) = introduction(&mut file)?;
        let signature = (entries * ENTRY + size) as u64;
        // The header behind the signature begins at a multiple of eight.
        let padding = (8 - size % 8) % 8;
        io::copy(&mut (&mut file).take(signature + padding as u64), &mut io::sink())?;
        let (entries, size) = introduction(&mut file)?;
        let mut index = vec![0; entries * ENTRY];
        file.read_exact(&mut index)?;
        let mut store = vec![0; size];
        file.read_exact(&mut store)?;
        needs(&index, &store)
    }
}

/// How many entries the index has, and how many bytes the store behind it.
fn introduction(file: &mut impl Read) -> io::Result<(usize, usize)> {
    let mut bytes = [0; INTRODUCTION];
    file.read_exact(&mut bytes)?;
    let (entries, size) = (number(&bytes, 8)? as usize, number(&bytes, 12)? as usize);
    if !bytes.starts_with(&MAGIC) || entries > MOST_ENTRIES || size > LARGEST {
        return Err(strange());
    }
    Ok((entries, size))
}

fn needs(index: &[u8], store: &[u8]) -> io::Result<Needs> {
    let mut found = Vec::new();
    let mut names = HashSet::new();
    for entry in index.chunks_exact(ENTRY) {
        let tag = number(entry, 0)?;
        if !TAGS.contains(&tag) {
            continue;
        }
        let (kind, offset, count) =
            (number(entry, 4)?, number(entry, 8)? as usize, number(entry, 12)? as usize);
        let from = store.get(offset..).ok_or_else(strange)?;
        let bytes = match kind {
            INT32 => from.get(..count.checked_mul(4).ok_or_else(strange)?).ok_or_else(strange)?,
            STRING_ARRAY => strings(from, count).ok_or_else(strange)?,
            _ => return Err(strange()),
        };
        if tag == REQUIRE_NAME {
            let parts = bytes.split(|byte| *byte == 0).filter(|name| !name.is_empty());
            names.extend(parts.map(|name| String::from_utf8_lossy(name).into_owned()));
        }
        found.push((tag, bytes));
    }
    found.sort();
    let mut hasher = Sha256::new();
    for (tag, bytes) in found {
        hasher.update(tag.to_be_bytes());
        hasher.update((bytes.len() as u64).to_be_bytes());
        hasher.update(bytes);
    }
    Ok(Needs { digest: Digest::from_bytes(&hasher.finalize()), names })
}

/// So many strings, each with the zero behind it.
fn strings(from: &[u8], count: usize) -> Option<&[u8]> {
    let mut end = 0;
    for _ in 0..count {
        end += from.get(end..)?.iter().position(|byte| *byte == 0)? + 1;
    }
    from.get(..end)
}

fn number(bytes: &[u8], at: usize) -> io::Result<u32> {
    let four = bytes.get(at..at + 4).and_then(|four| <[u8; 4]>::try_from(four).ok());
    four.map(u32::from_be_bytes).ok_or_else(strange)
}

fn strange() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it is not a package whose header is understood")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A package of these tags and nothing else.
    fn package(tags: &[(u32, u32, u32, &[u8])]) -> tempfile::NamedTempFile {
        let mut index = Vec::new();
        let mut store = Vec::new();
        for (tag, kind, count, bytes) in tags {
            for number in [*tag, *kind, store.len() as u32, *count] {
                index.extend(number.to_be_bytes());
            }
            store.extend_from_slice(bytes);
        }
        let header = |index: &[u8], store: &[u8]| {
            let mut bytes = [MAGIC.as_slice(), &[0; 4]].concat();
            bytes.extend(((index.len() / ENTRY) as u32).to_be_bytes());
            bytes.extend((store.len() as u32).to_be_bytes());
            [&bytes, index, store].concat()
        };
        let signature = header(&[], b"abc");
        let bytes = [[0; 96].as_slice(), &signature, &[0; 5], &header(&index, &store), b"payload"].concat();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        file
    }

    fn read(tags: &[(u32, u32, u32, &[u8])]) -> io::Result<Needs> {
        Needs::read(package(tags).path())
    }

    #[test]
    fn another_release_needs_the_same_and_another_version_of_a_need_does_not() {
        let needs = |release: &'static [u8], version: &'static [u8]| {
            read(&[
                (1002, STRING_ARRAY, 1, release),
                (REQUIRE_NAME, STRING_ARRAY, 2, b"gcc\0zlib-devel\0"),
                (1048, INT32, 2, &[0, 0, 0, 0, 0, 0, 0, 12]),
                (1050, STRING_ARRAY, 2, version),
            ])
            .unwrap()
        };
        let first = needs(b"1\0", b"\x001.2\0");
        assert_eq!(first, needs(b"2\0", b"\x001.2\0"));
        assert_ne!(first.digest, needs(b"1\0", b"\x001.3\0").digest);
        assert_eq!(first.names, ["gcc", "zlib-devel"].map(str::to_owned).into());
        assert_ne!(first.digest, read(&[]).unwrap().digest);
    }

    #[test]
    fn what_is_no_package_is_not_understood_and_does_no_harm() {
        for (kind, count, bytes) in [
            (INT32, u32::MAX, b"x".as_slice()),
            (STRING_ARRAY, u32::MAX, b"x\0"),
            (STRING_ARRAY, 1, b"no end"),
            (6, 1, b"x\0"),
        ] {
            assert!(read(&[(REQUIRE_NAME, kind, count, bytes)]).is_err(), "{kind} {count}");
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        for bytes in [b"".as_slice(), &[0xff; 200], &[0; 4000]] {
            std::fs::write(file.path(), bytes).unwrap();
            assert!(Needs::read(file.path()).is_err());
        }
    }
}
