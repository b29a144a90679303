//! The programs a git server runs: `grange-update` (may this push?) and `grange-post-receive` (tell the hub).
//!
//! They work in a bare repo of the hub's own git server and of any other. A push is judged by the rules in
//! [`farm::sig`], which the hub hands out as a [`farm::message::Policy`], so that a push can be judged while the hub is
//! down; a report the hub could not take is kept in a [`spool`] and delivered later, in order.

pub mod hub;
pub mod policy;
pub mod report;
pub mod rules;
pub mod settings;
pub mod spool;

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;

/// Says one line to the person who pushes: git shows it as `remote: …`. Somebody who hung up is no trouble.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// The repo the hook runs in: git sets `GIT_DIR`, and starts hooks inside a bare repo.
///
/// # Errors
/// When that folder cannot be found.
pub fn git_dir() -> anyhow::Result<PathBuf> {
    let named = std::env::var_os("GIT_DIR").map_or_else(|| PathBuf::from("."), PathBuf::from);
    named.canonicalize().with_context(|| format!("cannot find the repo {}", named.display()))
}

/// Runs one program to its end on a single thread, which is all a hook needs.
///
/// # Errors
/// When the operating system gives it no event queue.
pub fn block_on<F: Future>(work: F) -> anyhow::Result<F::Output> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    Ok(runtime.block_on(work))
}
