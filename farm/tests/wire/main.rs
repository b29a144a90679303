//! What the bus promises, held against both buses. Every contract is one function that is given a bus as two processes see
//! it; it runs inside this process, and over RabbitMQ where `GRANGE_TEST_AMQP` names a broker.
#![cfg(feature = "wire")]
#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

#[path = "../sample/mod.rs"]
mod sample;

mod brokers;
mod contract;
mod proxy;
mod trouble;

/// Makes a test of a contract on each bus: `contract::contract_name::local` and `…::amqp`.
macro_rules! on_both {
    ($($contract:ident),+ $(,)?) => { $(
        mod $contract {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn local() {
                crate::brokers::on_local(super::$contract).await;
            }
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn amqp() {
                crate::brokers::on_amqp(super::$contract).await;
            }
        }
    )+ };
}

pub(crate) use on_both;
