//! OpenPGP as RPM needs it: keys, detached signatures for `repomd.xml`, and signatures in the headers of RPMs.
//!
//! Keys are RSA of version 4, which every rpm and dnf in use accepts. What is accepted as a signature is narrower than what the
//! standard allows: over bytes, with SHA-256 or stronger, by a key that is known here.

mod detached;
mod key;
mod package;
mod rsa;

use std::path::PathBuf;

pub use detached::{sign_detached, verify_detached};
pub use key::{PublicKey, SecretKey};
pub use package::{SignedPackage, body_of, read_signed, sign_package};

/// Bits of a key that is made when nothing else is said.
pub const DEFAULT_BITS: u32 = 4096;
/// Fewest bits of a key: what the crypto policies of current distributions take.
pub const LEAST_BITS: u32 = 2048;

/// Why something could not be signed, or a signature is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum OpenPgpError {
    /// A key cannot be read or made.
    #[error("this is no usable OpenPGP key: {0}")]
    Key(String),
    /// A private key is locked by a passphrase that was not given, or by another one.
    #[error("the private key {fingerprint} is locked: {why}")]
    Locked {
        /// The key.
        fingerprint: String,
        /// Was none given, or the wrong one?
        why: &'static str,
    },
    /// Signing failed.
    #[error("cannot sign: {0}")]
    Sign(String),
    /// Something is not signed as it should be.
    #[error("the signature is not accepted: {0}")]
    Unaccepted(String),
    /// A file is no RPM.
    #[error("the file is not an RPM: {0}")]
    NotRpm(String),
    /// The disk failed.
    #[error("cannot use {}: {source}", path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
}
