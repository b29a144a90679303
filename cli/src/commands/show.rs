//! `grange show`

use farm::api::RequestView;

use super::nearby;
use crate::client::Client;
use crate::failure::Failure;
use crate::render;
use crate::screen::Screen;

/// What `grange show` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grange show hello-2.10-1.el9s
  grange show 01JZ8M3Q5T7V9X1B3D5F7H9K1M --json")]
pub struct Args {
    /// The build's id or name
    #[arg(value_name = "ID|NVR")]
    pub id: String,
}

/// Shows it.
///
/// # Errors
/// When the hub refuses.
pub async fn run(args: Args, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
    let answer = client.get(&["builds", &args.id], &[]).await;
    let body = nearby::or_hint(answer, &args.id, client, screen.look().now).await?;
    if screen.json {
        return Ok(screen.line(body.text())?);
    }
    let view: RequestView = body.read()?;
    Ok(screen.print(&render::request(&view, &screen.look()))?)
}
