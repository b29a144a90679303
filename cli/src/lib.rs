//! The `grange` command: what people type, and `grange standalone`, which is all roles in one process.
//!
//! Every command is one file in [`commands`]: what it takes, and a `run` that asks the hub and prints. What people
//! read is made in [`render`], what scripts read is the API's own body (`--json`), and how a command ended is said by
//! its exit code ([`failure`]). Only [`commands::person`], [`commands::admin`], [`roles`] and [`standalone`] touch a ledger;
//! everything else speaks HTTP.

mod backup;
pub mod cli;
pub mod client;
pub mod commands;
pub mod failure;
mod follow;
mod logs;
pub mod render;
pub mod roles;
pub mod screen;
pub mod settings;
pub mod standalone;
mod strict;
pub mod verify;

pub use cli::{Cli, run};
