//! Repos on disk: a snapshot is composed in a staging directory and published by moving a pointer to it.

pub mod compose;
pub mod dotrepo;
pub mod engine;
pub mod manifest;
pub mod metalink;
pub mod publish;
mod repomd;
#[cfg(test)]
pub(crate) mod samples;
pub mod verify;
