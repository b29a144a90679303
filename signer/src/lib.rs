//! Grange's signer: a role of its own, with keys that no other role has.
//!
//! It opens every connection itself: to the ledger, where it only reads, and to the hub, which says what waits, hands out files
//! and takes signatures. It believes neither the hub nor a single row:
//!
//! - it asks the gate itself, in the ledger, and signs only what the gate lets through at that moment ([`facts`]);
//! - it holds rows against each other: the snapshot against the builds, the results against the jobs that showed them;
//! - it signs a package only when the bytes are those that were tested, by their body digest ([`packages`]);
//! - it signs metadata only when that lists the signed packages of the snapshot and nothing else ([`metadata`]), under the
//!   snapshot's revision ([`revision`]).
//!
//! What it cannot do it says in its log and to the hub, which shows it to whoever asks why nothing moves.

mod attested;
mod client;
mod config;
mod endorse;
pub mod facts;
pub mod keys;
pub mod metadata;
mod packages;
pub mod revision;
mod round;
mod trouble;

use anyhow::Context as _;
use farm::ledger::Db;
use tokio::sync::watch;

pub use config::Config;
pub use trouble::Trouble;

/// What a signer is given from outside.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The ledger. A handle that may only read is enough.
    pub db: Db,
    /// The secret it shows the hub.
    pub token: String,
}

/// Runs a signer until `stop` becomes true.
///
/// # Errors
/// When its folder of keys cannot be used.
pub async fn run(parts: Parts, config: Config, stop: watch::Receiver<bool>) -> anyhow::Result<()> {
    let mut signer = round::Signer::open(parts, config).context("the signer cannot begin")?;
    signer.run(stop).await;
    Ok(())
}
