//! Grange's shared crate. It decides everything and speaks to no one: the modules below are pure (they read no clock,
//! no random source, no file, no network), except `ledger` (feature `ledger`: all SQL), `wire` (feature `wire`:
//! all messages) and `openpgp` and `dsse` (feature `openpgp`: signatures, which need random numbers and files).

pub mod api;
pub mod arch;
pub mod build;
pub mod builder;
pub mod buildroot;
pub mod chain;
pub mod decision;
pub mod digest;
pub mod dispatch;
#[cfg(feature = "openpgp")]
pub mod dsse;
pub mod event;
pub mod extras;
pub mod gate;
pub mod ids;
pub mod job;
#[cfg(feature = "ledger")]
pub mod ledger;
pub mod matrix;
pub mod message;
pub mod nvr;
#[cfg(feature = "openpgp")]
pub mod openpgp;
pub mod outcome;
pub mod promotion;
pub mod provenance;
pub mod queue;
pub mod recheck;
pub mod recipe;
pub mod request;
pub mod retention;
pub mod sig;
pub mod signing;
pub mod snapshot;
pub mod stamp;
pub mod trace;
pub mod why;
#[cfg(feature = "wire")]
pub mod wire;
