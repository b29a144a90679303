//! `grange promotions`

use farm::promotion::Promotion;

use crate::client::Client;
use crate::failure::Failure;
use crate::render;
use crate::screen::Screen;

/// What `grange promotions` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grange promotions
  grange promotions 01JZ8M3Q5T7V9X1B3D5F7H9K1M")]
pub struct Args {
    /// Show what the gate says about this one
    pub id: Option<String>,
}

/// Lists them.
///
/// # Errors
/// When the hub refuses.
pub async fn run(args: Args, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
    let body = match &args.id {
        Some(id) => client.get(&["promotions", id], &[]).await?,
        None => client.get(&["promotions"], &[]).await?,
    };
    if screen.json {
        return Ok(screen.line(body.text())?);
    }
    let look = screen.look();
    let text = match args.id {
        Some(_) => render::promotion(&body.read()?, &look),
        None => render::promotions(&body.items::<Promotion>()?.items, &look),
    };
    Ok(screen.print(&text)?)
}
