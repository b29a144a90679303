//! Intake: what a git server holds, read without trusting it, and what people and pushes ask for.

pub mod archive;
mod ask;
mod chain;
pub mod fetch;
mod push;
mod source;
pub mod sources;
pub mod tree;

pub use ask::{build, cancel, retry, scratch_srpm};
pub use chain::{cancel_chain, chain};
pub use push::{push, sweep};
pub(crate) use source::own_path;
