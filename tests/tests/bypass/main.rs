//! Ways round the gate: an attacker's stories, each on a whole farm. Whatever is tried, nobody can fetch anything of it, both
//! auditors find nothing, and whoever refuses says why.
//!
//! `dev/guards.toml` lists the guards that these stories and other tests hold; `dev/guards` takes each of them out and looks
//! whether a test notices.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

mod beside;
mod brought;
mod bytes;
mod names;
mod people;
mod rows;
mod scene;
mod suites;
