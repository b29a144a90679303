//! `grange tags`

use farm::api::TagView;

use crate::client::Client;
use crate::failure::Failure;
use crate::render;
use crate::screen::Screen;

/// What `grange tags` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grange tags
  grange tags storage9s-gluster-11-testing")]
pub struct Args {
    /// Show the builds of this one
    pub tag: Option<String>,
}

/// Lists them.
///
/// # Errors
/// When the hub refuses.
pub async fn run(args: Args, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
    let body = match &args.tag {
        Some(tag) => client.get(&["tags", tag], &[]).await?,
        None => client.get(&["tags"], &[]).await?,
    };
    if screen.json {
        return Ok(screen.line(body.text())?);
    }
    let look = screen.look();
    let text = match args.tag {
        Some(_) => render::tag(&body.read()?, &look),
        None => render::tags(&body.items::<TagView>()?.items, &look),
    };
    Ok(screen.print(&text)?)
}
