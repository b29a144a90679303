//! The engine, held against the tool whose metadata everybody reads, and against its own promises.

mod fragments;
mod oracle;
mod random;
mod repos;
