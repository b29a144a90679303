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
how long such work took before. Of a public repo (TAG): whether what it shows works on what is below it now.

Examples:
  grange why hello-2.10-1.el9s
  grange why storage9s-gluster-11-release
  grange why 01JZ8M3Q5T7V9X1B3D5F7H9K1M --json")]
pub struct Args {
    /// A build's id or name, a promotion's id, or the tag of a public repo
    #[arg(value_name = "ID|NVR|PROMOTION|TAG")]
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
