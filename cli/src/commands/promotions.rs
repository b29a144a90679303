//! `grange promotions`

use farm::promotion::Promotion;

use crate::client::Client;
use crate::failure::Failure;
use crate::render;
use crate::screen::{Screen, Tone};

/// What `grange promotions` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grange promotions
  grange promotions --sig storage --state open
  grange promotions 01JZ8M3Q5T7V9X1B3D5F7H9K1M")]
pub struct Args {
    /// Show what the gate says about this one
    #[arg(value_name = "PROMOTION", conflicts_with_all = ["sig", "target", "state", "before"])]
    pub id: Option<String>,
    /// Only of this SIG
    #[arg(long)]
    pub sig: Option<String>,
    /// Only of this target
    #[arg(long)]
    pub target: Option<String>,
    /// Only open or settled ones
    #[arg(long, value_parser = ["open", "closed"])]
    pub state: Option<String>,
    /// Only those older than this one
    #[arg(long, value_name = "PROMOTION")]
    pub before: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 20, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
}

/// Lists them, or shows one.
///
/// # Errors
/// When the hub refuses.
pub async fn run(args: Args, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
    let Args { id, sig, target, state, before, limit } = args;
    if let Some(id) = id {
        let body = client.get(&["promotions", &id], &[]).await?;
        if screen.json {
            return Ok(screen.line(body.text())?);
        }
        return Ok(screen.print(&render::promotion(&body.read()?, &screen.look()))?);
    }
    let query: Vec<(&str, String)> = [
        ("sig", sig),
        ("target", target),
        ("state", state),
        ("before", before),
        ("limit", Some(limit.to_string())),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect();
    let body = client.get(&["promotions"], &query).await?;
    if screen.json {
        return Ok(screen.line(body.text())?);
    }
    let page = body.items::<Promotion>()?;
    screen.print(&render::promotions(&page.items, &screen.look()))?;
    if let Some(next) = page.next {
        let hint = format!("older ones: add --before {next}");
        screen.line(&screen.look().paint(Tone::Dim, &hint))?;
    }
    Ok(())
}
