//! `grange status`

use farm::api::StatusView;

use crate::client::Client;
use crate::failure::Failure;
use crate::render;
use crate::screen::Screen;

/// What `grange status` takes: nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grange status
  grange status --json")]
pub struct Args {}

/// Shows it.
///
/// # Errors
/// When the hub refuses.
pub async fn run(Args {}: Args, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
    let body = client.get(&["status"], &[]).await?;
    if screen.json {
        return Ok(screen.line(body.text())?);
    }
    let view: StatusView = body.read()?;
    Ok(screen.print(&render::status(&view, &screen.look()))?)
}
