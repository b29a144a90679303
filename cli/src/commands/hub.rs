//! `grange hub`

use std::time::Duration;

use anyhow::Context as _;
use hub::state::Hub;
use tokio::net::TcpListener;

use crate::failure::Failure;
use crate::roles::{self, Common, Role, STOP_GRACE, Signals};
use crate::settings::Environment;

/// What `grange hub` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
It needs sections [ledger], [bus] and [hub]; several hubs may share one ledger, one bus and one data folder. `/healthz`,
`/readyz` and `/metrics` are told at its own address. Told to stop, it first says so at `/readyz` for `hub.leave_ms`.

Exit codes: 0 stopped as told; 1 it failed; 2 the configuration is wrong, or the ledger has another schema.

Examples:
  grange hub --config /etc/grange/grange.toml
  grange hub --config /etc/grange/grange.toml --log-format json")]
pub struct Args {
    /// What every role takes.
    #[command(flatten)]
    pub common: Common,
}

/// Runs a hub until it is told to stop.
///
/// # Errors
/// When it cannot be started, or fails.
pub async fn run(args: Args, environment: &Environment) -> Result<(), Failure> {
    let config = args.common.begin(environment)?;
    if !config.said.contains("hub.public_url") {
        return Err(Failure::usage(
            "the hub does not know the address people and builders reach it by",
            "set `public_url` in section [hub], such as \"https://grange.example.org\"",
        ));
    }
    let bus = roles::bus(&config)?;
    let db = roles::ledger(&config).await?;
    let listen = config.hub.listen;
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen at {listen}"))?;
    let mut hub_config = config.hub;
    hub_config.public_url = hub_config.public_url.trim_end_matches('/').to_owned();
    let leave = Duration::from_millis(hub_config.leave_ms);
    let url = hub_config.public_url.clone();
    let hub = Hub::open(db.clone(), bus, hub_config).context("cannot open the hub")?;
    let signals = Signals::listen()?;
    tracing::info!(url, address = %listener.local_addr().unwrap_or(listen), "the hub is open");
    let role = Role::start("hub", leave + STOP_GRACE, |stop| hub::run(hub, listener, stop));
    let ended = roles::until_told(signals, role, None).await;
    db.close().await;
    ended
}
