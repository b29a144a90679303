//! `grange builds`

use farm::api::{Page, RequestView};
use serde_json::Value;

use crate::client::Client;
use crate::failure::Failure;
use crate::render;
use crate::screen::{Screen, Tone};

/// Builds asked for at once when the hub lists more than is wanted.
const PAGE: u32 = 200;
/// Builds looked through for some of one status, before giving up.
const LOOKED_THROUGH: usize = 2_000;

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
    /// Only of this kind
    #[arg(long, value_parser = ["push", "build", "scratch", "test", "check"])]
    pub kind: Option<String>,
    /// Only those this person asked for
    #[arg(long, value_name = "PERSON")]
    pub by: Option<String>,
    /// Only open or closed ones, or those of one status
    #[arg(long, value_enum)]
    pub state: Option<State>,
    /// Only those older than this one
    #[arg(long, value_name = "ID")]
    pub before: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 20, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
}

/// Which builds are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[allow(missing_docs, reason = "the variants are the words that are typed")]
pub enum State {
    Open,
    Closed,
    Queued,
    Running,
    Failing,
    Complete,
    Failed,
    Cancelled,
}

impl State {
    /// What the hub can filter by, and the status that is left to be picked here.
    fn parts(self) -> (&'static str, Option<&'static str>) {
        match self {
            State::Open => ("open", None),
            State::Closed => ("closed", None),
            State::Queued => ("open", Some("queued")),
            State::Running => ("open", Some("running")),
            State::Failing => ("open", Some("failing")),
            State::Complete => ("closed", Some("complete")),
            State::Failed => ("closed", Some("failed")),
            State::Cancelled => ("closed", Some("cancelled")),
        }
    }
}

/// Lists them.
///
/// # Errors
/// When the hub refuses.
pub async fn run(args: Args, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
    let Args { sig, package, target, kind, by, state, before, limit } = args;
    let (openness, status) = state.map(State::parts).unzip();
    let status = status.flatten();
    let filters: Vec<(&str, String)> = [
        ("sig", sig),
        ("package", package),
        ("target", target),
        ("kind", kind),
        ("by", by),
        ("state", openness.map(str::to_owned)),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect();
    let page = match status {
        None => page(&filters, before, limit, client).await?,
        Some(status) => picked(&filters, before, limit, status, client).await?,
    };
    if screen.json {
        return Ok(screen.line(&json(&page)?)?);
    }
    let items: Vec<RequestView> = page.items.into_iter().map(typed).collect::<Result<_, _>>()?;
    screen.print(&render::builds(&items, &screen.look()))?;
    if let Some(next) = page.next {
        let hint = format!("older ones: add --before {next}");
        screen.line(&screen.look().paint(Tone::Dim, &hint))?;
    }
    Ok(())
}

async fn page(
    filters: &[(&str, String)],
    before: Option<String>,
    limit: u32,
    client: &Client,
) -> Result<Page<Value>, Failure> {
    let mut query = filters.to_vec();
    query.push(("limit", limit.to_string()));
    query.extend(before.map(|before| ("before", before)));
    client.get(&["builds"], &query).await?.items()
}

/// The hub tells open builds from closed ones; the rest is picked out of its pages.
async fn picked(
    filters: &[(&str, String)],
    mut before: Option<String>,
    limit: u32,
    status: &str,
    client: &Client,
) -> Result<Page<Value>, Failure> {
    let mut found = Vec::new();
    let mut seen = 0;
    loop {
        let Page { items, next } = page(filters, before, PAGE, client).await?;
        seen += items.len();
        for item in items.into_iter().filter(|item| item["status"] == status) {
            let id = item["request"]["id"].as_str().map(str::to_owned);
            found.push(item);
            if found.len() >= limit as usize {
                return Ok(Page { items: found, next: id });
            }
        }
        if next.is_none() || seen >= LOOKED_THROUGH {
            return Ok(Page { items: found, next });
        }
        before = next;
    }
}

fn typed(item: Value) -> Result<RequestView, Failure> {
    serde_json::from_value(item).map_err(|error| {
        Failure::Local(anyhow::Error::new(error).context("the hub's answer cannot be understood"))
    })
}

fn json(page: &Page<Value>) -> Result<String, Failure> {
    serde_json::to_string(page).map_err(|error| Failure::Local(error.into()))
}
