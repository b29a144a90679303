//! The hub's HTTP side, spoken to as its clients do: a real server on a free port, a real ledger in a folder.

#![allow(clippy::unwrap_used, reason = "what goes wrong here fails a test")]

mod access;
mod attempts;
mod bench;
mod builders;
mod document;
mod git;
mod logs;
mod lookaside;
mod pages;
mod promotions;
mod pushes;
mod status;
