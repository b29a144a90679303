//! `grange trace`

use std::path::PathBuf;

use farm::openpgp::body_of;
use farm::trace::Trace;

use crate::client::Client;
use crate::failure::Failure;
use crate::render;
use crate::screen::Screen;

/// What `grange trace` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Commit, sources, buildroots, image, builders, tests, waivers, approvers, and where it is live. A file is found by SHA-256 of
its header and payload, so by what it is and not by what it is called, whoever has signed it.

Examples:
  grange trace hello-2.10-1.el9s.x86_64
  grange trace ./hello-2.10-1.el9s.x86_64.rpm
  grange trace hello-2.10-1.el9s --json")]
pub struct Args {
    /// An RPM's full name, an RPM file of this machine, or a build's name
    #[arg(value_name = "NEVRA|FILE")]
    pub what: String,
}

/// Tells where it comes from.
///
/// # Errors
/// When the hub refuses, or the file is no RPM.
pub async fn run(args: Args, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
    let Args { what } = args;
    let file = PathBuf::from(&what);
    let query = if file.is_file() {
        let read = tokio::task::spawn_blocking(move || body_of(&file)).await;
        let body = read.map_err(|error| Failure::Local(error.into()))?;
        let body = body
            .map_err(|error| Failure::usage(format!("{what}: {error}"), "name an RPM file, or a package"))?;
        ("body", body.to_string())
    } else {
        ("nevra", what)
    };
    let body = client.get(&["trace"], &[query]).await?;
    if screen.json {
        return Ok(screen.line(body.text())?);
    }
    let trace: Trace = body.read()?;
    Ok(screen.print(&render::trace(&trace, &screen.look()))?)
}
