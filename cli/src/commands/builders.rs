//! `grange builders`

use farm::api::BuilderView;

use crate::client::Client;
use crate::failure::Failure;
use crate::render;
use crate::screen::Screen;

/// What `grange builders` takes: nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grange builders
  grange builders --json")]
pub struct Args {}

/// Lists them.
///
/// # Errors
/// When the hub refuses.
pub async fn run(Args {}: Args, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
    let body = client.get(&["builders"], &[]).await?;
    if screen.json {
        return Ok(screen.line(body.text())?);
    }
    let page = body.items::<BuilderView>()?;
    Ok(screen.print(&render::builders(&page.items, &screen.look()))?)
}
