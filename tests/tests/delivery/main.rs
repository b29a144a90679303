//! Delivery under faults: whatever happens in the middle of a move, what users find is what was there before it or what is there
//! after it, whole, and the move comes to its end by itself.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

mod bucket;
mod deaths;
mod disk;
mod dnf;
mod former;
mod races;
mod standalone;
