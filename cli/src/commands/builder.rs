//! `grange builder`

use std::time::Duration;

use anyhow::Context as _;
use builder::{Engine, Identity};

use crate::failure::Failure;
use crate::roles::{self, Common, Role, STOP_GRACE, Signals, Watched};
use crate::settings::Environment;

/// What `grange builder` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
It needs sections [bus] and [builder], and no ledger. What it may be told is in [builder], among it the address at which
`/healthz`, `/readyz` and `/metrics` are told. Told to stop, it lets its jobs end for `builder.drain_seconds`; what still
runs then is given back to the farm.

A new machine joins with the one-time token of `grange builders enrol NAME`, in the file `builder.enrolment_token_file`.

Exit codes: 0 stopped as told; 1 it failed; 2 the configuration is wrong.

Examples:
  grange builder --config /etc/grange/grange.toml
  grange builder --config /etc/grange/grange.toml --log-format json")]
pub struct Args {
    /// What every role takes.
    #[command(flatten)]
    pub common: Common,
}

/// Runs a builder until it is told to stop.
///
/// # Errors
/// When it cannot be started, or fails.
pub async fn run(args: Args, environment: &Environment) -> Result<(), Failure> {
    let config = args.common.begin(environment)?;
    let bus = roles::bus_of_builder(&config)?;
    let config = config.builder;
    let engine = Engine::connect(&config.engine).with_context(|| {
        format!("cannot use the container engine at {}; `builder.engine` names its socket", config.engine)
    })?;
    let watched = config.metrics.map(|listen| Watched { listen, db: None, bus: Some(bus.clone()) });
    let drain = Duration::from_secs(config.drain_seconds);
    let signals = Signals::listen()?;
    let role = Role::start("builder", drain + STOP_GRACE, |stop| async move {
        let Some(identity) = Identity::obtain(&config, stop.clone()).await? else { return Ok(()) };
        tracing::info!(builder = identity.name(), "the builder is open");
        builder::run(builder::Parts { bus, engine, identity }, config, stop).await
    });
    roles::until_told(signals, role, watched).await
}
