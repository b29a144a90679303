//! A role as a process of its own: what it is started with, and how it ends.

use std::path::PathBuf;

use anyhow::Context as _;
use farm::ledger::{Db, LedgerError};
use farm::wire::{AmqpConfig, Bus, BusError};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::log::{self, LogFormat, LogTo};
use super::running::{Role, outcome};
use super::{Config, monitor};
use crate::failure::Failure;
use crate::settings::Environment;

/// What a process ends with that was told twice to stop.
pub(crate) const STOPPED_TWICE: i32 = 130;

/// What every role's process takes.
#[derive(Debug, clap::Args)]
pub struct Common {
    /// The configuration file; one may serve every role: each reads the sections that concern it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How the log is written, on standard output
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub log_format: LogFormat,
}

impl Common {
    /// Begins to log, and reads the configuration.
    pub(crate) fn begin(&self, environment: &Environment) -> Result<Config, Failure> {
        log::begin(LogTo::Output, self.log_format, environment)?;
        Config::read(self.config.as_deref(), environment)
    }
}

/// Opens the ledger, which must have the schema this program knows.
pub(crate) async fn ledger(config: &Config) -> Result<Db, Failure> {
    let address = config.ledger.address(&config.hub.data)?;
    Db::open_known(&address).await.map_err(unusable)
}

/// Why a ledger could not be opened, as a failure of the command.
pub(crate) fn unusable(error: LedgerError) -> Failure {
    match error {
        LedgerError::OtherSchema { found, known, fix } => {
            Failure::usage(format!("the ledger has schema {found}, this program knows {known}"), fix)
        }
        LedgerError::Sql(_)
        | LedgerError::Schema(_)
        | LedgerError::Corrupt { .. }
        | LedgerError::LostRace { .. }
        | LedgerError::Undone
        | LedgerError::Refused(_) => {
            Failure::Local(anyhow::Error::new(error).context("cannot open the ledger"))
        }
    }
}

/// Connects to the bus that the configuration names.
pub(crate) fn bus(config: &Config) -> Result<Bus, Failure> {
    connected(config, Bus::connect)
}

/// The same as a builder, which may do less there.
pub(crate) fn bus_of_builder(config: &Config) -> Result<Bus, Failure> {
    connected(config, Bus::connect_as_builder)
}

fn connected(
    config: &Config,
    connect: impl FnOnce(&AmqpConfig) -> Result<Bus, BusError>,
) -> Result<Bus, Failure> {
    if !config.has_bus() {
        return Err(Failure::usage(
            "no bus is configured",
            "set `url` in section [bus], such as \"amqps://grange@bus.example.org/grange\"; a farm in one process, which \
             needs none, is `grange standalone`",
        ));
    }
    connect(&config.bus).map_err(|error| Failure::usage(error.to_string(), "correct section [bus]"))
}

/// Runs a role until it ends by itself or the process is told to stop by SIGINT or SIGTERM; then it drains. `signals` were listened
/// for before anybody was told that the role is open: who is told may stop it at once.
///
/// # Errors
/// When the role fails.
pub(crate) async fn until_told(
    mut signals: Signals,
    mut role: Role,
    watched: Option<monitor::Watched>,
) -> Result<(), Failure> {
    if let Some(watched) = watched {
        monitor::start(watched, role.stopping()).await?;
    }
    let ended = tokio::select! {
        ended = &mut role.task => Some(outcome(role.name, ended)),
        () = signals.next() => None,
    };
    if let Some(ended) = ended {
        return Ok(ended?);
    }
    tracing::info!(role = role.name, "stopping");
    let name = role.name;
    let stopped = tokio::select! {
        stopped = role.stop() => stopped,
        () = signals.next() => std::process::exit(STOPPED_TWICE),
    };
    tracing::info!(role = name, "stopped");
    Ok(stopped?)
}

/// The signals that mean "stop".
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Hears them from now on.
    pub(crate) fn listen() -> anyhow::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt()).context("cannot hear signals")?,
            terminate: signal(SignalKind::terminate()).context("cannot hear signals")?,
        })
    }

    /// Waits for the next.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
