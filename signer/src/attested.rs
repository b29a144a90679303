//! Which files are known to be what they should: signed forms of packages that this signer made, or has fetched and checked.
//! Kept in a file beside the keys, so that a signer that starts anew need not fetch a whole repo to sign its metadata.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use farm::digest::Digest;
use farm::openpgp::SignedPackage;

/// The file beside the keys.
const NAME: &str = "signed.log";
/// Nobody but the signer writes it.
const MODE: u32 = 0o600;

/// Known files: body, key, digest and size of each.
#[derive(Debug)]
pub(crate) struct Attested(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    known: BTreeSet<(Digest, String, Digest, u64)>,
    file: File,
}

impl Attested {
    /// Opens the file in this folder. A line that is damaged counts for nothing.
    pub(crate) fn open(folder: &Path) -> io::Result<Attested> {
        let path = folder.join(NAME);
        let file = OpenOptions::new().read(true).append(true).create(true).mode(MODE).open(&path)?;
        let mut known = BTreeSet::new();
        for line in BufReader::new(File::open(&path)?).lines() {
            known.extend(read(&line?));
        }
        let mut inner = Inner { known, file };
        // What a crash cut off must not become the beginning of the next line.
        inner.file.write_all(b"\n")?;
        Ok(Attested(Mutex::new(inner)))
    }

    /// Is this file known to be the signed form of this body, by this key?
    pub(crate) fn knows(&self, signed: &SignedPackage) -> bool {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.known.contains(&entry(signed))
    }

    /// It is, from now on.
    pub(crate) fn add(&self, signed: &SignedPackage) -> io::Result<()> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let SignedPackage { body, digest, size, by } = signed;
        if inner.known.insert(entry(signed)) {
            let line = format!("{} {by} {} {size}\n", body.as_str(), digest.as_str());
            inner.file.write_all(line.as_bytes())?;
        }
        Ok(())
    }
}

fn entry(signed: &SignedPackage) -> (Digest, String, Digest, u64) {
    (signed.body.clone(), signed.by.clone(), signed.digest.clone(), signed.size)
}

fn read(line: &str) -> Option<(Digest, String, Digest, u64)> {
    let mut words = line.split(' ');
    let (body, by, digest, size) = (words.next()?, words.next()?, words.next()?, words.next()?);
    Some((body.parse().ok()?, by.to_owned(), digest.parse().ok()?, size.parse().ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]
    use super::*;

    #[test]
    fn what_was_checked_is_known_after_a_new_start_and_what_was_cut_off_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let signed = |text: &str| SignedPackage {
            body: Digest::of(text.as_bytes()),
            digest: Digest::of(b"file"),
            size: 7,
            by: "ab".repeat(20),
        };
        let attested = Attested::open(folder.path()).unwrap();
        attested.add(&signed("a")).unwrap();
        attested.add(&signed("b")).unwrap();
        drop(attested);
        let path = folder.path().join(NAME);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, &text[..text.len() - 10]).unwrap();
        let again = Attested::open(folder.path()).unwrap();
        assert!(again.knows(&signed("a")) && !again.knows(&signed("b")));
        again.add(&signed("b")).unwrap();
        let third = Attested::open(folder.path()).unwrap();
        assert!(third.knows(&signed("a")) && third.knows(&signed("b")));
        assert!(!third.knows(&SignedPackage { size: 8, ..signed("a") }));
    }
}
