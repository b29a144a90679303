//! `grange retry`

use super::build::{Then, made};
use super::nearby;
use crate::client::Client;
use crate::failure::Failure;
use crate::screen::Screen;

/// What `grange retry` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grange retry 01JZ8M3Q5T7V9X1B3D5F7H9K1M
  grange retry hello-2.10-1.el9s --watch")]
pub struct Args {
    /// The build's id or name
    #[arg(value_name = "ID|NVR")]
    pub id: String,
    /// What happens then.
    #[command(flatten)]
    pub then: Then,
}

/// Asks for the same once more.
///
/// # Errors
/// When the hub refuses, or the build was watched and failed.
pub async fn run(args: Args, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
    let answer = client.post_nothing(&["builds", &args.id, "retry"]).await;
    let body = nearby::or_hint(answer, &args.id, client, screen.look().now).await?;
    made(&body, "build", args.then, client, screen).await
}
