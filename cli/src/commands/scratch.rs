//! `grange scratch`

use std::path::Path;

use farm::api::NewBuild;

use super::build::{Then, made};
use super::git::GitSource;
use crate::client::{Client, file_name};
use crate::failure::Failure;
use crate::screen::Screen;

/// What `grange scratch` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grange scratch storage9s-gluster-11-el9s ./hello-2.10-1.src.rpm --watch
  grange scratch storage9s-gluster-11-el9s rpms/hello#my-branch --logs")]
pub struct Args {
    /// What it is built for; `grange targets` lists them
    pub target: String,
    /// A source RPM on this machine, or a repo and a commit or branch of it
    #[arg(value_name = "FILE.src.rpm|REPO#COMMIT")]
    pub source: String,
    /// What happens then.
    #[command(flatten)]
    pub then: Then,
}

/// Asks for the build.
///
/// # Errors
/// When there is no such file, the hub refuses, or the build was watched and failed.
pub async fn run(args: Args, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
    let Args { target, source, then } = args;
    let file = Path::new(&source);
    let body = if source.ends_with(".src.rpm") || file.is_file() {
        let query = [("target", target), ("name", file_name(file)?)];
        client.post_file(&["builds", "srpm"], &query, file).await?
    } else {
        let GitSource { repo, commit } = source.parse().map_err(|wanted: String| {
            Failure::usage(
                format!("`{source}` is neither a source RPM nor a commit"),
                format!("give a file whose name ends in .src.rpm, or a commit: {wanted}"),
            )
        })?;
        client.post(&["builds"], &NewBuild { target, repo, commit, scratch: true }).await?
    };
    made(&body, "scratch build", then, client, screen).await
}
