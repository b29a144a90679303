//! Grange's shared crate. It decides everything and speaks to no one: the modules below are pure (they read no clock,
//! no random source, no file, no network), except `ledger` (feature `ledger`: all SQL) and `wire` (feature `wire`:
//! all messages).

pub mod api;
pub mod arch;
pub mod build;
pub mod builder;
pub mod buildroot;
pub mod chain;
pub mod digest;
pub mod dispatch;
pub mod event;
pub mod gate;
pub mod ids;
pub mod job;
#[cfg(feature = "ledger")]
pub mod ledger;
pub mod message;
pub mod nvr;
pub mod outcome;
pub mod promotion;
pub mod recipe;
pub mod request;
pub mod sig;
pub mod snapshot;
pub mod stamp;
pub mod why;
#[cfg(feature = "wire")]
pub mod wire;
