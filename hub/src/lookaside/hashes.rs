//! The hashes source files are named by, and a file's own.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::str::FromStr;

use farm::digest::{Digest, hex};
use sha2::Digest as _;

use crate::files::{At as _, FileError};

/// Bytes read and hashed at a time.
const CHUNK: usize = 256 * 1024;

/// A kind of hash a source file may be named by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HashKind {
    /// 32 digits; old Fedora packages.
    Md5,
    /// 40 digits; old CentOS packages.
    Sha1,
    /// 64 digits.
    Sha256,
    /// 128 digits; what today's tools write.
    Sha512,
}

impl HashKind {
    /// All of them, the weakest first.
    pub const ALL: [HashKind; 4] = [HashKind::Md5, HashKind::Sha1, HashKind::Sha256, HashKind::Sha512];

    /// Its name in form fields and paths.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            HashKind::Md5 => "md5",
            HashKind::Sha1 => "sha1",
            HashKind::Sha256 => "sha256",
            HashKind::Sha512 => "sha512",
        }
    }

    /// How many hexadecimal digits a value has.
    #[must_use]
    pub const fn digits(self) -> usize {
        match self {
            HashKind::Md5 => 32,
            HashKind::Sha1 => 40,
            HashKind::Sha256 => 64,
            HashKind::Sha512 => 128,
        }
    }

    /// The kind whose values have this many hexadecimal digits.
    #[must_use]
    pub fn from_digits(digits: usize) -> Option<Self> {
        HashKind::ALL.into_iter().find(|kind| kind.digits() == digits)
    }

    /// A value of this kind in lower case, if the text is one.
    #[must_use]
    pub fn value(self, text: &str) -> Option<String> {
        let sound = text.len() == self.digits() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        sound.then(|| text.to_ascii_lowercase())
    }
}

impl fmt::Display for HashKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that is no kind of hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a kind of hash known here; they are md5, sha1, sha256 and sha512")]
pub struct UnknownHash(pub String);

impl FromStr for HashKind {
    type Err = UnknownHash;
    fn from_str(text: &str) -> Result<Self, UnknownHash> {
        HashKind::ALL
            .into_iter()
            .find(|kind| kind.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| UnknownHash(text.chars().take(40).collect()))
    }
}

/// One file's hashes of every kind, in lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hashes {
    /// 32 digits.
    pub md5: String,
    /// 40 digits.
    pub sha1: String,
    /// The one the artifact store uses.
    pub sha256: Digest,
    /// 128 digits.
    pub sha512: String,
    /// The file's size in bytes.
    pub size: u64,
}

impl Hashes {
    /// The value of one kind.
    #[must_use]
    pub fn get(&self, kind: HashKind) -> &str {
        match kind {
            HashKind::Md5 => &self.md5,
            HashKind::Sha1 => &self.sha1,
            HashKind::Sha256 => self.sha256.as_str(),
            HashKind::Sha512 => &self.sha512,
        }
    }

    /// Is this the file's value of this kind?
    #[must_use]
    pub fn matches(&self, kind: HashKind, value: &str) -> bool {
        self.get(kind).eq_ignore_ascii_case(value)
    }
}

/// Reads a file once and hashes it in every way. It works for as long as the file is large: call it on a blocking thread.
///
/// # Errors
/// When the file cannot be read.
pub fn hash_all(path: &Path) -> Result<Hashes, FileError> {
    let mut file = File::open(path).at("open", path)?;
    let (mut md5, mut sha1) = (md5::Md5::new(), sha1::Sha1::new());
    let (mut sha256, mut sha512) = (sha2::Sha256::new(), sha2::Sha512::new());
    let (mut chunk, mut size) = (vec![0; CHUNK], 0);
    loop {
        let count = file.read(&mut chunk).at("read", path)?;
        if count == 0 {
            break;
        }
        let bytes = &chunk[..count];
        md5.update(bytes);
        sha1.update(bytes);
        sha256.update(bytes);
        sha512.update(bytes);
        size += count as u64;
    }
    Ok(Hashes {
        md5: hex(&md5.finalize()),
        sha1: hex(&sha1.finalize()),
        sha256: Digest::from_bytes(&sha256.finalize()),
        sha512: hex(&sha512.finalize()),
        size,
    })
}
