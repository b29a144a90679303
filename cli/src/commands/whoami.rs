//! `grange whoami`

use farm::api::StatusView;

use crate::client::Client;
use crate::failure::Failure;
use crate::screen::Screen;

/// What `grange whoami` takes: nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grange whoami
  grange whoami --url https://grange.example.org --token-file ~/token")]
pub struct Args {}

/// Says who the hub takes the caller for.
///
/// # Errors
/// When the hub takes them for nobody.
pub async fn run(Args {}: Args, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
    let body = client.get(&["status"], &[]).await?;
    let view: StatusView = body.read()?;
    if screen.json {
        screen.line(body.text())?;
    } else if let Some(you) = &view.you {
        screen.line(you)?;
    }
    match view.you {
        Some(_) => Ok(()),
        None => Err(Failure::Failed(format!(
            "{} takes you for nobody: `grange login` keeps a token",
            client.base()
        ))),
    }
}
