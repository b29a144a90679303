//! `grange build`

use farm::api::{MadeRequest, NewBuild};

use super::git::GitSource;
use super::watch;
use crate::client::{Body, Client};
use crate::failure::Failure;
use crate::screen::{Screen, Tone};

/// What `grange build` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grange build storage9s-gluster-11-el9s rpms/hello#c9s-sig-storage-gluster
  grange build storage9s-gluster-11-el9s https://git.example.org/rpms/hello.git#3f2a9c1 --watch --tests")]
pub struct Args {
    /// What it is built for; `grange targets` lists them
    pub target: String,
    /// The repo's path on the farm's git server, or its clone URL, then a commit or branch
    #[arg(value_name = "REPO#COMMIT")]
    pub source: GitSource,
    /// What happens then.
    #[command(flatten)]
    pub then: Then,
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
    let Args { target, source, then } = args;
    let new = NewBuild { target, repo: source.repo, commit: source.commit, scratch: false };
    let body = client.post(&["builds"], &new).await?;
    made(&body, "build", then, client, screen).await
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
        if !watched {
            screen.line(&format!("follow it: grange watch {}", made.id))?;
        }
    }
    if watched {
        return watch::follow(&made.id.to_string(), logs, tests, client, screen).await;
    }
    Ok(())
}
