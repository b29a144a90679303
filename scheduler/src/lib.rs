//! Grange's scheduler: finds work for free slots, and notices who fell silent.
//!
//! It keeps nothing in memory that matters. Each [`tick`] reads what is unsettled from the ledger and takes every job
//! one step on; each step is one transaction, and what the bus is told afterwards only saves time. So it may be killed
//! between any two lines and started again without repair, and several may run at once: what one has done already is
//! refused to the other, and that is an ordinary answer.
//!
//! - [`tick`]: lapses what is overdue, recalls what was cancelled, offers jobs to free slots.
//! - [`report`]: takes in what a builder says of itself.
//! - [`run`]: does both until it is told to stop.

mod offer;
mod roster;
mod run;
mod tick;
mod trouble;

use farm::job::Patience;
use farm::ledger::Db;
use farm::wire::Bus;
use serde::Deserialize;

pub use roster::{Reported, report};
pub use run::run;
pub use tick::{Ticked, tick};

/// A scheduler's configuration. Every value has a default that is enough for a farm in one process.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Milliseconds between two looks at everything unsettled. It is woken earlier when something happens.
    pub tick_ms: u64,
    /// Milliseconds after which a builder that has not reported counts as silent and gets no more offers.
    pub silent_ms: u64,
    /// How long the farm waits for whom.
    pub patience: Patience,
}

impl Default for Config {
    fn default() -> Self {
        Self { tick_ms: 500, silent_ms: 15_000, patience: Patience::default() }
    }
}

/// What a scheduler is given from outside: the only things in which a farm in one process and one of many differ.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The ledger.
    pub db: Db,
    /// The bus that brings offers and stops to the builders, and their presences and nudges here.
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
