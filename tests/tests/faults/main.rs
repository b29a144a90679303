//! The real farm under faults: processes, brokers, databases and lines break while twenty jobs run, and come back. After each
//! story everything is settled, every job ran to one result, every log is whole, and ledger and repos agree.
//!
//! `GRANGE_FAULT_ROUNDS=3` plays every story three times, with the times a farm has in production.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

mod broker;
mod builders;
mod database;
mod doubles;
mod lines;
mod rights;
mod roles;

use std::time::Duration;

use tokio::time::sleep;

/// Jobs that run while something breaks.
const JOBS: usize = 20;
/// A moment in which something may happen.
const MOMENT: Duration = Duration::from_secs(1);

async fn moment() {
    sleep(MOMENT).await;
}
