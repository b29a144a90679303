//! The roles as processes: `grange hub`, `grange scheduler` and `grange builder`, and what they share with a farm in one
//! process.
//!
//! A role opens what its configuration names, runs until it is told to stop, and drains. It never migrates the ledger:
//! an operator does that once, with `grange admin migrate`, and not whichever process of whichever version came first.

mod config;
pub(crate) mod log;
mod monitor;
mod places;
mod process;
mod running;

pub use config::Config;
pub use log::LogFormat;
pub(crate) use monitor::Watched;
pub use places::{DEFAULT_DATA, LEDGER_FILE, LedgerPlace, Place, ledger_url};
pub use process::Common;
pub(crate) use process::{STOPPED_TWICE, Signals, bus, bus_of_builder, ledger, until_told, unusable};
pub(crate) use running::{Role, STOP_GRACE, outcome};
