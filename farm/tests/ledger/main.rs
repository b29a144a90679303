//! What the ledger promises, held against both databases. Every contract is one function that is given an empty
//! ledger; it runs on a SQLite file, and on PostgreSQL where `GRANGE_TEST_POSTGRES` names a server.
#![cfg(feature = "ledger")]
#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

mod artifacts;
mod builders;
mod builds;
mod collisions;
mod databases;
mod durability;
mod events;
mod jobs;
mod migrations;
mod one_writer;
mod people;
mod promotions;
mod provenance;
mod publications;
mod races;
mod rechecks;
mod repos;
mod requests;
mod samples;
mod signing;
mod sigs;
mod sources;
mod usage;
mod waivers;

/// Makes a test of a contract on each database: `jobs::contract_name::sqlite` and `…::postgres`.
macro_rules! on_both {
    ($($contract:ident),+ $(,)?) => { $(
        mod $contract {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                crate::databases::on_sqlite(super::$contract).await;
            }
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                crate::databases::on_postgres(super::$contract).await;
            }
        }
    )+ };
}

pub(crate) use on_both;
