//! What was fetched back from the bucket and is what it ought to be. It is written down, so that it is not fetched anew with
//! each snapshot of a large repo: the store calls another content by another name, and only what is called as it was then counts.
//! When it is lost, everything is fetched back once more.
//!
//! ```text
//! grange-whole 1 <address of the bucket>
//! <SHA-256> <what the store calls it> <key>
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use farm::digest::Digest;

use crate::bucket::Object;
use crate::files::{At as _, FileError, ensure_dir};
use crate::signing::publish::put;

/// What the file begins with. The address follows.
const FORMAT: &str = "grange-whole 1 ";

/// What was fetched back of one tag.
#[derive(Debug)]
pub(super) struct Whole {
    place: PathBuf,
    address: String,
    /// By key.
    seen: BTreeMap<String, (Digest, String)>,
    is_changed: bool,
}

impl Whole {
    /// What is written down at this place of a bucket with this address; nothing where that cannot be understood.
    pub(super) fn read(place: PathBuf, address: &str) -> Result<Self, FileError> {
        let text = match fs::read_to_string(&place) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => {
                String::new()
            }
            read => read.at("read", &place)?,
        };
        let mut lines = text.lines();
        let is_ours = lines.next().and_then(|line| line.strip_prefix(FORMAT)) == Some(address);
        let line = |line: &str| {
            let mut words = line.splitn(3, ' ');
            let (digest, version, key) = (words.next()?, words.next()?, words.next()?);
            Some((key.to_owned(), (digest.parse().ok()?, version.to_owned())))
        };
        let seen = if is_ours { lines.filter_map(line).collect() } else { BTreeMap::new() };
        Ok(Self { place, address: address.to_owned(), seen, is_changed: false })
    }

    /// Removes what is written down at this place.
    pub(super) fn forget(place: &Path) -> Result<(), FileError> {
        match fs::remove_file(place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.at("remove", place),
        }
    }

    /// Was just this fetched back, and is it called now as it was then?
    pub(super) fn has(&self, object: &Object, digest: &Digest) -> bool {
        let seen = self.seen.get(&object.key);
        seen.is_some_and(|(seen, version)| seen == digest && object.version.as_ref() == Some(version))
    }

    /// Was it something else that was fetched back?
    pub(super) fn was_another(&self, key: &str, digest: &Digest) -> bool {
        self.seen.get(key).is_some_and(|(seen, _)| seen != digest)
    }

    /// Forgets all else: it is not there any more.
    pub(super) fn keep(&mut self, is_kept: impl Fn(&str) -> bool) {
        self.seen.retain(|key, _| is_kept(key));
    }

    /// This was fetched back.
    pub(super) fn note(&mut self, key: &str, digest: &Digest, version: Option<String>) {
        // What has no name, or one that does not fit into a line, is fetched back each time.
        let Some(version) = version.filter(|name| !name.is_empty() && !name.contains(char::is_whitespace))
        else {
            return;
        };
        self.seen.insert(key.to_owned(), (digest.clone(), version));
        self.is_changed = true;
    }

    /// Writes it down, if there is anything new.
    pub(super) fn write(&mut self) -> Result<(), FileError> {
        if !self.is_changed {
            return Ok(());
        }
        let mut text = format!("{FORMAT}{}\n", self.address);
        for (key, (digest, version)) in &self.seen {
            let _infallible = writeln!(text, "{digest} {version} {key}");
        }
        ensure_dir(self.place.parent().unwrap_or(&self.place))?;
        put(&self.place, text.as_bytes())?;
        self.is_changed = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use farm::stamp::Stamp;

    use super::*;

    #[test]
    fn what_is_called_otherwise_or_is_in_another_bucket_is_not_known() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("whole/tag");
        let read = |address: &str| Whole::read(place.clone(), address).unwrap();
        let object = |key: &str, version: Option<&str>| Object {
            key: key.to_owned(),
            size: 1,
            put: Stamp::ZERO,
            version: version.map(str::to_owned),
        };
        let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
        let mut whole = read("here");
        whole.note("a key", &one, Some("v1".to_owned()));
        whole.note("nameless", &one, None);
        whole.note("odd", &one, Some("v 1".to_owned()));
        whole.write().unwrap();

        let whole = read("here");
        assert!(whole.has(&object("a key", Some("v1")), &one));
        assert!(!whole.has(&object("a key", Some("v2")), &one), "it was replaced");
        assert!(!whole.has(&object("a key", None), &one));
        assert!(!whole.has(&object("a key", Some("v1")), &two));
        assert!(whole.was_another("a key", &two) && !whole.was_another("a key", &one));
        for key in ["nameless", "odd"] {
            assert!(!whole.has(&object(key, None), &one) && !whole.has(&object(key, Some("v 1")), &one));
        }
        assert!(!read("elsewhere").has(&object("a key", Some("v1")), &one));
        fs::write(&place, "something else").unwrap();
        assert!(!read("here").has(&object("a key", Some("v1")), &one));
    }
}
