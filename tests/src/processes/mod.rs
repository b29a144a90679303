//! A farm of processes: the real `grange hub` and `grange scheduler`, builders whose engine is the dummy, and brokers and
//! databases of a test's own, each of which can be killed at any moment and started again.

mod account;
mod broker;
mod database;
mod farm;
mod process;
mod rights;
pub mod yard;

pub use account::{Account, Figures};
pub use broker::Broker;
pub use database::Database;
pub use farm::{Ground, Land, ProcessFarm, Setup, rounds};
pub use process::{Process, free_port};
pub use rights::definitions;
