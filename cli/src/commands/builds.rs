//! `grange builds`

use farm::api::RequestView;

use crate::client::Client;
use crate::failure::Failure;
use crate::render;
use crate::screen::{Screen, Tone};

/// What `grange builds` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grange builds
  grange builds --package hello --state failed
  grange builds --by ada --kind scratch --limit 50 --json")]
pub struct Args {
    /// Only of this SIG
    #[arg(long)]
    pub sig: Option<String>,
    /// Only of this package
    #[arg(long)]
    pub package: Option<String>,
    /// Only for this target
    #[arg(long)]
    pub target: Option<String>,
    /// Only of this kind: push, build, scratch or test
    #[arg(long)]
    pub kind: Option<String>,
    /// Only those this person asked for
    #[arg(long, value_name = "PERSON")]
    pub by: Option<String>,
    /// Only in this state: queued, running, failing, complete, failed or cancelled
    #[arg(long)]
    pub state: Option<String>,
    /// Only those older than this one
    #[arg(long, value_name = "ID")]
    pub before: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 20, value_name = "NUMBER")]
    pub limit: u32,
}

/// Lists them.
///
/// # Errors
/// When the hub refuses.
pub async fn run(args: Args, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
    let Args { sig, package, target, kind, by, state, before, limit } = args;
    let query: Vec<(&str, String)> = [
        ("sig", sig),
        ("package", package),
        ("target", target),
        ("kind", kind),
        ("by", by),
        ("state", state),
        ("before", before),
        ("limit", Some(limit.to_string())),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect();
    let body = client.get(&["builds"], &query).await?;
    if screen.json {
        return Ok(screen.line(body.text())?);
    }
    let page = body.items::<RequestView>()?;
    screen.print(&render::builds(&page.items, &screen.look()))?;
    if let Some(next) = page.next {
        let hint = format!("older ones: add --before {next}");
        screen.line(&screen.look().paint(Tone::Dim, &hint))?;
    }
    Ok(())
}
