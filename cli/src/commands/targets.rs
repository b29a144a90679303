//! `grange targets`

use farm::api::{LayerView, TargetView};

use crate::client::Client;
use crate::failure::Failure;
use crate::render;
use crate::screen::Screen;

/// What `grange targets` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grange targets
  grange targets storage9s-gluster-11-el9s
  grange targets storage9s-gluster-11-el9s --layers")]
pub struct Args {
    /// Show this one in full: what its builds may install from, and in which order
    pub target: Option<String>,
    /// Show each layer it builds from: priority, what its repo shows now, and which project inherits it
    #[arg(long, requires = "target")]
    pub layers: bool,
}

/// Lists them.
///
/// # Errors
/// When the hub refuses, or there is no such target.
pub async fn run(args: Args, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
    if let (Some(target), true) = (&args.target, args.layers) {
        return layers(target, client, screen).await;
    }
    let body = client.get(&["targets"], &[]).await?;
    let Some(wanted) = args.target else {
        if screen.json {
            return Ok(screen.line(body.text())?);
        }
        let items = body.items::<TargetView>()?.items;
        return Ok(screen.print(&render::targets(&items, false, &screen.look()))?);
    };
    let mut items = body.items::<TargetView>()?.items;
    items.retain(|item| item.target == wanted);
    let Some(found) = items.first() else {
        return Err(Failure::not_found(format!("there is no target {wanted}; `grange targets` lists them")));
    };
    if screen.json {
        let text = serde_json::to_string(found).map_err(|error| Failure::Local(error.into()))?;
        return Ok(screen.line(&text)?);
    }
    Ok(screen.print(&render::targets(&items, true, &screen.look()))?)
}

/// Shows what one target's builds install from.
async fn layers(target: &str, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
    let body = client.get(&["targets", target, "layers"], &[]).await?;
    if screen.json {
        return Ok(screen.line(body.text())?);
    }
    let items: Vec<LayerView> = body.read()?;
    Ok(screen.print(&render::layers(&items, &screen.look()))?)
}
