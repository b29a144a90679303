//! Repos on disk: a snapshot is composed in a staging directory and published by moving a pointer to it.

pub mod compose;
pub mod dotrepo;
pub mod manifest;
pub mod publish;
#[cfg(test)]
mod samples;
