//! Grange's scheduler: finds work for free slots, and notices who fell silent.
//!
//! It keeps nothing in memory that matters. Each [`tick`] reads what is unsettled from the ledger and takes every job
//! one step on; each step is one transaction, and what the bus is told afterwards only saves time. So it may be killed
//! between any two lines and started again without repair, and several may run at once: what one has done already is
//! refused to the other, and that is an ordinary answer.
//!
//! - [`tick`]: lapses what is overdue, recalls what was cancelled, offers jobs to free slots.
//! - [`Outbox`]: tells changes of state to the outside.
//! - [`run`]: does both until it is told to stop.

mod offer;
mod outbox;
mod run;
mod tick;
mod trouble;

use farm::dispatch::Rules;
use farm::job::Patience;
use farm::ledger::Db;
use farm::wire::Bus;
use serde::Deserialize;

pub use outbox::{Outbox, Told};
pub use run::run;
pub use tick::{Ticked, tick};

/// A scheduler's configuration. Every value has a default that is enough for a farm in one process.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Milliseconds between two looks at everything unsettled. When something happens in between, jobs are offered at once.
    pub tick_ms: u64,
    /// Milliseconds between two looks for changes of state that are to be told to the outside.
    pub outbox_ms: u64,
    /// Milliseconds after which a builder that has not reported counts as silent and gets no more offers.
    pub silent_ms: u64,
    /// Milliseconds without a hub's sign of life that count as an outage: no lease runs out in one, nor within a lease's
    /// length after it, for nobody could take the beats.
    pub hub_gap_ms: u64,
    /// What slots are given away by.
    pub dispatch: Rules,
    /// How long the farm waits for whom.
    pub patience: Patience,
    /// Where the process tells `/metrics`, `/healthz` and `/readyz`; nowhere when it is not said.
    pub metrics: Option<std::net::SocketAddr>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            tick_ms: 500,
            outbox_ms: 200,
            silent_ms: 15_000,
            hub_gap_ms: 15_000,
            dispatch: Rules::default(),
            patience: Patience::default(),
            metrics: None,
        }
    }
}

/// What a scheduler is given from outside: the only things in which a farm in one process and one of many differ.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The ledger.
    pub db: Db,
    /// The bus that brings offers and stops to the builders, and nudges here.
    pub bus: Bus,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_configuration_is_enough_and_an_unknown_key_is_refused() {
        let config: Config = serde_json::from_str("{}").unwrap();
        assert_eq!(config, Config::default());
        let unknown = serde_json::from_str::<Config>(r#"{"silent": 3}"#).unwrap_err();
        assert!(unknown.to_string().contains("silent"));
    }
}
