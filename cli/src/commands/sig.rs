//! `grange sig`

use std::io::Read as _;
use std::path::{Path, PathBuf};

use farm::api::{PlanView, TemplateBody};
use farm::sig::Sig;
use serde::Deserialize;

use crate::client::{Body, Client};
use crate::failure::Failure;
use crate::render;
use crate::screen::Screen;

/// A SIG as the hub shows it, with its template, which only programs read.
#[derive(Deserialize)]
struct Applied {
    sig: Sig,
}

/// What can be done with SIGs.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Say what applying templates would change
    Plan(Plan),
    /// Make the farm what templates say; twice is the same as once
    Apply(Apply),
    /// List SIGs
    List(List),
    /// Show one SIG: its people, projects, tags and targets
    Show(Show),
}

/// What `grange sig plan` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grange sig plan sigs/storage.toml
  grange sig plan - < storage.toml")]
pub struct Plan {
    /// The templates; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// What `grange sig apply` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grange sig apply sigs/storage.toml
  grange sig apply sigs/storage.toml sigs/cloud.toml --json")]
pub struct Apply {
    /// The templates; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// What `grange sig list` takes: nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grange sig list")]
pub struct List {}

/// What `grange sig show` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grange sig show storage")]
pub struct Show {
    /// The SIG
    pub name: String,
}

/// Does it.
///
/// # Errors
/// When a file cannot be read, or the hub refuses: every fault of a template is named with its line.
pub async fn run(command: Command, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
    match command {
        Command::Plan(Plan { files }) => send(&files, "plan", client, screen).await,
        Command::Apply(Apply { files }) => send(&files, "apply", client, screen).await,
        Command::List(List {}) => {
            let body = client.get(&["sigs"], &[]).await?;
            print(&body, screen, |body, screen| Ok(render::sigs(&body.items::<Sig>()?.items, &screen.look())))
        }
        Command::Show(Show { name }) => {
            let body = client.get(&["sigs", &name], &[]).await?;
            print(&body, screen, |body, screen| Ok(render::sig(&body.read::<Applied>()?.sig, &screen.look())))
        }
    }
}

async fn send(files: &[PathBuf], verb: &str, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
    for file in files {
        let template = read(file)?;
        let body = TemplateBody { file: file.display().to_string(), template };
        let body = client.post(&["sigs", verb], &body).await?;
        print(&body, screen, |body, screen| Ok(render::plan(&body.read::<PlanView>()?, &screen.look())))?;
    }
    Ok(())
}

fn print(
    body: &Body,
    screen: &mut Screen,
    render: impl FnOnce(&Body, &Screen) -> Result<String, Failure>,
) -> Result<(), Failure> {
    if screen.json {
        return Ok(screen.line(body.text())?);
    }
    let text = render(body, screen)?;
    Ok(screen.print(&text)?)
}

fn read(file: &Path) -> Result<String, Failure> {
    let read = if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(file)
    };
    read.map_err(|error| {
        Failure::usage(format!("cannot read {}: {error}", file.display()), "name a template's file")
    })
}
