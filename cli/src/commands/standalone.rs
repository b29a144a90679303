//! `grange standalone`

use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::json;

use crate::failure::Failure;
use crate::roles::log::{self, LogTo};
use crate::roles::{Config, LogFormat, STOPPED_TWICE, Signals};
use crate::screen::{Screen, Tone};
use crate::settings::Environment;
use crate::standalone::{ADMIN, ADMIN_TOKEN_FILE, Farm, Options, start};

/// What `grange standalone` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Nothing needs to be configured. What can be is in a file with the sections [ledger], [bus], [hub], [scheduler],
[builder] and [signer], the same file that the roles as processes of their own take; each key can
also be set in the environment, such as GRANGE_HUB__PUBLIC_URL or GRANGE_BUILDER__SLOTS, which goes before the file; the
options above go before both. GRANGE_LOG filters the log, such as GRANGE_LOG=debug or GRANGE_LOG=info,hub=debug.

Examples:
  grange standalone --data /var/lib/grange
  grange standalone --data ./farm --listen 0.0.0.0:8080 --config /etc/grange/grange.toml
  grange standalone --data ./farm --engine unix:///run/podman/podman.sock --builder-slots 4
  grange standalone --data ./farm --builder-slots 0 --log-format json")]
pub struct Args {
    /// The folder for everything: ledger, artifacts, logs, git repos, published repos [default: var/grange]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// How many jobs to run at once; 0 starts no builder [default: 2]
    #[arg(long, value_name = "NUMBER")]
    pub builder_slots: Option<u32>,
    /// The container engine: Docker's socket, or that of `podman system service` [default: unix:///var/run/docker.sock]
    #[arg(long, value_name = "unix:///SOCKET")]
    pub engine: Option<String>,
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The folder with the git hooks [default: the folder this program is in]
    #[arg(long, value_name = "DIR")]
    pub hooks: Option<PathBuf>,
    /// Folders whose repos builds may use as file:///…
    #[arg(long, value_name = "DIR", num_args = 1..)]
    pub file_repos: Vec<PathBuf>,
    /// How the log is written, on standard error
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub log_format: LogFormat,
}

/// Runs a farm until it is told to stop, by SIGINT or SIGTERM.
///
/// # Errors
/// When it cannot be started, or one of its roles fails.
pub async fn run(args: Args, environment: &Environment, screen: &mut Screen) -> Result<(), Failure> {
    log::begin(LogTo::Error, args.log_format, environment)?;
    let options = options(args, environment)?;
    let mut signals = Signals::listen()?;
    let mut farm = start(options).await?;
    welcome(&farm, screen)?;
    let broken = tokio::select! {
        error = farm.broken() => Some(error),
        () = signals.next() => None,
    };
    tracing::info!("stopping");
    let stopped = tokio::select! {
        stopped = farm.stop() => stopped,
        () = signals.next() => std::process::exit(STOPPED_TWICE),
    };
    match broken {
        Some(error) => Err(Failure::Local(error)),
        None => Ok(stopped?),
    }
}

fn options(args: Args, environment: &Environment) -> Result<Options, Failure> {
    let Args { data, listen, builder_slots, engine, config, hooks, file_repos, log_format: _ } = args;
    let mut config = Config::read(config.as_deref(), environment)?;
    if let Some(data) = data {
        config.hub.data = data;
    }
    if let Some(hooks) = hooks {
        config.hub.hooks = hooks;
    }
    if let Some(slots) = builder_slots {
        config.builder.slots = slots;
    }
    if let Some(engine) = engine {
        config.builder.engine = engine;
    }
    if !file_repos.is_empty() {
        config.builder.file_repos = file_repos;
    }
    Ok(Options { listen: Some(listen), config, engine: None })
}

fn welcome(farm: &Farm, screen: &mut Screen) -> Result<(), Failure> {
    let Farm { url, data, admin_token, .. } = farm;
    if screen.json {
        let said = json!({ "url": url, "data": data, "admin_token": admin_token });
        return Ok(screen.line(&said.to_string())?);
    }
    let look = screen.look();
    screen.line(&format!("grange is at {}", look.paint(Tone::Strong, url)))?;
    if let Some(token) = admin_token {
        let file = data.join(ADMIN_TOKEN_FILE);
        screen.line(&format!(
            "the token of its first admin, `{ADMIN}`, is shown this once and kept in {}:\n  {token}\n\
             sign in with: grange login {url} --token-file {}",
            file.display(),
            file.display()
        ))?;
    }
    Ok(())
}
