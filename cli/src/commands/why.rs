//! `grange why`

use farm::why::Why;

use super::nearby;
use crate::client::Client;
use crate::failure::Failure;
use crate::render;
use crate::screen::Screen;

/// What `grange why` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
One answer: what it waits for, what is at the root of that, what you can do, and when it is likely to begin and end, from
how long such work took before.

Examples:
  grange why hello-2.10-1.el9s
  grange why 01JZ8M3Q5T7V9X1B3D5F7H9K1M --json")]
pub struct Args {
    /// A build's id or name, or a promotion's id
    #[arg(value_name = "ID|NVR|PROMOTION")]
    pub what: String,
}

/// Says it.
///
/// # Errors
/// When the hub refuses.
pub async fn run(args: Args, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
    let answer = client.get(&["why", &args.what], &[]).await;
    let body = nearby::or_hint(answer, &args.what, client, screen.look().now).await?;
    if screen.json {
        return Ok(screen.line(body.text())?);
    }
    let why: Why = body.read()?;
    Ok(screen.print(&render::why(&why, &screen.look()))?)
}
