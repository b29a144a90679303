//! `grange history`

use farm::api::PublicationView;

use crate::client::Client;
use crate::failure::Failure;
use crate::render;
use crate::screen::Screen;

/// What `grange history` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grange history storage9s-gluster-11-release
  grange history storage9s-gluster-11-release --limit 100 --json")]
pub struct Args {
    /// The tag of a public repo
    #[arg(value_name = "TAG")]
    pub tag: String,
    /// At most so many
    #[arg(long, default_value_t = 20, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
}

/// Lists what it showed, the newest first.
///
/// # Errors
/// When the hub refuses.
pub async fn run(args: Args, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
    let Args { tag, limit } = args;
    let body = client.get(&["repos", &tag, "history"], &[("limit", limit.to_string())]).await?;
    if screen.json {
        return Ok(screen.line(body.text())?);
    }
    Ok(screen.print(&render::history(&body.items::<PublicationView>()?.items, &screen.look()))?)
}
