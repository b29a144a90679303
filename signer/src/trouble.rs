//! Why something was not signed.

use farm::dsse::DsseError;
use farm::ledger::LedgerError;
use farm::openpgp::OpenPgpError;
use reqwest::StatusCode;

use crate::keys::KeyError;

/// Why something was not signed.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// It must not be signed, as things are now.
    #[error("{0}")]
    Refused(String),
    /// A key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The hub cannot be reached.
    #[error("the hub cannot be reached: {0}")]
    HubAway(String),
    /// The hub, or what stands before it, has answered that it cannot do it now.
    #[error("the hub answered {what} with {status}: {why}")]
    HubFails {
        /// What was sent.
        what: &'static str,
        /// `503 Service Unavailable`.
        status: StatusCode,
        /// Its words.
        why: String,
    },
    /// The hub does not want it.
    #[error("the hub refused {what}: {why}")]
    HubRefused {
        /// What was sent.
        what: &'static str,
        /// Its words.
        why: String,
    },
    /// The ledger fails.
    #[error("the signer cannot read the ledger: {0}")]
    Ledger(#[from] LedgerError),
    /// Signing failed, or a signature is not what it should be.
    #[error(transparent)]
    OpenPgp(#[from] OpenPgpError),
    /// The same for a statement.
    #[error(transparent)]
    Dsse(#[from] DsseError),
    /// The signer's own disk.
    #[error("the signer's disk: {0}")]
    Disk(#[from] std::io::Error),
}

impl Trouble {
    /// It must not be signed, and why.
    pub(crate) fn refused(why: impl Into<String>) -> Trouble {
        Trouble::Refused(why.into())
    }
}
