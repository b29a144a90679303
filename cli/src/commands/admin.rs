//! `grange admin`: what an operator does to a farm's ledger and files, on a machine that reaches both.

mod backup;
mod first;
mod migrate;
mod restore;

use crate::failure::Failure;
use crate::screen::Screen;
use crate::settings::Environment;

/// What an operator can do.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Bring the ledger's schema up to date; roles refuse to start on another
    Migrate(migrate::Args),
    /// Make the first admin of a farm that has nobody yet
    FirstAdmin(first::Args),
    /// Copy the ledger and the data folder, while the farm is at work
    Backup(backup::Args),
    /// Put a backup where there is no farm yet
    Restore(restore::Args),
}

/// Does it.
///
/// # Errors
/// When the ledger or the disk fails, or it is refused.
pub async fn run(command: Command, environment: &Environment, screen: &mut Screen) -> Result<(), Failure> {
    match command {
        Command::Migrate(args) => migrate::run(args, environment, screen).await,
        Command::FirstAdmin(args) => first::run(args, environment, screen).await,
        Command::Backup(args) => backup::run(args, environment, screen).await,
        Command::Restore(args) => restore::run(args, environment, screen).await,
    }
}
