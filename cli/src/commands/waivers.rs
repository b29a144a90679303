//! `grange waivers`

use farm::gate::Waiver;

use crate::client::Client;
use crate::failure::Failure;
use crate::render;
use crate::screen::Screen;

/// What `grange waivers` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Every waiver that was ever given for a target is listed, also those that have expired or were taken back.

Examples:
  grange waivers storage9s-gluster-11-el9s
  grange waivers storage9s-gluster-11-el9s --json
  grange waivers storage9s-gluster-11-el9s --revoke 01JZ8M3Q5T7V9X1B3D5F7H9K1M")]
pub struct Args {
    /// The target
    #[arg(value_name = "TARGET")]
    pub target: String,
    /// Take this one back; it stays readable
    #[arg(long, value_name = "WAIVER")]
    pub revoke: Option<String>,
}

/// Lists them, or takes one back.
///
/// # Errors
/// When the hub refuses.
pub async fn run(args: Args, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
    let Args { target, revoke } = args;
    if let Some(id) = revoke {
        let body = client.post_nothing(&["waivers", &id, "revoke"]).await?;
        if screen.json {
            return Ok(screen.line(body.text())?);
        }
        let waiver: Waiver = body.read()?;
        let said = format!("waiver {id} is taken back: {} counts again", render::waived(&waiver));
        return Ok(screen.line(&said)?);
    }
    let body = client.get(&["targets", &target, "waivers"], &[]).await?;
    if screen.json {
        return Ok(screen.line(body.text())?);
    }
    Ok(screen.print(&render::waivers(&body.items::<Waiver>()?.items, &screen.look()))?)
}
