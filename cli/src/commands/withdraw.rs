//! `grange withdraw`

use crate::client::Client;
use crate::failure::Failure;
use crate::screen::Screen;

/// What `grange withdraw` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grange withdraw 01JZ8M3Q5T7V9X1B3D5F7H9K1M")]
pub struct Args {
    /// The promotion's id
    #[arg(value_name = "PROMOTION")]
    pub id: String,
}

/// Takes it back.
///
/// # Errors
/// When the hub refuses, as it does once the promotion is published.
pub async fn run(args: Args, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
    let body = client.post_nothing(&["promotions", &args.id, "withdraw"]).await?;
    if screen.json {
        if !body.text().is_empty() {
            screen.line(body.text())?;
        }
        return Ok(());
    }
    Ok(screen.line(&format!("promotion {} is withdrawn", args.id))?)
}
