//! What may be in the tar of a ccache. A build wrote it, and the next one unpacks it: only plain files are let in, each
//! where ccache would have put it, and of the kinds that hold results. So a build cannot leave a configuration for later ones
//! (`ccache.conf` could name a program to run), nor a link, nor anything outside the folder.

use std::collections::HashSet;
use std::io::{self, BufReader, Read};

use tar::EntryType;

const BUFFER: usize = 256 * 1024;
/// More files than a ccache of a gibibyte has.
const MOST_FILES: usize = 200_000;
/// ccache spreads its files over so many levels of folders.
const LEVELS: std::ops::RangeInclusive<usize> = 1..=4;
/// Characters of a file's name; ccache's have 33.
const LONGEST_NAME: usize = 64;
/// What ccache counts in each folder: hits, misses, and how much is there.
const COUNTERS: &str = "stats";

/// Reads all of a tar. The inner error is one sentence about what must not be in it.
pub(crate) fn check(stream: impl Read) -> io::Result<Result<(), String>> {
    let mut archive = tar::Archive::new(BufReader::with_capacity(BUFFER, stream));
    let mut paths = HashSet::new();
    let unreadable = |error: io::Error| format!("the archive is damaged: {error}");
    let entries = match archive.entries() {
        Ok(entries) => entries.raw(true),
        Err(error) => return Ok(Err(unreadable(error))),
    };
    for entry in entries {
        let mut entry = match entry {
            Ok(entry) => entry,
            Err(error) => return Ok(Err(unreadable(error))),
        };
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if entry.header().entry_type() != EntryType::Regular {
            return Ok(Err(format!("{path:?} is not a regular file")));
        }
        if !is_result(&path) {
            return Ok(Err(format!("{path:?} is no file of a ccache's results")));
        }
        let announced = entry.size();
        match io::copy(&mut entry, &mut io::sink()) {
            Ok(size) if size == announced => {}
            Ok(_) => return Ok(Err(format!("{path:?} is cut off"))),
            Err(error) => return Ok(Err(unreadable(error))),
        }
        if paths.len() == MOST_FILES {
            return Ok(Err(format!("there are more than {MOST_FILES} files")));
        }
        if !paths.insert(path.clone()) {
            return Ok(Err(format!("{path:?} is there twice")));
        }
    }
    Ok(if paths.is_empty() { Err("there is nothing in it".to_owned()) } else { Ok(()) })
}

/// `3/e/90udr0u9ajnso5cl73msm1222i3q26iM`, or the counters of a folder.
fn is_result(path: &str) -> bool {
    let mut folders: Vec<&str> = path.split('/').collect();
    let Some(name) = folders.pop() else { return false };
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let is_level = |folder: &&str| matches!(folder.as_bytes(), [digit] if is_digit(digit));
    let is_name = match name.as_bytes().split_last() {
        Some((kind, digits)) => {
            (1..LONGEST_NAME).contains(&digits.len())
                && digits.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'v'))
                && kind.is_ascii_uppercase()
        }
        None => false,
    };
    LEVELS.contains(&folders.len()) && folders.iter().all(is_level) && (is_name || name == COUNTERS)
}

/// A tar of these files, whatever they are called.
#[cfg(test)]
pub(crate) fn sample(files: &[(&str, &[u8])]) -> Vec<u8> {
    let entries: Vec<_> = files.iter().map(|(name, content)| (*name, EntryType::Regular, *content)).collect();
    tests::archive(&entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn archive(entries: &[(&str, EntryType, &[u8])]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for (name, kind, content) in entries {
            let mut header = tar::Header::new_gnu();
            // Written by hand, because the library refuses to write what the test is about.
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_size(content.len() as u64);
            if *kind != EntryType::Regular {
                header.set_link_name("/etc/passwd").unwrap();
            }
            header.set_cksum();
            archive.append(&header, *content).unwrap();
        }
        archive.into_inner().unwrap()
    }

    fn verdict(stream: &[u8]) -> Result<(), String> {
        check(stream).unwrap()
    }

    const MANIFEST: &str = "3/e/90udr0u9ajnso5cl73msm1222i3q26iM";

    #[test]
    fn what_ccache_leaves_is_let_in() {
        let files: [(&str, &[u8]); 4] = [
            (MANIFEST, b"m"),
            ("c/a7b72i1dpj17qd53hm8i8l231mlnepsR", b"r"),
            ("3/stats", b"0"),
            ("1/4/stats", b""),
        ];
        assert_eq!(verdict(&sample(&files)), Ok(()));
    }

    #[test]
    fn whatever_else_is_refused() {
        for (name, kind, complaint) in [
            ("ccache.conf", EntryType::Regular, "no file"),
            ("3/ccache.conf", EntryType::Regular, "no file"),
            ("3/e/../../../../etc/passwdR", EntryType::Regular, "no file"),
            ("../3/e/aR", EntryType::Regular, "no file"),
            ("/3/e/aR", EntryType::Regular, "no file"),
            ("./3/e/aR", EntryType::Regular, "no file"),
            ("3//aR", EntryType::Regular, "no file"),
            ("3/e/1/2/3/aR", EntryType::Regular, "no file"),
            ("tmp/aR", EntryType::Regular, "no file"),
            ("3/e/R", EntryType::Regular, "no file"),
            ("3/e/a.so", EntryType::Regular, "no file"),
            ("aR", EntryType::Regular, "no file"),
            (MANIFEST, EntryType::Symlink, "not a regular file"),
            (MANIFEST, EntryType::Link, "not a regular file"),
            (MANIFEST, EntryType::Fifo, "not a regular file"),
            (MANIFEST, EntryType::Directory, "not a regular file"),
            (MANIFEST, EntryType::GNULongName, "not a regular file"),
            (MANIFEST, EntryType::XHeader, "not a regular file"),
        ] {
            let content: &[u8] = if kind == EntryType::Regular { b"x" } else { b"" };
            let why = verdict(&archive(&[("0/stats", EntryType::Regular, b"0"), (name, kind, content)]))
                .unwrap_err();
            assert!(why.contains(complaint), "{name} {kind:?}: {why}");
        }
    }

    #[test]
    fn doubles_emptiness_noise_and_cut_off_streams_are_refused() {
        let twice = sample(&[(MANIFEST, b"x"), (MANIFEST, b"y")]);
        assert!(verdict(&twice).unwrap_err().contains("twice"));
        assert!(verdict(&sample(&[])).unwrap_err().contains("nothing"));
        assert!(verdict(b"").unwrap_err().contains("nothing"));
        assert!(verdict(&[b'x'; 700]).unwrap_err().contains("damaged"));
        let whole = sample(&[(MANIFEST, &[7; 2000])]);
        let why = verdict(&whole[..1200]).unwrap_err();
        assert!(why.contains("cut off") || why.contains("damaged"), "{why}");
    }
}
