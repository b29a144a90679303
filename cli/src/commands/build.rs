//! `grange build`

use std::str::FromStr;

use farm::api::{MadeRequest, NewBuild};

use super::git::GitSource;
use super::{chain, watch};
use crate::client::{Body, Client};
use crate::failure::Failure;
use crate::screen::{Screen, Tone};

/// What `grange build` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grange build storage9s-gluster-11-el9s rpms/hello#c9s-sig-storage-gluster
  grange build storage9s-gluster-11-el9s https://git.example.org/rpms/hello.git#3f2a9c1 --watch --tests
  grange build storage9s-gluster-11-el9s --chain rpms/zlib#c9s-sig-storage rpms/libpng#c9s-sig-storage --watch
  grange build storage9s-gluster-11-el9s --chain rpms/gcc#c9s-sig-storage : rpms/zlib#c9s-sig-storage")]
pub struct Args {
    /// What it is built for; `grange targets` lists them
    pub target: String,
    /// The repo's path on the farm's git server, or its clone URL, then a commit or branch
    #[arg(value_name = "REPO#COMMIT", required = true)]
    pub sources: Vec<Listed>,
    /// Build several, each with what it needs of the others; a `:` between them makes all that follow wait
    #[arg(long)]
    pub chain: bool,
    /// What happens then.
    #[command(flatten)]
    pub then: Then,
}

/// One word behind the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    /// A commit.
    Source(GitSource),
    /// What follows in a chain waits for what stands before.
    Colon,
}

impl FromStr for Listed {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == ":" { Ok(Listed::Colon) } else { text.parse().map(Listed::Source) }
    }
}

/// What happens after a request was made.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Then {
    /// Follow it until it is final
    #[arg(long, short)]
    pub watch: bool,
    /// Print its logs as they are written (implies --watch)
    #[arg(long)]
    pub logs: bool,
    /// Also wait until its tests have decided (implies --watch)
    #[arg(long)]
    pub tests: bool,
}

/// Asks for the build.
///
/// # Errors
/// When the hub refuses, or the build was watched and failed.
pub async fn run(args: Args, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
    let Args { target, mut sources, chain: is_chain, then } = args;
    if is_chain {
        return chain::ask(target, sources, then, client, screen).await;
    }
    let (Some(Listed::Source(source)), true) = (sources.pop(), sources.is_empty()) else {
        return Err(Failure::usage("several builds at once are a chain", "add --chain"));
    };
    let new = NewBuild { target, repo: source.repo, commit: source.commit, scratch: false };
    let body = client.post(&["builds"], &new).await?;
    made(&body, "build", then, client, screen).await
}

/// Says what will hold up what was made.
pub(super) fn warn(warnings: &[String], screen: &mut Screen) -> Result<(), Failure> {
    for warning in warnings {
        let word = screen.look().paint(Tone::Busy, "warning:");
        screen.line(&format!("{word} {warning}"))?;
    }
    Ok(())
}

/// Says what was made, and follows it when that was asked for.
pub(super) async fn made(
    body: &Body,
    noun: &str,
    then: Then,
    client: &Client,
    screen: &mut Screen,
) -> Result<(), Failure> {
    let Then { watch, logs, tests } = then;
    let watched = watch || logs || tests;
    let made: MadeRequest = body.read()?;
    if screen.json {
        if !watched {
            screen.line(body.text())?;
        }
    } else {
        let id = screen.look().paint(Tone::Strong, &made.id.to_string());
        screen.line(&format!("{noun} {id}\n{}", made.url))?;
        warn(&made.warnings, screen)?;
        if !watched {
            screen.line(&format!("follow it: grange watch {}", made.id))?;
        }
    }
    if watched {
        return watch::follow(&made.id.to_string(), logs, tests, client, screen).await;
    }
    Ok(())
}
