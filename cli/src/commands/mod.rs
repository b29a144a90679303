//! The commands, one file each.

pub mod build;
pub mod builders;
pub mod builds;
pub mod cancel;
pub mod completion;
pub mod download;
mod git;
pub mod log;
pub mod login;
pub mod lookaside;
mod nearby;
pub mod person;
pub mod promote;
pub mod promotions;
pub mod repos;
pub mod retry;
pub mod scratch;
pub mod show;
pub mod sig;
pub mod standalone;
pub mod status;
pub mod tags;
pub mod targets;
pub mod watch;
pub mod whoami;
pub mod withdraw;
