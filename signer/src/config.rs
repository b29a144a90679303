//! What a signer can be told.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;
use url::Url;

/// A signer's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What it is called where people read of it.
    pub name: String,
    /// The hub's address.
    pub hub: Url,
    /// A file with the secret that it shows the hub.
    pub token_file: Option<PathBuf>,
    /// The folder with its private keys, which nobody else may read. What is missing is made when it is needed first.
    pub keys: PathBuf,
    /// A file with the passphrase that locks the OpenPGP keys. It is read whenever a key is unlocked, so it may come later.
    pub passphrase_file: Option<PathBuf>,
    /// Bits of the RSA keys it makes.
    pub rsa_bits: u32,
    /// The user id of the keys it makes; `$sig` is replaced by the SIG's name.
    pub user_id: String,
    /// Packages it signs at once.
    pub parallel: usize,
    /// MiB that one file of a repo's metadata may have, unpacked.
    pub metadata_mb: u64,
    /// Milliseconds for which it lets the hub keep it waiting for something to do.
    pub wait_ms: u64,
    /// Where `/healthz`, `/readyz` and `/metrics` are told; nowhere when absent.
    pub metrics: Option<SocketAddr>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "signer".to_owned(),
            hub: default_hub(),
            token_file: None,
            keys: PathBuf::from("/var/lib/grange-signer/keys"),
            passphrase_file: None,
            rsa_bits: farm::openpgp::DEFAULT_BITS,
            user_id: "SIG $sig (packages)".to_owned(),
            parallel: 4,
            metadata_mb: 4096,
            wait_ms: 20_000,
            metrics: None,
        }
    }
}

#[allow(clippy::expect_used, reason = "the text is a constant that a test reads")]
fn default_hub() -> Url {
    Url::parse("http://127.0.0.1:8080").expect("it is an address")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_default_is_one() {
        assert_eq!(super::Config::default().hub.as_str(), "http://127.0.0.1:8080/");
    }
}
