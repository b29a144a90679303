//! `grange signer`: the role, and its keys.

mod key;

pub(crate) use key::KEYS;

use anyhow::Context as _;

use crate::failure::Failure;
use crate::roles::{self, Common, Config, Role, STOP_GRACE, Signals, Watched};
use crate::screen::Screen;
use crate::settings::Environment;

/// The file in the hub's data folder that has the signers' token, when none is configured.
const TOKEN: &str = "signer-token";

/// What `grange signer` takes.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "\
It needs sections [ledger] and [signer], and no bus. In the ledger it only reads: give it a database user that may do
nothing else. It shows the hub the secret in `signer.token_file`, which is the one that the hub has as
`hub.signer_token_file`. Its private keys are files below `signer.keys`; what is missing is made when it is needed first.

Exit codes: 0 stopped as told; 1 it failed; 2 the configuration is wrong, or the ledger has another schema.

Examples:
  grange signer --config /etc/grange/signer.toml
  grange signer key list --config /etc/grange/signer.toml
  grange signer key new --sig storage --from 7d --overlap 30d --config /etc/grange/signer.toml")]
pub struct Args {
    /// What every role takes.
    #[command(flatten)]
    pub common: Common,
    /// What else can be done.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What can be done besides signing.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// The signer's keys: list them, let one follow another, retire one
    #[command(subcommand)]
    Key(key::Command),
}

/// Runs a signer until it is told to stop, or does something with its keys.
///
/// # Errors
/// When it cannot be started, or fails.
pub async fn run(args: Args, environment: &Environment, screen: &mut Screen) -> Result<(), Failure> {
    match args.command {
        Some(Command::Key(command)) => key::run(command, environment, screen).await,
        None => serve(args.common, environment).await,
    }
}

async fn serve(common: Common, environment: &Environment) -> Result<(), Failure> {
    let config = common.begin(environment)?;
    let token = token(&config)?;
    let db = roles::ledger(&config).await?;
    let config = config.signer;
    let watched = config.metrics.map(|listen| Watched { listen, db: Some(db.clone()), bus: None });
    let signals = Signals::listen()?;
    tracing::info!(signer = config.name, hub = %config.hub, "the signer is open");
    let parts = signer::Parts { db: db.clone(), token };
    let role = Role::start("signer", STOP_GRACE, |stop| signer::run(parts, config, stop));
    let ended = roles::until_told(signals, role, watched).await;
    db.close().await;
    ended
}

/// The secret shown to the hub: the configured one, or the one that a hub of this machine has made.
fn token(config: &Config) -> Result<String, Failure> {
    let file = config.signer.token_file.clone().unwrap_or_else(|| config.hub.data.join(TOKEN));
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()));
    match text {
        Ok(text) if !text.trim().is_empty() => Ok(text.trim().to_owned()),
        Ok(_) => Err(Failure::usage(
            format!("the signers' token file {} is empty", file.display()),
            "put the same secret into it and into the file that `hub.signer_token_file` names",
        )),
        Err(error) => Err(Failure::usage(
            format!("{error:#}"),
            "set `token_file` in section [signer] to a file with the secret of `hub.signer_token_file`",
        )),
    }
}
