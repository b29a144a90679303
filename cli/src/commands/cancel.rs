//! `grange cancel`

use super::nearby;
use crate::client::Client;
use crate::failure::Failure;
use crate::screen::Screen;

/// What `grange cancel` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grange cancel 01JZ8M3Q5T7V9X1B3D5F7H9K1M")]
pub struct Args {
    /// The build's id or name
    #[arg(value_name = "ID|NVR")]
    pub id: String,
}

/// Stops it.
///
/// # Errors
/// When the hub refuses.
pub async fn run(args: Args, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
    let answer = client.post_nothing(&["builds", &args.id, "cancel"]).await;
    nearby::or_hint(answer, &args.id, client, screen.look().now).await?;
    if !screen.json {
        screen.line(&format!("{} is being stopped", args.id))?;
    }
    Ok(())
}
