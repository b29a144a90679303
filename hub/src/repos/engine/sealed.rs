//! Files the engine keeps for itself and can make again at any time: several parts in one file, sealed with a checksum.
//!
//! They are not flushed to the disk. What a power cut leaves of one does not pass for whole: it is made again.

use std::fs::{self, File, Metadata};
use std::io::{self, Read as _, Write as _};
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, SystemTime};

use flate2::Crc;
use tempfile::NamedTempFile;

use crate::files::{At as _, FileError};

/// What the first line begins with. The number is raised when what is in such files changes.
const FORMAT: &str = "grange-sealed 1";
/// How old a file's time may be when it is used.
const TOLD_USED: Duration = Duration::from_secs(24 * 3600);
/// More bytes than a first line has.
const LONGEST_LINE: usize = 256;

/// A file that was read and found whole.
pub(super) struct Sealed {
    bytes: Vec<u8>,
    parts: Vec<Range<usize>>,
}

impl Sealed {
    /// One of its parts; empty when there are fewer.
    pub(super) fn part(&self, which: usize) -> &[u8] {
        self.parts.get(which).and_then(|range| self.bytes.get(range.clone())).unwrap_or_default()
    }
}

/// Reads a file of this many parts; `None` when there is none, or what is there is not whole.
///
/// # Errors
/// When the disk fails.
pub(super) fn read(path: &Path, parts: usize) -> Result<Option<Sealed>, FileError> {
    match read_used(path) {
        Ok(bytes) => Ok(open(bytes).filter(|sealed| sealed.parts.len() == parts)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).at("read", path),
    }
}

/// The bytes of a file; its time says, to the day, when it was last used.
fn read_used(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let meta = file.metadata()?;
    if unused(&meta) > TOLD_USED {
        file.set_modified(SystemTime::now())?;
    }
    let mut bytes = Vec::with_capacity(usize::try_from(meta.len()).unwrap_or(0));
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// How long a file was not used, give or take a day; `None` when there is none.
pub(super) fn unused_for(path: &Path) -> Option<Duration> {
    path.metadata().ok().as_ref().map(unused)
}

fn unused(meta: &Metadata) -> Duration {
    meta.modified().ok().and_then(|at| SystemTime::now().duration_since(at).ok()).unwrap_or_default()
}

/// Writes a file, all of it or nothing.
///
/// # Errors
/// When the disk refuses.
pub(super) fn write(path: &Path, parts: &[&[u8]]) -> Result<(), FileError> {
    let folder = path.parent().unwrap_or(path);
    let put = || -> io::Result<()> {
        let mut file = NamedTempFile::with_prefix_in(".new-", folder)?;
        let mut line = format!("{FORMAT} {:08x}", sum(parts));
        for part in parts {
            line.push_str(&format!(" {}", part.len()));
        }
        line.push('\n');
        file.write_all(line.as_bytes())?;
        for part in parts {
            file.write_all(part)?;
        }
        file.persist(path).map(drop).map_err(|error| error.error)
    };
    match put() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(folder).at("create the directory", folder)?;
            put().at("write", path)
        }
        result => result.at("write", path),
    }
}

fn sum(parts: &[&[u8]]) -> u32 {
    let mut sum = Crc::new();
    for part in parts {
        sum.update(part);
    }
    sum.sum()
}

fn open(bytes: Vec<u8>) -> Option<Sealed> {
    let end = bytes.iter().take(LONGEST_LINE).position(|byte| *byte == b'\n')?;
    let line = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut words = line.strip_prefix(FORMAT)?.split_ascii_whitespace();
    let expected = u32::from_str_radix(words.next()?, 16).ok()?;
    let (mut parts, mut at) = (Vec::new(), end + 1);
    for word in words {
        let next = at.checked_add(word.parse().ok()?)?;
        parts.push(at..next);
        at = next;
    }
    (at == bytes.len() && sum(&[&bytes[end + 1..]]) == expected).then_some(Sealed { bytes, parts })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_whole_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ab/file");
        assert!(read(&path, 2).unwrap().is_none());
        write(&path, &[b"one", b"second"]).unwrap();
        let sealed = read(&path, 2).unwrap().unwrap();
        assert_eq!((sealed.part(0), sealed.part(1), sealed.part(2)), (&b"one"[..], &b"second"[..], &b""[..]));
        assert!(read(&path, 3).unwrap().is_none(), "of another kind");
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert!(read(&path, 2).unwrap().is_none(), "cut off at {length}");
        }
        for position in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[position] ^= 1;
            fs::write(&path, &damaged).unwrap();
            let read = read(&path, 2).unwrap();
            assert!(
                read.is_none_or(|read| read.part(0) == b"one" && read.part(1) == b"second"),
                "{position}"
            );
        }
        write(&path, &[b"one", b"second"]).unwrap();
        assert_eq!(fs::read(&path).unwrap(), whole);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing else is left");
    }
}
