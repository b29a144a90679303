//! `grange matrix`

use farm::matrix::Matrix;
use farm::sig::Stage;

use crate::client::Client;
use crate::failure::Failure;
use crate::render;
use crate::screen::Screen;

/// What `grange matrix` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grange matrix storage gluster
  grange matrix storage gluster --stage testing --json")]
pub struct Args {
    /// The SIG
    #[arg(value_name = "SIG")]
    pub sig: String,
    /// One of its projects
    #[arg(value_name = "PROJECT")]
    pub project: String,
    /// Which of its repos
    #[arg(long, default_value = "release", value_parser = ["testing", "release"])]
    pub stage: String,
}

/// Shows the grid.
///
/// # Errors
/// When the hub refuses.
pub async fn run(args: Args, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
    let Args { sig, project, stage } = args;
    let stage = if stage == Stage::Testing.as_str() { Stage::Testing } else { Stage::Release };
    let query = [("sig", sig), ("project", project), ("stage", stage.as_str().to_owned())];
    let body = client.get(&["matrix"], &query).await?;
    if screen.json {
        return Ok(screen.line(body.text())?);
    }
    Ok(screen.print(&render::matrix(&body.read::<Matrix>()?, &screen.look()))?)
}
