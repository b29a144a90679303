//! `grange scheduler`

use crate::failure::Failure;
use crate::roles::{self, Common, Role, STOP_GRACE, Signals, Watched};
use crate::settings::Environment;

/// What `grange scheduler` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
It needs sections [ledger] and [bus]; what it may be told is in [scheduler], among it the address at which `/healthz`,
`/readyz` and `/metrics` are told. Several may run; what one has done is refused to the other.

Exit codes: 0 stopped as told; 1 it failed; 2 the configuration is wrong, or the ledger has another schema.

Examples:
  grange scheduler --config /etc/grange/grange.toml
  grange scheduler --config /etc/grange/grange.toml --log-format json")]
pub struct Args {
    /// What every role takes.
    #[command(flatten)]
    pub common: Common,
}

/// Runs a scheduler until it is told to stop.
///
/// # Errors
/// When it cannot be started, or fails.
pub async fn run(args: Args, environment: &Environment) -> Result<(), Failure> {
    let config = args.common.begin(environment)?;
    let bus = roles::bus(&config)?;
    let db = roles::ledger(&config).await?;
    let watched = config.scheduler.metrics.map(|listen| Watched {
        listen,
        db: Some(db.clone()),
        bus: Some(bus.clone()),
    });
    let parts = scheduler::Parts { db: db.clone(), bus };
    let signals = Signals::listen()?;
    tracing::info!("the scheduler is open");
    let role = Role::start("scheduler", STOP_GRACE, |stop| scheduler::run(parts, config.scheduler, stop));
    let ended = roles::until_told(signals, role, watched).await;
    db.close().await;
    ended
}
