//! What one tick does, what two schedulers do to each other, and what `run` lives through.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

mod bench;
mod capacity;
mod load;
mod outage;
mod outbox;
mod running;
mod steps;
mod together;
